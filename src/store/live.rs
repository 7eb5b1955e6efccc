//! What is being received, for those who are served from it meanwhile.
//!
//! A part file, or the units of a folder, is entered here as long as it lives in this process; one
//! of another process, as that of a client beside its server, is found through its live file
//! (`watched`). A reader finds it by content id, waits for the chunk it wants, and reads it from the same open file. What goes out is
//! counted by reader (`deliveries`), so that a receiver that passes chunks on knows whether it is
//! ahead of its readers.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use super::StoreError;
use super::arrivals::Arrivals;
use super::content::Extent;
use super::disk::Disk;
use super::part::Part;
use super::units::ComingUnits;
use super::unsettled::SmallOnes;
use super::watched::{Watched, What};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, FileName, Root, Units};
use crate::locks::{lock, wait_timeout};

/// What this process receives.
#[derive(Debug, Default)]
pub(super) struct Live {
    known: Mutex<Known>,
    appeared: Condvar,
    pub(super) small: SmallOnes,
}

#[derive(Debug, Default)]
struct Known {
    parts: HashMap<Root, Weak<Part>>,
    units: HashMap<Root, Weak<ComingUnits>>,
    /// Folders that have come as a whole, and when somebody asked last.
    complete: VecDeque<(Instant, Arc<ComingUnits>)>,
}

impl Live {
    pub(super) fn enter(&self, part: &Arc<Part>) {
        lock(&self.known).parts.insert(part.manifest.root(), Arc::downgrade(part));
        self.appeared.notify_all();
    }

    pub(super) fn leave(&self, root: &Root) {
        lock(&self.known).parts.remove(root);
    }

    pub(super) fn enter_units(&self, units: &Arc<ComingUnits>) {
        lock(&self.known).units.insert(units.units.id(), Arc::downgrade(units));
        self.appeared.notify_all();
    }

    /// These come no more; where they are complete, they are kept in mind for those who are slower.
    pub(super) fn leave_units(&self, units: &Arc<ComingUnits>) {
        let (id, now) = (units.units.id(), Instant::now());
        let is_complete = units.arrivals.look(ChunkSet::is_full);
        let mut known = lock(&self.known);
        // Another command of this process may receive the same.
        if known.units.get(&id).is_some_and(|entered| entered.as_ptr() == Arc::as_ptr(units)) {
            known.units.remove(&id);
        }
        let Known { complete, .. } = &mut *known;
        let is_kept = |since: &Instant| now.saturating_duration_since(*since) < config::UNITS_KEPT;
        complete.retain(|(since, other)| is_kept(since) && other.units.id() != id);
        if is_complete {
            if complete.len() >= config::UNITS_KEPT_AT_MOST {
                complete.pop_front();
            }
            complete.push_back((now, Arc::clone(units)));
        }
    }

    /// What is received of that content.
    fn find(&self, root: &Root) -> Option<Whose> {
        lock(&self.known).find(root)
    }

    /// Waits until something is entered, but no longer than `time`; gives that of the content.
    fn await_entry(&self, root: &Root, time: Duration) -> Option<Whose> {
        let mut known = lock(&self.known);
        if let Some(found) = known.find(root) {
            return Some(found);
        }
        wait_timeout(&self.appeared, known, time).find(root)
    }
}

impl Known {
    fn find(&mut self, root: &Root) -> Option<Whose> {
        let part = || self.parts.get(root).and_then(Weak::upgrade).map(Whose::Ours);
        let units = || self.units.get(root).and_then(Weak::upgrade).map(Whose::OurUnits);
        if let Some(found) = part().or_else(units) {
            return Some(found);
        }
        let now = Instant::now();
        self.complete
            .retain(|(since, _)| now.saturating_duration_since(*since) < config::UNITS_KEPT);
        let kept = self.complete.iter_mut().find(|(_, units)| units.units.id() == *root)?;
        kept.0 = now;
        Some(Whose::OurUnits(Arc::clone(&kept.1)))
    }
}

