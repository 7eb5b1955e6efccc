//! Whole folders, from all sources at once.
//!
//! 1. Every source is asked for its list over the connection that it also sends the files over.
//!    The lists are in order, so they are merged name by name while they come (`listing`).
//! 2. What is here already by content is skipped; names that are different contents at different
//!    sources are failures; the rest becomes units at once (`sorting`): bundles of small files
//!    (`small`), and large files, of which first the manifest and then the chunks are asked for
//!    (`large`, `large_file`).
//! 3. Where several fetch the same, and everything is listed, what is missing is cut anew, into the
//!    units that all of them have (`together`).
//! 4. Folders get their times, and the disk is synced once.
//!
//! What fails for one file is told at the end and stops nothing else.

mod answers;
mod large;
mod large_file;
mod listing;
mod outcome;
mod small;
mod sorted;
mod sorting;
mod together;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use self::listing::Merge;
use self::outcome::FolderOutcome as Outcome;
use self::sorted::Sorted;
use self::together::Shared;
use super::{Came, Cut, Job, JobError, Learnt, Put};
use crate::config;
use crate::content::{ChunkLayout, FileName, Root};
use crate::fetch::engine::{Fetch, TransferError};
use crate::fetch::ledger::{NewUnit, SourceId};
use crate::fetch::list::{ListRequest, Listing};
use crate::fetch::outage::Waits;
use crate::fetch::progress::{Event, Progress};
use crate::fetch::source::{Ask, Dial, SourceError};
use crate::fetch::swarm::Swarm;
use crate::locks::{into_inner, lock};
use crate::store::{Group, PartFile, Salvage, Store, StoreError};
use crate::topology::PeerId;
use crate::transport::Cancel;
use crate::wire::{Report, Request, Response, Share};

pub use self::outcome::{FileError, FolderOutcome, Version};

/// All that the transfer of a folder needs.
pub struct FolderFetch<'a> {
    /// Where the files go.
    pub store: &'a Store,
    /// Which files, and beneath which folder.
    pub share: &'a Share,
    /// Other files of their names give way.
    pub replace: bool,
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
    /// Whether sources hand out to several peers that fetch together, or may turn out to.
    pub swarm: Option<Swarm<'a>>,
    /// The size of units in bytes, where those who fetch together were told one.
    pub unit_size: Option<u32>,
}

impl<'a> FolderFetch<'a> {
    /// Fetches what is missing from `sources`, in the order of [`Progress`]. An error is about the transfer as a whole; what is wrong with
    /// single files is part of the outcome.
    pub fn run(&self, sources: Vec<Box<dyn Dial + 'a>>) -> Result<FolderOutcome, TransferError> {
        let peers: Vec<PeerId> = sources.iter().map(|dial| dial.peer().clone()).collect();
        let salvage = if self.dry_run { Salvage::default() } else { self.store.salvage() };
        let job = FolderJob::new(self, peers, salvage);
        let fetch = Fetch {
            job: &job,
            sources,
            progress: self.progress,
            cancel: self.cancel,
            waits: self.waits,
            observer: self.observer,
            swarm: self.swarm.filter(|_| !self.dry_run),
        };
        let result = fetch.run();
        job.finish(result)
    }
}

/// How far a folder is, as it is reported to whom it comes from.
pub fn folder_report(progress: &Progress) -> Report {
    let snapshot = progress.snapshot();
    let (files, of_files) = (snapshot.files, snapshot.of_files);
    Report::Folder { files, of_files, done: snapshot.done, total: snapshot.total }
}

