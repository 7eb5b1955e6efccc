//! What is listed becomes units: small contents once however many names they have, large files one
//! by one. What is here already, and what cannot be had, is sorted out.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::large::Large;
use super::listing::Merged;
use super::small::Small;
use super::{FileError, FolderJob, Kind, State, Version};
use crate::config;
use crate::content::{Attributes, ChunkLayout, Entry as Listed, FileName, Root};
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

/// Everything that was listed, sorted.
#[derive(Default)]
pub(super) struct Sorted {
    /// Every content is here once.
    pub(super) small: Vec<Small>,
    /// Where a small content is.
    pub(super) places: HashMap<(Root, u64), usize>,
    pub(super) large: Vec<Large>,
    /// Large files that are not begun.
    pub(super) later: VecDeque<usize>,
    /// Manifests that are asked for.
    pub(super) resolving: usize,
    /// Large files that are received at this moment.
    pub(super) open: usize,
    /// In the order of their names, so that a folder comes before those in it.
    pub(super) folders: Vec<(FileName, Attributes)>,
    /// How many of them are there.
    made: usize,
    /// All files with their contents, as far as they are known, and the place of a large one.
    pub(super) files: Vec<(Option<Root>, u64, Option<usize>)>,
    /// Several fetch it together: all large files have to be begun.
    pub(super) shares: bool,
    /// Where a large content is.
    large_places: HashMap<Root, usize>,
    /// Contents that are here.
    pub(super) here: HashSet<Root>,
    /// Files that are still to be compared with what is here.
    waiting: Vec<Candidate>,
    /// Bytes that all of it may take here.
    room: u64,
}

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
    /// Sorts what has been merged; gives the units that it makes.
    pub(super) fn sort(&self, state: &mut State) -> Result<(Vec<NewUnit>, Vec<Event>), StoreError> {
        let (mut units, mut events) = (Vec::new(), Vec::new());
        while let Some(merged) = state.merge.next() {
            events.extend(self.sort_in(&mut state.sorted, merged));
            if state.sorted.waiting.len() >= COMPARED_AT_ONCE {
                units.extend(self.compare(state)?);
            }
        }
        // What is known so far need not wait for the rest.
        units.extend(self.compare(state)?);
        Ok((units, events))
    }

    /// Takes the next name with what it is at each source that has it.
    fn sort_in(&self, sorted: &mut Sorted, (there, versions): Merged) -> Option<Event> {
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
                return many;
            }
        };
        let (_, first) = versions.first()?;
        let attributes = first.attributes();
        if versions.iter().all(|(_, entry)| entry.folder) {
            sorted.folders.push((name, attributes));
            return many;
        }
        let length = first.length;
        if first.folder || disagree(&versions) {
            self.fetch.progress.announce(1, 0);
            let version = |(source, entry): &(usize, Listed)| {
                Some((self.peers.get(*source)?.clone(), entry.into()))
            };
            let versions = versions.iter().filter_map(version).collect();
            self.fail(&name, FileError::Conflict(versions));
            return many;
        }
        self.fetch.progress.announce(1, length);
        let room = first.room();
        let root = versions.iter().find_map(|(_, entry)| entry.content());
        let known = versions.iter().all(|(_, entry)| entry.content().is_some());
        let sources = versions.iter().map(|(source, _)| *source).collect();
        let candidate = Candidate { name, there, length, room, root, attributes, sources, known };
        sorted.waiting.push(candidate);
        many
    }

    /// Compares what waits with what is here; gives the units for what is not.
    fn compare(&self, state: &mut State) -> Result<Vec<NewUnit>, StoreError> {
        let waiting = std::mem::take(&mut state.sorted.waiting);
        let wanted: Vec<Wanted<'_>> = waiting
            .iter()
            .map(|file| Wanted { name: &file.name, length: file.length, root: file.root })
            .collect();
        let standings = self.fetch.store.compare(&wanted, self.fetch.replace);
        let (small, large) = (state.sorted.small.len(), state.sorted.large.len());
        for (file, standing) in waiting.into_iter().zip(standings) {
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
        if self.fetch.dry_run {
            self.count(&state.sorted, small, large);
            return Ok(Vec::new());
        }
        let begun = state.sorted.large.iter().filter_map(|large| large.root);
        if let Some(name) = state.sorted.one_since(small, large) {
            self.fetch.store.check_room(state.sorted.room, name, &mut begun.into_iter())?;
        }
        for (name, _) in state.sorted.folders.iter().skip(state.sorted.made) {
            if let Err(error) = self.fetch.store.make_folder(name) {
                self.fail(name, error.into());
            }
        }
        state.sorted.made = state.sorted.folders.len();
        self.take_what_is_here(state, small)?;
        let mut units = self.bundle(state, small);
        state.sorted.later.extend(large..state.sorted.large.len());
        units.extend(self.begin_large(state));
        Ok(units)
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

impl Sorted {
    /// All files whose contents are known, in the order of their names.
    pub(super) fn contents(&self) -> Vec<(Root, u64)> {
        let known = |(root, length, place): &(Option<Root>, u64, Option<usize>)| {
            let large = place.and_then(|place| self.large.get(place));
            match large {
                Some(large) => Some((large.root?, large.length)),
                None => Some(((*root)?, *length)),
            }
        };
        self.files.iter().filter_map(known).collect()
    }

    /// The next large file to begin: none while another one of the same content is received, as then
    /// it is here without being fetched.
    pub(super) fn take_due(&mut self) -> Option<usize> {
        let due = |place: &usize| {
            let root = self.large.get(*place).and_then(|large| large.root);
            root.is_none_or(|root| !self.is_open(&root))
        };
        let at = self.later.iter().position(due)?;
        self.later.remove(at)
    }

    /// Whether a file of that content is received at this moment.
    pub(super) fn is_open(&self, root: &Root) -> bool {
        let place = self.large_places.get(root).and_then(|place| self.large.get(*place));
        place.is_some_and(|large| large.part().is_some())
    }

    /// Where each large content is.
    pub(super) fn large_places(&self) -> &HashMap<Root, usize> {
        &self.large_places
    }

    /// It is known what the large file of that place is.
    pub(super) fn is_large(&mut self, root: Root, place: usize) {
        self.large_places.insert(root, place);
    }

    /// One of the names that came since there were so many small contents and large files.
    fn one_since(&self, small: usize, large: usize) -> Option<&FileName> {
        let large = self.large.get(large).map(Large::name);
        large.or_else(|| Some(&self.small.get(small)?.names.first()?.0))
    }

    fn add_small(
        &mut self,
        root: Root,
        length: u64,
        sources: Vec<usize>,
        name: (FileName, Attributes),
    ) {
        let place = match self.places.entry((root, length)) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                place.insert(self.small.len());
                return self.small.push(Small::new(root, length, sources, name));
            }
        };
        let Some(content) = self.small.get_mut(place) else { return };
        content.names.push(name);
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
