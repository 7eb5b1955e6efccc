//! Answers about many files: listings, what they leave out, and small files as a whole.

use super::budget::Grant;
use super::refusals::{refusal, refusal_of};
use crate::config;
use crate::content::{Digest, Omission, Omissions, Root};
use crate::store::{ListQuery, Store};
use crate::wire::{ErrorCode, Refusal, Response};

/// An answer and its payload.
type Answer = Result<(Response, Vec<u8>), Refusal>;

/// A page of a listing; `entries` becomes how many it has. `shared` says whether others fetch the
/// same.
pub(super) fn list(store: &Store, query: &ListQuery, entries: &mut u64, shared: bool) -> Answer {
    let page = store.list(query).map_err(|error| refusal_of(&error))?;
    let payload = serde_json::to_vec(&page.entries)
        .map_err(|error| refusal(ErrorCode::Internal, error.to_string()))?;
    *entries = page.entries.len() as u64;
    Ok((Response::Listing { next: page.next, left_out: page.left_out, shared }, payload))
}

pub(super) fn left_out(store: &Store, pattern: Option<&str>, except: &[String]) -> Answer {
    let omissions = store.omissions(pattern, except, config::OMISSIONS_TOLD);
    let Omissions { count, mut told } = omissions.map_err(|error| refusal_of(&error))?;
    let mut room = config::OMISSION_BYTES;
    let mut fits = |omission: &Omission| {
        let left = room.checked_sub(omission.name.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    told.truncate(told.iter().take_while(|omission| fits(omission)).count());
    let payload = serde_json::to_vec(&told)
        .map_err(|error| refusal(ErrorCode::Internal, error.to_string()))?;
    Ok((Response::LeftOut { count }, payload))
}

/// Small files as a whole, for which `memory` is held until they are sent. `shared` as in [`list`].
pub(super) fn gather(store: &Store, memory: &mut Grant, roots: &[u8], shared: bool) -> Answer {
    let roots = Digest::split(roots).filter(|roots| roots.len() <= config::GATHER_FILES);
    let roots = roots.ok_or_else(|| refusal(ErrorCode::BadRequest, "too many files at once"))?;
    let roots: Vec<Root> = roots.into_iter().map(Root).collect();
    let mut payload = Vec::new();
    let lengths = store.gather(&roots, config::GATHER_BYTES as usize, &mut payload);
    let lengths = lengths.map_err(|error| refusal_of(&error))?;
    memory.keep(payload.len());
    Ok((Response::Gathered { lengths, shared }, payload))
}
