//! Giving a received file its name, and what it means when that, or writing it, fails.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Dir, OFlags, statat};
use rustix::io::Errno;

use super::disk::Disk;
use super::error::is_full;
use super::{StoreError, attributes, calls, sparse, way};
use crate::config;
use crate::content::FileName;
use crate::content::name::{ARRIVING, is_arriving};

/// A file among the part files, or in a folder of theirs, and where it goes.
pub(super) struct Placing<'a> {
    pub(super) disk: &'a Disk,
    /// The folder that it lies in, and what it is called there.
    pub(super) from: (&'a File, &'a str),
    /// The folder that it goes to, and what it will be called.
    pub(super) to: (&'a File, &'a str),
    /// Whether another file of that name gives way.
    pub(super) replace: bool,
}

/// How a file got its name.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is the very file that it was.
    Renamed,
    /// It had to be copied to another file system; this is the copy.
    Copied(File),
}

/// How a file system keeps two from giving one name: found out by trying, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Guard {
    /// The rename itself fails when the name is taken.
    NoReplace,
    /// A link is never made over a file.
    Link,
    /// Neither is possible (FAT, many FUSE and network mounts): looking first, while no other
    /// process of ours gives names.
    Lock,
}

const GUARDS: [Guard; 3] = [Guard::NoReplace, Guard::Link, Guard::Lock];

impl Placing<'_> {
    /// Gives the file its name, over another one only if that is to be replaced. Where the name
    /// lies on another file system, the file is copied there under a private name, compared, and
    /// renamed.
    pub(super) fn place(&self) -> io::Result<Placed> {
        attributes::lifting(self.to.0, || match self.rename(&GUARDS) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
                self.copy().map(Placed::Copied)
            }
            renamed => renamed.map(|()| Placed::Renamed),
        })
    }

    fn rename(&self, guards: &[Guard]) -> io::Result<()> {
        if self.replace {
            return calls::rename(self.from, self.to);
        }
        let mut last = Errno::NOSYS;
        for guard in guards {
            let renamed = match guard {
                Guard::NoReplace => calls::rename_to_free(self.from, self.to),
                Guard::Link => calls::link(self.from, self.to)
                    .and_then(|()| calls::remove(self.from.0, self.from.1)),
                Guard::Lock => return self.rename_under_lock(),
            };
            match renamed.as_ref().err().and_then(Errno::from_io_error) {
                // What file systems say that cannot do it.
                Some(
                    error @ (Errno::INVAL
                    | Errno::NOSYS
                    | Errno::NOTSUP
                    | Errno::PERM
                    | Errno::MLINK),
                ) => last = error,
                _ => return renamed,
            }
        }
        Err(last.into())
    }

    fn rename_under_lock(&self) -> io::Result<()> {
        let (to, new) = self.to;
        let _held = self.disk.parts.hold(NAMING_LOCK)?;
        match statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST.into()),
            Err(Errno::NOENT) => calls::rename(self.from, self.to),
            Err(error) => Err(error.into()),
        }
    }

    fn copy(&self) -> io::Result<File> {
        let (folder, name) = self.to;
        sweep_arriving(folder);
        let private = unused_name();
        let copied = self.copy_as(folder, &private)?;
        let within = Placing { from: (folder, &private), to: (folder, name), ..*self };
        let placed = within.rename(&GUARDS).inspect_err(|_| {
            // Ours, and of no use any more.
            let _ = calls::remove(folder, &private);
        });
        placed?;
        // No journal of a file system keeps the two changes in their order.
        calls::sync(folder)?;
        calls::remove(self.from.0, self.from.1)?;
        Ok(copied)
    }

    /// Copies the bytes, with time and mode, and reads them again to compare.
    fn copy_as(&self, folder: &File, name: &str) -> io::Result<File> {
        let source = calls::open(self.from.0, self.from.1, OFlags::RDONLY, 0)?;
        let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let copy = calls::open(folder, name, create, 0o600)?;
        // Whoever finds it unlocked may delete it.
        copy.lock()?;
        let copied = copy_bytes(&source, &copy, &mut |_| true).and_then(|()| {
            attributes::take_over(&source, &copy)?;
            calls::sync(&copy)?;
            match same_bytes(&source, &copy)? {
                true => Ok(()),
                false => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, "the copy has other bytes"))
                }
            }
        });
        copied.inspect_err(|_| {
            let _ = calls::remove(folder, name);
        })?;
        Ok(copy)
    }
}

