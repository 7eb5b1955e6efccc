//! From a file's length to its chunks: pure geometry, no bytes.

use std::ops::Range;

use super::leaf::LEAF_SIZE;

/// How a file of a given length is cut into chunks. All chunks have the same size but the last,
/// which ends where the file ends. An empty file has no chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkLayout {
    length: u64,
    chunk_size: u32,
    count: u32,
}

/// Why a length and a chunk size do not make a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLayout {
    /// Not a power of two, or outside [`ChunkLayout::MIN_CHUNK`] to [`ChunkLayout::MAX_CHUNK`].
    #[error("chunk size {0} is not a power of two from 16 KiB to 16 MiB")]
    ChunkSize(u32),
    /// More chunks than [`ChunkLayout::MAX_CHUNKS`].
    #[error("{length} bytes are too many for chunks of {chunk_size}")]
    TooManyChunks {
        /// Length of the file in bytes.
        length: u64,
        /// Size of a chunk in bytes.
        chunk_size: u32,
    },
}

impl ChunkLayout {
    /// Smallest chunk in bytes: one leaf.
    pub const MIN_CHUNK: u32 = LEAF_SIZE as u32;

    /// Largest chunk in bytes; a receiver holds a few of them in memory for each source.
    pub const MAX_CHUNK: u32 = 16 << 20;

    /// Most chunks a file may have; with it, a manifest's digests stay within 32 MiB.
    pub const MAX_CHUNKS: u32 = 1 << 20;

    /// The usual chunk in bytes: 16 leaves, which is what hashing many leaves at once wants.
    const USUAL_CHUNK: u32 = 256 << 10;

    /// Chunks grow until there are at most this many. 20 GiB are then 5120 chunks of 4 MiB, which
    /// keeps the memory of a receiver small and a manifest below 200 KB.
    const USUAL_COUNT: u64 = 5120;

    /// A layout with a given chunk size in bytes.
    pub fn new(length: u64, chunk_size: u32) -> Result<Self, BadLayout> {
        let fits = (Self::MIN_CHUNK..=Self::MAX_CHUNK).contains(&chunk_size);
        if !fits || !chunk_size.is_power_of_two() {
            return Err(BadLayout::ChunkSize(chunk_size));
        }
        match u32::try_from(length.div_ceil(u64::from(chunk_size))) {
            Ok(count) if count <= Self::MAX_CHUNKS => Ok(Self { length, chunk_size, count }),
            _ => Err(BadLayout::TooManyChunks { length, chunk_size }),
        }
    }

    /// The layout that every peer uses for a file of this length, unless a manifest says otherwise:
    /// a few hundred to a few thousand chunks.
    pub fn usual(length: u64) -> Result<Self, BadLayout> {
        let mut chunk_size = Self::USUAL_CHUNK;
        while chunk_size < Self::MAX_CHUNK
            && length.div_ceil(u64::from(chunk_size)) > Self::USUAL_COUNT
        {
            chunk_size *= 2;
        }
        Self::new(length, chunk_size)
    }

    /// Length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Size in bytes of every chunk but perhaps the last.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Number of chunks.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The chunk with this number, if the file has one.
    pub fn index(&self, number: u32) -> Option<ChunkIndex> {
        (number < self.count).then_some(ChunkIndex(number))
    }

    /// All chunks in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = ChunkIndex> + use<> {
        (0..self.count).map(ChunkIndex)
    }

    /// Where in the file a chunk lies, in bytes.
    pub fn range(&self, index: ChunkIndex) -> Range<u64> {
        let start = u64::from(index.0) * u64::from(self.chunk_size);
        start..self.length.min(start + u64::from(self.chunk_size))
    }

    /// Length of a chunk in bytes.
    pub fn chunk_len(&self, index: ChunkIndex) -> usize {
        let range = self.range(index);
        // A chunk is at most `MAX_CHUNK` long, which fits everywhere.
        (range.end - range.start) as usize
    }

    /// The chunks that have bytes of `range`, in order.
    pub fn covering(&self, range: &Range<u64>) -> impl Iterator<Item = ChunkIndex> + use<> {
        let size = u64::from(self.chunk_size);
        let end = range.end.min(self.length).div_ceil(size);
        // At most `count`, which fits.
        (range.start / size..end).map(|number| ChunkIndex(number as u32))
    }

    /// Height of a whole chunk's subtree: how many layers lie above its leaves.
    pub fn subtree_height(&self) -> u32 {
        (self.chunk_size / Self::MIN_CHUNK).trailing_zeros()
    }
}

/// A chunk that is known to exist in the layout that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkIndex(u32);

impl ChunkIndex {
    /// Position among the file's chunks, from 0.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The same, for indexing.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A set of chunks of one file: one bit a chunk, the first chunk in the lowest bit of the first
/// byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkSet {
    bits: Vec<u8>,
    count: u32,
    len: u32,
}

impl ChunkSet {
    /// No chunk of that layout.
    pub fn none(layout: &ChunkLayout) -> Self {
        let bits = vec![0; layout.count().div_ceil(8) as usize];
        Self { bits, count: layout.count(), len: 0 }
    }

