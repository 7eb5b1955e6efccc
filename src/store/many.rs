//! What the store does for many files at once: pages of a listing, answers to a gather, and what is
//! here already of a folder that is to be received.

use std::time::Duration;

use rustix::fs::FileType;

use super::disk::Disk;
use super::identity::Identity;
use super::looking::{Looker, Seen};
use super::unsettled::Groups;
use super::{
    Group, ListPage, ListQuery, Salvage, Store, StoreError, attributes, reception, small, way,
};
use crate::config;
use crate::content::{Attributes, Entry, FileName, Omissions, Root, Selection};

/// What has the name of a file that is to be received.
#[derive(Debug)]
pub enum Standing {
    /// Nothing.
    Free,
    /// The same content.
    Same,
    /// Other content, or not known to be the same without hashing a large file.
    Other,
}

/// One file that somebody may want to receive.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a FileName,
    /// Its length in bytes.
    pub length: u64,
    /// What it is, if that is known.
    pub root: Option<Root>,
}

impl Store {
    /// One page of the files in the order of their names. [`StoreError::BadPattern`] when a pattern
    /// is not a glob. Pages after the first show the names as they were a moment ago.
    pub fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let first_page = query.after.is_none();
        let inner = if first_page { self.looked_at()? } else { self.now() };
        let disk = &inner.disk;
        let selection = Selection::new(query.pattern.as_deref(), &query.except)?;
        let names = inner.listing.names(&disk.folder, selection.beneath(), first_page)?;
        let mut matching =
            names.matching(&selection, query.folders, query.after.as_ref()).peekable();
        let mut looker = Looker::new(&disk.folder);
        let (mut found, mut last, mut unhashed, mut unseen) = (Vec::new(), None, 0, 0);
        while found.len() < query.limit
            && unhashed < config::HASH_GROUP
            && let Some(named) = matching.next()
        {
            last = Some(&named.name);
            let seen = match looker.look(&named.name) {
                Ok(seen) => seen,
                Err(error) if error.is_passing() => return Err(error),
                // One that went away meanwhile is not there.
                Err(StoreError::NotFound { .. }) => continue,
                Err(error) => {
                    if unseen == 0 {
                        log::warn!("a listing leaves out {} and perhaps more: {error}", named.name);
                    }
                    unseen += 1;
                    continue;
                }
            };
            if query.hashed
                && seen.kind == FileType::RegularFile
                && small::is_small(seen.identity.length)
            {
                // Only roughly: some may be known.
                let known = disk.catalog.is_known(&named.name, &seen.identity);
                unhashed += if known { 0 } else { seen.identity.length };
            }
            found.push((named.name.clone(), seen));
        }
        let next = matching.peek().and(last).cloned();
        let roots = self.roots_of(&found, query.hashed);
        let entries =
            found.into_iter().zip(roots).map(|((name, seen), root)| entry(name, seen, root));
        let left_out = names.omissions(&selection, 0).count + unseen;
        Ok(ListPage { entries: entries.collect(), next, left_out })
    }

    /// What a listing leaves out, and why: `most` entries at most, all of them counted. The names
    /// are those of the last listing, if that was a moment ago.
    pub fn omissions(
        &self,
        pattern: Option<&str>,
        except: &[String],
        most: usize,
    ) -> Result<Omissions, StoreError> {
        let inner = self.now();
        let selection = Selection::new(pattern, except)?;
        let names = inner.listing.names(&inner.disk.folder, selection.beneath(), false)?;
        Ok(names.omissions(&selection, most))
    }

    /// What these files are; with `hashed`, small ones are hashed now and large ones soon.
    fn roots_of(&self, found: &[(FileName, Seen)], hashed: bool) -> Vec<Option<Root>> {
        let inner = self.now();
        let disk = &inner.disk;
        let files = found.iter().map(|(name, seen)| (name, &seen.identity));
        let mut roots = disk.catalog.roots(files);
        if !hashed {
            let is_new = |(seen, root): (&Seen, &Option<Root>)| {
                root.is_none() && seen.kind == FileType::RegularFile && seen.identity.length > 0
            };
            if found.iter().map(|(_, seen)| seen).zip(&roots).any(is_new) {
                self.hash_new(Duration::ZERO);
            }
            return roots;
        }
        let (mut places, mut unknown) = (Vec::new(), Vec::new());
        for (place, ((name, seen), root)) in found.iter().zip(&roots).enumerate() {
            if root.is_some() || seen.kind != FileType::RegularFile {
                continue;
            }
            if small::is_small(seen.identity.length) {
                places.push(place);
                unknown.push((name.clone(), seen.identity));
            } else if let Err(error) = self.now().hashing.request(name, seen.identity) {
                log::debug!("cannot hash {name} in advance: {error}");
            }
        }
        for (place, root) in places.into_iter().zip(small::hash(disk, &unknown)) {
            if let (Some(slot), Ok(root)) = (roots.get_mut(place), root) {
                *slot = Some(root);
            }
        }
        roots
    }

    /// Appends the bytes of small files to `payload`, one behind the other, and gives the length of
    /// each; `None` for a content that is not here any more, is too long, or for which there is no
    /// room up to `most` bytes.
    ///
    /// An error when the system is too short of descriptors or memory to tell what is here.
    pub fn gather(
        &self,
        roots: &[Root],
        most: usize,
        payload: &mut Vec<u8>,
    ) -> Result<Vec<Option<u32>>, StoreError> {
        let inner = self.now();
        let disk = &inner.disk;
        let places = disk.catalog.places_of(roots)?;
        let (mut lengths, mut groups) = (Vec::with_capacity(roots.len()), Groups::default());
        for (root, places) in roots.iter().zip(places) {
            let before = payload.len();
            let left = most.saturating_sub(before);
            let here = append_known(disk, &places, (root, left), payload)?
                || self.append_lent(root, most, payload)
                || groups.append(disk, root, left, payload).is_some()
                // It may have been given its name between the two looks.
                || append_known(disk, &disk.catalog.places_of(&[*root])?.concat(), (root, left), payload)?;
            lengths.push(here.then(|| u32::try_from(payload.len() - before).ok()).flatten());
        }
        Ok(lengths)
    }

    fn append_lent(&self, root: &Root, most: usize, payload: &mut Vec<u8>) -> bool {
        let Some(lent) = self.lent(root) else { return false };
        let fits = payload.len().saturating_add(lent.identity.length as usize) <= most;
        let name = lent.manifest.name();
        fits && lent
            .open()
            .and_then(|file| small::append(&file, name, &lent.identity, payload))
            .is_ok()
    }

    /// What has the names of these files. Hashes small files that may be the same.
    /// With `replace`, a link that leads to nothing counts as nothing.
    pub fn compare(
        &self,
        wanted: &[Wanted<'_>],
        replace: bool,
    ) -> Vec<Result<Standing, StoreError>> {
        let inner = self.now();
        let mut looker = Looker::new(&inner.disk.folder);
        let folder = &inner.disk.folder;
        let look = |wanted: &Wanted<'_>| {
            let seen = way::look_with(&mut looker, folder, wanted.name, replace)?;
            // What is here already need not be taken.
            let is_here = seen.is_some_and(|seen| seen.identity.length == wanted.length);
            let fits = inner.disk.check_size(wanted.name, wanted.length);
            if is_here { Ok(seen) } else { fits.map(|()| seen) }
        };
        let looks: Vec<Result<Option<Seen>, StoreError>> = wanted.iter().map(look).collect();
        let same_length =
            |(wanted, look): (&Wanted<'_>, &Result<Option<Seen>, StoreError>)| match look {
                Ok(Some(seen)) if seen.identity.length == wanted.length => {
                    Some((wanted.name.clone(), *seen))
                }
                _ => None,
            };
        let candidates: Vec<(FileName, Seen)> =
            wanted.iter().zip(&looks).filter_map(same_length).collect();
        let mut roots = self.roots_of(&candidates, true).into_iter();
        let standing = |(wanted, look): (&Wanted<'_>, Result<Option<Seen>, StoreError>)| {
            let Some(seen) = look? else { return Ok(Standing::Free) };
            let here =
                if seen.identity.length == wanted.length { roots.next().flatten() } else { None };
            Ok(if here.is_some() && here == wanted.root { Standing::Same } else { Standing::Other })
        };
        wanted.iter().zip(looks).map(standing).collect()
    }

    /// Fails when so many bytes more do not fit where these files go, all of them together. `kept`
    /// are contents of which something may be here from an earlier attempt.
    pub fn check_room(
        &self,
        needed: u64,
        one_of_them: &FileName,
        kept: &mut dyn Iterator<Item = Root>,
    ) -> Result<(), StoreError> {
        let disk = &self.looked_at()?.disk;
        let what = || StoreError::io("cannot see how much room there is");
        let free = match disk.free_space_elsewhere(one_of_them).map_err(what())? {
            Some(free) => free,
            None => disk.free_space().map_err(what())?,
        };
        if needed <= free {
            return Ok(());
        }
        let held: u64 = kept.map(|root| reception::held(disk, &root)).sum();
        let needed = needed.saturating_sub(held);
        if needed <= free { Ok(()) } else { Err(StoreError::NoRoom { needed, free }) }
    }

    /// Begins to receive many small files; each thread that does so has a group of its own.
    pub fn group(&self, replace: bool) -> Result<Group, StoreError> {
        let disk = self.looked_at()?.disk.clone();
        disk.check_open()?;
        Group::new(disk, replace)
    }

    /// What killed processes received and did not name.
    pub fn salvage(&self) -> Salvage {
        Salvage::find(&self.now().disk).unwrap_or_else(|error| {
            log::warn!("cannot look for what was received before: {error}");
            Salvage::default()
        })
    }

    /// Makes a folder, and those it lies in; says whether that was needed.
    pub fn make_folder(&self, name: &FileName) -> Result<(), StoreError> {
        let disk = &self.now().disk;
        disk.check_open()?;
        let made = disk.folder.make(name.as_path(), &|_| Ok(()));
        made.map(drop).map_err(|error| super::placing::unplaceable(disk, name, 0, error))
    }

    /// Gives folders their times and permissions; the deepest should come first. None is opened to
    /// users of this machine to whom it was closed.
    pub fn finish_folders<'a>(&self, folders: impl Iterator<Item = (&'a FileName, Attributes)>) {
        let inner = self.now();
        let mut looker = Looker::new(&inner.disk.folder);
        for (name, wanted) in folders {
            let Ok(seen) = looker.look(name) else { continue };
            let as_it_is =
                Attributes { mtime_ns: Some(seen.identity.mtime_ns), mode: Some(seen.mode) };
            let mode = wanted.permissions().map(|mode| attributes::folder_mode(mode, seen.mode));
            if seen.kind == FileType::Directory && as_it_is != (Attributes { mode, ..wanted }) {
                match inner.disk.folder.enter(name.as_path()) {
                    Ok(folder) => attributes::apply_to_folder(&folder, &wanted, mode),
                    Err(error) => log::debug!("cannot set the time of {name}: {error}"),
                }
            }
        }
    }

    /// Returns when everything that was received is certain to be there after a power cut.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.now().disk.sync().map_err(StoreError::io("cannot sync the served folder"))
    }

    /// What a file has beside its content, for those who are to receive it.
    pub fn attributes_of(&self, name: &FileName, root: &Root) -> Attributes {
        let inner = self.now();
        let disk = &inner.disk;
        match Looker::new(&disk.folder).look_at_file(name) {
            Ok(seen) => {
                Attributes { mtime_ns: Some(seen.identity.mtime_ns), mode: Some(seen.mode) }
            }
            Err(_) => self.lent(root).map(|lent| lent.attributes()).unwrap_or_default(),
        }
    }
}

