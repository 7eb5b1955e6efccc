//! What the files of the served folder are, remembered so that nothing is hashed twice.
//!
//! The file `.peershare/catalog` only grows: every file hashed or received appends one record (see
//! `record`), and the last record of a name counts. Client and server append to the same catalog
//! under `flock`, and each reads what the other has appended before it looks something up. Whoever
//! reads it and finds that less than half of it counts writes it anew.
//!
//! A record is believed only while the file has the [`Identity`] that it had then, and its digests
//! only if they lead to its root; so a torn or damaged catalog costs hashing again, never more.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use super::StoreError;
use super::calls;
use super::identity::Identity;
use super::index::{Digests, Index, Known};
use super::private::PrivateFolder;
use super::record::{self, Head, MAGIC};
use crate::config;
use crate::content::{ChunkLayout, Digest, FileName, Manifest, Root, RootPrefix};
use crate::locks::lock;

const ENTRY: &str = "catalog";
const FRESH_ENTRY: &str = "catalog.new";

#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) private: PrivateFolder,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) index: Index,
    file: Option<File>,
    /// Up to here the file was read and is sound; 0 before its first line was seen.
    end: u64,
    /// Where the end was when it could not be compacted; it is tried again at twice that.
    too_early: u64,
}

impl Catalog {
    /// The catalog in that `.peershare`. It is read when it is first needed.
    pub(super) fn new(private: PrivateFolder) -> Self {
        Self { private, state: Mutex::default() }
    }

    /// Removes what somebody left who was killed while compacting it.
    pub(super) fn sweep(&self) -> io::Result<()> {
        if !self.private.has(FRESH_ENTRY)? {
            return Ok(());
        }
        // Whoever compacts has this one locked.
        let _held = self.private.hold(ENTRY)?;
        self.private.remove(FRESH_ENTRY)
    }

    /// The content id of a file that still is what it was when it was hashed.
    pub(super) fn root(&self, name: &FileName, identity: &Identity) -> Option<Root> {
        Some(self.fresh().index.known(name, identity)?.root)
    }

    /// Whether the content id of a file is known, without looking for what others appended.
    pub(super) fn is_known(&self, name: &FileName, identity: &Identity) -> bool {
        lock(&self.state).index.known(name, identity).is_some()
    }

