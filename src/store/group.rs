//! Many small files received together, so that what makes one file safe is paid for once a group.
//!
//! A file of a group is written to a folder of the group's own,
//! `.peershare/parts/<…>.group/<root>`, with its time and permissions, or `<root>.<n>` where the
//! group has that content already. Others may have it from there at once (`unsettled`). When enough
//! of them are there, the group is *settled*: one `syncfs` brings all of them to the disk, each is renamed to
//! its name without overwriting, and one write enters them in the catalog.
//!
//! **What is certain after a power cut.** A small file never has its name without its bytes,
//! because it is synced before it is renamed. Which of the last few thousand files have their names
//! already is certain only after [`Store::sync`](super::Store::sync), with which every transfer
//! ends; the same command finds out and continues. The catalog is written after the bytes it is
//! about are synced, so it never vouches for a file that was lost.
//!
//! A killed process leaves its group's folder behind. It was locked while the process lived;
//! whoever finds it unlocked takes the files out again ([`Salvage`]), after proving them like
//! received ones.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use rustix::fs::{AtFlags, OFlags, statat};
use rustix::io::Errno;

use super::disk::Disk;
use super::error::is_shortage;
use super::identity::Identity;
use super::leftovers::has_its_name;
use super::limits::open_folders;
use super::placing::{Placed, Placing, unplaceable, unwritable};
use super::private::PrivateFolder;
use super::record::Head;
use super::unsettled::Unsettled;
use super::{StoreError, attributes, calls, small, sparse};
use crate::config;
use crate::content::{Attributes, Digest, FileName, Root, WholeFile};
use crate::locks::lock;

/// What the folder of a group is called behind its number.
pub(super) const GROUP: &str = ".group";

/// Received small files that have no names yet. One thread's own; dropping it keeps the files for
/// whoever continues.
#[derive(Debug)]
pub struct Group {
    disk: Arc<Disk>,
    entry: String,
    folder: Arc<PrivateFolder>,
    waiting: Vec<Waiting>,
    bytes: u64,
    since: Instant,
    /// Number of the next file whose content is there already.
    next: u64,
    replace: bool,
    folders: HashMap<String, File>,
}

#[derive(Debug)]
struct Waiting {
    entry: String,
    identity: Identity,
    head: Head,
    digests: Vec<Digest>,
}

/// A file of a group that has its name now, or why not.
pub type Settled = (FileName, Result<(), StoreError>);

impl Group {
    /// An empty group. With `replace`, other files of its files' names give way.
    pub(super) fn new(disk: Arc<Disk>, replace: bool) -> Result<Self, StoreError> {
        let (entry, folder) =
            make_folder(&disk).map_err(StoreError::io("cannot prepare to receive files"))?;
        let (waiting, folders) = (Vec::new(), HashMap::new());
        Ok(Self {
            disk,
            entry,
            folder: Arc::new(folder),
            waiting,
            bytes: 0,
            since: Instant::now(),
            next: 0,
            replace,
            folders,
        })
    }

