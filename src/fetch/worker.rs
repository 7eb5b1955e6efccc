//! The thread of one source: asks, reads, and passes chunks on to be verified.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::engine::{Arrived, Engine, lock};
use super::exchange::Exchange;
use super::late::Place;
use super::ledger::{Grant, SourceId};
use super::outage::{Outage, Verdict};
use super::progress::{Counter, Event};
use super::source::{Dial, Source, SourceError};
use super::swarm::{Joining, Swarm};
use crate::config;
use crate::content::ChunkIndex;
use crate::threads;
use crate::topology::PeerId;
use crate::transport::Closer;

/// What a source is to a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Has all chunks and answers reads.
    Plain,
    /// The same, until it turns out that others fetch from it too.
    Meeting,
    /// Hands every chunk to one of several peers first.
    Origin,
    /// One of those peers.
    Member,
    /// Has all chunks, and came when others were at work already.
    Late,
}

impl Role {
    /// The first source of a swarm hands its chunks out, or may do so later.
    pub(super) fn of(slot: usize, swarm: Option<Swarm<'_>>) -> Self {
        match swarm {
            Some(Swarm::Given(_)) if slot == 0 => Self::Origin,
            Some(Swarm::Joined { .. }) if slot == 0 => Self::Meeting,
            _ => Self::Plain,
        }
    }
}

/// The thread of one source.
pub(super) struct Worker<'e, 'a> {
    pub(super) engine: &'e Engine<'a>,
    pub(super) id: SourceId,
    pub(super) role: Role,
    pub(super) joining: Cell<Joining>,
    /// Whether its connection was lost since it first joined the others.
    pub(super) rejoined: Cell<bool>,
    counter: Arc<Counter>,
    pub(super) filled: Sender<Arrived>,
    /// A verify thread says here that a chunk of this source was bad.
    bad: (Sender<()>, Receiver<()>),
    _place: Place<'e, 'a>,
}

impl<'e, 'a> Worker<'e, 'a> {
    fn new(engine: &'e Engine<'a>, role: Role, peer: &PeerId, filled: Sender<Arrived>) -> Self {
        let id = match role {
            Role::Member => lock(&engine.ledger).join_member(),
            Role::Late => lock(&engine.ledger).join_late(),
            Role::Plain | Role::Meeting | Role::Origin => lock(&engine.ledger).join(),
        };
        engine.buffers.add_one();
        let joining = match role {
            Role::Origin => Joining::Together,
            Role::Meeting => Joining::Alone,
            Role::Plain | Role::Late | Role::Member => Joining::Never,
        };
        let (joining, rejoined) = (Cell::new(joining), Cell::new(false));
        let (counter, _place) = (engine.progress.join(peer.clone()), Place::take(engine));
        Self { engine, id, role, joining, rejoined, counter, filled, bad: bounded(1), _place }
    }

    /// Has a source used in a thread of its own; one that gets none is lost, and `None` given.
    pub(super) fn start<'scope>(
        engine: &'e Engine<'a>,
        (role, dial): (Role, Box<dyn Dial + 'a>),
        filled: &Sender<Arrived>,
        scope: &'scope Scope<'scope, '_>,
    ) -> Option<SourceId>
    where
        'e: 'scope,
        'a: 'scope,
    {
        let peer = dial.peer().clone();
        let worker = Self::new(engine, role, &peer, filled.clone());
        let (id, counter) = (worker.id, worker.counter.clone());
        let work = move || worker.run(dial, scope);
        let Err(error) = threads::start_in(scope, format!("fetch-{peer}"), work) else {
            return Some(id);
        };
        counter.end();
        lock(&engine.ledger).leave(id);
        engine.changed.notify_all();
        if role != Role::Member {
            engine.origins.fetch_sub(1, Ordering::Relaxed);
        }
        engine.lose(peer, SourceError::NoThread(error));
        None
    }

