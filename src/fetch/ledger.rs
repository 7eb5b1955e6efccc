//! Who fetches which chunk: pure bookkeeping, without threads, sockets or a clock of its own.
//!
//! **Invariant:** at any time a chunk is in exactly one state: missing, in flight at one or two
//! sources, or done. A source holds a chunk only as long as it is queued there; leaving, failing
//! and answering all take it out of that queue. The *choice* of the next chunk is in
//! `policy`; time is passed in as `now`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::pace::{Queued, Rate, Source};
use super::policy;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};

/// A source's place in one ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceId(usize);

/// What a source that asks for work is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// Fetch this chunk.
    Chunk(ChunkIndex),
    /// There is nothing useful for you now; ask again when something changed or time has passed.
    Nothing,
    /// Every chunk is done.
    Complete,
}

/// The state of all chunks of one transfer, and what is known of its sources.
pub struct Ledger {
    layout: ChunkLayout,
    chunks: Vec<State>,
    /// No chunk before this one is missing.
    first_missing: usize,
    missing: u32,
    done: u32,
    sources: Vec<Source>,
    /// Chunks that members of a swarm were handed, until they are here: by whom to expect them,
    /// and since when.
    promised: HashMap<ChunkIndex, (SourceId, Instant)>,
    /// How long such a chunk usually takes to come: follows the median, so that one slow member
    /// does not make all the others wait longer.
    usual: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Missing,
    InFlight { requesters: u8 },
    Done,
}

impl Ledger {
    /// Everything that is not in `have` is missing.
    pub fn new(layout: &ChunkLayout, have: &ChunkSet) -> Self {
        let state = |index| if have.contains(index) { State::Done } else { State::Missing };
        Self {
            layout: *layout,
            chunks: layout.indices().map(state).collect(),
            first_missing: 0,
            missing: layout.count() - have.len(),
            done: have.len(),
            sources: Vec::new(),
            promised: HashMap::new(),
            usual: None,
        }
    }

    /// A new source that has every chunk.
    pub fn join(&mut self) -> SourceId {
        self.join_with(None, false)
    }

    /// The same, which begins at the end of the file: what another source gives of its own accord,
    /// in the file's order, is met as late as can be.
    pub fn join_late(&mut self) -> SourceId {
        self.join_with(None, true)
    }

    /// A new source that has, or will have, only the chunks that it is said to be given.
    pub fn join_member(&mut self) -> SourceId {
        self.join_with(Some(VecDeque::new()), false)
    }

    fn join_with(&mut self, offers: Option<VecDeque<ChunkIndex>>, from_end: bool) -> SourceId {
        self.sources.push(Source {
            offers,
            from_end,
            queue: VecDeque::new(),
            queued: 0,
            last_arrival: None,
            latency: None,
            rate: Rate::default(),
            active: true,
        });
        SourceId(self.sources.len() - 1)
    }

