//! Reads with a deadline for all of them together.

use std::io::Read;
use std::time::{Duration, Instant};

use super::Buffered;
use crate::config;

/// Reads that must end by a deadline, however slowly the bytes drip in. Time in which this process
/// was stopped (Ctrl-Z) is not the other side's.
pub(super) struct Hurried<'a> {
    inner: &'a mut Buffered,
    deadline: Instant,
    /// When the last read ended.
    last: Instant,
    /// The deadline has passed, and what was there by then was read.
    over: bool,
}

impl<'a> Hurried<'a> {
    pub(super) fn new(inner: &'a mut Buffered, time: Duration) -> Self {
        let now = Instant::now();
        Self { inner, deadline: now + time, last: now, over: false }
    }
}

impl Hurried<'_> {
    /// No read waits longer than its time-out; what took longer was no waiting.
    fn forgive_a_stop(&mut self) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.last);
        if passed > config::FRAME_TIMEOUT + Duration::from_secs(1) {
            self.deadline += passed;
        }
        self.last = now;
    }
}

/// How long the look at what has come by the deadline may take.
const LAST_LOOK: Duration = Duration::from_millis(1);

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.forgive_a_stop();
        if self.inner.buffer().is_empty() && Instant::now() >= self.deadline {
            if std::mem::replace(&mut self.over, true) {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            // What has come counts, even if nobody could look at it in time.
            self.inner.get_mut().set_read_timeout(Some(LAST_LOOK))?;
        }
        let got = self.inner.read(buffer);
        self.forgive_a_stop();
        got
    }
}
