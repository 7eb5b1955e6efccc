//! Files from anywhere on this machine, served by their content id while a store lives.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::identity::Identity;
use super::placing::same_bytes;
use super::{Store, StoreError};
use crate::content::name::BadName;
use crate::content::{Attributes, FileName, Manifest};
use crate::locks::lock;

/// A file from outside the served folder.
#[derive(Clone)]
pub(super) struct Lent {
    path: PathBuf,
    pub(super) identity: Identity,
    mode: u32,
    pub(super) manifest: Arc<Manifest>,
}

impl Store {
    /// Serves a file from anywhere on this machine by its content id, under the last part of its
    /// path, while this store lives; it is never listed. Hashes it first; `progress` is as for
    /// [`Self::manifest`].
    pub fn lend(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<Manifest>, StoreError> {
        let cannot = || StoreError::io(format!("cannot open {}", path.display()));
        let path = std::path::absolute(path).map_err(cannot())?;
        let name = last_part(&path)?;
        let file = open_anywhere(&path, &name)?;
        let metadata = file.metadata().map_err(cannot())?;
        if metadata.len() == 0 {
            check_empty(&file, &name)?;
        }
        let (identity, mode) = (Identity::from_metadata(&metadata), metadata.mode());
        let lent = |lent: &&Lent| lent.path == path && lent.identity == identity;
        if let Some(lent) = lock(&self.now().lent).values().find(lent) {
            return Ok(Arc::clone(&lent.manifest));
        }
        let open = {
            let (path, name) = (path.clone(), name.clone());
            Box::new(move || open_unchanged(&path, &name, &identity))
        };
        let manifest = self.now().hashing.hash_elsewhere(&name, identity, open, progress)?;
        let lent = Lent { path, identity, mode, manifest: Arc::clone(&manifest) };
        lock(&self.now().lent).insert(manifest.root(), lent);
        Ok(manifest)
    }
}

/// Bytes of a file anywhere on this machine.
pub fn length_at(path: &Path) -> Result<u64, StoreError> {
    let metadata = std::fs::metadata(path);
    metadata
        .map(|metadata| metadata.len())
        .map_err(StoreError::io(format!("cannot open {}", path.display())))
}

/// [`StoreError::NoSize`] when a file that says it is empty is not.
pub(super) fn check_empty(file: &File, name: &FileName) -> Result<(), StoreError> {
    match file.read_at(&mut [0], 0) {
        Ok(got) if got > 0 => Err(StoreError::NoSize { name: name.clone() }),
        _ => Ok(()),
    }
}

impl Lent {
    pub(super) fn attributes(&self) -> Attributes {
        Attributes { mtime_ns: Some(self.identity.mtime_ns), mode: Some(self.mode & 0o777) }
    }

    pub(super) fn open(&self) -> Result<File, StoreError> {
        open_unchanged(&self.path, self.manifest.name(), &self.identity)
    }
}

/// Whether two files anywhere on this machine have the same bytes; folders never do.
pub fn same_content(one: &Path, other: &Path) -> bool {
    let open = |path: &Path| {
        File::open(path).ok().filter(|file| file.metadata().is_ok_and(|data| data.is_file()))
    };
    match (open(one), open(other)) {
        (Some(one), Some(other)) => same_bytes(&one, &other).unwrap_or(false),
        _ => false,
    }
}

/// What lies in the folder that a path would be in, each as a path like that one; folders with a
/// `/`.
pub fn names_beside(path: &Path) -> Vec<String> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries =
        std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let path = folder
            .map_or_else(|| entry.file_name().into(), |folder| folder.join(entry.file_name()));
        let slash = if entry.path().is_dir() { "/" } else { "" };
        Some(format!("{}{slash}", path.to_str()?))
    };
    entries.filter_map(name).collect()
}

fn last_part(path: &Path) -> Result<FileName, StoreError> {
    let part = path.file_name().ok_or(BadName::Empty)?;
    Ok(part.to_str().ok_or(BadName::Control)?.parse()?)
}

/// Opens a regular file by its path; a FIFO or a device cannot make it hang.
fn open_anywhere(path: &Path, name: &FileName) -> Result<File, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let cannot = || StoreError::io(format!("cannot open {}", path.display()));
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
    let file = File::from(opened.map_err(cannot())?);
    match file.metadata().map_err(cannot())?.is_file() {
        true => Ok(file),
        false => Err(StoreError::NotAFile { name: name.clone() }),
    }
}

fn open_unchanged(path: &Path, name: &FileName, identity: &Identity) -> Result<File, StoreError> {
    let file = open_anywhere(path, name)?;
    match identity.may_begin(&Identity::of(&file).map_err(StoreError::reaching(name))?) {
        true => Ok(file),
        false => Err(StoreError::Changed { name: name.clone() }),
    }
}
