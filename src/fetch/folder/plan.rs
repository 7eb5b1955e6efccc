//! What is to be fetched, and from whom: small contents once however many names they have, large
//! files one by one. What is here already, and what cannot be had, is sorted out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::listing::COMPARED_AT_ONCE;
use super::{FileError, FolderFetch, Record, Version};
use crate::config;
use crate::content::{Attributes, ChunkLayout, Entry as Listed, FileName, Root};
use crate::fetch::progress::Event;
use crate::store::{Standing, Wanted};
use crate::topology::PeerId;

/// What a folder transfer has to do.
#[derive(Default)]
pub(super) struct Plan {
    /// Every content is here once.
    pub(super) small: Vec<Small>,
    pub(super) large: Vec<Large>,
    /// In the order of their names, so that a folder comes before those in it.
    pub(super) folders: Vec<(FileName, Attributes)>,
    /// Bytes that all of it may take here.
    pub(super) room: u64,
}

/// A content that is fetched as a whole.
pub(super) struct Small {
    pub(super) root: Root,
    pub(super) length: u64,
    /// Places among the sources.
    pub(super) sources: Vec<usize>,
    /// What it is to be called.
    pub(super) names: Vec<(FileName, Attributes)>,
}

/// A file that is fetched chunk by chunk.
pub(super) struct Large {
    pub(super) name: FileName,
    /// What it is called at the sources.
    pub(super) there: FileName,
    pub(super) root: Option<Root>,
    pub(super) length: u64,
    pub(super) sources: Vec<usize>,
}

/// Makes a [`Plan`] from names in their order.
pub(super) struct Planner<'a> {
    fetch: &'a FolderFetch<'a>,
    record: &'a Record,
    peers: Vec<PeerId>,
    plan: Plan,
    /// Where in the plan a small content is.
    places: HashMap<(Root, u64), usize>,
    /// Files that are still to be compared with what is here.
    waiting: Vec<Candidate>,
}

struct Candidate {
    name: FileName,
    there: FileName,
    length: u64,
    room: u64,
    root: Option<Root>,
    attributes: Attributes,
    sources: Vec<usize>,
}

impl Plan {
    /// Files that are to be fetched, and their bytes; a content under several names crosses once.
    pub(super) fn sums(&self) -> (u64, u64) {
        let small = self.small.iter().map(|small| (small.names.len() as u64, small.length));
        let all = small.chain(self.large.iter().map(|large| (1, large.length)));
        // The lengths are what peers say.
        all.fold((0, 0), |(files, bytes): (u64, u64), (more, length)| {
            (files.saturating_add(more), bytes.saturating_add(length))
        })
    }

    /// Any of the names that come here.
    pub(super) fn one_of_them(&self) -> Option<&FileName> {
        let large = self.large.first().map(|large| &large.name);
        large.or_else(|| Some(&self.small.first()?.names.first()?.0))
    }
}

impl<'a> Planner<'a> {
    pub(super) fn new(fetch: &'a FolderFetch<'a>, record: &'a Record, peers: Vec<PeerId>) -> Self {
        let (plan, places, waiting) = (Plan::default(), HashMap::new(), Vec::new());
        Self { fetch, record, peers, plan, places, waiting }
    }

    /// Takes the next name with what it is at each source that has it.
    pub(super) fn add(&mut self, there: FileName, versions: Vec<(usize, Listed)>) {
        let listed = {
            let mut outcome = self.record.outcome();
            outcome.listed += 1;
            outcome.listed
        };
        if listed == config::MANY_FILES {
            (self.fetch.observer)(Event::Many { files: listed });
        }
        let name = match self.fetch.local(there.clone()) {
            Ok(name) => name,
            Err(bad) => return self.record.fail(&there, FileError::Store(bad.into())),
        };
        let Some((_, first)) = versions.first() else { return };
        let attributes = first.attributes();
        if versions.iter().all(|(_, entry)| entry.folder) {
            self.plan.folders.push((name, attributes));
            return;
        }
        let length = first.length;
        if first.folder || disagree(&versions) {
            self.fetch.progress.announce(1, 0);
            let version = |(source, entry): &(usize, Listed)| {
                Some((self.peers.get(*source)?.clone(), entry.into()))
            };
            let versions = versions.iter().filter_map(version).collect();
            return self.record.fail(&name, FileError::Conflict(versions));
        }
        self.fetch.progress.announce(1, length);
        let room = first.room();
        let root = versions.iter().find_map(|(_, entry)| entry.content());
        let mut sources = Vec::with_capacity(versions.len());
        sources.extend(versions.iter().map(|(source, _)| *source));
        self.waiting.push(Candidate { name, there, length, room, root, attributes, sources });
        if self.waiting.len() >= COMPARED_AT_ONCE {
            self.compare();
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        self.compare();
        self.plan
    }

    /// Compares what waits with what is here.
    fn compare(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let wanted: Vec<Wanted<'_>> = waiting
            .iter()
            .map(|file| Wanted { name: &file.name, length: file.length, root: file.root })
            .collect();
        let standings = self.fetch.store.compare(&wanted, self.fetch.replace);
        for (file, standing) in waiting.into_iter().zip(standings) {
            match standing {
                Err(error) => self.record.fail(&file.name, error.into()),
                Ok(Standing::Same) => {
                    self.record.outcome().here += 1;
                    self.fetch.progress.found_here(file.length);
                }
                Ok(standing) => self.sort_in(file, matches!(standing, Standing::Other)),
            }
        }
    }

    fn sort_in(&mut self, file: Candidate, other_is_here: bool) {
        let Candidate { name, there, length, room, root, attributes, sources } = file;
        // What no file can be long fails for itself.
        let is_possible = ChunkLayout::usual(length).is_ok();
        if is_possible && (!other_is_here || self.fetch.replace) {
            self.plan.room = self.plan.room.saturating_add(room);
        }
        match root.filter(|_| length <= config::SMALL_FILE) {
            Some(_) if other_is_here && !self.fetch.replace => {
                self.record.fail(&name, FileError::InTheWay);
            }
            Some(root) => {
                let small = &mut self.plan.small;
                let place = match self.places.entry((root, length)) {
                    Entry::Occupied(place) => *place.get(),
                    Entry::Vacant(place) => {
                        place.insert(small.len());
                        // As long as they have to be, for there may be a million of them.
                        let names = vec![(name, attributes)];
                        return small.push(Small { root, length, sources, names });
                    }
                };
                let Some(content) = small.get_mut(place) else { return };
                for source in sources {
                    if !content.sources.contains(&source) {
                        content.sources.push(source);
                    }
                }
                content.names.push((name, attributes));
            }
            None => self.plan.large.push(Large { name, there, root, length, sources }),
        }
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
