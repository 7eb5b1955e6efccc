//! Which chunks of a part file are good *on disk*: `.peershare/parts/<root>.journal`.
//!
//! ```text
//! peershare part 1
//! {"name":…,"root":…,"length":…,"chunk_size":…,"inode":…}
//! <the chunk set's bytes><SHA-256 of all before it>
//! ```
//!
//! It is written after the data is synced, aside and then renamed, so what it says is true after a
//! power failure too. One that is torn, damaged, about another layout or about a part file that is
//! no more says nothing.

use serde::{Deserialize, Serialize};

use crate::content::{ChunkSet, Digest, FileName, Manifest, Root};

const MAGIC: &[u8] = b"peershare part 1\n";

/// What a journal or a live file is about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// For people who look at it; the content may be continued under another name.
    pub(super) name: FileName,
    pub(super) root: Root,
    pub(super) length: u64,
    pub(super) chunk_size: u32,
    /// Of the part file.
    pub(super) inode: u64,
}

impl Head {
    pub(super) fn of(manifest: &Manifest, inode: u64) -> Self {
        let (layout, root) = (manifest.layout(), manifest.root());
        let (length, chunk_size) = (layout.length(), layout.chunk_size());
        Self { name: manifest.name().clone(), root, length, chunk_size, inode }
    }
}

/// The journal's bytes for the part file with that inode.
pub(super) fn encode(manifest: &Manifest, inode: u64, have: &ChunkSet) -> std::io::Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    serde_json::to_writer(&mut bytes, &Head::of(manifest, inode))?;
    bytes.push(b'\n');
    bytes.extend(have.as_bytes());
    let check = Digest::of(&bytes);
    bytes.extend(check.0);
    Ok(bytes)
}

/// The name that a part file was to have, as far as its journal can be read.
pub(super) fn name_of(bytes: &[u8]) -> Option<FileName> {
    let line = bytes.strip_prefix(MAGIC)?.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice::<Head>(line).ok().map(|head| head.name)
}

/// What an undamaged journal is about, and the bytes of its chunk set.
pub(super) fn read(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (body, check) = bytes.split_last_chunk::<{ Digest::LEN }>()?;
    if Digest::of(body).0 != *check {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let line_end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, chunks) = rest.split_at_checked(line_end)?;
    Some((serde_json::from_slice(line).ok()?, chunks.strip_prefix(b"\n")?))
}

/// The chunks that a journal vouches for. `None` when it is damaged or about something else.
pub(super) fn decode(manifest: &Manifest, inode: u64, bytes: &[u8]) -> Option<ChunkSet> {
    let (head, chunks) = read(bytes)?;
    let expected = Head { name: head.name.clone(), ..Head::of(manifest, inode) };
    if head == expected { ChunkSet::from_bytes(manifest.layout(), chunks) } else { None }
}
