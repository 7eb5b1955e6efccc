//! The thread of one source: does what its course says, and passes on what comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::buffers::Buffer;
use super::course::{Course, Facts, Next, Want};
use super::engine::{Arrived, Engine, Piece};
use super::job::{JobError, Learnt};
use super::ledger::Unit;
use super::outage::{Outage, Verdict};
use super::plan::Plan;
use super::progress::{Counter, Event};
use super::source::{Answer, Ask, Dial, Handed, Source, SourceError, misbehaved};
use super::swarm::Swarm;
use crate::config;
use crate::content::ChunkSet;
use crate::locks::{lock, wait_timeout};
use crate::topology::PeerId;
use crate::transport::Closer;
use crate::wire::{Request, Response};

/// The thread of one source.
pub(super) struct Worker<'e, 'a> {
    engine: &'e Engine<'a>,
    course: Course,
    /// What was asked, in the order of the answers.
    asked: VecDeque<Ask>,
    counter: Arc<Counter>,
    filled: Sender<Piece>,
    /// A verify thread says here that a unit of this source was bad.
    bad: (Sender<()>, Receiver<()>),
}

impl<'e, 'a> Worker<'e, 'a> {
    pub(super) fn new(
        engine: &'e Engine<'a>,
        course: Course,
        peer: &PeerId,
        filled: Sender<Piece>,
    ) -> Self {
        let counter = engine.progress.join(peer.clone());
        Self { engine, course, asked: VecDeque::new(), counter, filled, bad: bounded(1) }
    }

    /// What the source contributes is counted here.
    pub(super) fn counter(&self) -> Arc<Counter> {
        self.counter.clone()
    }

    /// Uses the source until the transfer is over or the source is beyond hope.
    pub(super) fn run(mut self, mut dial: Box<dyn Dial + '_>) {
        let peer = dial.peer().clone();
        let mut outage = Outage::new(self.engine.waits, Instant::now());
        while !self.engine.is_over() {
            let before = self.counter.bytes();
            let result = match dial.dial(&self.engine.cancel) {
                Ok(source) => {
                    self.is_reached(&peer, &mut outage);
                    self.drain(source)
                }
                Err(error) => Err(error),
            };
            let Err(error) = self.judged(result) else { break };
            // A source that ends with the transfer is not lost, but a bad unit is always told.
            if self.engine.is_over() && !error.is_integrity() {
                break;
            }
            if self.parts(&error) {
                log::debug!("asking {peer} for everything: {error}");
                continue;
            }
            if self.counter.bytes() > before {
                outage.came(Instant::now());
            }
            // Who fetches with others has them; they are not to wait.
            let alone = !self.course.is_together();
            let verdict = match dial.can_redial() {
                true => outage.failed(error, alone, Instant::now()),
                false => Verdict::Lost(error),
            };
            if !self.waits_for(&peer, verdict, &outage) {
                break;
            }
        }
        self.counter.set_away(false);
        self.counter.end();
        lock(&self.engine.plan).lost(self.course.is_whole());
    }

    /// Does what was decided after a failure. Says whether the source is tried again.
    fn waits_for(&mut self, peer: &PeerId, verdict: Verdict, outage: &Outage) -> bool {
        let peer = peer.clone();
        let (event, pause) = match verdict {
            Verdict::Lost(error) => {
                let learnt = self.engine.job.lost(self.course.id, &error);
                let quiet = learnt.quiet;
                // What others may have of it is known before it fails with this source.
                self.engine.learn(learnt);
                self.course.lost(&mut lock(&self.engine.plan), &error);
                self.engine.work();
                self.engine.end_if_complete();
                self.engine.lose(peer, error, quiet);
                return false;
            }
            Verdict::Wait(pause, reason) => {
                self.counter.set_away(true);
                (Some(Event::Waiting { peer, reason }), pause)
            }
            Verdict::Again(pause, _) if outage.is_waiting() => (None, pause),
            Verdict::Again(pause, reason) => (Some(Event::SourceRetried { peer, reason }), pause),
        };
        event.into_iter().for_each(self.engine.observer);
        self.pause(pause);
        true
    }

    fn is_reached(&self, peer: &PeerId, outage: &mut Outage) {
        if let Some(after) = outage.reached(Instant::now()) {
            self.counter.set_away(false);
            (self.engine.observer)(Event::Back { peer: peer.clone(), after });
        }
    }

    /// The word about a bad unit may come when the source is not listened to any more.
    fn judged(&self, result: Result<(), SourceError>) -> Result<(), SourceError> {
        match result {
            // It has said already why its units are bad.
            Err(SourceError::Changed) => result,
            _ if self.was_bad() => Err(SourceError::BadChunk),
            _ => result,
        }
    }

