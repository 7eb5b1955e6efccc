//! Who waits for which chunk of one part file. Each waiter is woken for its own chunk alone.

use std::collections::HashMap;
use std::time::Instant;

use crate::content::ChunkIndex;
use crate::sync::{Mutex, Sender, bounded, lock};

/// Those who wait for chunks of one part file.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    chunks: HashMap<ChunkIndex, Vec<Sender<()>>>,
    /// No further chunk will come.
    over: bool,
}

impl Waiting {
    /// The chunk is there now; whoever says so has made it that already.
    pub(super) fn wake(&self, index: ChunkIndex) {
        lock(&self.0).chunks.remove(&index);
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.allow(false);
    }

    /// Whether it makes sense to wait; who waits although it does not is woken.
    pub(super) fn allow(&self, sense: bool) {
        let mut waiters = lock(&self.0);
        waiters.over = !sense;
        if !sense {
            waiters.chunks.clear();
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.0).over
    }

    /// Waits until the chunk is there, as `has` says; `false` when it did not come in time, or
    /// never will.
    pub(super) fn wait(
        &self,
        index: ChunkIndex,
        deadline: Instant,
        has: impl Fn() -> bool,
    ) -> bool {
        let come = {
            let mut waiters = lock(&self.0);
            // Looked at while locked: a chunk that comes after this finds the waiter.
            if has() {
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
        has()
    }
}
