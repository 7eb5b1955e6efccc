//! Which chunk a source should fetch next: one small, replaceable function over the ledger.
//!
//! Three rules. A source has a *window* of requests under way, as many as its rate fills during
//! one answer's latency, so that it never runs dry. Chunks go out in the file's order to whoever
//! has room, except that near the end a source that would finish after everybody else *leaves*
//! the rest to the faster ones. And a source with nothing to do *takes over* a chunk that is in
//! flight elsewhere and would come much later from there; at most two sources fetch one chunk, and
//! the first good copy wins.

use std::time::{Duration, Instant};

use super::ledger::{Ledger, SourceId};
use super::pace::Source;
use crate::content::ChunkIndex;

/// Requests under way at a source whose speed is not known yet.
const FIRST_WINDOW: u64 = 2;

/// Most bytes of requests under way at one source; they wait at the source, not in our memory.
const MAX_WINDOW: u64 = 16 << 20;

/// How far requests run ahead of the answers beyond the latency of one answer.
const AHEAD: Duration = Duration::from_millis(60);

/// A chunk is taken over only when it would come this many times later from where it is now.
const TAKE_OVER: f64 = 1.5;

/// … and at least so much later, in seconds: less is not worth a second copy.
const TAKE_OVER_SLACK: f64 = 0.01;

/// Seconds that a source which was never asked is expected to need for a chunk.
const UNTRIED: f64 = 0.5;

/// How long a chunk that a member of a swarm was handed is expected from there alone, at least.
/// Asking elsewhere sooner would send it twice over the link that all of them share.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);

/// The same at most, however long the others took.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(3);

/// Most bytes of requests under way at a member of a swarm.
const MEMBER_WINDOW: u64 = 512 << 10;

/// The next chunk for `id`, or none when it should rather wait.
pub(super) fn choose(ledger: &mut Ledger, id: SourceId, now: Instant) -> Option<ChunkIndex> {
    let source = ledger.source(id)?;
    if source.queued >= window(source, u64::from(ledger.layout().chunk_size()), now) {
        return None;
    }
    if let Some(offer) = ledger.next_offer(id) {
        return offer;
    }
    match ledger.next_missing(id, now) {
        Some(index) if !finishes_last(ledger, id, now) => Some(index),
        _ => take_over(ledger, id, now),
    }
}

/// Bytes of requests that the source should have under way.
fn window(source: &Source, chunk: u64, now: Instant) -> u64 {
    let first = FIRST_WINDOW * chunk;
    if source.is_member() {
        return MEMBER_WINDOW.max(first);
    }
    let (Some(rate), Some(latency)) = (source.rate(now), source.latency()) else { return first };
    let filled = rate * (latency + AHEAD).as_secs_f64();
    (filled as u64).clamp(first, MAX_WINDOW.max(first))
}

/// Whether one chunk more would keep this source busy after all sources together could have
/// fetched what remains.
fn finishes_last(ledger: &Ledger, id: SourceId, now: Instant) -> bool {
    let Some(own) = ledger
        .source(id)
        .and_then(|source| arrival(source, ledger.layout().chunk_size().into(), now))
    else {
        return false;
    };
    let (mut together, mut others) = (0.0, false);
    // A member of a swarm cannot take over what it was not handed.
    for (other, source) in ledger.active().filter(|(_, source)| !source.is_member()) {
        if let Some(rate) = source.rate(now) {
            together += rate;
            others |= other != id;
        }
    }
    let all = ledger.remaining() as f64 / together;
    others && own > all
}

/// Seconds until the source has answered all it was asked, and `more` bytes.
fn arrival(source: &Source, more: u64, now: Instant) -> Option<f64> {
    Some((source.queued + more) as f64 / source.rate(now)?)
}

/// A chunk in flight elsewhere that this source would have much sooner.
fn take_over(ledger: &Ledger, id: SourceId, now: Instant) -> Option<ChunkIndex> {
    let asking = ledger.source(id)?;
    let untried = asking.queue.is_empty().then_some(UNTRIED);
    let own = arrival(asking, ledger.layout().chunk_size().into(), now).or(untried)?;
    let worth_it = own * TAKE_OVER + TAKE_OVER_SLACK;
    let mut best: Option<(f64, ChunkIndex)> = None;
    for (_, source) in ledger.active().filter(|(other, _)| *other != id) {
        let Some(rate) = source.rate(now).or_else(|| overdue(source, now)) else { continue };
        let mut ahead = 0;
        for queued in &source.queue {
            ahead += queued.len;
            if source.is_member() && queued.waiting(now) < ledger.patience() {
                continue;
            }
            let theirs = ahead as f64 / rate;
            let later = best.is_none_or(|(latest, _)| theirs > latest);
            if theirs > worth_it && later && ledger.has_one_requester(queued.index) {
                best = Some((theirs, queued.index));
            }
        }
    }
    best.map(|(_, index)| index)
}

