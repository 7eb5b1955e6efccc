//! Everything that was listed of a folder, sorted: pure bookkeeping.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use super::large_file::Large;
use super::small::Small;
use crate::content::{Attributes, FileName, Root};

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
    pub(super) made: usize,
    /// All files with their contents, as far as they are known, and the place of a large one.
    pub(super) files: Vec<(Option<Root>, u64, Option<usize>)>,
    /// Everything that is listed is sorted in, and no more comes.
    pub(super) all: bool,
    /// Several fetch it together: all large files have to be begun.
    pub(super) shares: bool,
    /// Where a large content is.
    pub(super) large_places: HashMap<Root, usize>,
    /// Contents that are here.
    pub(super) here: HashSet<Root>,
    /// Bytes that all of it may take here.
    pub(super) room: u64,
    /// Of these, what earlier attempts left of large files.
    pub(super) kept: u64,
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
    pub(super) fn one_since(&self, small: usize, large: usize) -> Option<&FileName> {
        let large = self.large.get(large).map(Large::name);
        large.or_else(|| Some(&self.small.get(small)?.names.first()?.0))
    }

    pub(super) fn add_small(
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
