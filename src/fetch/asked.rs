//! What is under way at the origin of a swarm, and whether to ask it for more: pure, told `now`.
//!
//! *Balance*: a further chunk is wanted only while this peer keeps up with passing its own on, or a
//! slow uplink would sit on chunks that everybody waits for.

use std::time::Instant;

use crate::config;

/// The requests for `next` chunks of one member.
#[derive(Default)]
pub struct Asked {
    /// How much of the origin's log is known, in lines.
    seen: u64,
    /// Requests without an answer.
    answers_due: usize,
    /// Whether the origin was told what is here already.
    greeted: bool,
    /// When a chunk was wanted last.
    wanted: Option<Instant>,
}

impl Asked {
    /// Whether to ask for one chunk more. `keeps_up`: whether our readers are not far behind.
    pub fn wants_chunk(&self, keeps_up: bool, now: Instant) -> bool {
        // Readers that do not read any more must not stop us for good.
        let patient = |wanted| now.saturating_duration_since(wanted) < config::AHEAD_PATIENCE;
        let waited = self.answers_due == 0 && !self.wanted.is_some_and(patient);
        self.answers_due < config::HANDED_AT_ONCE && (keeps_up || waited)
    }

    /// A request is sent, for a chunk or for the news alone.
    pub fn sent(&mut self, wanted: bool, now: Instant) {
        (self.greeted, self.answers_due) = (true, self.answers_due + 1);
        if wanted {
            self.wanted = Some(now);
        }
    }

    /// An answer has come, which knows so much of the log.
    pub fn answered(&mut self, seen: u64) {
        self.answers_due = self.answers_due.saturating_sub(1);
        self.seen = self.seen.max(seen);
    }

    /// Whether no answer is due.
    pub fn is_idle(&self) -> bool {
        self.answers_due == 0
    }

    /// See the field.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// See the field.
    pub fn has_greeted(&self) -> bool {
        self.greeted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_keep_up_asks_again_when_its_readers_took_too_long() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        assert!(asked.wants_chunk(false, now), "nothing was asked yet");
        asked.sent(true, now);
        asked.answered(1);
        let later = now + config::AHEAD_PATIENCE;
        assert!(!asked.wants_chunk(false, now) && asked.wants_chunk(true, now));
        assert!(asked.wants_chunk(false, later));
        asked.sent(true, later);
        assert!(!asked.wants_chunk(false, later + config::AHEAD_PATIENCE), "an answer is due");
    }

    #[test]
    fn only_so_many_requests_are_under_way() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        (0..config::HANDED_AT_ONCE).for_each(|_| asked.sent(true, now));
        assert!(!asked.wants_chunk(true, now));
        asked.answered(1);
        assert!(asked.wants_chunk(true, now) && !asked.is_idle());
    }
}
