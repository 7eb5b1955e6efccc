//! One stream speaking one dialect.
//!
//! [`Framed`] is the framed dialect over any [`Stream`]: it sends and receives messages with their
//! payloads, keeps the framing whole when a caller has no use for a payload, and sees to it that
//! every wait ends. Which dialect a stream speaks is decided by its first byte, see [`first_byte`].

pub mod deadlines;
mod greeting;
mod hurried;
mod identity;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub use deadlines::Deadlines;
use hurried::Hurried;
pub use identity::{Identity, agent};
use serde::Serialize;

use crate::config;
use crate::topology::PeerId;
use crate::transport::{Address, Closer, Pace, Stream, timed_out};
use crate::wire::{self, ErrorCode, Head, Message, Refusal, Request, Response, WireError};

/// Bytes read ahead at most: a few headers; payloads go past this buffer into the caller's.
const READ_AHEAD: usize = 8 << 10;

/// A stream before its dialect is known, or after: reads go through a small buffer.
pub type Buffered = BufReader<Box<dyn Stream>>;

/// Puts the read buffer before a stream.
pub fn buffered(stream: Box<dyn Stream>) -> Buffered {
    BufReader::with_capacity(READ_AHEAD, stream)
}

/// The first byte that the other side sent, without consuming it; `None` when it left without a
/// word.
pub fn first_byte(stream: &mut Buffered, timeout: Duration) -> Result<Option<u8>, WireError> {
    stream.get_mut().set_read_timeout(Some(timeout))?;
    Ok(stream.fill_buf()?.first().copied())
}

/// A connection in the framed dialect.
pub struct Framed {
    stream: Buffered,
    /// Bytes of the last frame's payload that nobody has read yet.
    unread: u32,
    /// Whether the other side's greeting is still to come.
    greeting_due: bool,
    /// Whether the answer to our hello is still to come.
    hello_due: bool,
    peer: Option<PeerId>,
    /// Whom the opener means to speak to.
    meant: Option<PeerId>,
    read_only: bool,
    /// How long the rest of a frame may take that has begun.
    frame: Duration,
    /// When we had said who we are.
    greeted: Option<Instant>,
    /// How long the other side then took to say something.
    round_trip: Option<Duration>,
}

impl Framed {
    fn over(mut stream: Buffered, deadlines: Deadlines) -> Result<Self, WireError> {
        stream.get_mut().set_write_timeout(Some(deadlines.write))?;
        Ok(Self {
            stream,
            unread: 0,
            greeting_due: false,
            hello_due: false,
            peer: None,
            meant: None,
            read_only: false,
            frame: deadlines.frame,
            greeted: None,
            round_trip: None,
        })
    }

    /// Who the other side says it is; on the opening side known after the first answer.
    pub fn peer(&self) -> Option<&PeerId> {
        self.peer.as_ref()
    }

    /// Whom the opener means to speak to, where it says so.
    pub fn meant(&self) -> Option<&PeerId> {
        self.meant.as_ref()
    }

    /// How long a round trip takes, at most: from our greeting to what the other side said to it.
    /// On the opening side known after the first answer, on the other after the first request.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Something has come that answers our greeting.
    fn heard(&mut self) {
        if let Some(greeted) = self.greeted.take() {
            self.round_trip = Some(greeted.elapsed());
        }
    }

    /// Whether the other side refuses offers; known after the first answer.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Where the other side is, for messages.
    pub fn remote(&self) -> String {
        self.stream.get_ref().remote()
    }

    /// The address of the other side; none within this process.
    pub fn address(&self) -> Option<Address> {
        self.stream.get_ref().address()
    }

    /// What the log calls the other side: id, address and dialect, as `peer2 (192.168.1.11:40112,
    /// framed)`. The id is what it says of itself.
    pub fn who(&self) -> String {
        let id = self.peer.as_ref().map_or("a client without an id", PeerId::as_str);
        format!("{id} ({}, framed)", self.remote())
    }

    /// See [`Stream::set_unsent_limit`].
    pub fn set_unsent_limit(&mut self, bytes: u32) -> Result<(), WireError> {
        Ok(self.stream.get_mut().set_unsent_limit(bytes)?)
    }

    /// Lets a write stand still no longer than that before the other side counts as gone.
    pub fn set_write_timeout(&mut self, timeout: Duration) -> Result<(), WireError> {
        Ok(self.stream.get_mut().set_write_timeout(Some(timeout))?)
    }

    /// Ends this connection from any thread.
    pub fn closer(&self) -> Closer {
        self.stream.get_ref().closer()
    }

    /// Sends a message and its payload.
    pub fn send(&mut self, message: &impl Serialize, payload: &[u8]) -> Result<(), WireError> {
        let sent = self.send_all(message, payload);
        if self.greeting_due { sent.map_err(no_greeting) } else { sent }
    }

    fn send_all(&mut self, message: &impl Serialize, payload: &[u8]) -> Result<(), WireError> {
        let mut bytes = wire::encode(message, payload.len())?;
        let stream = self.stream.get_mut();
        if payload.len() <= READ_AHEAD {
            bytes.extend_from_slice(payload);
            return Ok(stream.write_all(&bytes)?);
        }
        stream.write_more(&bytes)?;
        Ok(stream.write_all(payload)?)
    }

