//! One connection in the dialect: a message goes out in one write, and comes in as long as it is
//! not ripe.

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use super::message::Ripeness;
use crate::config;
use crate::connection::{Buffered, Deadlines};
use crate::transport::timed_out;

/// A stream that speaks the dialect.
pub(super) struct Line {
    stream: Buffered,
    text: Vec<u8>,
    /// The time-out that the stream has; to set it for every chunk would cost as much as to send
    /// it.
    timeout: Option<Duration>,
    /// How long the rest of a message may take.
    rest: Duration,
}

impl Line {
    /// Speaks over that stream; what it has read already comes first.
    pub(super) fn new(mut stream: Buffered, deadlines: Deadlines) -> io::Result<Self> {
        stream.get_mut().set_write_timeout(Some(deadlines.write))?;
        Ok(Self { stream, text: Vec::new(), timeout: None, rest: deadlines.frame })
    }

    /// Sends a message, in one write as the other side takes one read for one message.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(message)
    }

    /// The next message, which may take `wait` to begin and is whole when `ripe` says so, when
    /// nothing more comes, or when the other side leaves behind it. `None` when it left without a
    /// word.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        ripe: &mut dyn FnMut(&[u8]) -> Ripeness,
    ) -> io::Result<Option<&[u8]>> {
        self.text.clear();
        if !self.read_more(wait)? {
            return Ok(None);
        }
        let mut deadline = None;
        loop {
            let pause = match ripe(&self.text) {
                Ripeness::Whole => break,
                Ripeness::Perhaps(pause) => pause,
                Ripeness::Partial => config::CLASSIC_REST,
            };
            let now = Instant::now();
            let deadline = *deadline.get_or_insert(now + self.rest);
            if self.text.len() > most || now >= deadline {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without end"));
            }
            match self.read_more(pause) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if timed_out(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Some(&self.text))
    }

    /// Adds what comes next to the text; says whether the other side is still there.
    fn read_more(&mut self, wait: Duration) -> io::Result<bool> {
        if self.stream.buffer().is_empty() && self.timeout != Some(wait) {
            self.stream.get_mut().set_read_timeout(Some(wait))?;
            self.timeout = Some(wait);
        }
        let came = loop {
            match self.stream.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let len = came.len();
        self.text.extend_from_slice(came);
        self.stream.consume(len);
        Ok(len > 0)
    }
}
