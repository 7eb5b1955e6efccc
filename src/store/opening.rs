//! Opening a served folder, and looking again whether it still is where it was.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::bounds::Bounds;
use super::disk::{Disk, Found};
use super::hashing::Hashing;
use super::identity::Identity;
use super::listing::Listing;
use super::summary::Counted;
use super::{Content, Inner, Shared, Store, StoreError, calls, leftovers};
use crate::config;
use crate::content::{FileName, Manifest, Root};
use crate::locks::lock;

/// What a server locks, and says in it who it is.
const SERVER_LOCK: &str = "server";

/// Longest such text in bytes that is read.
const MAX_WHO: u64 = 200;

/// Keeps other servers from a folder while it lives.
pub struct Held {
    /// The lock of the folder that was there first.
    _first: File,
    shared: Arc<Shared>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.shared.held) = None;
    }
}

impl Store {
    /// Opens a folder and its `.peershare`, makes what is missing, and deletes part files that
    /// nobody continued for a long time.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(folder)?);
        if let Err(error) = leftovers::sweep(&disk, SystemTime::now()) {
            log::warn!("cannot look for what earlier receptions left: {error}");
        }
        Ok(Self::over(disk))
    }

    /// The same store, which takes no more than that.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        self.now().disk.bound(bounds);
        self
    }

    /// [`StoreError::OverLimit`] when a file of that length is not taken.
    pub fn check_size(&self, name: &FileName, length: u64) -> Result<(), StoreError> {
        self.now().disk.check_size(name, length)
    }

    /// Deletes part files that nobody continued for a long time, as opening does, and forgets files
    /// that are gone when they are most of all that are known.
    pub fn sweep(&self) {
        let disk = &self.now().disk;
        if let Err(error) = leftovers::sweep(disk, SystemTime::now()) {
            log::warn!("cannot look for what earlier receptions left: {error}");
        }
        if let Err(error) = disk.forget_gone() {
            log::warn!("cannot forget files that are gone: {error}");
        }
    }

    /// A store without a folder, for lending files alone.
    pub fn nowhere() -> Result<Self, StoreError> {
        Ok(Self::over(Arc::new(Disk::nowhere()?)))
    }

    /// Removes the folder again if nothing is in it, for whoever made it and received nothing.
    pub fn leave_nothing(&self) {
        self.now().disk.leave_nothing();
    }

    /// Removes all of our own files from the folder, unless something is begun there.
    pub fn leave_no_trace(&self) {
        match self.begun() {
            Ok(begun) if begun.is_empty() => self.now().disk.leave_no_trace(),
            Ok(_) => {}
            Err(error) => log::debug!("cannot see whether anything is begun: {error}"),
        }
    }

    /// Hashes everything that is not hashed yet, when there is nothing else to do. Returns at once.
    pub fn hash_all(&self) {
        self.shared.hashes_all.store(true, Relaxed);
        if let Err(error) = self.now().hashing.hash_all() {
            log::warn!("cannot hash the served files in advance: {error}");
        }
    }

    /// Hashes what was put there since [`hash_all`](Self::hash_all), and waits for it up to that
    /// long. Of stores that do not hash in advance nothing is; says whether this one does.
    pub fn hash_new(&self, wait: Duration) -> bool {
        if !self.shared.hashes_all.load(Relaxed) {
            return false;
        }
        let inner = self.now();
        if let Err(error) = inner.hashing.hash_new() {
            log::debug!("cannot look for new files: {error}");
        }
        inner.hashing.wait_until_idle(wait);
        true
    }

    /// Stops hashing and joins its threads. What needs hashing afterwards ends with
    /// [`StoreError::Interrupted`]; everything else still works.
    pub fn close(&self) {
        self.now().hashing.close();
    }

    /// The served folder, as an absolute path without links.
    pub fn folder(&self) -> PathBuf {
        self.now().disk.folder.path().to_owned()
    }

    /// The folder that is worked with, after a look whether it still is where it was opened.
    /// Another one that is there now is taken up; what is under way goes on with what it has. To
    /// list, to describe and to receive begin with this.
    ///
    /// [`StoreError::Gone`] when nothing is there.
    pub(super) fn looked_at(&self) -> Result<Arc<Inner>, StoreError> {
        let now = self.now();
        let Some(path) = now.disk.asked() else { return Ok(now) };
        match now.disk.look_again() {
            Found::Same => Ok(now),
            Found::Nothing => Err(StoreError::Gone { folder: path.display().to_string() }),
            Found::Other => self.take_up(&now, path).map(|()| self.now()),
        }
    }

    fn take_up(&self, before: &Arc<Inner>, path: &Path) -> Result<(), StoreError> {
        let mut current = lock(&self.shared.current);
        if !Arc::ptr_eq(&current, before) {
            // Somebody else has seen it, too.
            return Ok(());
        }
        let fresh = Inner::over(Arc::new(Disk::open_existing(path)?));
        fresh.disk.bound(before.disk.bounds());
        *lock(&fresh.lent) = lock(&before.lent).clone();
        *current = Arc::new(fresh);
        drop(current);
        log::warn!(
            "what is found at {} is another folder now, or its .peershare was removed",
            path.display()
        );
        if self.shared.hashes_all.load(Relaxed) {
            self.hash_all();
        }
        self.hold_again();
        Ok(())
    }

    /// Keeps other servers from serving the folder, as long as what this gives lives; `who` is told
    /// to them. [`StoreError::Held`] when another one does.
    pub fn hold_for_server(&self, who: &str) -> Result<Held, StoreError> {
        let file = self.claim_for_server(who)?;
        *lock(&self.shared.held) = Some((who.to_owned(), None));
        Ok(Held { _first: file, shared: Arc::clone(&self.shared) })
    }

    /// Another folder is served now; it is held like the one before.
    fn hold_again(&self) {
        let Some(who) = lock(&self.shared.held).as_ref().map(|(who, _)| who.clone()) else {
            return;
        };
        match self.claim_for_server(&who) {
            Ok(file) => *lock(&self.shared.held) = Some((who, Some(file))),
            Err(error) => log::error!("{error}"),
        }
    }

    fn claim_for_server(&self, who: &str) -> Result<File, StoreError> {
        let disk = &self.now().disk;
        let cannot = || StoreError::io("cannot keep other servers from the folder");
        let Some(file) = disk.parts.claim(SERVER_LOCK).map_err(cannot())? else {
            let mut who = String::new();
            let holder = disk.parts.file(SERVER_LOCK).map_err(cannot())?;
            let read = holder.map(|file| file.take(MAX_WHO).read_to_string(&mut who));
            let who =
                if read.is_some() && !who.is_empty() { who } else { "another server".to_owned() };
            return Err(StoreError::Held { folder: disk.folder.path().display().to_string(), who });
        };
        // The lock is what counts; a full disk, from which files are to be fetched, may refuse this.
        let written = calls::set_len(&file, 0).and_then(|()| calls::write(&file, who.as_bytes()));
        if let Err(error) = written {
            log::warn!("cannot write down who serves the folder: {error}");
        }
        Ok(file)
    }

    /// A folder from anywhere on this machine, for serving it while this lives; nothing is written
    /// to it, and nothing can be received.
    pub fn borrow(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self::over(Arc::new(Disk::borrow(folder)?)))
    }

    fn over(disk: Arc<Disk>) -> Self {
        let current = Mutex::new(Arc::new(Inner::over(disk)));
        let (hashes_all, held) = (AtomicBool::new(false), Mutex::default());
        Self { shared: Arc::new(Shared { current, hashes_all, held }) }
    }

    /// The folder that is worked with now.
    pub(super) fn now(&self) -> Arc<Inner> {
        Arc::clone(&lock(&self.shared.current))
    }
}

