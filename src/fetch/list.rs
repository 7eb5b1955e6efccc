//! What one peer serves.

use std::time::Instant;

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

/// The same over a connection that is open. While a page is looked at here, the peer makes the
/// next.
pub(super) fn list_over(
    connection: &mut Framed,
    request: &ListRequest,
    each: &mut dyn FnMut(Vec<Entry>),
) -> Result<Omissions, SourceError> {
    let selection =
        Selection::new(request.pattern.as_deref(), &request.except).map_err(misbehaved)?;
    let mut checked = Checked {
        selection,
        folders: request.folders,
        last: None,
        next: None,
        count: 0,
        room: config::MAX_LISTING,
    };
    ask(connection, request, None)?;
    let (mut left_out, mut begun) = (0, false);
    let mut pace = Pace::new(config::LEAST_LISTED, request.waits.idling);
    let mut since = Instant::now();
    loop {
        let head = connection.answer(request.waits.idling)?;
        let (next, now_left_out) = match head.message {
            Response::Listing { next, left_out, .. } => (next, left_out),
            // What was given already is not given again.
            Response::Error(refusal) if begun => return Err(SourceError::Refused(refusal)),
            Response::Error(refusal) => return Err(refusal.into()),
            other => return Err(misbehaved(format!("{other:?} in answer to list"))),
        };
        begun = true;
        let payload = connection.take_payload()?;
        left_out = left_out.max(now_left_out);
        let more = next.is_some();
        checked.check_next(next.as_ref())?;
        if more {
            ask(connection, request, next)?;
        }
        let entries = page_of(&payload)?;
        checked.room = checked
            .room
            .checked_sub(payload.len())
            .ok_or_else(|| misbehaved("a listing without end"))?;
        checked.check(&entries)?;
        let counts = if request.hashed { config::HASHED_COUNTS } else { 1 };
        // What is done with its names here is not the peer's time; to look at a page without any is.
        pace.moved(entries.len().saturating_mul(counts), since.elapsed(), request.waits.idling);
        if !entries.is_empty() {
            each(entries);
        }
        since = Instant::now();
        if more && pace.check().is_err() {
            let after = request.waits.idling;
            return Err(SourceError::Idles { what: "its list", after });
        }
        if !more {
            return if left_out > 0 {
                omissions(connection, request, left_out)
            } else {
                Ok(Omissions::default())
            };
        }
    }
}

/// Reads a page; one that is longer than pages may be is not kept.
fn page_of(payload: &[u8]) -> Result<Vec<Entry>, SourceError> {
    match wire::rows(payload, config::LIST_PAGE)? {
        Rows { first, more: false } => Ok(first),
        Rows { .. } => Err(misbehaved("a listing without end")),
    }
}

/// Asks what `count` entries were left out; a peer of an earlier version only counts them.
fn omissions(
    connection: &mut Framed,
    request: &ListRequest,
    count: u64,
) -> Result<Omissions, SourceError> {
    let ListRequest { pattern, except, .. } = request.clone();
    let answer = connection.ask(&Request::LeftOut { pattern, except }, &[])?;
    match answer.map(|head| head.message) {
        Ok(Response::LeftOut { count: now }) => {
            let payload = connection.take_payload()?;
            let told = wire::rows(&payload, config::OMISSIONS_TOLD)?.first;
            Ok(Omissions { count: count.max(now), told })
        }
        Ok(other) => Err(misbehaved(format!("{other:?} in answer to left_out"))),
        Err(_) => Ok(Omissions { count, told: Vec::new() }),
    }
}

fn ask(
    connection: &mut Framed,
    request: &ListRequest,
    after: Option<FileName>,
) -> Result<(), SourceError> {
    let ListRequest { pattern, except, folders, hashed, .. } = request.clone();
    Ok(connection
        .send(&Request::List { pattern, except, folders, hashed, after, limit: None }, &[])?)
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
