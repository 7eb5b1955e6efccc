//! How much went one way, and how fast, for lines of the log.

use std::fmt;
use std::time::{Duration, Instant};

/// Bytes, and the time in which they went.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    bytes: u64,
    began: Instant,
    last: Instant,
}

impl Tally {
    /// Nothing went yet; the time counts from `began`.
    pub fn since(began: Instant) -> Self {
        Self { bytes: 0, began, last: began }
    }

    /// So many bytes more went until `now`.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.last = now;
    }

    /// All of them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing has gone for so long.
    pub fn is_idle(&self, now: Instant, time: Duration) -> bool {
        now.saturating_duration_since(self.last) >= time
    }

    /// From the beginning until the last of them went.
    fn time(&self) -> Duration {
        self.last.saturating_duration_since(self.began)
    }
}

impl fmt::Display for Tally {
    /// `67108864 bytes in 0.640 s (104.9 MB/s)`, in millions of bytes a second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time().as_secs_f64();
        write!(f, "{} bytes in {seconds:.3} s", self.bytes)?;
        if seconds > 0.0 && self.bytes > 0 {
            write!(f, " ({:.1} MB/s)", self.bytes as f64 / seconds / 1e6)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_says_bytes_time_and_rate() {
        let start = Instant::now();
        let mut tally = Tally::since(start);
        assert_eq!(tally.to_string(), "0 bytes in 0.000 s");
        tally.add(1_000_000, start + Duration::from_millis(250));
        tally.add(1_000_000, start + Duration::from_millis(500));
        assert_eq!(tally.to_string(), "2000000 bytes in 0.500 s (4.0 MB/s)");
    }
}
