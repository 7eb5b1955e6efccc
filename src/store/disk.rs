//! What lies on disk, as everybody in this room sees it.

use std::fs::File;
use std::path::Path;

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
}

impl Disk {
    /// Opens the folder and makes what is missing.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let cannot = |what: &str| StoreError::io(format!("cannot {what} the folder {}", path.display()));
        let folder = Folder::open(path).map_err(cannot("open"))?;
        let private = PrivateFolder::open(folder.dir(), PRIVATE_FOLDER).map_err(cannot("write to"))?;
        let parts = PrivateFolder::open(private.dir(), "parts").map_err(cannot("write to"))?;
        Ok(Self { folder, catalog: Catalog::new(private), parts, live: Live::default() })
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
    pub(super) fn free_space(&self) -> std::io::Result<u64> {
        let space = fstatvfs(self.parts.dir())?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}
