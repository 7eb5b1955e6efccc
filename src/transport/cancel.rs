//! Ending work from outside: Ctrl-C, a server that stops, a transfer that is complete.
//!
//! Threads here block in reads and writes, so telling them to end means closing what they wait on.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Closer;

/// A wish to end, shared by all that work towards one thing. Once given it stays.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    closers: HashMap<u64, Closer>,
}

/// While this lives, the cancel closes what was registered; see [`Cancel::closes`].
#[derive(Default)]
pub struct Registration(Option<(u64, Weak<Mutex<State>>)>);

impl Cancel {
    /// A wish that nobody has given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A cancel of its own that also follows this one, for as long as the registration lives.
    pub fn child(&self) -> (Self, Registration) {
        let child = Self::new();
        let follower = child.clone();
        let registration = self.closes(Closer::new(move || follower.cancel()));
        (child, registration)
    }

    /// Gives the wish: closes all that is registered, now and later.
    pub fn cancel(&self) {
        let closers: Vec<Closer> = {
            let mut state = self.state();
            state.cancelled = true;
            state.closers.drain().map(|(_, closer)| closer).collect()
        };
        closers.iter().for_each(Closer::close);
    }

    /// Whether the wish was given.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Waits so long, or until the wish is given; says whether it was.
    pub fn wait(&self, time: Duration) -> bool {
        let (told, given) = bounded::<()>(1);
        // Told once or not at all; nobody listens after the wait.
        let tell = move || told.try_send(()).unwrap_or_default();
        let _registration = self.closes(Closer::new(tell));
        given.recv_timeout(time).is_ok() || self.is_cancelled()
    }

    /// Has `closer` closed when the wish is given; at once when it already was.
    pub fn closes(&self, closer: Closer) -> Registration {
        let mut state = self.state();
        if state.cancelled {
            drop(state);
            closer.close();
            return Registration::default();
        }
        let key = state.next;
        state.next += 1;
        state.closers.insert(key, closer);
        Registration(Some((key, Arc::downgrade(&self.0))))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some((key, state)) = self.0.take()
            && let Some(state) = state.upgrade()
        {
            state.lock().unwrap_or_else(PoisonError::into_inner).closers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_wait_ends_with_the_wish() {
        let cancel = Cancel::new();
        assert!(!cancel.wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| cancel.cancel());
            assert!(cancel.wait(Duration::from_secs(60)));
        });
        assert!(cancel.wait(Duration::from_secs(60)));
    }

    fn counting() -> (Closer, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let inner = count.clone();
        (
            Closer::new(move || {
                inner.fetch_add(1, Ordering::Relaxed);
            }),
            count,
        )
    }

    #[test]
    fn what_is_registered_before_or_after_is_closed_once() {
        let cancel = Cancel::new();
        let (first, first_count) = counting();
        let (gone, gone_count) = counting();
        let _kept = cancel.closes(first);
        drop(cancel.closes(gone));
        cancel.cancel();
        cancel.cancel();
        let (late, late_count) = counting();
        let _late = cancel.closes(late);
        let counts =
            [first_count, gone_count, late_count].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 0, 1]);
    }

    #[test]
    fn a_child_follows_its_parent_and_not_the_other_way() {
        let parent = Cancel::new();
        let (child, _registration) = parent.child();
        let (other, _other) = parent.child();
        other.cancel();
        assert!(!parent.is_cancelled() && !child.is_cancelled());
        parent.cancel();
        assert!(child.is_cancelled());
    }
}
