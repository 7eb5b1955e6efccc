//! The beginning of every reception: what is there already, who else receives it, and which chunks
//! of an earlier attempt are good.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::StoreError;
use super::disk::Disk;
use super::donor::{self, Filled};
use super::hashing::Hashing;
use super::leftovers::{NAME_LOCK, has_its_name};
use super::part::{Claim, NameLock, PartFile, journal_entry, part_entry};
use super::placing::unwritable;
use super::{calls, journal, placing, sparse, way};
use crate::config;
use crate::content::{
    Attributes, ChunkIndex, ChunkLayout, ChunkSet, Digest, FileName, Manifest, Root,
};

/// How a reception can begin.
#[derive(Debug)]
pub enum Reception {
    /// The same content is here under that name.
    AlreadyHere,
    /// Other content has that name, and it was not to be replaced.
    InTheWay {
        /// What it is, when it is known.
        root: Option<Root>,
        /// Its length in bytes.
        length: u64,
    },
    /// That name, or that content under another name, is being received right now, by this process
    /// or by another.
    Busy,
    /// Chunks may come; those of an earlier attempt are there.
    Part(PartFile),
}

impl Reception {
    /// What the file is to have beside its content when it is complete.
    #[must_use]
    pub fn with(self, attributes: Attributes) -> Self {
        match self {
            Self::Part(part) => Self::Part(part.with(attributes)),
            other => other,
        }
    }
}

/// Takes over what an earlier attempt left of the content, or begins anew.
pub(super) fn receive(
    disk: &Arc<Disk>,
    hashing: &Hashing,
    manifest: Arc<Manifest>,
    replace: bool,
) -> Result<Reception, StoreError> {
    disk.check_open()?;
    match look(disk, hashing, &manifest, replace)? {
        Some(root) if root == Some(manifest.root()) => return Ok(Reception::AlreadyHere),
        Some(root) if !replace => {
            let length = disk.folder.identity(manifest.name())?.length;
            return Ok(Reception::InTheWay { root, length });
        }
        _ => {}
    }
    disk.check_size(manifest.name(), manifest.length())?;
    placing::check_holdable(disk, manifest.name())?;
    let what = || format!("cannot prepare to receive {}", manifest.name());
    let Some(claim) = claim(disk, &manifest).map_err(StoreError::io(what()))? else {
        return Ok(Reception::Busy);
    };
    make_room(disk, &claim.file, &manifest)?;
    let mut have = chunks_here(disk, hashing, &claim.file, &manifest)?;
    sparse::add_zeros(&mut have, &claim.file, &manifest).map_err(StoreError::io(what()))?;
    let part = PartFile::new(claim, manifest, have, replace);
    if !part.have().is_full() && donor::fill(disk, &part, replace)? == Filled::Same {
        part.discard()?;
        return Ok(Reception::AlreadyHere);
    }
    Ok(Reception::Part(part))
}

/// Whether a file has the name, and which content it has, when that is known.
///
/// A file of the same length is hashed if need be, for then it may be the same; that is sooner done
/// than receiving it. A large one that may be replaced is not: its chunks are looked at one by one
/// soon.
fn look(
    disk: &Disk,
    hashing: &Hashing,
    manifest: &Manifest,
    replace: bool,
) -> Result<Option<Option<Root>>, StoreError> {
    let name = manifest.name();
    let Some(identity) = way::look(disk, name, replace)? else { return Ok(None) };
    match disk.catalog.root(name, &identity) {
        None if identity.length == manifest.length()
            && !(replace && manifest.layout().count() > 1) =>
        {
            Ok(Some(Some(hashing.manifest(name, identity, &mut |_, _| true)?.root())))
        }
        root => Ok(Some(root)),
    }
}

/// Bytes of that content that take room already, from an earlier attempt.
pub(super) fn held(disk: &Disk, root: &Root) -> u64 {
    let part = disk.parts.file(&part_entry(root)).ok().flatten();
    let blocks = part.and_then(|part| part.metadata().ok()).map_or(0, |metadata| metadata.blocks());
    blocks.saturating_mul(512)
}

/// Locks the name and the content; `None` when somebody else has either.
fn claim(disk: &Arc<Disk>, manifest: &Manifest) -> io::Result<Option<Claim>> {
    let Some(name) = lock_name(disk, manifest.name())? else { return Ok(None) };
    let file = claim_part(disk, &manifest.root())?;
    Ok(file.map(|file| Claim { file, name }))
}

