//! Chunks that need not be fetched, because an older version of the file has them: the file that is
//! to be replaced, or what an abandoned reception of another version left.
//!
//! Whatever is taken is proven against the new manifest first, so it does not matter whether the
//! older version is what it was thought to be, or changes meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use super::disk::Disk;
use super::identity::Identity;
use super::part::{PartFile, part_entry};
use super::reception::written_chunks;
use super::{StoreError, leftovers};
use crate::config;
use crate::content::ChunkIndex;
use crate::locks::{self, lock};
use crate::threads;

/// What came of filling a part file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filled {
    /// Perhaps some chunks, perhaps none.
    Some,
    /// All of them, from the file to be replaced: it is the same.
    Same,
}

/// Fills the part file with all chunks that other versions have in the same place.
pub(super) fn fill(disk: &Disk, part: &PartFile, replace: bool) -> Result<Filled, StoreError> {
    if replace && let Ok((file, _)) = disk.folder.open_file(part.manifest().name()) {
        let (nothing_before, chunks) = (part.have().is_empty(), unchanged(disk, &file, part));
        take(&file, part, chunks)?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if nothing_before && part.have().is_full() && length == part.manifest().length() {
            return Ok(Filled::Same);
        }
    }
    if part.have().is_full() {
        return Ok(Filled::Some);
    }
    for file in abandoned(disk, part).unwrap_or_default() {
        let chunks = written_chunks(&file, part.manifest().layout()).unwrap_or_default();
        take(&file, part, chunks)?;
    }
    Ok(Filled::Some)
}

/// Chunks of the file to be replaced that may be the same: by their digests where these are known
/// for that chunk size, else all.
fn unchanged(disk: &Disk, file: &File, part: &PartFile) -> Vec<ChunkIndex> {
    let manifest = part.manifest();
    let known =
        Identity::of(file).ok().and_then(|identity| disk.catalog.find(manifest.name(), &identity));
    let comparable =
        known.filter(|old| old.layout().chunk_size() == manifest.layout().chunk_size());
    let same = |index: &ChunkIndex| match &comparable {
        Some(old) => {
            old.digests().get(index.as_usize()) == manifest.digests().get(index.as_usize())
        }
        None => true,
    };
    manifest.layout().indices().filter(same).collect()
}

/// Part files of other contents that were to have the same name.
fn abandoned(disk: &Disk, part: &PartFile) -> io::Result<Vec<File>> {
    let manifest = part.manifest();
    let mut found = Vec::new();
    for root in leftovers::begun_for(disk, manifest.name(), &manifest.root())? {
        found.extend(disk.parts.file(&part_entry(&root))?);
    }
    Ok(found)
}

/// Copies those of the chunks that verify, with all cores.
fn take(file: &File, part: &PartFile, mut chunks: Vec<ChunkIndex>) -> Result<(), StoreError> {
    let (layout, have) = (*part.manifest().layout(), part.have());
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    chunks.retain(|index| !have.contains(*index) && layout.range(*index).end <= length);
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        let mut buffer = Vec::new();
        while let Some(index) = chunks.get(next.fetch_add(1, Relaxed)) {
            if let Err(error) = copy(file, part, *index, &mut buffer) {
                lock(&failure).get_or_insert(error);
                return;
            }
        }
    };
    let threads = config::cores().min(config::MAX_VERIFIERS).min(chunks.len());
    thread::scope(|scope| {
        for number in 1..threads {
            if let Err(error) = threads::start_in(scope, format!("take-{number}"), work) {
                log::debug!("taking chunks with fewer threads: {error}");
            }
        }
        work();
    });
    let failure = locks::into_inner(failure);
    failure.map_or(Ok(()), Err)
}

fn copy(
    file: &File,
    part: &PartFile,
    index: ChunkIndex,
    buffer: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let layout = part.manifest().layout();
    buffer.resize(layout.chunk_len(index), 0);
    // What cannot be read or is not the same is fetched.
    if file.read_exact_at(buffer, layout.range(index).start).is_ok()
        && let Ok(chunk) = part.manifest().verify(index, buffer)
    {
        part.write(&chunk)?;
    }
    Ok(())
}
