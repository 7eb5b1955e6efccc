//! What is known of a source while it is in use, beside its units: above all, what members of a
//! swarm that lost their origin know of one another.

use std::time::{Duration, Instant};

use super::source::SourceError;
use crate::transport::Pace;

/// What one source, or one orphan, is known to have.
pub(super) struct Exchange {
    /// When it was asked last what it has.
    pub(super) looked: Option<Instant>,
    /// How many units it had then.
    pub(super) known: u32,
    /// When it had something new last.
    pub(super) news: Instant,
    /// Whether anything comes, from whomever, while this one has nothing; looked at over so long.
    pace: Pace,
    idling: Duration,
    /// What the whole transfer had, and when, at the last word of this one.
    last: (u64, Instant),
}

impl Exchange {
    /// Nothing is known yet; the transfer has so many bytes.
    pub(super) fn new(idling: Duration, done: u64, now: Instant) -> Self {
        let pace = Pace::new(1, idling);
        Self { looked: None, known: 0, news: now, pace, idling, last: (done, now) }
    }

    /// The source has not yet what it was asked for, and the transfer so many bytes. An error when
    /// nothing moves.
    pub(super) fn still_waits(&mut self, done: u64, now: Instant) -> Result<(), SourceError> {
        let (before, at) = std::mem::replace(&mut self.last, (done, now));
        let came = usize::try_from(done.saturating_sub(before)).unwrap_or(usize::MAX);
        self.pace.moved(came, now.saturating_duration_since(at), self.idling);
        let what = "the chunks that it is asked for";
        self.pace.check().map_err(|_| SourceError::Idles { what, after: self.idling })
    }

    /// A unit came, or it has something new.
    pub(super) fn came(&mut self, now: Instant) {
        self.news = now;
    }
}
