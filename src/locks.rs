//! Locks: the one place where a poisoned one is passed over, and where their order is written.
//!
//! # Poison
//!
//! A mutex is poisoned when a thread panics while it holds it. Nothing here panics on purpose, so
//! that is a fault of ours, and it must cost no more than the work of that one thread: a server
//! goes on with all other peers. It may go on because nothing is believed for having been locked.
//! What a lock guards is small, and changed by single steps between which it is good at any moment
//! (an entry is put into a map, or is not); and where more depends on it, that is looked at again
//! before it is used: a chunk is verified whatever the books say of it, a file is compared with
//! what was hashed, the catalog is read from its file. So [`lock`] and the ways of waiting give
//! what is there, and nobody else asks whether a lock is poisoned.
//!
//! # Order
//!
//! Who holds a lock of this table may take one that stands further right in its row or further down,
//! and no other. The locks of a room come before those of the rooms that it names, as its calls go
//! there; only what shows and logs comes last, because anybody may have something to say.
//!
//! | room | in this order |
//! |---|---|
//! | `client` | `Transfers::store` → those of the store that is opened |
//! | `server` | `Server::settings` → the topology that is followed |
//! | `classic` | `Upload::state` → those of the store that the chunk is written to |
//! | `fetch` | `Engine::plan` → `Engine::losses` |
//! | `fetch` | `Engine::plan` → `FolderJob::state` → its `groups`, `complete` and `outcome`, `Shared::left`, those of the store |
//! | `fetch` | `Progress::sources` → `Counter::away` |
//! | `fetch` | `FolderJob::sorting` → `Engine::plan`, `FolderJob::state`, those of the store that is asked what is here |
//! | `serve` | `Company::state` → each `Handout` |
//! | `serve` | what `Cuts::made` has of one selection → `Company::cuts`, those of the store that is listed |
//! | `store` | `Shared::current` → `Inner::lent` of the folder before → `lent` of the new one |
//! | `store` | `HashPool::threads` → `Queue::state` → `Register` → `Job::state` |
//! | `store` | `Counted::counting` → `Counted::last` |
//! | `store` | `Disk::naming` → the lock file `naming`, `Folder::free`, `LIFTING`, `Catalog::state` |
//! | `store` | `Catalog::state` → the lock of the catalog's file |
//! | `store` | `Part::synced`, `Waiting` → `Arrivals::have` |
//! | `store` | `LiveFile::unread` → `Arrivals::deliveries` |
//! | `client` | `Bar::gauge`, who hears pongs → a job's board, `Objects::out`, the bars, `Sink` → `Printer` |
//!
//! `Counted::counting` and `Part::synced` are only tried: who does not get them does without. So is
//! one selection of `Cuts::made` by whoever holds `Company::cuts`.
//!
//! All others are leaves: while one is held no lock is taken, no other room is called, and nothing
//! is waited for but its own condition variable. What has to be closed, told or logged is taken out
//! first, and the lock given back. A lock that is held while something is awaited from a peer would
//! be held for as long as that peer likes, so none is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Waits for the lock, and takes it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the lock guarded, when nobody else can have it any more.
pub(crate) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the lock away until somebody notifies, or for no reason at all. So the caller looks again
/// at what it waits for.
pub(crate) fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Gives the lock away until somebody notifies, the time is over, or for no reason at all. So the
/// caller looks again at what it waits for.
pub(crate) fn wait_timeout<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> MutexGuard<'a, T> {
    changed.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
}

/// Gives the lock away while `waits` says so of what it guards, but no longer than the time; says
/// whether it was so to the end of it.
pub(crate) fn wait_timeout_while<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
    waits: impl FnMut(&mut T) -> bool,
) -> (MutexGuard<'a, T>, bool) {
    let waited = changed.wait_timeout_while(guard, time, waits);
    let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
    (guard, timeout.timed_out())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::threads;

    /// Left by a thread that panicked while it held it.
    fn poisoned() -> Arc<Mutex<u32>> {
        let mutex = Arc::new(Mutex::new(1));
        let held = mutex.clone();
        let fails = move || {
            let mut held = held.lock().unwrap();
            *held = 2;
            panic!("this test wants it so");
        };
        assert!(threads::start("fails", fails).unwrap().join().is_err());
        assert!(mutex.is_poisoned());
        mutex
    }

    #[test]
    fn a_thread_that_panics_costs_the_others_nothing() {
        let (mutex, changed) = (poisoned(), Condvar::new());
        assert_eq!(*lock(&mutex), 2);
        let guard = wait_timeout(&changed, lock(&mutex), Duration::ZERO);
        let (guard, timed_out) = wait_timeout_while(&changed, guard, Duration::ZERO, |n| *n == 2);
        assert!(timed_out);
        drop(guard);
        assert!(!wait_timeout_while(&changed, lock(&mutex), Duration::MAX, |n| *n != 2).1);
        assert_eq!(into_inner(Arc::into_inner(mutex).unwrap()), 2);
    }
}
