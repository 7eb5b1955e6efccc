//! An upload to us: check the offer, say yes, and fetch over the very connection it came on.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::running::{Entry, Place, report_end};
use super::{Shared, folders};
use crate::config;
use crate::connection::Framed;
use crate::content::{Attributes, ChunkLayout, Digest, Manifest};
use crate::fetch::offered::{Offerer, progress_report};
use crate::fetch::{Caller, Dial, Event, Fetch, FramedPeer, Progress, Swarm, TransferError, Waits};
use crate::locks::lock;
use crate::logging::{Tally, named};
use crate::serve::{Grant, refusal_of};
use crate::store::{PartFile, Reception, StoreError};
use crate::threads;
use crate::topology::PeerId;
use crate::wire::{ErrorCode, Refusal, Request, Response, WireError};

/// Answers an offer; when it is accepted, returns after the file is complete or given up. Gives the
/// connection back.
pub(super) fn receive(
    shared: &Shared,
    mut connection: Framed,
    offer: Request,
) -> Result<Framed, WireError> {
    let offer = match offer {
        Request::OfferFolder { share, replace, chunk_size } => {
            folders::receive(shared, &mut connection, &share, (replace, chunk_size))?;
            return Ok(connection);
        }
        offer => match Offer::read(shared, &mut connection, offer)? {
            Ok(offer) => offer,
            Err(refusal) => {
                log::info!("refused an upload from {}: {}", connection.who(), refusal.message);
                connection.send(&Response::Error(refusal), &[])?;
                return Ok(connection);
            }
        },
    };
    let (name, who) = (offer.manifest.name(), connection.who());
    loop {
        match shared.running.enter(&offer.manifest) {
            Entry::First(place) => {
                begin(shared, &mut connection, &offer, place)?;
                return Ok(connection);
            }
            Entry::Joins(transfer) => {
                let peer = uploader(&connection);
                log::info!("{who} uploads {} too, which is being received", named(name.as_str()));
                let joined;
                (connection, joined) = transfer.join((peer, connection), offer.swarm)?;
                if joined {
                    log::info!("{who} has no more to do for {}", named(name.as_str()));
                    return Ok(connection);
                }
            }
            Entry::Clashes(transfer) if transfer.gives_way(shared.limits.slowest) => {}
            Entry::Clashes(transfer) => {
                let refusal = transfer.clash(name);
                log::info!(
                    "refused the upload of {} from {who}: {}",
                    named(name.as_str()),
                    refusal.message
                );
                connection.send(&Response::Error(refusal), &[])?;
                return Ok(connection);
            }
        }
    }
}

/// What is offered.
struct Offer {
    manifest: Arc<Manifest>,
    attributes: Attributes,
    replace: bool,
    swarm: bool,
    /// The memory of its digests.
    _memory: Grant,
}

impl Offer {
    /// Reads the digests behind the offer, if there is room for them, and compares them with its
    /// root.
    fn read(
        shared: &Shared,
        connection: &mut Framed,
        offer: Request,
    ) -> Result<Result<Self, Refusal>, WireError> {
        let Request::Offer { name, length, chunk_size, root, attributes, replace, swarm } = offer
        else {
            return Err(WireError::Unexpected("not an offer".to_owned()));
        };
        let bad = |what: String| Refusal { code: ErrorCode::BadRequest, message: what };
        let layout = match ChunkLayout::new(length, chunk_size) {
            Ok(layout) => layout,
            Err(error) => return Ok(Err(bad(error.to_string()))),
        };
        if let Err(error) = shared.store.check_size(&name, length) {
            return Ok(Err(refusal_of(&error)));
        }
        let Some(memory) = shared.offered.take(connection.payload_due()) else {
            let message = format!(
                "this peer has no memory to spare for the digests of {name}; try again in {} s",
                config::FRAME_TIMEOUT.as_secs()
            );
            return Ok(Err(Refusal { code: ErrorCode::Busy, message }));
        };
        let payload = connection.take_payload()?;
        let manifest =
            Digest::split(&payload).ok_or("odd digests".to_owned()).and_then(|digests| {
                Manifest::new(name, layout, root, digests).map_err(|error| error.to_string())
            });
        let offer = |manifest| Self {
            manifest: Arc::new(manifest),
            attributes,
            replace,
            swarm,
            _memory: memory,
        };
        Ok(manifest.map_err(bad).map(offer))
    }
}

/// The first offer of a content: asks the store for a part file, and fetches into it.
fn begin(
    shared: &Shared,
    connection: &mut Framed,
    offer: &Offer,
    place: Place<'_>,
) -> Result<(), WireError> {
    let reception = shared.store.receive(offer.manifest.clone(), offer.replace);
    let refusal = match reception {
        Ok(Reception::Part(part)) => {
            let (from, root) = (connection.address(), offer.manifest.root());
            match shared.unfinished.begin(from, &root) {
                Ok(()) => {
                    let part = part.with(offer.attributes);
                    return fetch(shared, connection, part, (place, offer.swarm));
                }
                Err(refusal) => refusal,
            }
        }
        Ok(Reception::AlreadyHere) => {
            let name = named(offer.manifest.name().as_str());
            log::info!("{} uploads {name}, which is here already", connection.who());
            drop(place);
            return connection.send(&Response::AlreadyHere, &[]);
        }
        Ok(Reception::Busy) => Refusal {
            code: ErrorCode::Receiving,
            message: "currently receiving that file".to_owned(),
        },
        Ok(Reception::InTheWay { length, root }) => {
            let id = root.map_or_else(String::new, |root| format!(", id {}", root.short()));
            let message = format!(
                "already serving another file of that name ({length} bytes{id}); --replace overwrites it"
            );
            Refusal { code: ErrorCode::InTheWay, message }
        }
        Err(error) => refusal_of(&error),
    };
    let (name, who) = (offer.manifest.name(), connection.who());
    log::info!("refused the upload of {} from {who}: {}", named(name.as_str()), refusal.message);
    // Whoever hears of it may offer something else at once.
    drop(place);
    connection.send(&Response::Error(refusal), &[])
}

