//! An upload to a classic server, of whichever kind it turns out to be.
//!
//! Whether it wants every chunk on a connection of its own (D, E) shows with the first chunk: those
//! have closed the offer's connection by then. What ends an upload differs in every program, and
//! some are only found out by waiting. So a server that shows a file only when it is whole is asked
//! whether it serves it now, which is sooner known.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::ask::{Asker, Call, check};
use super::message::{END, END_OF_C, Ripeness, count, find, status};
use super::text::Text;
use crate::config;
use crate::content::FileName;
use crate::fetch::SourceError;
use crate::wire::{ErrorCode, Refusal, WireError};

/// A file on its way to a classic server.
pub struct Upload<'a> {
    /// Where to.
    pub to: &'a Asker,
    /// What it is to be called there.
    pub name: &'a FileName,
    /// What it is.
    pub text: &'a mut Text,
    /// Is told how many bytes the server has.
    pub progress: &'a mut dyn FnMut(u64),
}

/// How the server wants its chunks.
struct Way {
    /// Each on a connection of its own.
    alone: bool,
    base64: bool,
}

impl Upload<'_> {
    /// Sends the file and sees to it that the server serves it then.
    pub fn run(mut self) -> Result<(), SourceError> {
        check(self.name)?;
        let served = self.to.list()?;
        if served.names.contains(self.name) {
            return Err(refused(
                ErrorCode::InTheWay,
                "already serving a file of that name; rename yours",
            ));
        }
        let call = self.offer()?;
        let mut way = Way { alone: false, base64: served.wants_base64 };
        let count = count(self.text.characters()).ok_or_else(|| too_long("the file"))?;
        self.send_chunks(call, &mut way, count)?;
        self.confirm()
    }

    fn offer(&self) -> Result<Call, SourceError> {
        let mut call = self.to.connect()?;
        let offer = format!("#UPLOAD {} bytes {}", self.name, self.text.characters());
        let ready = format!("330 Ready to receive file {}", self.name);
        self.to.hear("Client", &offer);
        call.send(offer.as_bytes())?;
        let ripe = |text: &[u8]| Ripeness::whole_if(text == ready.as_bytes());
        let answer = call.answer(config::CLASSIC_ANSWER, config::CLASSIC_MOST, ripe)?;
        self.to.hear("Server", &String::from_utf8_lossy(&answer));
        let says = |word| find(&answer, word).is_some();
        match status(&answer) {
            Some(330) => Ok(call),
            Some(250) if says("Currently") => {
                Err(refused(ErrorCode::Receiving, "currently receiving that file"))
            }
            Some(250) if says("Already") => Err(refused(
                ErrorCode::InTheWay,
                "already serving a file of that name; rename yours",
            )),
            Some(250) => Err(refused(ErrorCode::Refused, &String::from_utf8_lossy(&answer))),
            _ => Err(self.to.misbehaved(&answer)),
        }
    }

    fn send_chunks(
        &mut self,
        mut call: Call,
        way: &mut Way,
        count: u32,
    ) -> Result<(), SourceError> {
        let (mut message, mut done, mut look) = (Vec::new(), 0, None);
        let mut hidden = false;
        for index in 0..count {
            let last = index + 1 == count;
            match look.take() {
                None if index > 0 && index == count / 2 && !way.alone => {
                    look = self.to.send_probe(self.name).ok();
                }
                Some(probe) if last => hidden = self.is_hidden(probe),
                kept => look = kept,
            }
            done += self.encode(index, way.base64, &mut message)?;
            let answer = match self.exchange(&mut call, way, &message) {
                // It left behind its answer to the offer: it wants a connection for every chunk.
                Err(SourceError::Lost(_)) if index == 0 && !way.alone => {
                    way.alone = true;
                    self.exchange(&mut call, way, &message)?
                }
                other => other?,
            };
            let ended = find(&answer, &format!("File {} received", self.name)).is_some();
            if last && (ended || way.alone) {
                return Ok(());
            }
            if status(&answer) != Some(200) && !way.base64 {
                return Err(self.refusal(&answer));
            }
            (self.progress)(done);
        }
        if hidden && self.is_served(config::CLASSIC_LOOK) { Ok(()) } else { self.end(call) }
    }

    /// The message of a chunk; gives the bytes of the file in it.
    fn encode(
        &mut self,
        index: u32,
        base64: bool,
        message: &mut Vec<u8>,
    ) -> Result<u64, SourceError> {
        let data = self
            .text
            .chunk(index)
            .map_err(|error| refused(ErrorCode::Internal, &error.to_string()))?;
        let data = data.unwrap_or_default();
        message.clear();
        message.extend_from_slice(format!("#UPLOAD {} chunk {index} ", self.name).as_bytes());
        match base64 {
            true => message.extend(BASE64_STANDARD.encode(data).into_bytes()),
            false => message.extend_from_slice(data),
        }
        if message.len() > config::CLASSIC_MESSAGE {
            return Err(too_long("its name"));
        }
        Ok(data.len() as u64)
    }

    /// Sends a chunk and waits for its answer.
    fn exchange(&self, call: &mut Call, way: &Way, message: &[u8]) -> Result<Vec<u8>, SourceError> {
        if way.alone {
            *call = self.to.connect()?;
        }
        call.send(message)?;
        let ripe = |text: &[u8]| Ripeness::whole_if(text.ends_with(b" received"));
        call.answer(config::CLASSIC_ANSWER, config::CLASSIC_MOST, ripe)
    }

    /// Ends an upload on the connection that all of it went over: A speaks unasked, B and C want a
    /// word each, but never two at once.
    fn end(&self, mut call: Call) -> Result<(), SourceError> {
        for word in [None, Some(END), Some(END_OF_C)] {
            if let Some(word) = word {
                self.to.hear("Client", word);
                call.send(word.as_bytes())?;
            }
            let ripe = |text: &[u8]| Ripeness::whole_if(text.ends_with(b" received"));
            match call.answer(config::CLASSIC_LISTEN, config::CLASSIC_MOST, ripe) {
                Ok(answer) => {
                    self.to.hear("Server", &String::from_utf8_lossy(&answer));
                    return if status(&answer) == Some(250) {
                        Err(self.refusal(&answer))
                    } else {
                        Ok(())
                    };
                }
                Err(SourceError::Stalled) => {}
                // Whether it has the file is seen next.
                Err(SourceError::Lost(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Looks whether the server serves the file. B says that it has a file before it has written
    /// it, and what E says proves nothing.
    fn confirm(&self) -> Result<(), SourceError> {
        let deadline = Instant::now() + config::CLASSIC_CONFIRM;
        loop {
            let listed = self.to.list().map(|served| served.names.contains(self.name));
            if listed? || self.is_served(config::CLASSIC_LOOK) {
                return Ok(());
            }
            if !self.to.pause_before(deadline) {
                let message = "it took every chunk, but does not list the file";
                return Err(refused(ErrorCode::Internal, message));
            }
        }
    }

    /// Whether a probe that was sent while chunks were under way finds nothing served.
    fn is_hidden(&self, probe: Call) -> bool {
        let found = self.to.read_probe(probe, self.name, config::CLASSIC_LOOK);
        matches!(found, Err(SourceError::NotServing))
    }

    /// Whether the server serves a file of that name and size.
    fn is_served(&self, wait: Duration) -> bool {
        let found = self.to.probe_within(self.name, wait);
        found.is_ok_and(|length| length == self.text.characters() || length == self.text.length())
    }

    fn refusal(&self, answer: &[u8]) -> SourceError {
        match status(answer) {
            Some(250) => refused(ErrorCode::Refused, &String::from_utf8_lossy(answer)),
            _ => self.to.misbehaved(answer),
        }
    }
}

fn refused(code: ErrorCode, message: &str) -> SourceError {
    SourceError::Refused(Refusal { code, message: message.to_owned() })
}

fn too_long(what: &str) -> SourceError {
    SourceError::Misbehaved(WireError::Unexpected(format!(
        "{what} is too long for the classic dialect"
    )))
}