    /// Every chunk of that layout.
    pub fn all(layout: &ChunkLayout) -> Self {
        let mut set = Self::none(layout);
        layout.indices().for_each(|index| {
            set.insert(index);
        });
        set
    }

    /// Reads the form that [`Self::as_bytes`] gives; `None` when it does not fit the layout.
    pub fn from_bytes(layout: &ChunkLayout, bytes: &[u8]) -> Option<Self> {
        let empty = Self::none(layout);
        let unused = (bytes.len() * 8).checked_sub(layout.count() as usize)?;
        let last = bytes.last().copied().unwrap_or(0);
        if bytes.len() != empty.bits.len() || (unused > 0 && last >> (8 - unused) != 0) {
            return None;
        }
        let len = bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(Self { bits: bytes.to_vec(), len, ..empty })
    }

    /// The bits as they travel and lie in the journal.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Adds a chunk; says whether it is new. A chunk of a larger file is ignored.
    pub fn insert(&mut self, index: ChunkIndex) -> bool {
        let (byte, bit) = Self::place(index);
        match self.bits.get_mut(byte) {
            Some(bits) if *bits & bit == 0 && index.0 < self.count => {
                *bits |= bit;
                self.len += 1;
                true
            }
            _ => false,
        }
    }

    /// Takes a chunk out; says whether it was there.
    pub fn remove(&mut self, index: ChunkIndex) -> bool {
        let (byte, bit) = Self::place(index);
        match self.bits.get_mut(byte) {
            Some(bits) if *bits & bit != 0 => {
                *bits &= !bit;
                self.len -= 1;
                true
            }
            _ => false,
        }
    }

    /// Whether the chunk is in the set.
    pub fn contains(&self, index: ChunkIndex) -> bool {
        let (byte, bit) = Self::place(index);
        self.bits.get(byte).is_some_and(|bits| bits & bit != 0)
    }

    /// How many chunks the set has.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the set has no chunk.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the set has every chunk of the file.
    pub fn is_full(&self) -> bool {
        self.len == self.count
    }

    /// The chunks in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = ChunkIndex> + '_ {
        (0..self.count).map(ChunkIndex).filter(|index| self.contains(*index))
    }

    /// The chunks in this set that the other one lacks, in order; quick where these are few.
    pub fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = ChunkIndex> + 'a {
        let other = other.bits.iter().copied().chain(std::iter::repeat(0));
        let bytes = (0..).zip(self.bits.iter().zip(other).map(|(own, other)| own & !other));
        bytes.filter(|(_, bits)| *bits != 0).flat_map(|(byte, bits): (u32, u8)| {
            (0..8)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| ChunkIndex(byte * 8 + bit))
        })
    }

    fn place(index: ChunkIndex) -> (usize, u8) {
        (index.as_usize() / 8, 1 << (index.0 % 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_file_without_gap_or_overlap() {
        let chunk = u64::from(ChunkLayout::MIN_CHUNK);
        for length in [0, 1, chunk - 1, chunk, chunk + 1, 7 * chunk, 7 * chunk + 5] {
            let layout = ChunkLayout::new(length, ChunkLayout::MIN_CHUNK).unwrap();
            let mut end = 0;
            for index in layout.indices() {
                let range = layout.range(index);
                assert_eq!(range.start, end);
                assert_eq!((range.end - range.start) as usize, layout.chunk_len(index));
                assert!(range.end > range.start);
                end = range.end;
            }
            assert_eq!(end, length);
        }
    }

    #[test]
    fn the_usual_chunk_grows_with_the_file() {
        let size = |length| ChunkLayout::usual(length).unwrap().chunk_size();
        assert_eq!(size(0), 256 << 10);
        assert_eq!(size(1 << 30), 256 << 10);
        assert_eq!(size(2 << 30), 512 << 10);
        assert_eq!(size(20 << 30), 4 << 20);
        assert_eq!(size(1 << 40), 16 << 20);
        assert!(ChunkLayout::usual(u64::MAX).is_err());
    }

    #[test]
    fn odd_chunk_sizes_are_refused() {
        for size in [0, 1, 16 << 10 | 1, 48 << 10, 32 << 20] {
            assert_eq!(ChunkLayout::new(1, size), Err(BadLayout::ChunkSize(size)));
        }
    }

    #[test]
    fn a_chunk_set_survives_its_bytes_and_refuses_bits_past_the_end() {
        let layout = ChunkLayout::new(11 * 16384, 16384).unwrap();
        let mut set = ChunkSet::none(&layout);
        for number in [0, 7, 8, 10] {
            assert!(set.insert(layout.index(number).unwrap()));
        }
        assert!(!set.insert(layout.index(7).unwrap()));
        assert_eq!(set.len(), 4);
        assert_eq!(ChunkSet::from_bytes(&layout, set.as_bytes()), Some(set));
        assert_eq!(ChunkSet::from_bytes(&layout, &[0, 0b1000]), None);
        assert_eq!(ChunkSet::from_bytes(&layout, &[0]), None);
        assert!(ChunkSet::all(&layout).is_full());
        assert!(layout.index(11).is_none());
    }
}