    /// Uses the source until the transfer is over or the source is beyond hope.
    pub(super) fn run<'scope>(self, mut dial: Box<dyn Dial + '_>, scope: &'scope Scope<'scope, '_>)
    where
        'e: 'scope,
        'a: 'scope,
    {
        let peer = dial.peer().clone();
        let mut outage = Outage::new(self.engine.waits, Instant::now());
        while !self.engine.is_over() {
            let before = self.counter.bytes();
            let result = match dial.dial(&self.engine.cancel) {
                Ok(source) => {
                    self.is_reached(&peer, &mut outage);
                    self.drain(source, scope)
                }
                Err(error) => Err(error),
            };
            lock(&self.engine.ledger).leave(self.id);
            self.engine.changed.notify_all();
            let Err(error) = self.judged(result) else { break };
            // A source that ends with the transfer is not lost, but a bad chunk is always told.
            if self.engine.is_over() && !error.is_integrity() {
                break;
            }
            if self.role == Role::Meeting && self.parts(&error) {
                log::debug!("asking {peer} for everything: {error}");
                continue;
            }
            if self.counter.bytes() > before {
                outage.came(Instant::now());
            }
            let reason = error.to_string();
            // Who fetches with others has them; they are not to wait.
            let alone = self.role != Role::Member && self.joining.get() != Joining::Together;
            let verdict = match dial.can_redial() {
                true => outage.failed(error, alone, Instant::now()),
                false => Verdict::Lost(error),
            };
            let (event, pause) = match verdict {
                Verdict::Lost(error) => {
                    self.take_leave(&peer, &error);
                    self.engine.lose(peer, error);
                    break;
                }
                Verdict::Wait(pause) => {
                    self.counter.set_away(true);
                    (Some(Event::Waiting { peer: peer.clone(), reason }), pause)
                }
                Verdict::Again(pause) if outage.is_waiting() => (None, pause),
                Verdict::Again(pause) => {
                    (Some(Event::SourceRetried { peer: peer.clone(), reason }), pause)
                }
            };
            event.into_iter().for_each(self.engine.observer);
            self.pause(pause);
        }
        self.counter.set_away(false);
        self.counter.end();
        if self.role != Role::Member && self.engine.origins.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.orphaned(scope);
        }
    }

    fn is_reached(&self, peer: &PeerId, outage: &mut Outage) {
        if let Some(after) = outage.reached(Instant::now()) {
            self.counter.set_away(false);
            (self.engine.observer)(Event::Back { peer: peer.clone(), after });
        }
    }

    /// The word about a bad chunk may come when the source is not listened to any more.
    fn judged(&self, result: Result<(), SourceError>) -> Result<(), SourceError> {
        match result {
            // It has said already why its chunks are bad.
            Err(SourceError::Changed) => result,
            _ if self.bad.1.try_recv().is_ok() => Err(SourceError::BadChunk),
            _ => result,
        }
    }

    pub(super) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.engine.is_over() && Instant::now() < until {
            self.wait_for_news();
        }
    }

    /// Waits until the ledger changed, or a moment.
    pub(super) fn wait_for_news(&self) {
        let ledger = lock(&self.engine.ledger);
        let waited = self.engine.changed.wait_timeout(ledger, config::IDLE_POLL);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Fetches from a connected source until nothing is left to do.
    fn drain<'scope>(
        &self,
        mut source: Box<dyn Source + '_>,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), SourceError>
    where
        'e: 'scope,
        'a: 'scope,
    {
        let _registration = source.closer().map(|closer: Closer| self.engine.cancel.closes(closer));
        lock(&self.engine.ledger).rejoin(self.id);
        self.notice_at_once(scope);
        if self.joining.get() == Joining::Together {
            self.take_part(&mut *source, scope)?;
        }
        let mut exchange = self.nothing_known();
        loop {
            if self.was_bad() {
                // The others need not wait for what this one says.
                lock(&self.engine.ledger).leave(self.id);
                self.engine.changed.notify_all();
                return Err(source.excuse());
            }
            if self.joins() {
                self.receive_all(&mut *source, &mut exchange, scope)?;
                self.take_part(&mut *source, scope)?;
            }
            let asked_all = self.ask(&mut *source)?;
            let oldest = lock(&self.engine.ledger).oldest(self.id);
            match oldest {
                Some(index) => self.receive(&mut *source, index, &mut exchange, scope)?,
                None if asked_all || self.engine.is_over() => return Ok(()),
                None if self.is_orphaned() => self.look(&mut *source, &mut exchange)?,
                None => {
                    source.idle()?;
                    self.wait_for_news();
                }
            }
        }
    }

    /// What is known of a source that was connected to just now.
    pub(super) fn nothing_known(&self) -> Exchange {
        Exchange::new(self.engine.waits.idling, self.engine.progress.done(), Instant::now())
    }

    pub(super) fn was_bad(&self) -> bool {
        self.bad.1.try_recv().is_ok()
    }

    /// Sends requests as long as the ledger grants them. Says whether the transfer is complete.
    fn ask(&self, source: &mut dyn Source) -> Result<bool, SourceError> {
        loop {
            if self.engine.is_over() {
                return Ok(true);
            }
            let grant = lock(&self.engine.ledger).lease(self.id, Instant::now());
            match grant {
                Grant::Chunk(index) => source.request(index)?,
                Grant::Nothing => return Ok(false),
                Grant::Complete => return Ok(true),
            }
        }
    }

    /// Reads all answers that are still to come.
    fn receive_all<'scope>(
        &self,
        source: &mut dyn Source,
        exchange: &mut Exchange,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), SourceError>
    where
        'e: 'scope,
        'a: 'scope,
    {
        loop {
            let oldest = lock(&self.engine.ledger).oldest(self.id);
            let Some(index) = oldest else { return Ok(()) };
            self.receive(source, index, exchange, scope)?;
        }
    }

    /// Reads one answer and passes it on to be verified.
    fn receive<'scope>(
        &self,
        source: &mut dyn Source,
        index: ChunkIndex,
        exchange: &mut Exchange,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), SourceError>
    where
        'e: 'scope,
        'a: 'scope,
    {
        match source.await_chunk(index, self.engine.waits.stall) {
            Err(SourceError::NotYet) => return self.not_yet(exchange),
            other => other?,
        }
        exchange.came();
        self.notice(source, scope);
        let buffer = self.read(source, index)?;
        log::trace!("chunk {} came as {:?}", index.get(), self.role);
        let wanted = lock(&self.engine.ledger).arrived(self.id, Instant::now());
        self.pass_on(index, buffer, wanted, false);
        Ok(())
    }

    /// Reads the chunk that has come.
    pub(super) fn read(
        &self,
        source: &mut dyn Source,
        index: ChunkIndex,
    ) -> Result<Vec<u8>, SourceError> {
        let len = self.engine.layout.chunk_len(index);
        let mut buffer = self.engine.buffers.take(len);
        let received = match buffer.get_mut(..len) {
            Some(space) => source.receive(space, self.engine.waits.stall),
            None => Ok(()),
        };
        match received {
            Ok(()) => Ok(buffer),
            Err(error) => {
                self.engine.buffers.give(buffer);
                Err(error)
            }
        }
    }

    /// Has a chunk verified and written, if anybody still wants it.
    pub(super) fn pass_on(&self, index: ChunkIndex, buffer: Vec<u8>, wanted: bool, own: bool) {
        if !wanted {
            self.engine.buffers.give(buffer);
            return;
        }
        let (counter, bad) = (self.counter.clone(), self.bad.0.clone());
        // The verify threads live until every worker has dropped its end of the channel.
        let _ = self.filled.send(Arrived { index, buffer, counter, own, bad });
    }
}
