//! Which files there are: one walk through the served folder, patterns, and pages.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use globset::{GlobBuilder, GlobSet};
use rustix::fs::{Dir, FileType};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{StoreError, locked};
use crate::config;
use crate::content::name::PRIVATE_FOLDER;
use crate::content::{FileName, Root};

/// What somebody wants to see of a listing.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only these files: a glob (`*` stays within a folder, `**` does not), a plain name, or
    /// `folder/` for everything beneath it. `None` for all.
    pub pattern: Option<String>,
    /// Only names after this one: the last one of the page before.
    pub after: Option<FileName>,
    /// At most so many entries.
    pub limit: usize,
}

/// A part of a listing, in the order of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The files.
    pub entries: Vec<Entry>,
    /// Whether files that match come after these.
    pub more: bool,
    /// How many things in the whole folder can never be listed: names that are not UTF-8 or hold
    /// control characters, links that lead out or nowhere, FIFOs, devices, unreadable folders.
    pub left_out: u64,
}

/// One file of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called.
    pub name: FileName,
    /// Length in bytes.
    pub length: u64,
    /// Last modification in seconds since 1970.
    pub modified: Option<u64>,
    /// Its content id, when it is hashed already.
    pub root: Option<Root>,
}

/// The names in the served folder, kept for a while so that page after page is cheap.
#[derive(Debug, Default)]
pub(super) struct Listing {
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    names: Arc<Names>,
    since: Instant,
}

/// All names in order, and how many things have none that could be listed.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) sorted: Vec<FileName>,
    pub(super) left_out: u64,
}

impl Listing {
    /// The names as they are now, or for a page after the first as they were a moment ago.
    pub(super) fn names(&self, folder: &Folder, first_page: bool) -> Result<Arc<Names>, StoreError> {
        if !first_page
            && let Some(kept) = &*locked(&self.kept)
            && kept.since.elapsed() < config::LISTING_KEPT
        {
            return Ok(Arc::clone(&kept.names));
        }
        let names = Arc::new(Names::read(folder)?);
        *locked(&self.kept) = Some(Kept { names: Arc::clone(&names), since: Instant::now() });
        Ok(names)
    }
}

impl Names {
    /// Walks through the folder. Only the folder itself must be readable.
    pub(super) fn read(folder: &Folder) -> Result<Self, StoreError> {
        let what = || format!("cannot list {}", folder.path().display());
        let top = folder.enter(Path::new(".")).map_err(StoreError::io(what()))?;
        let mut walk = Walk { folder, names: Self::default(), ahead: Vec::new() };
        walk.list(&top, &Visit::default()).map_err(StoreError::io(what()))?;
        while let Some(visit) = walk.ahead.pop() {
            walk.visit(&visit);
        }
        let mut names = walk.names;
        names.sorted.sort_unstable();
        Ok(names)
    }

    /// The names after `after` that match, in order.
    pub(super) fn matching<'a>(
        &'a self,
        pattern: &'a Pattern,
        after: Option<&FileName>,
    ) -> impl Iterator<Item = &'a FileName> {
        let start = after.map_or(0, |after| self.sorted.partition_point(|name| name <= after));
        self.sorted.iter().skip(start).filter(|name| pattern.matches(name))
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
        if visit.within.contains(&place) {
            self.names.left_out += 1;
            return Ok(());
        }
        let mut visit = visit.clone();
        visit.within.push(place);
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(PRIVATE_FOLDER) if visit.prefix.is_empty() => {}
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
            FileType::RegularFile => self.names.sorted.push(name),
            FileType::Directory => self.ahead.push(visit.below(&name, 0)),
            FileType::Symlink | FileType::Unknown => self.look(visit, name),
            _ => self.names.left_out += 1,
        }
    }

    /// Takes a link for what it points to, as long as that lies in the folder.
    fn look(&mut self, visit: &Visit, name: FileName) {
        match self.folder.look(name.as_path()) {
            Ok(metadata) if metadata.is_file() => self.names.sorted.push(name),
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

/// Which names somebody wants.
#[derive(Debug)]
pub(super) enum Pattern {
    All,
    Beneath(String),
    Glob { text: String, glob: GlobSet },
}

impl Pattern {
    /// Understands what was typed.
    pub(super) fn new(text: Option<&str>) -> Result<Self, StoreError> {
        let Some(text) = text else { return Ok(Self::All) };
        let bad = |reason: String| StoreError::BadPattern { pattern: text.to_owned(), reason };
        if text.len() > config::MAX_PATTERN {
            return Err(bad("it is too long".to_owned()));
        }
        let plain = !text.contains(['*', '?', '[', '{']);
        if plain && text.ends_with('/') {
            return Ok(Self::Beneath(text.to_owned()));
        }
        let glob = if text.ends_with('/') { format!("{text}**") } else { text.to_owned() };
        // A set of one: unlike a matcher of one glob, it does not panic where a glob nests too deeply.
        let glob = GlobBuilder::new(&glob).literal_separator(true).build();
        let glob = glob.and_then(|glob| GlobSet::builder().add(glob).build());
        let glob = glob.map_err(|error| bad(error.kind().to_string()))?;
        Ok(Self::Glob { text: text.to_owned(), glob })
    }

    fn matches(&self, name: &FileName) -> bool {
        match self {
            Self::All => true,
            Self::Beneath(prefix) => name.as_str().starts_with(prefix),
            // A plain name may hold the characters of a glob.
            Self::Glob { text, glob } => name.as_str() == text || glob.is_match(name.as_path()),
        }
    }
}
