//! A file while it is received: `.peershare/parts/<root>`, as long as the whole file from the start
//! but with holes where nothing came yet.
//!
//! Chunks are written where they belong, by any number of threads at once. Now and then one of them
//! syncs the file and writes the journal, while the others go on. When all chunks are there, the
//! file is synced and renamed to its name, so that nobody ever sees half of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use super::arrivals::Arrivals;
use super::disk::Disk;
use super::identity::Identity;
use super::placing::{Placed, Placing, unplaceable, unwritable};
use super::watched::LiveFile;
use super::{StoreError, attributes, calls, leftovers, sparse};
use crate::content::{Attributes, ChunkIndex, ChunkSet, Manifest, Root, VerifiedChunk};

/// A file that is being received. Nobody else can receive the same content or the same name into
/// this folder while it lives.
///
/// Dropping it keeps what was received; the same content is continued from there later.
#[derive(Debug)]
pub struct PartFile {
    pub(super) disk: Arc<Disk>,
    pub(super) part: Arc<Part>,
    _name: NameLock,
    replace: bool,
    attributes: Attributes,
    /// For other processes; only there when it could be made and there is a part to speak of.
    pub(super) live: Option<LiveFile>,
    /// Renamed or deleted: there is nothing left to keep.
    pub(super) settled: bool,
}

/// The file and what is known to be in it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    pub(super) manifest: Arc<Manifest>,
    pub(super) arrivals: Arrivals,
    /// Bytes written since the journal was.
    pub(super) unsynced: AtomicU64,
    /// When the journal was written; locked by the one thread that writes it.
    pub(super) synced: Mutex<Instant>,
    /// Whether the disk has said that it could not keep what was written.
    pub(super) doubtful: AtomicBool,
}

/// The right to receive some content under some name.
#[derive(Debug)]
pub(super) struct Claim {
    /// The part file, locked.
    pub(super) file: File,
    /// The name, locked.
    pub(super) name: NameLock,
}

/// The lock of a name, `.peershare/parts/<digest of the name>.name`; the file goes with it.
#[derive(Debug)]
pub(super) struct NameLock {
    pub(super) disk: Arc<Disk>,
    pub(super) entry: String,
    pub(super) _locked: File,
}

impl Drop for NameLock {
    fn drop(&mut self) {
        if let Err(error) = self.disk.parts.remove(&self.entry) {
            log::warn!("cannot remove the lock {}: {error}", self.entry);
        }
    }
}

/// What the part file of that content is called.
pub(super) fn part_entry(root: &Root) -> String {
    root.to_string()
}

/// What a journal is called behind the name of its part file.
pub(super) const JOURNAL: &str = ".journal";

/// What the journal of that content is called.
pub(super) fn journal_entry(root: &Root) -> String {
    format!("{root}{JOURNAL}")
}

impl PartFile {
    /// The claimed file has the right length, and `have` is known to be in it.
    pub(super) fn new(
        claim: Claim,
        manifest: Arc<Manifest>,
        have: ChunkSet,
        replace: bool,
    ) -> Self {
        let Claim { file, name } = claim;
        let (unsynced, synced) = (AtomicU64::new(0), Mutex::new(Instant::now()));
        let live = begin_live(&name.disk, &file, &manifest, &have);
        let doubtful = AtomicBool::new(false);
        let arrivals = Arrivals::new(*manifest.layout(), have);
        let part = Arc::new(Part { file, manifest, arrivals, unsynced, synced, doubtful });
        name.disk.live.enter(&part);
        Self {
            disk: Arc::clone(&name.disk),
            part,
            _name: name,
            replace,
            attributes: Attributes::default(),
            live,
            settled: false,
        }
    }

