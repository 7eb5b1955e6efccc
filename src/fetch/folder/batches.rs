//! Who fetches which small contents: pure bookkeeping, without threads, sockets or a clock of its
//! own.
//!
//! **Invariant:** at any time a content is in exactly one state: missing (and then in the queue of
//! exactly one set of sources, those that may still have it), in flight at one or two sources,
//! landed (a good copy is here), or failed (nobody is left that may have it). A source that has
//! nothing to do fetches a second copy of what another source is overdue with.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::config;

/// Place of a content among all of them.
pub(super) type Content = usize;

/// A batch that is this old may be fetched from somebody else, too.
const OVERDUE: Duration = Duration::from_secs(1);

/// Batches do not become smaller than this many files …
const FEWEST_FILES: usize = 16;

/// … or bytes.
const FEWEST_BYTES: u64 = 256 << 10;

/// What a source that asks for work is told.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Lease {
    /// Ask for these, in this order.
    Batch(Vec<Content>),
    /// There is nothing for you now; ask again when something changed or time has passed.
    Nothing,
    /// Everything has landed or failed.
    Complete,
}

pub(super) struct Batches {
    contents: Vec<State>,
    sets: Vec<Set>,
    /// Where the set of these sources is.
    places: HashMap<Vec<usize>, usize>,
    in_flight: Vec<VecDeque<Batch>>,
    /// Sources that ended for good.
    gone: Vec<usize>,
    /// Contents that have neither landed nor failed, and their bytes.
    open: usize,
    open_bytes: u64,
}

struct State {
    length: u64,
    set: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Missing,
    InFlight { requesters: u8 },
    Landed,
    Failed,
}

/// Sources that may have the same contents.
struct Set {
    sources: Vec<usize>,
    missing: VecDeque<Content>,
}

struct Batch {
    contents: Vec<Content>,
    asked: Instant,
}

impl Batches {
    /// No contents yet, for so many sources.
    pub(super) fn new(sources: usize) -> Self {
        let in_flight = (0..sources).map(|_| VecDeque::new()).collect();
        Self {
            contents: Vec::new(),
            sets: Vec::new(),
            places: HashMap::new(),
            in_flight,
            gone: Vec::new(),
            open: 0,
            open_bytes: 0,
        }
    }

    /// Adds a content of that many bytes that these sources may have.
    pub(super) fn add(&mut self, length: u64, sources: &[usize]) -> Content {
        let content = self.contents.len();
        self.contents.push(State { length, set: 0, phase: Phase::Missing });
        self.open += 1;
        self.open_bytes = self.open_bytes.saturating_add(length);
        self.queue(content, sources.to_vec());
        content
    }

    /// The next batch for a source; contents that fewest others may have go first.
    pub(super) fn lease(&mut self, source: usize, now: Instant) -> Lease {
        if self.open == 0 {
            return Lease::Complete;
        }
        let (most_files, most_bytes) = self.share();
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut sets: Vec<usize> =
            (0..self.sets.len()).filter(|set| self.may_have(*set, source)).collect();
        sets.sort_by_key(|set| self.sets.get(*set).map(|set| set.sources.len()));
        for place in sets {
            let Some(set) = self.sets.get_mut(place) else { continue };
            while let Some(content) = set.missing.front().copied() {
                let Some(state) = self.contents.get_mut(content) else { break };
                let fits = batch.is_empty()
                    || (batch.len() < most_files && bytes + state.length <= most_bytes);
                if !fits {
                    return self.grant(source, batch, now);
                }
                set.missing.pop_front();
                state.phase = Phase::InFlight { requesters: 1 };
                bytes += state.length;
                batch.push(content);
            }
        }
        if batch.is_empty() {
            batch = self.overdue(source, now);
        }
        if batch.is_empty() { Lease::Nothing } else { self.grant(source, batch, now) }
    }

    /// How many batches a source has been asked for.
    pub(super) fn under_way(&self, source: usize) -> usize {
        self.in_flight.get(source).map_or(0, VecDeque::len)
    }

    /// The contents of a source's oldest batch, whose answer comes next.
    pub(super) fn oldest(&self, source: usize) -> Option<Vec<Content>> {
        Some(self.in_flight.get(source)?.front()?.contents.clone())
    }

    /// That answer is here.
    pub(super) fn answered(&mut self, source: usize) {
        if let Some(queue) = self.in_flight.get_mut(source) {
            queue.pop_front();
        }
    }

