//! What members of a swarm were handed, and are expected to bring.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::policy;
use super::{Ledger, SourceId, State, Unit};

impl Ledger {
    /// A unit that did not come from that source may be promised by another one, which was not
    /// asked.
    pub(super) fn offer_again(&mut self, id: SourceId, unit: Unit) {
        let by = self.promised.get(&unit).map(|(by, _)| *by).filter(|by| *by != id);
        let source = by.and_then(|by| self.sources.get_mut(by.0));
        if let Some(offers) = source.and_then(|source| source.offers.as_mut()) {
            offers.push_back(unit);
        }
    }

    /// The member is the one to have that unit from. What was said last counts: the one that was
    /// named before may be lost.
    pub fn promise(&mut self, id: SourceId, unit: Unit, now: Instant) {
        let again = self.promised.get(&unit).copied();
        let active = |by: &SourceId| self.sources.get(by.0).is_some_and(|by| by.active);
        let known = again.is_some_and(|(by, _)| by == id && active(&by));
        let wanted = match self.state(unit) {
            Some(State::Missing) => !known,
            Some(State::InFlight { .. }) => again.is_some() && !known,
            Some(State::Done | State::Failed) | None => false,
        };
        let Some(source) = self.sources.get_mut(id.0) else { return };
        if wanted {
            self.promised.insert(unit, (id, now));
            source.offers.get_or_insert_default().push_back(unit);
        }
    }

    /// The member has just these units, whatever was promised. Says whether any of them is of use.
    pub fn offers(&mut self, id: SourceId, has: impl IntoIterator<Item = Unit>) -> bool {
        let wanted = |unit: &Unit| {
            matches!(self.state(*unit), Some(State::Missing | State::InFlight { .. }))
        };
        let offers: VecDeque<Unit> = has.into_iter().filter(wanted).collect();
        let useful = !offers.is_empty();
        if let Some(source) = self.sources.get_mut(id.0) {
            source.offers = Some(offers);
        }
        self.promised.retain(|_, (by, _)| *by != id);
        useful
    }

    /// The source handed us that unit, and its bytes are here. Says whether they are wanted.
    pub fn claim(&mut self, id: SourceId, unit: Unit, now: Instant) -> bool {
        let len = self.len(unit);
        if let Some(source) = self.sources.get_mut(id.0) {
            source.came_unasked(len, now);
        }
        match self.state(unit) {
            Some(State::Missing) => {
                self.set(unit, State::InFlight { requesters: 1 });
                self.missing -= 1;
                true
            }
            // One copy more, beside those that were asked for.
            Some(State::InFlight { requesters }) => {
                self.set(unit, State::InFlight { requesters: requesters.saturating_add(1) });
                true
            }
            _ => false,
        }
    }

    /// The source's oldest request was answered by "not yet": it is asked again later.
    pub fn not_yet(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id.0) else { return };
        let Some(queued) = source.queue.front().copied() else { return };
        if let Some(offers) = &mut source.offers {
            offers.push_back(queued.unit);
        }
        self.never(id);
    }

    /// Whether a member that takes part was handed the unit not too long ago.
    pub(super) fn is_promised(&self, unit: Unit, now: Instant) -> bool {
        self.promised.get(&unit).is_some_and(|(id, since)| {
            let active = self.sources.get(id.0).is_some_and(|source| source.active);
            active && now.saturating_duration_since(*since) < self.patience()
        })
    }

    /// How long a unit that a member was handed is expected from there alone: members with slow
    /// links and large units need longer than others.
    pub(in crate::fetch) fn patience(&self) -> Duration {
        (3 * self.usual.unwrap_or_default()).clamp(policy::PATIENCE, policy::LONGEST_PATIENCE)
    }

    /// The next unit that a member has and nobody fetches yet; `None` inside when it has none, and
    /// outside when it is no member.
    pub(in crate::fetch) fn next_offer(&mut self, id: SourceId) -> Option<Option<Unit>> {
        let units = &self.units;
        let missing = |unit: &Unit| {
            units.get(unit.as_usize()).is_some_and(|unit| unit.state == State::Missing)
        };
        let offers = self.sources.get_mut(id.0)?.offers.as_mut()?;
        while let Some(unit) = offers.pop_front() {
            if missing(&unit) {
                return Some(Some(unit));
            }
        }
        Some(None)
    }

    /// The units from that number on that are here, or on their way from somebody who has
    /// everything. What is asked of another member does not count: it may be waiting for it, too,
    /// even at us.
    pub(in crate::fetch) fn begun(&self, from: u32) -> impl Iterator<Item = Unit> + '_ {
        let members = self.sources.iter().filter(|source| source.is_member());
        let asked = members.flat_map(|member| member.queue.iter().map(|queued| queued.unit));
        let mut of_members: Vec<Unit> = asked.collect();
        of_members.sort_unstable();
        (from..self.units.len() as u32).map(Unit).filter(move |unit| match self.state(*unit) {
            Some(State::Done) => true,
            Some(State::InFlight { .. }) => of_members.binary_search(unit).is_err(),
            _ => false,
        })
    }
}
