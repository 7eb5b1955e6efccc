//! From whom a member of a large swarm has a chunk that another one was handed: pure bookkeeping.
//!
//! Up to [`SWARM_MEMBERS`](config::SWARM_MEMBERS) + 1 members fetch from one another directly. Of more
//! than that, each would need too many connections; they are numbered, and a chunk goes by way of others.
//! The way from a member to the one that was handed a chunk, its *root*, is read off the distance between
//! their numbers, around the ring of all: written to the base [`ROUTE_BASE`](config::ROUTE_BASE), its lowest
//! digit that is not zero is the first step, and so on until nothing is left. So a member only ever
//! turns to those whose numbers are one digit away, and everybody passes on about as much as everybody else.
//!
//! The numbers are given before anybody comes, and never change. A member that is gone is stepped over, and
//! counts again should it come back. **Every step makes the distance to the root smaller, whoever is gone at that
//! moment**: so whatever was told to whom, and when, members never wait for one another in a circle.

use std::collections::HashMap;
use std::time::Instant;

use crate::config;

/// Those who take part, or are expected to.
#[derive(Default)]
pub(super) struct Members {
    names: Vec<String>,
    states: Vec<State>,
    numbers: HashMap<String, usize>,
    /// So many of them are on the ring; nobody when all fetch directly.
    ring: usize,
    /// When somebody came last.
    joined: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Expected,
    Here,
    Gone,
}

impl Members {
    /// These are expected. Others may come, and fetch directly.
    pub(super) fn new(expected: &[String]) -> Self {
        let mut members = Self::default();
        if expected.len() > config::SWARM_MEMBERS + 1 {
            expected.iter().for_each(|name| {
                members.number(name);
            });
            members.ring = members.names.len();
        }
        members
    }

    /// The number of that member, which gets one where it has none.
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(name.to_owned());
        self.states.push(State::Expected);
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// A member is here. Says its number, and whether that is news.
    pub(super) fn join(&mut self, name: &str, now: Instant) -> (usize, bool) {
        let number = self.number(name);
        let before = self.states.get_mut(number).map(|state| std::mem::replace(state, State::Here));
        let fresh = before != Some(State::Here);
        if fresh {
            self.joined = Some(now);
        }
        (number, fresh)
    }

    /// A member will neither take part nor pass anything on. Says its number, when that is news.
    pub(super) fn leave(&mut self, name: &str) -> Option<usize> {
        let number = *self.numbers.get(name).filter(|number| **number < self.ring)?;
        let state = self.states.get_mut(number)?;
        (std::mem::replace(state, State::Gone) != State::Gone).then_some(number)
    }

    /// Those who are still expected when nobody has come for some time; they are not waited for any more.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<usize> {
        let patient = |joined| now.saturating_duration_since(joined) < config::MEMBERS_COME;
        if self.joined.is_none_or(patient) {
            return Vec::new();
        }
        // Once is enough: nobody becomes expected again.
        self.joined = None;
        let mut late = Vec::new();
        for (number, state) in self.states.iter_mut().enumerate().filter(|(_, s)| **s == State::Expected) {
            *state = State::Gone;
            late.push(number);
        }
        late
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

    /// From whom `me` is to have a chunk of `root`, which `holder` was given; nobody when that is `me`.
    /// With `lost`, only if that one would have been asked before.
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
                if step != root && self.states.get(step) != Some(&State::Gone) {
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
        Members::new(&names)
    }

    /// How many different sources a member has, at most, and how much one of them passes on, at most.
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
        assert_eq!(members(few).source(0, (5, 5), None), Some(5));
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
        (0..19).for_each(|number| assert_eq!(members.join(&number.to_string(), now), (number, true)));
        assert_eq!(members.source(0, (18, 18), None), Some(18));
        assert_eq!(members.give_up(now + config::MEMBERS_COME), [19]);
        assert!(members.give_up(now + config::MEMBERS_COME * 2).is_empty());
        assert_eq!(members.join("19", now), (19, true), "a late one takes part");
        assert_eq!(members.join("stranger", now), (20, true));
        assert_eq!(members.join("stranger", now), (20, false));
        assert_eq!(members.source(20, (5, 5), None), Some(5));
    }
}
