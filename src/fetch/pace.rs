//! What a ledger knows of one source: the requests under way there, and how fast it answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::content::ChunkIndex;

/// What the ledger knows of one source.
pub(super) struct Source {
    /// Requests under way, oldest first; answers come in this order.
    pub(super) queue: VecDeque<Queued>,
    /// Bytes in the queue.
    pub(super) queued: u64,
    /// When the last answer was complete.
    pub(super) last_arrival: Option<Instant>,
    /// Shortest time from a request to a source with nothing else to do, to its complete answer.
    pub(super) latency: Option<Duration>,
    pub(super) rate: Rate,
    pub(super) active: bool,
    /// It fetches from the end of the file, because another one does from the beginning.
    pub(super) from_end: bool,
    /// A source that has only these chunks, in this order; all chunks when absent.
    pub(super) offers: Option<VecDeque<ChunkIndex>>,
}

/// One request under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Queued {
    pub(super) index: ChunkIndex,
    pub(super) len: u64,
    pub(super) asked: Instant,
}

/// Bytes a second over about the last second of transfer.
#[derive(Clone, Copy, Default)]
pub(super) struct Rate {
    bytes: f64,
    seconds: f64,
}

impl Queued {
    /// How long the request has been under way.
    pub(super) fn waiting(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.asked)
    }
}

impl Rate {
    /// How much busy time, in seconds, has a say in the rate.
    const MEMORY: f64 = 1.0;

    pub(super) fn add(&mut self, bytes: u64, time: Duration) {
        let fade = (-time.as_secs_f64() / Self::MEMORY).exp();
        self.bytes = self.bytes * fade + bytes as f64;
        self.seconds = self.seconds * fade + time.as_secs_f64();
    }

    fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.bytes / self.seconds)
    }
}

impl Source {
    pub(super) fn measure(&mut self, answered: &Queued, now: Instant) {
        self.queued = self.queued.saturating_sub(answered.len);
        let idle_until = self.last_arrival.map_or(answered.asked, |last| last.max(answered.asked));
        if idle_until == answered.asked {
            let latency = now.saturating_duration_since(answered.asked);
            self.latency = Some(self.latency.map_or(latency, |known| known.min(latency)));
        }
        self.rate.add(answered.len, now.saturating_duration_since(idle_until));
        self.last_arrival = Some(now);
    }

    /// Bytes a second that may be expected from now on; `None` before the first answer. A source
    /// whose next answer is overdue is taken for as slow as its silence says.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        let measured = self.rate.per_second()?;
        let Some(head) = self.queue.front() else { return Some(measured) };
        let waiting_since = self.last_arrival.map_or(head.asked, |last| last.max(head.asked));
        let silence = now.saturating_duration_since(waiting_since).as_secs_f64();
        let due = head.len as f64 / measured + self.latency.unwrap_or_default().as_secs_f64();
        if silence > 2.0 * due { Some(head.len as f64 / silence) } else { Some(measured) }
    }

    /// Whether it is a member of a swarm, whose answers wait for what it receives itself.
    pub(super) fn is_member(&self) -> bool {
        self.offers.is_some()
    }

    /// See the field.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency
    }
}
