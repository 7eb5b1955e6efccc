//! The engine: one thread a source asks and reads, a few verify and write.
//!
//! How a unit travels: a worker asks the plan what to do with its source, sends the request, and
//! later reads the answer into a buffer from a fixed set; the buffer goes through a bounded channel
//! to a verify thread, which has the job prove and keep it; the plan is told, and the buffer goes
//! back to the set. So what is in memory is bounded by the number of buffers, two for each verify
//! thread and one for each source; when the disk is slower than the sources, the workers wait for
//! buffers and stop asking.
//!
//! All sources come in by one door: the loop of the thread that called, which alone starts threads
//! (`door`). Whoever learns of another peer says so there.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, Scope};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};

use super::buffers::{Buffer, Buffers};
use super::course::{Advice, Want};
use super::door::{Arrival, Late};
use super::job::{Came, Cut, Job, Learnt, Put};
use super::ledger::{NewUnit, SourceId, Unit};
use super::outage::Waits;
use super::plan::{Plan, Together};
use super::progress::{Counter, Event, Progress};
use super::source::{Ask, Dial, SourceError};
use super::swarm::Swarm;
use crate::config;
use crate::locks::lock;
use crate::store::StoreError;
use crate::threads;
use crate::topology::PeerId;
use crate::transport::Cancel;
use crate::wire::Request;

/// Why a transfer as a whole failed. What was verified stays in the part file.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Every source is lost; the reasons are told peer by peer.
    #[error("no source is left: {}", list(.0))]
    NoSource(Vec<(PeerId, SourceError)>),
    /// The same, after the transfer had begun.
    #[error(
        "no source is left: {}; {missing} of {of} chunks are missing, what came is kept, and the same command continues",
        list(reasons)
    )]
    Incomplete {
        /// Chunks that did not come.
        missing: u32,
        /// Chunks of the file.
        of: u32,
        /// Why each source was lost.
        reasons: Vec<(PeerId, SourceError)>,
    },
    /// The user or the system asked to stop.
    #[error("interrupted; the verified chunks are kept, the same command continues")]
    Interrupted,
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(reasons: &[(PeerId, SourceError)]) -> String {
    let lines: Vec<String> =
        reasons.iter().map(|(peer, reason)| format!("{peer}: {reason}")).collect();
    lines.join("; ")
}

/// All that one transfer needs.
pub struct Fetch<'a> {
    /// What is received, and where.
    pub job: &'a dyn Job,
    /// Who may be asked, in the order of [`Progress`].
    pub sources: Vec<Box<dyn Dial + 'a>>,
    /// Is kept up to date.
    pub progress: &'a Progress,
    /// Ends the transfer early.
    pub cancel: &'a Cancel,
    /// How long is waited for what.
    pub waits: Waits,
    /// Is told what happens.
    pub observer: &'a (dyn Fn(Event) + Sync),
    /// Whether sources hand units out to several peers that fetch together, or may turn out to.
    pub swarm: Option<Swarm<'a>>,
}

impl Fetch<'_> {
    /// Fetches all that is missing; returns when every unit is verified and kept, or when that
    /// cannot be. Gives the sources that were lost on the way.
    pub fn run(self) -> Result<Vec<(PeerId, SourceError)>, TransferError> {
        self.run_with(&never())
    }

    /// [`Self::run`], with further sources that may come while it is under way.
    pub fn run_with(
        self,
        late: &Receiver<Late>,
    ) -> Result<Vec<(PeerId, SourceError)>, TransferError> {
        let together = self.swarm.map_or(Together::Never, Swarm::together);
        let units = self.job.units();
        let missing = units.iter().filter(|unit| !unit.done).count();
        let mut plan = Plan::new(units, self.job.called().map(|(_, layout)| layout), together);
        if self.job.grows() {
            plan.grow(Instant::now());
        }
        if plan.ledger.is_complete() {
            return Ok(Vec::new());
        }
        let (cancel, _registration) = self.cancel.child();
        let verifiers = if self.job.grows() { verifiers(usize::MAX) } else { verifiers(missing) };
        let (filled, to_verify) = bounded(2 * verifiers);
        let (arrive, arrivals) = unbounded();
        let engine = Engine {
            plan: Mutex::new(plan),
            changed: Condvar::new(),
            job: self.job,
            cancel,
            waits: self.waits,
            buffers: Buffers::new(2 * verifiers),
            progress: self.progress,
            observer: self.observer,
            swarm: self.swarm,
            arrive,
            losses: Mutex::default(),
            fatal: Mutex::default(),
        };
        thread::scope(|scope| {
            engine.start_verifiers(scope, verifiers, &to_verify);
            drop(to_verify);
            engine.stand_at_the_door(self.sources, (&arrivals, late), filled, scope);
        });
        engine.outcome(self.cancel)
    }
}

