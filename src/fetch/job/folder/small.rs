//! Small files: contents that are proven by their root alone, and written in groups.

use super::{FileError, FolderJob, Kind, State};
use crate::config;
use crate::content::{Attributes, FileName, Root, UnitFile, WholeFile, whole};
use crate::fetch::job::{Came, Put};
use crate::fetch::ledger::NewUnit;
use crate::fetch::source::{Ask, SourceError};
use crate::locks::lock;
use crate::store::{Group, StoreError};
use crate::topology::PeerId;

/// A content that is fetched as a whole.
pub(super) struct Small {
    root: Root,
    pub(super) length: u64,
    /// Places of the sources that may have it.
    pub(super) sources: Vec<usize>,
    /// What it is to be called.
    pub(super) names: Vec<(FileName, Attributes)>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Missing,
    /// A good copy has come, for so many of its names.
    Landed(usize),
    /// Its failure was told.
    Failed,
}

impl Small {
    pub(super) fn new(
        root: Root,
        length: u64,
        sources: Vec<usize>,
        name: (FileName, Attributes),
    ) -> Self {
        // As long as they have to be, for there may be a million of them.
        Self { root, length, sources, names: vec![name], phase: Phase::Missing }
    }

    pub(super) fn is_missing(&self) -> bool {
        self.phase == Phase::Missing
    }

    pub(super) fn is_landed(&self) -> bool {
        matches!(self.phase, Phase::Landed(_))
    }

    pub(super) fn file(&self) -> UnitFile {
        UnitFile { root: self.root, length: self.length }
    }
}

impl State {
    pub(super) fn small(&self, place: usize) -> Option<&Small> {
        self.sorted.small.get(place)
    }

    /// A good copy has come. Says how many names it has, if it is the first one.
    fn landed(&mut self, place: usize) -> Option<Vec<(FileName, Attributes)>> {
        let small = self.sorted.small.get_mut(place)?;
        let first = small.is_missing();
        small.phase = Phase::Landed(small.names.len());
        first.then(|| small.names.clone())
    }
}

