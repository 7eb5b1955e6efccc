//! What several peers fetch together of a folder.
//!
//! When everything is listed and it is known what all large files are, the folder is cut into the
//! units that everybody else cuts it into who fetches the same. What is here of them counts as
//! done, and can be read from us at once; what is missing replaces the units that nobody fetches
//! yet. A unit can be served as soon as all of its files are written, wherever they came from.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::{FolderJob, Kind, State};
use crate::config;
use crate::content::{ChunkLayout, ChunkSet, Root, Unit, UnitFile, Units};
use crate::fetch::job::{Came, Cut, Put};
use crate::fetch::ledger::NewUnit;
use crate::fetch::source::Ask;
use crate::fetch::swarm::Swarm;
use crate::locks::lock;
use crate::store::{StoreError, UnitsPart};

/// What is missing, cut as all cut it who fetch it together.
pub(super) struct Shared {
    part: UnitsPart,
    /// Files of each unit that are not written yet.
    left: Mutex<Vec<u32>>,
    /// In which unit a small content is.
    of: HashMap<Root, u32>,
    /// The unit of the first chunk of a large file.
    first_chunks: HashMap<usize, u32>,
}

impl Shared {
    pub(super) fn called(&self) -> (Root, ChunkLayout) {
        (self.part.units().id(), *self.part.units().layout())
    }

    /// All units, those that are here done.
    pub(super) fn here(&self) -> Vec<NewUnit> {
        let (have, units) = (self.part.have(), self.part.units());
        let unit = |index| NewUnit {
            done: have.contains(index),
            ..NewUnit::of(index.get(), units.len(index))
        };
        units.layout().indices().map(unit).collect()
    }

    pub(super) fn own(&self, number: u32) {
        let index = self.part.units().layout().index(number);
        index.into_iter().for_each(|index| self.part.own(index));
    }

    pub(super) fn disown(&self, number: u32) {
        let index = self.part.units().layout().index(number);
        index.into_iter().for_each(|index| self.part.disown(index));
    }

    pub(super) fn keeps_up(&self, slack: u32) -> bool {
        self.part.keeps_up(slack)
    }

    pub(super) fn expects_more(&self, more: bool) {
        self.part.expects_more(more);
    }

    pub(super) fn take_askers(&self) -> BTreeSet<String> {
        self.part.take_askers()
    }

    fn unit(&self, number: u32) -> Option<Unit<'_>> {
        let units = self.part.units();
        units.get(units.layout().index(number)?)
    }

    /// One more file, or the chunk, of a unit is written.
    fn wrote(&self, number: u32) {
        let complete = {
            let mut left = lock(&self.left);
            let Some(left) = left.get_mut(number as usize) else { return };
            *left = left.saturating_sub(1);
            *left == 0
        };
        let index = self.part.units().layout().index(number).filter(|_| complete);
        index.into_iter().for_each(|index| self.part.mark(index));
    }
}

/// What is known here of one unit.
struct Standing {
    /// How many of its files, or whether its chunk, is not here.
    left: u32,
    /// Any of that is wanted.
    wanted: bool,
    /// The places of those who listed all that is wanted of it.
    sources: Vec<usize>,
}