/// The rate of a source that has not answered anything yet, from its silence alone; none while
/// that says little.
fn overdue(source: &Source, now: Instant) -> Option<f64> {
    let head = source.queue.front()?;
    let silence = head.waiting(now);
    (silence > Duration::from_millis(50)).then(|| head.len as f64 / silence.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Grant;
    use super::*;
    use crate::content::{ChunkLayout, ChunkSet};

    /// One simulated source: its rate over time, in bytes a second from a moment on.
    struct Simulated {
        rates: Vec<(f64, f64)>,
        id: SourceId,
        /// When the chunk at the head of its queue will be there.
        busy_until: Option<f64>,
    }

    impl Simulated {
        /// When `bytes` that begin to flow at `start` are through.
        fn through(&self, start: f64, bytes: f64) -> f64 {
            let (mut at, mut left) = (start, bytes);
            for (i, (_, rate)) in self.rates.iter().enumerate() {
                let end = self.rates.get(i + 1).map_or(f64::INFINITY, |next| next.0);
                if end <= at {
                    continue;
                }
                if at + left / rate <= end {
                    return at + left / rate;
                }
                left -= (end - at) * rate;
                at = end;
            }
            at
        }
    }

    /// Seconds that a transfer takes with sources of these rates, on an invented clock.
    fn simulate(length: u64, rates: &[&[(f64, f64)]]) -> f64 {
        let layout = ChunkLayout::usual(length).unwrap();
        let mut ledger = Ledger::new(&layout, &ChunkSet::none(&layout));
        let start = Instant::now();
        let mut sources: Vec<Simulated> = rates
            .iter()
            .map(|rates| Simulated { rates: rates.to_vec(), id: ledger.join(), busy_until: None })
            .collect();
        let mut now = 0.0;
        while !ledger.is_complete() {
            assert!(now < 10_000.0, "the transfer does not end");
            let at = start + Duration::from_secs_f64(now);
            for source in &mut sources {
                while let Grant::Chunk(_) = ledger.lease(source.id, at) {}
                if let (None, Some(head)) = (source.busy_until, ledger.oldest(source.id)) {
                    source.busy_until = Some(source.through(now, layout.chunk_len(head) as f64));
                }
            }
            let next =
                sources.iter().filter_map(|source| source.busy_until).fold(now + 0.01, f64::min);
            now = next;
            let at = start + Duration::from_secs_f64(now);
            for source in
                sources.iter_mut().filter(|source| source.busy_until.is_some_and(|due| due <= now))
            {
                source.busy_until = None;
                let head = ledger.oldest(source.id).unwrap();
                ledger.arrived(source.id, at);
                ledger.complete(head);
            }
        }
        now
    }

    const MBIT: f64 = 125_000.0;
    const FILE: u64 = 256 << 20;

    #[test]
    fn unequal_sources_end_together() {
        let rates = [50.0, 100.0, 200.0, 400.0].map(|rate| [(0.0, rate * MBIT)]);
        let took = simulate(FILE, &rates.each_ref().map(|rates| &rates[..]));
        let ideal = FILE as f64 / (750.0 * MBIT);
        assert!(took < ideal * 1.01, "{}", took / ideal);
    }

    #[test]
    fn the_last_chunks_of_a_source_that_fell_silent_or_slow_are_taken_over() {
        for after in [0.001, 1.0 * MBIT] {
            let half = 1.43;
            let rates: [&[(f64, f64)]; 4] = [
                &[(0.0, 50.0 * MBIT)],
                &[(0.0, 100.0 * MBIT)],
                &[(0.0, 200.0 * MBIT)],
                &[(0.0, 400.0 * MBIT), (half, after)],
            ];
            let took = simulate(FILE, &rates);
            let ideal = half + (FILE as f64 - half * 750.0 * MBIT) / (350.0 * MBIT + after);
            assert!(took < ideal * 1.02, "{} after {after}", took / ideal);
        }
    }

    #[test]
    fn a_source_that_is_slow_from_the_start_does_not_hold_the_end_up() {
        let rates = [50.0, 100.0, 200.0, 1.0].map(|rate| [(0.0, rate * MBIT)]);
        let took = simulate(FILE, &rates.each_ref().map(|rates| &rates[..]));
        let ideal = FILE as f64 / (351.0 * MBIT);
        assert!(took < ideal * 1.02, "{}", took / ideal);
    }

    #[test]
    fn one_source_alone_gets_every_chunk() {
        let took = simulate(10 << 20, &[&[(0.0, 10.0 * MBIT)]]);
        assert!((took - (10 << 20) as f64 / (10.0 * MBIT)).abs() < 0.05, "{took}");
    }

    #[test]
    fn what_a_leaving_source_held_is_missing_again_and_a_second_copy_counts_once() {
        let layout = ChunkLayout::new(3 * 16384, 16384).unwrap();
        let mut ledger = Ledger::new(&layout, &ChunkSet::none(&layout));
        let (a, b, now) = (ledger.join(), ledger.join(), Instant::now());
        let [first, second, third] = [0, 1, 2].map(|number| layout.index(number).unwrap());
        assert_eq!(ledger.lease(a, now), Grant::Chunk(first));
        assert_eq!(ledger.lease(a, now), Grant::Chunk(second));
        assert_eq!(ledger.lease(b, now), Grant::Chunk(third));
        ledger.leave(a);
        assert_eq!(ledger.lease(b, now), Grant::Chunk(first));
        assert!(ledger.arrived(b, now));
        assert!(ledger.complete(third) && !ledger.complete(third));
        assert!(ledger.complete(first) && ledger.complete(second));
        assert!(!ledger.arrived(b, now), "the chunk is not wanted any more");
        assert_eq!(ledger.lease(b, now), Grant::Complete);
    }

    #[test]
    fn an_orphan_is_asked_for_what_it_has_and_for_nothing_else() {
        let layout = ChunkLayout::new(3 * 16384, 16384).unwrap();
        let mut ledger = Ledger::new(&layout, &ChunkSet::none(&layout));
        let (a, b, now) = (ledger.join_member(), ledger.join_member(), Instant::now());
        let [first, second, _] = [0, 1, 2].map(|number| layout.index(number).unwrap());
        ledger.promise(a, first, now);
        assert_eq!(ledger.lease(a, now), Grant::Chunk(first));
        ledger.never(a);
        assert_eq!(ledger.lease(a, now), Grant::Nothing);
        let mut has = ChunkSet::none(&layout);
        assert!(!ledger.offers(b, &has));
        has.insert(first);
        has.insert(second);
        assert!(ledger.offers(b, &has));
        assert_eq!(ledger.lease(b, now), Grant::Chunk(first));
        assert_eq!(ledger.lease(b, now), Grant::Chunk(second));
        assert_eq!(ledger.lease(b, now), Grant::Nothing);
        [first, second].iter().for_each(|index| assert!(ledger.complete(*index)));
        assert!(!ledger.offers(a, &has), "all of that is here");
        assert_eq!(ledger.lacks(), 1);
    }

    #[test]
    fn a_source_that_comes_late_takes_over_from_a_silent_one() {
        let layout = ChunkLayout::new(2 * 16384, 16384).unwrap();
        let mut ledger = Ledger::new(&layout, &ChunkSet::none(&layout));
        let (silent, now) = (ledger.join(), Instant::now());
        while let Grant::Chunk(_) = ledger.lease(silent, now) {}
        let late = ledger.join_late();
        assert_eq!(ledger.lease(late, now), Grant::Nothing);
        assert!(matches!(ledger.lease(late, now + Duration::from_secs(1)), Grant::Chunk(_)));
    }

    #[test]
    fn a_source_that_comes_late_begins_at_the_end() {
        let layout = ChunkLayout::new(9 * 16384, 16384).unwrap();
        let mut ledger = Ledger::new(&layout, &ChunkSet::none(&layout));
        let (first, late, now) = (ledger.join(), ledger.join_late(), Instant::now());
        let numbers = [first, late].map(|source| match ledger.lease(source, now) {
            Grant::Chunk(index) => Some(index.get()),
            _ => None,
        });
        assert_eq!(numbers, [Some(0), Some(8)]);
    }
}
