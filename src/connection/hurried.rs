//! Reads that must make progress.

use std::io::Read;
use std::time::{Duration, Instant};

use super::Buffered;
use crate::transport::{Pace, shaping};

/// Reads that end in an error when the bytes drip in too slowly. Looks at the pace before a read:
/// what has come counts, even if nobody could look at it in time.
pub(super) struct Hurried<'a> {
    inner: &'a mut Buffered,
    pace: Pace,
    /// The time-out of one read.
    longest: Duration,
}

impl<'a> Hurried<'a> {
    pub(super) fn new(inner: &'a mut Buffered, pace: Pace, longest: Duration) -> Self {
        Self { inner, pace, longest }
    }
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.inner.buffer().is_empty() {
            return self.inner.read(buffer);
        }
        self.pace.check()?;
        let before = Instant::now();
        let got = self.inner.read(buffer)?;
        if !shaping::slows_receiving() {
            self.pace.moved(got, before.elapsed(), self.longest);
        }
        Ok(got)
    }
}