    /// Takes leave of a connection; says whether the source failed only at handing out.
    fn parts(&mut self, error: &SourceError) -> bool {
        self.asked.clear();
        let parts = self.course.failed(&mut lock(&self.engine.plan), error);
        self.engine.changed.notify_all();
        parts
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.engine.is_over() && Instant::now() < until {
            self.wait_for_news(config::IDLE_POLL);
        }
    }

    /// Waits until the plan changed, or so long.
    fn wait_for_news(&self, time: Duration) {
        drop(wait_timeout(&self.engine.changed, lock(&self.engine.plan), time));
    }

    fn was_bad(&self) -> bool {
        self.bad.1.try_recv().is_ok()
    }

    /// Fetches from a connected source until nothing is left to do.
    fn drain(&mut self, mut source: Box<dyn Source + '_>) -> Result<(), SourceError> {
        let _registration = source.closer().map(|closer: Closer| self.engine.cancel.closes(closer));
        let done = self.engine.done();
        let way = source.round_trip();
        self.course.connected(&mut lock(&self.engine.plan), way, done, Instant::now());
        if self.engine.swarm.is_some_and(Swarm::is_known) && self.course.is_whole() {
            self.with_plan(|course, plan| course.is_shared(plan, Instant::now()));
        }
        loop {
            if self.was_bad() {
                // The others need not wait for what this one says.
                lock(&self.engine.plan).ledger.leave(self.course.id);
                self.engine.changed.notify_all();
                return Err(source.excuse(self.engine.job.called().map(|(root, _)| root)));
            }
            self.engine.cut_if_due();
            let talk = self.engine.job.talk(self.course.id);
            match self.next(talk.is_some()) {
                Next::Ask(want) => self.ask(&mut *source, &want, talk)?,
                Next::Read(want) => self.read(&mut *source, want)?,
                Next::Wait(time) => {
                    source.idle()?;
                    self.wait_for_news(time);
                }
                Next::Complete => return Ok(()),
            }
        }
    }

    fn next(&mut self, talks: bool) -> Next {
        let (engine, course) = (self.engine, &mut self.course);
        let over = engine.is_over();
        let facts = Facts { keeps_up: &|slack| engine.job.keeps_up(slack), talks, over };
        course.next(&mut lock(&engine.plan), &facts, Instant::now())
    }

    /// Does something with the plan, and passes on what that wants done.
    fn with_plan<T>(&mut self, act: impl FnOnce(&mut Course, &mut Plan) -> T) -> T {
        let (result, errands) = {
            let mut plan = lock(&self.engine.plan);
            (act(&mut self.course, &mut plan), plan.take_errands())
        };
        self.engine.send_on_errands(errands);
        result
    }

    /// Sends the request for what the course wants.
    fn ask(
        &mut self,
        source: &mut dyn Source,
        want: &Want,
        talk: Option<Request>,
    ) -> Result<(), SourceError> {
        let ask = self.engine.ask_for(want, self.course.is_whole(), talk);
        match ask {
            Some(ask) => {
                source.ask(&ask)?;
                self.asked.push_back(ask);
                Ok(())
            }
            None => {
                self.with_plan(Course::unsent);
                self.engine.end_if_complete();
                Ok(())
            }
        }
    }

    /// Reads the answer to the oldest request.
    fn read(&mut self, source: &mut dyn Source, want: Want) -> Result<(), SourceError> {
        let Some(ask) = self.asked.front() else {
            return Err(misbehaved("an answer to nothing"));
        };
        let answer = source.answer(ask, &self.engine.waits)?;
        self.asked.pop_front();
        match (want, answer) {
            (Want::Unit(unit), Answer::Bytes { len, there, shared }) => {
                if shared {
                    self.with_plan(|course, plan| course.is_shared(plan, Instant::now()));
                }
                let buffer = self.receive(source, len)?;
                let wanted = self.with_plan(|course, plan| course.came(plan, Instant::now()));
                log::trace!("unit {} came", unit.get());
                self.pass_on((unit, buffer, len, there), wanted, false);
                Ok(())
            }
            (Want::Unit(_), Answer::NotYet) => self.not_yet(),
            (Want::Advice { .. }, Answer::Handed(handed)) => self.handed(source, &handed),
            (Want::Has, Answer::Small(response, payload)) => self.has(*response, &payload),
            (Want::Cut, Answer::Small(response, _)) => {
                let called = self.engine.job.called().map(|(id, _)| id);
                let same = matches!(*response, Response::Cut { id, .. } if Some(id) == called);
                self.course.has_cut(same);
                Ok(())
            }
            (want @ (Want::Talk | Want::Unit(_)), Answer::Small(response, payload)) => {
                self.heard(&want, *response, payload)
            }
            (Want::Advice { .. }, Answer::NotYet) => Err(SourceError::NotYet),
            (want, answer) => Err(misbehaved(format!("{answer:?} in answer to {want:?}"))),
        }
    }

