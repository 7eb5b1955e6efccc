//! A folder cut into *units*, as a file is into chunks, so that several peers can fetch it together.
//!
//! A unit is a chunk of a large file, one smaller file as a whole, or a *bundle*: several small
//! files, one behind the other. They follow from what the folder contains, in the order of its
//! names, and from a size; so whoever lists the same files has the same units under the same
//! numbers. What is larger comes first: a transfer ends with what is quickly passed on.
//!
//! The digest of all that is the *id* of the units. It stands where for a file its root stands.

use std::collections::HashSet;

use super::digest::{Digest, Root};
use super::layout::{BadLayout, ChunkIndex, ChunkLayout};
use crate::config;

/// The units of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Units {
    id: Root,
    /// Numbers the units; a unit may be shorter or longer than its chunks.
    layout: ChunkLayout,
    /// Files, in the order of the units.
    files: Vec<UnitFile>,
    /// Which of them, and which part of them, each unit is.
    parts: Vec<Part>,
}

/// A content of a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitFile {
    /// What it is.
    pub root: Root,
    /// Its length in bytes; never 0.
    pub length: u64,
}

/// What one unit consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit<'a> {
    /// Whole files, one behind the other.
    Whole(&'a [UnitFile]),
    /// One chunk of a large file, cut as files of its length usually are.
    Chunk {
        /// The file.
        file: UnitFile,
        /// The number of the chunk in it, from 0.
        chunk: u32,
    },
}

impl UnitFile {
    /// How it is cut where it is a large one: as files of its length usually are, so that a
    /// manifest and a part file of it need not be cut anew.
    pub fn layout(&self) -> Result<ChunkLayout, BadLayout> {
        ChunkLayout::usual(self.length)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// So many files from that place on.
    Whole {
        first: u32,
        count: u32,
    },
    Chunk {
        file: u32,
        chunk: u32,
    },
}

/// Most files that one bundle has.
const BUNDLED: usize = config::GATHER_FILES;

impl Units {
    /// Cuts these files, of which every content counts once, into units of about `size` bytes,
    /// which is a size that chunks may have. Empty files need no unit. An error when that makes too
    /// many of them, or the size is none.
    pub fn cut(files: impl IntoIterator<Item = (Root, u64)>, size: u32) -> Result<Self, BadLayout> {
        let mut seen = HashSet::new();
        let (mut large, mut single, mut small) = (Vec::new(), Vec::new(), Vec::new());
        for (root, length) in files {
            if length == 0 || !seen.insert(root) {
                continue;
            }
            let file = UnitFile { root, length };
            match length {
                length if length > config::SMALL_FILE => large.push(file),
                length if length > u64::from(size) => single.push(file),
                _ => small.push(file),
            }
        }
        let mut parts = Vec::new();
        for (place, file) in (0..).zip(&large) {
            let count = file.layout()?.count();
            // Before they take memory: a listing may say anything.
            if parts.len() + count as usize > ChunkLayout::MAX_CHUNKS as usize {
                return Err(BadLayout::TooManyChunks { length: file.length, chunk_size: size });
            }
            parts.extend((0..count).map(|chunk| Part::Chunk { file: place, chunk }));
        }
        let mut first = large.len() as u32;
        for _ in &single {
            parts.push(Part::Whole { first, count: 1 });
            first += 1;
        }
        // No longer than one request for small files is answered.
        let most = u64::from(size).min(config::GATHER_BYTES);
        let mut rest = small.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |file: &&UnitFile| {
                bytes += file.length;
                bytes <= most
            };
            let count = rest.iter().take(BUNDLED).take_while(fits).count().max(1);
            parts.push(Part::Whole { first, count: count as u32 });
            first += count as u32;
            rest = rest.get(count..).unwrap_or_default();
        }
        let files = [large, single, small].concat();
        let layout = ChunkLayout::new(parts.len() as u64 * u64::from(size), size)?;
        let id = Root(Digest::of(&canonical(&files, size)));
        Ok(Self { id, layout, files, parts })
    }

    /// What tells these units from others.
    pub fn id(&self) -> Root {
        self.id
    }

