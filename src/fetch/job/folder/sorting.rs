//! What is listed becomes units: small contents once however many names they have, large files one
//! by one. What is here already, and what cannot be had, is sorted out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::large_file::Large;
use super::listing::Merged;
use super::small::Small;
use super::sorted::Sorted;
use super::{FileError, FolderJob, Kind, State, Version};
use crate::config;
use crate::content::{Attributes, ChunkLayout, Entry as Listed, FileName, Root};
use crate::fetch::job::Learnt;
use crate::fetch::ledger::NewUnit;
use crate::fetch::progress::Event;
use crate::fetch::swarm::Swarm;
use crate::locks::lock;
use crate::store::{Standing, StoreError, Wanted};

/// Entries that are compared with what is here at once.
const COMPARED_AT_ONCE: usize = config::LIST_PAGE;

/// Bundles are not made smaller than this many files …
const FEWEST_FILES: usize = 16;

/// … or bytes, however many sources there are.
const FEWEST_BYTES: u64 = 256 << 10;

struct Candidate {
    name: FileName,
    there: FileName,
    length: u64,
    room: u64,
    root: Option<Root>,
    attributes: Attributes,
    sources: Vec<usize>,
    /// All of them say what it is.
    known: bool,
}

impl FolderJob<'_> {
    /// Sorts what was listed, and has `learn` told of the units that it makes, page by page. Says
    /// whether there was anything. The folder is not locked while the disk is asked.
    pub(super) fn sort_what_came(&self, learn: &dyn Fn(Learnt)) -> bool {
        // One at a time, and the units told before the next: files keep the order of their names,
        // and that no more come is said last.
        let _turn = lock(&self.sorting);
        if !std::mem::take(&mut lock(&self.state).unsorted) {
            return false;
        }
        loop {
            let (batch, is_last, events) = self.merge_some();
            match self.sort_batch(batch) {
                Ok(units) => learn(Learnt { units, events, ..Learnt::default() }),
                Err(error) => {
                    learn(Learnt { fatal: Some(error), ..Learnt::default() });
                    return true;
                }
            }
            if is_last {
                break;
            }
        }
        let whole = {
            let mut state = lock(&self.state);
            state.sorted.all = state.merge.is_over();
            state.sorted.all && state.talking == 0
        };
        learn(Learnt { whole, ..Learnt::default() });
        true
    }

    /// The next files that were listed everywhere, as many as are looked at in one go, and whether
    /// these are all for now. What is known so far need not wait for the rest.
    fn merge_some(&self) -> (Vec<Candidate>, bool, Vec<Event>) {
        let mut state = lock(&self.state);
        let (mut batch, mut events) = (Vec::new(), Vec::new());
        while batch.len() < COMPARED_AT_ONCE {
            let Some(merged) = state.merge.next() else { return (batch, true, events) };
            let (candidate, event) = self.sort_in(&mut state.sorted, merged);
            batch.extend(candidate);
            events.extend(event);
        }
        (batch, false, events)
    }

    /// Takes the next name with what it is at each source that has it.
    fn sort_in(
        &self,
        sorted: &mut Sorted,
        (there, versions): Merged,
    ) -> (Option<Candidate>, Option<Event>) {
        let listed = {
            let mut outcome = lock(&self.outcome);
            outcome.listed += 1;
            outcome.listed
        };
        let many = (listed == config::MANY_FILES).then_some(Event::Many { files: listed });
        let name = match self.local(there.clone()) {
            Ok(name) => name,
            Err(bad) => {
                self.fail(&there, FileError::Store(bad.into()));
                return (None, many);
            }
        };
        let Some((_, first)) = versions.first() else { return (None, many) };
        let attributes = first.attributes();
        if versions.iter().all(|(_, entry)| entry.folder) {
            sorted.folders.push((name, attributes));
            return (None, many);
        }
        let length = first.length;
        if first.folder || disagree(&versions) {
            self.fetch.progress.announce(1, 0);
            let version = |(source, entry): &(usize, Listed)| {
                Some((self.peers.get(*source)?.clone(), entry.into()))
            };
            let versions = versions.iter().filter_map(version).collect();
            self.fail(&name, FileError::Conflict(versions));
            return (None, many);
        }
        self.fetch.progress.announce(1, length);
        let room = first.room();
        let root = versions.iter().find_map(|(_, entry)| entry.content());
        let known = versions.iter().all(|(_, entry)| entry.content().is_some());
        let sources = versions.iter().map(|(source, _)| *source).collect();
        let candidate = Candidate { name, there, length, room, root, attributes, sources, known };
        (Some(candidate), many)
    }

    /// Compares those files with what is here; gives the units for what is not.
    fn sort_batch(&self, batch: Vec<Candidate>) -> Result<Vec<NewUnit>, StoreError> {
        let wanted: Vec<Wanted<'_>> = batch
            .iter()
            .map(|file| Wanted { name: &file.name, length: file.length, root: file.root })
            .collect();
        let standings = self.fetch.store.compare(&wanted, self.fetch.replace);
        let (small, large) = self.place_all(batch, standings);
        if self.fetch.dry_run {
            self.count(&lock(&self.state).sorted, small, large);
            return Ok(Vec::new());
        }
        self.check_room(small, large)?;
        self.make_folders();
        self.take_what_is_here(small)?;
        let mut state = lock(&self.state);
        let mut units = self.bundle(&mut state, small);
        let end = state.sorted.large.len();
        state.sorted.later.extend(large..end);
        units.extend(self.begin_large(&mut state));
        Ok(units)
    }

    /// Sorts in files by what is here of them; says how many small and large ones there were before.
    fn place_all(
        &self,
        batch: Vec<Candidate>,
        standings: Vec<Result<Standing, StoreError>>,
    ) -> (usize, usize) {
        let mut state = lock(&self.state);
        let before = (state.sorted.small.len(), state.sorted.large.len());
        for (file, standing) in batch.into_iter().zip(standings) {
            let (root, length) = (file.root, file.length);
            let place = match standing {
                Err(error) => {
                    self.fail(&file.name, error.into());
                    None
                }
                Ok(Standing::Same) => {
                    lock(&self.outcome).here += 1;
                    self.fetch.progress.found_here(file.length);
                    state.sorted.here.extend(file.root);
                    None
                }
                Ok(standing) => {
                    self.place(&mut state.sorted, file, matches!(standing, Standing::Other))
                }
            };
            state.sorted.files.push((root, length, place));
        }
        before
    }

    /// An error when what is listed so far and not here yet does not fit the disk.
    fn check_room(&self, small: usize, large: usize) -> Result<(), StoreError> {
        let (needed, name, kept) = {
            let state = lock(&self.state);
            let Some(name) = state.sorted.one_since(small, large).cloned() else { return Ok(()) };
            let came = lock(&self.outcome).bytes;
            let begun = state.sorted.large.iter().skip(large).filter_map(|large| large.root);
            let needed = state.sorted.room.saturating_sub(came).saturating_sub(state.sorted.kept);
            (needed, name, begun.collect::<Vec<Root>>())
        };
        self.fetch.store.check_room(needed, &name, &mut kept.into_iter())
    }

    /// Makes the folders that were listed since.
    fn make_folders(&self) {
        let fresh: Vec<FileName> = {
            let mut state = lock(&self.state);
            let all = state.sorted.folders.len();
            let made = std::mem::replace(&mut state.sorted.made, all);
            state.sorted.folders.iter().skip(made).map(|(name, _)| name.clone()).collect()
        };
        for name in fresh {
            if let Err(error) = self.fetch.store.make_folder(&name) {
                self.fail(&name, error.into());
            }
        }
    }

    /// Sorts in what is not here; gives the place of a large file.
    fn place(&self, sorted: &mut Sorted, file: Candidate, other_is_here: bool) -> Option<usize> {
        let Candidate { name, there, length, room, root, attributes, sources, known } = file;
        // What no file can be long fails for itself.
        let is_possible = ChunkLayout::usual(length).is_ok();
        if is_possible && (!other_is_here || self.fetch.replace) {
            sorted.room = sorted.room.saturating_add(room);
        }
        match root.filter(|_| length <= config::SMALL_FILE) {
            Some(_) if other_is_here && !self.fetch.replace => {
                self.fail(&name, FileError::InTheWay);
                None
            }
            Some(root) => {
                sorted.add_small(root, length, sources, (name, attributes));
                None
            }
            None => {
                let single = root.is_some() && known;
                sorted.large.push(Large::new((name, there), root, length, (sources, single)));
                Some(sorted.large.len() - 1)
            }
        }
    }

    /// Adds to what a transfer would do.
    fn count(&self, sorted: &Sorted, small: usize, large: usize) {
        let mut outcome = lock(&self.outcome);
        for content in sorted.small.iter().skip(small) {
            outcome.received = outcome.received.saturating_add(content.names.len() as u64);
            // A content under several names crosses once; the lengths are what peers say.
            outcome.bytes = outcome.bytes.saturating_add(content.length);
        }
        for file in sorted.large.iter().skip(large) {
            outcome.received = outcome.received.saturating_add(1);
            outcome.bytes = outcome.bytes.saturating_add(file.length);
        }
    }

    /// Bytes of the largest bundle: what is under way when it turns out that others fetch the same
    /// comes once for each of them.
    fn most_bytes(&self) -> u64 {
        match self.fetch.swarm {
            Some(Swarm::Joined { .. }) => config::GATHER_BYTES / 4,
            _ => config::GATHER_BYTES,
        }
    }

    /// Bundles the small contents from that place on that are missing: full bundles, but at least a
    /// few for each source.
    fn bundle(&self, state: &mut State, from: usize) -> Vec<NewUnit> {
        let small = &state.sorted.small;
        let missing =
            (from..small.len()).filter(|place| small.get(*place).is_some_and(Small::is_missing));
        let mut sets: BTreeMap<&[usize], Vec<usize>> = BTreeMap::new();
        for place in missing {
            if let Some(content) = small.get(place) {
                sets.entry(content.sources.as_slice()).or_default().push(place);
            }
        }
        let parts = config::GATHERS_AHEAD * self.peers.len().max(1);
        let mut bundles = Vec::new();
        for (sources, places) in sets {
            let length = |place: &usize| small.get(*place).map_or(0, |content| content.length);
            let bytes: u64 = places.iter().map(length).sum();
            let most_files = (places.len() / parts).clamp(FEWEST_FILES, config::GATHER_FILES);
            let most_bytes = (bytes / parts as u64).clamp(FEWEST_BYTES, self.most_bytes());
            let sources: Arc<[usize]> = sources.into();
            let mut rest = places.as_slice();
            while !rest.is_empty() {
                let mut sum = 0;
                let fits = |place: &&usize| {
                    sum += length(place);
                    sum <= most_bytes
                };
                let count = rest.iter().take(most_files).take_while(fits).count().max(1);
                let (bundle, more) = rest.split_at(count.min(rest.len()));
                let len = bundle.iter().map(length).sum::<u64>();
                bundles.push((bundle.to_vec(), len, sources.clone()));
                rest = more;
            }
        }
        let make = |(bundle, len, sources)| state.make(Kind::Bundle(bundle), len, sources);
        bundles.into_iter().map(make).collect()
    }
}

/// Whether these certainly are not all the same file.
fn disagree(versions: &[(usize, Listed)]) -> bool {
    let mut known = versions.iter().filter_map(|(_, entry)| entry.content());
    let first = known.next();
    let length = versions.first().map(|(_, entry)| entry.length);
    known.any(|root| Some(root) != first)
        || versions.iter().any(|(_, entry)| entry.folder || Some(entry.length) != length)
}

impl From<&Listed> for Version {
    fn from(entry: &Listed) -> Self {
        if entry.folder { Self::Folder } else { Self::File(entry.length, entry.content()) }
    }
}
