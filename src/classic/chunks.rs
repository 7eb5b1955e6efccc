//! A file's chunks from one classic server: a few requests under way at once, each on a *lane*, and
//! the answers in their order.
//!
//! A lane keeps its connection as long as the server does; where the server answers one request a
//! connection, the lanes open a new one for each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ask::{Asker, Call};
use super::message::{CHUNK, END, Ripeness, characters, chunk_len, find, status};
use crate::config;
use crate::content::FileName;
use crate::fetch::SourceError;
use crate::transport::Pace;
use crate::wire::WireError;

/// Reads chunks of one file.
pub(super) struct Chunks {
    from: Asker,
    name: FileName,
    /// What the server says the file's length is, in whatever it counts.
    length: u64,
    lanes: Vec<Lane>,
    /// Whether a connection can be used again; not known before it was tried.
    reuse: Option<bool>,
    /// How quickly chunks must come; looked at over `idling`.
    pace: Pace,
    idling: Duration,
}

#[derive(Default)]
struct Lane {
    call: Option<Call>,
    /// Whether the connection has had an answer before.
    used: bool,
}

impl Chunks {
    pub(super) fn new(from: Asker, name: FileName, length: u64) -> Self {
        let lanes = (0..config::CLASSIC_LANES).map(|_| Lane::default()).collect();
        let idling = from.idling;
        let pace = Pace::new(config::CLASSIC_LEAST_READ, idling);
        Self { from, name, length, lanes, reuse: None, pace, idling }
    }

    /// Gives `each` the chunks of these numbers, in their order: its data, or `None` past the
    /// file's end. Stops when `each` says `false`.
    pub(super) fn read(
        &mut self,
        mut indices: impl Iterator<Item = u32>,
        mut each: impl FnMut(u32, Option<&[u8]>) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let mut asked = VecDeque::with_capacity(self.lanes.len());
        let mut lane = 0;
        loop {
            while asked.len() < self.width()
                && let Some(index) = indices.next()
            {
                self.send(lane, index)?;
                asked.push_back((lane, index));
                lane = (lane + 1) % self.width();
            }
            let Some((lane, index)) = asked.pop_front() else { return Ok(()) };
            let asked = Instant::now();
            let answer = self.answer(lane, index)?;
            self.pace.moved(answer.len(), asked.elapsed(), self.idling);
            if self.pace.check().is_err() {
                return Err(SourceError::Idles { what: "the file", after: self.idling });
            }
            if !each(index, data_of(&answer, &self.name, index))? {
                self.lanes.iter_mut().for_each(|lane| *lane = Lane::default());
                return Ok(());
            }
            self.judge(&answer, index)?;
        }
    }

    /// One request at a time until it is known how the server takes them.
    fn width(&self) -> usize {
        if self.reuse.is_some() { self.lanes.len() } else { 1 }
    }

    fn judge(&self, answer: &[u8], index: u32) -> Result<(), SourceError> {
        let known = data_of(answer, &self.name, index).is_some() || find(answer, END).is_some();
        match status(answer) {
            _ if known => Ok(()),
            Some(250) => Err(SourceError::NotServing),
            _ => Err(self.from.misbehaved(answer)),
        }
    }

    fn send(&mut self, lane: usize, index: u32) -> Result<(), SourceError> {
        let reuse = self.reuse != Some(false);
        let Some(lane) = self.lanes.get_mut(lane) else { return Ok(()) };
        if !reuse {
            *lane = Lane::default();
        }
        let call = match &mut lane.call {
            Some(call) => call,
            empty => empty.insert(self.from.connect()?),
        };
        let request = format!("#DOWNLOAD {} chunk {index}", self.name);
        match call.send(request.as_bytes()) {
            // That shows when the answer is awaited.
            Err(SourceError::Lost(_)) if lane.used => Ok(()),
            other => other,
        }
    }

    fn answer(&mut self, lane: usize, index: u32) -> Result<Vec<u8>, SourceError> {
        let used = self.lanes.get(lane).is_some_and(|lane| lane.used);
        let wait = if used && self.reuse.is_none() {
            config::CLASSIC_LISTEN
        } else {
            config::CLASSIC_ANSWER
        };
        let answer = match self.receive(lane, index, wait) {
            // A server that answers once a connection, and closes it or waits for us to do so.
            Err(SourceError::Lost(_) | SourceError::Stalled)
                if used && !self.from.cancel.is_cancelled() =>
            {
                self.reuse = Some(false);
                self.send(lane, index)?;
                self.receive(lane, index, config::CLASSIC_ANSWER)?
            }
            Ok(answer) => {
                if used {
                    self.reuse = self.reuse.or(Some(true));
                }
                answer
            }
            Err(error) => return Err(error),
        };
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.used = true;
        }
        Ok(answer)
    }

    fn receive(&mut self, lane: usize, index: u32, wait: Duration) -> Result<Vec<u8>, SourceError> {
        let head = head_of(&self.name, index);
        let due = chunk_len(self.length, index);
        let ripe = |text: &[u8]| match find(text, &head).and_then(|head| text.get(head.end..)) {
            Some(data) => ripeness(data, due),
            None => Ripeness::whole_if(text.ends_with(END.as_bytes())),
        };
        let call = self.lanes.get_mut(lane).and_then(|lane| lane.call.as_mut());
        let call = call.ok_or(SourceError::Lost(WireError::Closed))?;
        call.answer(wait, config::CLASSIC_MOST, ripe)
    }
}

fn head_of(name: &FileName, index: u32) -> String {
    format!("200 File {name} chunk {index} ")
}

/// The data in an answer, which begins right after the chunk's number and a blank.
pub(super) fn data_of<'a>(answer: &'a [u8], name: &FileName, index: u32) -> Option<&'a [u8]> {
    answer.get(find(answer, &head_of(name, index))?.end..)
}

/// Whether the data of a chunk, of which so much is due in bytes or characters, is all there.
pub(super) fn ripeness(data: &[u8], due: usize) -> Ripeness {
    match characters(data) {
        characters if characters >= due => Ripeness::Whole,
        _ if data.len() >= due.min(CHUNK) && data.len() <= CHUNK => Ripeness::PERHAPS,
        _ => Ripeness::Partial,
    }
}
