//! One open file while it is served.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::StoreError;
use super::identity::Identity;
use crate::content::{ChunkIndex, ChunkLayout, Manifest};

/// An open file that is what its manifest says, as long as nobody writes to it; which every access
/// checks.
#[derive(Debug)]
pub struct Content {
    file: File,
    identity: Identity,
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

impl Content {
    /// `file` was `identity` when it was found to be what `manifest` says.
    pub(super) fn new(file: File, identity: Identity, manifest: Arc<Manifest>) -> Self {
        Self { file, identity, manifest }
    }

    /// What the file is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Where a chunk lies. [`StoreError::Changed`] when the file was written to since it was hashed.
    pub fn chunk(&self, index: ChunkIndex) -> Result<Extent<'_>, StoreError> {
        self.check()?;
        let layout = self.manifest.layout();
        Ok(Extent { file: &self.file, offset: layout.range(index).start, len: layout.chunk_len(index) })
    }

    /// The same for a chunk of a given size in bytes, which need not be the manifest's.
    /// [`StoreError::NoSuchChunk`] where the file has no such chunk.
    pub fn cut(&self, number: u32, chunk_size: u32) -> Result<Extent<'_>, StoreError> {
        let name = || self.manifest.name().clone();
        let layout = ChunkLayout::new(self.manifest.length(), chunk_size).ok();
        let range = layout.and_then(|layout| Some(layout.range(layout.index(number)?)));
        let range = range.ok_or_else(|| StoreError::NoSuchChunk { name: name(), number, chunk_size })?;
        self.check()?;
        Ok(Extent { file: &self.file, offset: range.start, len: (range.end - range.start) as usize })
    }

    /// Reads a chunk to the front of `buffer` and says how long it is. Fails as [`Self::chunk`] does,
    /// and when the buffer is shorter than the chunk.
    pub fn read_chunk(&self, index: ChunkIndex, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.read(self.chunk(index)?, buffer)
    }

    /// The same for a chunk of a given size in bytes, as [`Self::cut`].
    pub(super) fn read_cut(
        &self,
        number: u32,
        chunk_size: u32,
        buffer: &mut [u8],
    ) -> Result<usize, StoreError> {
        self.read(self.cut(number, chunk_size)?, buffer)
    }

    fn read(&self, extent: Extent<'_>, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let Extent { offset, len, .. } = extent;
        let what = || format!("cannot read {}", self.manifest.name());
        let Some(chunk) = buffer.get_mut(..len) else {
            return Err(StoreError::io(what())(std::io::ErrorKind::InvalidInput.into()));
        };
        match self.file.read_exact_at(chunk, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.changed()),
            result => result.map_err(StoreError::io(what())),
        }?;
        self.check()?;
        Ok(len)
    }

    fn check(&self) -> Result<(), StoreError> {
        let now = Identity::of(&self.file).map_err(StoreError::reaching(self.manifest.name()))?;
        if self.identity.same_content(&now) { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> StoreError {
        StoreError::Changed { name: self.manifest.name().clone() }
    }
}
