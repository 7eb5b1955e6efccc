//! The thread of one source of small contents: it leases batches, asks for them ahead of the
//! answers, and passes on what comes, unproven.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::batches::{Content, Lease};
use super::gather::{Arrived, Gather};
use super::locked;
use super::supply::Supply;
use crate::config;
use crate::content::Digest;
use crate::fetch::outage::{Outage, Verdict};
use crate::fetch::progress::Event;
use crate::fetch::source::{SourceError, misbehaved};
use crate::wire::{Request, Response};

/// The thread of one source.
pub(super) struct Worker<'g, 'a> {
    gather: &'g Gather<'a>,
    source: usize,
    arrived: Sender<Arrived>,
    /// A writing thread says here that something of this source was bad.
    bad: (Sender<()>, Receiver<()>),
}

impl<'g, 'a> Worker<'g, 'a> {
    pub(super) fn new(gather: &'g Gather<'a>, source: usize, arrived: Sender<Arrived>) -> Self {
        Self { gather, source, arrived, bad: bounded(1) }
    }

    /// Uses the source until everything is there or the source is beyond hope.
    pub(super) fn run(self, supply: &mut Supply<'_>) {
        let (gather, source) = (self.gather, self.source);
        let mut outage = Outage::new(gather.waits, Instant::now());
        while !gather.is_over() {
            let before = gather.contributed(source);
            let result = self.drain(supply, &mut outage);
            let Err(error) = result else { break };
            supply.hang_up();
            if gather.contributed(source) > before {
                outage.came(Instant::now());
            }
            let reason = error.to_string();
            let verdict = match supply.can_redial() {
                true => outage.failed(error, true, Instant::now()),
                false => Verdict::Lost(error),
            };
            locked(&gather.batches).leave(source, matches!(verdict, Verdict::Lost(_)));
            gather.changed.notify_all();
            if gather.is_over() {
                break;
            }
            let peer = supply.peer().clone();
            let (event, pause) = match verdict {
                Verdict::Lost(error) => {
                    gather.lose(&peer, error);
                    break;
                }
                Verdict::Wait(pause) => {
                    self.set_away(true);
                    (Some(Event::Waiting { peer, reason }), pause)
                }
                Verdict::Again(pause) if outage.is_waiting() => (None, pause),
                Verdict::Again(pause) => (Some(Event::SourceRetried { peer, reason }), pause),
            };
            event.into_iter().for_each(gather.observer);
            self.pause(pause);
        }
        self.set_away(false);
        gather.leave(source);
    }

    fn set_away(&self, away: bool) {
        if let Some(counter) = self.gather.counters.get(self.source) {
            counter.set_away(away);
        }
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.gather.is_over() && Instant::now() < until {
            self.wait_for_news();
        }
    }

    fn wait_for_news(&self) {
        let batches = locked(&self.gather.batches);
        let waited = self.gather.changed.wait_timeout(batches, config::IDLE_POLL);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks and reads until nothing is left to do.
    fn drain(&self, supply: &mut Supply<'_>, outage: &mut Outage) -> Result<(), SourceError> {
        let _registration = supply.connect(&self.gather.cancel)?;
        if outage.is_waiting() {
            supply.connection()?.introduce()?;
        }
        if let Some(after) = outage.reached(Instant::now()) {
            self.set_away(false);
            (self.gather.observer)(Event::Back { peer: supply.peer().clone(), after });
        }
        loop {
            if self.bad.1.try_recv().is_ok() {
                return Err(SourceError::BadChunk);
            }
            let complete = self.ask(supply)?;
            let oldest = locked(&self.gather.batches).oldest(self.source);
            match oldest {
                Some(batch) => {
                    self.receive(supply, batch)?;
                    supply.report(self.gather.progress)?;
                }
                None if complete || self.gather.is_over() => return Ok(()),
                None => self.wait_for_news(),
            }
        }
    }

    /// Sends requests as long as there is something to ask for. Says whether everything is there.
    fn ask(&self, supply: &mut Supply<'_>) -> Result<bool, SourceError> {
        loop {
            let lease = {
                let mut batches = locked(&self.gather.batches);
                if batches.under_way(self.source) >= config::GATHERS_AHEAD {
                    return Ok(false);
                }
                batches.lease(self.source, Instant::now())
            };
            match lease {
                Lease::Batch(batch) => {
                    let root = |content: &Content| {
                        self.gather.contents.get(*content).map(|small| small.root.0)
                    };
                    let roots: Vec<Digest> = batch.iter().filter_map(root).collect();
                    supply.connection()?.send(&Request::Gather, &Digest::join(&roots))?;
                }
                Lease::Nothing => return Ok(false),
                Lease::Complete => return Ok(true),
            }
        }
    }

    /// Reads one answer and passes it on.
    fn receive(&self, supply: &mut Supply<'_>, batch: Vec<Content>) -> Result<(), SourceError> {
        let connection = supply.connection()?;
        let head = connection.answer(self.gather.waits.stall)?;
        let lengths = match head.message {
            Response::Gathered { lengths, .. } => lengths,
            Response::Error(refusal) => return Err(refusal.into()),
            other => return Err(misbehaved(format!("{other:?} in answer to gather"))),
        };
        let contents = self.sort(&batch, &lengths, head.payload as usize)?;
        let mut payload = vec![0; head.payload as usize];
        connection.read_payload(&mut payload, self.gather.waits.stall)?;
        let mut batches = locked(&self.gather.batches);
        for (content, length) in batch.into_iter().zip(lengths) {
            if length.is_none() {
                batches.missed(content, self.source);
            }
        }
        batches.answered(self.source);
        let complete = batches.is_complete();
        drop(batches);
        if complete {
            self.gather.end();
        }
        let arrived = Arrived { source: self.source, contents, payload, bad: self.bad.0.clone() };
        // The writing threads live until every worker has dropped its end of the channel.
        let _ = self.arrived.send(arrived);
        Ok(())
    }

    /// Which contents came; an answer that is not what was asked for is an error before its payload
    /// is read.
    fn sort(
        &self,
        batch: &[Content],
        lengths: &[Option<u32>],
        payload: usize,
    ) -> Result<Vec<(Content, usize)>, SourceError> {
        if lengths.len() != batch.len() {
            return Err(misbehaved(format!("{} lengths for {} files", lengths.len(), batch.len())));
        }
        let mut contents = Vec::with_capacity(batch.len());
        let mut sum: usize = 0;
        for (content, length) in batch.iter().zip(lengths) {
            let Some(length) = length.map(|length| length as usize) else { continue };
            let expected = self.gather.contents.get(*content).map(|small| small.length);
            if expected != Some(length as u64) {
                return Err(misbehaved("a file of another length than it was listed with"));
            }
            sum = sum.saturating_add(length);
            contents.push((*content, length));
        }
        match sum == payload {
            true => Ok(contents),
            false => Err(misbehaved(format!("{payload} bytes of files that are {sum} bytes long"))),
        }
    }
}
