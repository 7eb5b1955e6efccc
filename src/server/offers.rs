//! An upload to us: check the offer, say yes, and fetch over the very connection it came on.

use std::sync::{Arc, PoisonError};
use std::thread;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::Shared;
use crate::config;
use crate::connection::Framed;
use crate::content::{ChunkLayout, Digest, FileName, Manifest};
use crate::fetch::offered::{Offerer, progress_report};
use crate::fetch::{
    Caller, Dial, Event, Fetch, FileError, FolderFetch, FolderOutcome, FramedPeer, Progress, Supply, Swarm,
    TransferError,
};
use crate::serve::responder::refusal_of;
use crate::store::{PartFile, Reception, StoreError};
use crate::topology::PeerId;
use crate::wire::{ErrorCode, Failed, Refusal, Report, Request, Response, Share, WireError};

/// Answers an offer; when it is accepted, returns after the file is complete or given up.
pub(super) fn receive(shared: &Shared, connection: &mut Framed, offer: Request) -> Result<(), WireError> {
    if let Request::OfferFolder { share, replace } = offer {
        return receive_folder(shared, connection, &share, replace);
    }
    let swarm = matches!(offer, Request::Offer { swarm: true, .. });
    match prepare(shared, connection, offer)? {
        Ok(Reception::Part(part)) => fetch(shared, connection, part, swarm),
        Ok(Reception::AlreadyHere) => connection.send(&Response::AlreadyHere, &[]),
        Ok(Reception::Busy) => {
            connection.send(&Response::error(ErrorCode::Receiving, "currently receiving that file"), &[])
        }
        Ok(Reception::InTheWay { length, root }) => {
            let id = root.map_or_else(String::new, |root| format!(", id {}", root.short()));
            let message = format!(
                "already serving another file of that name ({length} bytes{id}); --replace overwrites it"
            );
            connection.send(&Response::error(ErrorCode::InTheWay, message), &[])
        }
        Err(refusal) => connection.send(&Response::Error(refusal), &[]),
    }
}

/// Reads the offer's manifest and asks the store for a part file.
fn prepare(
    shared: &Shared,
    connection: &mut Framed,
    offer: Request,
) -> Result<Result<Reception, Refusal>, WireError> {
    let Request::Offer { name, length, chunk_size, root, attributes, replace, .. } = offer else {
        return Err(WireError::Unexpected("not an offer".to_owned()));
    };
    let payload = connection.take_payload()?;
    let bad = |what: String| Refusal { code: ErrorCode::BadRequest, message: what };
    let manifest =
        ChunkLayout::new(length, chunk_size).map_err(|error| error.to_string()).and_then(|layout| {
            let digests = Digest::split(&payload).ok_or("odd digests")?;
            Manifest::new(name, layout, root, digests).map_err(|error| error.to_string())
        });
    Ok(manifest.map_err(bad).and_then(|manifest| {
        let reception = shared.store.receive(Arc::new(manifest), replace);
        reception.map(|reception| reception.with(attributes)).map_err(|error| refusal_of(&error))
    }))
}

/// The turned connection: we ask, the offering peer answers, and at the end we report.
fn fetch(shared: &Shared, connection: &mut Framed, part: PartFile, swarm: bool) -> Result<(), WireError> {
    let manifest = part.manifest().clone();
    let peer = uploader(connection);
    let name = manifest.name().clone();
    let from = format!("{peer} ({})", connection.remote());
    let progress = Progress::new(manifest.length());
    progress.resume(part.received());
    connection.send(&Response::Accepted { have: part.received() }, &[])?;
    log::info!("receiving {name} ({} bytes) from {from}", manifest.length());
    let observer = |event: Event| log::debug!("{name}: {event:?}");
    let report = || progress_report(&progress, &peer);
    let offerer = Offerer::new(peer.clone(), connection, &manifest, &report);
    let meet = |id: &PeerId| shared.meet(id, &manifest);
    let transfer = Fetch {
        part: &part,
        sources: vec![Box::new(offerer)],
        progress: &progress,
        cancel: &shared.sessions.cancel,
        stall: config::STALL_TIMEOUT,
        observer: &observer,
        swarm: swarm.then_some(Swarm::Given(&meet)),
    };
    let result = match transfer.run() {
        Ok(()) => complete(connection, part, &progress, &peer)?,
        Err(error) => {
            // Whoever hears of the failure may offer the file again at once.
            drop(part);
            Err(error)
        }
    };
    match result {
        Ok(()) => {
            log::info!("received {name} from {from}");
            connection.send(&Request::Report { report: progress_report(&progress, &peer) }, &[])?;
            connection.send(&Request::Report { report: Report::Finished }, &[])
        }
        Err(error) => {
            log::warn!("did not receive {name} from {from}: {error}");
            let report = Report::Failed(refusal_for(&error));
            connection.send(&Request::Report { report }, &[])?;
            // Answers to our requests may still be under way; nobody could tell them apart.
            connection.closer().close();
            Ok(())
        }
    }
}

