//! Files being received, for those who are served from them meanwhile.
//!
//! A part file is entered here as long as it lives in this process; one of another process, as that
//! of a client beside its server, is found through its live file (`watched`). A reader finds it by
//! content id, waits for the chunk it wants, and reads it from the same open file. What goes out is
//! counted by reader (`deliveries`), so that a receiver that passes chunks on knows whether it is
//! ahead of its readers.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::content::Extent;
use super::disk::Disk;
use super::part::Part;
use super::watched::Watched;
use super::{StoreError, locked};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, FileName, Root};

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

    /// The part file of that content.
    fn find(&self, root: &Root) -> Option<Arc<Part>> {
        locked(&self.parts).get(root).and_then(Weak::upgrade)
    }

    /// Waits until a part file is entered, but no longer than `time`; gives that of the content.
    fn await_entry(&self, root: &Root, time: Duration) -> Option<Arc<Part>> {
        let parts = locked(&self.parts);
        if let Some(part) = parts.get(root).and_then(Weak::upgrade) {
            return Some(part);
        }
        let waited =
            self.appeared.wait_timeout(parts, time).unwrap_or_else(PoisonError::into_inner);
        waited.0.get(root).and_then(Weak::upgrade)
    }
}

/// A part file of that content, of this process or of another, which may take until `deadline` to
/// appear.
pub(super) fn find(disk: &Disk, root: &Root, deadline: Instant) -> Option<Partial> {
    let mut ours = disk.live.find(root);
    loop {
        if let Some(part) = ours {
            return Some(Partial(Whose::Ours(part)));
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

/// A file that is being received, for reading what is there already. Clones are the same.
#[derive(Debug, Clone)]
pub struct Partial(Whose);

#[derive(Debug, Clone)]
enum Whose {
    Ours(Arc<Part>),
    /// Of another process.
    Theirs(Arc<Watched>),
}

impl Partial {
    /// The chunks of a given cut that are there.
    pub fn have(&self, layout: &ChunkLayout) -> ChunkSet {
        let own = self.layout();
        let have = match &self.0 {
            Whose::Ours(part) => locked(&part.have).clone(),
            Whose::Theirs(watched) => watched.have(),
        };
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
    /// read.
    pub fn is_over(&self) -> bool {
        match &self.0 {
            Whose::Ours(part) => part.waiting.is_over(),
            Whose::Theirs(watched) => watched.is_over(),
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
        let own = self.layout();
        let layout = ChunkLayout::new(own.length(), chunk_size).ok();
        let range = layout.and_then(|layout| Some(layout.range(layout.index(number)?)));
        let range = range.ok_or_else(|| StoreError::NoSuchChunk {
            name: self.name().clone(),
            number,
            chunk_size,
        })?;
        if !own.covering(&range).all(|index| self.wait(index, deadline)) {
            return Err(StoreError::NotYet { name: self.name().clone() });
        }
        Ok(Extent {
            file: self.file(),
            offset: range.start,
            len: (range.end - range.start) as usize,
        })
    }

    /// Notes that `peer` asked what is here.
    pub fn asked(&self, peer: &str) {
        match &self.0 {
            Whose::Ours(part) => locked(&part.deliveries).asked(peer),
            // Only what an offer brought exchanges with others.
            Whose::Theirs(_) => {}
        }
    }

    /// Counts that `reader` was sent a chunk.
    pub fn sent(&self, reader: &str, number: u32) {
        match &self.0 {
            Whose::Ours(part) => part.sent(reader, Some(number)),
            Whose::Theirs(watched) => watched.sent(reader, Some(number)),
        }
    }

    /// That reader will read no more.
    pub fn forget(&self, reader: &str) {
        match &self.0 {
            Whose::Ours(part) => part.sent(reader, None),
            Whose::Theirs(watched) => watched.sent(reader, None),
        }
    }

    fn wait(&self, index: ChunkIndex, deadline: Instant) -> bool {
        match &self.0 {
            Whose::Ours(part) => part.wait(index, deadline),
            Whose::Theirs(watched) => watched.wait(index, deadline),
        }
    }

    /// Under which name it is received.
    pub fn name(&self) -> &FileName {
        match &self.0 {
            Whose::Ours(part) => part.manifest.name(),
            Whose::Theirs(watched) => &watched.name,
        }
    }

    /// How the receiving side cuts it.
    pub fn layout(&self) -> &ChunkLayout {
        match &self.0 {
            Whose::Ours(part) => part.manifest.layout(),
            Whose::Theirs(watched) => &watched.layout,
        }
    }

    fn file(&self) -> &File {
        match &self.0 {
            Whose::Ours(part) => &part.file,
            Whose::Theirs(watched) => &watched.part,
        }
    }
}

impl Part {
    /// Counts that `reader` was sent a chunk; with none, that it will read no more.
    pub(super) fn sent(&self, reader: &str, number: Option<u32>) {
        let mut deliveries = locked(&self.deliveries);
        match number {
            None => deliveries.forget(reader),
            Some(number) => {
                let index = self.manifest.layout().index(number);
                index.into_iter().for_each(|index| deliveries.sent(reader, index));
            }
        }
    }

    /// Waits until the chunk is there; `false` when it did not come in time, or never will.
    fn wait(&self, index: ChunkIndex, deadline: Instant) -> bool {
        self.waiting.wait(index, deadline, || locked(&self.have).contains(index))
    }
}