    /// The content ids of many files at once, for a page of a listing.
    pub(super) fn roots<'a>(
        &self,
        files: impl Iterator<Item = (&'a FileName, &'a Identity)>,
    ) -> Vec<Option<Root>> {
        let mut state = self.fresh();
        files
            .map(|(name, identity)| state.index.known(name, identity).map(|known| known.root))
            .collect()
    }

    /// A file's manifest, if the file still is what it was and the digests are sound.
    pub(super) fn find(&self, name: &FileName, identity: &Identity) -> Option<Arc<Manifest>> {
        self.manifest_of(name, identity, Index::known)
    }

    fn manifest_of(
        &self,
        name: &FileName,
        identity: &Identity,
        look: impl for<'i> Fn(&'i mut Index, &FileName, &Identity) -> Option<&'i mut Known>,
    ) -> Option<Arc<Manifest>> {
        let mut state = self.fresh();
        let State { index, file, .. } = &mut *state;
        let known = look(index, name, identity)?;
        if let Some(manifest) = known.manifest() {
            return Some(manifest);
        }
        let manifest = load(name, known, file.as_ref());
        match &manifest {
            Some(manifest) => known.loaded = Arc::downgrade(manifest),
            None => {
                log::warn!("the catalog's digests of {name} are damaged; the file is hashed again");
                index.forget(name);
            }
        }
        manifest
    }

    /// The content id that a file of that name had when it was hashed last, whatever it is now.
    pub(super) fn last_root(&self, name: &FileName) -> Option<Root> {
        Some(self.fresh().index.last(name)?.root)
    }

    /// What a file was when it had that content, if it may still begin with it, and its manifest
    /// then.
    pub(super) fn begun_with(
        &self,
        name: &FileName,
        now: &Identity,
        root: &Root,
    ) -> Option<(Identity, Arc<Manifest>)> {
        let identity = {
            let state = self.fresh();
            let known = state.index.last(name).filter(|known| known.root == *root)?;
            known.identity
        };
        if !identity.is_or_grew(now) {
            return None;
        }
        self.manifest_of(name, &identity, Index::perhaps)
            .filter(|manifest| manifest.root() == *root)
            .map(|manifest| (identity, manifest))
    }

    /// Names whose files had that content when they were hashed. An error when the system is too
    /// short of descriptors or memory to tell.
    pub(super) fn names_of(&self, root: &Root) -> Result<Vec<FileName>, StoreError> {
        Ok(self.readable()?.index.names_of(root))
    }

    /// Names and content ids that begin with these digits, as they were hashed. Errors are those of
    /// [`names_of`](Self::names_of).
    pub(super) fn names_by_prefix(
        &self,
        prefix: &RootPrefix,
    ) -> Result<Vec<(FileName, Root)>, StoreError> {
        Ok(self.readable()?.index.names_by_prefix(prefix))
    }

    /// Remembers a file that was looked at `then`, before it was hashed. What cannot be written
    /// down, or might be written to unnoticed, is known until the program ends.
    pub(super) fn remember(&self, manifest: &Arc<Manifest>, identity: Identity, then: SystemTime) {
        let (root, layout) = (manifest.root(), *manifest.layout());
        let head =
            Head { name: manifest.name().clone(), root, chunk_size: layout.chunk_size(), identity };
        let mut state = lock(&self.state);
        let in_memory = || (Digests::InMemory(Arc::clone(manifest)), 0);
        let settled = identity.is_settled(then);
        let (digests, size) = match settled {
            true => {
                state.append(&self.private, &head, manifest.digests()).unwrap_or_else(|error| {
                    log::warn!("cannot write down in the catalog what {} is: {error}", head.name);
                    in_memory()
                })
            }
            false => in_memory(),
        };
        let loaded = Arc::downgrade(manifest);
        let known = Known { identity, layout, root, digests, loaded, size, settled };
        state.index.insert(head.name, known);
    }

    /// Names and identities of the files that had each of these contents when they were hashed.
    /// Errors are those of [`names_of`](Self::names_of).
    pub(super) fn places_of(
        &self,
        roots: &[Root],
    ) -> Result<Vec<Vec<(FileName, Identity)>>, StoreError> {
        let state = self.readable()?;
        Ok(roots.iter().map(|root| state.index.places_of(root)).collect())
    }

    /// Remembers many files that were looked at `then` with one write.
    pub(super) fn remember_all(&self, mut files: Vec<(Head, Vec<Digest>)>, then: SystemTime) {
        for (Head { name, root, identity, chunk_size }, digests) in
            files.extract_if(.., |(head, _)| !head.identity.is_settled(then))
        {
            let layout = ChunkLayout::new(identity.length, chunk_size).ok();
            let manifest =
                layout.and_then(|layout| Manifest::new(name, layout, root, digests).ok());
            if let Some(manifest) = manifest {
                self.remember(&Arc::new(manifest), identity, then);
            }
        }
        if files.is_empty() {
            return;
        }
        let count = files.len();
        if let Err(error) = lock(&self.state).append_all(&self.private, files) {
            log::warn!(
                "cannot write down in the catalog what {count} files are: {error}; they are hashed again"
            );
        }
    }

    /// The state after reading what anybody has appended, or as it was where that cannot be read.
    fn fresh(&self) -> MutexGuard<'_, State> {
        let (state, read) = self.refreshed();
        if let Err(error) = read {
            log::warn!("{error}; files may be hashed again");
        }
        state
    }

    /// The same for those to whom a catalog that cannot be read at this moment is not an empty one.
    pub(super) fn readable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let (state, read) = self.refreshed();
        match read {
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => log::warn!("{error}; files may be hashed again"),
            Ok(()) => {}
        }
        Ok(state)
    }

    fn refreshed(&self) -> (MutexGuard<'_, State>, Result<(), StoreError>) {
        let mut state = lock(&self.state);
        let read = state.refresh(&self.private).map_err(StoreError::io("cannot read the catalog"));
        if state.is_half_garbage()
            && let Err(error) = state.compact(&self.private)
        {
            log::warn!("cannot compact the catalog: {error}");
            state.too_early = state.end;
        }
        (state, read)
    }
}

/// Reads a file's digests from the catalog and makes its manifest, if they are sound.
fn load(name: &FileName, known: &Known, catalog: Option<&File>) -> Option<Arc<Manifest>> {
    let Digests::At(offset) = known.digests else { return None };
    let mut bytes = vec![0; known.layout.count() as usize * Digest::LEN];
    catalog?.read_exact_at(&mut bytes, offset).ok()?;
    Manifest::new(name.clone(), known.layout, known.root, Digest::split(&bytes)?).ok().map(Arc::new)
}

impl State {
    /// Reads what was appended since the last time, or all of it when the file is another one.
    fn refresh(&mut self, private: &PrivateFolder) -> io::Result<()> {
        let Some(now) = private.file(ENTRY)? else { return Ok(()) };
        let (inode, size) = (now.metadata()?.ino(), now.metadata()?.len());
        let same = match &self.file {
            Some(file) => file.metadata()?.ino() == inode && size >= self.end,
            None => false,
        };
        if !same {
            *self = Self { file: Some(now), ..Self::default() };
        }
        if size > self.end { self.read_on(size) } else { Ok(()) }
    }