/// The offer of a folder: we list, fetch what we lack, and tell at the end what we could not have.
fn receive_folder(
    shared: &Shared,
    connection: &mut Framed,
    share: &Share,
    replace: bool,
) -> Result<(), WireError> {
    let peer = uploader(connection);
    connection.send(&Response::Accepted { have: 0 }, &[])?;
    log::info!("receiving a folder from {peer}");
    let progress = Progress::new(0);
    let observer = |event: Event| log::debug!("folder from {peer}: {event:?}");
    let fetch = FolderFetch {
        store: &shared.store,
        share,
        replace,
        supplies: vec![Supply::turned(peer.clone(), connection)],
        progress: &progress,
        cancel: &shared.sessions.cancel,
        stall: config::STALL_TIMEOUT,
        observer: &observer,
    };
    match fetch.run() {
        Ok(outcome) => {
            log::info!("received {} files from {peer}", outcome.received);
            report_folder(connection, &outcome)
        }
        Err(error) => {
            log::warn!("did not receive a folder from {peer}: {error}");
            let report = Report::Failed(refusal_for(&error));
            connection.send(&Request::Report { report }, &[])?;
            connection.closer().close();
            Ok(())
        }
    }
}

/// Tells the offering side how it ended. A connection on which answers may still be under way is of
/// no use afterwards.
fn report_folder(connection: &mut Framed, outcome: &FolderOutcome) -> Result<(), WireError> {
    let told =
        |(name, error): &(FileName, FileError)| Failed { name: name.clone(), reason: refusal_of_file(error) };
    let failures: Vec<Failed> = outcome.failures.iter().take(config::SHOWN_FAILURES).map(told).collect();
    let report = Report::FolderFinished {
        received: outcome.received,
        bytes: outcome.bytes,
        here: outcome.here,
        failed: outcome.failures.len() as u64,
    };
    connection.send(&Request::Report { report }, &serde_json::to_vec(&failures)?)?;
    if !outcome.lost.is_empty() {
        connection.closer().close();
    }
    Ok(())
}

fn refusal_of_file(error: &FileError) -> Refusal {
    let code = match error {
        FileError::Conflict(_) | FileError::InTheWay => ErrorCode::InTheWay,
        FileError::Busy => ErrorCode::Receiving,
        FileError::NoSource => ErrorCode::NotFound,
        FileError::Transfer(error) => return refusal_for(error),
        FileError::Store(error) => return refusal_of(error),
    };
    Refusal { code, message: error.to_string() }
}

/// Completes the part file while telling the other side that we are alive; a slow disk takes its
/// time.
fn complete(
    connection: &mut Framed,
    part: PartFile,
    progress: &Progress,
    peer: &PeerId,
) -> Result<Result<(), TransferError>, WireError> {
    let (done, completed) = bounded(1);
    thread::scope(|scope| {
        scope.spawn(move || done.send(part.complete()));
        loop {
            match completed.recv_timeout(config::HEARTBEAT) {
                Ok(result) => return Ok(result.map(drop).map_err(TransferError::Store)),
                Err(RecvTimeoutError::Timeout) => {
                    let report = progress_report(progress, peer);
                    connection.send(&Request::Report { report }, &[])?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Err(TransferError::Interrupted)),
            }
        }
    })
}

impl Shared {
    /// The way to another member of a swarm, by our own settings; none to ourselves or to a stranger.
    fn meet(&self, id: &PeerId, manifest: &Manifest) -> Option<Box<dyn Dial>> {
        let neighbours = self.neighbours.as_ref()?;
        let topology = neighbours.topology.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = topology.find(id).filter(|_| self.identity.peer.as_ref() != Some(id))?.clone();
        let caller = Caller { identity: self.identity.clone(), network: neighbours.network.clone() };
        Some(Box::new(FramedPeer::member(peer, caller, manifest)))
    }
}

fn uploader(connection: &Framed) -> PeerId {
    connection.peer().cloned().unwrap_or_else(PeerId::nobody)
}

fn refusal_for(error: &TransferError) -> Refusal {
    match error {
        TransferError::Store(error @ StoreError::InTheWay { .. }) => {
            Refusal { code: ErrorCode::InTheWay, message: error.to_string() }
        }
        TransferError::Store(error) => refusal_of(error),
        TransferError::Interrupted => {
            Refusal { code: ErrorCode::Busy, message: "the server is ending".to_owned() }
        }
        TransferError::NoSource(reasons) => {
            let bad = reasons.iter().any(|(_, reason)| reason.is_integrity());
            let code = if bad { ErrorCode::Integrity } else { ErrorCode::Internal };
            let reasons: Vec<String> = reasons.iter().map(|(_, reason)| reason.to_string()).collect();
            Refusal { code, message: reasons.join("; ") }
        }
    }
}
