//! Files on disk: the only room that opens them.
//!
//! A [`Store`] is a served folder: it lists it, knows what its files are, opens them for serving,
//! and receives new ones. It stands apart so that two promises can be checked in one place: nothing
//! outside the served folder is ever touched (`folder`), and no byte is kept as good that was not
//! verified (`part`, whose files take [`VerifiedChunk`](crate::content::VerifiedChunk)s only; what
//! has no proof goes through `incoming`, under the same names and locks, and is never continued
//! later).
//!
//! * `folder`: from a name to an open file without leaving the folder
//! * `listing`, `looking`: which files there are
//! * `many`: what is done for many files at once: pages, gathers, comparing
//! * `small`, `group`: small files while they are hashed and received, many together
//! * `sparse`: holes, which are neither read nor sent nor written
//! * `identity`, `catalog`, `index`, `record`, `forgetting`: what the files are, remembered
//! * `hashing`, `pool`, `job`: finding it out, with all cores
//! * `content`: an open file while it is served
//! * `reception`, `part`, `certain`, `journal`, `donor`: a file while it is received chunk by chunk
//! * `units`: the units of a folder while they are received; `unsettled`: small files without names
//! * `live`, `watched`, `arrivals`, `deliveries`: all these while others are served from them, by this
//!   process or another
//! * `summary`: how much is served
//! * `begun`: what is not complete, shown and cleared
//! * `elsewhere`: small files outside that are read or written whole
//! * `publish`: files from elsewhere put into the served folder
//! * `checking`: files hashed again and compared with what is known of them
//! * `way`: what has the name of a file that is to come
//! * `leftovers`: what receptions left, and when it goes
//! * `placing`: giving it its name
//! * `incoming`: a file while it is received from a peer that cannot say what it is
//! * `lent`: files from outside the served folder, for an upload
//! * `attributes`: times and permissions on arrival
//! * `opening`, `disk`: opening a folder, and looking whether it is still there; what lies in it
//! * `calls`: what is asked of the system, in one place; `limits`: what it lets us have
//! * `private`: our own files in `.peershare`; `xdg`: elsewhere
//!
//! # How a byte reaches the disk
//!
//! 1. [`Store::receive`] locks the name and the content (`reception`), makes the part file as long
//!    as the whole, and takes over what an earlier attempt left: chunks that the journal vouches
//!    for, and others only after hashing them again.
//! 2. [`PartFile::write`] puts a verified chunk where it belongs (`part`).
//! 3. Every few seconds the data is synced, and then the journal says so (`journal`).
//! 4. [`PartFile::complete`] syncs all, renames the file to its name without overwriting, syncs the
//!    folder, and enters the file in the catalog.
//!
//! Small files take a shorter way, in groups: see `group`, which also says what is certain after a
//! power cut.
//!
//! Nothing here waits while it holds a lock, but for the catalog, which is read and appended to
//! under its own.

mod arrivals;
mod attributes;
mod begun;
mod bounds;
mod calls;
mod catalog;
mod certain;
mod checking;
mod content;
// Public for `benches/` alone.
#[doc(hidden)]
pub mod deliveries;
mod disk;
mod donor;
mod elsewhere;
mod error;
mod folder;
mod forgetting;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod group;
mod hashing;
mod identity;
mod incoming;
mod index;
mod job;
mod journal;
mod leftovers;
mod lent;
mod limits;
mod listing;
mod live;
mod looking;
mod many;
mod opening;
mod part;
mod placing;
mod pool;
mod private;
mod publish;
mod reception;
mod record;
mod small;
mod sparse;
mod summary;
#[cfg(test)]
mod tests;
mod units;
mod unsettled;
mod waiting;
mod watched;
mod way;
mod xdg;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use crate::content::Entry;
pub use begun::Begun;
pub use bounds::Bounds;
pub use checking::Checked;
pub use content::{Content, Extent, Opened};
pub use elsewhere::{is_executable, read_small, write_new};
pub use error::StoreError;
pub use group::{Group, Salvage, Settled};
pub use incoming::{Arrival, Incoming};
pub use lent::{length_at, names_beside, same_content};
pub use limits::{raise_open_files, survive_size_limit};
pub use listing::{ListPage, ListQuery};
pub use live::Partial;
pub use many::{Standing, Wanted};
pub use opening::Held;
pub use part::PartFile;
pub use publish::{Publication, Published};
pub use reception::Reception;
pub use summary::Summary;
pub use units::UnitsPart;
pub use way::FOLDER;
pub use xdg::state_file;

