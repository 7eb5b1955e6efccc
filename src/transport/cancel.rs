//! Ending work from outside: Ctrl-C, a server that stops, a transfer that is complete.
//!
//! Threads here block in reads and writes, so telling them to end means closing what they wait on.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::Closer;
use crate::sync::{Arc, Mutex, MutexGuard, Weak, bounded, lock};

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

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
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
            lock(&state).closers.remove(&key);
        }
    }
}