/// What is received of that content, or of the units of that id, by this process or another; it may
/// take until `deadline` to appear.
pub(super) fn find(disk: &Disk, root: &Root, deadline: Instant) -> Option<Partial> {
    let mut ours = disk.live.find(root);
    loop {
        if let Some(whose) = ours {
            return Some(Partial(whose));
        }
        match Watched::find(&disk.parts, root) {
            Ok(Some(watched)) => return Some(Partial(Whose::Theirs(Arc::new(watched)))),
            Ok(None) => {}
            Err(error) => log::debug!("cannot look for a part file of another process: {error}"),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        ours = disk.live.await_entry(root, config::LIVE_POLL.min(left));
    }
}

/// A file, or the units of a folder, while it is received, for reading what is there already. Clones
/// are the same.
#[derive(Debug, Clone)]
pub struct Partial(Whose);

#[derive(Debug, Clone)]
enum Whose {
    Ours(Arc<Part>),
    OurUnits(Arc<ComingUnits>),
    /// Of another process.
    Theirs(Arc<Watched>),
}

/// What of it is here, and who says so.
enum Here<'a> {
    Ours(&'a Arrivals),
    Theirs(&'a Watched),
}

impl Partial {
    /// The chunks of a given cut that are there. Units are cut in one way only.
    pub fn have(&self, layout: &ChunkLayout) -> ChunkSet {
        let own = self.layout();
        let have = match self.here() {
            Here::Ours(arrivals) => arrivals.have(),
            Here::Theirs(watched) => watched.have(),
        };
        if own == layout {
            return have;
        }
        let mut cut = ChunkSet::none(layout);
        layout
            .indices()
            .filter(|index| own.covering(&layout.range(*index)).all(|part| have.contains(part)))
            .for_each(|index| {
                cut.insert(index);
            });
        cut
    }

    /// Whether nothing more will come: it is complete, or given up. What is there can still be
    /// read. Units that are complete are not over: there is nothing else that they are read from.
    pub fn is_over(&self) -> bool {
        let over = match self.here() {
            Here::Ours(arrivals) => arrivals.is_over(),
            Here::Theirs(watched) => watched.is_over(),
        };
        over && !(self.units().is_some() && self.is_complete())
    }

    /// Whether all of it is here.
    pub fn is_complete(&self) -> bool {
        match self.here() {
            Here::Ours(arrivals) => arrivals.look(ChunkSet::is_full),
            Here::Theirs(watched) => watched.have().is_full(),
        }
    }

    /// What the units are, where it is the units of a folder.
    pub fn units(&self) -> Option<&Arc<Units>> {
        match &self.0 {
            Whose::Ours(_) => None,
            Whose::OurUnits(coming) => Some(&coming.units),
            Whose::Theirs(watched) => match &watched.what {
                What::File(..) => None,
                What::Units(units) => Some(units),
            },
        }
    }

    /// Waits for a unit until `deadline`; its bytes are looked up by content
    /// ([`Store::unit`](super::Store::unit)). [`StoreError::NoUnitYet`] when it did not come,
    /// [`StoreError::NoSuchUnit`] when it never will.
    pub fn await_unit(&self, number: u32, deadline: Instant) -> Result<ChunkIndex, StoreError> {
        let index = self.units().and_then(|units| units.layout().index(number));
        let index = index.ok_or(StoreError::NoSuchUnit { number })?;
        match self.wait(index, deadline) {
            true => Ok(index),
            false => Err(StoreError::NoUnitYet { number }),
        }
    }

    /// Where a chunk of a given size lies, once all of it is there, which may take until
    /// `deadline`. [`StoreError::NotYet`] when it did not come, [`StoreError::NoSuchChunk`] when it
    /// never will.
    pub fn cut(
        &self,
        number: u32,
        chunk_size: u32,
        deadline: Instant,
    ) -> Result<Extent<'_>, StoreError> {
        let Some((file, name)) = self.file() else {
            return Err(StoreError::NoSuchUnit { number });
        };
        let own = self.layout();
        let layout = ChunkLayout::new(own.length(), chunk_size).ok();
        let range = layout.and_then(|layout| Some(layout.range(layout.index(number)?)));
        let range = range.ok_or_else(|| StoreError::NoSuchChunk {
            name: name.clone(),
            number,
            chunk_size,
        })?;
        if !own.covering(&range).all(|index| self.wait(index, deadline)) {
            return Err(StoreError::NotYet { name: name.clone() });
        }
        Ok(Extent { file, offset: range.start, len: (range.end - range.start) as usize })
    }

    /// Fills `buffer` with a chunk of that cut, if it is here.
    pub(super) fn read(
        &self,
        index: ChunkIndex,
        layout: &ChunkLayout,
        buffer: &mut [u8],
    ) -> Result<(), StoreError> {
        let extent = self.cut(index.get(), layout.chunk_size(), Instant::now())?;
        let read = extent.file.read_exact_at(buffer, extent.offset);
        read.map_err(StoreError::io("cannot read what was received"))
    }

    /// Notes that `peer` asked what is here.
    pub fn asked(&self, peer: &str) {
        match self.here() {
            Here::Ours(arrivals) => arrivals.asked(peer),
            // Only what an offer brought exchanges with others.
            Here::Theirs(_) => {}
        }
    }

    /// Counts that `reader` was sent a chunk.
    pub fn sent(&self, reader: &str, number: u32) {
        self.tell_sent(reader, Some(number));
    }

    /// That reader will read no more.
    pub fn forget(&self, reader: &str) {
        self.tell_sent(reader, None);
    }

    fn tell_sent(&self, reader: &str, number: Option<u32>) {
        match self.here() {
            Here::Ours(arrivals) => arrivals.sent(reader, number),
            Here::Theirs(watched) => watched.sent(reader, number),
        }
    }

    fn wait(&self, index: ChunkIndex, deadline: Instant) -> bool {
        match self.here() {
            Here::Ours(arrivals) => arrivals.wait(index, deadline),
            Here::Theirs(watched) => watched.wait(index, deadline),
        }
    }

    /// Under which name it is received, where it is a file.
    pub fn name(&self) -> Option<&FileName> {
        self.file().map(|(_, name)| name)
    }

    /// How the receiving side cuts it.
    pub fn layout(&self) -> &ChunkLayout {
        match self.here() {
            Here::Ours(arrivals) => arrivals.layout(),
            Here::Theirs(watched) => &watched.layout,
        }
    }

    fn here(&self) -> Here<'_> {
        match &self.0 {
            Whose::Ours(part) => Here::Ours(&part.arrivals),
            Whose::OurUnits(coming) => Here::Ours(&coming.arrivals),
            Whose::Theirs(watched) => Here::Theirs(watched),
        }
    }

    fn file(&self) -> Option<(&File, &FileName)> {
        match &self.0 {
            Whose::Ours(part) => Some((&part.file, part.manifest.name())),
            Whose::OurUnits(_) => None,
            Whose::Theirs(watched) => match &watched.what {
                What::File(file, name) => Some((file, name)),
                What::Units(_) => None,
            },
        }
    }
}