    fn read_on(&mut self, size: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut reader = BufReader::with_capacity(1 << 16, file);
        if self.end == 0 {
            reader.seek(SeekFrom::Start(0))?;
            let mut magic = Vec::new();
            reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
            if magic != MAGIC {
                return Ok(());
            }
            self.end = MAGIC.len() as u64;
        }
        reader.seek(SeekFrom::Start(self.end))?;
        while let Some(found) = record::read_head(&mut reader)? {
            let Some(layout) = found.head.layout() else { break };
            if self.end + found.len() > size {
                break;
            }
            reader.seek_relative(i64::try_from(found.digests_len).map_err(io::Error::other)?)?;
            let digests = Digests::At(self.end + found.digests_at());
            let size_of_record = found.len();
            self.end += size_of_record;
            let Head { name, root, identity, .. } = found.head;
            let loaded = Weak::new();
            let size = size_of_record;
            let known = Known { identity, layout, root, digests, loaded, size, settled: true };
            self.index.insert(name, known);
        }
        Ok(())
    }

    /// Appends one record behind the last sound one; says where its digests are and its size.
    fn append(
        &mut self,
        private: &PrivateFolder,
        head: &Head,
        digests: &[Digest],
    ) -> io::Result<(Digests, u64)> {
        let (record, digests_at) = record::encode(head, &Digest::join(digests))?;
        let file = self.open_end(private)?;
        calls::write_at(&file, &record, self.end)?;
        let digests = Digests::At(self.end + digests_at);
        self.end += record.len() as u64;
        Ok((digests, record.len() as u64))
    }

    /// Appends many records at once.
    fn append_all(
        &mut self,
        private: &PrivateFolder,
        files: Vec<(Head, Vec<Digest>)>,
    ) -> io::Result<()> {
        let file = self.open_end(private)?;
        let (mut bytes, mut known) = (Vec::new(), Vec::with_capacity(files.len()));
        for (head, digests) in files {
            let Some(layout) = head.layout() else { continue };
            let (record, digests_at) = record::encode(&head, &Digest::join(&digests))?;
            let digests = Digests::At(self.end + bytes.len() as u64 + digests_at);
            let Head { name, root, identity, .. } = head;
            let size = record.len() as u64;
            let loaded = Weak::new();
            known.push((
                name,
                Known { identity, layout, root, digests, loaded, size, settled: true },
            ));
            bytes.extend(record);
        }
        calls::write_at(&file, &bytes, self.end)?;
        self.end += bytes.len() as u64;
        for (name, known) in known {
            self.index.insert(name, known);
        }
        Ok(())
    }

    /// Locks the catalog, with nothing but sound records before its end.
    fn open_end(&mut self, private: &PrivateFolder) -> io::Result<File> {
        let file = private.hold(ENTRY)?;
        self.refresh(private)?;
        if file.metadata()?.len() > self.end {
            // Behind lies a record that somebody was killed in the middle of.
            calls::set_len(&file, self.end)?;
        }
        if self.end == 0 {
            calls::write_at(&file, MAGIC, 0)?;
            self.end = MAGIC.len() as u64;
        }
        Ok(file)
    }

    fn is_half_garbage(&self) -> bool {
        self.end > config::CATALOG_COMPACTED.max(2 * self.too_early)
            && self.index.live_bytes() < self.end / 2
    }

    /// Writes a catalog of the records that count and puts it in the place of the old one.
    pub(super) fn compact(&mut self, private: &PrivateFolder) -> io::Result<()> {
        let _held = private.hold(ENTRY)?;
        self.refresh(private)?;
        private.remove(FRESH_ENTRY)?;
        let fresh = private.hold(FRESH_ENTRY)?;
        let mut writer = BufWriter::new(calls::Writer(&fresh));
        writer.write_all(MAGIC)?;
        for (name, known) in self.index.iter().filter(|(_, known)| known.settled) {
            if let Some(manifest) =
                known.manifest().or_else(|| load(name, known, self.file.as_ref()))
            {
                let chunk_size = known.layout.chunk_size();
                let head = Head {
                    name: name.clone(),
                    root: known.root,
                    chunk_size,
                    identity: known.identity,
                };
                writer.write_all(&record::encode(&head, &Digest::join(manifest.digests()))?.0)?;
            }
        }
        writer.flush()?;
        calls::sync_data(&fresh)?;
        drop(writer);
        private.rename(FRESH_ENTRY, ENTRY)?;
        self.refresh(private)
    }
}
