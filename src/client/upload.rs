//! `#UPLOAD`: offers a file to all peers in parallel and serves each until it has it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folding::{Got, Targets};
use super::said::Transferred;
use super::text::{quoted, size};
use super::work::Work;
use super::{Bar, ExitStatus, classic, planned, shown};
use crate::config;
use crate::content::{FileName, Manifest};
use crate::fetch::{Contribution, Outage, Snapshot, SourceError, Verdict};
use crate::serve::offer::{Offer, OfferError, Offered, Patience, Taken, offer};
use crate::serve::{Company, Responder, handout};
use crate::store::{Store, StoreError};
use crate::threads;
use crate::topology::Peer;

pub(super) fn run(work: &Work<'_>, file: &From, replace: bool) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    if work.dry_run {
        return planned::upload(work, file, replace);
    }
    let (store, manifest) = match hash(work, file) {
        Ok(hashed) => hashed,
        Err(error) => {
            audience.error(&format!("cannot upload {file}: {}", shown(&error.to_string())));
            return ExitStatus::from(&error);
        }
    };
    // Classic targets pass nothing on.
    let members = work.peers.iter().filter(|peer| !work.is_classic(peer)).count();
    let swarm = work.swarm && members > 1;
    let manifest = match swarm {
        true => match finer(&store, &manifest, members) {
            Ok(manifest) => manifest,
            Err(error) => {
                audience.error(&format!("cannot upload {file}: {}", shown(&error.to_string())));
                return ExitStatus::from(&error);
            }
        },
        false => manifest,
    };
    let attributes = store.attributes_of(manifest.name(), &manifest.root());
    let manifest = match &work.name {
        Some(name) => Arc::new(Manifest::clone(&manifest).renamed(name.clone())),
        None => manifest,
    };
    let stall = work.waits.stall;
    let patience = Patience {
        silence: config::OFFER_SILENCE.min(6 * stall),
        write: config::WRITE_TIMEOUT.min(3 * stall),
    };
    let expected = work.peers.iter().filter(|peer| !work.is_classic(peer));
    let company = Company::among(expected.map(|peer| peer.id.to_string()).collect());
    let told = Targets::of(work);
    let give = |peer: &Peer| {
        let offer = Offer { manifest: &manifest, attributes, replace, swarm, patience };
        let (store, company) = (store.clone(), company.clone());
        Upload { work, peer, file, store, company, offer, told: &told }.run()
    };
    let outcomes = threads::for_all(&work.peers, |peer| format!("upload-{}", peer.id), give);
    let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or(ExitStatus::Failed));
    let printed = told.end(&work.peers);
    match work.cancel.is_cancelled() {
        true => ExitStatus::Interrupted,
        false => ExitStatus::of_peers(outcomes).then(printed),
    }
}

/// What is said of a target when the user ends the command.
pub(super) const INTERRUPTED: &str =
    "interrupted; what is verified there is kept, the same command continues";

/// Which file is uploaded.
pub(super) enum From {
    /// One of the served folder.
    Served(FileName),
    /// One from elsewhere on this machine.
    Elsewhere(PathBuf),
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Served(name) => write!(f, "{}", quoted(name.as_str())),
            Self::Elsewhere(path) => write!(f, "{}", shown(&path.display().to_string())),
        }
    }
}

/// Hashes the file where that is not done.
fn hash(work: &Work<'_>, file: &From) -> Result<(Store, Arc<Manifest>), StoreError> {
    let store = work.transfers.store_to_read()?;
    let bar = work.transfers.surroundings.audience.transfer(&format!("hashing {file}"));
    let started = Instant::now();
    let mut progress = |done, total| {
        bar.update(&plain_snapshot(done, total, started.elapsed()));
        !work.cancel.is_cancelled()
    };
    let manifest = match file {
        From::Served(name) => store.manifest(name, &mut progress),
        From::Elsewhere(path) => store.lend(path, &mut progress),
    }?;
    Ok((store, manifest))
}

