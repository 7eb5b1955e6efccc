//! What is under way at an adviser, and whether to ask it for more: pure, told `now`.
//!
//! *Balance*: a further unit is wanted only while this peer keeps up with passing its own on, or a
//! slow uplink would sit on units that everybody waits for. *Distance*: as many requests are under
//! way as the round trip holds, which shows in answers that come about as soon as one can.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config;

/// The requests for advice to one source.
#[derive(Default)]
pub struct Asked {
    /// How much of the adviser's log is known, in lines.
    seen: u64,
    /// When each request without an answer was sent.
    due: VecDeque<Instant>,
    /// How many more may be under way than when nothing is known of the way.
    further: usize,
    round_trip: Duration,
    /// Whether everything is handed out and told.
    all: bool,
    /// When a unit was wanted last.
    wanted: Option<Instant>,
    /// When anything was asked last.
    sent: Option<Instant>,
}

impl Asked {
    /// To a source that a round trip takes so long to.
    pub fn over(round_trip: Duration) -> Self {
        // Half of what it holds, until answers tell more.
        Self { round_trip, further: held(round_trip) / 2, ..Self::default() }
    }

    /// Whether to ask for one unit more. `keeps_up`: whether our readers are not far behind.
    pub fn wants_unit(&self, keeps_up: bool, now: Instant) -> bool {
        // Readers that do not read any more must not stop us for good.
        let patient = |wanted| now.saturating_duration_since(wanted) < config::AHEAD_PATIENCE;
        let waited = self.due.is_empty() && !self.wanted.is_some_and(patient);
        let room = self.due.len() < config::HANDED_AT_ONCE + self.further;
        !self.all && room && (keeps_up || waited)
    }

    /// How many units more than over a short way are on their way to our readers before it can be
    /// said that we do not keep up.
    pub fn slack(&self) -> u32 {
        self.further as u32
    }

    /// Whether to ask for the news alone: now and then, while no unit is wanted.
    pub fn wants_news(&self, now: Instant) -> bool {
        let pauses = |sent| now.saturating_duration_since(sent) < config::IDLE_POLL;
        !self.all && self.due.is_empty() && !self.sent.is_some_and(pauses)
    }

    /// A request is sent, for a unit or for the news alone.
    pub fn sent(&mut self, wanted: bool, now: Instant) {
        self.due.push_back(now);
        self.sent = Some(now);
        if wanted {
            self.wanted = Some(now);
        }
    }

    /// The oldest request is answered: so much of the log is known, and whether that is all.
    pub fn answered(&mut self, seen: u64, all: bool, now: Instant) {
        let asked = self.due.pop_front();
        self.seen = self.seen.max(seen);
        self.all |= all;
        let Some(took) = asked.map(|asked| now.saturating_duration_since(asked)) else { return };
        let in_time = took < self.round_trip + self.round_trip / 4 + config::HANDED_EVERY;
        self.further = match in_time {
            true => (self.further + 1).min(held(self.round_trip)),
            false => self.further.saturating_sub(1),
        };
    }

    /// Whether there is nothing more to ask, and no answer is due.
    pub fn is_over(&self) -> bool {
        self.all && self.due.is_empty()
    }

    /// How much of the log is known.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

/// How many more requests a round trip holds.
fn held(round_trip: Duration) -> usize {
    (round_trip.as_millis() / config::HANDED_EVERY.as_millis()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_keep_up_asks_again_when_its_readers_took_too_long() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        assert!(asked.wants_unit(false, now), "nothing was asked yet");
        asked.sent(true, now);
        asked.answered(1, false, now);
        let later = now + config::AHEAD_PATIENCE;
        assert!(!asked.wants_unit(false, now) && asked.wants_unit(true, now));
        assert!(asked.wants_unit(false, later));
        asked.sent(true, later);
        assert!(!asked.wants_unit(false, later + config::AHEAD_PATIENCE), "an answer is due");
    }

    #[test]
    fn only_so_many_requests_are_under_way() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        (0..config::HANDED_AT_ONCE).for_each(|_| asked.sent(true, now));
        assert!(!asked.wants_unit(true, now));
        asked.answered(1, false, now);
        assert!(asked.wants_unit(true, now) && !asked.wants_news(now));
    }

    #[test]
    fn more_are_under_way_over_a_long_way_as_long_as_they_are_answered_at_once() {
        let way = Duration::from_millis(200);
        let (mut asked, mut now) = (Asked::over(way), Instant::now());
        let fill = |asked: &mut Asked, now| {
            while asked.wants_unit(true, now) {
                asked.sent(true, now);
            }
            asked.due.len()
        };
        for _ in 0..10 {
            let due = fill(&mut asked, now);
            now += way;
            (0..due).for_each(|_| asked.answered(0, false, now));
        }
        assert!(fill(&mut asked, now) > 2 * config::HANDED_AT_ONCE);
        for _ in 0..10 {
            let due = fill(&mut asked, now);
            now += 2 * way;
            (0..due).for_each(|_| asked.answered(0, false, now));
        }
        assert_eq!(fill(&mut asked, now), config::HANDED_AT_ONCE);
    }
}