use crate::config;
use crate::content::{ChunkLayout, FileName, Manifest, Root, RootPrefix};
use crate::locks::lock;
use disk::Disk;
use hashing::Hashing;
use identity::Identity;
use lent::Lent;
use listing::Listing;

/// The files that a peer serves. Clones are the same store; the last one to go stops the hashing.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What all clones of a store have in common.
struct Shared {
    /// What is worked with; another folder may take its place, see `Store::looked_at`.
    current: Mutex<Arc<Inner>>,
    /// Whether files are hashed in advance, of a folder that comes later as well.
    hashes_all: AtomicBool,
    /// The server that holds the folder, and its lock of a folder that came later.
    held: Mutex<Option<(String, Option<File>)>>,
}

/// One folder, opened.
struct Inner {
    disk: Arc<Disk>,
    hashing: Hashing,
    listing: Listing,
    lent: Mutex<HashMap<Root, Lent>>,
    /// What was described last, with what its file was then: one that grows is described anew all
    /// the time, and what was described before is to be had still.
    described: Mutex<VecDeque<(Identity, Arc<Manifest>)>>,
    counted: summary::Counted,
}

/// What can be said of a file without waiting.
#[derive(Clone, Debug)]
pub enum Description {
    /// All there is to know.
    Ready(Arc<Manifest>),
    /// It is being hashed.
    Hashing {
        /// Bytes that are hashed.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

impl Store {
    /// Bytes of a served file.
    pub fn length_of(&self, name: &FileName) -> Result<u64, StoreError> {
        Ok(self.looked_at()?.disk.folder.identity(name)?.length)
    }

    /// What a file is, if that is known; else it is hashed soon, and this says how far that is.
    /// Waits at most for a file of one chunk, and then not long.
    pub fn describe(&self, name: &FileName) -> Result<Description, StoreError> {
        let inner = self.looked_at()?;
        let Inner { disk, hashing, .. } = &*inner;
        let identity = disk.folder.identity(name)?;
        if let Some(manifest) = disk.catalog.find(name, &identity) {
            return Ok(Description::Ready(manifest));
        }
        let job = hashing.request(name, identity)?;
        let small = ChunkLayout::usual(identity.length).is_ok_and(|layout| layout.count() <= 1);
        if small
            && job.ends_within(config::DESCRIBE_GRACE)
            && let Some(manifest) = disk.catalog.find(name, &identity)
        {
            return Ok(Description::Ready(manifest));
        }
        let (done, total) = job.progress();
        Ok(Description::Hashing { done, total })
    }

    /// What a file is, after hashing it if need be. `progress` is told the bytes done and all bytes
    /// now and then; when it says `false`, this ends with [`StoreError::Interrupted`].
    pub fn manifest(
        &self,
        name: &FileName,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<Manifest>, StoreError> {
        let inner = self.looked_at()?;
        let Inner { disk, hashing, .. } = &*inner;
        let identity = disk.folder.identity(name)?;
        if identity.length == 0 {
            lent::check_empty(&disk.folder.open_file(name)?.0, name)?;
        }
        let (manifest, identity) = match disk.catalog.find(name, &identity) {
            Some(manifest) => (manifest, identity),
            None => hashing.manifest_as(name, identity, progress)?,
        };
        inner.note_described(identity, &manifest);
        Ok(manifest)
    }

    /// A file here that has that content and was not changed since it was hashed. An error when the
    /// system is too short of descriptors or memory to tell.
    pub fn by_root(&self, root: &Root) -> Result<Option<Arc<Manifest>>, StoreError> {
        let inner = self.now();
        let disk = &inner.disk;
        for name in disk.catalog.names_of(root)? {
            let Some(now) = disk.identity_if_there(&name)? else { continue };
            if let Some((_, manifest)) = disk.catalog.begun_with(&name, &now, root) {
                return Ok(Some(manifest));
            }
        }
        let lent = self.lent(root).filter(|lent| lent.open().is_ok());
        Ok(lent.map(|lent| lent.manifest))
    }

    /// Hashed files of the served folder whose content id begins with these digits. Errors are
    /// those of [`by_root`](Self::by_root).
    pub fn by_prefix(&self, prefix: &RootPrefix) -> Result<Vec<(FileName, Root)>, StoreError> {
        let inner = self.now();
        let disk = &inner.disk;
        let mut found = Vec::new();
        for (name, root) in disk.catalog.names_by_prefix(prefix)? {
            let Some(now) = disk.identity_if_there(&name)? else { continue };
            if disk.catalog.begun_with(&name, &now, &root).is_some() {
                found.push((name, root));
            }
        }
        Ok(found)
    }

    /// Opens a file with that content for serving. [`StoreError::NoSuchContent`] when there is none
    /// any more.
    pub fn open_content(&self, root: &Root) -> Result<Content, StoreError> {
        let inner = self.now();
        let disk = &inner.disk;
        for name in disk.catalog.names_of(root)? {
            let (file, now) = match disk.folder.open_file(&name) {
                Ok(opened) => opened,
                Err(error) if error.is_passing() => return Err(error),
                Err(_) => continue,
            };
            if let Some((identity, manifest)) = disk.catalog.begun_with(&name, &now, root) {
                return Ok(Content::new(file, identity, manifest));
            }
        }
        if let Some(lent) = self.lent(root) {
            return Ok(Content::new(lent.open()?, lent.identity, lent.manifest));
        }
        inner.open_described(root)?.ok_or(StoreError::NoSuchContent { root: *root })
    }

    /// Opens a file of the served folder, whether it is hashed or not.
    pub fn open_named(&self, name: &FileName) -> Result<Opened, StoreError> {
        let (file, identity) = self.looked_at()?.disk.folder.open_after_look(name)?;
        Ok(Opened::new(file, identity, name.clone()))
    }

    /// The manifest of the same content with chunks of another size in bytes; reads and hashes all
    /// of it.
    pub fn cut_again(&self, manifest: &Manifest, chunk_size: u32) -> Result<Manifest, StoreError> {
        let name = manifest.name();
        let content = self.open_content(&manifest.root())?;
        let layout =
            ChunkLayout::new(manifest.length(), chunk_size).map_err(StoreError::layout(name))?;
        let chunks = layout.indices().collect();
        let digests = self.now().hashing.digests(content.file(), name, layout, chunks)?;
        Manifest::new(name.clone(), layout, manifest.root(), digests)
            .map_err(|_| StoreError::Changed { name: name.clone() })
    }

    /// A file with that content, or the units of that id, while they are received here, by this
    /// process or another one; it may take until `deadline` to appear.
    pub fn partial(&self, root: &Root, deadline: Instant) -> Option<Partial> {
        live::find(&self.now().disk, root, deadline)
    }

    /// Fails when no file can get that name, because something else has it or a place of its
    /// folders; see [`Self::receive`].
    pub fn check_way(&self, name: &FileName, replace: bool) -> Result<(), StoreError> {
        way::look(&self.looked_at()?.disk, name, replace).map(drop)
    }

    /// Begins to receive a file, or says why not. With `replace`, other content of that name gives
    /// way when all is received, and not before.
    ///
    /// Waits for hashing when a file of the same name and length is not hashed yet, and for chunks
    /// that a killed process left behind. [`StoreError::NoSpace`] when it would not fit,
    /// [`StoreError::Blocked`] when something has the name that is no file.
    pub fn receive(&self, manifest: Arc<Manifest>, replace: bool) -> Result<Reception, StoreError> {
        let inner = self.looked_at()?;
        reception::receive(&inner.disk, &inner.hashing, manifest, replace)
    }

    /// Begins to receive a file from a peer that cannot say what it is, as those of the classic
    /// dialect. `length` is what is known of its length in bytes. With `replace`, another file of
    /// that name gives way when all is received, and not before.
    ///
    /// [`StoreError::NoSpace`] when it would not fit, [`StoreError::Blocked`] when something has
    /// the name that is no file.
    pub fn receive_unproven(
        &self,
        name: FileName,
        length: Option<u64>,
        replace: bool,
    ) -> Result<Arrival, StoreError> {
        incoming::begin(&self.looked_at()?.disk, name, length, replace)
    }

    /// Makes a file visible that was received without proof, and hashes it, so that from now on it
    /// is known what it is. [`StoreError::InTheWay`] when something else took the name meanwhile.
    pub fn complete(&self, incoming: Incoming) -> Result<(), StoreError> {
        let (name, identity) = incoming.complete()?;
        if let Err(error) = self.now().hashing.manifest(&name, identity, &mut |_, _| true) {
            log::warn!("{name} was received, but not hashed yet: {error}");
        }
        Ok(())
    }

    fn lent(&self, root: &Root) -> Option<Lent> {
        lock(&self.now().lent).get(root).cloned()
    }
}
