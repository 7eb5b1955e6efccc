//! What one peer serves.

use std::time::{Duration, Instant};

use super::framed::Caller;
use super::outage::Waits;
use super::source::{SourceError, misbehaved};
use crate::config;
use crate::connection::Framed;
use crate::content::{Entry, FileName, Omissions, Selection};
use crate::topology::Peer;
use crate::transport::{Cancel, Pace};
use crate::wire::{self, Request, Response, Rows};

/// What is asked for of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only names that this pattern selects.
    pub pattern: Option<String>,
    /// And of these none that one of these patterns fits.
    pub except: Vec<String>,
    /// Folders too.
    pub folders: bool,
    /// With the roots of small files, which are hashed for it.
    pub hashed: bool,
    /// How long is waited for what.
    pub waits: Waits,
}

/// Asks a peer for its files, page by page, so that no more than two pages are in memory at once;
/// `each` is given every page in the order of the names. Gives what the peer left out because it
/// cannot be served.
pub fn list(
    peer: &Peer,
    request: &ListRequest,
    caller: &Caller,
    cancel: &Cancel,
    each: &mut dyn FnMut(Vec<Entry>),
) -> Result<Omissions, SourceError> {
    let mut connection = caller.connect(peer, cancel)?;
    let _registration = cancel.closes(connection.closer());
    list_over(&mut connection, request, each)
}

/// [`list`] over a connection that is open. While a page is looked at here, the peer makes the
/// next.
fn list_over(
    connection: &mut Framed,
    request: &ListRequest,
    each: &mut dyn FnMut(Vec<Entry>),
) -> Result<Omissions, SourceError> {
    let mut listing = Listing::new(request)?;
    let mut asked = listing.next();
    let send = |connection: &mut Framed, asked: &Option<Request>| match asked {
        Some(request) => connection.send(request, &[]),
        None => Ok(()),
    };
    send(connection, &asked)?;
    let mut since = Instant::now();
    while asked.is_some() {
        let head = connection.answer(request.waits.idling)?;
        let payload = connection.take_payload()?;
        let entries = listing.heard(head.message, &payload, since.elapsed())?;
        asked = listing.next();
        send(connection, &asked)?;
        // What is done with its names here is not the peer's time.
        if !entries.is_empty() {
            each(entries);
        }
        since = Instant::now();
    }
    Ok(listing.omissions)
}

/// How far the listing of one source is: what to ask for next, and whether what comes fits.
pub(super) struct Listing {
    request: ListRequest,
    checked: Checked,
    at: At,
    left_out: u64,
    /// What the peer left out, once it has said so.
    pub(super) omissions: Omissions,
    /// Whether others fetch the same from it, as it said last.
    pub(super) shared: bool,
    pace: Pace,
}

#[derive(PartialEq, Eq)]
enum At {
    /// A page that begins behind that name.
    Page(Option<FileName>),
    LeftOut,
    End,
}

impl Listing {
    pub(super) fn new(request: &ListRequest) -> Result<Self, SourceError> {
        let selection =
            Selection::new(request.pattern.as_deref(), &request.except).map_err(misbehaved)?;
        let checked = Checked {
            selection,
            folders: request.folders,
            last: None,
            next: None,
            count: 0,
            room: config::MAX_LISTING,
        };
        Ok(Self {
            request: request.clone(),
            checked,
            at: At::Page(None),
            left_out: 0,
            omissions: Omissions::default(),
            shared: false,
            pace: Pace::new(config::LEAST_LISTED, request.waits.idling),
        })
    }

    /// What to ask for now; nothing at the end.
    pub(super) fn next(&self) -> Option<Request> {
        let ListRequest { pattern, except, folders, hashed, .. } = self.request.clone();
        match &self.at {
            At::Page(after) => {
                let after = after.clone();
                Some(Request::List { pattern, except, folders, hashed, after, limit: None })
            }
            At::LeftOut => Some(Request::LeftOut { pattern, except }),
            At::End => None,
        }
    }

