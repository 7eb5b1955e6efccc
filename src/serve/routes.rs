//! From whom a member of a large swarm has a chunk that another one was handed: pure bookkeeping.
//!
//! Up to [`SWARM_MEMBERS`](config::SWARM_MEMBERS) + 1 members fetch from one another directly. Of
//! more than that, each would need too many connections; they are numbered, and a chunk goes by way
//! of others. The way from a member to the one that was handed a chunk, its *root*, is read off the
//! distance between their numbers, around the ring of all: written to the base
//! [`ROUTE_BASE`](config::ROUTE_BASE), its lowest digit that is not zero is the first step, and so
//! on until nothing is left. So a member only ever turns to those whose numbers are one digit away,
//! and everybody passes on about as much as everybody else.
//!
//! The numbers are given before anybody comes, and never change. A member that is gone or says
//! nothing is stepped over, and counts again should it come back; so are a few of those that are
//! handed far less than the others, because they are slow to pass it on. **Every step makes the
//! distance to the root smaller, whoever is gone at that moment**: so whatever was told to whom,
//! and when, members never wait for one another in a circle.

use std::collections::HashMap;
use std::time::Instant;

use crate::config;

/// Those who take part, or are expected to.
#[derive(Default)]
pub(super) struct Members {
    names: Vec<String>,
    states: Vec<State>,
    /// When each was heard of last; nothing when there is nothing more that it should say.
    heard: Vec<Option<Instant>>,
    /// How many chunks each asked for and was handed.
    handed: Vec<u32>,
    numbers: HashMap<String, usize>,
    /// So many of them are on the ring; nobody when all fetch directly.
    ring: usize,
    /// When somebody came first, and last.
    joined: Option<(Instant, Instant)>,
    /// When it was looked last who says nothing.
    looked: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Expected,
    Here,
    /// The same, but others do not have chunks by way of it.
    Slow,
    Gone,
}

impl Members {
    /// These are expected. Others may come, and fetch directly.
    pub(super) fn new(expected: &[String]) -> Self {
        match expected.len() > config::SWARM_MEMBERS + 1 {
            true => Self::on_a_ring(expected),
            false => Self::default(),
        }
    }

    /// These fetch by way of one another, however many they are.
    fn on_a_ring(expected: &[String]) -> Self {
        let mut members = Self::default();
        expected.iter().for_each(|name| {
            members.number(name);
        });
        members.ring = members.names.len();
        members
    }

    /// How many there are or were.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of that member, which gets one where it has none.
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(name.to_owned());
        self.states.push(State::Expected);
        self.heard.push(None);
        self.handed.push(0);
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// A member is here. Says its number, and whether that is news.
    pub(super) fn join(&mut self, name: &str, now: Instant) -> (usize, bool) {
        let number = self.number(name);
        if let Some(heard) = self.heard.get_mut(number) {
            *heard = Some(now);
        }
        match self.states.get_mut(number) {
            Some(state @ (State::Expected | State::Gone)) => *state = State::Here,
            _ => return (number, false),
        }
        self.joined = Some((self.joined.map_or(now, |(first, _)| first), now));
        (number, true)
    }

    /// The number of a member that is here for good, though it may say nothing; it gets one where it
    /// has none.
    pub(super) fn settled(&mut self, name: &str) -> usize {
        let number = self.number(name);
        if let Some(state @ (State::Expected | State::Gone)) = self.states.get_mut(number) {
            *state = State::Here;
        }
        self.knows_all(number);
        number
    }

    /// The number of that member, if it has one.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// A member was told all that there is to know, and need not ask any more.
    pub(super) fn knows_all(&mut self, number: usize) {
        if let Some(heard) = self.heard.get_mut(number) {
            *heard = None;
        }
    }

    /// A member will neither take part nor pass anything on. Says its number, when that is news.
    pub(super) fn leave(&mut self, name: &str) -> Option<usize> {
        let number = *self.numbers.get(name)?;
        let state = self.states.get_mut(number)?;
        (std::mem::replace(state, State::Gone) != State::Gone).then_some(number)
    }