    /// Writes a file that is to have that name once the group is settled.
    pub fn put(
        &mut self,
        name: &FileName,
        whole: &WholeFile<'_>,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            self.since = Instant::now();
        }
        let mut entry = whole.root().to_string();
        let mut written = self.frugally(|group| group.write(&entry, whole.bytes(), attributes));
        if matches!(&written, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            entry = format!("{}.{}", whole.root(), self.next);
            self.next += 1;
            written = self.frugally(|group| group.write(&entry, whole.bytes(), attributes));
        }
        let identity = written.map_err(|error| {
            // What is left of it would only be in the way of nobody.
            let _ = self.folder.remove(&entry);
            unwritable(&self.disk, name, whole.bytes().len() as u64, error)
        })?;
        let folder = Arc::downgrade(&self.folder);
        let length = whole.bytes().len() as u64;
        let file = Unsettled { folder, entry: entry.clone(), name: name.clone(), length };
        self.disk.live.small.enter(whole.root(), file);
        let (head, digests) = small::record_of(name.clone(), identity, whole);
        self.bytes += whole.bytes().len() as u64;
        self.waiting.push(Waiting { entry, identity, head, digests });
        Ok(())
    }

    /// Whether it is time to settle.
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty()
            && (self.waiting.len() >= config::GROUP_FILES
                || self.bytes >= config::GROUP_BYTES
                || self.since.elapsed() >= config::GROUP_TIME)
    }

    /// Gives all files their names, each for itself, after syncing their bytes.
    pub fn settle(&mut self) -> Vec<Settled> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let roots: Vec<Root> = waiting.iter().map(|waiting| waiting.head.root).collect();
        let synced = self.disk.sync().map_err(StoreError::io("cannot sync what was received"));
        if let Err(error) = synced.and_then(|()| self.disk.check_in_force()) {
            return waiting
                .into_iter()
                .map(|waiting| (waiting.head.name, Err(error.again())))
                .collect();
        }
        let (mut settled, mut known) =
            (Vec::with_capacity(waiting.len()), Vec::with_capacity(waiting.len()));
        let disk = Arc::clone(&self.disk);
        let naming = lock(&disk.naming);
        for Waiting { entry, identity, mut head, digests } in waiting {
            let name = head.name.clone();
            match self.frugally(|group| group.place(&name, &entry)) {
                Ok(now) => {
                    // A copy is another file, with the same bytes and time.
                    if (identity.length, identity.mtime_ns) == (now.length, now.mtime_ns) {
                        head.identity = now;
                        known.push((head, digests));
                    }
                    settled.push((name, Ok(())));
                }
                Err(error) => {
                    let _ = self.folder.remove(&entry);
                    let error = unplaceable(&self.disk, &name, 0, error);
                    settled.push(match error {
                        StoreError::InTheWay { .. } if self.is_there(&head) => (name, Ok(())),
                        error => (name, Err(error)),
                    });
                }
            }
        }
        drop(naming);
        self.disk.catalog.remember_all(known, SystemTime::now());
        // Only now: in between, others find them under either name.
        self.disk.live.small.leave(&self.folder, roots.into_iter());
        settled
    }

    /// Whether somebody else has given the name to the same content meanwhile.
    fn is_there(&self, head: &Head) -> bool {
        let Ok(identity) = self.disk.folder.identity(&head.name) else { return false };
        let hash = || small::hash(&self.disk, &[(head.name.clone(), identity)]).pop();
        identity.length == head.identity.length
            && matches!(hash(), Some(Ok(root)) if root == head.root)
    }

    /// Does it again without the folders that are kept open when no more files may be.
    fn frugally<T>(&mut self, act: impl Fn(&mut Self) -> io::Result<T>) -> io::Result<T> {
        match act(self) {
            Err(error) if is_shortage(&error) && !self.folders.is_empty() => {
                self.folders.clear();
                act(self)
            }
            other => other,
        }
    }

    fn write(&self, entry: &str, bytes: &[u8], attributes: &Attributes) -> io::Result<Identity> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mode = attributes.permissions().unwrap_or(0o666);
        let file = calls::open(self.folder.dir(), entry, flags, mode)?;
        if bytes.len() > sparse::PIECE {
            calls::set_len(&file, bytes.len() as u64)?;
        }
        sparse::write_all_at(&file, bytes, 0)?;
        let metadata = file.metadata()?;
        attributes::apply(&file, attributes, Some(metadata.mode() & 0o777));
        let identity = Identity::from_metadata(&metadata);
        Ok(Identity { mtime_ns: attributes.mtime_ns.unwrap_or(identity.mtime_ns), ..identity })
    }

    /// Renames a file to its name; says what it is there.
    fn place(&mut self, name: &FileName, entry: &str) -> io::Result<Identity> {
        let Self { disk, folder, folders, replace, .. } = self;
        let to = (folder_of(disk, folders, name)?, name.last_part());
        let placing = Placing { disk, from: (folder.dir(), entry), to, replace: *replace };
        match placing.place()? {
            Placed::Renamed => {
                Ok(Identity::from_stat(&statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW)?))
            }
            Placed::Copied(copy) => Identity::of(&copy),
        }
    }
}

/// The open folder that a file goes into, made where it is missing.
fn folder_of<'a>(
    disk: &'a Disk,
    folders: &'a mut HashMap<String, File>,
    name: &FileName,
) -> io::Result<&'a File> {
    let Some(folder) = name.folder() else { return Ok(disk.folder.dir()) };
    if !folders.contains_key(folder) {
        if folders.len() >= open_folders() {
            folders.clear();
        }
        // The sync at the end of the transfer is for new folders too.
        let open = disk.folder.make(folder.as_ref(), &|_| Ok(()))?;
        folders.insert(folder.to_owned(), open);
    }
    folders.get(folder).ok_or_else(|| Errno::NOENT.into())
}

impl Drop for Group {
    fn drop(&mut self) {
        let roots = self.waiting.iter().map(|waiting| waiting.head.root);
        self.disk.live.small.leave(&self.folder, roots);
        // Only an empty folder goes.
        let _ = self.disk.parts.remove_folder(&self.entry);
    }
}

