//! Small files as a whole: proven by the content id alone, many at once.
//!
//! A file whose bytes are all at hand needs no manifest from anybody: its leaves lead to its root.
//! What vector registers want is many leaves at once, so the leaves of many files are hashed
//! together.

use super::leaf::{LEAF_SIZE, hash_messages};
use super::{ChunkLayout, Digest, FileName, Manifest, Root, merkle};

/// A file with all its bytes, proven to be its content; only [`prove`] can make one of received
/// bytes.
#[derive(Debug)]
pub struct WholeFile<'a> {
    root: Root,
    layout: ChunkLayout,
    digests: Vec<Digest>,
    bytes: &'a [u8],
}

impl<'a> WholeFile<'a> {
    /// What it is.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How it was cut while it was hashed: as every peer cuts a file of its length.
    pub fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// One digest a chunk.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Its manifest under a name.
    pub fn manifest(&self, name: FileName) -> Option<Manifest> {
        Manifest::from_digests(name, self.layout, self.digests.clone()).ok()
    }
}

/// Hashes all of these files; `None` for one that is too long to be anything.
pub fn hash_all<'a>(files: &[&'a [u8]]) -> Vec<Option<WholeFile<'a>>> {
    let leaves: Vec<&[u8]> = files.iter().flat_map(|bytes| bytes.chunks(LEAF_SIZE)).collect();
    let mut hashed = hash_messages(&leaves).into_iter();
    let whole = |bytes: &&'a [u8]| {
        let mut own: Vec<Digest> = hashed.by_ref().take(bytes.len().div_ceil(LEAF_SIZE)).collect();
        let layout = ChunkLayout::usual(bytes.len() as u64).ok()?;
        let digests = match layout.count() {
            0 => Vec::new(),
            1 if own.len() == 1 => own,
            1 => vec![merkle::chunk_digest_of_leaves(&layout, std::mem::take(&mut own))],
            _ => {
                let chunks = own.chunks(layout.chunk_size() as usize / LEAF_SIZE);
                chunks
                    .map(|leaves| merkle::chunk_digest_of_leaves(&layout, leaves.to_vec()))
                    .collect()
            }
        };
        let root = match digests[..] {
            [only] => Root(only),
            _ => merkle::root(&layout, &digests),
        };
        Some(WholeFile { root, layout, digests, bytes })
    };
    files.iter().map(whole).collect()
}

/// Proves that these bytes are the contents that they were asked for as; `None` for what is not.
pub fn prove<'a>(files: &[(Root, &'a [u8])]) -> Vec<Option<WholeFile<'a>>> {
    let bytes: Vec<&[u8]> = files.iter().map(|(_, bytes)| *bytes).collect();
    let proven = |(whole, (root, _)): (Option<WholeFile<'a>>, &(Root, &[u8]))| {
        whole.filter(|whole| whole.root == *root)
    };
    hash_all(&bytes).into_iter().zip(files).map(proven).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_hash_as_each_of_them_does_alone() {
        let data: Vec<u8> = (0..1_500_000_u32).map(|i| (i / 97) as u8).collect();
        let lengths = [0, 1, 4096, 16384, 16385, 65536, 262_144, 262_145, 1_500_000];
        let files: Vec<&[u8]> = lengths.iter().map(|length| &data[..*length]).collect();
        for (whole, bytes) in hash_all(&files).into_iter().zip(&files) {
            let whole = whole.unwrap();
            let layout = ChunkLayout::usual(bytes.len() as u64).unwrap();
            let chunks = bytes.chunks(layout.chunk_size() as usize);
            let digests: Vec<_> =
                chunks.map(|chunk| merkle::chunk_digest(&layout, chunk)).collect();
            assert_eq!(whole.root(), merkle::root(&layout, &digests), "{} bytes", bytes.len());
            assert_eq!(whole.digests(), digests);
            assert_eq!(whole.manifest("f".parse().unwrap()).unwrap().root(), whole.root());
        }
    }

    #[test]
    fn bytes_that_are_something_else_prove_nothing() {
        let good = hash_all(&[b"abc"])[0].as_ref().unwrap().root();
        let proven = prove(&[(good, b"abc"), (good, b"abd"), (good, b""), (good, b"abc")]);
        assert_eq!(
            proven.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, false, false, true]
        );
    }
}
