//! The giving side of an upload: offer a file, then answer the target's requests until it has it.

use super::Responder;
use crate::config;
use crate::connection::Framed;
use crate::content::{Attributes, Manifest};
use crate::wire::{Failed, Head, Refusal, Report, Request, Response, Share, WireError};

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

/// What is offered.
#[derive(Clone, Copy)]
pub struct Goods<'a> {
    /// What the file is, and the name it is to have.
    pub manifest: &'a Manifest,
    /// What it has beside its content.
    pub attributes: Attributes,
    /// Whether another file of that name is to give way.
    pub replace: bool,
}

/// What a target says of a folder at the end.
#[derive(Debug)]
pub struct FolderReport {
    /// Files that it received.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that it had before.
    pub here: u64,
    /// Files that it could not have.
    pub failed: u64,
    /// Which ones, and why; may be fewer.
    pub failures: Vec<Failed>,
}

/// Offers a file over a connection of our own and serves it until the target reports an end.
/// `progress` is told how many verified bytes the target has.
pub fn offer(
    connection: &mut Framed,
    responder: &mut Responder,
    goods: &Goods<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Offered, OfferError> {
    let Goods { manifest, attributes, replace } = *goods;
    let digests = Response::digests_of(manifest);
    let request = Request::offer(manifest, attributes, replace);
    let answer = connection.ask(&request, &digests)?.map_err(OfferError::Refused)?;
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

/// Offers a folder over a connection of our own and serves it until the target reports an end.
/// `progress` is told every report on the way.
pub fn offer_folder(
    connection: &mut Framed,
    responder: &mut Responder,
    (share, replace): (&Share, bool),
    progress: &mut dyn FnMut(&Report),
) -> Result<FolderReport, OfferError> {
    let request = Request::OfferFolder { share: share.clone(), replace };
    let answer = connection.ask(&request, &[])?.map_err(OfferError::Refused)?;
    if !matches!(answer.message, Response::Accepted { .. }) {
        let what = format!("{:?} in answer to the offer of a folder", answer.message);
        return Err(WireError::Unexpected(what).into());
    }
    loop {
        let Some(Head { message, .. }) = connection.receive(config::OFFER_SILENCE)? else {
            return Err(WireError::Closed.into());
        };
        match message {
            Request::Report { report: Report::FolderFinished { received, bytes, here, failed } } => {
                let failures =
                    serde_json::from_slice(&connection.take_payload()?).map_err(WireError::BadHeader)?;
                return Ok(FolderReport { received, bytes, here, failed, failures });
            }
            Request::Report { report: Report::Failed(refusal) } => return Err(OfferError::Refused(refusal)),
            Request::Report { report } => progress(&report),
            request => responder.answer(connection, request)?,
        }
    }
}