impl FolderJob<'_> {
    /// Cuts what is missing as everybody cuts it.
    pub(super) fn cut_anew(&self, in_flight: &[u32]) -> Cut {
        let mut state = lock(&self.state);
        if !state.sorted.all {
            return Cut::NotYet;
        }
        if state.sorted.large.len() > config::SHARED_LARGE_FILES {
            return Cut::Never;
        }
        state.sorted.shares = true;
        let first = self.begin_large(&mut state);
        if !first.is_empty() {
            return Cut::First(first);
        }
        if state.sorted.resolving > 0 {
            return Cut::NotYet;
        }
        match self.cut_into_units(&mut state, in_flight) {
            Some((units, layout)) => Cut::Into(units, layout),
            None => Cut::Never,
        }
    }

    fn cut_into_units(
        &self,
        state: &mut State,
        in_flight: &[u32],
    ) -> Option<(Vec<NewUnit>, ChunkLayout)> {
        let files = state.sorted.contents();
        let total = files.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
        let usual = || ChunkLayout::usual(total).ok().map(|layout| layout.chunk_size());
        let size = self.fetch.unit_size.or_else(usual)?;
        let units = Arc::new(Units::cut(files, size).ok()?);
        let layout = *units.layout();
        if layout.count() == 0 {
            return None;
        }
        let large = state.sorted.large_places().clone();
        let coming = state.coming(in_flight);
        let (mut of, mut first_chunks) = (HashMap::new(), HashMap::new());
        let (mut have, mut left, mut made) = (ChunkSet::none(&layout), Vec::new(), Vec::new());
        for index in layout.indices() {
            let unit = units.get(index)?;
            match unit {
                Unit::Whole(files) => of.extend(files.iter().map(|file| (file.root, index.get()))),
                Unit::Chunk { file, chunk: 0 } => {
                    first_chunks.extend(large.get(&file.root).map(|at| (*at, index.get())));
                }
                Unit::Chunk { .. } => {}
            }
            let standing = state.standing(&unit, &large, &coming)?;
            if standing.left == 0 {
                have.insert(index);
            }
            left.push(standing.left);
            let len = units.len(index) as u64;
            let unit = state.make(Kind::Shared(index.get()), len, standing.sources.into());
            made.push(NewUnit { done: !standing.wanted, lasting: true, ..unit });
        }
        let begun = self.fetch.store.receive_units(units, have);
        let part = begun.inspect_err(|error| log::info!("fetching alone: {error}")).ok()?;
        let shared = Shared { part, left: Mutex::new(left), of, first_chunks };
        self.shared.set(shared).ok()?;
        Some((made, layout))
    }

    /// How to ask for a unit that others have too: those who hand out and those who have everything
    /// for what is missing of it, others by its number.
    pub(super) fn ask_for_shared(&self, state: &State, number: u32, member: bool) -> Option<Ask> {
        let shared = self.shared.get()?;
        let unit = shared.unit(number)?;
        if !state.is_wanted(&unit) {
            return None;
        }
        if member {
            let (root, layout) = shared.called();
            let len = shared.part.units().len(layout.index(number)?);
            let (chunk_size, wait_ms) = (layout.chunk_size(), config::MEMBER_WAIT_MS);
            return Some(Ask::Chunk { root, number, chunk_size, len, wait_ms });
        }
        match unit {
            Unit::Whole(files) => Some(Ask::Files(files.to_vec())),
            Unit::Chunk { file, chunk } => {
                self.ask_for_chunk(state, *state.sorted.large_places().get(&file.root)?, chunk)
            }
        }
    }

    /// Proves and keeps a unit that others have too.
    pub(super) fn take_shared(&self, came: &Came<'_>, number: u32) -> Result<Put, StoreError> {
        let Some(unit) = self.shared.get().and_then(|shared| shared.unit(number)) else {
            return Ok(Put::Bad);
        };
        match unit {
            Unit::Whole(files) => {
                let files: Vec<(UnitFile, Option<usize>)> = {
                    let state = lock(&self.state);
                    let place = |file: &UnitFile| {
                        state.sorted.places.get(&(file.root, file.length)).copied()
                    };
                    files.iter().map(|file| (*file, place(file))).collect()
                };
                self.take_files(came, &files)
            }
            Unit::Chunk { file, chunk } => {
                let place = lock(&self.state).sorted.large_places().get(&file.root).copied();
                match place {
                    Some(place) => self.take_chunk(came, (place, chunk)),
                    None => Ok(Put::kept(0)),
                }
            }
        }
    }

    /// These contents are written.
    pub(super) fn mark(&self, roots: impl Iterator<Item = Root>) {
        let Some(shared) = self.shared.get() else { return };
        roots.filter_map(|root| shared.of.get(&root)).for_each(|number| shared.wrote(*number));
    }

    /// That chunk of a large file is written.
    pub(super) fn mark_chunk(&self, large: usize, number: u32) {
        let Some(shared) = self.shared.get() else { return };
        let first = shared.first_chunks.get(&large);
        first.into_iter().for_each(|first| shared.wrote(first.saturating_add(number)));
    }

    /// Those small contents, and where they are.
    pub(super) fn files_at(&self, places: &[usize]) -> Vec<(UnitFile, Option<usize>)> {
        let state = lock(&self.state);
        let file = |place: &usize| Some((state.small(*place)?.file(), Some(*place)));
        places.iter().filter_map(file).collect()
    }

    /// Whether several peers may come to fetch it together.
    pub(super) fn is_given(&self) -> bool {
        matches!(self.fetch.swarm, Some(Swarm::Given(_)))
    }
}

