//! Files being received, for those who are served from them meanwhile.
//!
//! A part file is entered here as long as it lives in this process. A reader finds it by content id,
//! waits for the chunk it wants, and reads it from the same open file. What goes out is counted by
//! reader (`deliveries`), so that a receiver that passes chunks on knows whether it is ahead of its readers.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};

use super::content::Extent;
use super::part::Part;
use super::{StoreError, locked};
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
        locked(&self.0.deliveries).sent(reader, index);
    }

    /// That reader will read no more.
    pub fn forget(&self, reader: &str) {
        locked(&self.0.deliveries).forget(reader);
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