    /// Those who are not waited for any more: they are still expected when nobody has come for some
    /// time, or were here and say nothing.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<usize> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let Some((first, last)) = self.joined.filter(|_| self.ring > 0) else { return Vec::new() };
        if self.looked.is_some_and(|looked| since(looked) < config::MEMBERS_LOOK) {
            return Vec::new();
        }
        self.looked = Some(now);
        // Each is served in turn: with many of them, the usual time between two words is long.
        let turn = since(first) / self.usually_handed().max(1);
        let silence = config::MEMBER_SILENCE.max(4 * turn);
        let mut lost = Vec::new();
        for (number, (state, heard)) in
            self.states.iter_mut().zip(&self.heard).take(self.ring).enumerate()
        {
            let over = match state {
                State::Expected => since(last) >= config::MEMBERS_COME,
                State::Here | State::Slow => heard.is_some_and(|heard| since(heard) >= silence),
                State::Gone => false,
            };
            if over {
                *state = State::Gone;
                lost.push(number);
            }
        }
        lost
    }

    /// A member asked for a chunk and was handed one. Says who is slow as from now: with few of
    /// them, those that were handed less than half as much as is usual.
    pub(super) fn handed(&mut self, number: usize) -> Vec<usize> {
        /// Chunks that must have been handed to each, about, before that says anything.
        const TELLING: u32 = 4;
        if let Some(handed) = self.handed.get_mut(number) {
            *handed += 1;
        }
        let (usual, all) =
            (self.usually_handed(), self.handed.iter().map(|handed| *handed as usize));
        // Once a round is enough.
        if self.ring == 0 || usual < TELLING || !all.sum::<usize>().is_multiple_of(self.ring) {
            return Vec::new();
        }
        let lags =
            |number: &usize| self.handed.get(*number).is_some_and(|handed| handed * 2 < usual);
        let slow: Vec<usize> = (0..self.ring).filter(lags).collect();
        // To step over many would take many more connections.
        if slow.len() > self.ring / 8 {
            return Vec::new();
        }
        let states = &mut self.states;
        let mut begins = |number: &usize| {
            let state = states.get_mut(*number).filter(|state| **state == State::Here);
            state.map(|state| *state = State::Slow).is_some()
        };
        slow.into_iter().filter(|number| begins(number)).collect()
    }

    fn usually_handed(&self) -> u32 {
        self.handed.iter().sum::<u32>() / (self.ring as u32).max(1)
    }

    pub(super) fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// Whether others may have a chunk of `root` by way of `member`.
    pub(super) fn relays(&self, member: usize, root: usize) -> bool {
        let base = config::ROUTE_BASE;
        member < self.ring
            && root < self.ring
            && member != root
            && self.distance(member, root).is_multiple_of(base)
    }

    /// From whom `me` is to have a chunk of `root`, which `holder` was given; nobody when that is
    /// `me`. With `lost`, only if that one would have been asked before.
    pub(super) fn source(
        &self,
        me: usize,
        (root, holder): (usize, usize),
        lost: Option<usize>,
    ) -> Option<usize> {
        if me == holder {
            return None;
        }
        let mut passed = lost.is_none();
        if me < self.ring && root < self.ring {
            for step in self.way(me, root) {
                passed |= lost == Some(step);
                let passes_on =
                    matches!(self.states.get(step), Some(State::Expected | State::Here));
                if step != root && passes_on {
                    return passed.then_some(step);
                }
            }
        }
        (passed || me >= self.ring).then_some(holder)
    }

    fn distance(&self, me: usize, root: usize) -> usize {
        (me + self.ring - root) % self.ring.max(1)
    }

    /// The members on the way from `me` to `root`, which comes last.
    fn way(&self, me: usize, root: usize) -> impl Iterator<Item = usize> {
        let (base, ring) = (config::ROUTE_BASE, self.ring.max(1));
        let (mut left, mut place) = (self.distance(me, root), 1);
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            while left / place % base == 0 {
                place *= base;
            }
            left -= left / place % base * place;
            Some((root + left) % ring)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Members {
        let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        Members::on_a_ring(&names)
    }

    /// How many different sources a member has, at most, and how much one of them passes on, at
    /// most.
    fn most(members: &Members, count: usize) -> (usize, usize) {
        let mut passed_on = vec![0; count];
        let sources = (0..count).map(|me| {
            let of = |root| members.source(me, (root, root), None);
            let mut sources: Vec<usize> = (0..count).filter_map(of).collect();
            sources.iter().for_each(|source| passed_on[*source] += 1);
            sources.sort_unstable();
            sources.dedup();
            sources.len()
        });
        let sources = sources.max().unwrap();
        (sources, passed_on.into_iter().max().unwrap())
    }

    #[test]
    fn few_members_fetch_directly_and_many_from_few() {
        let few = config::SWARM_MEMBERS + 1;
        let names: Vec<String> = (0..few).map(|number| number.to_string()).collect();
        assert_eq!(Members::new(&names).source(0, (5, 5), None), Some(5));
        assert_eq!(most(&members(64), 64), (9, 63));
        assert_eq!(most(&members(1000), 1000), (15, 999));
        let (sources, passed_on) = most(&members(40), 40);
        assert!(sources <= 9 && passed_on == 39, "{sources} sources, {passed_on} passed on");
    }

    #[test]
    fn every_step_leads_closer_whoever_is_gone() {
        let mut members = members(40);
        ["3", "17", "18", "39"].iter().for_each(|gone| assert!(members.leave(gone).is_some()));
        assert_eq!(members.leave("3"), None, "that is no news");
        for (me, root) in (0..40).flat_map(|me| (0..40).map(move |root| (me, root))) {
            let Some(source) = members.source(me, (root, root), None) else { continue };
            assert!(members.distance(source, root) < members.distance(me, root));
            assert!(source == root || members.states[source] != State::Gone);
        }
    }

    #[test]
    fn only_those_are_told_anew_who_would_have_asked_the_lost_one() {
        let mut members = members(64);
        // 21 is 111 to the base 4: by way of 20 and 16.
        assert_eq!(members.source(21, (0, 0), None), Some(20));
        members.leave("20");
        assert_eq!(members.source(21, (0, 0), Some(20)), Some(16));
        assert_eq!(members.source(22, (0, 0), Some(20)), Some(16));
        assert_eq!(members.source(25, (0, 0), Some(20)), None);
        // What 16 was handed, and somebody else instead when it was lost.
        members.leave("16");
        assert_eq!(members.source(17, (16, 40), Some(16)), Some(40));
        assert_eq!(members.source(40, (16, 40), Some(16)), None);
        assert_eq!(members.source(25, (16, 40), Some(16)), None, "24 is on the way");
    }

    #[test]
    fn those_who_do_not_come_are_given_up_when_nobody_else_comes() {
        let (mut members, now) = (members(20), Instant::now());
        assert!(members.give_up(now).is_empty(), "nobody has come");
        (0..19)
            .for_each(|number| assert_eq!(members.join(&number.to_string(), now), (number, true)));
        assert_eq!(members.source(0, (18, 18), None), Some(18));
        assert_eq!(members.give_up(now + config::MEMBERS_COME), [19]);
        assert!(members.give_up(now + config::MEMBERS_COME * 3 / 2).is_empty());
        assert_eq!(members.join("19", now), (19, true), "a late one takes part");
        assert_eq!(members.join("stranger", now), (20, true));
        assert_eq!(members.join("stranger", now), (20, false));
        assert_eq!(members.source(20, (5, 5), None), Some(5));
    }

    #[test]
    fn one_that_says_nothing_or_is_handed_little_is_stepped_over() {
        let (mut members, now) = (members(20), Instant::now());
        (0..20).for_each(|number| assert!(members.join(&number.to_string(), now).1));
        assert!(members.give_up(now).is_empty());
        (0..80).for_each(|at| assert!(members.handed(at % 20).is_empty()));
        let later = now + config::MEMBER_SILENCE;
        (1..20).for_each(|number| assert!(!members.join(&number.to_string(), later).1));
        members.knows_all(1);
        assert_eq!(members.give_up(later), [0]);
        assert!(members.join("0", later).1, "it is back");
        let slow =
            |members: &mut Members| (1..20).flat_map(|number| members.handed(number)).collect();
        let rounds: Vec<Vec<usize>> = (0..8).map(|_| slow(&mut members)).collect();
        assert_eq!(rounds.concat(), [0]);
        assert_eq!(members.source(1, (19, 19), None), Some(19), "not by way of 0");
        assert_eq!(members.source(1, (0, 0), None), Some(0), "its own are to be had from it alone");
    }
}
