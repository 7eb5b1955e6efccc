//! Hashing of leaves: the one place where the bytes of files are hashed.
//!
//! Half of what a verified transfer costs is SHA-256. Leaves do not depend on one another, so with
//! the feature `wide-hash` many are hashed at once in vector registers; without it `sha2` takes
//! them one by one. A test runs the one against the other.

use super::Digest;

/// The unit of the hash tree in bytes (BEP 52).
pub const LEAF_SIZE: usize = 16 << 10;

/// Appends the digest of every leaf of `data` to `leaves`. `data` starts at a leaf's beginning;
/// its last leaf may be short. Fastest with 16 leaves or more at a time.
pub fn hash_leaves(data: &[u8], leaves: &mut Vec<Digest>) {
    #[cfg(feature = "wide-hash")]
    hash_wide(data, leaves);
    #[cfg(not(feature = "wide-hash"))]
    hash_plain(data, leaves);
}

/// The digests of many messages, which need not be of one length; fastest when they are.
pub fn hash_messages(messages: &[&[u8]]) -> Vec<Digest> {
    #[cfg(feature = "wide-hash")]
    {
        let mut digests = vec![[0; Digest::LEN]; messages.len()];
        tape_sha256::hash_many(messages, &mut digests);
        digests.into_iter().map(Digest).collect()
    }
    #[cfg(not(feature = "wide-hash"))]
    messages.iter().map(|message| Digest::of(message)).collect()
}

#[cfg(feature = "wide-hash")]
fn hash_wide(data: &[u8], leaves: &mut Vec<Digest>) {
    /// Leaves handed over at once; a stack of slices instead of a heap of them.
    const BATCH: usize = 64;
    for batch in data.chunks(BATCH * LEAF_SIZE) {
        let mut messages: [&[u8]; BATCH] = [&[]; BATCH];
        let mut digests = [[0; Digest::LEN]; BATCH];
        let mut count = 0;
        for (message, leaf) in messages.iter_mut().zip(batch.chunks(LEAF_SIZE)) {
            *message = leaf;
            count += 1;
        }
        tape_sha256::hash_many(&messages[..count], &mut digests[..count]);
        leaves.extend(digests[..count].iter().map(|bytes| Digest(*bytes)));
    }
}

#[cfg(any(test, not(feature = "wide-hash")))]
fn hash_plain(data: &[u8], leaves: &mut Vec<Digest>) {
    leaves.extend(data.chunks(LEAF_SIZE).map(Digest::of));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_same(data: &[u8]) {
        let (mut ours, mut oracle) = (Vec::new(), Vec::new());
        hash_leaves(data, &mut ours);
        hash_plain(data, &mut oracle);
        assert_eq!(ours, oracle, "{} bytes", data.len());
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn all_short_lengths_hash_as_sha2_hashes_them() {
        let data = pattern(300);
        (0..=data.len()).for_each(|length| assert_same(&data[..length]));
    }

    #[test]
    fn all_counts_of_leaves_hash_as_sha2_hashes_them() {
        let data = pattern(140 * LEAF_SIZE);
        for count in 0..140 {
            assert_same(&data[..count * LEAF_SIZE]);
            assert_same(&data[..count * LEAF_SIZE + 1 + count * 113]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_length_hashes_as_sha2_hashes_it(length in 0..40 * LEAF_SIZE) {
            assert_same(&pattern(length));
        }
    }
}
