//! What lies on disk, as everybody in this room sees it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use rustix::fs::{Access, AtFlags, accessat, fstatvfs, statat};
use rustix::io::Errno;

use super::StoreError;
use super::bounds::Bounds;
use super::calls;
use super::catalog::Catalog;
use super::folder::{Folder, Place, place_in, place_of};
use super::identity::Identity;
use super::live::Live;
use super::private::PrivateFolder;
use super::xdg::cache_folder;
use crate::content::name::PRIVATE_FOLDER;
use crate::content::{Digest, FileName};

/// What the folder of part files is called.
const PARTS: &str = "parts";

/// The served folder and what is kept in its `.peershare`.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) folder: Folder,
    pub(super) catalog: Catalog,
    /// `.peershare/parts`.
    pub(super) parts: PrivateFolder,
    pub(super) live: Live,
    /// One group is named at a time: the system renames one by one anyway, and would let the others
    /// spin.
    pub(super) naming: Mutex<()>,
    /// What may be received.
    bounds: OnceLock<Bounds>,
    /// Why nothing can be received, where that is so.
    closed: Option<io::Error>,
    /// Where the folder was asked for, and what has to be there still; nothing of one that is
    /// borrowed.
    asked: Option<Asked>,
    /// Where `.peershare` is when it must not be in the folder; goes with this.
    _scratch: Option<tempfile::TempDir>,
}

/// The path that a folder was opened by, and which folders were found there.
#[derive(Debug)]
struct Asked {
    path: PathBuf,
    top: Place,
    /// `.peershare` and `.peershare/parts`, where they are in the folder.
    private: Option<(Place, Place)>,
}

/// What is found where a folder was.
#[derive(Debug)]
pub(super) enum Found {
    /// The same.
    Same,
    /// Another folder, or the same without our own files in it.
    Other,
    /// Nothing that is a folder.
    Nothing,
}

/// What lies beside the files, or elsewhere.
struct Private {
    folder: PrivateFolder,
    closed: Option<io::Error>,
    scratch: Option<tempfile::TempDir>,
}

