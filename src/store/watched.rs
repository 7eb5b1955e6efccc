//! Which chunks of a part file are there *at the moment*, for other processes that serve the same
//! folder: `.peershare/parts/<root>.live`.
//!
//! ```text
//! peershare live 1
//! {"name":…,"root":…,"length":…,"chunk_size":…,"inode":…}
//! <one byte a chunk: 1 when it is verified and written, else 0>
//! <eight bytes for each chunk that was passed on: to whom, and which>
//! ```
//!
//! Whoever receives the file makes it anew, keeps it locked, and sets a byte after the chunk was
//! written. The lock is what makes it count: a killed process leaves the file, but not the lock. It
//! is never synced, as it says nothing about the disk; that is the journal's.
//!
//! Whoever serves from it appends what was sent, so that the receiver knows whether it keeps up
//! with passing chunks on. A reader is told apart by a digest of its id; the chunk 4294967295 says
//! that it reads no more.
//!
//! A reader keeps both files open, so a part file that becomes complete, and is renamed, loses it
//! no chunk.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_setfl};

use super::journal::Head;
use super::part::part_entry;
use super::private::PrivateFolder;
use super::{calls, locked};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Digest, FileName, Manifest, Root};

const MAGIC: &[u8] = b"peershare live 1\n";

/// Longest magic and header in bytes that are looked at.
const MAX_HEAD: u64 = 16 << 10;

/// Bytes of one line of what was sent.
const LINE: usize = 8;

/// The chunk of a reader that reads no more.
const NO_MORE: u32 = u32::MAX;

/// The byte of a chunk that is there.
const THERE: u8 = 1;

/// What a live file is called behind its content.
pub(super) const LIVE: &str = ".live";

/// What it is called while it is made.
pub(super) const FRESH_LIVE: &str = ".live.new";

/// What the live file of that content is called.
pub(super) fn live_entry(root: &Root) -> String {
    format!("{root}{LIVE}")
}

/// The live file of a part file of ours.
#[derive(Debug)]
pub(super) struct LiveFile {
    /// Locked as long as this lives.
    file: File,
    /// Where the first chunk's byte is.
    first: u64,
    /// Where the lines begin that were not read yet.
    unread: Mutex<u64>,
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
        let fresh = format!("{}{FRESH_LIVE}", manifest.root());
        let file = parts.claim(&fresh)?.ok_or(io::ErrorKind::WouldBlock)?;
        let mut bytes = MAGIC.to_vec();
        serde_json::to_writer(&mut bytes, &Head::of(manifest, part.metadata()?.ino()))?;
        bytes.push(b'\n');
        let first = bytes.len() as u64;
        bytes.extend(
            manifest.layout().indices().map(|index| u8::from(have.contains(index)) * THERE),
        );
        calls::set_len(&file, 0)?;
        calls::write_at(&file, &bytes, 0)?;
        // A reader never meets one that is not locked, or half written.
        parts.rename(&fresh, &entry)?;
        Ok(Self { file, first, unread: Mutex::new(bytes.len() as u64) })
    }

    /// That chunk is verified and written.
    pub(super) fn mark(&self, index: ChunkIndex) -> io::Result<()> {
        calls::write_at(&self.file, &[THERE], self.first + u64::from(index.get()))
    }
}

impl LiveFile {
    /// Gives what others have sent since the last time: to whom, and which chunk; none when that
    /// reader will read no more.
    pub(super) fn sent(&self, mut each: impl FnMut(String, Option<u32>)) -> io::Result<()> {
        let mut unread = locked(&self.unread);
        let mut lines = [0; 512 * LINE];
        loop {
            let got = self.file.read_at(&mut lines, *unread)?;
            let (whole, _) = lines.get(..got).unwrap_or_default().as_chunks::<LINE>();
            if whole.is_empty() {
                return Ok(());
            }
            for line in whole {
                let [a, b, c, d, number @ ..] = *line;
                let number = u32::from_be_bytes(number);
                each(
                    format!("{:08x}", u32::from_be_bytes([a, b, c, d])),
                    (number != NO_MORE).then_some(number),
                );
            }
            *unread += (whole.len() * LINE) as u64;
        }
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
            && live.metadata()?.len() >= first + u64::from(layout.count());
        fcntl_setfl(&live, OFlags::APPEND)?;
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

    /// Whether nothing more will come: the file is complete, or given up, or its process is no
    /// more.
    pub(super) fn is_over(&self) -> bool {
        // Nobody else locks a live file but those who ask this.
        !matches!(self.live.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Tells the receiver that `reader` was sent a chunk, or with none that it will read no more.
    pub(super) fn sent(&self, reader: &str, number: Option<u32>) {
        let Digest([a, b, c, d, ..]) = Digest::of(reader.as_bytes());
        let [e, f, g, h] = number.unwrap_or(NO_MORE).to_be_bytes();
        // One write, at the end wherever that is by now.
        if let Err(error) = calls::write(&self.live, &[a, b, c, d, e, f, g, h]) {
            log::debug!("cannot tell the receiver of {} what was passed on: {error}", self.name);
        }
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
pub(super) fn parse(bytes: &[u8]) -> Option<(Head, u64)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let head = serde_json::from_slice(rest.get(..end)?).ok()?;
    Some((head, (MAGIC.len() + end + 1) as u64))
}
