//! Large files of a folder: first the manifest, from all who may differ about it, and then chunks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::large_file::{Large, Phase};
use super::{FileError, FolderJob, Kind, State, Version};
use crate::config;
use crate::content::{Attributes, ChunkLayout, Digest, Manifest};
use crate::fetch::engine::TransferError;
use crate::fetch::job::{Came, JobError, Learnt, Put};
use crate::fetch::ledger::{NewUnit, SourceId};
use crate::fetch::progress::Event;
use crate::fetch::source::{Ask, SourceError, misbehaved};
use crate::locks::lock;
use crate::store::{Reception, StoreError};
use crate::topology::PeerId;
use crate::wire::{Request, Response, Subject};

impl FolderJob<'_> {
    /// How many large files are received at once.
    fn at_once(&self, shares: bool) -> usize {
        match shares || self.is_given() {
            true => config::SHARED_LARGE_FILES,
            false => config::LARGE_FILES_AT_ONCE,
        }
    }

    /// Begins as many large files as may be received at once.
    pub(super) fn begin_large(&self, state: &mut State) -> Vec<NewUnit> {
        let mut units = Vec::new();
        while state.sorted.open < self.at_once(state.sorted.shares)
            && let Some(place) = state.sorted.take_due()
        {
            let Some(large) = state.sorted.large.get_mut(place) else { continue };
            state.sorted.open += 1;
            state.sorted.resolving += 1;
            let all: Arc<[usize]> = large.sources.as_slice().into();
            let asked: Vec<(Option<usize>, Arc<[usize]>)> = match large.single {
                true => vec![(None, all)],
                // They may have different files, which shows only when all have hashed them.
                false => all.iter().map(|source| (Some(*source), [*source].into())).collect(),
            };
            large.awaited = asked.len();
            for (source, sources) in asked {
                let unit = state.make(Kind::Manifest { large: place, source }, 1, sources);
                units.push(NewUnit { first: true, ..unit });
            }
        }
        units
    }

    /// How to ask what a large file is.
    pub(super) fn ask_for_manifest(&self, state: &State, large: usize) -> Option<Ask> {
        let large = state.sorted.large.get(large).filter(|large| large.awaited > 0)?;
        Some(Ask::Small(Box::new(Request::Describe {
            subject: large.subject(),
            wait_ms: config::HASHING_WAIT_MS,
            digests_up_to: u32::MAX,
        })))
    }

    /// A source has answered what a large file is.
    pub(super) fn described(
        &self,
        unit: u32,
        source: SourceId,
        response: Response,
        payload: &[u8],
    ) -> Result<Learnt, JobError> {
        let mut state = lock(&self.state);
        let kind = state.unit(unit).cloned();
        let Some(Kind::Manifest { large: place, source: only }) = kind else {
            return Err(misbehaved(format!("{response:?} in answer to a chunk")).into());
        };
        let peer = self.peers.get(source.slot()).cloned().unwrap_or_else(PeerId::nobody);
        let Some(large) = state.sorted.large.get_mut(place) else { return Ok(Learnt::default()) };
        match response {
            Response::Hashing { done, total } => {
                // One that hashes for ever more than there is gets on with nothing.
                let done_so_far = done.min(large.length.saturating_mul(2));
                let before = large.hashed.entry(source.slot()).or_default();
                self.hashed.fetch_add(done_so_far.saturating_sub(*before), Relaxed);
                *before = done_so_far.max(*before);
                let events = vec![Event::Hashing { peer, done, total }];
                return Ok(Learnt { again: true, events, ..Learnt::default() });
            }
            Response::Manifest { name, length, chunk_size, root, attributes, .. } => {
                let is_named = match large.subject() {
                    Subject::Name(wanted) => wanted == name,
                    Subject::Id(prefix) => prefix.matches(&root),
                };
                if !is_named {
                    return Err(misbehaved("a manifest of another file").into());
                }
                let layout = ChunkLayout::new(length, chunk_size).map_err(misbehaved)?;
                let digests = Digest::split(payload).ok_or_else(|| misbehaved("odd digests"))?;
                let manifest = Manifest::new(name, layout, root, digests).map_err(misbehaved)?;
                match large.is_meant(root, length) {
                    true => large.answers.push((source.slot(), manifest, attributes)),
                    false => large.reasons.push((peer, SourceError::Changed)),
                }
            }
            Response::Error(refusal) => large.reasons.push((peer, refusal.into())),
            other => return Err(misbehaved(format!("{other:?} in answer to describe")).into()),
        }
        Ok(self.answered(&mut state, place, (source.slot(), only.is_none())))
    }

    /// One source more has said what a large file is, or that it does not know it.
    fn answered(&self, state: &mut State, place: usize, (source, single): (usize, bool)) -> Learnt {
        let Some(large) = state.sorted.large.get_mut(place) else { return Learnt::default() };
        large.awaited = large.awaited.saturating_sub(1);
        if single && large.answers.is_empty() {
            large.sources.retain(|other| *other != source);
            if !large.sources.is_empty() {
                large.awaited += 1;
                let sources = large.sources.as_slice().into();
                let unit = state.make(Kind::Manifest { large: place, source: None }, 1, sources);
                let units = vec![NewUnit { first: true, ..unit }];
                return Learnt { units, ..Learnt::default() };
            }
        }
        if large.awaited > 0 {
            return Learnt::default();
        }
        state.sorted.resolving -= 1;
        let units =
            self.resolve(state, place).unwrap_or_else(|error| self.failed(state, place, error));
        Learnt { units, ..Learnt::default() }
    }

    /// All who were asked what a large file is have answered: gives its chunks.
    fn resolve(&self, state: &mut State, place: usize) -> Result<Vec<NewUnit>, FileError> {
        let Some(large) = state.sorted.large.get_mut(place) else { return Ok(Vec::new()) };
        let answers = std::mem::take(&mut large.answers);
        let Some((_, manifest, attributes)) = answers.first() else {
            let reasons = std::mem::take(&mut large.reasons);
            if reasons.is_empty() {
                // All who were asked are lost, which is told at the end, with why.
                return Ok(self.settled(state));
            }
            return Err(FileError::Transfer(TransferError::NoSource(reasons)));
        };
        if answers.iter().any(|(_, other, _)| other.root() != manifest.root()) {
            let version = |(source, manifest, _): &(usize, Manifest, Attributes)| {
                let file = Version::File(manifest.length(), Some(manifest.root()));
                Some((self.peers.get(*source)?.clone(), file))
            };
            return Err(FileError::Conflict(answers.iter().filter_map(version).collect()));
        }
        if !large.single {
            large.sources = answers.iter().map(|(source, ..)| *source).collect();
        }
        (large.root, large.single) = (Some(manifest.root()), true);
        if state.sorted.is_open(&manifest.root()) {
            // Another file of that content is received first; then this one needs no fetching.
            state.sorted.open = state.sorted.open.saturating_sub(1);
            state.sorted.later.push_back(place);
            return Ok(Vec::new());
        }
        let Some(large) = state.sorted.large.get_mut(place) else { return Ok(Vec::new()) };
        let longer = manifest.length().saturating_sub(large.length);
        self.fetch.progress.announce(0, longer);
        large.length = manifest.length();
        let manifest = Arc::new(manifest.clone().renamed(large.name.clone()));
        let part = match self.fetch.store.receive(manifest.clone(), self.fetch.replace)? {
            Reception::AlreadyHere => {
                lock(&self.outcome).here += 1;
                self.fetch.progress.found_here(manifest.length());
                large.phase = Phase::Settled;
                state.sorted.here.insert(manifest.root());
                return Ok(self.settled(state));
            }
            Reception::InTheWay { .. } => return Err(FileError::InTheWay),
            Reception::Busy => return Err(FileError::Busy),
            Reception::Part(part) => Arc::new(part.with(*attributes)),
        };
        self.fetch.progress.resume_more(part.received());
        state.sorted.kept = state.sorted.kept.saturating_add(part.received());
        let sources: Arc<[usize]> = large.sources.as_slice().into();
        let (layout, have) = (*manifest.layout(), part.have());
        let missing = layout.count() - have.len();
        large.phase = Phase::Part { part, missing };
        state.sorted.is_large(manifest.root(), place);
        let mut units = Vec::new();
        for index in layout.indices() {
            let chunk = Kind::Chunk { large: place, number: index.get() };
            let unit = state.make(chunk, layout.chunk_len(index) as u64, sources.clone());
            units.push(NewUnit { done: have.contains(index), ..unit });
        }
        if missing == 0 {
            units.extend(self.complete_large(state, place));
        }
        Ok(units)
    }

    /// How to ask for a chunk of a large file.
    pub(super) fn ask_for_chunk(&self, state: &State, large: usize, number: u32) -> Option<Ask> {
        let part = state.sorted.large.get(large)?.part()?;
        let (root, layout) = (part.manifest().root(), part.manifest().layout());
        let index = layout.index(number).filter(|index| !part.has(*index))?;
        let (len, chunk_size) = (layout.chunk_len(index), layout.chunk_size());
        Some(Ask::Chunk { root, number, chunk_size, len, wait_ms: 0 })
    }

    /// Proves and writes a chunk of a large file.
    pub(super) fn take_chunk(
        &self,
        came: &Came<'_>,
        (place, number): (usize, u32),
    ) -> Result<Put, StoreError> {
        let (part, settled) = {
            let state = lock(&self.state);
            let large = state.sorted.large.get(place);
            let settled = large.is_none_or(|large| matches!(large.phase, Phase::Settled));
            (large.and_then(|large| large.part().cloned()), settled)
        };
        let Some(part) = part else {
            return Ok(if settled { Put::kept(0) } else { Put::TooEarly });
        };
        let manifest = part.manifest().clone();
        let Some(index) = manifest.layout().index(number) else { return Ok(Put::Bad) };
        let Ok(chunk) = manifest.verify(index, came.bytes) else { return Ok(Put::Bad) };
        let written = match part.write(&chunk) {
            Ok(written) => written,
            Err(error) if error.is_no_space() => return Err(error),
            Err(error) => {
                drop(part);
                let mut state = lock(&self.state);
                let further = self.failed(&mut state, place, error.into());
                return Ok(Put::Kept { fresh: 0, further });
            }
        };
        drop(part);
        if !written {
            return Ok(Put::kept(0));
        }
        let fresh = came.bytes.len() as u64;
        lock(&self.outcome).bytes += fresh;
        self.mark_chunk(place, number);
        let mut state = lock(&self.state);
        let complete = state.sorted.large.get_mut(place).is_some_and(Large::lacks_nothing_more);
        let further = if complete { self.complete_large(&mut state, place) } else { Vec::new() };
        Ok(Put::Kept { fresh, further })
    }

    /// All chunks of a large file are here: gives it its name. Gives the units of the next ones.
    fn complete_large(&self, state: &mut State, place: usize) -> Vec<NewUnit> {
        let Some(large) = state.sorted.large.get_mut(place) else { return Vec::new() };
        let phase = std::mem::replace(&mut large.phase, Phase::Settled);
        let Phase::Part { part, .. } = phase else { return Vec::new() };
        lock(&self.complete).push((place, part));
        self.settled(state)
    }

    /// Gives the large files their names whose chunks are all here. Not done under any lock: to
    /// sync a large file takes its time.
    pub(super) fn complete_those_due(&self) {
        loop {
            let due = {
                let mut complete = lock(&self.complete);
                // One that another thread is still writing an extra copy to is that thread's.
                let free = complete.iter().position(|(_, part)| Arc::strong_count(part) == 1);
                free.map(|at| complete.swap_remove(at))
            };
            let Some((place, part)) = due else { return };
            let Some(part) = Arc::into_inner(part) else { continue };
            let name = part.manifest().name().clone();
            match part.complete() {
                Ok(_) => {
                    lock(&self.outcome).received += 1;
                    self.fetch.progress.completed(1);
                }
                Err(error) => {
                    log::debug!("large file {place} is not complete: {error}");
                    self.fail(&name, error.into());
                }
            }
        }
    }

    /// A large file cannot be received. Gives the units of the next ones.
    fn failed(&self, state: &mut State, place: usize, error: FileError) -> Vec<NewUnit> {
        if let Some(large) = state.sorted.large.get_mut(place)
            && large.is_missing()
        {
            large.phase = Phase::Settled;
            let name = large.name.clone();
            self.fail(&name, error);
            return self.settled(state);
        }
        Vec::new()
    }

    /// One large file less is received. Gives the units of the next ones.
    fn settled(&self, state: &mut State) -> Vec<NewUnit> {
        state.sorted.open = state.sorted.open.saturating_sub(1);
        self.begin_large(state)
    }

    /// What a source was to say of large files it will not say any more.
    pub(super) fn without(&self, state: &mut State, source: usize) -> Vec<NewUnit> {
        let mut units = Vec::new();
        for place in 0..state.sorted.large.len() {
            let Some(large) = state.sorted.large.get_mut(place) else { continue };
            let asked = !large.single && large.awaited > 0 && large.sources.contains(&source);
            let told = large.answers.iter().any(|(other, ..)| *other == source);
            if asked && !told {
                units.extend(self.answered(state, place, (source, false)).units);
            }
        }
        units
    }
}
