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
//! That of the units of a folder has another beginning, and beside it lies `<id>.units` with what the
//! units are ([`Units::to_bytes`]):
//!
//! ```text
//! peershare units 1
//! {"id":…,"count":…}
//! <one byte a unit>
//! <as above>
//! ```
//!
//! Whoever receives the file makes it anew, keeps it and sets a byte after the chunk was
//! written. The lock is what makes it count: a killed process leaves the file, but not the lock. It
//! is never synced, as it says nothing about the disk; that is the journal's.
//!
//! Whoever serves from it appends what was sent, so that the receiver knows whether it keeps up
//! with passing chunks on. A reader is told apart by a digest of its id; the chunk 4294967295 says
//! that it reads no more.
//!
//! A reader keeps both files open, so a part file that becomes complete, and is renamed, loses it
//! no chunk.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_setfl};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::calls;
use super::journal::Head;
use super::part::part_entry;
use super::private::PrivateFolder;
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Digest, FileName, Manifest, Root, Units};
use crate::locks::lock;

const MAGIC: &[u8] = b"peershare live 1\n";

const UNITS_MAGIC: &[u8] = b"peershare units 1\n";

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

/// What the file is called, behind their id, that says what units are.
pub(super) const UNITS: &str = ".units";

/// What the live file of that content is called.
pub(super) fn live_entry(root: &Root) -> String {
    format!("{root}{LIVE}")
}

/// What the file is called that says what the units of that id are.
pub(super) fn units_entry(id: &Root) -> String {
    format!("{id}{UNITS}")
}

/// What a live file of units is about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnitsHead {
    pub(super) id: Root,
    pub(super) count: u32,
}

/// The live file of something that we receive.
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
        let head = Head::of(manifest, part.metadata()?.ino());
        Self::make(parts, &manifest.root(), &beginning(MAGIC, &head)?, (manifest.layout(), have))
    }

    /// The same for units, of which so many are there already. The file that says what they are must
    /// be written, and locked by us.
    pub(super) fn begin_units(
        parts: &PrivateFolder,
        units: &Units,
        have: &ChunkSet,
    ) -> io::Result<Self> {
        let head = UnitsHead { id: units.id(), count: units.layout().count() };
        Self::make(parts, &units.id(), &beginning(UNITS_MAGIC, &head)?, (units.layout(), have))
    }

    fn make(
        parts: &PrivateFolder,
        root: &Root,
        head: &[u8],
        (layout, have): (&ChunkLayout, &ChunkSet),
    ) -> io::Result<Self> {
        let (entry, fresh) = (live_entry(root), format!("{root}{FRESH_LIVE}"));
        let file = parts.claim(&fresh)?.ok_or(io::ErrorKind::WouldBlock)?;
        let first = head.len() as u64;
        let there = layout.indices().map(|index| u8::from(have.contains(index)) * THERE);
        let bytes: Vec<u8> = head.iter().copied().chain(there).collect();
        calls::set_len(&file, 0)?;
        calls::write_at(&file, &bytes, 0)?;
        // A reader never meets one that is not or half written.
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
        let mut unread = lock(&self.unread);
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

/// Something that another process receives.
#[derive(Debug)]
pub(super) struct Watched {
    live: File,
    /// Where the first chunk's byte is.
    first: u64,
    pub(super) layout: ChunkLayout,
    pub(super) what: What,
}

/// What it receives.
#[derive(Debug)]
pub(super) enum What {
    /// A file: its part file, and the name that it is to have.
    File(File, FileName),
    /// The units of a folder.
    Units(Arc<Units>),
}

impl Watched {
    /// The part file of that content, or the units of that id, if a living process receives them.
    pub(super) fn find(parts: &PrivateFolder, root: &Root) -> io::Result<Option<Self>> {
        let Some(live) = parts.file(&live_entry(root))? else { return Ok(None) };
        // What a killed process left need not be read.
        if is_free(&live) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        (&live).take(MAX_HEAD).read_to_end(&mut bytes)?;
        let found = match parse(&bytes) {
            Some((head, first)) => {
                file_of(parts, root, head)?.map(|(what, layout)| (what, layout, first))
            }
            None => match parse_units(&bytes) {
                Some((head, first)) => {
                    units_of(parts, root, &head)?.map(|(what, layout)| (what, layout, first))
                }
                None => None,
            },
        };
        let Some((what, layout, first)) = found else { return Ok(None) };
        let fits = live.metadata()?.len() >= first + u64::from(layout.count());
        fcntl_setfl(&live, OFlags::APPEND)?;
        let watched = Self { live, first, layout, what };
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
        is_free(&self.live)
    }

    /// Tells the receiver that `reader` was sent a chunk, or with none that it will read no more.
    pub(super) fn sent(&self, reader: &str, number: Option<u32>) {
        let Digest([a, b, c, d, ..]) = Digest::of(reader.as_bytes());
        let [e, f, g, h] = number.unwrap_or(NO_MORE).to_be_bytes();
        // One write, at the end wherever that is by now.
        if let Err(error) = calls::write(&self.live, &[a, b, c, d, e, f, g, h]) {
            log::debug!("cannot tell the receiver of {self} what was passed on: {error}");
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

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::File(_, name) => name.fmt(f),
            What::Units(units) => write!(f, "the folder {}", units.id().short()),
        }
    }
}

/// The part file that a live file is about, and how it is cut.
fn file_of(
    parts: &PrivateFolder,
    root: &Root,
    head: Head,
) -> io::Result<Option<(What, ChunkLayout)>> {
    let Some(part) = parts.file(&part_entry(root))? else { return Ok(None) };
    let Ok(layout) = ChunkLayout::new(head.length, head.chunk_size) else { return Ok(None) };
    let found = part.metadata()?;
    let fits = head.root == *root && (found.ino(), found.len()) == (head.inode, head.length);
    Ok(fits.then_some((What::File(part, head.name), layout)))
}

/// Whether no process receives into that live file any more. Nobody else locks one but those who
/// ask this.
fn is_free(live: &File) -> bool {
    !matches!(live.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The same of units.
fn units_of(
    parts: &PrivateFolder,
    id: &Root,
    head: &UnitsHead,
) -> io::Result<Option<(What, ChunkLayout)>> {
    let Some(file) = parts.file(&units_entry(id))? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(config::MAX_UNITS).read_to_end(&mut bytes)?;
    let Some(units) = Units::from_bytes(&bytes) else { return Ok(None) };
    let layout = *units.layout();
    let fits = (units.id(), units.id(), layout.count()) == (*id, head.id, head.count);
    Ok(fits.then(|| (What::Units(Arc::new(units)), layout)))
}

/// What a live file begins with.
fn beginning(magic: &[u8], head: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = magic.to_vec();
    serde_json::to_writer(&mut bytes, head)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The header of a live file, and where the chunks' bytes begin.
pub(super) fn parse(bytes: &[u8]) -> Option<(Head, u64)> {
    parse_as(MAGIC, bytes)
}

/// The same of the live file of units.
pub(super) fn parse_units(bytes: &[u8]) -> Option<(UnitsHead, u64)> {
    parse_as(UNITS_MAGIC, bytes)
}

fn parse_as<T: DeserializeOwned>(magic: &[u8], bytes: &[u8]) -> Option<(T, u64)> {
    let rest = bytes.strip_prefix(magic)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let head = serde_json::from_slice(rest.get(..end)?).ok()?;
    Some((head, (magic.len() + end + 1) as u64))
}
