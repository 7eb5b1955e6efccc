//! A file while it is fetched from a peer that still hashes it: `.peershare/parts/<digest of the
//! name>.early`, as long as the whole file from the start but with holes where nothing came yet.
//!
//! Nothing proves its chunks when they come, so their digests are kept. Once the manifest is there,
//! the file becomes the part file of what it turned out to be, and of its chunks those count whose
//! digests are the manifest's; the others are fetched again. What an attempt left that ended before
//! is taken over in the same way, after hashing it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use super::disk::Disk;
use super::hashing::Hashing;
use super::part::{journal_entry, part_entry};
use super::placing::unwritable;
use super::reception::written_chunks;
use super::{StoreError, calls, sparse, way};
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Digest, FileName, Manifest, merkle};
use crate::locks::lock;

/// What such a file is called behind the digest of its name.
pub(super) const EARLY: &str = ".early";

/// A file whose chunks come before anybody can say what they are. Nobody else can begin the same
/// name in this way while it lives. Dropping it keeps what came.
#[derive(Debug)]
pub struct EarlyPart {
    disk: Arc<Disk>,
    name: FileName,
    file: File,
    layout: ChunkLayout,
    /// What an earlier attempt left.
    left: ChunkSet,
    /// The chunks that came since, as soon as they begin to be written.
    came: Mutex<ChunkSet>,
    /// Their digests, once they are.
    digests: Mutex<Vec<Option<Digest>>>,
}

/// What it is called in `.peershare/parts`.
fn entry(name: &FileName) -> String {
    format!("{}{EARLY}", Digest::of(name.as_str().as_bytes()))
}

/// Begins such a file, or goes on with it. `None` when that is not worth it or not possible:
/// something has the name, it would not fit, or somebody else is at it.
pub(super) fn begin(
    disk: &Arc<Disk>,
    name: FileName,
    length: u64,
) -> Result<Option<EarlyPart>, StoreError> {
    disk.check_open()?;
    if way::look(disk, &name, false)?.is_some() {
        return Ok(None);
    }
    let layout = ChunkLayout::usual(length).map_err(StoreError::layout(&name))?;
    let what = StoreError::io(format!("cannot prepare to receive {name}"));
    let claim = || -> io::Result<Option<File>> {
        let Some(file) = disk.parts.claim(&entry(&name))? else { return Ok(None) };
        let metadata = file.metadata()?;
        if metadata.len() != length {
            calls::set_len(&file, 0)?;
            calls::set_len(&file, length)?;
        }
        let held = metadata.blocks().saturating_mul(512);
        if disk.free_space()? < length.saturating_sub(held) {
            disk.parts.remove(&entry(&name))?;
            return Ok(None);
        }
        Ok(Some(file))
    };
    Ok(claim().map_err(what)?.map(|file| EarlyPart::of(disk, name, file, layout)))
}

/// What an attempt left that ended before it knew what it received.
pub(super) fn left(disk: &Arc<Disk>, manifest: &Manifest) -> io::Result<Option<EarlyPart>> {
    let name = manifest.name();
    if !disk.parts.has(&entry(name))? {
        return Ok(None);
    }
    let file = disk.parts.claim(&entry(name))?;
    Ok(file.map(|file| EarlyPart::of(disk, name.clone(), file, *manifest.layout())))
}

impl EarlyPart {
    fn of(disk: &Arc<Disk>, name: FileName, file: File, layout: ChunkLayout) -> Self {
        let mut left = ChunkSet::none(&layout);
        for index in written_chunks(&file, &layout).unwrap_or_default() {
            left.insert(index);
        }
        let came = Mutex::new(ChunkSet::none(&layout));
        let digests = Mutex::new(vec![None; layout.count() as usize]);
        Self { disk: Arc::clone(disk), name, file, layout, left, came, digests }
    }

    /// How the file is cut, as long as nobody says otherwise.
    pub fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// The chunks that an earlier attempt left. Nothing proves them yet.
    pub fn left(&self) -> &ChunkSet {
        &self.left
    }

    /// Writes a chunk to its place and remembers its digest. Many threads may do so at once. A
    /// second copy is not written: it may have other bytes, and the digest must be that of the
    /// bytes that are there.
    pub fn write(&self, index: ChunkIndex, bytes: &[u8]) -> Result<(), StoreError> {
        if !lock(&self.came).insert(index) {
            return Ok(());
        }
        let digest = merkle::chunk_digest(&self.layout, bytes);
        let written = sparse::write_all_at(&self.file, bytes, self.layout.range(index).start);
        let needed = bytes.len() as u64;
        written.map_err(|error| unwritable(&self.disk, &self.name, needed, error))?;
        if let Some(known) = lock(&self.digests).get_mut(index.as_usize()) {
            *known = Some(digest);
        }
        Ok(())
    }

    /// Makes it the part file of what it turned out to be; gives that file, locked.
    pub(super) fn adopt(&self, manifest: &Manifest) -> Result<File, StoreError> {
        let (parts, root) = (&self.disk.parts, manifest.root());
        let adopted = parts
            .remove(&journal_entry(&root))
            .and_then(|()| parts.rename(&entry(&self.name), &part_entry(&root)))
            .and_then(|()| calls::again(&self.file));
        adopted
            .map_err(StoreError::io(format!("cannot take over what was received of {}", self.name)))
    }

    /// The chunks that are good, now that it is known what it is. Those whose digests are not
    /// known, as what an earlier attempt left, or the whole of a file that is cut otherwise, are
    /// hashed.
    pub(super) fn good(
        &self,
        hashing: &Hashing,
        manifest: &Manifest,
    ) -> Result<ChunkSet, StoreError> {
        if self.layout != *manifest.layout() {
            let what = format!("cannot read what was received of {}", self.name);
            let written =
                written_chunks(&self.file, manifest.layout()).map_err(StoreError::io(what))?;
            return hashing.verify(&self.file, manifest, written);
        }
        let digests = lock(&self.digests).clone();
        let known = |index: &ChunkIndex| digests.get(index.as_usize()).copied().flatten();
        let doubtful = self.left.iter().filter(|index| known(index).is_none()).collect();
        let mut good = hashing.verify(&self.file, manifest, doubtful)?;
        for index in self.layout.indices() {
            if known(&index)
                .is_some_and(|digest| manifest.digests().get(index.as_usize()) == Some(&digest))
            {
                good.insert(index);
            }
        }
        Ok(good)
    }

    /// Deletes what came.
    pub(super) fn discard(self) -> Result<(), StoreError> {
        let what = format!("cannot delete what was received of {}", self.name);
        self.disk.parts.remove(&entry(&self.name)).map_err(StoreError::io(what))
    }
}
