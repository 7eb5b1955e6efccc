//! Memory for payloads that are kept as a whole, all connections together.
//!
//! Chunks go past this process or through fixed buffers; digests of an offer and small files do
//! not. What one connection may hold is little, what all of them may hold is not, and a peer that
//! sends or reads slowly holds it for long.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::config;
use crate::locks::{lock, wait_timeout_while};

/// How much is held. Shared by all connections; clones are the same.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    most: usize,
    held: Mutex<usize>,
    freed: Condvar,
}

/// The right to hold so many bytes, until it is dropped.
pub struct Grant {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// So many bytes.
    pub fn of(most: usize) -> Self {
        Self(Arc::new(Inner { most, held: Mutex::default(), freed: Condvar::new() }))
    }

    /// For so many bytes, if there is room. What is large has only half of the room, so that a few
    /// of those do not keep out all others.
    pub fn take(&self, bytes: usize) -> Option<Grant> {
        let is_large = bytes > config::LARGE_PAYLOAD;
        self.grant(self.held(), bytes, if is_large { self.0.most / 2 } else { self.0.most })
    }

    /// The same, after waiting for room for `time` at most.
    pub(super) fn wait(&self, bytes: usize, time: Duration) -> Option<Grant> {
        let full = |held: &mut usize| held.saturating_add(bytes) > self.0.most;
        let waited = wait_timeout_while(&self.0.freed, self.held(), time, full);
        self.grant(waited.0, bytes, self.0.most)
    }

    fn grant(&self, mut held: MutexGuard<'_, usize>, bytes: usize, most: usize) -> Option<Grant> {
        let with_it = held.checked_add(bytes).filter(|sum| *sum <= most)?;
        *held = with_it;
        Some(Grant { budget: self.clone(), bytes })
    }

    fn held(&self) -> MutexGuard<'_, usize> {
        lock(&self.0.held)
    }
}

impl Grant {
    /// Gives back all but so many bytes.
    pub(super) fn keep(&mut self, bytes: usize) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.bytes -= given_back;
        *self.budget.held() -= given_back;
        self.budget.0.freed.notify_all();
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.keep(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_limited_and_large_things_have_half() {
        let (budget, large) = (Budget::of(4 * config::LARGE_PAYLOAD), config::LARGE_PAYLOAD + 1);
        let first = budget.take(large).unwrap();
        assert!(budget.take(large).is_none());
        let small: Vec<Grant> = (0..2).map_while(|_| budget.take(large - 1)).collect();
        assert_eq!(small.len(), 2);
        assert!(budget.take(large - 1).is_none());
        drop(first);
        assert!(budget.take(large - 1).is_some());
        assert!(budget.take(usize::MAX).is_none());
    }

    #[test]
    fn who_waits_has_what_others_give_back() {
        let budget = Budget::of(10);
        let mut all = budget.take(10).unwrap();
        assert!(budget.wait(1, Duration::from_millis(1)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.wait(4, Duration::from_secs(60)).is_some());
            all.keep(6);
            assert!(waiting.join().unwrap());
        });
    }
}
