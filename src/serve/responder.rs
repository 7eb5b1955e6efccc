//! One request in, one answer out.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::account::Account;
use super::budget::Grant;
use super::company::{Company, Cut, Transferring};
use super::cuts;
use super::describe::without_more;
use super::handing::Next;
use super::handout::Handout;
use super::many;
use super::open::{Open, Place, Slot};
use super::refusals::{refusal, refusal_of};
use crate::config;
use crate::connection::{Framed, agent};
use crate::content::{ChunkSet, FileName, Root};
use crate::store::{ListQuery, Opened, Store};
use crate::topology::PeerId;
use crate::wire::{ErrorCode, Refusal, Request, Response, State, WireError};

/// Answers requests from a store. One for each connection: it keeps the file that was read last
/// open.
pub struct Responder {
    pub(super) store: Store,
    pub(super) open: Slot,
    /// The large file that a unit was read from last.
    pub(super) beside: Slot,
    /// The same of one that is still being hashed.
    named: Option<(FileName, Opened)>,
    /// Who reads from a file that is being received.
    reader: Option<PeerId>,
    pub(super) company: Company,
    /// The handout that this connection takes part in; while anybody does, it lives.
    pub(super) handout: Option<(Cut, Arc<Mutex<Handout>>)>,
    /// Where it is counted what is given; not for what the user of this machine gives himself.
    pub(super) account: Option<Account>,
    /// Chunks were given.
    pub(super) transferring: Option<Transferring>,
    /// Which files were listed last by whoever is about to fetch them.
    selection: Option<Root>,
}

impl Responder {
    /// Answers from that store. Connections with the same `company` know of one another's readers,
    /// and hand every chunk out once among them.
    pub fn new(store: Store, company: Company) -> Self {
        Self {
            store,
            open: None,
            beside: None,
            named: None,
            reader: None,
            company,
            handout: None,
            account: None,
            transferring: None,
            selection: None,
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
                return self.read(connection, Place { root, chunk, chunk_size }, wait_ms);
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
                if hashed {
                    self.selection = Some(cuts::selection(pattern.as_deref(), &except));
                }
                let shared = hashed && self.selects(connection.peer());
                let query = ListQuery { pattern, except, folders, hashed, after, limit };
                many::list(&self.store, &query, &mut entries, shared)
            }
            Request::LeftOut { pattern, except } => {
                many::left_out(&self.store, pattern.as_deref(), &except)
            }
            Request::Gather => {
                let roots = connection.take_payload()?;
                let shared = self.selects(connection.peer());
                self.memory().and_then(|grant| {
                    many::gather(&self.store, memory.insert(grant), &roots, shared)
                })
            }
            Request::Cut { pattern, except, chunk_size } => {
                self.cut(pattern, except, chunk_size).map(|response| (response, Vec::new()))
            }
            Request::Have { root, chunk_size } => self.have(connection.peer(), root, chunk_size),
            Request::Ping => Ok((Response::Pong(Box::new(self.state())), Vec::new())),
            // A report gets no answer, and outside of an offer it means nothing.
            Request::Report { .. } => return Ok(()),
            Request::Hello { .. } | Request::Offer { .. } | Request::OfferFolder { .. } => {
                Err(refusal(ErrorCode::BadRequest, "that request does not fit here"))
            }
            Request::Unknown => {
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

    /// Notes that the peer reads the files that it listed last; says whether others do so too.
    fn selects(&self, peer: Option<&PeerId>) -> bool {
        let selection = self.selection.zip(peer);
        selection.is_some_and(|(selection, peer)| self.company.selects(selection, peer))
    }

    /// Cuts a folder into units.
    fn cut(
        &self,
        pattern: Option<String>,
        except: Vec<String>,
        chunk_size: u32,
    ) -> Result<Response, Refusal> {
        let selection = cuts::selection(pattern.as_deref(), &except);
        let make = || cuts::cut(&self.store, pattern, except, chunk_size);
        let units = self.company.cut(selection, chunk_size, make)?;
        Ok(Response::Cut { id: units.id(), count: units.layout().count() })
    }

    fn read(
        &mut self,
        connection: &mut Framed,
        place: Place,
        wait_ms: u32,
    ) -> Result<(), WireError> {
        let asked = Instant::now();
        let deadline = asked + Duration::from_millis(wait_ms.min(config::MEMBER_WAIT_MS).into());
        if self.reader.is_none() && wait_ms > 0 {
            // Members of a swarm are counted by what they were sent, not by what waits to be.
            connection.set_unsent_limit(config::UNSENT)?;
            self.reader = connection.peer().cloned();
        }
        // One that waits is a member of a swarm, and told nothing new.
        let shared = wait_ms == 0 && self.is_shared(connection.peer(), place);
        let (company, reader) = (self.company.clone(), self.reader.clone());
        match self.piece(place, deadline) {
            Ok(piece) => {
                let head = Response::Chunk { chunk: place.chunk, shared };
                let bytes = piece.len();
                let turn = reader.as_ref().map(|reader| company.gate.turn(reader.as_str(), bytes));
                piece.send(connection, &head)?;
                drop(turn);
                self.count(connection, place.chunk);
                self.gave(place.chunk, bytes, asked);
                Ok(())
            }
            Err(refusal) => {
                // What is only not there yet need not be looked for again.
                if !matches!(refusal.code, ErrorCode::NotYet | ErrorCode::BadRequest) {
                    (self.open, self.beside) = (None, None);
                }
                self.refuse(connection, refusal)
            }
        }
    }

    /// Notes that the peer reads a file, and perhaps more that it listed; says whether others do so
    /// too.
    fn is_shared(&mut self, peer: Option<&PeerId>, place: Place) -> bool {
        let Some(peer) = peer else { return false };
        // What is still being received is not shared, but passed on.
        if !matches!(self.open(place.root, Instant::now()), Ok(Open::Whole(_))) {
            return false;
        }
        let others = self.company.reads(place.root, place.chunk_size, peer);
        self.selects(Some(peer)) || others
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

    fn have(
        &mut self,
        peer: Option<&PeerId>,
        root: Root,
        chunk_size: u32,
    ) -> Result<(Response, Vec<u8>), Refusal> {
        let open = self.open(root, Instant::now()).map_err(|error| refusal_of(&error))?;
        let own = open.layout().chunk_size();
        let asked = open.cut(if chunk_size == 0 { own } else { chunk_size })?;
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
            Open::Units(_) => ChunkSet::all(&asked),
        };
        Ok((Response::Have, chunks.as_bytes().to_vec()))
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let (Some((_, Open::Part(part))), Some(reader)) = (&self.open, &self.reader) {
            part.forget(reader.as_str());
        }
    }
}