/// The same file in chunks small enough for so many targets to pass on.
fn finer(
    store: &Store,
    manifest: &Arc<Manifest>,
    targets: usize,
) -> Result<Arc<Manifest>, StoreError> {
    let chunk_size = handout::chunk_size(manifest.layout(), targets);
    match chunk_size < manifest.layout().chunk_size() {
        true => store.cut_again(manifest, chunk_size).map(Arc::new),
        false => Ok(manifest.clone()),
    }
}

fn plain_snapshot(done: u64, total: u64, elapsed: Duration) -> Snapshot {
    Snapshot { total, done, elapsed, ..Snapshot::default() }
}

/// The upload to one peer.
struct Upload<'a> {
    work: &'a Work<'a>,
    peer: &'a Peer,
    file: &'a From,
    store: Store,
    /// What the targets have been handed.
    company: Company,
    offer: Offer<'a>,
    told: &'a Targets<'a>,
}

impl Upload<'_> {
    /// Does it and says how it ended.
    fn run(&self) -> ExitStatus {
        let audience = &self.work.transfers.surroundings.audience;
        let (name, id) = (shown(self.offer.manifest.name().as_str()).into_owned(), &self.peer.id);
        let bar = audience.transfer(&format!("{id} {name}"));
        let started = Instant::now();
        let result = self.send(&bar, started);
        bar.finish();
        let length = self.offer.manifest.length();
        let mut said = Transferred {
            direction: "upload",
            name: self.offer.manifest.name().as_str(),
            peer: Some(id.as_str()),
            seconds: started.elapsed().as_secs_f64(),
            ..Transferred::default()
        };
        let got = match result {
            Ok((Offered::Delivered, came)) => {
                (said.files, said.bytes) = (1, length.saturating_sub(came.before));
                let from = match self.file {
                    From::Served(_) => String::new(),
                    From::Elsewhere(_) => format!(" (from {})", self.file),
                };
                // What others gave in an earlier attempt is told by the target as well.
                let missing = length.saturating_sub(came.before);
                let from_others = came.now.from_others.min(missing);
                Got {
                    text: format!("uploaded {name}{from}: {}", size(length)),
                    time: started.elapsed(),
                    ours: missing - from_others,
                    from_others,
                    before: came.before,
                }
            }
            Ok((Offered::AlreadyThere, _)) => {
                said.there = 1;
                Got { text: format!("already serving {name}"), ..Got::default() }
            }
            Err(_) if self.work.cancel.is_cancelled() => {
                self.told.badly(self.peer, INTERRUPTED.to_owned());
                return ExitStatus::Interrupted;
            }
            Err(failure) => {
                self.told.badly(self.peer, format!("{name}: {}", shown(&failure.message)));
                return failure.status;
            }
        };
        self.told.well(self.peer, got, said)
    }

    /// Sends the file in the dialect that the peer speaks.
    fn send(&self, bar: &Bar, started: Instant) -> Result<(Offered, Came), Failure> {
        let mut last = Came::default();
        let mut progress = |taken: Taken| {
            last.hear(taken);
            let snapshot =
                plain_snapshot(taken.done, self.offer.manifest.length(), started.elapsed());
            bar.update(&Snapshot { resumed: last.before, sources: last.sources(), ..snapshot });
        };
        if !self.work.is_classic(self.peer) {
            // The other targets do not wait for one that fails.
            if let Some(offered) = self.give(&mut progress)? {
                return Ok((offered, last));
            }
        }
        progress(Taken::default());
        let mut sent = |done| progress(Taken { done, ..Taken::default() });
        classic::upload(&self.work.asker(self.peer), &self.store, self.offer.manifest, &mut sent)?;
        Ok((Offered::Delivered, last))
    }

    /// Offers the file, again when the connection is lost after the target had begun, and as long
    /// as that may come back. The target goes on from what it has. `None` when it turns out to be a
    /// classic peer.
    fn give(&self, progress: &mut dyn FnMut(Taken)) -> Result<Option<Offered>, SourceError> {
        let mut outage = Outage::new(self.work.waits, Instant::now());
        let mut most = 0;
        loop {
            let mut heard = |taken: Taken| {
                // One that accepts again and again and takes nothing is not worth waiting for.
                outage.reached(Instant::now());
                if taken.done > most {
                    most = taken.done;
                    outage.came(Instant::now());
                }
                progress(taken);
            };
            let error = match self.give_once(&mut heard) {
                Ok(offered) => return Ok(Some(offered)),
                Err(error) => error,
            };
            self.company.lost(self.peer.id.as_str());
            let error = match outage.has_begun() {
                true => error,
                false => match self.work.classic_or(self.peer, error) {
                    Ok(()) => return Ok(None),
                    Err(error) => error,
                },
            };
            wait_out(self.work, self.peer, &mut outage, error)?;
        }
    }

    fn give_once(&self, progress: &mut dyn FnMut(Taken)) -> Result<Offered, SourceError> {
        let cancel = &self.work.cancel;
        let mut connection = self.work.caller.connect(self.peer, cancel)?;
        let _registration = cancel.closes(connection.closer());
        let mut responder = Responder::new(self.store.clone(), self.company.clone());
        let offered = offer(&mut connection, &mut responder, self.offer, progress)?;
        if offered == Offered::AlreadyThere {
            self.company.whole(self.peer.id.as_str());
        }
        Ok(offered)
    }
}

