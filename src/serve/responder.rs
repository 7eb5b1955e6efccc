//! One request in, one answer out.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::account::Account;
use super::budget::Grant;
use super::company::{Company, Cut, Transferring};
use super::describe::without_more;
use super::handing::Next;
use super::handout::Handout;
use super::many;
use super::refusals::{refusal, refusal_of};
use crate::config;
use crate::connection::{Framed, agent};
use crate::content::{ChunkLayout, ChunkSet, FileName, Root};
use crate::store::{Content, ListQuery, Opened, Partial, Store, StoreError};
use crate::topology::PeerId;
use crate::wire::{ErrorCode, Refusal, Request, Response, State, WireError};

/// Answers requests from a store. One for each connection: it keeps the file that was read last
/// open.
pub struct Responder {
    pub(super) store: Store,
    open: Option<(Root, Open)>,
    /// The same of one that is still being hashed.
    named: Option<(FileName, Opened)>,
    /// Who reads from a file that is being received.
    reader: Option<PeerId>,
    pub(super) company: Company,
    /// The handout that this connection takes part in; while anybody does, it lives.
    pub(super) handout: Option<(Cut, Arc<Mutex<Handout>>)>,
    /// Where it is counted what is given; not for what the user of this machine gives himself.
    account: Option<Account>,
    /// Chunks were given.
    transferring: Option<Transferring>,
}

/// What is read from: a whole file, or one that is being received.
pub(super) enum Open {
    Whole(Content),
    Part(Partial),
}

/// A request for one chunk.
struct Read {
    root: Root,
    chunk: u32,
    chunk_size: u32,
    /// How long the answer may wait.
    wait_ms: u32,
}

impl Responder {
    /// Answers from that store. Connections with the same `company` know of one another's readers,
    /// and hand every chunk out once among them.
    pub fn new(store: Store, company: Company) -> Self {
        Self {
            store,
            open: None,
            named: None,
            reader: None,
            company,
            handout: None,
            account: None,
            transferring: None,
        }
    }