impl Disk {
    /// Opens the folder, after making it when it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_dir() {
            std::fs::create_dir_all(path).map_err(no_folder(path))?;
        }
        Self::open_existing(path)
    }

    /// Opens a folder that is there. Where we may not write to it, it is served all the same, and
    /// our own files lie in the user's cache folder.
    pub(super) fn open_existing(path: &Path) -> Result<Self, StoreError> {
        let folder = Folder::open(path).map_err(no_folder(path))?;
        let cannot =
            || StoreError::io(format!("cannot keep anything for the folder {}", path.display()));
        let private = match writable_private(&folder) {
            Ok(folder) => Private { folder, closed: None, scratch: None },
            Err(error) if is_closed(&error) => {
                private_elsewhere(&folder, error).map_err(cannot())?
            }
            Err(error) => return Err(cannot()(error)),
        };
        let mut disk = Self::within(folder, private).map_err(cannot())?;
        disk.asked = Some(Asked::of(&disk, path).map_err(cannot())?);
        Ok(disk)
    }

    /// Opens a folder that is read only, and leaves nothing in it.
    pub(super) fn borrow(path: &Path) -> Result<Self, StoreError> {
        let folder = Folder::open(path).map_err(no_folder(path))?;
        let closed = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let private = temporary_private(closed).and_then(|private| Self::within(folder, private));
        private.map_err(StoreError::io("cannot make a temporary folder"))
    }

    /// An empty folder that goes with this; nothing can be received into it.
    pub(super) fn nowhere() -> Result<Self, StoreError> {
        let cannot = StoreError::io("cannot make a temporary folder");
        let private =
            temporary_private(io::ErrorKind::ReadOnlyFilesystem.into()).and_then(|private| {
                let empty = PrivateFolder::open(private.folder.dir(), "empty")?;
                Self::within(Folder::of(empty.into_dir(), PathBuf::new()), private)
            });
        private.map_err(cannot)
    }

    fn within(folder: Folder, private: Private) -> io::Result<Self> {
        let Private { folder: private, closed, scratch } = private;
        let parts = PrivateFolder::open(private.dir(), PARTS)?;
        folder.keep_out_of(&[private.dir(), parts.dir()])?;
        let (catalog, naming) = (Catalog::new(private), Mutex::default());
        let (live, bounds, asked) = (Live::default(), OnceLock::new(), None);
        Ok(Self { folder, catalog, parts, live, naming, bounds, closed, asked, _scratch: scratch })
    }

    /// Looks again where the folder was asked for: a disk may have been mounted there, the folder
    /// moved away, or our own files removed by somebody who needed room.
    pub(super) fn look_again(&self) -> Found {
        let Some(asked) = &self.asked else { return Found::Same };
        match std::fs::metadata(&asked.path) {
            Ok(now) if !now.is_dir() => Found::Nothing,
            Ok(now) if (now.dev(), now.ino()) != asked.top => Found::Other,
            // It could not be written to, and now it can.
            Ok(_) if self.closed.is_some() && is_writable(self.folder.dir()) => Found::Other,
            Ok(_) if asked.private.is_none() => Found::Same,
            Ok(_) if self.private_places().ok() == asked.private => Found::Same,
            Ok(_) => Found::Other,
            Err(_) => Found::Nothing,
        }
    }

    /// [`StoreError::Moved`] when what is received now would not be where people look for it.
    pub(super) fn check_in_force(&self) -> Result<(), StoreError> {
        match &self.asked {
            Some(asked) if !matches!(self.look_again(), Found::Same) => {
                Err(StoreError::Moved { folder: asked.path.display().to_string() })
            }
            _ => Ok(()),
        }
    }

    /// [`StoreError::Closed`] when nothing can be received.
    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        let Some(error) = &self.closed else { return Ok(()) };
        let folder = self.folder.path().display().to_string();
        Err(StoreError::Closed { folder, why: error.kind().to_string() })
    }

    /// The path that the folder was asked for by.
    pub(super) fn asked(&self) -> Option<&Path> {
        self.asked.as_ref().map(|asked| asked.path.as_path())
    }

    fn private_places(&self) -> io::Result<(Place, Place)> {
        let parts = Path::new(PRIVATE_FOLDER).join(PARTS);
        let top = self.folder.dir();
        let private = statat(top, PRIVATE_FOLDER, AtFlags::SYMLINK_NOFOLLOW)?;
        let parts = statat(top, &parts, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((place_in(&private), place_in(&parts)))
    }

    /// Brings to the disk whatever was written to this file system: dearer than syncing one file,
    /// and far cheaper than syncing thousands.
    pub(super) fn sync(&self) -> io::Result<()> {
        calls::sync_all(self.parts.dir())
    }

    /// What a file of the served folder is, if it is there. An error when the system is too short
    /// of descriptors or memory to tell.
    pub(super) fn identity_if_there(
        &self,
        name: &FileName,
    ) -> Result<Option<Identity>, StoreError> {
        match self.folder.identity(name) {
            Ok(identity) => Ok(Some(identity)),
            Err(error) if error.is_passing() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Opens a file of the served folder that must still be what it was, or have become longer.
    pub(super) fn open_at_least(
        &self,
        name: &FileName,
        identity: &Identity,
    ) -> Result<File, StoreError> {
        let (file, now) = self.folder.open_file(name)?;
        match identity.is_or_grew(&now) {
            true => Ok(file),
            false => Err(StoreError::Changed { name: name.clone() }),
        }
    }

    /// Opens a file of the served folder that must still be what it was.
    pub(super) fn open_unchanged(
        &self,
        name: &FileName,
        identity: &Identity,
    ) -> Result<File, StoreError> {
        let (file, now) = self.folder.open_file(name)?;
        match now == *identity {
            true => Ok(file),
            false => Err(StoreError::Changed { name: name.clone() }),
        }
    }

    /// Removes our own folders, and the folder itself, where nothing is in them.
    pub(super) fn leave_nothing(&self) {
        if self.closed.is_none() {
            self.leave_no_folders();
            let _ = std::fs::remove_dir(self.folder.path());
        }
    }

    /// Removes our own folders where nothing is in them.
    fn leave_no_folders(&self) {
        if self.closed.is_some() {
            return;
        }
        let parts = Path::new(PRIVATE_FOLDER).join(PARTS);
        for folder in [parts.as_path(), Path::new(PRIVATE_FOLDER)] {
            // One with anything in it stays.
            let _ = calls::remove_folder(self.folder.dir(), folder);
        }
    }

    /// Removes what is known of the folder's files, and our own folders if nothing else is in them.
    pub(super) fn leave_no_trace(&self) {
        if self.closed.is_none() {
            let catalog = Path::new(PRIVATE_FOLDER).join("catalog");
            // It may not be there.
            let _ = calls::remove(self.folder.dir(), &catalog);
            self.leave_no_folders();
        }
    }

    /// Takes no more than that from now on; only the first call does anything.
    pub(super) fn bound(&self, bounds: Bounds) {
        let _ = self.bounds.set(bounds);
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds.get().copied().unwrap_or_default()
    }

    /// Bytes that can still be written.
    pub(super) fn free_space(&self) -> io::Result<u64> {
        self.free_in(self.parts.dir())
    }

    /// Bytes that can still be written to the file system of a folder, but for the reserve.
    fn free_in(&self, folder: &File) -> io::Result<u64> {
        let space = fstatvfs(folder)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        Ok(free.saturating_sub(self.bounds().reserve))
    }

    /// Bytes that can still be written where a name leads, when that is another file system.
    pub(super) fn free_space_elsewhere(&self, name: &FileName) -> io::Result<Option<u64>> {
        let above =
            name.as_path().ancestors().skip(1).find_map(|folder| self.folder.enter(folder).ok());
        match above {
            Some(folder) if place_of(&folder)?.0 != place_of(self.parts.dir())?.0 => {
                self.free_in(&folder).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Asked {
    fn of(disk: &Disk, path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let private = if disk.closed.is_none() { Some(disk.private_places()?) } else { None };
        Ok(Self { path, top: place_of(disk.folder.dir())?, private })
    }
}

fn no_folder(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| match path.metadata() {
        Ok(found) if !found.is_dir() => StoreError::NoFolder { path: path.display().to_string() },
        _ => StoreError::io(format!("cannot open the folder {}", path.display()))(error),
    }
}

/// `.peershare` in the folder, where we may write to it.
fn writable_private(folder: &Folder) -> io::Result<PrivateFolder> {
    let private = PrivateFolder::open(folder.dir(), PRIVATE_FOLDER)?;
    accessat(private.dir(), ".", Access::WRITE_OK, AtFlags::EACCESS)?;
    Ok(private)
}

fn is_writable(folder: &File) -> bool {
    accessat(folder, ".", Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

fn is_closed(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM))
}

/// Our own files for a folder that we may not write to: in the user's cache folder, so that nothing
/// is hashed again the next time, or for this run.
fn private_elsewhere(folder: &Folder, closed: io::Error) -> io::Result<Private> {
    let (device, inode) = place_of(folder.dir())?;
    let key = Digest::of(format!("{} {device} {inode}", folder.path().display()).as_bytes());
    let cached = cache_folder().map(|cache| cache.join(env!("CARGO_PKG_NAME")));
    let made = cached.ok_or_else(|| io::ErrorKind::NotFound.into()).and_then(|cached| {
        std::fs::create_dir_all(&cached)?;
        PrivateFolder::open(Folder::open(&cached)?.dir(), &key.to_string())
    });
    match made {
        Ok(folder) => Ok(Private { folder, closed: Some(closed), scratch: None }),
        Err(error) => {
            log::debug!("no cache folder, so that files are hashed again the next time: {error}");
            temporary_private(closed)
        }
    }
}

fn temporary_private(closed: io::Error) -> io::Result<Private> {
    let scratch = tempfile::tempdir()?;
    let folder = PrivateFolder::open(Folder::open(scratch.path())?.dir(), PRIVATE_FOLDER)?;
    Ok(Private { folder, closed: Some(closed), scratch: Some(scratch) })
}
