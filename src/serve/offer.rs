//! The giving side of an upload: offer a file, then answer the target's requests until it has it.

use super::Responder;
use crate::config;
use crate::connection::Framed;
use crate::content::Manifest;
use crate::wire::{Head, Refusal, Report, Request, Response, WireError};

/// How an offer ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// The target has the file now.
    Delivered,
    /// It had it already, under that name.
    AlreadyThere,
}

/// Why the target does not have the file.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The target said no, or gave up.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection broke.
    #[error("the connection was lost ({0})")]
    Wire(#[from] WireError),
}

/// Offers `manifest` over a connection of our own and serves it until the target reports an end.
/// `progress` is told how many verified bytes the target has.
pub fn offer(
    connection: &mut Framed,
    responder: &mut Responder,
    manifest: &Manifest,
    replace: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Offered, OfferError> {
    let digests = Response::digests_of(manifest);
    let answer =
        connection.ask(&Request::offer(manifest, replace), &digests)?.map_err(OfferError::Refused)?;
    match answer.message {
        Response::AlreadyHere => return Ok(Offered::AlreadyThere),
        Response::Accepted { have } => progress(have),
        other => return Err(WireError::Unexpected(format!("{other:?} in answer to an offer")).into()),
    }
    loop {
        let Some(Head { message, .. }) = connection.receive(config::OFFER_SILENCE)? else {
            return Err(WireError::Closed.into());
        };
        match message {
            Request::Report { report: Report::Progress { done } } => progress(done),
            Request::Report { report: Report::Finished } => return Ok(Offered::Delivered),
            Request::Report { report: Report::Failed(refusal) } => return Err(OfferError::Refused(refusal)),
            request => responder.answer(connection, request)?,
        }
    }
}
