//! What has the name of a file that is to be received, found out before anything of it comes.

use std::path::Path;

use rustix::fs::FileType;

use super::StoreError;
use super::disk::Disk;
use super::folder::Folder;
use super::identity::Identity;
use super::looking::{Looker, Seen};
use crate::content::FileName;

/// What has the name in the way, when it is a folder.
pub const FOLDER: &str = "a folder";

/// The file that has the name; `None` when the name is free. With `replace`, a link that leads to
/// nothing gives way.
///
/// [`StoreError::Blocked`] and [`StoreError::NotAFolder`] when something else has it or the place
/// of one of its folders, so that no file can ever get it.
pub(super) fn look(
    disk: &Disk,
    name: &FileName,
    replace: bool,
) -> Result<Option<Identity>, StoreError> {
    let mut looker = Looker::new(&disk.folder);
    Ok(look_with(&mut looker, &disk.folder, name, replace)?.map(|seen| seen.identity))
}

/// The same for one of many names.
pub(super) fn look_with(
    looker: &mut Looker<'_>,
    folder: &Folder,
    name: &FileName,
    replace: bool,
) -> Result<Option<Seen>, StoreError> {
    let blocked = |by| Err(StoreError::Blocked { name: name.clone(), by });
    match looker.look(name) {
        Ok(seen) => match seen.kind {
            FileType::RegularFile => Ok(Some(seen)),
            kind => blocked(kind_of(kind)),
        },
        Err(StoreError::DeadLink { .. }) if replace => Ok(None),
        Err(StoreError::DeadLink { .. }) => blocked("a link that leads to nothing"),
        Err(StoreError::NotFound { .. }) if looker.is_blocked() => Err(StoreError::NotAFolder {
            name: name.clone(),
            part: file_among_folders(folder, name),
        }),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What people call files that are none.
pub(super) fn kind_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => FOLDER,
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a link",
        _ => "something that is no file",
    }
}

/// The topmost part of the name that is a file where a folder is needed; nobody may have moved it
/// since.
pub(super) fn file_among_folders(folder: &Folder, name: &FileName) -> String {
    let mut above: Vec<&Path> = name.as_path().ancestors().skip(1).collect();
    above.reverse();
    let is_file = |part: &&Path| folder.look(part).is_ok_and(|metadata| !metadata.is_dir());
    let found = above.into_iter().filter(|part| !part.as_os_str().is_empty()).find(is_file);
    found.map_or_else(
        || name.folder().unwrap_or(name.as_str()).to_owned(),
        |part| part.display().to_string(),
    )
}
