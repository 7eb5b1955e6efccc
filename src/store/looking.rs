//! Looking at many files by their names, when most lie beside one another.
//!
//! The folder of the last name stays open, so that a look costs one system call and no walk from
//! the top. What is opened that way was reached as [`Folder`] reaches everything, and one part
//! beneath it that is not followed cannot lead out.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FileType, Stat, statat};
use rustix::io::Errno;

use super::StoreError;
use super::folder::Folder;
use super::identity::Identity;
use crate::content::FileName;

pub(super) struct Looker<'a> {
    folder: &'a Folder,
    /// The name of the last file's folder, and that folder or why it cannot be opened.
    last: Option<(String, Result<File, Errno>)>,
}

/// What has a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) identity: Identity,
    pub(super) kind: FileType,
    /// Permission bits.
    pub(super) mode: u32,
    /// Bytes that it takes on the disk.
    pub(super) stored: u64,
}

impl<'a> Looker<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Self { folder, last: None }
    }

    /// What has that name; a link within the folder is what it points to.
    pub(super) fn look(&mut self, name: &FileName) -> Result<Seen, StoreError> {
        let stat = self
            .parent(name)
            .and_then(|parent| Ok(statat(parent, name.last_part(), AtFlags::SYMLINK_NOFOLLOW)?));
        match stat {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                self.follow(name)
            }
            Ok(stat) => Ok(Seen::from(stat)),
            Err(error) => Err(StoreError::reaching(name)(error)),
        }
    }

    /// The same for a regular file only.
    pub(super) fn look_at_file(&mut self, name: &FileName) -> Result<Seen, StoreError> {
        let seen = self.look(name)?;
        match seen.kind {
            FileType::RegularFile => Ok(seen),
            _ => Err(StoreError::NotAFile { name: name.clone() }),
        }
    }

    fn follow(&self, name: &FileName) -> Result<Seen, StoreError> {
        let metadata = self.folder.look(name.as_path()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::DeadLink { name: name.clone() },
            _ => StoreError::reaching(name)(error),
        })?;
        Ok(Seen {
            identity: Identity::from_metadata(&metadata),
            kind: FileType::from_raw_mode(metadata.mode()),
            mode: metadata.mode() & 0o777,
            stored: metadata.blocks().saturating_mul(512),
        })
    }

    /// Whether the last look failed because a part of the name before its last `/` is a file, so
    /// that nothing can ever be put there.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.last, Some((_, Err(Errno::NOTDIR))))
    }

    fn parent(&mut self, name: &FileName) -> io::Result<&File> {
        let Some(folder) = name.folder() else {
            self.last = None;
            return Ok(self.folder.dir());
        };
        if self.last.as_ref().is_none_or(|(last, _)| last != folder) {
            let entered = self.folder.enter(folder.as_ref());
            let entered =
                entered.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
            self.last = Some((folder.to_owned(), entered));
        }
        match &self.last {
            Some((_, Ok(dir))) => Ok(dir),
            Some((_, Err(error))) => Err((*error).into()),
            None => Err(Errno::NOENT.into()),
        }
    }
}

impl From<Stat> for Seen {
    fn from(stat: Stat) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let stored = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512);
        Self { identity: Identity::from_stat(&stat), kind, mode: stat.st_mode & 0o777, stored }
    }
}
