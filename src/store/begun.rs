//! What is begun and not complete: shown, and deleted on request; never while somebody is at it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disk::Disk;
use super::incoming::UNPROVEN;
use super::leftovers::{is_locked, remove_unlocked};
use super::part::journal_entry;
use super::publish::PUBLISHED;
use super::{Store, StoreError, group, journal};
use crate::config;
use crate::content::{ChunkLayout, ChunkSet, Digest, FileName, Root};

/// A file that somebody began to receive.
#[derive(Clone, Debug)]
pub struct Begun {
    /// What it is to be called; not known before its first chunks were synced.
    pub name: Option<FileName>,
    /// What it is; not known of a file whose source cannot say it.
    pub root: Option<Root>,
    /// Its length in bytes, where that is known.
    pub length: Option<u64>,
    /// Bytes of it that are good for certain.
    pub good: u64,
    /// Bytes that it takes on the disk.
    pub stored: u64,
    /// When it was written to last.
    pub touched: SystemTime,
    /// Whether somebody is at it.
    pub in_use: bool,
    entry: String,
}

impl Store {
    /// All that is begun, the oldest first.
    pub fn begun(&self) -> Result<Vec<Begun>, StoreError> {
        let disk = &self.now().disk;
        let cannot = || StoreError::io("cannot look for what is begun");
        let mut begun = Vec::new();
        for entry in disk.parts.entries().map_err(cannot())? {
            // One that is gone meanwhile is complete, or was cleared by somebody else.
            if is_of_a_file(&entry)
                && let Some(one) = look(disk, entry).map_err(cannot())?
            {
                begun.push(one);
            }
        }
        begun.sort_by_key(|one| one.touched);
        Ok(begun)
    }

    /// Deletes something that is begun; says whether it did. Not what somebody is at.
    pub fn clear(&self, begun: &Begun) -> Result<bool, StoreError> {
        let disk = &self.now().disk;
        let cleared = match begun.entry.ends_with(group::GROUP) {
            true if begun.in_use => Ok(false),
            true => group::sweep(disk, &begun.entry, |_| true)
                .and_then(|()| Ok(!disk.parts.has(&begun.entry)?)),
            false => remove_unlocked(disk, &begun.entry, |_| true),
        };
        cleared.map_err(StoreError::io("cannot delete what is begun"))
    }
}

/// Whether an entry holds bytes that came, and is no lock or note about others.
fn is_of_a_file(entry: &str) -> bool {
    // What an unproven file is called is the digest of its name.
    let bare = entry.strip_suffix(UNPROVEN).unwrap_or(entry);
    entry.ends_with(group::GROUP) || bare.parse::<Digest>().is_ok() || entry.ends_with(PUBLISHED)
}

fn look(disk: &Disk, entry: String) -> io::Result<Option<Begun>> {
    if entry.ends_with(group::GROUP) {
        return group::stored(disk, &entry).map(|found| {
            let (stored, touched, in_use) = found?;
            let (name, root, length) = (None, None, None);
            (stored > 0).then_some(Begun {
                name,
                root,
                length,
                good: stored,
                stored,
                touched,
                in_use,
                entry,
            })
        });
    }
    let Some(file) = disk.parts.file(&entry)? else { return Ok(None) };
    let metadata = file.metadata()?;
    let (head, good) = match read_journal(disk, &journal_entry_of(&entry))? {
        Some((head, good)) => (Some(head), good),
        None => (None, 0),
    };
    Ok(Some(Begun {
        root: entry.parse().ok().map(Root),
        length: head
            .as_ref()
            .map(|head| head.length)
            .or_else(|| Some(metadata.len()).filter(|len| *len > 0)),
        name: head.map(|head| head.name),
        good,
        stored: metadata.blocks().saturating_mul(512),
        touched: touched(&file)?,
        in_use: is_locked(disk, &entry)?,
        entry,
    }))
}

fn journal_entry_of(entry: &str) -> String {
    entry.parse().map(|digest| journal_entry(&Root(digest))).unwrap_or_default()
}

/// What a journal is about, and how many bytes it vouches for.
fn read_journal(disk: &Disk, entry: &str) -> io::Result<Option<(journal::Head, u64)>> {
    if entry.is_empty() {
        return Ok(None);
    }
    let Some(file) = disk.parts.file(entry)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(config::MAX_JOURNAL).read_to_end(&mut bytes)?;
    let found = journal::read(&bytes).and_then(|(head, set)| {
        let layout = ChunkLayout::new(head.length, head.chunk_size).ok()?;
        let set = ChunkSet::from_bytes(&layout, set)?;
        let good = layout.indices().filter(|index| set.contains(*index));
        let good = good.map(|index| layout.chunk_len(index) as u64).sum();
        Some((head, good))
    });
    Ok(found)
}

/// The modification time may be that of the other peer's file already.
pub(super) fn touched(file: &File) -> io::Result<SystemTime> {
    Ok(UNIX_EPOCH + Duration::from_secs(file.metadata()?.ctime().try_into().unwrap_or_default()))
}
