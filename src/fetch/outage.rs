//! A peer that was in use and cannot be reached: how long it is waited for.
//!
//! The first few failures are tried again soon, whoever it is. After that only a peer is waited for
//! that has been of use in this transfer, or that says that it is busy: networks go away for a
//! minute, servers are started anew, and a full house empties. The time counts from the last thing
//! that came. Pure: what time it is, is told.

use std::time::{Duration, Instant};

use super::source::SourceError;
use crate::config;
use crate::wire::{ErrorCode, Refusal};

/// How long a transfer waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long a source may send nothing before its connection counts as stalled.
    pub stall: Duration,
    /// How long the answer to a small request may take.
    pub answer: Duration,
    /// How long a peer that was in use may be away.
    pub outage: Duration,
    /// How long a peer may take over what takes time (hashing, listing, chunks that it is still
    /// receiving itself) without getting on with it.
    pub idling: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self::usual()
    }
}

impl Waits {
    /// The usual ones.
    pub fn usual() -> Self {
        Self {
            stall: config::STALL_TIMEOUT,
            answer: config::ANSWER_TIMEOUT,
            outage: config::OUTAGE,
            idling: config::IDLING,
        }
    }

    /// Stalls after so long, and no outage is waited for.
    pub fn brief(stall: Duration) -> Self {
        Self { stall, outage: Duration::ZERO, ..Self::usual() }
    }
}

/// What to do after a failure.
#[derive(Debug)]
pub enum Verdict {
    /// Try again after this pause; why, in words for the user.
    Again(Duration, String),
    /// Try again; from now on the peer is waited for.
    Wait(Duration, String),
    /// Give up, and why.
    Lost(SourceError),
}

/// One peer, as far as its failures go.
#[derive(Debug)]
pub struct Outage {
    limit: Duration,
    failures: u32,
    /// It has been of use.
    begun: bool,
    /// When something came last.
    last: Instant,
    waiting: bool,
}

impl Outage {
    /// A peer that has not failed yet.
    pub fn new(waits: Waits, now: Instant) -> Self {
        Self { limit: waits.outage, failures: 0, begun: false, last: now, waiting: false }
    }

    /// It could be reached; says for how long it was waited for, if it was.
    pub fn reached(&mut self, now: Instant) -> Option<Duration> {
        self.begun = true;
        std::mem::take(&mut self.waiting).then(|| now.saturating_duration_since(self.last))
    }

    /// Something came.
    pub fn came(&mut self, now: Instant) {
        (self.begun, self.failures, self.last) = (true, 0, now);
    }

    /// Whether it has been of use.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether it is being waited for.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// It failed. `may_wait` says whether this peer is worth waiting for.
    pub fn failed(&mut self, error: SourceError, may_wait: bool, now: Instant) -> Verdict {
        self.failures += 1;
        let reason = error.to_string();
        let waits = may_wait && (self.begun || error.is_busy()) && !self.limit.is_zero();
        if !(error.is_passing() || waits && is_still_receiving(&error)) {
            return Verdict::Lost(error);
        }
        if self.failures <= config::SOURCE_RETRIES {
            return Verdict::Again(config::RETRY_PAUSE * self.failures, reason);
        }
        if !waits {
            return Verdict::Lost(error);
        }
        if now.saturating_duration_since(self.last) >= self.limit {
            return Verdict::Lost(SourceError::GaveUp {
                after: self.limit,
                error: Box::new(error),
            });
        }
        let doublings = (self.failures - config::SOURCE_RETRIES - 1).min(8);
        let pause =
            (config::OUTAGE_FIRST_PAUSE * 2_u32.pow(doublings)).min(config::OUTAGE_LONGEST_PAUSE);
        match std::mem::replace(&mut self.waiting, true) {
            true => Verdict::Again(pause, reason),
            false => Verdict::Wait(pause, reason),
        }
    }
}