/// What is on its way as units of another cut.
#[derive(Default)]
struct Coming {
    small: HashSet<usize>,
    chunks: HashSet<(usize, u32)>,
}

impl State {
    fn coming(&self, in_flight: &[u32]) -> Coming {
        let mut coming = Coming::default();
        for kind in in_flight.iter().filter_map(|name| self.unit(*name)) {
            match kind {
                Kind::Bundle(places) => coming.small.extend(places),
                Kind::Chunk { large, number } => {
                    coming.chunks.insert((*large, *number));
                }
                Kind::Manifest { .. } | Kind::Shared(_) => {}
            }
        }
        coming
    }

    /// What is here of a unit; `None` where a large file is cut otherwise here.
    fn standing(
        &self,
        unit: &Unit<'_>,
        large: &HashMap<Root, usize>,
        coming: &Coming,
    ) -> Option<Standing> {
        match unit {
            Unit::Whole(files) => {
                let mut standing = Standing { left: 0, wanted: false, sources: Vec::new() };
                let mut listed: Option<Vec<usize>> = None;
                for file in *files {
                    let place = self.sorted.places.get(&(file.root, file.length));
                    let small = place.and_then(|place| self.small(*place));
                    let comes = place.is_some_and(|place| coming.small.contains(place));
                    if let Some(small) = small.filter(|small| small.is_missing() && !comes) {
                        standing.wanted = true;
                        let all = listed.get_or_insert_with(|| small.sources.clone());
                        all.retain(|source| small.sources.contains(source));
                    }
                    let here = self.sorted.here.contains(&file.root)
                        || small.is_some_and(|small| small.is_landed());
                    standing.left += u32::from(!here);
                }
                standing.sources = listed.unwrap_or_default();
                Some(standing)
            }
            Unit::Chunk { file, chunk } => {
                let here = self.sorted.here.contains(&file.root);
                let place = large.get(&file.root).copied();
                let part = place.and_then(|place| self.sorted.large.get(place)?.part());
                let sources = place.and_then(|place| self.sorted.large.get(place));
                let sources = sources.map_or(Vec::new(), |large| large.sources.clone());
                let Some(part) = part else {
                    return Some(Standing { left: u32::from(!here), wanted: false, sources });
                };
                let layout = part.manifest().layout();
                if Some(*layout) != file.layout().ok() {
                    return None;
                }
                let has = part.has(layout.index(*chunk)?);
                let comes = place.is_some_and(|place| coming.chunks.contains(&(place, *chunk)));
                Some(Standing { left: u32::from(!has), wanted: !has && !comes, sources })
            }
        }
    }

    fn is_wanted(&self, unit: &Unit<'_>) -> bool {
        self.standing(unit, self.sorted.large_places(), &Coming::default())
            .is_some_and(|standing| standing.wanted)
    }
}
