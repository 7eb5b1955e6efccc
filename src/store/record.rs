//! How one hashed file is written in the catalog.
//!
//! ```text
//! u32 length of the head, u32 length of the digests     (big endian)
//! 8 bytes: beginning of the SHA-256 of those lengths and the head
//! head: root (32 bytes), length, modification time, change time, inode (8 bytes each), chunk size (4),
//!       and the name to its end
//! digests: 32 bytes a chunk
//! ```
//!
//! The check does not cover the digests, so that a catalog is loaded by its heads alone; digests
//! that do not lead to the head's root are noticed when they are used. The head is binary, because
//! whoever starts a client on a folder of many files waits until all of them are read.

use std::io::{self, Read};

use super::identity::Identity;
use crate::content::{ChunkLayout, Digest, FileName, Root};

/// What a catalog begins with. Another version begins otherwise and is started anew.
pub(super) const MAGIC: &[u8] = b"peershare catalog 2\n";

const PREFIX: usize = 16;

/// Bytes of a head before its name.
const FIXED: usize = Digest::LEN + 4 * 8 + 4;

/// Longest head in bytes that is believed.
const MAX_HEAD: u32 = (FIXED + FileName::MAX_LEN) as u32;

/// One hashed file without its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: FileName,
    pub(super) root: Root,
    pub(super) chunk_size: u32,
    pub(super) identity: Identity,
}

impl Head {
    /// How the file was cut when it was hashed.
    pub(super) fn layout(&self) -> Option<ChunkLayout> {
        ChunkLayout::new(self.identity.length, self.chunk_size).ok()
    }

    fn encode(&self) -> Vec<u8> {
        let Self { name, root, chunk_size, identity } = self;
        let mut head = Vec::with_capacity(FIXED + name.as_str().len());
        head.extend(root.0.0);
        head.extend(identity.length.to_be_bytes());
        head.extend(identity.mtime_ns.to_be_bytes());
        head.extend(identity.ctime_ns.to_be_bytes());
        head.extend(identity.inode.to_be_bytes());
        head.extend(chunk_size.to_be_bytes());
        head.extend(name.as_str().as_bytes());
        head
    }

    fn decode(head: &[u8]) -> Option<Self> {
        let (root, rest) = head.split_first_chunk::<{ Digest::LEN }>()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (mtime, rest) = rest.split_first_chunk()?;
        let (ctime, rest) = rest.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (chunk_size, name) = rest.split_first_chunk()?;
        let identity = Identity {
            length: u64::from_be_bytes(*length),
            mtime_ns: i64::from_be_bytes(*mtime),
            ctime_ns: i64::from_be_bytes(*ctime),
            inode: u64::from_be_bytes(*inode),
        };
        let name = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some(Self {
            name,
            root: Root(Digest(*root)),
            chunk_size: u32::from_be_bytes(*chunk_size),
            identity,
        })
    }
}

/// The bytes of one record, and where in them the digests begin.
pub(super) fn encode(head: &Head, digests: &[u8]) -> io::Result<(Vec<u8>, u64)> {
    let head = head.encode();
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
    let Some(head) = Head::decode(&head) else { return Ok(None) };
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
