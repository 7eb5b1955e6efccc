//! Whole folders, from all sources at once.
//!
//! 1. `listing`: every source lists its files, in parallel; the lists are in order, so they are
//!    merged name by name while they come, and no source's list is held twice
//! 2. `plan`: what is here already by content is skipped; names that are different contents at
//!    different sources are failures; the rest is small contents and large files
//! 3. `large`: large files one after the other, each by the engine of single files from all sources
//!    that have it
//! 4. `gather`, `worker`: small contents in batches (`batches` says who fetches which), proven and
//!    written by a few threads, each with a group of the store
//! 5. folders get their times, and the disk is synced once
//!
//! What fails for one file is told at the end and stops nothing else.

mod batches;
mod gather;
mod large;
mod listing;
mod plan;
mod supply;
mod worker;

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::TransferError;
use super::progress::{Event, Progress};
use super::source::SourceError;
use crate::config;
use crate::content::{FileName, Omissions, Root};
use crate::fetch::outage::Waits;
use crate::store::{Store, StoreError};
use crate::topology::PeerId;
use crate::transport::Cancel;
use crate::wire::Share;

pub use supply::Supply;

/// All that the transfer of a folder needs.
pub struct FolderFetch<'a> {
    /// Where the files go.
    pub store: &'a Store,
    /// Which files, and beneath which folder.
    pub share: &'a Share,
    /// Other files of their names give way.
    pub replace: bool,
    /// Who may be asked, in the order of [`Progress`].
    pub supplies: Vec<Supply<'a>>,
    /// Is kept up to date.
    pub progress: &'a Progress,
    /// Ends the transfer early.
    pub cancel: &'a Cancel,
    /// How long is waited for what.
    pub waits: Waits,
    /// Is told what happens.
    pub observer: &'a (dyn Fn(Event) + Sync),
    /// A folder at the sources that is called otherwise here: from what to what.
    pub renamed: Option<(FileName, FileName)>,
    /// Nothing is fetched; the outcome tells what would be.
    pub dry_run: bool,
}

/// How the transfer of a folder ended.
#[derive(Debug, Default)]
pub struct FolderOutcome {
    /// Files and folders that the sources listed.
    pub listed: u64,
    /// Files that were received.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were here already.
    pub here: u64,
    /// Files that could not be received.
    pub failed: u64,
    /// Which, and why: the first of them, and one of each kind.
    pub failures: Vec<(FileName, FileError)>,
    /// What each source cannot serve, where that is anything.
    pub left_out: Vec<(PeerId, Omissions)>,
    /// Sources that could not be used to the end.
    pub lost: Vec<(PeerId, SourceError)>,
}

/// Why one file of a folder was not received.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The sources have different contents of that name.
    #[error("it is not the same file at all peers: {}", describe(.0))]
    Conflict(Vec<(PeerId, Version)>),
    /// Another file of that name is here.
    #[error("another file of that name is here; --replace overwrites it")]
    InTheWay,
    /// It is being received by somebody else.
    #[error("it is being received already, by this peer's server or another client")]
    Busy,
    /// All that had it are lost, or have it no more.
    #[error("no peer has it any more; it may have been changed meanwhile")]
    NoSource,
    /// All that had it are lost, for these reasons.
    #[error("no source is left: {why}")]
    Lost {
        /// Each with its reason.
        why: String,
        /// One of them sent other bytes than it said.
        integrity: bool,
        /// One of them may be back later.
        passing: bool,
    },
    /// The transfer of a large file failed.
    #[error(transparent)]
    Transfer(TransferError),
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a name is at one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A folder.
    Folder,
    /// A file of that length in bytes, and its content where that is known.
    File(u64, Option<Root>),
}

fn describe(versions: &[(PeerId, Version)]) -> String {
    let one = |(peer, version): &(PeerId, Version)| match version {
        Version::Folder => format!("a folder at {peer}"),
        Version::File(length, Some(root)) => format!("{} ({length} bytes) at {peer}", root.short()),
        Version::File(length, None) => format!("{length} bytes at {peer}"),
    };
    versions.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What ends a transfer as a whole, and what is gathered for its outcome by all threads.
#[derive(Default)]
struct Record {
    state: Mutex<FolderOutcome>,
    fatal: Mutex<Option<TransferError>>,
}

impl Record {
    fn outcome(&self) -> MutexGuard<'_, FolderOutcome> {
        locked(&self.state)
    }

    fn fail(&self, name: &FileName, error: FileError) {
        let mut outcome = self.outcome();
        outcome.failed += 1;
        let kind = std::mem::discriminant(&error);
        let is_known = |(_, known): &(FileName, FileError)| std::mem::discriminant(known) == kind;
        // Whoever lists a million files and has none of them does not fill our memory.
        if outcome.failures.len() < config::FAILURES_KEPT || !outcome.failures.iter().any(is_known)
        {
            outcome.failures.push((name.clone(), error));
        }
    }

    fn lose(&self, peer: &PeerId, error: SourceError) {
        self.outcome().lost.push((peer.clone(), error));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FolderFetch<'_> {
    /// Fetches what is missing. An error is about the transfer as a whole; what is wrong with
    /// single files is part of the outcome.
    pub fn run(mut self) -> Result<FolderOutcome, TransferError> {
        let record = Record::default();
        let counters: Vec<_> =
            self.supplies.iter().map(|supply| self.progress.join(supply.peer().clone())).collect();
        let plan = listing::plan(&mut self, &record)?;
        self.check(&record)?;
        if self.dry_run {
            let mut outcome = record.outcome();
            (outcome.received, outcome.bytes) = plan.sums();
            return Ok(std::mem::take(&mut outcome));
        }
        if let Some(name) = plan.one_of_them() {
            let mut kept = plan.large.iter().filter_map(|large| large.root);
            self.store.check_room(plan.room, name, &mut kept)?;
        }
        for name in plan.folders.iter().map(|(name, _)| name) {
            if let Err(error) = self.store.make_folder(name) {
                record.fail(name, error.into());
            }
        }
        for file in &plan.large {
            self.check(&record)?;
            large::fetch(&mut self, file, &record);
        }
        self.check(&record)?;
        gather::run(&mut self, &plan, &record, &counters);
        self.check(&record)?;
        self.store.finish_folders(
            plan.folders.iter().rev().map(|(name, attributes)| (name, *attributes)),
        );
        if record.outcome().received > 0 {
            self.store.sync()?;
        }
        Ok(record.state.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// An error when the transfer is to end.
    fn check(&self, record: &Record) -> Result<(), TransferError> {
        if let Some(fatal) = locked(&record.fatal).take() {
            return Err(fatal);
        }
        if self.cancel.is_cancelled() { Err(TransferError::Interrupted) } else { Ok(()) }
    }

    /// What a name at a source is here.
    fn local(&self, name: FileName) -> Result<FileName, crate::content::name::BadName> {
        let name = match &self.renamed {
            Some((from, to)) if name == *from => to.clone(),
            Some((from, to)) => match name.as_str().strip_prefix(from.as_str()) {
                Some(rest) if rest.starts_with('/') => format!("{to}{rest}").parse()?,
                _ => name,
            },
            None => name,
        };
        match &self.share.beneath {
            Some(folder) => format!("{folder}/{name}").parse(),
            None => Ok(name),
        }
    }
}
