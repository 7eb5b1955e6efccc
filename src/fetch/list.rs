//! What one peer serves.

use super::source::{Caller, SourceError, misbehaved};
use crate::config;
use crate::content::{Entry, FileName};
use crate::topology::Peer;
use crate::transport::Cancel;
use crate::wire::{Request, Response, WireError};

/// Asks a peer for all files that match `pattern`, page by page, so that no more than a page is in
/// memory at once; `each` is given every page in the order of the names. Gives the number of files
/// that the peer left out because they cannot be served.
pub fn list(
    peer: &Peer,
    pattern: Option<&str>,
    caller: &Caller,
    cancel: &Cancel,
    each: &mut dyn FnMut(Vec<Entry>),
) -> Result<u64, SourceError> {
    let mut connection = caller.connect(peer, cancel)?;
    let _registration = cancel.closes(connection.closer());
    let (mut after, mut room): (Option<FileName>, usize) = (None, config::MAX_LISTING);
    loop {
        let request =
            Request::List { pattern: pattern.map(str::to_owned), after: after.clone(), limit: None };
        let head = connection.ask(&request, &[])??;
        let Response::Listing { more, left_out } = head.message else {
            return Err(misbehaved(format!("{:?} in answer to list", head.message)));
        };
        let payload = connection.take_payload()?;
        let entries: Vec<Entry> = serde_json::from_slice(&payload).map_err(WireError::BadHeader)?;
        let last = entries.last().map(|entry| entry.name.clone());
        if last.is_some() && last <= after {
            return Err(misbehaved("a page that does not go on after the one before"));
        }
        room = room.checked_sub(payload.len()).ok_or_else(|| misbehaved("a listing without end"))?;
        after = last;
        each(entries);
        if !more || after.is_none() {
            return Ok(left_out);
        }
    }
}