    /// Reads the bytes that have come.
    fn receive(&self, source: &mut dyn Source, len: usize) -> Result<Buffer, SourceError> {
        let mut buffer = self.engine.buffers.take();
        match source.receive(buffer.space(len), self.engine.waits.stall) {
            Ok(()) => Ok(buffer),
            Err(error) => {
                self.engine.buffers.give(buffer);
                Err(error)
            }
        }
    }

    /// Has a unit verified and kept, if anybody still wants it.
    fn pass_on(
        &self,
        (unit, buffer, len, there): (Unit, Buffer, usize, Option<Vec<bool>>),
        wanted: bool,
        own: bool,
    ) {
        if !wanted {
            return self.engine.buffers.give(buffer);
        }
        let (counter, bad, source) = (self.counter.clone(), self.bad.0.clone(), self.course.id);
        let arrived = Arrived { unit, source, buffer, len, there, counter, own, bad };
        // The verify threads live until every worker has dropped its end of the channel.
        let _ = self.filled.send(Piece::Unit(arrived));
    }

    fn not_yet(&mut self) -> Result<(), SourceError> {
        let done = self.engine.done();
        self.with_plan(|course, plan| course.not_yet(plan, done, Instant::now()))?;
        // Where it may not wait, it answers at once.
        self.wait_for_news(config::IDLE_POLL);
        Ok(())
    }

    /// Takes what advice brings: a unit of our own, and who has the others.
    fn handed(&mut self, source: &mut dyn Source, handed: &Handed) -> Result<(), SourceError> {
        let done = self.engine.done();
        let unit =
            self.with_plan(|course, plan| course.handed(plan, handed, done, Instant::now()))?;
        self.engine.changed.notify_all();
        let Some(unit) = unit else { return Ok(()) };
        let len = lock(&self.engine.plan).ledger.len(unit) as usize;
        if len != handed.len {
            let what = format!("{} bytes of unit {}, which has {len}", handed.len, unit.get());
            return Err(misbehaved(what));
        }
        let buffer = self.receive(source, len)?;
        let wanted = self.with_plan(|course, plan| course.claimed(plan, unit, Instant::now()));
        self.pass_on((unit, buffer, len, None), wanted, true);
        Ok(())
    }

    fn has(&mut self, response: Response, payload: &[u8]) -> Result<(), SourceError> {
        let Response::Have = response else {
            return Err(misbehaved(format!("{response:?} in answer to have")));
        };
        let layout = self.engine.job.called().map(|(_, layout)| layout);
        let set = layout.and_then(|layout| ChunkSet::from_bytes(&layout, payload));
        let set = set.ok_or(SourceError::NotServing)?;
        self.with_plan(|course, plan| course.has(plan, &set, Instant::now()))
    }

    /// Tells the job what it wanted to know.
    fn heard(
        &mut self,
        want: &Want,
        response: Response,
        payload: Vec<u8>,
    ) -> Result<(), SourceError> {
        let unit = match want {
            Want::Unit(unit) => Some(lock(&self.engine.plan).ledger.name(*unit)),
            _ => None,
        };
        let learnt = match self.engine.job.heard(self.course.id, unit, response, payload) {
            Ok(learnt) => learnt,
            Err(JobError::Source(error)) => return Err(error),
            Err(JobError::Store(error)) => {
                self.engine.fail(error.into());
                return Ok(());
            }
        };
        if learnt.shared {
            self.with_plan(|course, plan| course.is_shared(plan, Instant::now()));
        }
        match want {
            Want::Unit(_) if learnt.again => {
                learnt.events.into_iter().for_each(self.engine.observer);
                return self.not_yet();
            }
            Want::Unit(unit) => self.with_plan(|course, plan| {
                course.came(plan, Instant::now());
                plan.ledger.add(learnt.units);
                plan.ledger.complete(*unit);
            }),
            _ => {
                self.course.talked();
                self.engine.learn(learnt);
                let _ = self.filled.send(Piece::Heard);
                return Ok(());
            }
        }
        self.engine.learn(Learnt { events: learnt.events, ..Default::default() });
        Ok(())
    }
}
