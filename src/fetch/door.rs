//! The door of a transfer: all sources come in here, the first ones too, and here alone threads
//! for them are started.
//!
//! The thread that began the transfer stands at the door until the last worker has left. Whoever
//! comes in time gets a worker of its own; whoever comes too late is sent away again, by dropping
//! it. When the last source that has everything is gone, it looks for a while for other peers that
//! have a part: those of whom was heard, and those who turn to us.

use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select};

use super::course::{Advice, Course};
use super::engine::{Engine, Piece};
use super::ledger::SourceId;
use super::plan::{Errand, Together};
use super::source::{Dial, SourceError};
use super::swarm::{Swarm, serves};
use super::worker::Worker;
use crate::config;
use crate::locks::lock;
use crate::threads;
use crate::topology::PeerId;

/// One more source for a transfer that runs already.
pub struct Late {
    /// The source.
    pub dial: Box<dyn Dial>,
    /// Whether it hands units out to several peers.
    pub swarm: bool,
}

/// What is said at the door.
pub(super) enum Arrival {
    /// Something is to be done for the plan.
    Errand(Errand),
    /// A worker has left.
    Left,
}

/// A worker's place in its transfer, which is told when it leaves.
pub(super) struct Place(Sender<Arrival>);

impl Drop for Place {
    fn drop(&mut self) {
        // The engine has both ends.
        let _ = self.0.send(Arrival::Left);
    }
}

/// Those who are let in.
struct Door<'d, 'scope, 'env, 'a> {
    engine: &'scope Engine<'a>,
    scope: &'scope Scope<'scope, 'env>,
    filled: &'d Sender<Piece>,
    /// Workers that have not left.
    working: usize,
}

impl<'a> Engine<'a> {
    /// Lets sources in until no worker is left.
    pub(super) fn stand_at_the_door<'scope>(
        &'scope self,
        sources: Vec<Box<dyn Dial + 'a>>,
        (arrivals, late): (&Receiver<Arrival>, &Receiver<Late>),
        filled: Sender<Piece>,
        scope: &'scope Scope<'scope, '_>,
    ) where
        'a: 'scope,
    {
        let mut door = Door { engine: self, scope, filled: &filled, working: 0 };
        let ids: Vec<SourceId> = sources.iter().map(|_| lock(&self.plan).join(false)).collect();
        for (dial, id) in sources.into_iter().zip(ids) {
            door.let_in(dial, (id, true), self.advice());
        }
        let (mut late, mut orphaned) = (late.clone(), None);
        loop {
            let until = door.orphans(&mut orphaned);
            if door.working == 0 && until.is_none() {
                break;
            }
            let look = until.map_or_else(never, |_| after(config::ORPHANS_LOOK));
            select! {
                recv(late) -> source => match source {
                    Ok(source) => door.let_in_late(source),
                    // Nobody else can come any more.
                    Err(_) => late = never(),
                },
                recv(arrivals) -> arrival => match arrival {
                    Ok(Arrival::Errand(errand)) => door.run(errand),
                    Ok(Arrival::Left) | Err(_) => door.working -= 1,
                },
                recv(look) -> _ => {}
            }
        }
        // Whoever still asks our own server need not.
        self.cancel.cancel();
    }

    /// Passes on what the plan wants done.
    pub(super) fn send_on_errands(&self, errands: Vec<Errand>) {
        for errand in errands {
            if let Errand::Disown(unit) = errand {
                self.job.disown(unit);
                continue;
            }
            // The door is open as long as there are workers.
            let _ = self.arrive.send(Arrival::Errand(errand));
        }
    }
}

impl<'scope, 'a: 'scope> Door<'_, 'scope, '_, 'a> {
    /// Has a source used in a thread of its own; one that gets none is lost.
    fn let_in(&mut self, dial: Box<dyn Dial + 'a>, (id, whole): (SourceId, bool), advice: Advice) {
        let engine = self.engine;
        let peer = dial.peer().clone();
        let course = Course::new(id, whole, advice, engine.waits.idling, Instant::now());
        engine.buffers.add_one();
        let place = Place(engine.arrive.clone());
        self.working += 1;
        let worker = Worker::new(engine, course, &peer, self.filled.clone());
        let counter = worker.counter();
        let work = move || {
            let _place = place;
            worker.run(dial);
        };
        if let Err(error) = threads::start_in(self.scope, format!("fetch-{peer}"), work) {
            counter.end();
            let error = SourceError::NoThread(error);
            let learnt = engine.job.lost(id, &error);
            let quiet = learnt.quiet;
            engine.learn(learnt);
            lock(&engine.plan).no_way(id, whole);
            engine.work();
            engine.end_if_complete();
            engine.changed.notify_all();
            engine.lose(peer, error, quiet);
        }
    }

    /// Lets in whoever offers what is being received already. It begins at the end, where the
    /// others come last.
    fn let_in_late(&mut self, Late { dial, swarm }: Late) {
        let engine = self.engine;
        engine.job.expects_more(true);
        let id = lock(&engine.plan).join(true);
        let advice = if swarm { engine.advice() } else { Advice::Never };
        self.let_in(dial, (id, true), advice);
    }

    fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Meet { peer, id, whole } => match self.way_to(&peer) {
                Some(dial) => {
                    let advice = if whole { self.engine.advice() } else { Advice::Never };
                    self.let_in(dial, (id, whole), advice);
                }
                None => lock(&self.engine.plan).no_way(id, whole),
            },
            Errand::AskOwnServer => self.ask_own_server(),
            Errand::Disown(unit) => self.engine.job.disown(unit),
        }
    }

    fn way_to(&self, peer: &PeerId) -> Option<Box<dyn Dial>> {
        self.engine.swarm.and_then(|swarm| (swarm.meet())(peer))
    }

    fn ask_own_server(&self) {
        let engine = self.engine;
        let Some(Swarm::Joined { own, caller, .. }) = engine.swarm else { return };
        let work = move || {
            let served = serves(own, caller, engine.job, &engine.cancel);
            log::debug!("whether others can fetch from {}: {served}", own.id);
            lock(&engine.plan).is_served(served);
            engine.changed.notify_all();
        };
        if let Err(error) = threads::start_in(self.scope, "fetch-own", work) {
            log::debug!("nobody is told that others may fetch from {}: {error}", own.id);
            lock(&engine.plan).is_served(false);
        }
    }

    /// Meets other peers while nobody has everything: how long that still goes on, if it does.
    fn orphans(&mut self, since: &mut Option<Instant>) -> Option<Duration> {
        let engine = self.engine;
        let known = {
            let mut plan = lock(&engine.plan);
            let together = matches!(plan.together, Together::Given | Together::Served);
            if engine.is_over() || !plan.is_orphaned() || !together {
                *since = None;
                return None;
            }
            plan.take_heard_of()
        };
        let began = *since.get_or_insert_with(|| {
            engine.job.expects_more(false);
            Instant::now()
        });
        let left = config::ORPHANED.checked_sub(began.elapsed())?;
        let askers = engine.job.take_askers().into_iter().filter_map(|peer| peer.parse().ok());
        let errands = {
            let mut plan = lock(&engine.plan);
            known.into_iter().chain(askers).for_each(|peer| {
                plan.meet(&peer, false);
            });
            plan.take_errands()
        };
        errands.into_iter().for_each(|errand| self.run(errand));
        Some(left)
    }
}
