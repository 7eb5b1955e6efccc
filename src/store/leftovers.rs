//! What receptions left in `.peershare/parts`: found, and deleted when it is of no use to anybody.
//!
//! Whatever is deleted here was locked first, so nothing goes that another process is at. What a
//! dead process left goes with the next start of a program on the folder:
//!
//! | entry | what it is | when it goes |
//! |---|---|---|
//! | `<root>` | bytes of a file that can be continued | after [`config::PART_KEPT`]; at once if it has none, or its name already |
//! | `<root>.journal` | what is good of a part file | with that file, or at once if there is none |
//! | `<root>.journal.new` | a journal while it is written | at once |
//! | `….group/` | small files that have no names yet | after [`config::PART_KEPT`]; an empty file or folder, or a file that has its name already, at once |
//! | `….live`, `….live.new`, `….units`, `….name` | notes and locks that mean something while somebody has them | at once |
//! | `….unproven`, `….published`, `try…`, `….early` | what nobody can continue | at once |
//! | `server`, `naming` | locks | after [`config::PART_KEPT`]; they are made again |
//! | `../catalog.new` | a catalog while it is compacted | at once |

use std::fs::{File, FileTimes};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disk::Disk;
use super::incoming::UNPROVEN;
use super::part::{JOURNAL, part_entry};
use super::placing::TRY;
use super::publish::PUBLISHED;
use super::watched::{FRESH_LIVE, LIVE, UNITS, live_entry};
use super::{calls, group, journal};
use crate::config;
use crate::content::{Digest, FileName, Manifest, Root};

/// What a journal is called while it is written.
const UNFINISHED_JOURNAL: &str = ".journal.new";

/// What the lock of a name is called behind the name's digest.
pub(super) const NAME_LOCK: &str = ".name";

/// What an earlier version called a file that it fetched while its source hashed it.
const EARLY: &str = ".early";

/// Ends of the names of entries that are of no use once nobody has them locked.
const PASSING: [&str; 7] = [NAME_LOCK, LIVE, FRESH_LIVE, UNITS, UNPROVEN, PUBLISHED, EARLY];

/// Deletes what killed processes left that nobody can continue, and what could be continued but was
/// not for a long time.
pub(super) fn sweep(disk: &Disk, now: SystemTime) -> io::Result<()> {
    disk.catalog.sweep()?;
    for entry in disk.parts.entries()? {
        // What is odd in some way is in the way of nothing else.
        if let Err(error) = sweep_entry(disk, &entry, now) {
            log::warn!("cannot look whether {entry} among the part files is of use: {error}");
        }
    }
    Ok(())
}

fn sweep_entry(disk: &Disk, entry: &str, now: SystemTime) -> io::Result<()> {
    if entry.ends_with(group::GROUP) {
        return group::sweep(disk, entry, |folder| is_old(folder, now));
    }
    if let Some(root) = entry.strip_suffix(UNFINISHED_JOURNAL) {
        // Whoever receives the file writes its journal, and has the file locked; so do we until
        // this is gone.
        let part = disk.parts.file(root)?;
        let in_use = part.as_ref().is_some_and(|part| part.try_lock().is_err());
        return if in_use { Ok(()) } else { disk.parts.remove(entry) };
    }
    let is_useless = |file: &File| {
        if PASSING.iter().any(|end| entry.ends_with(end)) || entry.starts_with(TRY) {
            return true;
        }
        // `remove_with_journal` keeps one whose part file is there.
        entry.ends_with(JOURNAL)
            || entry.parse::<Digest>().is_ok() && (has_nothing(file) || has_its_name(file))
            || is_old(file, now)
    };
    remove_unlocked(disk, entry, is_useless).map(drop)
}

/// Whether nothing was written to a file, however long it is.
fn has_nothing(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.blocks() == 0)
}

/// Whether somebody was killed between giving a file its name, where that is done by a link, and
/// taking its old one away.
pub(super) fn has_its_name(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 1)
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
        if let Err(error) = calls::set_times(file, FileTimes::new().set_modified(now)) {
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