/// Waits before a target is offered the same again, or gives the error back where that is of no
/// use.
pub(super) fn wait_out(
    work: &Work<'_>,
    peer: &Peer,
    outage: &mut Outage,
    error: SourceError,
) -> Result<(), SourceError> {
    let audience = &work.transfers.surroundings.audience;
    if !(outage.has_begun() || error.is_busy()) || work.waits.outage.is_zero() {
        return Err(error);
    }
    let pause = match outage.failed(error, true, Instant::now()) {
        Verdict::Lost(error) => return Err(error),
        Verdict::Again(pause, _) => pause,
        Verdict::Wait(pause, reason) => {
            audience.note(&format!("{}: waiting for it: {}", peer.id, shown(&reason)));
            pause
        }
    };
    if work.cancel.wait(pause) { Err(SourceError::Stalled) } else { Ok(()) }
}

/// From where a target has what it has.
#[derive(Default)]
struct Came {
    /// Whether it has said anything yet.
    begun: bool,
    /// Bytes that it had from an earlier attempt.
    before: u64,
    now: Taken,
}

impl Came {
    fn hear(&mut self, taken: Taken) {
        if !std::mem::replace(&mut self.begun, true) {
            self.before = taken.done;
        }
        self.now = taken;
    }

    /// Bytes that came from this uploader.
    fn ours(&self) -> u64 {
        self.now.done.saturating_sub(self.before).saturating_sub(self.now.from_others)
    }

    /// The same for a bar; nothing where all comes from here.
    fn sources(&self) -> Vec<Contribution> {
        let shares = [("here", self.ours()), ("others", self.now.from_others)];
        let shares = shares.into_iter().filter(|_| self.now.from_others > 0);
        let contribution = |(who, bytes): (&str, u64)| {
            Some(Contribution { peer: who.parse().ok()?, bytes, active: true, waiting: None })
        };
        shares.filter_map(contribution).collect()
    }
}

/// Why one peer does not have the file.
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) status: ExitStatus,
}

impl std::convert::From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let status = ExitStatus::from(&error);
        let message = match error {
            SourceError::Refused(refusal) => refusal.message,
            error => error.to_string(),
        };
        Self { message, status }
    }
}

impl std::convert::From<OfferError> for SourceError {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Refused(refusal) => Self::refused(refusal),
            OfferError::Wire(error) => error.into(),
        }
    }
}
