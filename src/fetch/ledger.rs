//! Who fetches which unit: pure bookkeeping, without threads, sockets or a clock of its own.
//!
//! **Invariant:** at any time a unit is in exactly one state: missing, in flight at one or two
//! sources, done, or failed because nobody is left who may have it. A source holds a unit only as
//! long as it is queued there; leaving, failing and answering all take it out of that queue. The
//! *choice* of the next unit is in `policy`; time is passed in as `now`.

mod members;
mod words;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pace::{Queued, Source};
use super::policy;

pub use words::{Grant, NewUnit, SourceId, Unit};

/// The state of all units of one transfer, and what is known of its sources.
#[derive(Default)]
pub struct Ledger {
    units: Vec<Entry>,
    /// No unit before this one is missing.
    first_missing: usize,
    missing: usize,
    /// Units that are neither done nor failed, and their bytes.
    open: usize,
    open_bytes: u64,
    /// More units may come.
    grows: bool,
    /// Until then only what must be known first is fetched.
    held: Option<Instant>,
    sources: Vec<Source>,
    /// Units that members of a swarm were handed, until they are here: by whom to expect them, and
    /// since when.
    promised: HashMap<Unit, (SourceId, Instant)>,
    /// How long such a unit usually takes to come: follows the median, so that one slow member
    /// does not make all the others wait longer.
    usual: Option<Duration>,
}

struct Entry {
    name: u32,
    len: u32,
    state: State,
    sources: Option<Arc<[usize]>>,
    lasting: bool,
    first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Missing,
    InFlight { requesters: u8 },
    Done,
    Failed,
}

impl Ledger {
    /// These units, and no more.
    pub fn new(units: impl IntoIterator<Item = NewUnit>) -> Self {
        let mut ledger = Self::default();
        ledger.add(units);
        ledger
    }

    /// More units may come until [`Self::is_whole`].
    pub(super) fn grow(&mut self) {
        self.grows = true;
    }

    /// No more units come.
    pub(super) fn is_whole(&mut self) {
        self.grows = false;
    }

    /// Only what must be known first is fetched until that time.
    pub(super) fn hold(&mut self, until: Option<Instant>) {
        self.held = until;
    }

    /// Adds units behind those that are there; gives the number of the first of them.
    pub fn add(&mut self, units: impl IntoIterator<Item = NewUnit>) -> u32 {
        let begin = self.units.len();
        for NewUnit { name, len, sources, lasting, done, first } in units {
            let state = if done { State::Done } else { State::Missing };
            if !done {
                self.missing += 1;
                self.open += 1;
                self.open_bytes += u64::from(len);
                self.first_missing = self.first_missing.min(self.units.len());
            }
            let unit = Unit(self.units.len() as u32);
            self.units.push(Entry { name, len, state, sources, lasting, first });
            self.check_sources(unit);
        }
        begin as u32
    }

    /// The names of all units that are in flight.
    pub(super) fn in_flight(&self) -> Vec<u32> {
        let under_way = |unit: &&Entry| matches!(unit.state, State::InFlight { .. });
        self.units.iter().filter(under_way).map(|unit| unit.name).collect()
    }

    /// What nobody fetches yet is not wanted any more: it comes as other units.
    pub(super) fn withdraw(&mut self) {
        for at in 0..self.units.len() {
            if self.units.get(at).is_some_and(|unit| unit.state == State::Missing && !unit.first) {
                self.close(Unit(at as u32), State::Done);
            }
        }
    }

    /// The unit of that number, if there is one.
    pub(super) fn unit(&self, number: u32) -> Option<Unit> {
        ((number as usize) < self.units.len()).then_some(Unit(number))
    }

    /// What the job calls a unit.
    pub(super) fn name(&self, unit: Unit) -> u32 {
        self.units.get(unit.as_usize()).map_or(u32::MAX, |unit| unit.name)
    }

    /// The length of a unit in bytes.
    pub(super) fn len(&self, unit: Unit) -> u64 {
        self.units.get(unit.as_usize()).map_or(0, |unit| u64::from(unit.len))
    }

    /// A new source that may have every unit.
    pub fn join(&mut self) -> SourceId {
        self.join_with(Source::new(None, false))
    }

    /// The same, which begins at the end: what another source gives of its own accord, in their
    /// order, is met as late as can be.
    pub fn join_late(&mut self) -> SourceId {
        self.join_with(Source::new(None, true))
    }

    /// A new source that has, or will have, only the units that it is said to be given.
    pub fn join_member(&mut self) -> SourceId {
        self.join_with(Source::new(Some(VecDeque::new()), false))
    }

    fn join_with(&mut self, source: Source) -> SourceId {
        self.sources.push(source);
        SourceId(self.sources.len() - 1)
    }

