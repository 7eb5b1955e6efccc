//! How a connection begins: who the two sides are, and what is said to one that is turned away.

use std::time::{Duration, Instant};

use super::{Buffered, Deadlines, Framed, Identity, agent, buffered, no_greeting, nothing_came};
use crate::config;
use crate::topology::PeerId;
use crate::transport::Stream;
use crate::wire::{self, Refusal, Request, Response, WireError};

impl Framed {
    /// The opening side. Sends greeting and hello at once; their answers are read before the first
    /// other answer, so that opening costs no round trip. When another peer than the one that is
    /// `meant` answers, that is an error ([`WireError::AnotherPeer`]) in the place of the first
    /// answer.
    pub fn open(
        stream: Box<dyn Stream>,
        identity: &Identity,
        meant: Option<&PeerId>,
    ) -> Result<Self, WireError> {
        let mut connection = Self::over(buffered(stream), Deadlines::default())?;
        (connection.greeting_due, connection.hello_due) = (true, true);
        connection.meant = meant.cloned();
        let peer = identity.peer.as_ref().map(PeerId::to_string);
        let hello = Request::Hello { peer, to: meant.map(PeerId::to_string), agent: agent() };
        let sent = wire::send_greeting(connection.stream.get_mut())
            .and_then(|()| connection.send(&hello, &[]));
        sent.map_err(no_greeting).map_err(|error| connection.why(error))?;
        connection.greeted = Some(Instant::now());
        Ok(connection)
    }

    /// The reason for a failed write: who is turned away may notice that while writing, and what
    /// the other side said before it left tells more.
    pub(super) fn why(&mut self, error: WireError) -> WireError {
        if !self.hello_due || nothing_came(&error) {
            return error;
        }
        match self.read_introduction(config::FRAME_TIMEOUT) {
            Err(refused @ WireError::Refused(_)) => refused,
            _ => error,
        }
    }

    /// The accepting side, after [`first_byte`](super::first_byte) told the dialect. Exchanges greetings and answers
    /// the opener's hello.
    pub fn accept(stream: Buffered, identity: &Identity) -> Result<Self, WireError> {
        Self::accept_within(stream, identity, Deadlines::default())
    }

    /// The same with these deadlines.
    pub fn accept_within(
        stream: Buffered,
        identity: &Identity,
        deadlines: Deadlines,
    ) -> Result<Self, WireError> {
        let mut connection = Self::over(stream, deadlines)?;
        connection.read_timeout(deadlines.frame)?;
        wire::read_greeting(&mut connection.hurried())?;
        wire::send_greeting(connection.stream.get_mut())?;
        let Some(hello) = connection.request(deadlines.frame)? else {
            return Err(WireError::Closed);
        };
        let Request::Hello { peer, to, .. } = hello.message else {
            let error = WireError::Unexpected("the first request is not hello".to_owned());
            connection.complain(&error);
            return Err(error);
        };
        connection.peer = peer.and_then(|text| text.parse().ok());
        connection.meant = to.and_then(|text| text.parse().ok());
        let peer = identity.peer.as_ref().map(PeerId::to_string);
        let answer = Response::Hello { peer, agent: agent(), read_only: identity.read_only };
        connection.send(&answer, &[])?;
        connection.greeted = Some(Instant::now());
        Ok(connection)
    }

    /// Turns an opener away: greets and says why, without waiting for anything.
    pub fn turn_away(stream: &mut dyn Stream, refusal: Refusal) -> Result<(), WireError> {
        let mut words = Vec::new();
        wire::send_greeting(&mut words)?;
        words.extend(wire::encode(&Response::Error(refusal), 0)?);
        Ok(stream.dismiss(&words)?)
    }

    /// Waits until the other side has said who it is, and that it is the one that was meant.
    /// Whoever is about to give something away does this first.
    pub fn introduce(&mut self) -> Result<(), WireError> {
        if self.hello_due { self.read_introduction(config::ANSWER_TIMEOUT) } else { Ok(()) }
    }

    /// Reads the answers to greeting and hello.
    pub(super) fn read_introduction(&mut self, wait: Duration) -> Result<(), WireError> {
        if self.greeting_due {
            self.read_timeout(wait.min(config::GREETING_TIMEOUT))?;
            wire::read_greeting(&mut self.stream).map_err(no_greeting)?;
            self.greeting_due = false;
        }
        let head = self.receive(wait)?.ok_or(WireError::Closed)?;
        self.heard();
        match head.message {
            Response::Hello { peer, read_only, .. } => {
                self.peer = peer.and_then(|text| text.parse().ok());
                (self.read_only, self.hello_due) = (read_only, false);
                match (&self.peer, &self.meant) {
                    (Some(says), Some(meant)) if says != meant => {
                        Err(WireError::AnotherPeer { says: says.clone(), meant: meant.clone() })
                    }
                    _ => Ok(()),
                }
            }
            Response::Error(refusal) => Err(WireError::Refused(refusal)),
            other => Err(WireError::Unexpected(format!("{other:?} in answer to hello"))),
        }
    }
}
