//! How one hashed file is written in the catalog.
//!
//! ```text
//! u32 length of the head, u32 length of the digests     (big endian)
//! 8 bytes: beginning of the SHA-256 of those lengths and the head
//! head: JSON
//! digests: 32 bytes a chunk
//! ```
//!
//! The check does not cover the digests, so that a catalog is loaded by its heads alone; digests
//! that do not lead to the head's root are noticed when they are used.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::content::{ChunkLayout, Digest, FileName, Root};

/// What a catalog begins with. Another version begins otherwise and is started anew.
pub(super) const MAGIC: &[u8] = b"peershare catalog 1\n";

const PREFIX: usize = 16;

/// Longest head in bytes that is believed: the longest name with every character escaped, and room.
const MAX_HEAD: u32 = 32 << 10;

/// One hashed file without its digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) name: FileName,
    pub(super) root: Root,
    pub(super) chunk_size: u32,
    #[serde(flatten)]
    pub(super) identity: Identity,
}

impl Head {
    /// How the file was cut when it was hashed.
    pub(super) fn layout(&self) -> Option<ChunkLayout> {
        ChunkLayout::new(self.identity.length, self.chunk_size).ok()
    }
}

/// The bytes of one record, and where in them the digests begin.
pub(super) fn encode(head: &Head, digests: &[u8]) -> io::Result<(Vec<u8>, u64)> {
    let head = serde_json::to_vec(head)?;
    let mut record = Vec::with_capacity(PREFIX + head.len() + digests.len());
    for length in [head.len(), digests.len()] {
        let length = u32::try_from(length).map_err(io::Error::other)?;
        record.extend(length.to_be_bytes());
    }
    let check = check_of(&record, &head);
    record.extend(check);
    record.extend(&head);
    let digests_at = record.len() as u64;
    record.extend(digests);
    Ok((record, digests_at))
}

/// A record's head as it was found, with the lengths to go on by.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head: Head,
    pub(super) head_len: u64,
    pub(super) digests_len: u64,
}

impl Found {
    /// Length of the whole record in bytes.
    pub(super) fn len(&self) -> u64 {
        self.digests_at() + self.digests_len
    }

    /// Where in the record the digests begin.
    pub(super) fn digests_at(&self) -> u64 {
        PREFIX as u64 + self.head_len
    }
}

/// Reads the next record up to its digests. `None` at the end and at whatever is no record.
pub(super) fn read_head(reader: &mut impl Read) -> io::Result<Option<Found>> {
    let mut prefix = [0; PREFIX];
    if !filled(reader, &mut prefix)? {
        return Ok(None);
    }
    let (lengths, check) = prefix.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let (head_len, digests_len) = (number(&lengths[..4]), number(&lengths[4..]));
    if head_len > MAX_HEAD {
        return Ok(None);
    }
    let mut head = vec![0; head_len as usize];
    if !filled(reader, &mut head)? || check != check_of(lengths, &head) {
        return Ok(None);
    }
    let Ok(head) = serde_json::from_slice::<Head>(&head) else { return Ok(None) };
    let expected = head.layout().map(|layout| u64::from(layout.count()) * Digest::LEN as u64);
    let (head_len, digests_len) = (u64::from(head_len), u64::from(digests_len));
    Ok((expected == Some(digests_len)).then_some(Found { head, head_len, digests_len }))
}

/// Fills the buffer; says `false` when the file ends before.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_of(lengths: &[u8], head: &[u8]) -> [u8; 8] {
    let digest = Digest::of(&[lengths, head].concat());
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    [a, b, c, d, e, f, g, h]
}
