//! The hash tree of BEP 52 above its leaves.
//!
//! A file of one chunk is a tree of its own leaves, padded with zero hashes to a power of two; a
//! file of one leaf is that leaf. In a longer file every chunk is a whole subtree of the chunk
//! size's height, the last one padded with zero hashes; and above the chunks the layer is padded
//! with the root of an all-zero subtree. So the root is the same for every chunk size.

use super::leaf::{LEAF_SIZE, hash_leaves};
use super::{ChunkLayout, Digest, Root};

/// The digest of one whole chunk of `layout`.
pub fn chunk_digest(layout: &ChunkLayout, chunk: &[u8]) -> Digest {
    let mut leaves = Vec::new();
    hash_leaves(chunk, &mut leaves);
    chunk_digest_of_leaves(layout, leaves)
}

/// The same from the leaves of the chunk, for callers that hash it in smaller pieces.
pub fn chunk_digest_of_leaves(layout: &ChunkLayout, leaves: Vec<Digest>) -> Digest {
    let height = match layout.count() {
        0 | 1 => height_above(leaves.len()),
        _ => layout.subtree_height(),
    };
    climb(leaves, Digest::ZERO, height)
}

/// The digest of a chunk of `len` zeros, without having them.
pub fn zero_digest(layout: &ChunkLayout, len: usize) -> Digest {
    let zeros = [0; LEAF_SIZE];
    let mut leaf = Vec::new();
    hash_leaves(&zeros, &mut leaf);
    let mut leaves: Vec<Digest> = leaf.iter().copied().cycle().take(len / LEAF_SIZE).collect();
    if let Some(rest) = zeros.get(..len % LEAF_SIZE).filter(|rest| !rest.is_empty()) {
        hash_leaves(rest, &mut leaves);
    }
    chunk_digest_of_leaves(layout, leaves)
}

/// The root of a file from the digests of all its chunks, in order.
pub fn root(layout: &ChunkLayout, chunks: &[Digest]) -> Root {
    if chunks.is_empty() {
        return Root::of_nothing();
    }
    let padding =
        (0..layout.subtree_height()).fold(Digest::ZERO, |node, _| Digest::parent(&node, &node));
    Root(climb(chunks.to_vec(), padding, height_above(chunks.len())))
}

/// Layers between `nodes` nodes and the single one above them all.
fn height_above(nodes: usize) -> u32 {
    nodes.next_power_of_two().trailing_zeros()
}

/// Goes up `height` layers from `nodes`, each layer filled up with `padding`, which grows with it.
fn climb(mut nodes: Vec<Digest>, mut padding: Digest, height: u32) -> Digest {
    for _ in 0..height {
        let parents = nodes.len().div_ceil(2);
        for i in 0..parents {
            let right = nodes.get(2 * i + 1).unwrap_or(&padding);
            nodes[i] = Digest::parent(&nodes[2 * i], right);
        }
        nodes.truncate(parents);
        padding = Digest::parent(&padding, &padding);
    }
    nodes.first().copied().unwrap_or(padding)
}

#[cfg(test)]
mod tests {
    use super::super::leaf::LEAF_SIZE;
    use super::*;

    /// The definition of BEP 52, told as slowly as it can be.
    fn oracle(data: &[u8]) -> Digest {
        let mut layer: Vec<Digest> = data.chunks(LEAF_SIZE).map(Digest::of).collect();
        layer.resize(layer.len().next_power_of_two(), Digest::ZERO);
        while layer.len() > 1 {
            layer = layer.chunks(2).map(|pair| Digest::parent(&pair[0], &pair[1])).collect();
        }
        layer[0]
    }

    fn root_with(data: &[u8], chunk_size: usize) -> Root {
        let layout = ChunkLayout::new(data.len() as u64, chunk_size as u32).unwrap();
        let digests: Vec<_> =
            data.chunks(chunk_size).map(|chunk| chunk_digest(&layout, chunk)).collect();
        root(&layout, &digests)
    }

    #[test]
    fn the_root_is_that_of_the_definition_for_every_chunk_size() {
        let data: Vec<u8> = (0..20 * LEAF_SIZE).map(|i| (i / 97) as u8).collect();
        let mut lengths = vec![1, 2, 100];
        for leaves in 1..=19 {
            lengths.extend([leaves * LEAF_SIZE - 1, leaves * LEAF_SIZE, leaves * LEAF_SIZE + 1]);
        }
        for length in lengths {
            let data = &data[..length];
            for leaves_per_chunk in [1, 2, 4, 8, 16, 64] {
                let root = root_with(data, leaves_per_chunk * LEAF_SIZE);
                assert_eq!(
                    root.0,
                    oracle(data),
                    "{length} bytes, {leaves_per_chunk} leaves a chunk"
                );
            }
        }
    }

    #[test]
    fn nothing_has_the_digest_of_nothing() {
        assert_eq!(root_with(&[], LEAF_SIZE), Root(Digest::of(b"")));
    }
}
