//! Which unit a source should fetch next: one small, replaceable function over the ledger.
//!
//! Three rules. A source has a *window* of requests under way (`pace`), so that it never runs dry.
//! Units go out in their order to whoever has room, except that near the end a source that would
//! finish after everybody else *leaves* the rest to the faster ones. And a source with nothing to
//! do *takes over* a unit that is in flight elsewhere and would come much later from there; at most
//! two sources fetch one unit, and the first good copy wins.

use std::time::{Duration, Instant};

use super::ledger::{Ledger, SourceId, Unit};
use super::pace::Source;

/// A unit is taken over only when it would come this many times later from where it is now.
const TAKE_OVER: f64 = 1.5;

/// … and at least so much later, in seconds: less is not worth a second copy.
const TAKE_OVER_SLACK: f64 = 0.01;

/// Seconds that a source which was never asked is expected to need for a unit.
const UNTRIED: f64 = 0.5;

/// How long a unit that a member of a swarm was handed is expected from there alone, at least.
/// Asking elsewhere sooner would send it twice over the link that all of them share.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);

/// The same at most, however long the others took.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(3);

/// The next unit for `id`, or none when it should rather wait.
pub(super) fn choose(ledger: &mut Ledger, id: SourceId, now: Instant) -> Option<Unit> {
    let source = ledger.source(id)?;
    if source.queued >= source.window(ledger.usual_len()) {
        return None;
    }
    if let Some(offer) = ledger.next_offer(id) {
        return offer;
    }
    match ledger.next_missing(id, now) {
        Some(unit) if !finishes_last(ledger, id, unit, now) => Some(unit),
        _ => take_over(ledger, id, now),
    }
}

/// Whether that unit, too, would keep this source busy after all sources together could have
/// fetched what remains.
fn finishes_last(ledger: &Ledger, id: SourceId, unit: Unit, now: Instant) -> bool {
    let len = ledger.len(unit);
    let Some(own) = ledger.source(id).and_then(|source| arrival(source, len, now)) else {
        return false;
    };
    let (mut together, mut sooner) = (0.0, false);
    // A member of a swarm cannot take over what it was not handed.
    for (other, source) in ledger.active().filter(|(_, source)| !source.is_member()) {
        if let Some(rate) = source.rate(now) {
            together += rate;
            // Of several that are as fast, none must leave it to the others.
            let theirs = arrival(source, len, now).filter(|_| other != id);
            sooner |= theirs.is_some_and(|theirs| theirs < own) && ledger.may_have(unit, other);
        }
    }
    let all = ledger.remaining() as f64 / together;
    sooner && own > all
}

/// Seconds until the source has answered all it was asked, and `more` bytes.
fn arrival(source: &Source, more: u64, now: Instant) -> Option<f64> {
    Some((source.queued + more) as f64 / source.rate(now)?)
}