    /// What is being received.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.part.manifest
    }

    /// What the file is to have beside its content when it is complete.
    #[must_use]
    pub fn with(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// The chunks that are here already.
    pub fn have(&self) -> ChunkSet {
        self.part.arrivals.have()
    }

    /// Whether that chunk is here.
    pub fn has(&self, index: ChunkIndex) -> bool {
        self.part.arrivals.has(index)
    }

    /// Bytes of the chunks that are here already.
    pub fn received(&self) -> u64 {
        let layout = self.part.manifest.layout();
        let length = |index| layout.chunk_len(index) as u64;
        self.part.arrivals.look(|have| have.iter().map(length).sum())
    }

    /// Bytes of the chunks that are zeros, and were there without being fetched.
    pub fn zeros(&self) -> u64 {
        let layout = self.part.manifest.layout();
        self.part.manifest.zeros().iter().map(|index| layout.chunk_len(index) as u64).sum()
    }

    /// Writes a chunk to its place. Many threads may do so at once; now and then one of them stays
    /// longer to sync the disk. A chunk that is here already is not written again. Says whether it
    /// was new.
    pub fn write(&self, chunk: &VerifiedChunk<'_>) -> Result<bool, StoreError> {
        self.part.check_layout(chunk)?;
        if self.part.arrivals.has(chunk.index()) {
            return Ok(false);
        }
        let written = sparse::write_all_at(&self.part.file, chunk.bytes(), chunk.offset());
        written.map_err(|error| self.unwritable(error))?;
        let fresh =
            self.part.arrivals.came(chunk.index(), self.live.as_ref(), self.manifest().name());
        self.part.unsynced.fetch_add(chunk.bytes().len() as u64, Relaxed);
        self.sync_if_due()?;
        Ok(fresh)
    }

    /// Notes that a chunk was given to us before anybody else, so that others wait for it at us.
    pub fn own(&self, index: ChunkIndex) {
        self.part.arrivals.own(index);
    }

    /// Notes that a chunk of our own can be had from somebody else as well.
    pub fn disown(&self, index: ChunkIndex) {
        self.part.arrivals.disown(index);
    }

    /// Whether the chunks of our own reach our readers about as fast as we receive them.
    pub fn keeps_up(&self, slack: u32) -> bool {
        self.part.arrivals.keeps_up(slack, self.live.as_ref(), self.manifest().name())
    }

    /// Says whether readers may wait for chunks that are not here: not when nobody is left who
    /// would bring them.
    pub fn expects_more(&self, more: bool) {
        self.part.arrivals.expects_more(more);
    }

    /// Who asked what is here since this was called last.
    pub fn take_askers(&self) -> BTreeSet<String> {
        self.part.arrivals.take_askers()
    }

    /// Makes the received file visible under its name, synced to disk and entered in the catalog,
    /// and gives its manifest back.
    ///
    /// [`StoreError::Incomplete`] while chunks are missing, [`StoreError::InTheWay`] when something
    /// else took the name meanwhile; what was received is kept in both cases.
    pub fn complete(mut self) -> Result<Arc<Manifest>, StoreError> {
        let manifest = Arc::clone(self.manifest());
        let name = manifest.name();
        let missing = manifest.layout().count() - self.part.arrivals.look(ChunkSet::len);
        if missing > 0 {
            return Err(StoreError::Incomplete { name: name.clone(), missing });
        }
        attributes::apply(&self.part.file, &self.attributes, None);
        let synced = self.part.noting_doubt(calls::sync(&self.part.file));
        synced.map_err(|error| self.unwritable(error))?;
        let before = self.identity()?;
        if before.length != manifest.length() {
            return Err(StoreError::Changed { name: name.clone() });
        }
        self.disk.check_in_force()?;
        let folder = self.disk.folder.make_parent(name).map_err(|error| self.unplaceable(error))?;
        let placed = match self.place(&folder).map_err(|error| self.unplaceable(error)) {
            Err(StoreError::InTheWay { .. }) if self.is_there() => {
                self.discard()?;
                return Ok(manifest);
            }
            placed => placed?,
        };
        self.settled = true;
        // Before anything that takes time: who is served from the part file finds it whole from now
        // on.
        if before.same_content(&self.identity()?) {
            let after = match placed {
                Placed::Renamed => self.identity()?,
                Placed::Copied(copy) => {
                    Identity::of(&copy).map_err(|error| self.unplaceable(error))?
                }
            };
            self.disk.catalog.remember(&manifest, after, SystemTime::now());
        }
        // First what is gained, and then what is given up for it.
        let synced = calls::sync(&folder).and_then(|()| self.forget_journal());
        synced.map_err(|error| self.unplaceable(error))?;
        if let Err(error) = leftovers::drop_older(&self.disk, &manifest) {
            log::warn!("cannot look for older versions of {name} that were begun: {error}");
        }
        Ok(manifest)
    }

    /// Whether somebody else has given the name to the same content meanwhile.
    fn is_there(&self) -> bool {
        let manifest = self.manifest();
        let Ok((file, _)) = self.disk.folder.open_file(manifest.name()) else { return false };
        let layout = manifest.layout();
        let mut buffer = Vec::new();
        let mut is_same = |index| {
            buffer.resize(layout.chunk_len(index), 0);
            file.read_exact_at(&mut buffer, layout.range(index).start).is_ok()
                && manifest.verify(index, &buffer).is_ok()
        };
        file.metadata().is_ok_and(|metadata| metadata.len() == layout.length())
            && layout.indices().all(&mut is_same)
    }

    /// Deletes what was received.
    pub fn discard(mut self) -> Result<(), StoreError> {
        self.settled = true;
        let root = self.manifest().root();
        let removed =
            self.disk.parts.remove(&part_entry(&root)).and_then(|()| self.forget_journal());
        removed.map_err(StoreError::io(format!(
            "cannot delete what was received of {}",
            self.manifest().name()
        )))
    }

    /// Renames the part file to its name in `folder`.
    fn place(&self, folder: &File) -> io::Result<Placed> {
        let (disk, entry) = (&*self.disk, part_entry(&self.manifest().root()));
        let to = (folder, self.manifest().name().last_part());
        Placing { disk, from: (disk.parts.dir(), &entry), to, replace: self.replace }.place()
    }

    pub(super) fn identity(&self) -> Result<Identity, StoreError> {
        Identity::of(&self.part.file).map_err(|error| self.unplaceable(error))
    }

    pub(super) fn unwritable(&self, error: io::Error) -> StoreError {
        unwritable(&self.disk, self.manifest().name(), self.needed(), error)
    }

    fn unplaceable(&self, error: io::Error) -> StoreError {
        unplaceable(&self.disk, self.manifest().name(), self.needed(), error)
    }

    /// Bytes that are still to be written.
    pub(super) fn needed(&self) -> u64 {
        self.manifest().length() - self.received()
    }
}

impl Part {
    /// A manifest vouches for its own chunks only; this notices the plainest mix-up of two.
    fn check_layout(&self, chunk: &VerifiedChunk<'_>) -> Result<(), StoreError> {
        let layout = self.manifest.layout();
        let range = layout.index(chunk.index().get()).map(|index| layout.range(index));
        let fits = range == Some(chunk.offset()..chunk.offset() + chunk.bytes().len() as u64);
        if fits {
            Ok(())
        } else {
            Err(StoreError::OtherFile { name: self.manifest.name().clone() })
        }
    }
}

/// What other processes see of a part file; a file of one chunk is there or not.
fn begin_live(disk: &Disk, file: &File, manifest: &Manifest, have: &ChunkSet) -> Option<LiveFile> {
    if manifest.layout().count() < 2 {
        return None;
    }
    let begun = LiveFile::begin(&disk.parts, file, manifest, have);
    begun
        .inspect_err(|error| {
            log::debug!(
                "other processes will not serve {} before it is here: {error}",
                manifest.name()
            );
        })
        .ok()
}