    /// The source ends or pauses: all that it was to fetch is missing again. What is known of its
    /// speed is forgotten.
    pub fn leave(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id.0) else { return };
        source.active = false;
        source.queued = 0;
        (source.rate, source.latency, source.last_arrival) = (Rate::default(), None, None);
        for queued in std::mem::take(&mut source.queue) {
            self.give_back(queued.index);
            self.offer_again(id, queued.index);
        }
    }

    /// A chunk that did not come from that source may be promised by another one, which was not
    /// asked.
    fn offer_again(&mut self, id: SourceId, index: ChunkIndex) {
        let by = self.promised.get(&index).map(|(by, _)| *by).filter(|by| *by != id);
        let source = by.and_then(|by| self.sources.get_mut(by.0));
        if let Some(offers) = source.and_then(|source| source.offers.as_mut()) {
            offers.push_back(index);
        }
    }

    /// The source takes part again after it left.
    pub fn rejoin(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(id.0) {
            source.active = true;
        }
    }

    /// The member is the one to have that chunk from. What was said last counts: the one that was
    /// named before may be lost.
    pub fn promise(&mut self, id: SourceId, index: ChunkIndex, now: Instant) {
        let again = self.promised.get(&index).copied();
        let active = |by: &SourceId| self.sources.get(by.0).is_some_and(|by| by.active);
        let known = again.is_some_and(|(by, _)| by == id && active(&by));
        let wanted = match self.chunks.get(index.as_usize()) {
            Some(State::Missing) => !known,
            Some(State::InFlight { .. }) => again.is_some() && !known,
            Some(State::Done) | None => false,
        };
        let Some(source) = self.sources.get_mut(id.0) else { return };
        if wanted {
            self.promised.insert(index, (id, now));
            source.offers.get_or_insert_default().push_back(index);
        }
    }

    /// The member has just these chunks, whatever was promised. Says whether any of them is of use.
    pub fn offers(&mut self, id: SourceId, has: &ChunkSet) -> bool {
        let wanted = |index: &ChunkIndex| self.chunks.get(index.as_usize()) != Some(&State::Done);
        let offers: VecDeque<ChunkIndex> = has.iter().filter(wanted).collect();
        let useful = !offers.is_empty();
        if let Some(source) = self.sources.get_mut(id.0) {
            source.offers = Some(offers);
        }
        self.promised.retain(|_, (by, _)| *by != id);
        useful
    }

    /// The source's oldest request was answered by "not yet", and there is nothing to wait for.
    pub fn never(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id.0) else { return };
        let Some(queued) = source.queue.pop_front() else { return };
        source.queued = source.queued.saturating_sub(queued.len);
        self.give_back(queued.index);
    }

    /// The source handed us that chunk, and its bytes are here. Says whether they are wanted.
    pub fn claim(&mut self, id: SourceId, index: ChunkIndex, now: Instant) -> bool {
        let len = self.layout.chunk_len(index) as u64;
        if let Some(source) = self.sources.get_mut(id.0) {
            if let Some(last) = source.last_arrival {
                source.rate.add(len, now.saturating_duration_since(last));
            }
            source.last_arrival = Some(now);
        }
        match self.chunks.get_mut(index.as_usize()) {
            Some(state @ State::Missing) => {
                *state = State::InFlight { requesters: 1 };
                self.missing -= 1;
                true
            }
            Some(State::InFlight { .. }) => true,
            _ => false,
        }
    }

    /// The source's oldest request was answered by "not yet": it is asked again later.
    pub fn not_yet(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id.0) else { return };
        let Some(queued) = source.queue.front().copied() else { return };
        if let Some(offers) = &mut source.offers {
            offers.push_back(queued.index);
        }
        self.never(id);
    }

    /// Asks for the next chunk that this source should request.
    pub fn lease(&mut self, id: SourceId, now: Instant) -> Grant {
        if self.is_complete() {
            return Grant::Complete;
        }
        let Some(index) = policy::choose(self, id, now) else { return Grant::Nothing };
        let len = self.layout.chunk_len(index) as u64;
        let Some(source) = self.sources.get_mut(id.0) else { return Grant::Nothing };
        source.queue.push_back(Queued { index, len, asked: now });
        source.queued += len;
        let state = &mut self.chunks[index.as_usize()];
        *state = match *state {
            State::InFlight { requesters } => State::InFlight { requesters: requesters + 1 },
            State::Missing => {
                self.missing -= 1;
                State::InFlight { requesters: 1 }
            }
            State::Done => State::Done,
        };
        Grant::Chunk(index)
    }

    /// The answer to the source's oldest request is here, not yet verified. Says whether it is
    /// still wanted.
    pub fn arrived(&mut self, id: SourceId, now: Instant) -> bool {
        let Some(source) = self.sources.get_mut(id.0) else { return false };
        let Some(queued) = source.queue.pop_front() else { return false };
        source.measure(&queued, now);
        if let Some((_, since)) = self.promised.get(&queued.index).filter(|(by, _)| *by == id) {
            let took = now.saturating_duration_since(*since);
            self.usual = Some(match self.usual {
                None => took,
                Some(usual) if took > usual => usual + usual / 16,
                Some(usual) => usual - usual / 16,
            });
        }
        self.chunks[queued.index.as_usize()] != State::Done
    }

    /// A good copy of the chunk is on disk. Says whether it is the first one.
    pub fn complete(&mut self, index: ChunkIndex) -> bool {
        let state = &mut self.chunks[index.as_usize()];
        let first = *state != State::Done;
        if *state == State::Missing {
            self.missing -= 1;
        }
        if first {
            *state = State::Done;
            self.done += 1;
            self.promised.remove(&index);
        }
        first
    }

    /// One requester fewer: the chunk did not come, or did not verify.
    pub fn give_back(&mut self, index: ChunkIndex) {
        let state = &mut self.chunks[index.as_usize()];
        match *state {
            State::InFlight { requesters: 0 | 1 } => {
                *state = State::Missing;
                self.missing += 1;
                self.first_missing = self.first_missing.min(index.as_usize());
            }
            State::InFlight { requesters } => {
                *state = State::InFlight { requesters: requesters - 1 }
            }
            State::Missing | State::Done => {}
        }
    }

    /// The chunks that are here, or on their way to us.
    pub(super) fn begun(&self) -> ChunkSet {
        let mut begun = ChunkSet::none(&self.layout);
        let states = self.layout.indices().zip(&self.chunks);
        states.filter(|(_, state)| **state != State::Missing).for_each(|(index, _)| {
            begun.insert(index);
        });
        begun
    }

    /// Whether every chunk is done.
    pub fn is_complete(&self) -> bool {
        self.done == self.layout.count()
    }

    /// The chunks of the oldest requests of a source, in the order of their answers.
    pub fn oldest(&self, id: SourceId) -> Option<ChunkIndex> {
        Some(self.sources.get(id.0)?.queue.front()?.index)
    }

    pub(super) fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// The first chunk that nobody fetches and nobody is expected to bring.
    fn first_missing(&mut self, now: Instant) -> Option<ChunkIndex> {
        if self.missing == 0 {
            return None;
        }
        let at = self
            .chunks
            .iter()
            .skip(self.first_missing)
            .position(|state| *state == State::Missing)?;
        self.first_missing += at;
        let candidates =
            (self.first_missing as u32..).map_while(|number| self.layout.index(number));
        candidates
            .filter(|index| self.chunks.get(index.as_usize()) == Some(&State::Missing))
            .find(|index| !self.is_promised(*index, now))
    }

    /// The same for a source that begins at the end.
    pub(super) fn next_missing(&mut self, id: SourceId, now: Instant) -> Option<ChunkIndex> {
        if !self.sources.get(id.0)?.from_end {
            return self.first_missing(now);
        }
        let missing =
            |index: &ChunkIndex| self.chunks.get(index.as_usize()) == Some(&State::Missing);
        let mut from_end = self.layout.indices().rev().filter(missing);
        from_end.find(|index| !self.is_promised(*index, now))
    }

    /// Whether a member that takes part was handed the chunk not too long ago.
    fn is_promised(&self, index: ChunkIndex, now: Instant) -> bool {
        self.promised.get(&index).is_some_and(|(id, since)| {
            let active = self.sources.get(id.0).is_some_and(|source| source.active);
            active && now.saturating_duration_since(*since) < self.patience()
        })
    }

    /// How long a chunk that a member was handed is expected from there alone: members with slow
    /// links and large chunks need longer than others.
    pub(super) fn patience(&self) -> Duration {
        (3 * self.usual.unwrap_or_default()).clamp(policy::PATIENCE, policy::LONGEST_PATIENCE)
    }

    /// The next chunk that a member has and nobody fetches yet; `None` inside when it has none, and
    /// outside when it is no member.
    pub(super) fn next_offer(&mut self, id: SourceId) -> Option<Option<ChunkIndex>> {
        let chunks = &self.chunks;
        let missing = |index: &ChunkIndex| chunks.get(index.as_usize()) == Some(&State::Missing);
        let offers = self.sources.get_mut(id.0)?.offers.as_mut()?;
        while let Some(index) = offers.pop_front() {
            if missing(&index) {
                return Some(Some(index));
            }
        }
        Some(None)
    }

    /// Chunks that are not done.
    pub(super) fn lacks(&self) -> u32 {
        self.layout.count() - self.done
    }

    /// Bytes that are neither done nor here, about: the last chunk counts as a whole one.
    pub(super) fn remaining(&self) -> u64 {
        u64::from(self.lacks()) * u64::from(self.layout.chunk_size())
    }

    pub(super) fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0)
    }

    /// The sources that take part.
    pub(super) fn active(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.active)
            .map(|(at, source)| (SourceId(at), source))
    }

    /// Whether exactly one source fetches the chunk.
    pub(super) fn has_one_requester(&self, index: ChunkIndex) -> bool {
        self.chunks.get(index.as_usize()) == Some(&State::InFlight { requesters: 1 })
    }
}