/// The transfer of one folder.
struct FolderJob<'a> {
    fetch: &'a FolderFetch<'a>,
    peers: Vec<PeerId>,
    state: Mutex<State>,
    outcome: Mutex<Outcome>,
    /// Whoever sorts what was listed has it.
    sorting: Mutex<()>,
    /// Groups of small files that no thread writes to at the moment.
    groups: Mutex<Vec<Group>>,
    /// Large files whose chunks are all here, and which have no names yet.
    complete: Mutex<Vec<(usize, Arc<PartFile>)>>,
    /// Bytes that sources have hashed for us.
    hashed: AtomicU64,
    /// What several peers fetch together, once it is cut.
    shared: OnceLock<Shared>,
}

/// What is known of the folder.
struct State {
    /// The list of each source, and whether it is done with.
    lists: Vec<Option<Listing>>,
    /// Something was listed that is not sorted yet.
    unsorted: bool,
    /// Sources that are still to tell something of their lists.
    talking: usize,
    /// When each said something last, and what the transfer had then.
    said: Vec<(Instant, u64)>,
    merge: Merge,
    sorted: Sorted,
    salvage: Salvage,
    /// What each unit is, by its name.
    units: Vec<Kind>,
}

impl State {
    fn unit(&self, name: u32) -> Option<&Kind> {
        self.units.get(name as usize)
    }

    /// Makes a unit of that kind and length, which those sources may have.
    fn make(&mut self, kind: Kind, len: u64, sources: Arc<[usize]>) -> NewUnit {
        let name = self.units.len() as u32;
        self.units.push(kind);
        NewUnit { sources: Some(sources), ..NewUnit::of(name, len as usize) }
    }
}

/// What a unit is.
#[derive(Clone, Debug)]
enum Kind {
    /// Small contents, by their places.
    Bundle(Vec<usize>),
    /// The manifest of a large file, from that source where it matters.
    Manifest { large: usize, source: Option<usize> },
    /// A chunk of a large file.
    Chunk { large: usize, number: u32 },
    /// One that others have under the same number.
    Shared(u32),
}

impl<'a> FolderJob<'a> {
    fn new(fetch: &'a FolderFetch<'a>, peers: Vec<PeerId>, salvage: Salvage) -> Self {
        let (pattern, except) = (fetch.share.pattern.clone(), fetch.share.except.clone());
        let waits = fetch.waits;
        let request = ListRequest { pattern, except, folders: true, hashed: true, waits };
        let lists: Vec<_> = peers.iter().map(|_| Listing::new(&request).ok()).collect();
        let state = State {
            unsorted: false,
            talking: lists.len(),
            said: lists.iter().map(|_| (Instant::now(), 0)).collect(),
            merge: Merge::new(lists.len()),
            lists,
            sorted: Sorted::default(),
            salvage,
            units: Vec::new(),
        };
        Self {
            fetch,
            peers,
            state: Mutex::new(state),
            outcome: Mutex::default(),
            sorting: Mutex::default(),
            groups: Mutex::default(),
            complete: Mutex::default(),
            hashed: AtomicU64::default(),
            shared: OnceLock::new(),
        }
    }

    /// What a name at a source is here.
    fn local(&self, name: FileName) -> Result<FileName, crate::content::name::BadName> {
        let name = match &self.fetch.renamed {
            Some((from, to)) if name == *from => to.clone(),
            Some((from, to)) => match name.as_str().strip_prefix(from.as_str()) {
                Some(rest) if rest.starts_with('/') => format!("{to}{rest}").parse()?,
                _ => name,
            },
            None => name,
        };
        match &self.fetch.share.beneath {
            Some(folder) => format!("{folder}/{name}").parse(),
            None => Ok(name),
        }
    }

    fn fail(&self, name: &FileName, error: FileError) {
        lock(&self.outcome).fail(name, error);
    }