/// The turned connection: we ask, the offering peer answers, and at the end we report.
fn fetch(
    shared: &Shared,
    connection: &mut Framed,
    part: PartFile,
    (place, swarm): (Place<'_>, bool),
) -> Result<(), WireError> {
    let manifest = part.manifest().clone();
    let peer = uploader(connection);
    let name = manifest.name().clone();
    let (who, mut tally) = (connection.who(), Tally::since(Instant::now()));
    let progress = &*place.transfer.progress.clone();
    progress.resume(part.received());
    place.transfer.held_by(connection.closer());
    connection.send(&Response::Accepted { have: part.received() }, &[])?;
    let (quoted, _transferring) = (named(name.as_str()), shared.company.transferring());
    log::info!("receiving {quoted} ({} bytes) from {who}", manifest.length());
    let observer = |event: Event| log::debug!("{name}: {event:?}");
    let report = || progress_report(progress, &peer);
    let offerer = Offerer::new(peer.clone(), connection, &report);
    let meet = |id: &PeerId| shared.meet(id);
    let transfer = Fetch {
        job: &part,
        sources: vec![Box::new(offerer)],
        progress,
        cancel: &shared.cancel,
        waits: Waits::usual(),
        observer: &observer,
        swarm: swarm.then_some(Swarm::Given(&meet)),
    };
    let result = match transfer.run_with(&place.late) {
        Ok(_) => complete(connection, part, progress, &peer),
        Err(error) => {
            drop(part);
            Err(error)
        }
    };
    let (of_offerer, of_others) = contributions(progress, &peer);
    tally.add(of_offerer, Instant::now());
    tell(&result, &format!("{quoted} from {who}"), &tally, of_others);
    if result.is_err() && progress.done() > 0 {
        shared.unfinished.leave(connection.address(), manifest.root());
    }
    let outcome = result.map_err(|error| refusal_for(&error));
    place.end(outcome.clone());
    // Whoever hears of a failure may offer the file again at once.
    drop(place);
    report_end(connection, progress, &peer, outcome)
}

/// Tells the log how a reception ended, of which so many bytes came from others than the offerer.
fn tell(result: &Result<(), TransferError>, what: &str, tally: &Tally, of_others: u64) {
    let others =
        if of_others > 0 { format!(", and {of_others} from other peers") } else { String::new() };
    match result {
        Ok(()) => log::info!("received {what}: {tally}{others}"),
        Err(error) => log::warn!("did not receive {what}: {error}; came: {tally}{others}"),
    }
}

/// How many bytes came from that peer, and how many from others.
fn contributions(progress: &Progress, peer: &PeerId) -> (u64, u64) {
    progress.snapshot().sources.iter().fold((0, 0), |(own, others), source| {
        if source.peer == *peer {
            (own + source.bytes, others)
        } else {
            (own, others + source.bytes)
        }
    })
}

/// Completes the part file while telling the other side that we are alive; a slow disk takes its
/// time. One that has left meanwhile changes nothing.
fn complete(
    connection: &mut Framed,
    part: PartFile,
    progress: &Progress,
    peer: &PeerId,
) -> Result<(), TransferError> {
    let (ends, completed) = bounded::<()>(0);
    thread::scope(|scope| {
        let beat = move || {
            while completed.recv_timeout(config::HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                let report = progress_report(progress, peer);
                let _ = connection.send(&Request::Report { report }, &[]);
            }
        };
        if let Err(error) = threads::start_in(scope, "heartbeat", beat) {
            log::debug!("{peer} hears nothing while its file is completed: {error}");
        }
        // The thread ends with this.
        let _ends = ends;
        Ok(part.complete().map(drop)?)
    })
}

impl Shared {
    /// The way to another member of a swarm, by our own settings; none to ourselves or to a
    /// stranger.
    pub(super) fn meet(&self, id: &PeerId) -> Option<Box<dyn Dial>> {
        let neighbours = self.neighbours.as_ref()?;
        let topology = lock(&neighbours.topology);
        let peer = topology.find(id).filter(|_| self.identity.peer.as_ref() != Some(id))?.clone();
        let caller =
            Caller { identity: self.identity.clone(), network: neighbours.network.clone() };
        Some(Box::new(FramedPeer::new(peer, caller, None)))
    }
}

pub(super) fn uploader(connection: &Framed) -> PeerId {
    connection.peer().cloned().unwrap_or_else(PeerId::nobody)
}

pub(super) fn refusal_for(error: &TransferError) -> Refusal {
    match error {
        TransferError::Store(error @ StoreError::InTheWay { .. }) => {
            Refusal { code: ErrorCode::InTheWay, message: error.to_string() }
        }
        TransferError::Store(error) => refusal_of(error),
        TransferError::Interrupted => {
            Refusal { code: ErrorCode::Busy, message: "the server is ending".to_owned() }
        }
        TransferError::NoSource(reasons) | TransferError::Incomplete { reasons, .. } => {
            let bad = reasons.iter().any(|(_, reason)| reason.is_integrity());
            let code = if bad { ErrorCode::Integrity } else { ErrorCode::Internal };
            let mut words: Vec<String> =
                reasons.iter().map(|(_, reason)| reason.to_string()).collect();
            if let TransferError::Incomplete { missing, of, .. } = error {
                words.push(format!(
                    "{missing} of {of} chunks are missing, what came is kept, and the same command continues"
                ));
            }
            Refusal { code, message: words.join("; ") }
        }
    }
}
