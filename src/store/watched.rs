//! Which chunks of a part file are there *at the moment*, for other processes that serve the same
//! folder: `.peershare/parts/<root>.live`.
//!
//! ```text
//! peershare live 1
//! {"name":…,"root":…,"length":…,"chunk_size":…,"inode":…}
//! <one byte a chunk: 1 when it is verified and written, else 0>
//! ```
//!
//! Whoever receives the file makes it anew, keeps it locked, and sets a byte after the chunk was
//! written. The lock is what makes it count: a killed process leaves the file, but not the lock. It is
//! never synced, as it says nothing about the disk; that is the journal's.
//!
//! A reader keeps both files open, so a part file that becomes complete, and is renamed, loses it no
//! chunk.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;
use std::time::Instant;

use super::journal::Head;
use super::part::part_entry;
use super::private::PrivateFolder;
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, FileName, Manifest, Root};

const MAGIC: &[u8] = b"peershare live 1\n";

/// Longest magic and header in bytes that are looked at.
const MAX_HEAD: u64 = 16 << 10;

/// The byte of a chunk that is there.
const THERE: u8 = 1;

/// What the live file of that content is called.
pub(super) fn live_entry(root: &Root) -> String {
    format!("{root}.live")
}

/// The live file of a part file of ours.
#[derive(Debug)]
pub(super) struct LiveFile {
    /// Locked as long as this lives.
    file: File,
    /// Where the first chunk's byte is.
    first: u64,
}

impl LiveFile {
    /// Makes it, with the chunks that are there already. The part file must be locked by us.
    pub(super) fn begin(
        parts: &PrivateFolder,
        part: &File,
        manifest: &Manifest,
        have: &ChunkSet,
    ) -> io::Result<Self> {
        let entry = live_entry(&manifest.root());
        let fresh = format!("{entry}.new");
        let file = parts.claim(&fresh)?.ok_or(io::ErrorKind::WouldBlock)?;
        let mut bytes = MAGIC.to_vec();
        serde_json::to_writer(&mut bytes, &Head::of(manifest, part.metadata()?.ino()))?;
        bytes.push(b'\n');
        let first = bytes.len() as u64;
        bytes.extend(manifest.layout().indices().map(|index| u8::from(have.contains(index)) * THERE));
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        // A reader never meets one that is not locked, or half written.
        parts.rename(&fresh, &entry)?;
        Ok(Self { file, first })
    }

    /// That chunk is verified and written.
    pub(super) fn mark(&self, index: ChunkIndex) -> io::Result<()> {
        self.file.write_all_at(&[THERE], self.first + u64::from(index.get()))
    }
}

/// A part file that another process receives.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) part: File,
    live: File,
    /// Where the first chunk's byte is.
    first: u64,
    pub(super) name: FileName,
    pub(super) layout: ChunkLayout,
}

impl Watched {
    /// The part file of that content, if a living process receives it.
    pub(super) fn find(parts: &PrivateFolder, root: &Root) -> io::Result<Option<Self>> {
        let Some(live) = parts.file(&live_entry(root))? else { return Ok(None) };
        let Some(part) = parts.file(&part_entry(root))? else { return Ok(None) };
        let mut bytes = Vec::new();
        (&live).take(MAX_HEAD).read_to_end(&mut bytes)?;
        let Some((head, first)) = parse(&bytes) else { return Ok(None) };
        let Ok(layout) = ChunkLayout::new(head.length, head.chunk_size) else { return Ok(None) };
        let found = part.metadata()?;
        let fits = head.root == *root
            && (found.ino(), found.len()) == (head.inode, head.length)
            && live.metadata()?.len() == first + u64::from(layout.count());
        let watched = Self { part, live, first, name: head.name, layout };
        Ok((fits && !watched.is_over()).then_some(watched))
    }

    /// The chunks that are there.
    pub(super) fn have(&self) -> ChunkSet {
        let mut have = ChunkSet::none(&self.layout);
        let mut bytes = vec![0; self.layout.count() as usize];
        if self.live.read_exact_at(&mut bytes, self.first).is_ok() {
            let there = self.layout.indices().zip(bytes).filter(|(_, byte)| *byte == THERE);
            there.for_each(|(index, _)| {
                have.insert(index);
            });
        }
        have
    }

    /// Whether nothing more will come: the file is complete, or given up, or its process is no more.
    pub(super) fn is_over(&self) -> bool {
        // Nobody else locks a live file but those who ask this.
        !matches!(self.live.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Waits until the chunk is there; `false` when it did not come in time, or never will.
    pub(super) fn wait(&self, index: ChunkIndex, deadline: Instant) -> bool {
        loop {
            let over = self.is_over();
            if self.has(index) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if over || left.is_zero() {
                return false;
            }
            // Another process cannot wake us.
            thread::park_timeout(config::LIVE_POLL.min(left));
        }
    }

    fn has(&self, index: ChunkIndex) -> bool {
        let mut byte = [0];
        let read = self.live.read_exact_at(&mut byte, self.first + u64::from(index.get()));
        read.is_ok() && byte == [THERE]
    }
}

/// The header of a live file, and where the chunks' bytes begin.
fn parse(bytes: &[u8]) -> Option<(Head, u64)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let head = serde_json::from_slice(rest.get(..end)?).ok()?;
    Some((head, (MAGIC.len() + end + 1) as u64))
}
