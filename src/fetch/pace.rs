//! What a ledger knows of one source: the requests under way there, how fast it answers, and how
//! many bytes may be under way.
//!
//! The window grows as TCP's does: every answer that comes about as soon as the first one did makes
//! room for as much again, so that it doubles in a round trip; answers that come much later say
//! that it is too large. What is asked for ahead waits at the source and on the way, not in our
//! memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ledger::Unit;

/// Requests under way at a source of which nothing is known yet.
const FIRST_WINDOW: u64 = 2;

/// What a path of which only the round trip is known is taken to carry, in bytes a second: 100
/// Mbit/s. A first window for less would cost round trips, one for more a queue.
const FIRST_RATE: f64 = 12_500_000.0;

/// How much later than the first an answer may come and still be in time: a quarter, and this.
const AHEAD: Duration = Duration::from_millis(40);

/// Most bytes under way at one source: 2.5 Gbit/s over 200 ms.
const MAX_WINDOW: u64 = 64 << 20;

/// Least bytes under way at a member of a swarm, whose answers wait for what it receives itself.
const MEMBER_WINDOW: u64 = 512 << 10;

/// What the ledger knows of one source.
pub(super) struct Source {
    /// Requests under way, oldest first; answers come in this order.
    pub(super) queue: VecDeque<Queued>,
    /// Bytes in the queue.
    pub(super) queued: u64,
    /// When the last answer was complete.
    last_arrival: Option<Instant>,
    /// Shortest time from a request to a source with nothing else to do, to its complete answer.
    latency: Option<Duration>,
    rate: Rate,
    /// Bytes that may be under way, as far as its answers have shown.
    window: u64,
    /// What fills the way there and back.
    way: u64,
    /// When the window became smaller.
    shrunk: Option<Instant>,
    pub(super) active: bool,
    /// It does not come back.
    pub(super) gone: bool,
    /// It fetches from the end, because another one does from the beginning.
    pub(super) from_end: bool,
    /// A source that has only these units, in this order; all units when absent.
    pub(super) offers: Option<VecDeque<Unit>>,
}

/// One request under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Queued {
    pub(super) unit: Unit,
    pub(super) len: u64,
    pub(super) asked: Instant,
}

/// Bytes a second over about the last second of transfer.
#[derive(Clone, Copy, Default)]
struct Rate {
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

    fn add(&mut self, bytes: u64, time: Duration) {
        let fade = (-time.as_secs_f64() / Self::MEMORY).exp();
        self.bytes = self.bytes * fade + bytes as f64;
        self.seconds = self.seconds * fade + time.as_secs_f64();
    }

    fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.bytes / self.seconds)
    }
}

impl Source {
    pub(super) fn new(offers: Option<VecDeque<Unit>>, from_end: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            last_arrival: None,
            latency: None,
            rate: Rate::default(),
            window: 0,
            way: 0,
            shrunk: None,
            active: true,
            gone: false,
            from_end,
            offers,
        }
    }

    /// It pauses: what is known of its speed is forgotten. Gives what it was asked for.
    pub(super) fn leave(&mut self) -> VecDeque<Queued> {
        self.active = false;
        (self.queued, self.rate, self.window) = (0, Rate::default(), 0);
        (self.latency, self.last_arrival, self.shrunk) = (None, None, None);
        std::mem::take(&mut self.queue)
    }

    /// A round trip to it takes so long: what fills that may be under way from the start.
    pub(super) fn measured(&mut self, round_trip: Duration) {
        self.way = ((round_trip.as_secs_f64() * FIRST_RATE) as u64).min(MAX_WINDOW);
        self.window = self.window.max(self.way);
    }

    pub(super) fn enqueue(&mut self, queued: Queued) {
        self.queued = self.queued.saturating_add(queued.len);
        self.queue.push_back(queued);
    }

    /// Takes the oldest request away, whose answer is none.
    pub(super) fn dequeue(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.queued = self.queued.saturating_sub(queued.len);
        Some(queued)
    }

    /// The newest request was not sent after all.
    pub(super) fn take_back(&mut self) {
        if let Some(queued) = self.queue.pop_back() {
            self.queued = self.queued.saturating_sub(queued.len);
        }
    }

    /// The answer to the oldest request is complete.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Queued> {
        let under_way = self.queued;
        let answered = self.dequeue()?;
        let idle_until = self.last_arrival.map_or(answered.asked, |last| last.max(answered.asked));
        let took = answered.waiting(now);
        if idle_until == answered.asked {
            self.latency = Some(self.latency.map_or(took, |known| known.min(took)));
        }
        self.rate.add(answered.len, now.saturating_duration_since(idle_until));
        self.last_arrival = Some(now);
        self.open_up(&answered, under_way, now);
        Some(answered)
    }

    /// Lets more be under way after an answer in time, or less after one that was late; not twice
    /// for what was asked in one go.
    fn open_up(&mut self, answered: &Queued, under_way: u64, now: Instant) {
        let Some(latency) = self.latency else { return };
        let (took, due) = (answered.waiting(now), latency + latency / 4 + AHEAD);
        if took <= due {
            self.window = self.window.max(under_way.saturating_add(answered.len)).min(MAX_WINDOW);
        } else if self.shrunk.is_none_or(|shrunk| answered.asked > shrunk) {
            self.window = (self.window as f64 * due.as_secs_f64() / took.as_secs_f64()) as u64;
            self.shrunk = Some(now);
        }
    }

    /// Bytes that came without having been asked for by name.
    pub(super) fn came_unasked(&mut self, len: u64, now: Instant) {
        if let Some(last) = self.last_arrival {
            self.rate.add(len, now.saturating_duration_since(last));
        }
        self.last_arrival = Some(now);
    }

    /// Bytes of requests that it should have under way, where units are about `len` long.
    pub(super) fn window(&self, len: u64) -> u64 {
        let first = FIRST_WINDOW * len;
        // A member's answers are late because it waits itself, which says nothing of the way.
        let least = match self.is_member() {
            true => first.max(MEMBER_WINDOW).max(2 * self.way),
            false => first,
        };
        self.window.max(least)
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
}
