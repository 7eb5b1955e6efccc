//! A file's name, length and digests, and the chunks that were verified against them.

use super::{ChunkIndex, ChunkLayout, ChunkSet, Digest, FileName, Root, layout::BadLayout, merkle};

/// What a peer must know of a file to receive it and to prove every chunk: its name, layout, root
/// and chunk digests. Nobody can make one whose chunk digests do not lead to its root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    name: FileName,
    layout: ChunkLayout,
    root: Root,
    digests: Vec<Digest>,
}

/// Why received values do not make a manifest. Always the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Length and chunk size do not fit.
    #[error(transparent)]
    Layout(#[from] BadLayout),
    /// Not one digest a chunk.
    #[error("{got} chunk digests where {expected} were due")]
    Count {
        /// Digests that came.
        got: usize,
        /// Chunks of the file.
        expected: u32,
    },
    /// The digests belong to another file.
    #[error("the chunk digests do not lead to the content id")]
    Root,
}

impl Manifest {
    /// Checks received digests against the root that they are said to lead to.
    pub fn new(
        name: FileName,
        layout: ChunkLayout,
        root: Root,
        digests: Vec<Digest>,
    ) -> Result<Self, BadManifest> {
        let manifest = Self::from_digests(name, layout, digests)?;
        if manifest.root != root {
            return Err(BadManifest::Root);
        }
        Ok(manifest)
    }

    /// Makes the manifest of a file that was hashed here; its root follows from the digests.
    pub fn from_digests(
        name: FileName,
        layout: ChunkLayout,
        digests: Vec<Digest>,
    ) -> Result<Self, BadManifest> {
        if digests.len() != layout.count() as usize {
            return Err(BadManifest::Count { got: digests.len(), expected: layout.count() });
        }
        let root = merkle::root(&layout, &digests);
        Ok(Self { name, layout, root, digests })
    }

    /// The file's name at the peer that the manifest is from.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// The same content under another name.
    pub fn renamed(self, name: FileName) -> Self {
        Self { name, ..self }
    }

    /// How the file is cut.
    pub fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// Length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.layout.length()
    }

    /// What the file is.
    pub fn root(&self) -> Root {
        self.root
    }

    /// One digest a chunk, in order.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The chunks that are nothing but zeros, as their digests say.
    pub fn zeros(&self) -> ChunkSet {
        let mut zeros = ChunkSet::none(&self.layout);
        let mut of_length: Option<(usize, Digest)> = None;
        for (index, digest) in self.layout.indices().zip(&self.digests) {
            let len = self.layout.chunk_len(index);
            let known = of_length.filter(|(known, _)| *known == len).map(|(_, digest)| digest);
            let zero = known.unwrap_or_else(|| merkle::zero_digest(&self.layout, len));
            of_length = Some((len, zero));
            if *digest == zero {
                zeros.insert(index);
            }
        }
        zeros
    }

    /// Proves that `bytes` are the chunk `index`.
    pub fn verify<'a>(
        &self,
        index: ChunkIndex,
        bytes: &'a [u8],
    ) -> Result<VerifiedChunk<'a>, ChunkMismatch> {
        let expected = self.digests.get(index.as_usize()).ok_or(ChunkMismatch(index))?;
        let fits = bytes.len() == self.layout.chunk_len(index);
        if fits && merkle::chunk_digest(&self.layout, bytes) == *expected {
            Ok(VerifiedChunk { index, offset: self.layout.range(index).start, bytes })
        } else {
            Err(ChunkMismatch(index))
        }
    }
}

/// Bytes that are not the chunk they were said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk {} does not verify", .0.get())]
pub struct ChunkMismatch(pub ChunkIndex);

/// A chunk whose bytes were proven by [`Manifest::verify`]; the only thing a part file accepts.
#[derive(Debug)]
pub struct VerifiedChunk<'a> {
    index: ChunkIndex,
    offset: u64,
    bytes: &'a [u8],
}

impl VerifiedChunk<'_> {
    /// Which chunk.
    pub fn index(&self) -> ChunkIndex {
        self.index
    }

    /// Where in the file it begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Manifest) {
        let data: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let layout = ChunkLayout::new(data.len() as u64, 32 << 10).unwrap();
        let digests =
            data.chunks(32 << 10).map(|chunk| merkle::chunk_digest(&layout, chunk)).collect();
        let manifest = Manifest::from_digests("f".parse().unwrap(), layout, digests).unwrap();
        (data, manifest)
    }

    #[test]
    fn good_chunks_verify_and_changed_or_misplaced_ones_do_not() {
        let (data, manifest) = sample();
        let layout = *manifest.layout();
        for index in layout.indices() {
            let range = layout.range(index);
            let mut chunk = data[range.start as usize..range.end as usize].to_vec();
            assert_eq!(manifest.verify(index, &chunk).unwrap().offset(), range.start);
            assert!(manifest.verify(index, &chunk[1..]).is_err());
            chunk[7] ^= 1;
            assert_eq!(manifest.verify(index, &chunk).unwrap_err(), ChunkMismatch(index));
        }
        let first = layout.index(0).unwrap();
        assert!(manifest.verify(first, &data[32 << 10..64 << 10]).is_err());
    }

    #[test]
    fn chunks_of_zeros_are_told_by_their_digests() {
        for (length, size) in [
            (100_000, 32 << 10),
            (65_536, 32 << 10),
            (300_000, 256 << 10),
            (40_000, 256 << 10),
            (5, 16 << 10),
        ] {
            let mut data = vec![0; length];
            let layout = ChunkLayout::new(length as u64, size).unwrap();
            let of = |data: &[u8]| {
                let digests = data
                    .chunks(size as usize)
                    .map(|chunk| merkle::chunk_digest(&layout, chunk))
                    .collect();
                Manifest::from_digests("f".parse().unwrap(), layout, digests).unwrap()
            };
            assert!(of(&data).zeros().is_full(), "{length} in chunks of {size}");
            data[length - 1] = 1;
            let zeros = of(&data).zeros();
            assert_eq!(zeros.len(), layout.count() - 1, "{length} in chunks of {size}");
        }
    }

    #[test]
    fn digests_that_do_not_lead_to_the_root_make_no_manifest() {
        let (_, manifest) = sample();
        let (name, layout, root) = (manifest.name().clone(), *manifest.layout(), manifest.root());
        let mut digests = manifest.digests().to_vec();
        assert!(Manifest::new(name.clone(), layout, root, digests.clone()).is_ok());
        digests[1].0[0] ^= 1;
        assert_eq!(
            Manifest::new(name.clone(), layout, root, digests.clone()),
            Err(BadManifest::Root)
        );
        digests.pop();
        let missing = Manifest::new(name, layout, root, digests);
        assert_eq!(missing, Err(BadManifest::Count { got: 3, expected: 4 }));
    }
}
