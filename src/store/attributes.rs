//! Modification times and permission bits of files that are received.

use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::calls;
use crate::content::Attributes;
use crate::locks::lock;

/// Permission bits that our own folders keep whatever another peer says: their owner can go into
/// them.
const OWN_FOLDER: u32 = 0o500;

/// Permission bits that concern nobody but the owner.
const OWNER: u32 = 0o700;

/// Permission bits with which the owner can make and rename what lies in a folder.
const WRITABLE_FOLDER: u32 = 0o300;

/// Sets the modification time, and the permission bits if they are not `now`. The other side's bits
/// never allow more than our own umask does. A file system that cannot is no reason to refuse a
/// file; it is logged.
pub(super) fn apply(file: &File, attributes: &Attributes, now: Option<u32>) {
    set(file, attributes, attributes.permissions().map(allowed).filter(|mode| now != Some(*mode)));
}

/// The same for a folder, which is to have the permission bits `mode`.
pub(super) fn apply_to_folder(folder: &File, attributes: &Attributes, mode: Option<u32>) {
    set(folder, attributes, mode);
}

/// The permission bits that a folder gets which is to have `mode`, and has `now`: who else may enter
/// a folder that is here already is not for the other side to say.
pub(super) fn folder_mode(mode: u32, now: u32) -> u32 {
    (allowed(mode) | OWN_FOLDER) & (now | OWNER)
}

fn set(file: &File, attributes: &Attributes, mode: Option<u32>) {
    let result = set_time(file, attributes).and_then(|()| match mode {
        Some(mode) => calls::set_permissions(file, Permissions::from_mode(mode)),
        None => Ok(()),
    });
    if let Err(error) = result {
        tell_once(&error);
    }
}

/// Gives a copy the time and the permission bits of its source, as far as its file system holds
/// them.
pub(super) fn take_over(source: &File, copy: &File) -> io::Result<()> {
    let metadata = source.metadata()?;
    let time = calls::set_times(copy, FileTimes::new().set_modified(metadata.modified()?));
    let set = time.and_then(|()| calls::set_permissions(copy, metadata.permissions()));
    if let Err(error) = set {
        tell_once(&error);
    }
    Ok(())
}

/// Says once that times and permission bits are lost; for every file of a disk the reason is the
/// same.
fn tell_once(error: &io::Error) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        log::warn!("the file system does not keep the times or the permission bits of what arrives: {error}");
    });
}

/// What is left of permission bits under the umask of this process.
fn allowed(mode: u32) -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    mode & !UMASK.get_or_init(|| told_umask().unwrap_or_else(tried_umask))
}

/// The umask as Linux tells it.
fn told_umask() -> Option<u32> {
    // It stands in the first lines.
    let mut status = [0; 512];
    let len = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status)).ok()?;
    let status = String::from_utf8_lossy(status.get(..len)?);
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

/// The umask where it is told only to those who set it; a file made at this moment is nobody
/// else's.
#[allow(clippy::useless_conversion, reason = "the type differs between systems")]
fn tried_umask() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.bits().into()
}

/// Changes what lies in `folder`. Where its permission bits forbid that to us, who own it, they are
/// lifted meanwhile: what was received with such bits once is to be brought up to date later.
pub(super) fn lifting<T>(
    folder: &File,
    mut change: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let denied = match change() {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::ACCESS) => error,
        other => return other,
    };
    // Two threads that lift the same folder would restore what the other needs.
    static LIFTING: Mutex<()> = Mutex::new(());
    let _lifting = lock(&LIFTING);
    let before = folder.metadata()?.permissions();
    if before.mode() & WRITABLE_FOLDER == WRITABLE_FOLDER {
        // Another process has lifted it just now, or something else is forbidden.
        return change();
    }
    let lifted = Permissions::from_mode(before.mode() | WRITABLE_FOLDER);
    if calls::set_permissions(folder, lifted).is_err() {
        return Err(denied);
    }
    let changed = change();
    if let Err(error) = calls::set_permissions(folder, before) {
        log::warn!("a folder that was made writable for a moment stays so: {error}");
    }
    changed
}

fn set_time(file: &File, attributes: &Attributes) -> io::Result<()> {
    match attributes.mtime_ns.and_then(time) {
        Some(time) => calls::set_times(file, FileTimes::new().set_modified(time)),
        None => Ok(()),
    }
}

fn time(nanoseconds: i64) -> Option<SystemTime> {
    let span = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_umask_is_told_as_it_is() {
        // Trying it would change it for other tests of this process.
        let made = tempfile::tempdir().unwrap();
        let file = File::create(made.path().join("f")).unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(told_umask().map(|mask| 0o666 & !mask), Some(mode));
        assert_eq!(allowed(0o7666) & 0o777, mode);
    }

    #[test]
    fn a_folder_is_lifted_only_for_the_change() {
        let made = tempfile::tempdir().unwrap();
        let folder = File::open(made.path()).unwrap();
        fs::set_permissions(made.path(), Permissions::from_mode(0o555)).unwrap();
        let mode = || fs::metadata(made.path()).unwrap().permissions().mode() & 0o777;
        let mut tries = 0;
        // Root is denied nothing, so the first denial is played.
        let changed = lifting(&folder, || {
            tries += 1;
            if tries == 1 { Err(Errno::ACCESS.into()) } else { Ok(mode()) }
        });
        assert_eq!(changed.unwrap(), 0o755);
        assert_eq!(mode(), 0o555);
        let failed: io::Result<()> = lifting(&folder, || Err(Errno::ACCESS.into()));
        assert!(failed.is_err() && mode() == 0o555);
    }
}
