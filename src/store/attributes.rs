//! Modification times and permission bits of files that are received.

use std::fs::{File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::content::Attributes;

/// Permission bits that our own folders keep whatever another peer says: their owner can go into them.
const OWN_FOLDER: u32 = 0o500;

/// Sets the modification time, and the permission bits if they are not `now`. A file system that
/// cannot is no reason to refuse a file; it is logged.
pub(super) fn apply(file: &File, attributes: &Attributes, now: Option<u32>) {
    let result = set_time(file, attributes).and_then(|()| match attributes.permissions() {
        Some(mode) if now != Some(mode) => file.set_permissions(Permissions::from_mode(mode)),
        _ => Ok(()),
    });
    if let Err(error) = result {
        log::debug!("cannot set the time or the permissions of a file: {error}");
    }
}

/// The same for a folder.
pub(super) fn apply_to_folder(folder: &File, attributes: &Attributes) {
    let mode = attributes.permissions().map(|mode| mode | OWN_FOLDER);
    apply(folder, &Attributes { mode, ..*attributes }, None);
}

fn set_time(file: &File, attributes: &Attributes) -> io::Result<()> {
    match attributes.mtime_ns.and_then(time) {
        Some(time) => file.set_times(FileTimes::new().set_modified(time)),
        None => Ok(()),
    }
}

fn time(nanoseconds: i64) -> Option<SystemTime> {
    let span = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}