/// A name that no copy has, of this process or another, on this machine or in another container.
fn unused_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{ARRIVING}{random:016x}")
}

/// Deletes copies that killed processes left in a folder.
fn sweep_arriving(folder: &File) {
    let Ok(entries) = Dir::read_from(folder) else { return };
    for entry in entries.flatten() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if !name.to_str().is_some_and(is_arriving) {
            continue;
        }
        let unused = calls::open(folder, name, OFlags::RDONLY | OFlags::NONBLOCK, 0)
            .is_ok_and(|file| file.try_lock().is_ok());
        if unused {
            // It may be gone already.
            let _ = calls::remove(folder, name);
        }
    }
}

/// What is locked while a file gets its name on a file system that cannot refuse a name that is
/// taken.
pub(super) const NAMING_LOCK: &str = "naming";

/// Copies all bytes of a file into an empty one, and its holes as holes. `goes_on` is told how many
/// bytes came with each step, and ends it with an error of the kind `Interrupted`.
pub(super) fn copy_bytes(
    source: &File,
    copy: &File,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<()> {
    let length = source.metadata()?.len();
    calls::set_len(copy, length)?;
    let (mut buffer, mut offset) = (vec![0; config::HASH_PIECE], 0);
    while offset < length {
        let len = usize::try_from(length - offset).unwrap_or(usize::MAX).min(buffer.len());
        let (piece, _) = buffer.split_at_mut(len);
        source.read_exact_at(piece, offset)?;
        sparse::write_all_at(copy, piece, offset)?;
        offset += len as u64;
        if !goes_on(len as u64) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

/// Whether two files have the same bytes.
pub(super) fn same_bytes(one: &File, other: &File) -> io::Result<bool> {
    let length = one.metadata()?.len();
    if other.metadata()?.len() != length {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; config::HASH_PIECE], vec![0; config::HASH_PIECE]);
    let mut offset = 0;
    while offset < length {
        let len = usize::try_from(length - offset).unwrap_or(usize::MAX).min(ours.len());
        let (ours, theirs) = (ours.split_at_mut(len).0, theirs.split_at_mut(len).0);
        one.read_exact_at(ours, offset)?;
        other.read_exact_at(theirs, offset)?;
        if ours != theirs {
            return Ok(false);
        }
        offset += len as u64;
    }
    Ok(true)
}

/// How a file begins that is made to see whether it can be called so.
pub(super) const TRY: &str = "try";

/// Characters that FAT, exFAT and NTFS keep for themselves.
const KEPT_BY_SOME: [char; 8] = ['<', '>', ':', '"', '\\', '|', '?', '*'];

fn is_unusual(name: &FileName) -> bool {
    let odd = |part: &str| part.contains(KEPT_BY_SOME) || part.ends_with(['.', ' ']);
    name.as_str().split('/').any(odd)
}

/// [`StoreError::Unholdable`] when the file system has no such names, found out by trying before
/// anything is received. Ordinary names are not tried.
pub(super) fn check_holdable(disk: &Disk, name: &FileName) -> Result<(), StoreError> {
    if !is_unusual(name) {
        return Ok(());
    }
    for part in name.as_str().split('/') {
        let odd = part.chars().filter(|letter| KEPT_BY_SOME.contains(letter)).take(16);
        let end = part.chars().last().filter(|letter| matches!(letter, '.' | ' '));
        let tried: String = TRY.chars().chain(odd).chain(['x']).chain(end).collect();
        match disk.parts.claim(&tried) {
            Err(error) if is_no_name(&error) => {
                return Err(StoreError::Unholdable { name: name.clone() });
            }
            // Where something else is wrong, it will be told as what it is.
            Err(_) | Ok(None) => {}
            Ok(Some(_)) => {
                let removed = disk.parts.remove(&tried);
                removed.map_err(StoreError::io(format!("cannot prepare to receive {name}")))?;
            }
        }
    }
    Ok(())
}

fn is_no_name(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG | Errno::NOENT)
    )
}