    /// The same, which tells the log what it gives.
    pub fn with(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Tells the log that a request was refused before it came here.
    pub fn tell_refused(&self, what: &str, why: &str) {
        if let Some(account) = &self.account {
            account.refused(what, why);
        }
    }

    /// Answers one request. Errors of the store are answers too; only a broken connection is an
    /// error here.
    pub fn answer(&mut self, connection: &mut Framed, request: Request) -> Result<(), WireError> {
        let (asked, mut entries) = (Instant::now(), 0);
        let mut memory = None;
        let answer = match request {
            Request::Read { root, chunk, chunk_size, wait_ms } => {
                return self.read(connection, Read { root, chunk, chunk_size, wait_ms });
            }
            Request::ReadNamed { name, chunk, chunk_size } => {
                return self.read_named(connection, name, (chunk, chunk_size));
            }
            Request::Next { root, chunk_size, seen, want } => {
                return self.next(connection, Next { root, chunk_size, seen, want });
            }
            Request::Describe { subject, wait_ms, digests_up_to } => self
                .describe(connection.peer(), &subject, wait_ms)
                .map(|answer| without_more(answer, digests_up_to)),
            Request::List { pattern, except, folders, hashed, after, limit } => {
                let limit = limit.map_or(config::LIST_PAGE, |limit| limit as usize);
                let limit = limit.clamp(1, config::LIST_PAGE);
                let query = ListQuery { pattern, except, folders, hashed, after, limit };
                many::list(&self.store, &query, &mut entries)
            }
            Request::LeftOut { pattern, except } => {
                many::left_out(&self.store, pattern.as_deref(), &except)
            }
            Request::Gather => {
                let roots = connection.take_payload()?;
                self.memory()
                    .and_then(|grant| many::gather(&self.store, memory.insert(grant), &roots))
            }
            Request::Have { root, chunk_size } => self.have(connection.peer(), root, chunk_size),
            Request::Ping => Ok((Response::Pong(Box::new(self.state())), Vec::new())),
            // A report gets no answer, and outside of an offer it means nothing.
            Request::Report { .. } => return Ok(()),
            Request::Hello { .. } | Request::Offer { .. } | Request::OfferFolder { .. } => {
                Err(refusal(ErrorCode::BadRequest, "that request does not fit here"))
            }
            Request::Cut { .. } | Request::Unknown => {
                Err(refusal(ErrorCode::Unsupported, "this peer does not know that request"))
            }
        };
        match answer {
            Ok((response, payload)) => {
                connection.send(&response, &payload)?;
                self.note(&response, (entries, payload.len() as u64), asked);
                Ok(())
            }
            Err(refusal) => self.refuse(connection, refusal),
        }
    }

    /// Counts what an answer gave, asked for at `asked`: entries of a listing, or bytes.
    fn note(&mut self, response: &Response, (entries, bytes): (u64, u64), asked: Instant) {
        let Some(account) = &mut self.account else { return };
        match response {
            Response::Listing { next, .. } => account.listed(entries, next.is_none()),
            Response::Gathered { lengths, .. } => {
                account.gave_small(lengths.iter().flatten().count() as u64, bytes, asked);
            }
            _ => {}
        }
    }

    /// Room for the longest answer that is made as a whole.
    fn memory(&self) -> Result<Grant, Refusal> {
        let room = self.company.answers.0.wait(config::GATHER_BYTES as usize, config::ANSWER_WAIT);
        room.ok_or_else(|| refusal(ErrorCode::Busy, "this peer gives to many others just now"))
    }

    /// How we are doing; what cannot be told now is left out.
    fn state(&self) -> State {
        let summary = self.store.summary().ok();
        State {
            files: summary.map(|summary| summary.files),
            bytes: summary.map(|summary| summary.bytes),
            free: summary.map(|summary| summary.free),
            hashing: summary.map(|summary| summary.hashing),
            transfers: Some(self.company.transfers()),
            version: Some(agent()),
        }
    }

    /// Says no, and tells the log.
    pub(super) fn refuse(
        &self,
        connection: &mut Framed,
        refusal: Refusal,
    ) -> Result<(), WireError> {
        // That a name is not here, or not yet, is an answer like others.
        let is_usual = matches!(
            refusal.code,
            ErrorCode::NotFound | ErrorCode::NotYet | ErrorCode::Unsupported
        );
        if let (Some(account), false) = (&self.account, is_usual) {
            account.refused("a request", &refusal.message);
        }
        connection.send(&Response::Error(refusal), &[])
    }

    /// Counts what was given of the file that is open, asked for at `asked`.
    pub(super) fn gave(&mut self, bytes: usize, asked: Instant) {
        self.transferring.get_or_insert_with(|| self.company.transferring());
        if let (Some(account), Some((_, open))) = (&mut self.account, &self.open) {
            account.gave(open.file(), bytes as u64, asked);
        }
    }

    fn read(&mut self, connection: &mut Framed, read: Read) -> Result<(), WireError> {
        let Read { root, chunk, chunk_size, wait_ms } = read;
        let asked = Instant::now();
        let deadline = asked + Duration::from_millis(wait_ms.min(config::MEMBER_WAIT_MS).into());
        if self.reader.is_none() && wait_ms > 0 {
            // Members of a swarm are counted by what they were sent, not by what waits to be.
            connection.set_unsent_limit(config::UNSENT)?;
            self.reader = connection.peer().cloned();
        }
        // One that waits is a member of a swarm, and told nothing new.
        let peer = connection.peer().filter(|_| wait_ms == 0).cloned();
        let (company, reader) = (self.company.clone(), self.reader.clone());
        let extent = self.open(root, deadline).and_then(|open| match open {
            Open::Whole(content) => {
                let extent = content.cut(chunk, chunk_size)?;
                Ok((extent, peer.is_some_and(|peer| company.reads(root, chunk_size, &peer))))
            }
            Open::Part(part) => Ok((part.cut(chunk, chunk_size, deadline)?, false)),
        });
        match extent {
            Ok((extent, shared)) => {
                let head = Response::Chunk { chunk, shared };
                let turn =
                    reader.as_ref().map(|reader| company.gate.turn(reader.as_str(), extent.len));
                connection.send_file(&head, extent.file.as_fd(), extent.offset, extent.len)?;
                drop(turn);
                let bytes = extent.len;
                self.count(connection, chunk);
                self.gave(bytes, asked);
                Ok(())
            }
            Err(error) => {
                let refusal = refusal_of(&error);
                self.open = None;
                self.refuse(connection, refusal)
            }
        }
    }

    /// Sends a chunk of a file of which it is not known yet what it is.
    fn read_named(
        &mut self,
        connection: &mut Framed,
        name: FileName,
        (chunk, chunk_size): (u32, u32),
    ) -> Result<(), WireError> {
        let asked = Instant::now();
        let open = match self.named.take().filter(|(open, _)| *open == name) {
            Some((_, open)) => Ok(open),
            None => self.store.open_named(&name),
        };
        let extent = open.as_ref().map_err(refusal_of).and_then(|open| {
            let extent = open.cut(chunk, chunk_size);
            extent.map_err(|error| refusal_of(&error))
        });
        match extent {
            Ok(extent) => {
                let head = Response::Chunk { chunk, shared: false };
                let bytes = extent.len as u64;
                connection.send_file(&head, extent.file.as_fd(), extent.offset, extent.len)?;
                if let (Some(account), Ok(open)) = (&mut self.account, &open) {
                    account.gave((&name, open.length()), bytes, asked);
                }
                self.named = open.ok().map(|open| (name, open));
                Ok(())
            }
            Err(refusal) => self.refuse(connection, refusal),
        }
    }

    /// Remembers that the peer of this connection was sent a chunk that we are passing on.
    fn count(&self, connection: &Framed, chunk: u32) {
        if let (Some((_, Open::Part(part))), Some(peer)) = (&self.open, connection.peer()) {
            part.sent(peer.as_str(), chunk);
        }
    }

    /// The content, kept open from the last request where it is the same. One that is not here at
    /// all may take until `deadline` to be received.
    pub(super) fn open(&mut self, root: Root, deadline: Instant) -> Result<&Open, StoreError> {
        if self.open.as_ref().is_none_or(|(open, what)| *open != root || what.is_over()) {
            self.open = None;
            let open = match self.whole(&root) {
                Ok(whole) => whole,
                Err(_) => match self.store.partial(&root, deadline) {
                    Some(part) => Open::Part(part),
                    // It may have become complete between the two looks.
                    None => self.whole(&root)?,
                },
            };
            self.open = Some((root, open));
        }
        match &self.open {
            Some((_, open)) => Ok(open),
            None => Err(StoreError::NoSuchContent { root }),
        }
    }

    fn whole(&self, root: &Root) -> Result<Open, StoreError> {
        self.store.open_content(root).map(Open::Whole)
    }

    fn have(
        &mut self,
        peer: Option<&PeerId>,
        root: Root,
        chunk_size: u32,
    ) -> Result<(Response, Vec<u8>), Refusal> {
        let open = self.open(root, Instant::now()).map_err(|error| refusal_of(&error))?;
        let own = match open {
            Open::Part(part) => part.layout(),
            Open::Whole(content) => content.manifest().layout(),
        };
        let chunk_size = if chunk_size == 0 { own.chunk_size() } else { chunk_size };
        let asked = ChunkLayout::new(own.length(), chunk_size)
            .map_err(|error| refusal(ErrorCode::BadRequest, error.to_string()))?;
        let chunks = match open {
            Open::Part(part) => {
                peer.into_iter().for_each(|peer| part.asked(peer.as_str()));
                part.have(&asked)
            }
            Open::Whole(content) => {
                // Somebody whose chunk did not verify asks, to learn whether the file was written
                // to.
                content.check_unchanged().map_err(|error| refusal_of(&error))?;
                ChunkSet::all(&asked)
            }
        };
        Ok((Response::Have, chunks.as_bytes().to_vec()))
    }
}

impl Open {
    fn file(&self) -> (&FileName, u64) {
        match self {
            Self::Whole(content) => (content.manifest().name(), content.manifest().length()),
            Self::Part(part) => (part.name(), part.layout().length()),
        }
    }

    /// Whether a file that was being received is not any more, and has to be looked for again.
    fn is_over(&self) -> bool {
        matches!(self, Self::Part(part) if part.is_over())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let (Some((_, Open::Part(part))), Some(reader)) = (&self.open, &self.reader) {
            part.forget(reader.as_str());
        }
    }
}