/// Threads that verify and write: one a core, and no more than there are units.
fn verifiers(units: usize) -> usize {
    if units <= 1 {
        return 1;
    }
    config::cores().min(config::MAX_VERIFIERS).min(units)
}

/// What all threads of one transfer share.
pub(super) struct Engine<'a> {
    pub(super) plan: Mutex<Plan>,
    /// The plan has news for sources with nothing to do.
    pub(super) changed: Condvar,
    pub(super) job: &'a dyn Job,
    /// Ends this transfer: it is complete, or it failed, or the user said so.
    pub(super) cancel: Cancel,
    pub(super) waits: Waits,
    pub(super) buffers: Buffers,
    pub(super) progress: &'a Progress,
    pub(super) observer: &'a (dyn Fn(Event) + Sync),
    pub(super) swarm: Option<Swarm<'a>>,
    /// Where it is said who is to be met, and who has left.
    pub(super) arrive: Sender<Arrival>,
    pub(super) losses: Mutex<Vec<(PeerId, SourceError)>>,
    fatal: Mutex<Option<TransferError>>,
}

/// What there is to do for the verify threads.
pub(super) enum Piece {
    /// A unit has come.
    Unit(Arrived),
    /// The job has heard something that takes time to think about.
    Heard,
}

/// A unit as it came, not proven yet.
pub(super) struct Arrived {
    pub(super) unit: Unit,
    pub(super) source: SourceId,
    pub(super) buffer: Buffer,
    pub(super) len: usize,
    /// See [`Came`].
    pub(super) there: Option<Vec<bool>>,
    /// Whose it is.
    pub(super) counter: Arc<Counter>,
    /// Whether we were handed it before anybody else.
    pub(super) own: bool,
    pub(super) bad: Sender<()>,
}

