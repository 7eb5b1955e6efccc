//! The asking side: lists, probes, and what every connection to a classic server needs.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Line;
use super::message::{Ripeness, find, last_number, status};
use crate::config;
use crate::connection::{self, Deadlines};
use crate::content::FileName;
use crate::fetch::SourceError;
use crate::topology::Peer;
use crate::transport::cancel::Registration;
use crate::transport::{Cancel, Network, timed_out};
use crate::wire::{ErrorCode, Refusal, WireError};

/// Is told what is said, as its users know it: `Client (p2): …`, `Server (p2): …`. The text is as
/// it came; whoever shows it makes it harmless.
pub type Heard = Arc<dyn Fn(&str) + Send + Sync>;

/// A peer that speaks the dialect, and how to reach it.
#[derive(Clone)]
pub struct Asker {
    /// Which peer.
    pub peer: Peer,
    /// How it is reached.
    pub network: Arc<dyn Network>,
    /// Ends every wait.
    pub cancel: Cancel,
    /// Is told what is said.
    pub heard: Heard,
    /// How long it may get on with a file too slowly.
    pub idling: Duration,
}

/// What a classic server says that it serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// The names that can be names here.
    pub names: Vec<FileName>,
    /// How many others there are.
    pub left_out: u64,
    /// Whether it is E, which takes its chunks in base64.
    pub(super) wants_base64: bool,
}

/// An open connection, closed when the asker is cancelled.
pub(super) struct Call {
    line: Line,
    _registration: Registration,
}

impl Asker {
    /// The names of the files that it serves.
    pub fn list(&self) -> Result<Served, SourceError> {
        let mut call = self.connect()?;
        let request = "#FILELIST";
        self.hear("Client", request);
        let pause = |text: &[u8]| match find(text, "Files served:") {
            Some(_) if text.len() < config::CLASSIC_MESSAGE / 2 => Ripeness::PERHAPS,
            _ => Ripeness::Perhaps(config::CLASSIC_LIST_PAUSE),
        };
        call.line.send(request.as_bytes()).map_err(lost)?;
        let answer = call.answer(config::CLASSIC_ANSWER, config::CLASSIC_LISTING, pause)?;
        self.hear("Server", &String::from_utf8_lossy(&answer));
        served(&answer).ok_or_else(|| self.misbehaved(&answer))
    }

    /// How long the file of that name is there: in bytes or in characters, as the server counts.
    pub fn probe(&self, name: &FileName) -> Result<u64, SourceError> {
        self.probe_within(name, config::CLASSIC_ANSWER)
    }

    /// [`Self::probe`] with another deadline.
    pub(super) fn probe_within(&self, name: &FileName, wait: Duration) -> Result<u64, SourceError> {
        let probe = self.send_probe(name)?;
        self.read_probe(probe, name, wait)
    }

    /// Asks how long a file is; the answer is read with [`Self::read_probe`].
    pub(super) fn send_probe(&self, name: &FileName) -> Result<Call, SourceError> {
        check(name)?;
        let mut call = self.connect()?;
        let request = format!("#DOWNLOAD {name}");
        self.hear("Client", &request);
        call.line.send(request.as_bytes()).map_err(lost)?;
        Ok(call)
    }

    pub(super) fn read_probe(
        &self,
        mut call: Call,
        name: &FileName,
        wait: Duration,
    ) -> Result<u64, SourceError> {
        let refused = format!("250 Not serving file {name}");
        let ripe = |text: &[u8]| Ripeness::whole_if(text == refused.as_bytes());
        let answer = call.answer(wait, config::CLASSIC_MOST, ripe)?;
        self.hear("Server", &String::from_utf8_lossy(&answer));
        match status(&answer) {
            Some(330) => last_number(&answer).ok_or_else(|| self.misbehaved(&answer)),
            Some(250) => Err(SourceError::NotServing),
            _ => Err(self.misbehaved(&answer)),
        }
    }

    pub(super) fn connect(&self) -> Result<Call, SourceError> {
        let dialled = self.network.dial(&self.peer, config::CONNECT_TIMEOUT, &self.cancel);
        let stream = dialled.map_err(SourceError::Unreachable)?;
        let registration = self.cancel.closes(stream.closer());
        let line = Line::new(connection::buffered(stream), Deadlines::default()).map_err(lost)?;
        Ok(Call { line, _registration: registration })
    }

    pub(super) fn hear(&self, who: &str, text: &str) {
        (self.heard)(&format!("{who} ({}): {text}", self.peer.id));
    }

    /// An answer that fits nothing.
    pub(super) fn misbehaved(&self, answer: &[u8]) -> SourceError {
        let answer = String::from_utf8_lossy(answer.get(..80).unwrap_or(answer)).into_owned();
        SourceError::Misbehaved(WireError::Unexpected(format!("{answer:?}")))
    }

    /// Lets a little time pass, unless cancelled; says whether the deadline is still to come.
    pub(super) fn pause_before(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.cancel.is_cancelled() {
            return false;
        }
        std::thread::park_timeout(left.min(config::RETRY_PAUSE));
        true
    }
}

impl Call {
    /// Sends a message.
    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), SourceError> {
        self.line.send(message).map_err(lost)
    }

    /// The next message.
    pub(super) fn answer(
        &mut self,
        wait: Duration,
        most: usize,
        ripe: impl FnMut(&[u8]) -> Ripeness,
    ) -> Result<Vec<u8>, SourceError> {
        let mut ripe = ripe;
        match self.line.receive(wait, most, &mut ripe) {
            Ok(Some(text)) => Ok(text.to_vec()),
            Ok(None) => Err(SourceError::Lost(WireError::Closed)),
            Err(error) => Err(lost(error)),
        }
    }
}

/// Reads a listing; `None` when the answer is none.
pub(super) fn served(answer: &[u8]) -> Option<Served> {
    let words = answer.get(find(answer, "Files served:")?.end..)?;
    let words = String::from_utf8_lossy(words);
    let (mut names, mut left_out) = (Vec::new(), 0);
    for word in words.split_whitespace() {
        match word.parse() {
            Ok(name) => names.push(name),
            Err(_) => left_out += 1,
        }
    }
    Some(Served { names, left_out, wants_base64: answer.starts_with(b"Server (") })
}

/// Refuses a name that the dialect would take for two words.
pub(super) fn check(name: &FileName) -> Result<(), SourceError> {
    if !name.as_str().contains(char::is_whitespace) {
        return Ok(());
    }
    let message = "the classic dialect has no names with blanks; rename the file".to_owned();
    Err(SourceError::Refused(Refusal { code: ErrorCode::Refused, message }))
}

pub(super) fn lost(error: io::Error) -> SourceError {
    match timed_out(&error) {
        true => SourceError::Stalled,
        false => SourceError::Lost(WireError::Io(error)),
    }
}