/// The other side has not noticed yet that our last connection is gone.
fn is_still_receiving(error: &SourceError) -> bool {
    matches!(error, SourceError::Refused(Refusal { code: ErrorCode::Receiving, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seconds: u64) -> Waits {
        let (stall, outage) = (Duration::from_secs(1), Duration::from_secs(seconds));
        Waits { stall, outage, ..Waits::usual() }
    }

    /// How many failures a second apart it takes until the peer is given up; `None` for never in an
    /// hour.
    fn given_up_after(
        outage: &mut Outage,
        may_wait: bool,
        start: Instant,
    ) -> Option<(u64, SourceError)> {
        (1..3600).find_map(|second| {
            let now = start + Duration::from_secs(second);
            match outage.failed(SourceError::Stalled, may_wait, now) {
                Verdict::Lost(error) => Some((second, error)),
                Verdict::Again(pause, _) | Verdict::Wait(pause, _) => {
                    assert!(pause <= config::OUTAGE_LONGEST_PAUSE);
                    None
                }
            }
        })
    }

    #[test]
    fn a_peer_that_was_never_reached_is_lost_after_a_few_tries() {
        let start = Instant::now();
        for (seconds, may_wait) in [(120, true), (0, true), (120, false)] {
            let mut outage = Outage::new(waits(seconds), start);
            let (after, error) = given_up_after(&mut outage, may_wait, start).unwrap();
            assert_eq!(after, u64::from(config::SOURCE_RETRIES) + 1);
            assert!(matches!(error, SourceError::Stalled));
        }
    }

    #[test]
    fn a_peer_that_was_of_use_is_waited_for_from_the_last_thing_that_came() {
        let start = Instant::now();
        let mut outage = Outage::new(waits(120), start);
        outage.reached(start);
        outage.came(start + Duration::from_secs(60));
        let (after, error) =
            given_up_after(&mut outage, true, start + Duration::from_secs(60)).unwrap();
        assert_eq!(after, 120);
        assert!(error.to_string().starts_with("gave up after 2 min 0 s"), "{error}");
    }

    #[test]
    fn what_comes_back_starts_anew() {
        let start = Instant::now();
        let mut outage = Outage::new(waits(10), start);
        outage.came(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 1..6 {
            outage.failed(SourceError::Stalled, true, at(second));
        }
        assert_eq!(outage.reached(at(8)), Some(Duration::from_secs(8)));
        assert_eq!(outage.reached(at(9)), None);
        outage.came(at(9));
        assert!(matches!(outage.failed(SourceError::Stalled, true, at(15)), Verdict::Again(..)));
    }

    #[test]
    fn a_peer_that_is_busy_is_waited_for_though_it_was_never_of_use() {
        let start = Instant::now();
        let refusal = Refusal { code: ErrorCode::Busy, message: "full".to_owned() };
        let mut outage = Outage::new(waits(10), start);
        let mut pauses = Vec::new();
        let given_up = (0..100).find_map(|second| {
            let now = start + Duration::from_secs(second);
            match outage.failed(SourceError::Busy(refusal.clone()), true, now) {
                Verdict::Lost(error) => Some((second, error.to_string())),
                Verdict::Again(pause, _) | Verdict::Wait(pause, _) => {
                    pauses.push(pause);
                    None
                }
            }
        });
        assert_eq!(given_up, Some((10, "gave up after 10 s: it is busy (full)".to_owned())));
        let last = pauses.split_off(config::SOURCE_RETRIES as usize);
        assert!(pauses.is_sorted() && last.is_sorted(), "{pauses:?} {last:?}");
    }

    #[test]
    fn a_refusal_is_no_outage() {
        let start = Instant::now();
        let refused = |code| SourceError::Refused(Refusal { code, message: String::new() });
        let mut outage = Outage::new(waits(10), start);
        outage.came(start);
        assert!(matches!(
            outage.failed(refused(ErrorCode::Refused), true, start),
            Verdict::Lost(_)
        ));
        assert!(matches!(
            outage.failed(refused(ErrorCode::Receiving), true, start),
            Verdict::Again(..)
        ));
        assert!(matches!(outage.failed(SourceError::Changed, true, start), Verdict::Lost(_)));
    }
}