    /// Everything has come, or will not: gives what is there its names, and tells the rest.
    fn finish(
        self,
        result: Result<Vec<(PeerId, SourceError)>, TransferError>,
    ) -> Result<FolderOutcome, TransferError> {
        self.settle_all();
        let lost = match result {
            Ok(lost) | Err(TransferError::Incomplete { reasons: lost, .. }) => lost,
            Err(error) => return Err(error),
        };
        let listed = {
            let state = lock(&self.state);
            state.lists.iter().flatten().any(Listing::has_all_names)
        };
        if !listed {
            return Err(TransferError::NoSource(lost));
        }
        if !self.fetch.dry_run {
            self.tell_failures(&lost);
            self.write_late_names()?;
            self.settle_all();
        }
        let state = into_inner(self.state);
        let mut outcome = into_inner(self.outcome);
        outcome.lost = lost;
        let told = self.peers.iter().zip(state.lists);
        outcome.left_out = told
            .filter_map(|(peer, list)| Some((peer.clone(), list?.omissions)))
            .filter(|(_, omissions)| !omissions.is_empty())
            .collect();
        if self.fetch.dry_run {
            return Ok(outcome);
        }
        let folders = state.sorted.folders.iter().rev();
        self.fetch.store.finish_folders(folders.map(|(name, attributes)| (name, *attributes)));
        if outcome.received > 0 {
            self.fetch.store.sync()?;
        }
        Ok(outcome)
    }
}

impl Job for FolderJob<'_> {
    fn units(&self) -> Vec<NewUnit> {
        self.shared.get().map_or_else(Vec::new, Shared::here)
    }

    fn grows(&self) -> bool {
        true
    }

    fn called(&self) -> Option<(Root, ChunkLayout)> {
        self.shared.get().map(Shared::called)
    }

    fn ask(&self, unit: u32, member: bool) -> Option<Ask> {
        self.ask_for(unit, member)
    }

    fn put(&self, came: &Came<'_>) -> Result<Put, StoreError> {
        self.take(came)
    }

    fn talk(&self, source: SourceId) -> Option<Request> {
        let state = lock(&self.state);
        let list = state.lists.get(source.slot())?.as_ref()?;
        (list.has_all_names() || state.merge.has_room(source.slot())).then(|| list.next())?
    }

    fn heard(
        &self,
        source: SourceId,
        unit: Option<u32>,
        response: Response,
        payload: Vec<u8>,
    ) -> Result<Learnt, JobError> {
        match unit {
            Some(unit) => self.described(unit, source, response, &payload),
            None => self.listed(source, response, &payload),
        }
    }

    fn moved(&self) -> u64 {
        self.hashed.load(Relaxed) / u64::from(config::SLOWEST_RATE)
    }

    fn work(&self, learn: &dyn Fn(Learnt)) -> bool {
        self.sort_what_came(learn)
    }

    fn lost(&self, source: SourceId, _error: &SourceError) -> Learnt {
        self.source_lost(source)
    }

    fn cut(&self, in_flight: &[u32]) -> Cut {
        self.cut_anew(in_flight)
    }

    fn cut_request(&self) -> Option<Request> {
        let Share { pattern, except, .. } = self.fetch.share.clone();
        let (_, layout) = self.called()?;
        Some(Request::Cut { pattern, except, chunk_size: layout.chunk_size() })
    }

    fn own(&self, unit: u32) {
        let kind = lock(&self.state).unit(unit).cloned();
        if let (Some(Kind::Shared(number)), Some(shared)) = (kind, self.shared.get()) {
            shared.own(number);
        }
    }

    fn disown(&self, unit: u32) {
        let kind = lock(&self.state).unit(unit).cloned();
        if let (Some(Kind::Shared(number)), Some(shared)) = (kind, self.shared.get()) {
            shared.disown(number);
        }
    }

    fn keeps_up(&self, slack: u32) -> bool {
        self.shared.get().is_none_or(|shared| shared.keeps_up(slack))
    }

    fn expects_more(&self, more: bool) {
        if let Some(shared) = self.shared.get() {
            shared.expects_more(more);
        }
    }

    fn take_askers(&self) -> std::collections::BTreeSet<String> {
        self.shared.get().map(Shared::take_askers).unwrap_or_default()
    }
}