impl Inner {
    fn over(disk: Arc<Disk>) -> Self {
        let hashing = Hashing::new(Arc::clone(&disk));
        let (listing, lent, described) = (Listing::default(), Mutex::default(), Mutex::default());
        Self { disk, hashing, listing, lent, described, counted: Counted::default() }
    }

    /// Remembers what a file was when it was described.
    pub(super) fn note_described(&self, identity: Identity, manifest: &Arc<Manifest>) {
        let mut described = lock(&self.described);
        described.retain(|(_, known)| known.root() != manifest.root());
        if described.len() >= config::DESCRIBED_KEPT {
            described.pop_front();
        }
        described.push_back((identity, Arc::clone(manifest)));
    }

    /// A content that was described a while ago, if its file has only grown since.
    pub(super) fn open_described(&self, root: &Root) -> Result<Option<Content>, StoreError> {
        let known =
            lock(&self.described).iter().find(|(_, manifest)| manifest.root() == *root).cloned();
        let Some((identity, manifest)) = known else { return Ok(None) };
        match self.disk.open_at_least(manifest.name(), &identity) {
            Ok(file) => Ok(Some(Content::new(file, identity, manifest))),
            Err(error) if error.is_passing() => Err(error),
            Err(_) => Ok(None),
        }
    }
}
