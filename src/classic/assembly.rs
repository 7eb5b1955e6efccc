//! A file from its chunks, as far as can be told without its bytes: in which order they belong,
//! when one is whole, when all are there, and whether their sizes add up. Pure.
//!
//! The dialect leaves open whether the announced length counts bytes or characters, and whether a
//! chunk is 100 of the one or of the other. What came tells, and is remembered here.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::message::{CHUNK, Ripeness, characters, chunk_len, count};
use crate::config;

/// Bytes of the longest chunk: no character takes more than four.
const MOST: usize = 4 * CHUNK;

/// How chunks come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Bytes,
    Characters,
    Base64,
}

/// How the sizes of what came fit the announced length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is all there.
    Whole,
    /// It is all there but the carriage returns, which the sender read away.
    WithoutReturns,
    /// Something is missing, or too much.
    Wrong,
}

/// What is known of a file while its chunks come.
#[derive(Debug)]
pub(super) struct Assembly {
    length: Option<u64>,
    form: Option<Form>,
    /// Of the chunks that are in their place.
    bytes: u64,
    characters: u64,
    newlines: u64,
    /// The chunk that is due.
    next: u32,
    /// A chunk shorter than the others was there: it is the last.
    ended: bool,
    /// Chunks that came too early.
    early: BTreeMap<u32, Vec<u8>>,
}

impl Assembly {
    /// Nothing has come of a file of that length, in bytes or characters; B does not say it.
    pub(super) fn new(length: Option<u64>) -> Self {
        let (bytes, characters, newlines, next) = (0, 0, 0, 0);
        Self {
            length,
            form: None,
            bytes,
            characters,
            newlines,
            next,
            ended: false,
            early: BTreeMap::new(),
        }
    }

    /// The chunk that is due.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Whether `data` is all of a chunk that comes on the connection that the others come on.
    pub(super) fn ripeness(&self, index: u32, data: &[u8]) -> Ripeness {
        let Some(length) = self.length else { return Ripeness::whole_if(data.len() >= CHUNK) };
        let (due, characters) = (chunk_len(length, index), characters(data));
        if characters >= due || (data.len() == due && self.form == Some(Form::Bytes)) {
            return Ripeness::Whole;
        }
        match data.len() == due && self.form.is_none() {
            true => Ripeness::PERHAPS,
            false => Ripeness::Partial,
        }
    }

    /// The same for a chunk on a connection of its own, as D and E send them: characters, perhaps
    /// in base64, while the length counts bytes.
    pub(super) fn ripeness_alone(&self, index: u32, data: &[u8]) -> Ripeness {
        let plain = self.is_plain(index, data);
        match self.form {
            Some(Form::Base64) | None if self.decoded(index, data).is_some() => Ripeness::Whole,
            None if plain => Ripeness::whole_if(data.iter().any(|byte| !is_base64(*byte))),
            Some(Form::Bytes | Form::Characters) if plain => Ripeness::Whole,
            _ => Ripeness::Partial,
        }
    }

    /// The bytes of a chunk that came on a connection of its own; says whether it was in base64.
    pub(super) fn read_alone(&mut self, index: u32, data: &[u8]) -> (Vec<u8>, bool) {
        let decoded = match self.form {
            Some(Form::Characters) => None,
            Some(Form::Base64) => from_base64(data),
            _ if self.is_plain(index, data) => self.decoded(index, data),
            // A sender that read carriage returns away has a last chunk of no expected length.
            _ => self
                .decoded(index, data)
                .or_else(|| from_base64(data).filter(|_| data.len() > CHUNK)),
        };
        self.form = Some(if decoded.is_some() { Form::Base64 } else { Form::Characters });
        match decoded {
            Some(bytes) => (bytes, true),
            None => (data.to_vec(), false),
        }
    }

    /// Takes a chunk and gives what can be appended now: nothing when it came before or too early.
    /// `None` when it is too far ahead to be kept, or longer than a chunk can be.
    pub(super) fn take(&mut self, index: u32, data: &[u8]) -> Option<Vec<u8>> {
        if index < self.next {
            return Some(Vec::new());
        }
        if index - self.next >= config::CLASSIC_WINDOW || data.len() > MOST {
            return None;
        }
        if index > self.next {
            self.early.insert(index, data.to_vec());
            return Some(Vec::new());
        }
        let mut ready = data.to_vec();
        self.append(data);
        while let Some(chunk) = self.early.remove(&self.next) {
            self.append(&chunk);
            ready.extend(chunk);
        }
        Some(ready)
    }

    /// Whether all chunks are there, by their number or because the last one was shorter.
    pub(super) fn is_complete(&self) -> bool {
        self.length.is_some_and(|length| {
            self.ended || count(length).is_none_or(|count| self.next >= count)
        })
    }

    /// The same for chunks on connections of their own, whose sender counts bytes in the length and
    /// characters in a chunk.
    pub(super) fn is_complete_alone(&self) -> bool {
        self.is_complete() || self.length == Some(self.bytes)
    }

    /// Whether the sizes add up (rule 5 of the serving side).
    pub(super) fn verdict(&self) -> Verdict {
        match self.length {
            None => Verdict::Whole,
            Some(length) if length == self.bytes || length == self.characters => Verdict::Whole,
            Some(length) if length == self.bytes + self.newlines => Verdict::WithoutReturns,
            Some(_) => Verdict::Wrong,
        }
    }

    fn append(&mut self, chunk: &[u8]) {
        let characters = characters(chunk);
        if chunk.len() > CHUNK {
            self.form = self.form.or(Some(Form::Characters));
        } else if chunk.len() == CHUNK && characters < CHUNK {
            self.form = self.form.or(Some(Form::Bytes));
        }
        self.bytes += chunk.len() as u64;
        self.characters += characters as u64;
        self.newlines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.ended |= characters < CHUNK && chunk.len() != CHUNK;
        self.next = self.next.saturating_add(1);
    }

    /// Whether these can be all characters of a chunk as they are.
    fn is_plain(&self, index: u32, data: &[u8]) -> bool {
        match self.rest(index) {
            Some(rest) => {
                data.len() as u64 == rest
                    || (characters(data) == CHUNK && data.len() as u64 <= rest)
            }
            None => characters(data) == CHUNK,
        }
    }

    /// What these are in base64, if that can be a whole chunk.
    fn decoded(&self, index: u32, data: &[u8]) -> Option<Vec<u8>> {
        from_base64(data).filter(|bytes| self.is_plain(index, bytes))
    }

    /// Bytes that are still to come, when the chunk is the one that is due.
    fn rest(&self, index: u32) -> Option<u64> {
        self.length.filter(|_| index == self.next).map(|length| length.saturating_sub(self.bytes))
    }
}

fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