    /// Whether all names are known.
    pub(super) fn has_all_names(&self) -> bool {
        !matches!(self.at, At::Page(_))
    }

    /// The answer to that, for which this side waited so long. Gives the entries of the next page.
    pub(super) fn heard(
        &mut self,
        response: Response,
        payload: &[u8],
        waited: Duration,
    ) -> Result<Vec<Entry>, SourceError> {
        match (&self.at, response) {
            (At::Page(_), Response::Listing { next, left_out, shared }) => {
                self.shared |= shared;
                self.left_out = self.left_out.max(left_out);
                self.page(next, payload, waited)
            }
            // What was given already is not given again.
            (At::Page(Some(_)), Response::Error(refusal)) => Err(SourceError::Refused(refusal)),
            (At::Page(None), Response::Error(refusal)) => Err(refusal.into()),
            (At::LeftOut, Response::LeftOut { count }) => {
                let told = wire::rows(payload, config::OMISSIONS_TOLD)?.first;
                self.omissions = Omissions { count: self.left_out.max(count), told };
                self.at = At::End;
                Ok(Vec::new())
            }
            // A peer of an earlier version only counts them.
            (At::LeftOut, Response::Error(_)) => {
                self.omissions = Omissions { count: self.left_out, told: Vec::new() };
                self.at = At::End;
                Ok(Vec::new())
            }
            (_, other) => Err(misbehaved(format!("{other:?} in answer to list"))),
        }
    }

    fn page(
        &mut self,
        next: Option<FileName>,
        payload: &[u8],
        waited: Duration,
    ) -> Result<Vec<Entry>, SourceError> {
        self.checked.check_next(next.as_ref())?;
        let entries = page_of(payload)?;
        self.checked.room = self
            .checked
            .room
            .checked_sub(payload.len())
            .ok_or_else(|| misbehaved("a listing without end"))?;
        self.checked.check(&entries)?;
        let (idling, counts) = match self.request.hashed {
            true => (self.request.waits.idling, config::HASHED_COUNTS),
            false => (self.request.waits.idling, 1),
        };
        self.pace.moved(entries.len().saturating_mul(counts), waited, idling);
        if next.is_some() && self.pace.check().is_err() {
            return Err(SourceError::Idles { what: "its list", after: idling });
        }
        self.at = match next {
            Some(next) => At::Page(Some(next)),
            None if self.left_out > 0 => At::LeftOut,
            None => At::End,
        };
        Ok(entries)
    }
}

/// Reads a page; one that is longer than pages may be is not kept.
fn page_of(payload: &[u8]) -> Result<Vec<Entry>, SourceError> {
    match wire::rows(payload, config::LIST_PAGE)? {
        Rows { first, more: false } => Ok(first),
        Rows { .. } => Err(misbehaved("a listing without end")),
    }
}

/// Sees to it that a listing is what was asked for, and that it ends.
struct Checked {
    selection: Selection,
    folders: bool,
    last: Option<FileName>,
    /// Where the next page begins.
    next: Option<FileName>,
    count: usize,
    /// Bytes that it may still have.
    room: usize,
}

impl Checked {
    fn check_next(&mut self, next: Option<&FileName>) -> Result<(), SourceError> {
        if next.is_some() && next <= self.next.as_ref() {
            return Err(misbehaved("a page that does not go on after the one before"));
        }
        self.next = next.cloned();
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn check(&mut self, entries: &[Entry]) -> Result<(), SourceError> {
        self.count = self.count.saturating_add(entries.len());
        if self.count > config::MAX_LISTED {
            return Err(misbehaved("a listing without end"));
        }
        for entry in entries {
            if self.last.as_ref().is_some_and(|last| entry.name <= *last) {
                return Err(misbehaved("a page that does not go on after the one before"));
            }
            if !self.selection.matches(&entry.name) || (entry.folder && !self.folders) {
                return Err(misbehaved("a name in a listing that was not asked for"));
            }
            self.last = Some(entry.name.clone());
        }
        Ok(())
    }
}
