//! Giving a received file its name, and what it means when that, or writing it, fails.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use signal_hook::consts::SIGXFSZ;

use super::disk::Disk;
use super::{StoreError, attributes, way};
use crate::content::FileName;

/// Renames a part file to its name in a folder, over another file only if that is to be replaced.
pub(super) fn rename(parts: &File, from: &str, to: (&File, &str), replace: bool) -> io::Result<()> {
    attributes::lifting(to.0, || rename_once(parts, from, to, replace))
}

fn rename_once(parts: &File, from: &str, to: (&File, &str), replace: bool) -> io::Result<()> {
    let (folder, to) = to;
    if replace {
        return Ok(renameat(parts, from, folder, to)?);
    }
    match renameat_with(parts, from, folder, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do it in one step; a link is never made over a file.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(parts, from, folder, to, AtFlags::empty())?;
            Ok(unlinkat(parts, from, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// What an error means when a part file, of which `needed` bytes are not written, was to become `name`.
pub(super) fn unplaceable(disk: &Disk, name: &FileName, needed: u64, error: io::Error) -> StoreError {
    let named = name.clone();
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY) => StoreError::InTheWay { name: named },
        Some(Errno::NOTDIR) => {
            let part = way::file_among_folders(&disk.folder, name);
            StoreError::NotAFolder { name: named, part }
        }
        Some(Errno::XDEV | Errno::LOOP) => StoreError::Outside { name: named },
        _ => unwritable(disk, name, needed, error),
    }
}

/// Makes a write beyond the size that this process may give a file (`ulimit -f`) an error; the system would
/// end the process without a word.
pub fn survive_size_limit() {
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        log::debug!("a file that grows beyond ulimit -f will end this program: {error}");
    }
}

/// What an error means when `needed` bytes of `name` were to be written.
pub(super) fn unwritable(disk: &Disk, name: &FileName, needed: u64, error: io::Error) -> StoreError {
    if let Some(full) = no_space(disk, name, needed, &error) {
        return full;
    }
    match Errno::from_io_error(&error) {
        Some(Errno::FBIG) => StoreError::TooLarge { name: name.clone() },
        _ => StoreError::Io { what: format!("cannot write {name}"), error },
    }
}

/// Tells a full disk, or a used-up quota, from other errors.
fn no_space(disk: &Disk, name: &FileName, needed: u64, error: &io::Error) -> Option<StoreError> {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            let free = disk.free_space().unwrap_or(0);
            Some(StoreError::NoSpace { name: name.clone(), needed, free })
        }
        _ => None,
    }
}