    /// Whether a copy is still of use.
    pub(super) fn is_wanted(&self, content: Content) -> bool {
        self.contents
            .get(content)
            .is_some_and(|state| matches!(state.phase, Phase::InFlight { .. } | Phase::Missing))
    }

    /// A good copy is here. Says whether it is the first one.
    pub(super) fn landed(&mut self, content: Content) -> bool {
        let Some(state) = self.contents.get_mut(content) else { return false };
        let first = matches!(state.phase, Phase::InFlight { .. } | Phase::Missing);
        if state.phase == Phase::Missing
            && let Some(set) = self.sets.get_mut(state.set)
        {
            set.missing.retain(|missing| *missing != content);
        }
        if first {
            state.phase = Phase::Landed;
            self.open -= 1;
            self.open_bytes = self.open_bytes.saturating_sub(state.length);
        }
        first
    }

    /// The source does not have the content after all.
    pub(super) fn missed(&mut self, content: Content, source: usize) {
        let Some(state) = self.contents.get(content) else { return };
        let Some(set) = self.sets.get(state.set) else { return };
        let rest = set.sources.iter().copied().filter(|other| *other != source).collect();
        self.give_back(content, Some(rest));
    }

    /// The source pauses, or ends for good: what it was to fetch is for others.
    pub(super) fn leave(&mut self, source: usize, for_good: bool) {
        let batches = self.in_flight.get_mut(source).map(std::mem::take).unwrap_or_default();
        for content in batches.into_iter().flat_map(|batch| batch.contents) {
            self.give_back(content, None);
        }
        if for_good {
            self.gone.push(source);
            for place in 0..self.sets.len() {
                self.forget(place, source);
            }
        }
    }

    /// Whether everything has landed or failed.
    pub(super) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// What nobody has.
    pub(super) fn failed(&self) -> impl Iterator<Item = Content> {
        let failed =
            |(content, state): (Content, &State)| (state.phase == Phase::Failed).then_some(content);
        self.contents.iter().enumerate().filter_map(failed)
    }

    /// How many files and bytes a batch may have: full ones at first, and smaller ones towards the
    /// end, so that no source is left with much when the others are done.
    fn share(&self) -> (usize, u64) {
        let parts =
            config::GATHERS_AHEAD * self.in_flight.len().saturating_sub(self.gone.len()).max(1);
        let files = (self.open / parts).clamp(FEWEST_FILES, config::GATHER_FILES);
        let bytes = (self.open_bytes / parts as u64).clamp(FEWEST_BYTES, config::GATHER_BYTES);
        (files, bytes)
    }

    fn may_have(&self, set: usize, source: usize) -> bool {
        self.sets
            .get(set)
            .is_some_and(|set| !set.missing.is_empty() && set.sources.contains(&source))
    }

    fn grant(&mut self, source: usize, contents: Vec<Content>, now: Instant) -> Lease {
        if let Some(queue) = self.in_flight.get_mut(source) {
            queue.push_back(Batch { contents: contents.clone(), asked: now });
        }
        Lease::Batch(contents)
    }

    /// Contents of the oldest overdue batch elsewhere that this source may have, too.
    fn overdue(&mut self, source: usize, now: Instant) -> Vec<Content> {
        let others = self.in_flight.iter().enumerate().filter(|(other, _)| *other != source);
        let late = |batch: &&Batch| now.saturating_duration_since(batch.asked) >= OVERDUE;
        let oldest = others
            .filter_map(|(_, queue)| queue.front())
            .filter(late)
            .min_by_key(|batch| batch.asked);
        let Some(batch) = oldest else { return Vec::new() };
        let mut taken = batch.contents.clone();
        taken.retain(|content| {
            let Some(state) = self.contents.get(*content) else { return false };
            let here = self.sets.get(state.set).is_some_and(|set| set.sources.contains(&source));
            here && state.phase == Phase::InFlight { requesters: 1 }
        });
        for content in &taken {
            if let Some(state) = self.contents.get_mut(*content) {
                state.phase = Phase::InFlight { requesters: 2 };
            }
        }
        taken
    }

    /// One requester fewer; with `sources`, only these may still have it.
    fn give_back(&mut self, content: Content, sources: Option<Vec<usize>>) {
        let Some(state) = self.contents.get_mut(content) else { return };
        let Phase::InFlight { requesters } = state.phase else { return };
        let old = state.set;
        let sources = sources
            .or_else(|| self.sets.get(old).map(|set| set.sources.clone()))
            .unwrap_or_default();
        if requesters > 1 {
            state.phase = Phase::InFlight { requesters: requesters - 1 };
            let set = self.set_of(sources);
            self.contents.get_mut(content).into_iter().for_each(|state| state.set = set);
            return;
        }
        self.queue(content, sources);
    }

