//! A folder of our own files, `.peershare` and what lies in it, shared with other processes.
//!
//! Names here are our own, so nothing needs resolving; but another process may rename or remove a
//! file between our opening and our locking it. Whoever locks one therefore looks afterwards
//! whether the name still leads to it.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, OFlags, statat};
use rustix::io::Errno;

use super::calls;

/// How often a file may vanish under us before we take it for held by another.
const CLAIM_TRIES: usize = 16;

/// How often a lock that somebody else has is tried, and the pause between. Whoever looks what is
/// of use locks every entry for a moment, which must not be taken for a reception.
const LOCK_TRIES: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct PrivateFolder {
    dir: File,
}

impl PrivateFolder {
    /// Opens `part` in `parent`, after making it when it is missing. A link is refused.
    pub(super) fn open(parent: &File, part: &str) -> io::Result<Self> {
        match calls::make_folder(parent, part) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let dir = calls::open(parent, part, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        Ok(Self { dir })
    }

    /// The folder itself.
    pub(super) fn dir(&self) -> &File {
        &self.dir
    }

    /// The folder itself, for another use.
    pub(super) fn into_dir(self) -> File {
        self.dir
    }

    /// Opens a file for reading and writing; `None` when there is none.
    pub(super) fn file(&self, entry: &str) -> io::Result<Option<File>> {
        match self.open_with(entry, OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Opens or makes a file and locks it; `None` when somebody else has it locked.
    pub(super) fn claim(&self, entry: &str) -> io::Result<Option<File>> {
        let mut locked = 0;
        for _ in 0..CLAIM_TRIES {
            let file = self.open_with(entry, OFlags::CREATE)?;
            match file.try_lock() {
                Ok(()) if self.is_current(entry, &file)? => return Ok(Some(file)),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if locked < LOCK_TRIES => {
                    locked += 1;
                    // Nobody is there who could wake us: it may be another process.
                    thread::park_timeout(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Opens or makes a file and locks it, waiting for others, who never hold such a lock for long.
    pub(super) fn hold(&self, entry: &str) -> io::Result<File> {
        for _ in 0..CLAIM_TRIES {
            let file = self.open_with(entry, OFlags::CREATE)?;
            lock(&file)?;
            if self.is_current(entry, &file)? {
                return Ok(file);
            }
        }
        Err(io::Error::other("it is replaced again and again"))
    }

    /// Whether the name still leads to that open file.
    pub(super) fn is_current(&self, entry: &str, file: &File) -> io::Result<bool> {
        let Some(now) = self.file(entry)? else { return Ok(false) };
        let (now, then) = (now.metadata()?, file.metadata()?);
        Ok((now.dev(), now.ino()) == (then.dev(), then.ino()))
    }

    /// Gives a file other bytes, all or none of them, whatever happens meanwhile.
    pub(super) fn replace(&self, entry: &str, bytes: &[u8]) -> io::Result<()> {
        let fresh = format!("{entry}.new");
        let file = self.open_with(&fresh, OFlags::CREATE | OFlags::TRUNC)?;
        calls::write(&file, bytes)?;
        calls::sync_data(&file)?;
        self.rename(&fresh, entry)
    }

    /// Renames a file within the folder, over another if need be.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        calls::rename((&self.dir, from), (&self.dir, to))
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, entry: &str) -> io::Result<()> {
        match calls::remove(&self.dir, entry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Removes a folder, if it is there and empty.
    pub(super) fn remove_folder(&self, entry: &str) -> io::Result<()> {
        match calls::remove_folder(&self.dir, entry) {
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                _ => Err(error),
            },
            removed => removed,
        }
    }

    /// Whether something has that name.
    pub(super) fn has(&self, entry: &str) -> io::Result<bool> {
        match statat(&self.dir, entry, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What the files are called.
    pub(super) fn entries(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !matches!(name.as_str(), "." | "..") {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Makes what was made, renamed and removed here outlast a power failure.
    pub(super) fn sync(&self) -> io::Result<()> {
        calls::sync(&self.dir)
    }

    fn open_with(&self, entry: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::RDWR | OFlags::NONBLOCK;
        match calls::open(&self.dir, entry, flags, 0o666) {
            // What is received may have the permission bits of its source already.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.make_writable(entry).map_err(|_| error)?;
                calls::open(&self.dir, entry, flags, 0o666)
            }
            opened => opened,
        }
    }

    fn make_writable(&self, entry: &str) -> io::Result<()> {
        let file = calls::open(&self.dir, entry, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
        let mode = file.metadata()?.permissions().mode();
        calls::set_permissions(&file, Permissions::from_mode(mode | 0o600))
    }
}

/// Waits for the lock of a file, whatever signals come meanwhile.
fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