/// Appends the bytes of a small file that is in one of these places and no longer than `most`.
fn append_known(
    disk: &Disk,
    places: &[(FileName, Identity)],
    (root, most): (&Root, usize),
    payload: &mut Vec<u8>,
) -> Result<bool, StoreError> {
    for (name, identity) in places {
        let length = usize::try_from(identity.length).unwrap_or(usize::MAX);
        let fits = small::is_small(identity.length) && length <= most;
        if fits && append(disk, name, identity, root, payload)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Appends the bytes of a small file to `payload`, if it still is, or begins with, that content.
fn append(
    disk: &Disk,
    name: &FileName,
    identity: &Identity,
    root: &Root,
    payload: &mut Vec<u8>,
) -> Result<bool, StoreError> {
    let opened = disk.open_unchanged(name, identity);
    match opened.and_then(|file| small::append(&file, name, identity, payload)) {
        Ok(()) => Ok(true),
        Err(error) if error.is_passing() => Err(error),
        Err(StoreError::Changed { .. }) => {
            Ok(small::append_beginning(disk, name, identity, root, payload).is_some())
        }
        Err(_) => Ok(false),
    }
}

fn entry(name: FileName, seen: Seen, root: Option<Root>) -> Entry {
    let folder = seen.kind == FileType::Directory;
    Entry {
        name,
        folder,
        length: if folder { 0 } else { seen.identity.length },
        stored: (!folder && seen.stored < seen.identity.length).then_some(seen.stored),
        mtime_ns: Some(seen.identity.mtime_ns),
        mode: Some(seen.mode),
        root: root.filter(|_| !folder),
    }
}