    /// Puts a content where those sources find it; fails it when there are none.
    fn queue(&mut self, content: Content, mut sources: Vec<usize>) {
        sources.retain(|source| !self.gone.contains(source));
        let nobody = sources.is_empty();
        let set = self.set_of(sources);
        if let Some(state) = self.contents.get_mut(content) {
            state.set = set;
            state.phase = if nobody { Phase::Failed } else { Phase::Missing };
        }
        match self.sets.get_mut(set) {
            Some(set) if !nobody => set.missing.push_back(content),
            _ => {
                let length = self.contents.get(content).map_or(0, |state| state.length);
                self.open -= 1;
                self.open_bytes = self.open_bytes.saturating_sub(length);
            }
        }
    }

    fn set_of(&mut self, mut sources: Vec<usize>) -> usize {
        sources.sort_unstable();
        let sets = &mut self.sets;
        *self.places.entry(sources).or_insert_with_key(|sources| {
            sets.push(Set { sources: sources.clone(), missing: VecDeque::new() });
            sets.len() - 1
        })
    }

    /// What a set has missing is not for this source any more.
    fn forget(&mut self, place: usize, source: usize) {
        let Some(set) = self.sets.get_mut(place).filter(|set| set.sources.contains(&source)) else {
            return;
        };
        let missing = std::mem::take(&mut set.missing);
        let rest: Vec<usize> =
            set.sources.iter().copied().filter(|other| *other != source).collect();
        for content in missing {
            self.queue(content, rest.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lease: Lease) -> Vec<Content> {
        match lease {
            Lease::Batch(contents) => contents,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn batches_are_bounded_and_rare_contents_go_first() {
        let now = Instant::now();
        let mut batches = Batches::new(2);
        let both = batches.add(1, &[0, 1]);
        let only = batches.add(1, &[1]);
        let huge = batches.add(config::GATHER_BYTES, &[0, 1]);
        assert_eq!(batch(batches.lease(1, now)), [only, both]);
        assert_eq!(batch(batches.lease(1, now)), [huge]);
        assert_eq!(batches.lease(0, now), Lease::Nothing);
        assert_eq!(batches.under_way(1), 2);
        assert_eq!(batches.oldest(1), Some(vec![only, both]));
    }

    #[test]
    fn what_one_source_does_not_have_another_is_asked_for_and_then_it_fails() {
        let now = Instant::now();
        let mut batches = Batches::new(2);
        let content = batches.add(1, &[0, 1]);
        batch(batches.lease(0, now));
        batches.answered(0);
        batches.missed(content, 0);
        assert_eq!(batches.lease(0, now), Lease::Nothing);
        assert_eq!(batch(batches.lease(1, now)), [content]);
        batches.answered(1);
        batches.missed(content, 1);
        assert_eq!(batches.lease(1, now), Lease::Complete);
        assert_eq!(batches.failed().collect::<Vec<_>>(), [content]);
    }

    #[test]
    fn a_source_that_leaves_gives_everything_back() {
        let now = Instant::now();
        let mut batches = Batches::new(2);
        let [mine, ours] = [batches.add(1, &[0]), batches.add(1, &[0, 1])];
        batch(batches.lease(0, now));
        batches.leave(0, false);
        assert_eq!(batch(batches.lease(0, now)), [mine, ours]);
        batches.leave(0, true);
        assert_eq!(batches.failed().collect::<Vec<_>>(), [mine]);
        assert_eq!(batch(batches.lease(1, now)), [ours]);
        assert!(batches.landed(ours) && !batches.landed(ours));
        assert!(batches.is_complete());
    }

    #[test]
    fn what_is_overdue_is_fetched_twice_at_most_and_counts_once() {
        let now = Instant::now();
        let mut batches = Batches::new(3);
        let content = batches.add(1, &[0, 1, 2]);
        batch(batches.lease(0, now));
        assert_eq!(batches.lease(1, now), Lease::Nothing);
        let later = now + OVERDUE;
        assert_eq!(batch(batches.lease(1, later)), [content]);
        assert_eq!(batches.lease(2, later + OVERDUE), Lease::Nothing);
        batches.answered(1);
        batches.missed(content, 1);
        assert!(batches.is_wanted(content));
        assert!(batches.landed(content));
        batches.leave(0, true);
        assert!(!batches.is_wanted(content) && batches.failed().next().is_none());
    }
}