/// Makes and locks a folder that nobody else has.
fn make_folder(disk: &Disk) -> io::Result<(String, PrivateFolder)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    for _ in 0..16 {
        let entry = format!("{}-{}{GROUP}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        if disk.parts.has(&entry)? {
            continue;
        }
        let folder = PrivateFolder::open(disk.parts.dir(), &entry)?;
        // Somebody who looks for abandoned groups may have it for a moment.
        if folder.dir().try_lock().is_ok() && disk.parts.has(&entry)? {
            return Ok((entry, folder));
        }
    }
    Err(io::Error::other("the folders of other groups are in the way"))
}

/// Files that killed processes received but did not name.
#[derive(Debug, Default)]
pub struct Salvage {
    /// The folders, with their names.
    abandoned: Vec<(String, PrivateFolder)>,
    parts: Option<Arc<Disk>>,
    /// In which folders a content lies, and under which names.
    files: HashMap<Root, Vec<(usize, String)>>,
}

impl Salvage {
    /// Takes possession of all abandoned groups.
    pub(super) fn find(disk: &Arc<Disk>) -> io::Result<Self> {
        let mut salvage = Self::default();
        salvage.parts = Some(Arc::clone(disk));
        for entry in disk.parts.entries()?.into_iter().filter(|entry| entry.ends_with(GROUP)) {
            let Ok(folder) = PrivateFolder::open(disk.parts.dir(), &entry) else { continue };
            if folder.dir().try_lock().is_ok() {
                let place = salvage.abandoned.len();
                for file in folder.entries()? {
                    if let Some(Ok(root)) = file.split('.').next().map(str::parse::<Digest>) {
                        salvage.files.entry(Root(root)).or_default().push((place, file));
                    }
                }
                salvage.abandoned.push((entry, folder));
            }
        }
        Ok(salvage)
    }

    /// Whether nothing was left behind.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The bytes of a file that may have that content, which is for the caller to prove. They are
    /// given once.
    pub fn take(&mut self, root: &Root) -> Option<Vec<u8>> {
        let copies = self.files.remove(root)?;
        let mut found = None;
        for (place, entry) in copies {
            let Some((_, folder)) = self.abandoned.get(place) else { continue };
            found = found.or_else(|| read_small(folder, &entry));
            // One that cannot be removed is swept later.
            let _ = folder.remove(&entry);
        }
        found
    }
}

fn read_small(folder: &PrivateFolder, entry: &str) -> Option<Vec<u8>> {
    let file = folder.file(entry).ok().flatten()?;
    let length = file.metadata().ok()?.len();
    let mut bytes = vec![0; usize::try_from(length).ok().filter(|_| small::is_small(length))?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

impl Drop for Salvage {
    fn drop(&mut self) {
        let Some(disk) = &self.parts else { return };
        for (entry, _) in &self.abandoned {
            // What is of no use to this transfer stays for the next, or for the sweep.
            let _ = disk.parts.remove_folder(entry);
        }
    }
}

/// Deletes of an abandoned group what nothing is in and what has its name already, and all of it
/// when it is old.
pub(super) fn sweep(disk: &Disk, entry: &str, is_old: impl Fn(&File) -> bool) -> io::Result<()> {
    let folder = PrivateFolder::open(disk.parts.dir(), entry)?;
    if folder.dir().try_lock().is_err() {
        return Ok(());
    }
    let old = is_old(folder.dir());
    for file in folder.entries()? {
        let useless = |file: File| is_empty(&file) || has_its_name(&file);
        if old || folder.file(&file).is_ok_and(|file| file.is_none_or(useless)) {
            folder.remove(&file)?;
        }
    }
    disk.parts.remove_folder(entry)
}

/// What an abandoned group holds: its bytes, when it was touched, and whether somebody is at it.
/// `None` when it is gone.
pub(super) fn stored(disk: &Disk, entry: &str) -> io::Result<Option<(u64, SystemTime, bool)>> {
    if !disk.parts.has(entry)? {
        return Ok(None);
    }
    let folder = PrivateFolder::open(disk.parts.dir(), entry)?;
    let in_use = folder.dir().try_lock().is_err();
    let mut bytes = 0;
    for file in folder.entries()? {
        bytes += folder
            .file(&file)?
            .map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
    }
    Ok(Some((bytes, super::begun::touched(folder.dir())?, in_use)))
}

fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() == 0)
}
