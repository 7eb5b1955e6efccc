//! The least progress of a stream, so that nobody holds a connection by a byte now and then.

use std::io;
use std::time::Duration;

/// Says when a stream is too slow: in every window of waiting, so many bytes a second have to move.
/// Time in which nobody waits for the other side does not count. Pure: it is told how long a call
/// took.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    /// Bytes a second.
    least: u32,
    waited: Duration,
    moved: u64,
    /// How long nothing has moved at all.
    still: Duration,
}

impl Pace {
    /// At least so many bytes a second, looked at over `window`.
    pub fn new(bytes_a_second: u32, window: Duration) -> Self {
        let (waited, still) = (Duration::ZERO, Duration::ZERO);
        Self { window, least: bytes_a_second, waited, moved: 0, still }
    }

    /// So many bytes moved in a call that took so long, and can have waited for `longest` at most:
    /// longer than that, this process was stopped (Ctrl-Z) or waited for its disk, which is not the
    /// other side's fault.
    pub fn moved(&mut self, bytes: usize, took: Duration, longest: Duration) {
        /// How late a time-out may be noticed on a busy machine.
        const LATE: Duration = Duration::from_secs(1);
        let waited = if took > longest.saturating_add(LATE) { Duration::ZERO } else { took };
        self.waited += waited;
        self.moved = self.moved.saturating_add(bytes as u64);
        self.still = if bytes > 0 { Duration::ZERO } else { self.still + waited };
    }

    /// An error when it was too slow.
    pub fn check(&mut self) -> io::Result<()> {
        if self.waited < self.window && self.still < self.window {
            return Ok(());
        }
        let due = self.waited.as_secs_f64() * f64::from(self.least);
        if self.still >= self.window || (self.moved as f64) < due {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "next to nothing moves"));
        }
        (self.waited, self.moved) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many calls of `took` pass, each moving so many bytes; at most a thousand.
    fn calls(pace: &mut Pace, bytes: usize, took: Duration) -> usize {
        let passes = |_: &usize| {
            pace.moved(bytes, took, took);
            pace.check().is_ok()
        };
        (0..1000).take_while(passes).count()
    }

    #[test]
    fn a_byte_now_and_then_is_not_enough() {
        let pace = || Pace::new(256, 30 * SECOND);
        assert_eq!(calls(&mut pace(), 4096, 25 * SECOND), 1, "4 KiB in 25 s");
        assert_eq!(calls(&mut pace(), 1, 15 * SECOND), 1, "a byte in 15 s");
        assert_eq!(calls(&mut pace(), 1, 9 * SECOND), 3, "a byte in 9 s");
        assert_eq!(calls(&mut pace(), 255, SECOND), 29, "a second too little");
        assert_eq!(calls(&mut pace(), 256, SECOND), 1000, "slow, but not too slow");
        assert_eq!(calls(&mut pace(), 1 << 20, 29 * SECOND), 1000, "by fits and starts");
    }

    #[test]
    fn who_was_quick_may_not_stand_still_for_longer() {
        let mut pace = Pace::new(256, 30 * SECOND);
        pace.moved(1 << 30, SECOND, SECOND);
        assert!(pace.check().is_ok());
        assert_eq!(calls(&mut pace, 0, 4 * SECOND), 7);
    }

    #[test]
    fn time_in_which_this_process_was_stopped_does_not_count() {
        let mut pace = Pace::new(256, 30 * SECOND);
        pace.moved(1, 3600 * SECOND, 4 * SECOND);
        assert!(pace.check().is_ok());
        assert_eq!(calls(&mut pace, 1, 10 * SECOND), 2);
    }
}
