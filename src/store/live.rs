//! Files being received, for those who are served from them meanwhile.
//!
//! A part file is entered here as long as it lives in this process. A reader finds it by content id,
//! waits for the chunk it wants, and reads it from the same open file. What goes out is counted by
//! reader, so that a receiver that passes chunks on knows whether it is ahead of its readers.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};

use super::content::Extent;
use super::part::Part;
use super::{StoreError, locked};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Manifest, Root};

/// The part files of this process.
#[derive(Debug, Default)]
pub(super) struct Live {
    parts: Mutex<HashMap<Root, Weak<Part>>>,
    appeared: Condvar,
}

impl Live {
    pub(super) fn enter(&self, part: &Arc<Part>) {
        locked(&self.parts).insert(part.manifest.root(), Arc::downgrade(part));
        self.appeared.notify_all();
    }

    pub(super) fn leave(&self, root: &Root) {
        locked(&self.parts).remove(root);
    }

    /// The part file of that content, which may take until `deadline` to appear.
    pub(super) fn find(&self, root: &Root, deadline: Instant) -> Option<Arc<Part>> {
        let mut parts = locked(&self.parts);
        loop {
            if let Some(part) = parts.get(root).and_then(Weak::upgrade) {
                return Some(part);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            parts = self.appeared.wait_timeout(parts, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Who waits for which chunk of one part file. Each waiter is woken for its own chunk alone.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    chunks: HashMap<ChunkIndex, Vec<Sender<()>>>,
    /// No further chunk will come.
    over: bool,
}

impl Waiting {
    /// The chunk is there now.
    pub(super) fn wake(&self, index: ChunkIndex) {
        locked(&self.0).chunks.remove(&index);
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.allow(false);
    }

    /// Whether it makes sense to wait; who waits although it does not is woken.
    pub(super) fn allow(&self, sense: bool) {
        let mut waiters = locked(&self.0);
        waiters.over = !sense;
        if !sense {
            waiters.chunks.clear();
        }
    }
}

/// How much of what we alone were given was passed on, and to whom.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Chunks that were handed to us first and are complete.
    own: Option<ChunkSet>,
    /// How many of them each reader has.
    sent: HashMap<String, u32>,
    /// Who asked what is here.
    askers: BTreeSet<String>,
}

impl Deliveries {
    /// A chunk of our own is complete.
    pub(super) fn own(&mut self, layout: &ChunkLayout, index: ChunkIndex) {
        self.own.get_or_insert_with(|| ChunkSet::none(layout)).insert(index);
    }

    /// Somebody asked what is here, who may have what we lack.
    fn asked(&mut self, peer: &str) {
        if self.askers.len() < config::SWARM_MEMBERS {
            self.askers.insert(peer.to_owned());
        }
    }

    /// Who did so since this was called last.
    pub(super) fn take_askers(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.askers)
    }

    /// Whether half of the readers lack few chunks of our own: fewer than
    /// [`AHEAD`](config::AHEAD), or with few readers, fewer than makes [`BACKLOG`](config::BACKLOG)
    /// sends.
    pub(super) fn keeps_up(&self) -> bool {
        let mut sent: Vec<u32> = self.sent.values().copied().collect();
        sent.sort_unstable();
        let own = self.own.as_ref().map_or(0, ChunkSet::len);
        let Some(median) = sent.get(sent.len() / 2) else { return true };
        let allowed = config::BACKLOG / (sent.len() as u32).max(1);
        own.saturating_sub(*median) < allowed.max(config::AHEAD)
    }
}

/// A file that is being received, for reading what is there already.
#[derive(Debug, Clone)]
pub struct Partial(pub(super) Arc<Part>);

impl Partial {
    /// What is being received.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.0.manifest
    }

    /// The chunks of a given cut that are there.
    pub fn have(&self, layout: &ChunkLayout) -> ChunkSet {
        let (own, have) = (self.manifest().layout(), locked(&self.0.have).clone());
        let mut cut = ChunkSet::none(layout);
        layout
            .indices()
            .filter(|index| own.covering(&layout.range(*index)).all(|part| have.contains(part)))
            .for_each(|index| {
                cut.insert(index);
            });
        cut
    }

    /// Where a chunk of a given size lies, once all of it is there, which may take until `deadline`.
    /// [`StoreError::NotYet`] when it did not come, [`StoreError::NoSuchChunk`] when it never will.
    pub fn cut(&self, number: u32, chunk_size: u32, deadline: Instant) -> Result<Extent<'_>, StoreError> {
        let name = || self.manifest().name().clone();
        let own = self.manifest().layout();
        let layout = ChunkLayout::new(self.manifest().length(), chunk_size).ok();
        let range = layout.and_then(|layout| Some(layout.range(layout.index(number)?)));
        let range = range.ok_or_else(|| StoreError::NoSuchChunk { name: name(), number, chunk_size })?;
        let mut covering = own.covering(&range);
        if !covering.all(|index| self.wait(index, deadline)) {
            return Err(StoreError::NotYet { name: name() });
        }
        Ok(Extent { file: &self.0.file, offset: range.start, len: (range.end - range.start) as usize })
    }

    /// Notes that `peer` asked what is here.
    pub fn asked(&self, peer: &str) {
        locked(&self.0.deliveries).asked(peer);
    }

    /// Counts that `reader` was sent a chunk.
    pub fn sent(&self, reader: &str, number: u32) {
        let Some(index) = self.manifest().layout().index(number) else { return };
        let mut deliveries = locked(&self.0.deliveries);
        let own = deliveries.own.as_ref().is_some_and(|own| own.contains(index));
        *deliveries.sent.entry(reader.to_owned()).or_default() += u32::from(own);
    }

    /// That reader will read no more.
    pub fn forget(&self, reader: &str) {
        locked(&self.0.deliveries).sent.remove(reader);
    }

    /// Waits until the chunk is there; `false` when it did not come in time, or never will.
    fn wait(&self, index: ChunkIndex, deadline: Instant) -> bool {
        let come = {
            let mut waiters = locked(&self.0.waiting.0);
            if locked(&self.0.have).contains(index) {
                return true;
            }
            if waiters.over {
                return false;
            }
            let (wake, come) = bounded(0);
            waiters.chunks.entry(index).or_default().push(wake);
            come
        };
        // Nothing is ever sent: the other end goes when the chunk comes or none will any more.
        let _ = come.recv_deadline(deadline);
        locked(&self.0.have).contains(index)
    }
}
