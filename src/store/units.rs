//! The units of a folder while they are received: which are here already, and their bytes.
//!
//! They have no file of their own. What came of a unit lies where its files lie: in a group, in a
//! part file, under its name already, or in other files of the same content that were here before.
//! So whoever serves one looks its bytes up by content.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::arrivals::Arrivals;
use super::disk::Disk;
use super::watched::{LiveFile, live_entry, units_entry};
use super::{Store, StoreError, calls, unsettled};
use crate::config;
use crate::content::{ChunkIndex, ChunkSet, Root, Unit, UnitFile, Units};

/// The units of a folder that is being received. Others are served from it as from a [`PartFile`]
/// (`live`), by this process or another.
///
/// Dropping it keeps nothing but what was received. Where that is everything, others find it by the
/// id for a while still.
///
/// [`PartFile`]: super::PartFile
#[derive(Debug)]
pub struct UnitsPart {
    disk: Arc<Disk>,
    coming: Arc<ComingUnits>,
    /// For other processes; only there when it could be made.
    told: Option<Told>,
}

/// What is here of them.
#[derive(Debug)]
pub(super) struct ComingUnits {
    pub(super) units: Arc<Units>,
    pub(super) arrivals: Arrivals,
}

/// What other processes see.
#[derive(Debug)]
struct Told {
    live: LiveFile,
    /// The file that says what the units are; whoever has it locked may make the live file.
    _locked: File,
}

impl UnitsPart {
    /// What is being received.
    pub fn units(&self) -> &Arc<Units> {
        &self.coming.units
    }

    /// The units that are here already.
    pub fn have(&self) -> ChunkSet {
        self.coming.arrivals.have()
    }

    /// Notes that all of a unit is stored, so that it is found by content, and wakes whoever waits
    /// for it.
    pub fn mark(&self, index: ChunkIndex) {
        self.coming.arrivals.came(index, self.live(), self.what());
    }

    /// Notes that a unit was given to us before anybody else, so that others wait for it at us.
    pub fn own(&self, index: ChunkIndex) {
        self.coming.arrivals.own(index);
    }

    /// Notes that a unit of our own can be had from somebody else as well.
    pub fn disown(&self, index: ChunkIndex) {
        self.coming.arrivals.disown(index);
    }

    /// Whether the units of our own reach our readers about as fast as we receive them.
    pub fn keeps_up(&self, slack: u32) -> bool {
        self.coming.arrivals.keeps_up(slack, self.live(), self.what())
    }

    /// Says whether readers may wait for units that are not here: not when nobody is left who would
    /// bring them.
    pub fn expects_more(&self, more: bool) {
        self.coming.arrivals.expects_more(more);
    }

    /// Who asked what is here since this was called last.
    pub fn take_askers(&self) -> BTreeSet<String> {
        self.coming.arrivals.take_askers()
    }

    fn live(&self) -> Option<&LiveFile> {
        self.told.as_ref().map(|told| &told.live)
    }

    fn what(&self) -> String {
        format!("the folder {}", self.units().id().short())
    }
}

impl Drop for UnitsPart {
    fn drop(&mut self) {
        self.disk.live.leave_units(&self.coming);
        self.coming.arrivals.end();
        // Removed while they are locked: nobody else has made them anew meanwhile.
        if self.told.is_some()
            && let Err(error) = forget(&self.disk, &self.units().id())
        {
            log::debug!("cannot remove what others see of {}: {error}", self.what());
        }
    }
}

fn forget(disk: &Disk, id: &Root) -> io::Result<()> {
    disk.parts.remove(&live_entry(id))?;
    disk.parts.remove(&units_entry(id))
}

/// Tells other processes of units; nothing where somebody else does that.
fn tell(disk: &Disk, units: &Units, have: &ChunkSet) -> io::Result<Option<Told>> {
    let bytes = units.to_bytes();
    // Nobody would read more.
    if bytes.len() as u64 > config::MAX_UNITS {
        return Ok(None);
    }
    let Some(file) = disk.parts.claim(&units_entry(&units.id()))? else { return Ok(None) };
    let begun = calls::set_len(&file, 0)
        .and_then(|()| calls::write_at(&file, &bytes, 0))
        .and_then(|()| LiveFile::begin_units(&disk.parts, units, have));
    match begun {
        Ok(live) => Ok(Some(Told { live, _locked: file })),
        Err(error) => {
            // A sweep has it otherwise.
            let _ = forget(disk, &units.id());
            Err(error)
        }
    }
}

impl Store {
    /// Begins to receive the units of a folder, of which `have` are here already. Others find them
    /// from now on ([`Self::partial`]).
    pub fn receive_units(
        &self,
        units: Arc<Units>,
        have: ChunkSet,
    ) -> Result<UnitsPart, StoreError> {
        let disk = Arc::clone(&self.looked_at()?.disk);
        disk.check_open()?;
        let told = tell(&disk, &units, &have).unwrap_or_else(|error| {
            log::debug!("other processes will not serve a folder before it is here: {error}");
            None
        });
        let arrivals = Arrivals::new(*units.layout(), have);
        let coming = Arc::new(ComingUnits { units, arrivals });
        disk.live.enter_units(&coming);
        Ok(UnitsPart { disk, coming, told })
    }

    /// Fills `buffer` with the bytes of a unit, wherever they lie here.
    /// [`StoreError::NoSuchContent`] when one of its files is not here (any more),
    /// [`StoreError::NotYet`] when a chunk of a large one is not here yet.
    pub fn unit(
        &self,
        units: &Units,
        index: ChunkIndex,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        buffer.clear();
        match units.get(index) {
            None => Err(StoreError::NoSuchUnit { number: index.get() }),
            Some(Unit::Whole(files)) => self.bundle(files, buffer),
            Some(Unit::Chunk { file, chunk }) => self.chunk_of(&file, chunk, buffer),
        }
    }

    /// The bytes of small files, one behind the other.
    fn bundle(&self, files: &[UnitFile], buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        let roots: Vec<Root> = files.iter().map(|file| file.root).collect();
        let most = files.iter().map(|file| file.length).sum::<u64>();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let deadline = Instant::now() + config::SETTLING;
        loop {
            let lengths = self.gather(&roots, most, buffer)?;
            let is_missing = |(file, length): &(&UnitFile, Option<u32>)| {
                length.is_none_or(|length| u64::from(length) != file.length)
            };
            let Some((missing, _)) = files.iter().zip(lengths).find(is_missing) else {
                return Ok(());
            };
            buffer.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !unsettled::has_groups(&self.now().disk) {
                return Err(StoreError::NoSuchContent { root: missing.root });
            }
            // Another process may be giving it its name, and has not written that down yet.
            thread::park_timeout(config::LIVE_POLL.min(left));
        }
    }

    fn chunk_of(
        &self,
        file: &UnitFile,
        chunk: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let no_such = || StoreError::NoSuchContent { root: file.root };
        let layout = file.layout().map_err(|_| no_such())?;
        let index = layout.index(chunk).ok_or_else(no_such)?;
        buffer.resize(layout.chunk_len(index), 0);
        let whole = |buffer: &mut Vec<u8>| {
            self.open_content(&file.root)?.read_at(buffer, layout.range(index).start)
        };
        match whole(buffer) {
            Err(error) if !error.is_passing() => {
                match self.partial(&file.root, Instant::now()) {
                    Some(part) => part.read(index, &layout, buffer),
                    // It may have become complete between the two looks.
                    None => whole(buffer),
                }
            }
            read => read,
        }
    }
}