impl FolderJob<'_> {
    /// How to ask for those contents, where any of them is missing.
    pub(super) fn ask_for_files(&self, state: &State, places: &[usize]) -> Option<Ask> {
        let contents: Vec<&Small> = places.iter().filter_map(|place| state.small(*place)).collect();
        let missing = contents.iter().any(|small| small.is_missing());
        missing.then(|| Ask::Files(contents.iter().map(|small| small.file()).collect()))
    }

    /// Proves what came of those contents, and writes it; `None` stands for one that is not wanted
    /// here, and `units` for the numbers of the units that others have it in.
    pub(super) fn take_files(
        &self,
        came: &Came<'_>,
        files: &[(UnitFile, Option<usize>)],
    ) -> Result<Put, StoreError> {
        let (mut claims, mut places, mut lacking) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = came.bytes;
        {
            let state = lock(&self.state);
            for (at, (file, place)) in files.iter().enumerate() {
                if came.there.is_some_and(|there| there.get(at) == Some(&false)) {
                    lacking.extend(*place);
                    continue;
                }
                let Some((bytes, more)) = rest.split_at_checked(file.length as usize) else {
                    return Ok(Put::Bad);
                };
                rest = more;
                let wanted = place.and_then(|place| state.small(place));
                if wanted.is_some_and(Small::is_missing) {
                    claims.push((file.root, bytes));
                    places.extend(*place);
                }
            }
        }
        let (mut landed, mut bad) = (Vec::new(), false);
        let proven = whole::prove(&claims);
        {
            let mut state = lock(&self.state);
            for (place, whole) in places.iter().zip(&proven) {
                match whole {
                    Some(whole) => {
                        landed.extend(state.landed(*place).map(|names| (names, whole)));
                    }
                    None => bad = true,
                }
            }
        }
        let sum: u64 = landed.iter().map(|(_, whole)| whole.bytes().len() as u64).sum();
        lock(&self.outcome).bytes += sum;
        self.write(&landed)?;
        self.mark(landed.iter().map(|(_, whole)| whole.root()));
        if bad {
            return Ok(Put::Bad);
        }
        let further = self.ask_others(&lacking, came.source.slot());
        Ok(Put::Kept { fresh: sum, further })
    }

    /// The source does not have these after all: gives the units in which others are asked.
    fn ask_others(&self, lacking: &[usize], source: usize) -> Vec<NewUnit> {
        let mut state = lock(&self.state);
        let mut units = Vec::new();
        for place in lacking {
            let Some(small) = state.sorted.small.get_mut(*place) else { continue };
            small.sources.retain(|other| *other != source);
            if !small.is_missing() {
                continue;
            }
            if small.sources.is_empty() {
                small.phase = Phase::Failed;
                let names = small.names.clone();
                names.iter().for_each(|(name, _)| self.fail(name, FileError::NoSource));
                continue;
            }
            let (sources, length) = (small.sources.as_slice().into(), small.length);
            units.push(state.make(Kind::Bundle(vec![*place]), length, sources));
        }
        units
    }

    /// Writes contents under their names.
    fn write(
        &self,
        landed: &[(Vec<(FileName, Attributes)>, &WholeFile<'_>)],
    ) -> Result<(), StoreError> {
        let idle = lock(&self.groups).pop();
        let mut group = match idle {
            Some(group) => group,
            None => self.group()?,
        };
        let written = landed.iter().try_for_each(|(names, whole)| {
            names.iter().try_for_each(|(name, attributes)| {
                match group.put(name, whole, attributes) {
                    Err(error) if error.is_no_space() => Err(error),
                    Err(error) => {
                        self.fail(name, error.into());
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                }
            })
        });
        if group.is_due() {
            self.settle(&mut group);
        }
        lock(&self.groups).push(group);
        written
    }

    /// Gives all files that have come their names.
    pub(super) fn settle_all(&self) {
        let groups = std::mem::take(&mut *lock(&self.groups));
        groups.into_iter().for_each(|mut group| self.settle(&mut group));
    }

    fn group(&self) -> Result<Group, StoreError> {
        self.fetch.store.group(self.fetch.replace)
    }

    /// Gives the files of a group their names.
    pub(super) fn settle(&self, group: &mut Group) {
        let mut received = 0;
        for (name, result) in group.settle() {
            match result {
                Ok(()) => received += 1,
                Err(StoreError::InTheWay { .. }) => self.fail(&name, FileError::InTheWay),
                Err(error) => self.fail(&name, error.into()),
            }
        }
        lock(&self.outcome).received += received;
        self.fetch.progress.completed(received);
    }

    /// Takes what needs no fetching: empty files, and what an earlier attempt left.
    pub(super) fn take_what_is_here(&self, from: usize) -> Result<(), StoreError> {
        let found: Vec<(usize, Root, Vec<u8>)> = {
            let mut state = lock(&self.state);
            let State { sorted, salvage, .. } = &mut *state;
            let new = sorted.small.iter().enumerate().skip(from);
            let found = new.filter_map(|(place, small)| {
                let nothing = (small.length == 0).then(Vec::new);
                Some((place, small.root, nothing.or_else(|| salvage.take(&small.root))?))
            });
            found.collect()
        };
        for (place, root, bytes) in found {
            for whole in whole::prove(&[(root, &bytes)]).into_iter().flatten() {
                let names = lock(&self.state).landed(place);
                if let Some(names) = names {
                    self.fetch.progress.resume_more(bytes.len() as u64);
                    self.write(&[(names, &whole)])?;
                }
            }
        }
        Ok(())
    }

    /// Names that were listed when their content had landed already get a copy of it.
    pub(super) fn write_late_names(&self) -> Result<(), StoreError> {
        let late: Vec<(Root, Vec<(FileName, Attributes)>)> = {
            let state = lock(&self.state);
            let late = |small: &Small| match small.phase {
                Phase::Landed(names) if names < small.names.len() => {
                    Some((small.root, small.names.get(names..)?.to_vec()))
                }
                _ => None,
            };
            state.sorted.small.iter().filter_map(late).collect()
        };
        for (root, names) in late {
            let mut bytes = Vec::new();
            self.fetch.store.gather(&[root], config::GATHER_BYTES as usize, &mut bytes)?;
            match whole::prove(&[(root, &bytes)]).into_iter().flatten().next() {
                Some(whole) => self.write(&[(names, &whole)])?,
                None => names.iter().for_each(|(name, _)| self.fail(name, FileError::NoSource)),
            }
        }
        Ok(())
    }

    /// Tells what did not come, and why.
    pub(super) fn tell_failures(&self, lost: &[(PeerId, SourceError)]) {
        let state = lock(&self.state);
        let missing: Vec<&Small> =
            state.sorted.small.iter().filter(|small| small.is_missing()).collect();
        let (mut why, mut passing, mut integrity) = (Vec::new(), false, false);
        for (peer, error) in lost {
            why.push(format!("{peer}: {error}"));
            integrity |= error.is_integrity();
            passing |= error.is_passing() || matches!(error, SourceError::GaveUp { .. });
        }
        let why = why.join("; ");
        let error = || match why.is_empty() {
            true => FileError::NoSource,
            false => FileError::Lost { why: why.clone(), integrity, passing },
        };
        let large = state.sorted.large.iter().filter(|large| large.is_missing());
        let names = missing
            .into_iter()
            .flat_map(|small| small.names.iter().map(|(name, _)| name))
            .chain(large.map(super::large_file::Large::name));
        for name in names {
            self.fail(name, error());
        }
    }
}
