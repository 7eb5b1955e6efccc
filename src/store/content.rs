//! One open file while it is served.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::StoreError;
use super::identity::Identity;
use crate::content::{ChunkIndex, ChunkLayout, FileName, Manifest};

/// An open file that is at least as long as it was when it was looked at; which every access
/// checks. One that only grows is served as it was, up to its length then; whoever reads it
/// compares digests. What it is need not be known.
#[derive(Debug)]
pub struct Opened {
    file: File,
    identity: Identity,
    name: FileName,
}

/// An open file that is what its manifest says.
#[derive(Debug)]
pub struct Content {
    opened: Opened,
    manifest: Arc<Manifest>,
}

/// Where the bytes of a chunk lie, for whoever can send from a file.
#[derive(Debug, Clone, Copy)]
pub struct Extent<'a> {
    /// The open file.
    pub file: &'a File,
    /// Where in it the chunk begins, in bytes.
    pub offset: u64,
    /// Length of the chunk in bytes.
    pub len: usize,
}

impl Opened {
    pub(super) fn new(file: File, identity: Identity, name: FileName) -> Self {
        Self { file, identity, name }
    }

    /// Where a chunk of a given size in bytes lies. [`StoreError::NoSuchChunk`] where the file has
    /// no such chunk, [`StoreError::Changed`] when it was written to.
    pub fn cut(&self, number: u32, chunk_size: u32) -> Result<Extent<'_>, StoreError> {
        let name = || self.name.clone();
        let layout = ChunkLayout::new(self.identity.length, chunk_size).ok();
        let range = layout.and_then(|layout| Some(layout.range(layout.index(number)?)));
        let range =
            range.ok_or_else(|| StoreError::NoSuchChunk { name: name(), number, chunk_size })?;
        self.check()?;
        Ok(Extent {
            file: &self.file,
            offset: range.start,
            len: (range.end - range.start) as usize,
        })
    }

    /// Bytes of it when it was looked at.
    pub fn length(&self) -> u64 {
        self.identity.length
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        match self.file.read_exact_at(buffer, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.changed()),
            result => result.map_err(StoreError::io(format!("cannot read {}", self.name))),
        }?;
        self.check()
    }

    fn check(&self) -> Result<(), StoreError> {
        let now = Identity::of(&self.file).map_err(StoreError::reaching(&self.name))?;
        if self.identity.may_begin(&now) { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> StoreError {
        StoreError::Changed { name: self.name.clone() }
    }
}

impl Content {
    /// `file` was `identity` when it was found to be what `manifest` says.
    pub(super) fn new(file: File, identity: Identity, manifest: Arc<Manifest>) -> Self {
        Self { opened: Opened::new(file, identity, manifest.name().clone()), manifest }
    }

    /// What the file is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    pub(super) fn file(&self) -> &File {
        &self.opened.file
    }

    /// [`StoreError::Changed`] when the file was written to since it was hashed, if only at its
    /// end.
    pub fn check_unchanged(&self) -> Result<(), StoreError> {
        let Opened { file, identity, name } = &self.opened;
        let now = Identity::of(file).map_err(StoreError::reaching(name))?;
        if identity.same_content(&now) { Ok(()) } else { Err(self.opened.changed()) }
    }

    /// Where a chunk lies. [`StoreError::Changed`] when the file cannot have that chunk any more.
    pub fn chunk(&self, index: ChunkIndex) -> Result<Extent<'_>, StoreError> {
        self.cut(index.get(), self.manifest.layout().chunk_size())
    }

    /// The same for a chunk of a given size in bytes, which need not be the manifest's; as
    /// [`Opened::cut`].
    pub fn cut(&self, number: u32, chunk_size: u32) -> Result<Extent<'_>, StoreError> {
        self.opened.cut(number, chunk_size)
    }

    /// Fills `buffer` from `offset` on, in bytes. Fails as [`Self::chunk`] does, and when the file
    /// ends before.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.opened.read(buffer, offset)
    }
}
