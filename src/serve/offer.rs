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

/// What is offered, and how.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    /// The file.
    pub manifest: &'a Manifest,
    /// Whether another file of that name gives way.
    pub replace: bool,
    /// Whether it goes to several peers at once that are to fetch from one another.
    pub swarm: bool,
}

/// How much of an offered file is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Verified bytes at the target.
    pub done: u64,
    /// Of these, bytes that it had from others than us.
    pub from_others: u64,
}

/// Makes an offer over a connection of our own and serves the file until the target reports an end.
/// `progress` is told what the target has.
pub fn offer(
    connection: &mut Framed,
    responder: &mut Responder,
    offer: Offer<'_>,
    progress: &mut dyn FnMut(Taken),
) -> Result<Offered, OfferError> {
    let digests = Response::digests_of(offer.manifest);
    let request = Request::offer(offer.manifest, offer.replace, offer.swarm);
    let answer = connection.ask(&request, &digests)?.map_err(OfferError::Refused)?;
    match answer.message {
        Response::AlreadyHere => return Ok(Offered::AlreadyThere),
        Response::Accepted { have } => progress(Taken { done: have, from_others: 0 }),
        other => return Err(WireError::Unexpected(format!("{other:?} in answer to an offer")).into()),
    }
    loop {
        let Some(Head { message, .. }) = connection.receive(config::OFFER_SILENCE)? else {
            return Err(WireError::Closed.into());
        };
        match message {
            Request::Report { report } => match report {
                Report::Progress { done, from_others } => progress(Taken { done, from_others }),
                Report::Finished => return Ok(Offered::Delivered),
                Report::Failed(refusal) => return Err(OfferError::Refused(refusal)),
            },
            request => responder.answer(connection, request)?,
        }
    }
}