/// A unit in flight elsewhere that this source would have much sooner.
fn take_over(ledger: &Ledger, id: SourceId, now: Instant) -> Option<Unit> {
    let asking = ledger.source(id)?;
    let untried = asking.queue.is_empty().then_some(UNTRIED);
    let mut best: Option<(f64, Unit)> = None;
    for (_, source) in ledger.active().filter(|(other, _)| *other != id) {
        let Some(rate) = source.rate(now).or_else(|| overdue(source, now)) else { continue };
        let mut ahead = 0;
        for queued in &source.queue {
            ahead += queued.len;
            if source.is_member() && queued.waiting(now) < ledger.patience() {
                continue;
            }
            let Some(own) = arrival(asking, queued.len, now).or(untried) else { continue };
            let theirs = ahead as f64 / rate;
            let worth_it = theirs > own * TAKE_OVER + TAKE_OVER_SLACK;
            let later = best.is_none_or(|(latest, _)| theirs > latest);
            if worth_it && later && ledger.may_take_over(queued.unit, id) {
                best = Some((theirs, queued.unit));
            }
        }
    }
    best.map(|(_, unit)| unit)
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
    use super::super::ledger::{Grant, NewUnit};
    use super::*;
    use crate::content::ChunkLayout;

    fn ledger_of(layout: &ChunkLayout) -> Ledger {
        Ledger::new(layout.indices().map(|index| NewUnit::of(index.get(), layout.chunk_len(index))))
    }

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
        let mut ledger = ledger_of(&layout);
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
                while let Grant::Unit(_) = ledger.lease(source.id, at) {}
                if let (None, Some(head)) = (source.busy_until, ledger.oldest(source.id)) {
                    source.busy_until = Some(source.through(now, ledger.len(head) as f64));
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
        let mut ledger = ledger_of(&layout);
        let (a, b, now) = (ledger.join(), ledger.join(), Instant::now());
        let [first, second, third] = [0, 1, 2].map(|number| ledger.unit(number).unwrap());
        assert_eq!(ledger.lease(a, now), Grant::Unit(first));
        assert_eq!(ledger.lease(a, now), Grant::Unit(second));
        assert_eq!(ledger.lease(b, now), Grant::Unit(third));
        ledger.leave(a);
        assert_eq!(ledger.lease(b, now), Grant::Unit(first));
        assert!(ledger.arrived(b, now));
        assert!(ledger.complete(third) && !ledger.complete(third));
        assert!(ledger.complete(first) && ledger.complete(second));
        assert!(!ledger.arrived(b, now), "the chunk is not wanted any more");
        assert_eq!(ledger.lease(b, now), Grant::Complete);
    }

    #[test]
    fn an_orphan_is_asked_for_what_it_has_and_for_nothing_else() {
        let layout = ChunkLayout::new(3 * 16384, 16384).unwrap();
        let mut ledger = ledger_of(&layout);
        let (a, b, now) = (ledger.join_member(), ledger.join_member(), Instant::now());
        let [first, second, _] = [0, 1, 2].map(|number| ledger.unit(number).unwrap());
        ledger.promise(a, first, now);
        assert_eq!(ledger.lease(a, now), Grant::Unit(first));
        ledger.never(a);
        assert_eq!(ledger.lease(a, now), Grant::Nothing);
        assert!(!ledger.offers(b, []));
        let has = [first, second];
        assert!(ledger.offers(b, has));
        assert_eq!(ledger.lease(b, now), Grant::Unit(first));
        assert_eq!(ledger.lease(b, now), Grant::Unit(second));
        assert_eq!(ledger.lease(b, now), Grant::Nothing);
        [first, second].iter().for_each(|index| assert!(ledger.complete(*index)));
        assert!(!ledger.offers(a, has), "all of that is here");
        assert_eq!(ledger.lacks(), (1, 3));
    }

    #[test]
    fn a_source_that_comes_late_takes_over_from_a_silent_one() {
        let layout = ChunkLayout::new(2 * 16384, 16384).unwrap();
        let mut ledger = ledger_of(&layout);
        let (silent, now) = (ledger.join(), Instant::now());
        while let Grant::Unit(_) = ledger.lease(silent, now) {}
        let late = ledger.join_late();
        assert_eq!(ledger.lease(late, now), Grant::Nothing);
        assert!(matches!(ledger.lease(late, now + Duration::from_secs(1)), Grant::Unit(_)));
    }

    #[test]
    fn a_source_that_comes_late_begins_at_the_end() {
        let layout = ChunkLayout::new(9 * 16384, 16384).unwrap();
        let mut ledger = ledger_of(&layout);
        let (first, late, now) = (ledger.join(), ledger.join_late(), Instant::now());
        let numbers = [first, late].map(|source| match ledger.lease(source, now) {
            Grant::Unit(index) => Some(index.get()),
            _ => None,
        });
        assert_eq!(numbers, [Some(0), Some(8)]);
    }
}