    /// Numbers the units. Its chunk size is the size that they were cut with; how long each really
    /// is says [`Self::len`].
    pub fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// What that unit is.
    pub fn get(&self, index: ChunkIndex) -> Option<Unit<'_>> {
        match *self.parts.get(index.as_usize())? {
            Part::Whole { first, count } => {
                let (first, count) = (first as usize, count as usize);
                Some(Unit::Whole(self.files.get(first..first.checked_add(count)?)?))
            }
            Part::Chunk { file, chunk } => {
                Some(Unit::Chunk { file: *self.files.get(file as usize)?, chunk })
            }
        }
    }

    /// Length of that unit in bytes; 0 where there is none of that number.
    pub fn len(&self, index: ChunkIndex) -> usize {
        match self.get(index) {
            None => 0,
            // No longer than bundles are.
            Some(Unit::Whole(files)) => files.iter().map(|file| file.length as usize).sum(),
            Some(Unit::Chunk { file, chunk }) => {
                let layout = file.layout().ok();
                let index = layout.and_then(|layout| Some((layout, layout.index(chunk)?)));
                index.map_or(0, |(layout, index)| layout.chunk_len(index))
            }
        }
    }

    /// All files, each content once.
    pub fn files(&self) -> &[UnitFile] {
        &self.files
    }

    /// The form in which they are kept for another process; [`Self::from_bytes`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&self.files, self.layout.chunk_size())
    }

    /// Reads that form; `None` when it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (files, rest) = rest.as_chunks::<FILE>();
        if !rest.is_empty() {
            return None;
        }
        let file = |bytes: &[u8; FILE]| {
            let (root, length) = bytes.split_first_chunk::<32>()?;
            Some((Root(Digest(*root)), u64::from_be_bytes(length.try_into().ok()?)))
        };
        let files: Option<Vec<(Root, u64)>> = files.iter().map(file).collect();
        Self::cut(files?, u32::from_be_bytes(*size)).ok()
    }
}

/// Bytes of one file in that form: its root and its length.
const FILE: usize = 40;

/// Size and files as bytes, from which the same units come again.
fn canonical(files: &[UnitFile], size: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + files.len() * FILE);
    bytes.extend(size.to_be_bytes());
    for UnitFile { root: Root(Digest(root)), length } in files {
        bytes.extend(root);
        bytes.extend(length.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: u8) -> Root {
        Root(Digest([number; 32]))
    }

    const SIZE: u32 = 64 << 10;

    fn example() -> Units {
        let files = [
            (root(1), 10_000),
            (root(2), 5 << 20),
            (root(3), 0),
            (root(1), 10_000),
            (root(4), 1 << 20),
            (root(5), 60_000),
            (root(6), 1),
        ];
        Units::cut(files, SIZE).unwrap()
    }

    #[test]
    fn every_content_is_in_one_unit_and_what_is_larger_comes_first() {
        let units = example();
        let all: Vec<_> = units.layout().indices().map(|index| units.get(index).unwrap()).collect();
        let file = |number, length| UnitFile { root: root(number), length };
        assert_eq!(all[19], Unit::Chunk { file: file(2, 5 << 20), chunk: 19 });
        assert_eq!(all[20], Unit::Whole(&[file(4, 1 << 20)]));
        assert_eq!(all[21], Unit::Whole(&[file(1, 10_000)]), "the next one would not fit");
        assert_eq!(all[22], Unit::Whole(&[file(5, 60_000), file(6, 1)]));
        assert_eq!(all.len(), 23);
        let lengths = units.layout().indices().map(|index| units.len(index)).sum::<usize>();
        assert_eq!(lengths, (5 << 20) + (1 << 20) + 10_000 + 60_001);
    }

    #[test]
    fn the_same_contents_and_size_make_the_same_units() {
        let units = example();
        assert_eq!(Units::from_bytes(&units.to_bytes()), Some(units.clone()));
        let finer = Units::cut(units.files().iter().map(|file| (file.root, file.length)), SIZE / 2);
        assert_ne!(finer.unwrap().id(), units.id());
        assert_eq!(Units::from_bytes(&units.to_bytes()[1..]), None);
        assert!(Units::cut([(root(1), 1)], 3).is_err());
        let endless = (0..=255).map(|number| (root(number), 1 << 44));
        assert!(Units::cut(endless, SIZE).is_err());
    }

    #[test]
    fn a_bundle_is_no_longer_than_one_request_for_small_files_is_answered() {
        let files = (1..=5).map(|number| (root(number), 3 << 20));
        let units = Units::cut(files, ChunkLayout::MAX_CHUNK).unwrap();
        let lengths: Vec<usize> = units.layout().indices().map(|index| units.len(index)).collect();
        assert_eq!(lengths, [3 << 20; 5]);
    }

    #[test]
    fn a_folder_of_nothing_has_no_units() {
        let units = Units::cut([(root(1), 0)], SIZE).unwrap();
        assert_eq!(units.layout().count(), 0);
    }
}