    /// Sends a message whose payload is `len` bytes of an open file from `offset`. When the file
    /// turns out shorter the connection is of no more use.
    pub fn send_file(
        &mut self,
        message: &impl Serialize,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Result<(), WireError> {
        let head = wire::encode(message, len)?;
        let stream = self.stream.get_mut();
        stream.write_more(&head)?;
        Ok(stream.send_file(file, offset, len)?)
    }

    /// The next message, which may take `wait` to begin; `None` when the other side ended the
    /// connection between two frames. What nobody read of the payload before is skipped.
    pub fn receive<M: Message>(&mut self, wait: Duration) -> Result<Option<Head<M>>, WireError> {
        self.skip_payload()?;
        if self.stream.buffer().is_empty() {
            self.read_timeout(wait)?;
            if self.stream.fill_buf()?.is_empty() {
                return Ok(None);
            }
        }
        self.read_timeout(self.frame)?;
        let head = wire::read_head(&mut self.hurried())?;
        self.unread = head.payload;
        Ok(Some(head))
    }

    /// The next request. Who sends what is none is told why, before this fails.
    pub fn request(&mut self, wait: Duration) -> Result<Option<Head<Request>>, WireError> {
        let request = self.receive(wait).inspect_err(|error| self.complain(error));
        self.heard();
        request
    }

    /// Says to the other side what is wrong with its frames, where that is what is wrong.
    fn complain(&mut self, error: &WireError) {
        if matches!(
            error,
            WireError::TooLong { .. } | WireError::BadHeader(_) | WireError::Unexpected(_)
        ) {
            // Whoever does not read this loses the connection all the same.
            let _ = self.send(&Response::error(ErrorCode::BadRequest, error), &[]);
        }
    }

    /// The next answer to a request of ours.
    pub fn answer(&mut self, wait: Duration) -> Result<Head<Response>, WireError> {
        if self.hello_due {
            self.read_introduction(wait)?;
        }
        self.receive(wait)?.ok_or(WireError::Closed)
    }

    /// Sends a request and waits for its answer; an `error` answer is the inner `Err`.
    pub fn ask(
        &mut self,
        request: &Request,
        payload: &[u8],
    ) -> Result<Result<Head<Response>, Refusal>, WireError> {
        self.ask_within(request, payload, config::ANSWER_TIMEOUT)
    }

    /// [`Self::ask`] with another deadline.
    pub fn ask_within(
        &mut self,
        request: &Request,
        payload: &[u8],
        wait: Duration,
    ) -> Result<Result<Head<Response>, Refusal>, WireError> {
        self.send(request, payload).map_err(|error| self.why(error))?;
        let head = self.answer(wait)?;
        Ok(match head.message {
            Response::Error(refusal) => Err(refusal),
            _ => Ok(head),
        })
    }

    /// Reads the whole payload of the last message into `buffer`, which is as long as it. Each read
    /// may wait `stall` for its next bytes.
    pub fn read_payload(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), WireError> {
        if buffer.len() != self.unread as usize {
            let what =
                format!("a payload of {} bytes where {} were due", self.unread, buffer.len());
            return Err(WireError::Unexpected(what));
        }
        self.read_timeout(stall)?;
        let pace = Pace::new(config::LEAST_RATE, stall.saturating_mul(config::STALLS));
        let mut input = Hurried::new(&mut self.stream, pace, stall);
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match input.read(rest) {
                Ok(0) => return Err(WireError::Closed),
                Ok(got) => {
                    filled += got;
                    self.unread -= got as u32;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Bytes of the last message's payload that nobody has read yet.
    pub fn payload_due(&self) -> usize {
        self.unread as usize
    }

    /// The payload of the last message as bytes of their own. Memory grows with what arrives, not
    /// with what was announced.
    pub fn take_payload(&mut self) -> Result<Vec<u8>, WireError> {
        let length = self.unread;
        self.read_timeout(self.frame)?;
        let mut bytes = Vec::new();
        self.hurried().take(u64::from(length)).read_to_end(&mut bytes)?;
        self.unread = 0;
        if bytes.len() < length as usize { Err(WireError::Closed) } else { Ok(bytes) }
    }

    fn skip_payload(&mut self) -> Result<(), WireError> {
        if self.unread > 0 {
            let length = u64::from(self.unread);
            self.read_timeout(self.frame)?;
            let mut rest = self.hurried().take(length);
            let skipped = std::io::copy(&mut rest, &mut std::io::sink())?;
            self.unread = 0;
            if skipped < length {
                return Err(WireError::Closed);
            }
        }
        Ok(())
    }

    /// Reads what must come quickly: all but chunks, which have a pace of their own.
    fn hurried(&mut self) -> Hurried<'_> {
        let frame = self.frame;
        Hurried::new(&mut self.stream, Pace::new(config::SLOWEST_RATE, frame), frame)
    }

    fn read_timeout(&mut self, timeout: Duration) -> Result<(), WireError> {
        Ok(self.stream.get_mut().set_read_timeout(Some(timeout))?)
    }
}

/// What an error means while the other side's greeting is due.
fn no_greeting(error: WireError) -> WireError {
    match error {
        WireError::Io(_) | WireError::Closed => WireError::NoGreeting(Box::new(error)),
        _ => error,
    }
}

/// Whether a receive failed only because nothing came in time.
pub fn nothing_came(error: &WireError) -> bool {
    matches!(error, WireError::Io(error) if timed_out(error))
}
