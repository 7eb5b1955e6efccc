//! Small files that were received and have no names yet, found by what they are.
//!
//! Those of this process are entered here while their group is not settled. Those of another are in
//! its group's folder: the first of each content under its root alone. Nobody says when such a file
//! is written as a whole, so what is read of it is proven first.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::OFlags;

use super::disk::Disk;
use super::group::GROUP;
use super::private::PrivateFolder;
use super::{calls, small};
use crate::content::{FileName, Root, whole};
use crate::locks::lock;

/// The small files of this process that have no names yet.
#[derive(Debug, Default)]
pub(super) struct SmallOnes(Mutex<HashMap<Root, Unsettled>>);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Unsettled {
    /// Where it lies …
    pub(super) folder: Weak<PrivateFolder>,
    /// … and under which name.
    pub(super) entry: String,
    /// Which name it gets; it may have it already.
    pub(super) name: FileName,
    pub(super) length: u64,
}

impl SmallOnes {
    /// A file is written.
    pub(super) fn enter(&self, root: Root, file: Unsettled) {
        lock(&self.0).insert(root, file);
    }

    /// These files of that group are found otherwise from now on, or gone.
    pub(super) fn leave(&self, folder: &Arc<PrivateFolder>, roots: impl Iterator<Item = Root>) {
        let mut files = lock(&self.0);
        for root in roots {
            // Another thread may have written the same content.
            if files.get(&root).is_some_and(|file| file.folder.as_ptr() == Arc::as_ptr(folder)) {
                files.remove(&root);
            }
        }
    }

    fn get(&self, root: &Root) -> Option<Unsettled> {
        lock(&self.0).get(root).cloned()
    }
}

/// The folders of all groups, opened once for many files.
#[derive(Default)]
pub(super) struct Groups(Option<Vec<File>>);

impl Groups {
    fn folders(&mut self, disk: &Disk) -> &[File] {
        self.0.get_or_insert_with(|| {
            let entries = disk.parts.entries().unwrap_or_default();
            let groups = entries.iter().filter(|entry| entry.ends_with(GROUP));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            groups.filter_map(|entry| calls::open(disk.parts.dir(), entry, flags, 0).ok()).collect()
        })
    }

    /// Appends the bytes of a small file that has no name yet, if there is one with that content
    /// that is no longer than `most`.
    pub(super) fn append(
        &mut self,
        disk: &Disk,
        root: &Root,
        most: usize,
        to: &mut Vec<u8>,
    ) -> Option<()> {
        if let Some(file) = disk.live.small.get(root) {
            return append_ours(disk, &file, root, most, to);
        }
        let entry = root.to_string();
        self.folders(disk).iter().find_map(|folder| {
            proven(&open(folder, &entry)?, root, most).map(|bytes| to.extend_from_slice(&bytes))
        })
    }
}

/// Whether anybody is at a group, of this process or another. What a killed one left lies there for
/// long, and gets no names by itself.
pub(super) fn has_groups(disk: &Disk) -> bool {
    let entries = disk.parts.entries().unwrap_or_default();
    entries.iter().filter(|entry| entry.ends_with(GROUP)).any(|entry| {
        let folder = PrivateFolder::open(disk.parts.dir(), entry);
        folder.is_ok_and(|folder| folder.dir().try_lock().is_err())
    })
}

fn append_ours(
    disk: &Disk,
    file: &Unsettled,
    root: &Root,
    most: usize,
    to: &mut Vec<u8>,
) -> Option<()> {
    let length = usize::try_from(file.length).ok().filter(|length| *length <= most)?;
    if let Some(open) = file.folder.upgrade().and_then(|folder| open(folder.dir(), &file.entry)) {
        let before = to.len();
        to.resize(before + length, 0);
        let read = to.get_mut(before..).map(|space| open.read_exact_at(space, 0));
        if matches!(read, Some(Ok(()))) {
            return Some(());
        }
        to.truncate(before);
    }
    // It was given its name between two looks. There, anybody may write to it.
    let (named, _) = disk.folder.open_file(&file.name).ok()?;
    proven(&named, root, most).map(|bytes| to.extend_from_slice(&bytes))
}

fn open(folder: &File, entry: &str) -> Option<File> {
    calls::open(folder, entry, OFlags::RDONLY | OFlags::NONBLOCK, 0).ok()
}

/// All bytes of a small file, if they are that content.
fn proven(file: &File, root: &Root, most: usize) -> Option<Vec<u8>> {
    let length = file.metadata().ok()?.len();
    let length =
        usize::try_from(length).ok().filter(|len| *len <= most && small::is_small(length))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let is_it = whole::hash_all(&[&bytes]).pop()??.root() == *root;
    is_it.then_some(bytes)
}
