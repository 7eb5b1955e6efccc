//! Which files there are: one walk through the served folder, and pages.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::fs::{Dir, FileType};

use super::folder::Folder;
use super::{StoreError, locked};
use crate::config;
use crate::content::name::{ARRIVING, PRIVATE_FOLDER};
use crate::content::{Entry, FileName, Selection};

/// What somebody wants to see of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only these names, see [`Selection`]; `None` for all.
    pub pattern: Option<String>,
    /// And of these none that one of these patterns fits.
    pub except: Vec<String>,
    /// Folders too, not only files.
    pub folders: bool,
    /// Small files are hashed before they are listed, large ones soon.
    pub hashed: bool,
    /// Only names after this one: where the page before ended.
    pub after: Option<FileName>,
    /// At most so many entries.
    pub limit: usize,
}

/// A part of a listing, in the order of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The files.
    pub entries: Vec<Entry>,
    /// Where the next page begins, if there is one: after this name.
    pub next: Option<FileName>,
    /// How many things in the listed folder can never be listed: names that are not UTF-8 or hold
    /// control characters, links that lead out or nowhere, FIFOs, devices, unreadable folders.
    pub left_out: u64,
}

/// The names in the served folder, kept for a while so that page after page is cheap.
#[derive(Debug, Default)]
pub(super) struct Listing {
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    beneath: String,
    names: Arc<Names>,
    since: Instant,
}

/// All names in order, and how many things have none that could be listed.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) sorted: Vec<Named>,
    pub(super) left_out: u64,
}

/// A file or a folder by its name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) name: FileName,
    pub(super) folder: bool,
}

impl Listing {
    /// The names beneath a folder (empty, or with a `/` behind) as they are now, or for a page after
    /// the first as they were a moment ago.
    pub(super) fn names(
        &self,
        folder: &Folder,
        beneath: &str,
        first_page: bool,
    ) -> Result<Arc<Names>, StoreError> {
        if !first_page
            && let Some(kept) = &*locked(&self.kept)
            && kept.since.elapsed() < config::LISTING_KEPT
            && kept.beneath == beneath
        {
            return Ok(Arc::clone(&kept.names));
        }
        let names = Arc::new(Names::beneath(folder, beneath)?);
        let (beneath, since) = (beneath.to_owned(), Instant::now());
        *locked(&self.kept) = Some(Kept { beneath, names: Arc::clone(&names), since });
        Ok(names)
    }
}

impl Names {
    /// Walks through the whole folder.
    pub(super) fn read(folder: &Folder) -> Result<Self, StoreError> {
        Self::beneath(folder, "")
    }

    /// Walks through a folder of it. Only the top must be readable.
    fn beneath(folder: &Folder, beneath: &str) -> Result<Self, StoreError> {
        let mut walk = Walk { folder, names: Self::default(), ahead: Vec::new() };
        match beneath.strip_suffix('/').map(str::parse::<FileName>) {
            None => {
                let what = || format!("cannot list {}", folder.path().display());
                let top = folder.enter(Path::new(".")).map_err(StoreError::io(what()))?;
                walk.list(&top, &Visit::default()).map_err(StoreError::io(what()))?;
            }
            Some(Ok(name)) if folder.enter(name.as_path()).is_ok() => {
                walk.ahead.push(Visit::default().below(&name, 0));
            }
            // Nothing is there, or it must not be looked at.
            Some(_) => {}
        }
        while let Some(visit) = walk.ahead.pop() {
            walk.visit(&visit);
        }
        let mut names = walk.names;
        names.sorted.sort_unstable();
        Ok(names)
    }

    /// The names after `after` that are selected, in order.
    pub(super) fn matching<'a>(
        &'a self,
        selection: &'a Selection,
        folders: bool,
        after: Option<&FileName>,
    ) -> impl Iterator<Item = &'a Named> {
        let start = after.map_or(0, |after| self.sorted.partition_point(|named| named.name <= *after));
        let wanted = move |named: &&Named| (folders || !named.folder) && selection.matches(&named.name);
        self.sorted.iter().skip(start).filter(wanted)
    }
}

struct Walk<'a> {
    folder: &'a Folder,
    names: Names,
    ahead: Vec<Visit>,
}

/// A folder to go into.
#[derive(Clone, Debug, Default)]
struct Visit {
    /// Its name with a `/` behind; empty at the top.
    prefix: String,
    /// Device and inode of the folders it lies in, so that a link to one of them is no circle.
    within: Vec<(u64, u64)>,
    /// How many of them, itself included, are links.
    links: usize,
}

impl Walk<'_> {
    /// Goes into one folder. One that is gone or cannot be read counts as left out.
    fn visit(&mut self, visit: &Visit) {
        let done = self.folder.enter(Path::new(&visit.prefix)).and_then(|dir| self.list(&dir, visit));
        if let Err(error) = done {
            log::debug!("cannot list {:?}: {error}", visit.prefix);
            self.names.left_out += 1;
        }
    }

    fn list(&mut self, dir: &File, visit: &Visit) -> std::io::Result<()> {
        let metadata = dir.metadata()?;
        let place = (metadata.dev(), metadata.ino());
        if self.folder.is_private(place) {
            return Ok(());
        }
        if visit.within.contains(&place) {
            self.names.left_out += 1;
            return Ok(());
        }
        if let Ok(name) = visit.prefix.trim_end_matches('/').parse() {
            self.names.sorted.push(Named { name, folder: true });
        }
        let mut visit = visit.clone();
        visit.within.push(place);
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(PRIVATE_FOLDER) if visit.prefix.is_empty() => {}
                Ok(part) if part.starts_with(ARRIVING) => {}
                Ok(part) => self.sort_in(&visit, part, entry.file_type()),
                Err(_) => self.names.left_out += 1,
            }
        }
        Ok(())
    }

    fn sort_in(&mut self, visit: &Visit, part: &str, kind: FileType) {
        let Ok(name) = format!("{}{part}", visit.prefix).parse::<FileName>() else {
            self.names.left_out += 1;
            return;
        };
        match kind {
            FileType::RegularFile => self.names.sorted.push(Named { name, folder: false }),
            FileType::Directory => self.ahead.push(visit.below(&name, 0)),
            FileType::Symlink | FileType::Unknown => self.look(visit, name),
            _ => self.names.left_out += 1,
        }
    }

    /// Takes a link for what it points to, as long as that lies in the folder.
    fn look(&mut self, visit: &Visit, name: FileName) {
        match self.folder.look(name.as_path()) {
            Ok(metadata) if metadata.is_file() => self.names.sorted.push(Named { name, folder: false }),
            Ok(metadata) if metadata.is_dir() && visit.links < config::MAX_LINKED_FOLDERS => {
                self.ahead.push(visit.below(&name, 1));
            }
            _ => self.names.left_out += 1,
        }
    }
}

impl Visit {
    fn below(&self, name: &FileName, links: usize) -> Self {
        Self { prefix: format!("{name}/"), within: self.within.clone(), links: self.links + links }
    }
}