impl<'a> Engine<'a> {
    fn start_verifiers<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        count: usize,
        to_verify: &Receiver<Piece>,
    ) where
        'a: 'scope,
    {
        for number in 0..count {
            let to_verify = to_verify.clone();
            let work = move || {
                to_verify.iter().for_each(|piece| match piece {
                    Piece::Unit(arrived) => self.verify(arrived),
                    Piece::Heard => self.work(),
                });
            };
            match threads::start_in(scope, format!("verify-{number}"), work) {
                Ok(_) => {}
                Err(error) if number == 0 => return self.fail(StoreError::no_thread(error).into()),
                Err(error) => return log::info!("verifying with {number} threads: {error}"),
            }
        }
    }

    fn verify(&self, arrived: Arrived) {
        let Arrived { unit, source, buffer, len, there, counter, own, bad } = arrived;
        let name = lock(&self.plan).ledger.name(unit);
        if own {
            // Before anybody can be sent it, so that everybody who is gets counted.
            self.job.own(name);
        }
        let there = there.as_deref();
        let came = Came { unit: name, source, handed: own, there, bytes: buffer.bytes(len) };
        match self.job.put(&came) {
            Ok(Put::Kept { fresh, further }) => {
                counter.add(fresh);
                self.complete(unit, further);
            }
            Err(error) => self.fail(error.into()),
            Ok(put @ (Put::Bad | Put::TooEarly)) => {
                lock(&self.plan).ledger.give_back(unit);
                self.changed.notify_all();
                if matches!(put, Put::Bad) {
                    // A worker that has left already needs no word.
                    let _ = bad.try_send(());
                }
            }
        }
        self.buffers.give(buffer);
    }

    /// A unit is here; because of it these are to be fetched.
    fn complete(&self, unit: Unit, further: Vec<NewUnit>) {
        let grew = !further.is_empty();
        let complete = {
            let mut plan = lock(&self.plan);
            plan.ledger.add(further);
            plan.ledger.complete(unit);
            plan.ledger.is_complete()
        };
        if complete {
            self.end();
        } else if grew {
            self.changed.notify_all();
        }
    }

    /// Has the job do what has piled up.
    pub(super) fn work(&self) {
        self.job.work(&|learnt| self.learn(learnt));
    }

    /// The job has learnt something.
    pub(super) fn learn(&self, learnt: Learnt) {
        if let Some(error) = learnt.fatal {
            return self.fail(error.into());
        }
        let complete = {
            let mut plan = lock(&self.plan);
            plan.ledger.add(learnt.units);
            if learnt.whole {
                plan.ledger.is_whole();
            }
            plan.ledger.is_complete()
        };
        learnt.events.into_iter().for_each(self.observer);
        match complete {
            true => self.end(),
            false => self.changed.notify_all(),
        }
    }

    /// Cuts what is missing into units that others have too, where that is of use and possible now.
    pub(super) fn cut_if_due(&self) {
        let mut plan = lock(&self.plan);
        if !plan.may_cut() {
            return;
        }
        // The lock is kept meanwhile: what is cut anew must not be leased.
        match self.job.cut(&plan.ledger.in_flight()) {
            Cut::NotYet => return,
            Cut::First(units) => {
                plan.ledger.add(units);
            }
            Cut::Never => plan.stays_alone(),
            Cut::Into(units, layout) => plan.cut(units, layout, Instant::now()),
        }
        let (complete, errands) = (plan.ledger.is_complete(), plan.take_errands());
        drop(plan);
        self.send_on_errands(errands);
        match complete {
            true => self.end(),
            false => self.changed.notify_all(),
        }
    }

    /// How to ask a source for what its course wants; `whole` says whether it has everything, `talk`
    /// what the job wants to know. None where that needs no asking.
    pub(super) fn ask_for(&self, want: &Want, whole: bool, talk: Option<Request>) -> Option<Ask> {
        let job = self.job;
        match want {
            Want::Unit(unit) => {
                let name = lock(&self.plan).ledger.name(*unit);
                job.ask(name, !whole)
            }
            Want::Advice { seen, unit } => job.called().map(|(root, layout)| {
                let have = lock(&self.plan).to_tell();
                Ask::Advice { root, layout, seen: *seen, unit: *unit, have }
            }),
            Want::Has => job.called().map(|(root, layout)| {
                Ask::Small(Box::new(Request::Have { root, chunk_size: layout.chunk_size() }))
            }),
            Want::Cut => job.cut_request().map(|request| Ask::Small(Box::new(request))),
            Want::Talk => talk.map(|request| Ask::Small(Box::new(request))),
        }
    }

    /// What a source of everything is at first.
    pub(super) fn advice(&self) -> Advice {
        match self.swarm {
            None => Advice::Never,
            Some(Swarm::Given(_)) => Advice::Cutting,
            Some(Swarm::Joined { .. }) => Advice::Alone,
        }
    }

    /// A source is of no use any more.
    pub(super) fn lose(&self, peer: PeerId, error: SourceError, quiet: bool) {
        let reason = error.to_string();
        lock(&self.losses).push((peer.clone(), error));
        if !quiet {
            (self.observer)(Event::SourceLost { peer, reason });
        }
    }

    pub(super) fn fail(&self, error: TransferError) {
        lock(&self.fatal).get_or_insert(error);
        self.end();
    }

    pub(super) fn end(&self) {
        self.cancel.cancel();
        self.changed.notify_all();
    }

    /// How far the transfer is, for those who watch whether anything moves.
    pub(super) fn done(&self) -> u64 {
        self.progress.done().saturating_add(self.job.moved())
    }

    pub(super) fn end_if_complete(&self) {
        if lock(&self.plan).ledger.is_complete() {
            self.end();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn outcome(self, user: &Cancel) -> Result<Vec<(PeerId, SourceError)>, TransferError> {
        if let Some(fatal) = lock(&self.fatal).take() {
            return Err(fatal);
        }
        let plan = lock(&self.plan);
        let reasons = std::mem::take(&mut *lock(&self.losses));
        if plan.ledger.is_complete() {
            return Ok(reasons);
        }
        if user.is_cancelled() {
            return Err(TransferError::Interrupted);
        }
        let (missing, of) = plan.ledger.lacks();
        Err(TransferError::Incomplete { missing: missing as u32, of: of as u32, reasons })
    }
}
