//! The giving side of an upload: offer a file, then answer the target's requests until it has it.

use std::time::Duration;

use super::Responder;
use crate::config;
use crate::connection::Framed;
use crate::content::{Attributes, Manifest};
use crate::wire::{self, Failed, Head, Refusal, Report, Request, Response, Share, WireError};

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

/// What is offered, and how.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    /// The file.
    pub manifest: &'a Manifest,
    /// What it has beside its content.
    pub attributes: Attributes,
    /// Whether another file of that name gives way.
    pub replace: bool,
    /// Whether it goes to several peers at once that are to fetch from one another.
    pub swarm: bool,
    /// How long the other side may say nothing, or read nothing, before it counts as gone.
    pub patience: Patience,
}

/// Which folder is offered, and how.
#[derive(Clone, Copy)]
pub struct FolderOffer<'a> {
    /// Which files.
    pub share: &'a Share,
    /// Whether other files of their names give way.
    pub replace: bool,
    /// The size of units in bytes where it goes to several peers at once that are to fetch from one
    /// another; else 0.
    pub chunk_size: u32,
}

/// How long the receiver of an offer may do nothing.
#[derive(Clone, Copy)]
pub struct Patience {
    /// While it is to say something.
    pub silence: Duration,
    /// While it is to read something.
    pub write: Duration,
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
    connection.set_write_timeout(offer.patience.write)?;
    connection.introduce()?;
    let digests = Response::digests_of(offer.manifest);
    let request = Request::offer(offer.manifest, offer.attributes, offer.replace, offer.swarm);
    let answer = connection.ask(&request, &digests)?.map_err(OfferError::Refused)?;
    match answer.message {
        Response::AlreadyHere => return Ok(Offered::AlreadyThere),
        Response::Accepted { have } => progress(Taken { done: have, from_others: 0 }),
        other => {
            return Err(WireError::Unexpected(format!("{other:?} in answer to an offer")).into());
        }
    }
    loop {
        let Some(Head { message, .. }) = connection.receive(offer.patience.silence)? else {
            return Err(WireError::Closed.into());
        };
        match message {
            Request::Report { report } => match report {
                Report::Progress { done, from_others } => progress(Taken { done, from_others }),
                Report::Finished => return Ok(Offered::Delivered),
                // These are about folders.
                Report::Folder { .. } | Report::FolderFinished { .. } => {}
                Report::Failed(refusal) => return Err(OfferError::Refused(refusal)),
            },
            request => responder.answer(connection, request)?,
        }
    }
}

/// Offers a folder over a connection of our own and serves it until the target reports an end.
/// `progress` is told every report on the way.
pub fn offer_folder(
    connection: &mut Framed,
    responder: &mut Responder,
    FolderOffer { share, replace, chunk_size }: FolderOffer<'_>,
    progress: &mut dyn FnMut(&Report),
) -> Result<FolderReport, OfferError> {
    connection.introduce()?;
    let request = Request::OfferFolder { share: share.clone(), replace, chunk_size };
    let answer = connection.ask(&request, &[])?.map_err(OfferError::Refused)?;
    if !matches!(answer.message, Response::Accepted { .. }) {
        let what = format!("{:?} in answer to the offer of a folder", answer.message);
        return Err(WireError::Unexpected(what).into());
    }
    // Accepted: from here on the target has something to lose.
    progress(&Report::Folder { files: 0, of_files: 0, done: 0, total: 0 });
    loop {
        let Some(Head { message, .. }) = connection.receive(config::OFFER_SILENCE)? else {
            return Err(WireError::Closed.into());
        };
        match message {
            Request::Report {
                report: Report::FolderFinished { received, bytes, here, failed },
            } => {
                let told = connection.take_payload()?;
                let failures = wire::rows(&told, config::SHOWN_FAILURES)?.first;
                return Ok(FolderReport { received, bytes, here, failed, failures });
            }
            Request::Report { report: Report::Failed(refusal) } => {
                return Err(OfferError::Refused(refusal));
            }
            Request::Report { report } => progress(&report),
            request => responder.answer(connection, request)?,
        }
    }
}
