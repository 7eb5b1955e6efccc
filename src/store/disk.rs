//! What lies on disk, as everybody in this room sees it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::fstatvfs;

use super::StoreError;
use super::catalog::Catalog;
use super::folder::Folder;
use super::identity::Identity;
use super::live::Live;
use super::private::PrivateFolder;
use crate::content::FileName;
use crate::content::name::PRIVATE_FOLDER;

/// The served folder and what is kept in its `.peershare`.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) folder: Folder,
    pub(super) catalog: Catalog,
    /// `.peershare/parts`.
    pub(super) parts: PrivateFolder,
    pub(super) live: Live,
    /// One group is named at a time: the system renames one by one anyway, and would let the others spin.
    pub(super) naming: Mutex<()>,
    /// Where `.peershare` is when it must not be in the folder; goes with this.
    _scratch: Option<tempfile::TempDir>,
}

impl Disk {
    /// Opens the folder and makes what is missing.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let cannot = |what: &str| StoreError::io(format!("cannot {what} the folder {}", path.display()));
        let folder = Folder::make_top(path).map_err(cannot("open"))?;
        Self::within(folder, None).map_err(cannot("write to"))
    }

    /// Opens a folder that is read only, and leaves nothing in it.
    pub(super) fn borrow(path: &Path) -> Result<Self, StoreError> {
        let folder = Folder::open(path)
            .map_err(StoreError::io(format!("cannot open the folder {}", path.display())))?;
        let scratch = tempfile::tempdir().and_then(|scratch| Self::within(folder, Some(scratch)));
        scratch.map_err(StoreError::io("cannot make a temporary folder"))
    }

    fn within(folder: Folder, scratch: Option<tempfile::TempDir>) -> io::Result<Self> {
        let private = match &scratch {
            Some(scratch) => PrivateFolder::open(Folder::open(scratch.path())?.dir(), PRIVATE_FOLDER),
            None => PrivateFolder::open(folder.dir(), PRIVATE_FOLDER),
        }?;
        folder.keep_out_of(private.dir())?;
        let parts = PrivateFolder::open(private.dir(), "parts")?;
        let (catalog, naming) = (Catalog::new(private), Mutex::default());
        Ok(Self { folder, catalog, parts, live: Live::default(), naming, _scratch: scratch })
    }

    /// Brings to the disk whatever was written to this file system: dearer than syncing one file, and
    /// far cheaper than syncing thousands.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return Ok(rustix::fs::syncfs(self.parts.dir())?);
        #[cfg(not(target_os = "linux"))]
        {
            rustix::fs::sync();
            Ok(())
        }
    }

    /// Opens a file of the served folder that must still be what it was.
    pub(super) fn open_unchanged(&self, name: &FileName, identity: &Identity) -> Result<File, StoreError> {
        let file = self.folder.open_file(name)?;
        match Identity::of(&file).map_err(StoreError::reaching(name))? == *identity {
            true => Ok(file),
            false => Err(StoreError::Changed { name: name.clone() }),
        }
    }

    /// Bytes that can still be written.
    pub(super) fn free_space(&self) -> io::Result<u64> {
        let space = fstatvfs(self.parts.dir())?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}
