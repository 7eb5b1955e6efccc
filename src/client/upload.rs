//! `#UPLOAD`: offers a file to all peers in parallel and serves each until it has it.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::text::{self, size};
use super::transfers::Work;
use super::{Bar, ExitStatus, shown};
use crate::content::{FileName, Manifest};
use crate::fetch::{Snapshot, SourceError};
use crate::serve::Responder;
use crate::serve::offer::{Goods, OfferError, Offered, offer};
use crate::store::{Store, StoreError};
use crate::topology::Peer;

pub(super) fn run(work: &Work<'_>, file: &str, replace: bool) -> ExitStatus {
    let bars = &work.transfers.surroundings.bars;
    let (store, manifest) = match hash(work, file) {
        Ok(hashed) => hashed,
        Err(error) => {
            bars.error(&format!("cannot upload {}: {}", shown(file), shown(&error.to_string())));
            return ExitStatus::from(&error);
        }
    };
    let outcomes: Vec<ExitStatus> = thread::scope(|scope| {
        let targets: Vec<_> = work
            .peers
            .iter()
            .map(|peer| {
                let (store, manifest) = (store.clone(), &manifest);
                scope.spawn(move || Upload { work, peer, manifest, replace }.run(store))
            })
            .collect();
        targets.into_iter().map(|target| target.join().unwrap_or(ExitStatus::Failed)).collect()
    });
    if work.cancel.is_cancelled() { ExitStatus::Interrupted } else { ExitStatus::of_peers(outcomes) }
}

/// Finds the file, in the served folder or else anywhere, and hashes it where that is not done.
fn hash(work: &Work<'_>, file: &str) -> Result<(Store, Arc<Manifest>), StoreError> {
    let store = work.transfers.store()?;
    let bar = work.transfers.surroundings.bars.transfer(&format!("hashing {file}"));
    let started = Instant::now();
    let mut progress = |done, total| {
        bar.update(&plain_snapshot(done, total, started.elapsed()));
        !work.cancel.is_cancelled()
    };
    let served = match file.parse::<FileName>() {
        Ok(name) => store.manifest(&name, &mut progress),
        Err(bad) => Err(StoreError::BadName(bad)),
    };
    let manifest = match served {
        Err(error @ (StoreError::NotFound { .. } | StoreError::BadName(_))) => {
            let path = Path::new(file);
            if path.exists() { store.lend(path, &mut progress) } else { Err(error) }
        }
        other => other,
    }?;
    Ok((store.clone(), manifest))
}

fn plain_snapshot(done: u64, total: u64, elapsed: Duration) -> Snapshot {
    Snapshot { total, done, elapsed, ..Snapshot::default() }
}

/// The upload to one peer.
struct Upload<'a> {
    work: &'a Work<'a>,
    peer: &'a Peer,
    manifest: &'a Manifest,
    replace: bool,
}

impl Upload<'_> {
    /// Does it and says how it ended.
    fn run(&self, store: Store) -> ExitStatus {
        let bars = &self.work.transfers.surroundings.bars;
        let (name, id) = (shown(self.manifest.name().as_str()).into_owned(), &self.peer.id);
        let bar = bars.transfer(&format!("{id} {name}"));
        let started = Instant::now();
        let result = self.offer(store, &bar, started);
        bar.finish();
        let rate = text::rate(self.manifest.length(), started.elapsed());
        let line = match result {
            Ok(Offered::Delivered) => {
                format!("{id}: uploaded {name}: {}{rate}", size(self.manifest.length()))
            }
            Ok(Offered::AlreadyThere) => format!("{id}: already serving {name}"),
            Err(_) if self.work.cancel.is_cancelled() => {
                bars.error(&format!(
                    "{id}: interrupted; what is verified there is kept, the same command continues"
                ));
                return ExitStatus::Interrupted;
            }
            Err(failure) => {
                bars.error(&format!("{}: {name}: {}", self.peer, shown(&failure.message)));
                return failure.status;
            }
        };
        bars.print(|out| writeln!(out, "{line}"))
    }

    fn offer(&self, store: Store, bar: &Bar, started: Instant) -> Result<Offered, Failure> {
        let cancel = &self.work.cancel;
        let mut connection = self.work.caller.connect(self.peer, cancel)?;
        let _registration = cancel.closes(connection.closer());
        let attributes = store.attributes_of(self.manifest.name(), &self.manifest.root());
        let goods = Goods { manifest: self.manifest, attributes, replace: self.replace };
        let mut responder = Responder::new(store);
        let mut progress =
            |done| bar.update(&plain_snapshot(done, self.manifest.length(), started.elapsed()));
        Ok(offer(&mut connection, &mut responder, &goods, &mut progress)?)
    }
}

/// Why one peer does not have the file.
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) status: ExitStatus,
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { message: error.to_string(), status: ExitStatus::from(&error) }
    }
}

impl From<OfferError> for Failure {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Refused(refusal) => {
                Self { status: ExitStatus::from(&refusal), message: refusal.message }
            }
            OfferError::Wire(error) => SourceError::from(error).into(),
        }
    }
}