    /// The source ends or pauses: all that it was to fetch is missing again. What is known of its
    /// speed is forgotten.
    pub fn leave(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id.0) else { return };
        for queued in source.leave() {
            self.give_back(queued.unit);
            self.offer_again(id, queued.unit);
        }
    }

    /// The source does not come back: what nobody else may have has failed.
    pub(super) fn gone(&mut self, id: SourceId) {
        self.leave(id);
        if let Some(source) = self.sources.get_mut(id.0) {
            source.gone = true;
        }
        for number in 0..self.units.len() as u32 {
            self.check_sources(Unit(number));
        }
    }

    fn check_sources(&mut self, unit: Unit) {
        let Some(entry) = self.units.get(unit.as_usize()) else { return };
        let Some(sources) = &entry.sources else { return };
        let gone = |slot: &usize| self.sources.get(*slot).is_some_and(|source| source.gone);
        let fails = !entry.lasting && entry.state == State::Missing;
        if fails && sources.iter().all(gone) {
            self.close(unit, State::Failed);
        }
    }

    /// The source takes part again after it left.
    pub fn rejoin(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(id.0) {
            source.active = true;
        }
    }

    /// The source's oldest request was answered by "not yet", and there is nothing to wait for.
    pub fn never(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id.0) else { return };
        if let Some(queued) = source.dequeue() {
            self.give_back(queued.unit);
        }
    }

    /// Asks for the next unit that this source should request.
    pub fn lease(&mut self, id: SourceId, now: Instant) -> Grant {
        if self.is_complete() {
            return Grant::Complete;
        }
        let Some(unit) = policy::choose(self, id, now) else {
            return if self.is_of_use(id) { Grant::Nothing } else { Grant::Complete };
        };
        let len = self.len(unit);
        let Some(source) = self.sources.get_mut(id.0) else { return Grant::Nothing };
        source.enqueue(Queued { unit, len, asked: now });
        match self.state(unit) {
            Some(State::InFlight { requesters }) => {
                self.set(unit, State::InFlight { requesters: requesters + 1 });
            }
            Some(State::Missing) => {
                self.set(unit, State::InFlight { requesters: 1 });
                self.missing -= 1;
            }
            _ => {}
        }
        Grant::Unit(unit)
    }

    /// The newest request of the source was of no use, and not sent: its unit needs no fetching.
    pub(super) fn unlease(&mut self, id: SourceId, unit: Unit) {
        if let Some(source) = self.sources.get_mut(id.0) {
            source.take_back();
        }
        self.complete(unit);
    }

    /// The answer to the source's oldest request is here, not yet verified. Says whether it is
    /// still wanted.
    pub fn arrived(&mut self, id: SourceId, now: Instant) -> bool {
        let Some(source) = self.sources.get_mut(id.0) else { return false };
        let Some(queued) = source.answered(now) else { return false };
        if let Some((_, since)) = self.promised.get(&queued.unit).filter(|(by, _)| *by == id) {
            let took = now.saturating_duration_since(*since);
            self.usual = Some(match self.usual {
                None => took,
                Some(usual) if took > usual => usual + usual / 16,
                Some(usual) => usual - usual / 16,
            });
        }
        !matches!(self.state(queued.unit), Some(State::Done | State::Failed) | None)
    }

    /// A good copy of the unit is here. Says whether it is the first one.
    pub fn complete(&mut self, unit: Unit) -> bool {
        match self.state(unit) {
            Some(State::Missing | State::InFlight { .. }) => {
                self.close(unit, State::Done);
                true
            }
            _ => false,
        }
    }

    /// One requester fewer: the unit did not come, or did not verify.
    pub fn give_back(&mut self, unit: Unit) {
        match self.state(unit) {
            Some(State::InFlight { requesters: 0 | 1 }) => {
                self.set(unit, State::Missing);
                self.missing += 1;
                self.first_missing = self.first_missing.min(unit.as_usize());
                self.check_sources(unit);
            }
            Some(State::InFlight { requesters }) => {
                self.set(unit, State::InFlight { requesters: requesters - 1 });
            }
            _ => {}
        }
    }

    fn close(&mut self, unit: Unit, state: State) {
        let len = self.len(unit);
        if self.state(unit) == Some(State::Missing) {
            self.missing -= 1;
        }
        self.set(unit, state);
        self.open -= 1;
        self.open_bytes = self.open_bytes.saturating_sub(len);
        self.promised.remove(&unit);
    }

    fn state(&self, unit: Unit) -> Option<State> {
        self.units.get(unit.as_usize()).map(|unit| unit.state)
    }

    fn set(&mut self, unit: Unit, state: State) {
        if let Some(unit) = self.units.get_mut(unit.as_usize()) {
            unit.state = state;
        }
    }

    /// Whether the unit is here.
    pub(super) fn is_done(&self, unit: Unit) -> bool {
        self.state(unit) == Some(State::Done)
    }

    /// Whether every unit is done or failed, and no more will come.
    pub fn is_complete(&self) -> bool {
        self.open == 0 && !self.grows
    }

    /// The oldest request of a source, whose answer comes next.
    pub fn oldest(&self, id: SourceId) -> Option<Unit> {
        Some(self.sources.get(id.0)?.queue.front()?.unit)
    }

    /// The next unit for a source that nobody fetches and nobody is expected to bring.
    pub(super) fn next_missing(&mut self, id: SourceId, now: Instant) -> Option<Unit> {
        if self.missing == 0 {
            return None;
        }
        let from = self.first_missing;
        let at = self.units.iter().skip(from).position(|unit| unit.state == State::Missing)?;
        self.first_missing += at;
        let held = self.held.is_some_and(|until| now < until);
        let is_for = |unit: &Unit| self.is_for(*unit, id, held) && !self.is_promised(*unit, now);
        let mut all = (self.first_missing as u32..self.units.len() as u32).map(Unit);
        match self.sources.get(id.0)?.from_end {
            true => all.rev().find(is_for),
            false => all.find(is_for),
        }
    }

    /// Whether a unit is missing, and that source may be asked for it now.
    fn is_for(&self, unit: Unit, id: SourceId, held: bool) -> bool {
        let entry = self.units.get(unit.as_usize());
        let may_go = |entry: &Entry| entry.state == State::Missing && (entry.first || !held);
        entry.is_some_and(may_go) && self.may_have(unit, id)
    }

    /// Units that are neither done nor failed, and all units.
    pub(super) fn lacks(&self) -> (usize, usize) {
        (self.open, self.units.len())
    }

    /// Bytes that are not here.
    pub(super) fn remaining(&self) -> u64 {
        self.open_bytes
    }

    /// About how long units are: as long as the one that is missing first.
    pub(super) fn usual_len(&self) -> u64 {
        let first = self.units.iter().skip(self.first_missing).find(|unit| !unit.first);
        first.map_or(1, |unit| u64::from(unit.len).max(1))
    }

    pub(super) fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0)
    }

    pub(super) fn source_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.get_mut(id.0)
    }

    /// The sources that take part.
    pub(super) fn active(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.active)
            .map(|(at, source)| (SourceId(at), source))
    }

    /// Whether that source may have the unit.
    pub(super) fn may_have(&self, unit: Unit, id: SourceId) -> bool {
        self.units.get(unit.as_usize()).is_some_and(|unit| {
            let later = || self.sources.get(id.0).is_some_and(|source| source.from_end);
            unit.sources.as_ref().is_none_or(|sources| sources.contains(&id.0)) || later()
        })
    }

    /// Whether anything that is not here may come from that source.
    fn is_of_use(&self, id: SourceId) -> bool {
        let is_open = |unit: &Unit| {
            matches!(self.state(*unit), Some(State::Missing | State::InFlight { .. }))
        };
        let is_member = self.sources.get(id.0).is_some_and(Source::is_member);
        let mut all = (0..self.units.len() as u32).map(Unit);
        is_member || self.grows || all.any(|unit| is_open(&unit) && self.may_have(unit, id))
    }

    /// Whether exactly one source fetches the unit, and that one may have it, too.
    pub(super) fn may_take_over(&self, unit: Unit, id: SourceId) -> bool {
        self.state(unit) == Some(State::InFlight { requesters: 1 }) && self.may_have(unit, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ledger {
        /// Sees to it that every unit is where its state says, beside the copies that are looked at.
        pub(in crate::fetch) fn check(&self, looked_at: &HashMap<Unit, u8>) {
            let mut queued: HashMap<Unit, u8> = HashMap::new();
            for source in &self.sources {
                source
                    .queue
                    .iter()
                    .for_each(|request| *queued.entry(request.unit).or_default() += 1);
                let bytes: u64 = source.queue.iter().map(|request| request.len).sum();
                assert_eq!(bytes, source.queued);
            }
            let (mut missing, mut open) = (0, 0);
            for (number, entry) in self.units.iter().enumerate() {
                let unit = Unit(number as u32);
                let count = |of: &HashMap<Unit, u8>| of.get(&unit).copied().unwrap_or(0);
                let held = count(&queued) + count(looked_at);
                match entry.state {
                    State::Missing => assert_eq!(held, 0, "{unit:?} is missing and asked for"),
                    State::InFlight { requesters } => {
                        assert!(count(&queued) <= 2, "{unit:?} is asked of a third");
                        assert_eq!(held, requesters, "{unit:?}: {held} of {requesters}");
                    }
                    State::Done | State::Failed => {}
                }
                missing += usize::from(entry.state == State::Missing);
                open += usize::from(matches!(entry.state, State::Missing | State::InFlight { .. }));
            }
            assert_eq!((missing, open), (self.missing, self.open));
            assert!(
                self.units.iter().take(self.first_missing).all(|unit| unit.state != State::Missing)
            );
        }
    }
}
