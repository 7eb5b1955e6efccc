//! How fast this process may send and receive, all its TCP connections together.
//!
//! Each call moves a small piece and then waits until that is paid for, so connections share the
//! rate by turns. Who receives too slowly closes its window, which slows the sender.

use std::str::FromStr;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::config;
use crate::locks::lock;

/// Bytes a second up and down; `None` is as fast as it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// What is sent.
    pub up: Option<u64>,
    /// What is received.
    pub down: Option<u64>,
}

/// The text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit; write bytes a second up and down, as in 2M:10M, 500K: or :20mbit")]
pub struct BadLimit(String);

impl FromStr for Limits {
    type Err = BadLimit;

    /// Reads `UP:DOWN`, or one rate for both: a number with `K`, `M` or `G` (of 1024) for bytes, or
    /// `kbit`, `mbit` or `gbit` (of 1000) for bits a second. Nothing, or 0, is as fast as it goes.
    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let bad = || BadLimit(text.to_owned());
        let (up, down) = text.split_once(':').unwrap_or((text, text));
        if text.is_empty() || text == ":" {
            return Err(bad());
        }
        Ok(Self { up: rate(up).ok_or_else(bad)?, down: rate(down).ok_or_else(bad)? })
    }
}

/// `Some(None)` is no limit, `None` no rate.
fn rate(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match lower.get(digits.len()..)? {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "kbit" => 1e3 / 8.0,
        "mbit" => 1e6 / 8.0,
        "gbit" => 1e9 / 8.0,
        _ => return None,
    };
    let number: f64 =
        digits.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let rate = (number * factor).round();
    match rate {
        0.0 => Some(None),
        // Less would take longer than any time-out to say hello.
        rate if rate < config::SLOWEST_LIMIT as f64 => None,
        rate => Some(Some(rate as u64)),
    }
}

static UP: OnceLock<Bucket> = OnceLock::new();
static DOWN: OnceLock<Bucket> = OnceLock::new();

/// Limits this process from now on; only the first call does anything.
pub fn limit(limits: Limits) {
    if let Some(rate) = limits.up {
        let _ = UP.set(Bucket::new(rate));
    }
    if let Some(rate) = limits.down {
        let _ = DOWN.set(Bucket::new(rate));
    }
}

/// Bytes that one send may have at most.
pub(super) fn piece_up() -> usize {
    UP.get().map_or(usize::MAX, Bucket::piece)
}

/// Bytes that one receive may have at most.
pub(super) fn piece_down() -> usize {
    DOWN.get().map_or(usize::MAX, Bucket::piece)
}

/// Whether what is received may be slow because of this process itself.
pub fn slows_receiving() -> bool {
    DOWN.get().is_some()
}

/// Waits until bytes that were sent are paid for.
pub(super) fn sent(bytes: usize) {
    if let Some(bucket) = UP.get() {
        bucket.pay(bytes);
    }
}

/// Waits until bytes that were received are paid for.
pub(super) fn received(bytes: usize) {
    if let Some(bucket) = DOWN.get() {
        bucket.pay(bytes);
    }
}

/// Bytes at a rate.
struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// When all that went so far is paid for.
    paid: Mutex<Instant>,
}

impl Bucket {
    fn new(rate: u64) -> Self {
        Self { rate, paid: Mutex::new(Instant::now()) }
    }

    /// Bytes that go at once: few enough that other connections soon have their turn.
    fn piece(&self) -> usize {
        let piece = self.rate / u64::from(config::PIECES_A_SECOND);
        usize::try_from(piece).unwrap_or(usize::MAX).max(config::SMALLEST_PIECE)
    }

    fn pay(&self, bytes: usize) {
        let now = Instant::now();
        let until = now + self.reserve(bytes, now);
        // Parking may end early.
        while let Some(wait) =
            until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
        {
            thread::park_timeout(wait);
        }
    }

    /// How long to wait after so many bytes. What was not used is made up for only as far as
    /// [`config::MADE_UP`]: that a thread wakes up late shall not make it slower.
    fn reserve(&self, bytes: usize, now: Instant) -> Duration {
        let mut paid = lock(&self.paid);
        let earliest = now.checked_sub(config::MADE_UP).unwrap_or(now);
        *paid = (*paid).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Limits>().map(|limits| (limits.up, limits.down));
        assert_eq!(read("2M:10M"), Ok((Some(2 << 20), Some(10 << 20))));
        assert_eq!(read("500K:"), Ok((Some(500 << 10), None)));
        assert_eq!(read(":8mbit"), Ok((None, Some(1_000_000))));
        assert_eq!(read("1.5G"), Ok((Some(3 << 29), Some(3 << 29))));
        assert_eq!(read("0:1M"), Ok((None, Some(1 << 20))));
        for bad in ["", ":", "fast", "1X:1M", "-1M", "1M:2M:3M", "1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_goes_takes_its_time_and_a_pause_earns_little() {
        let bucket = Bucket::new(1000);
        let start = Instant::now() + Duration::from_secs(1);
        let made_up = config::MADE_UP;
        assert_eq!(bucket.reserve(500, start), Duration::from_millis(500) - made_up);
        let second = bucket.reserve(500, start);
        assert_eq!(second, Duration::from_secs(1) - made_up, "others wait behind it");
        let later = start + Duration::from_secs(60);
        assert_eq!(bucket.reserve(500, later), Duration::from_millis(500) - made_up);
    }
}