/// What an error means when a part file, of which `needed` bytes are not written, was to become
/// `name`.
pub(super) fn unplaceable(
    disk: &Disk,
    name: &FileName,
    needed: u64,
    error: io::Error,
) -> StoreError {
    let named = name.clone();
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY) => StoreError::InTheWay { name: named },
        Some(Errno::NOTDIR) => {
            let part = way::file_among_folders(&disk.folder, name);
            StoreError::NotAFolder { name: named, part }
        }
        Some(Errno::XDEV | Errno::LOOP) => StoreError::Outside { name: named },
        Some(Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG) => {
            StoreError::Unholdable { name: named }
        }
        Some(Errno::NOENT) if is_unusual(name) => StoreError::Unholdable { name: named },
        _ => unwritable(disk, name, needed, error),
    }
}

/// What an error means when `needed` bytes of `name` were to be written.
pub(super) fn unwritable(
    disk: &Disk,
    name: &FileName,
    needed: u64,
    error: io::Error,
) -> StoreError {
    if let Some(full) = no_space(disk, name, needed, &error) {
        return full;
    }
    match Errno::from_io_error(&error) {
        Some(Errno::FBIG) => StoreError::TooLarge { name: name.clone() },
        _ => StoreError::io(format!("cannot write {name}"))(error),
    }
}

/// Tells a full disk, or a used-up quota, from other errors.
fn no_space(disk: &Disk, name: &FileName, needed: u64, error: &io::Error) -> Option<StoreError> {
    if !is_full(error) {
        return None;
    }
    let free = disk.free_space().unwrap_or(0);
    // Where that much is free, something else is used up: names, or a quota.
    (free < needed).then(|| StoreError::NoSpace { name: name.clone(), needed, free })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    struct Folders {
        top: tempfile::TempDir,
        disk: Disk,
    }

    impl Folders {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            let disk = Disk::open(top.path()).unwrap();
            fs::write(top.path().join(".peershare/parts/part"), b"new").unwrap();
            Self { top, disk }
        }

        fn placing(&self, replace: bool) -> Placing<'_> {
            let (parts, folder) = (self.disk.parts.dir(), self.disk.folder.dir());
            Placing { disk: &self.disk, from: (parts, "part"), to: (folder, "f"), replace }
        }

        fn read(&self, name: &str) -> Option<Vec<u8>> {
            fs::read(self.top.path().join(name)).ok()
        }
    }

    #[test]
    fn no_way_of_naming_overwrites_what_is_there() {
        for guard in GUARDS {
            let folders = Folders::new();
            fs::write(folders.top.path().join("f"), b"precious").unwrap();
            let error = folders.placing(false).rename(&[guard]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{guard:?}");
            assert_eq!(folders.read("f").unwrap(), b"precious");
            fs::remove_file(folders.top.path().join("f")).unwrap();
            folders.placing(false).rename(&[guard]).unwrap();
            assert_eq!(folders.read("f").unwrap(), b"new", "{guard:?}");
            assert!(folders.read(".peershare/parts/part").is_none(), "{guard:?}");
        }
    }

    #[test]
    fn a_copy_for_another_file_system_keeps_time_and_mode_and_leaves_nothing() {
        let folders = Folders::new();
        let part = folders.top.path().join(".peershare/parts/part");
        fs::set_permissions(&part, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&part).unwrap();
        fs::write(folders.top.path().join("f"), b"precious").unwrap();
        assert!(folders.placing(false).copy().is_err());
        assert_eq!(folders.read("f").unwrap(), b"precious");
        let copy = folders.placing(true).copy().unwrap();
        let after = copy.metadata().unwrap();
        assert_eq!(
            (after.modified().unwrap(), after.mode()),
            (before.modified().unwrap(), before.mode())
        );
        assert_eq!(folders.read("f").unwrap(), b"new");
        let names = fs::read_dir(folders.top.path()).unwrap();
        assert_eq!(names.count(), 2, "the file and .peershare");
        // What a killed process left goes with the next copy.
        fs::write(folders.top.path().join(".peershare-arriving-0"), b"torn").unwrap();
        fs::write(&part, b"newer").unwrap();
        folders.placing(true).copy().unwrap();
        assert_eq!(fs::read_dir(folders.top.path()).unwrap().count(), 2);
        assert_eq!(folders.read("f").unwrap(), b"newer");
        assert!(!part.exists());
    }
}