/// Locks a name; `None` when somebody else has it.
pub(super) fn lock_name(disk: &Arc<Disk>, name: &FileName) -> io::Result<Option<NameLock>> {
    let entry = format!("{}{NAME_LOCK}", Digest::of(name.as_str().as_bytes()));
    let locked = disk.parts.claim(&entry)?;
    Ok(locked.map(|locked| NameLock { disk: Arc::clone(disk), entry, _locked: locked }))
}

/// Opens and locks the part file of that content; `None` when somebody else has it.
fn claim_part(disk: &Disk, root: &Root) -> io::Result<Option<File>> {
    let entry = part_entry(root);
    match disk.parts.claim(&entry)? {
        // Somebody was killed between giving it its name and taking this one away.
        Some(file) if has_its_name(&file) => {
            disk.parts.remove(&entry)?;
            disk.parts.claim(&entry)
        }
        claimed => Ok(claimed),
    }
}

/// Makes the part file as long as it will be, without writing anything, if it will fit.
fn make_room(disk: &Disk, file: &File, manifest: &Manifest) -> Result<(), StoreError> {
    let (name, length) = (manifest.name(), manifest.length());
    let what = || format!("cannot prepare to receive {name}");
    let metadata = file.metadata().map_err(StoreError::io(what()))?;
    let zeros: u64 =
        manifest.zeros().iter().map(|index| manifest.layout().chunk_len(index) as u64).sum();
    let length_on_disk = length.saturating_sub(zeros);
    let needed = length_on_disk.saturating_sub(metadata.blocks().saturating_mul(512));
    let free = disk.free_space().map_err(StoreError::io(what()))?;
    let elsewhere = disk.free_space_elsewhere(name).map_err(StoreError::io(what()))?;
    if let Some(free) = elsewhere.filter(|free| length_on_disk > *free) {
        return Err(StoreError::NoSpace { name: name.clone(), needed: length_on_disk, free });
    }
    if needed > free {
        if metadata.blocks() == 0 {
            disk.parts.remove(&part_entry(&manifest.root())).map_err(StoreError::io(what()))?;
        }
        return Err(StoreError::NoSpace { name: name.clone(), needed, free });
    }
    if metadata.len() == length {
        return Ok(());
    }
    // A journal that is there already is about a file that is no more.
    disk.parts.remove(&journal_entry(&manifest.root())).map_err(StoreError::io(what()))?;
    calls::set_len(file, length).map_err(|error| unwritable(disk, name, needed, error))
}

/// The chunks of an earlier attempt: those the journal vouches for, and of the others those that
/// still verify. What is still a hole was never written, whatever a journal says.
fn chunks_here(
    disk: &Disk,
    hashing: &Hashing,
    file: &File,
    manifest: &Manifest,
) -> Result<ChunkSet, StoreError> {
    let what = format!("cannot read what was received of {}", manifest.name());
    let journaled = read_journal(disk, file, manifest).map_err(StoreError::io(what.clone()))?;
    let written = written_chunks(file, manifest.layout()).map_err(StoreError::io(what))?;
    let vouched = |index: &ChunkIndex| journaled.as_ref().is_some_and(|set| set.contains(*index));
    let (good, doubtful): (Vec<_>, Vec<_>) = written.into_iter().partition(vouched);
    let mut have = hashing.verify(file, manifest, doubtful)?;
    for index in good {
        have.insert(index);
    }
    Ok(have)
}

pub(super) fn read_journal(
    disk: &Disk,
    part: &File,
    manifest: &Manifest,
) -> io::Result<Option<ChunkSet>> {
    let Some(file) = disk.parts.file(&journal_entry(&manifest.root()))? else { return Ok(None) };
    let mut bytes = Vec::new();
    // Whatever is longer, it need not be read to its end.
    file.take(config::MAX_JOURNAL).read_to_end(&mut bytes)?;
    Ok(journal::decode(manifest, part.metadata()?.ino(), &bytes))
}

/// Chunks that are not wholly in a hole of the file.
pub(super) fn written_chunks(file: &File, layout: &ChunkLayout) -> io::Result<Vec<ChunkIndex>> {
    let mut chunks = Vec::new();
    let mut data_end = 0;
    for index in layout.indices() {
        let range = layout.range(index);
        if range.start >= data_end {
            match seek(file, SeekFrom::Data(range.start)) {
                Ok(data) if data >= range.end => continue,
                Ok(data) => data_end = seek(file, SeekFrom::Hole(data))?,
                Err(Errno::NXIO) => break,
                // A file system that does not tell holes from data.
                Err(_) => data_end = layout.length(),
            }
        }
        chunks.push(index);
    }
    Ok(chunks)
}
