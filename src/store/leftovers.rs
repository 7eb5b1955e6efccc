//! What receptions left in `.peershare/parts`: found, and deleted when it is of no use to anybody.
//!
//! Whatever is deleted here was locked first, so nothing goes that another process is at.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disk::Disk;
use super::part::{JOURNAL, part_entry};
use super::watched::{LIVE, live_entry};
use super::{group, journal};
use crate::config;
use crate::content::{FileName, Manifest, Root};

/// What a journal is called while it is written.
const UNFINISHED_JOURNAL: &str = ".journal.new";

/// What the lock of a name is called behind the name's digest.
pub(super) const NAME_LOCK: &str = ".name";

/// Deletes what killed processes left that nobody can continue, and what could be continued but was
/// not for a long time.
pub(super) fn sweep(disk: &Disk, now: SystemTime) -> io::Result<()> {
    for entry in disk.parts.entries()? {
        if entry.ends_with(group::GROUP) {
            group::sweep(disk, &entry, |folder| is_old(folder, now))?;
        } else if let Some(root) = entry.strip_suffix(UNFINISHED_JOURNAL) {
            // Whoever receives the file writes its journal, and has the file locked.
            if !is_locked(disk, root)? {
                disk.parts.remove(&entry)?;
            }
        } else if entry.ends_with(NAME_LOCK) || entry.ends_with(LIVE) {
            // They mean something only as long as somebody has them locked.
            remove_unlocked(disk, &entry, |_| true)?;
        } else {
            remove_unlocked(disk, &entry, |file| is_old(file, now))?;
        }
    }
    Ok(())
}

/// Deletes what was begun of other contents for the name that a file has now.
pub(super) fn drop_older(disk: &Disk, complete: &Manifest) -> io::Result<()> {
    for root in begun_for(disk, complete.name(), &complete.root())? {
        let entry = part_entry(&root);
        if remove_unlocked(disk, &entry, |_| true)? {
            disk.parts.remove(&live_entry(&root))?;
        }
    }
    Ok(())
}

/// Contents other than `own` of which something was received for that name.
pub(super) fn begun_for(disk: &Disk, name: &FileName, own: &Root) -> io::Result<Vec<Root>> {
    let mut found = Vec::new();
    for entry in disk.parts.entries()? {
        let Some(Ok(root)) = entry.strip_suffix(JOURNAL).map(str::parse) else { continue };
        let root = Root(root);
        if root == *own {
            continue;
        }
        let Some(file) = disk.parts.file(&entry)? else { continue };
        let mut bytes = Vec::new();
        file.take(config::MAX_JOURNAL).read_to_end(&mut bytes)?;
        if journal::name_of(&bytes).as_ref() == Some(name) {
            found.push(root);
        }
    }
    Ok(found)
}

/// Whether nobody has touched the file for a long time. Dates before this program cannot be true:
/// the machine's clock was not set yet. They count from now on.
fn is_old(file: &File, now: SystemTime) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    // The modification time may be that of the other peer's file already.
    let touched = UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().unwrap_or_default());
    if touched < UNIX_EPOCH + config::EARLIEST_PART {
        if let Err(error) = file.set_modified(now) {
            log::debug!("cannot date what was received when the clock was wrong: {error}");
        }
        return false;
    }
    now.duration_since(touched).is_ok_and(|age| age >= config::PART_KEPT)
}

pub(super) fn is_locked(disk: &Disk, entry: &str) -> io::Result<bool> {
    Ok(disk.parts.file(entry)?.is_some_and(|file| file.try_lock().is_err()))
}

/// Deletes an entry, with its journal, if it is of no use and nobody is at it; says whether it did.
pub(super) fn remove_unlocked(
    disk: &Disk,
    entry: &str,
    is_useless: impl Fn(&File) -> bool,
) -> io::Result<bool> {
    let Some(file) = disk.parts.file(entry)? else { return Ok(false) };
    let mine =
        is_useless(&file) && file.try_lock().is_ok() && disk.parts.is_current(entry, &file)?;
    if mine {
        remove_with_journal(disk, entry)?;
    }
    Ok(mine)
}

/// A journal goes with its part file, and never stays behind alone.
fn remove_with_journal(disk: &Disk, entry: &str) -> io::Result<()> {
    match entry.strip_suffix(JOURNAL) {
        Some(part) if disk.parts.file(part)?.is_some() => Ok(()),
        Some(_) => disk.parts.remove(entry),
        None => {
            disk.parts.remove(&format!("{entry}{JOURNAL}"))?;
            disk.parts.remove(entry)
        }
    }
}
