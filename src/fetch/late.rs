//! Sources that come while a transfer is under way: somebody else offers the same file.
//!
//! The thread that began the transfer stands at the door until the last worker has left. Whoever
//! comes in time gets a worker of its own; whoever comes too late is sent away again, by dropping
//! it.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, never, select};

use super::engine::{Arrived, Engine};
use super::source::Dial;
use super::worker::{Role, Worker};

/// One more source for a transfer that runs already.
pub struct Late {
    /// The source.
    pub dial: Box<dyn Dial>,
    /// Whether it hands chunks out to several peers.
    pub swarm: bool,
}

/// A worker's place in its transfer, which is told when it leaves.
pub(super) struct Place<'e, 'a>(&'e Engine<'a>);

impl<'e, 'a> Place<'e, 'a> {
    pub(super) fn take(engine: &'e Engine<'a>) -> Self {
        engine.working.fetch_add(1, SeqCst);
        Self(engine)
    }
}

impl Drop for Place<'_, '_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, SeqCst);
        // The engine has both ends.
        let _ = self.0.left.0.send(());
    }
}

impl<'a> Engine<'a> {
    /// Lets sources in until no worker is left.
    pub(super) fn admit<'scope>(
        &'scope self,
        late: &Receiver<Late>,
        filled: &Sender<Arrived>,
        scope: &'scope Scope<'scope, '_>,
    ) where
        'a: 'scope,
    {
        let mut late = late.clone();
        while self.working.load(SeqCst) > 0 {
            select! {
                recv(late) -> source => match source {
                    Ok(source) => self.let_in(source, filled, scope),
                    // Nobody else can come any more.
                    Err(_) => late = never(),
                },
                recv(self.left.1) -> _ => {}
            }
        }
    }

    /// Where another source hands chunks out already, the newcomer answers plain requests: two that
    /// hand out would hand out the same.
    fn let_in<'scope>(
        &'scope self,
        source: Late,
        filled: &Sender<Arrived>,
        scope: &'scope Scope<'scope, '_>,
    ) where
        'a: 'scope,
    {
        let Late { dial, swarm } = source;
        let alone = self.origins.fetch_add(1, Relaxed) == 0;
        self.part.expects_more(true);
        let role = match swarm && alone && self.swarm.is_some() {
            true => Role::Origin,
            false => Role::Late,
        };
        Worker::start(self, (role, dial), filled, scope);
    }
}
