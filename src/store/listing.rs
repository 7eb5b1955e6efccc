//! Which files there are: one walk through the served folder, and pages.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::StoreError;
use super::error::is_shortage;
use super::folder::Folder;
use crate::config;
use crate::content::name::{PRIVATE_FOLDER, is_arriving};
use crate::content::{Entry, FileName, Omissions, Reason, Selection};
use crate::locks::lock;

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
    /// How much of what was asked for cannot be listed;
    /// [`Store::omissions`](super::Store::omissions) says what and why.
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
    left_out: Vec<LeftOut>,
}

/// What has no name that could be listed, or is nothing that could be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LeftOut {
    /// As well as it can be written.
    name: String,
    reason: Reason,
    /// A folder of which nobody knows what is in it.
    unknown_folder: bool,
}

/// A file or a folder by its name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) name: FileName,
    pub(super) folder: bool,
}

impl Listing {
    /// The names beneath a folder (empty, or with a `/` behind) as they are now, or for a page
    /// after the first as they were a moment ago.
    pub(super) fn names(
        &self,
        folder: &Folder,
        beneath: &str,
        first_page: bool,
    ) -> Result<Arc<Names>, StoreError> {
        if !first_page
            && let Some(kept) = &*lock(&self.kept)
            && kept.since.elapsed() < config::LISTING_KEPT
            && kept.beneath == beneath
        {
            return Ok(Arc::clone(&kept.names));
        }
        let names = Arc::new(Names::beneath(folder, beneath)?);
        let (beneath, since) = (beneath.to_owned(), Instant::now());
        *lock(&self.kept) = Some(Kept { beneath, names: Arc::clone(&names), since });
        Ok(names)
    }
}

impl Names {
    /// Walks through the whole folder.
    pub(super) fn read(folder: &Folder) -> Result<Self, StoreError> {
        Self::beneath(folder, "")
    }

    /// What of a selection is left out; `most` are told, all are counted.
    pub(super) fn omissions(&self, selection: &Selection, most: usize) -> Omissions {
        let mut omissions = Omissions::default();
        let concerns = |left: &&LeftOut| {
            selection.selects(&left.name)
                || left.unknown_folder && selection.may_select_beneath(&left.name)
        };
        for LeftOut { name, reason, .. } in self.left_out.iter().filter(concerns) {
            omissions.add(name.clone(), *reason, most);
        }
        omissions
    }

    /// Walks through a folder of it. An error where the top cannot be read, or where the system is
    /// short of what it needs, so that nobody knows what is there.
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
            Some(Ok(name)) => match folder.enter(name.as_path()) {
                // Nothing is there, or it must not be looked at.
                Err(error) if matches!(reason_for(&error), Ok(None | Some(Reason::LeadsOut))) => {}
                Err(error) => return Err(StoreError::io(format!("cannot list {name}/"))(error)),
                Ok(_) => {}
            },
            Some(Err(_)) => {}
        }
        while let Some(visit) = walk.ahead.pop() {
            let what = || format!("cannot list {}", visit.prefix);
            walk.visit(&visit).map_err(StoreError::io(what()))?;
        }
        let mut names = walk.names;
        names.sorted.sort_unstable();
        names.left_out.sort_unstable();
        Ok(names)
    }

    /// The names after `after` that are selected, in order.
    pub(super) fn matching<'a>(
        &'a self,
        selection: &'a Selection,
        folders: bool,
        after: Option<&FileName>,
    ) -> impl Iterator<Item = &'a Named> {
        let start =
            after.map_or(0, |after| self.sorted.partition_point(|named| named.name <= *after));
        let wanted =
            move |named: &&Named| (folders || !named.folder) && selection.matches(&named.name);
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
    /// Folders beside one another have them in common: there may be very many, very deep.
    within: Arc<Vec<(u64, u64)>>,
    /// How many of them, itself included, are links.
    links: usize,
}

impl Walk<'_> {
    /// Goes into one folder. One that is gone meanwhile is not there; one that cannot be read is
    /// left out.
    fn visit(&mut self, visit: &Visit) -> io::Result<()> {
        let entered = self.folder.enter(Path::new(&visit.prefix));
        match entered.and_then(|dir| self.list(&dir, visit)) {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some(reason) = reason_for(&error).map_err(|()| error)? {
                    let name = visit.prefix.trim_end_matches('/').to_owned();
                    self.names.left_out.push(LeftOut { name, reason, unknown_folder: true });
                }
                Ok(())
            }
        }
    }

    fn list(&mut self, dir: &File, visit: &Visit) -> io::Result<()> {
        let metadata = dir.metadata()?;
        let place = (metadata.dev(), metadata.ino());
        if self.folder.is_private(place) {
            return Ok(());
        }
        if is_new_device(visit, place) && is_made_up(dir)? {
            let name = visit.prefix.trim_end_matches('/');
            let name = if name.is_empty() { "." } else { name }.to_owned();
            let reason = Reason::MadeUp;
            self.names.left_out.push(LeftOut { name, reason, unknown_folder: true });
            return Ok(());
        }
        if visit.within.contains(&place) {
            let name = visit.prefix.trim_end_matches('/').to_owned();
            self.leave_out(name, Reason::Circle);
            return Ok(());
        }
        let mut entries = Dir::read_from(dir)?;
        if let Ok(name) = visit.prefix.trim_end_matches('/').parse() {
            self.names.sorted.push(Named { name, folder: true });
        }
        let mut visit = visit.clone();
        Arc::make_mut(&mut visit.within).push(place);
        // An error is no end of the folder.
        while let Some(entry) = entries.read() {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(PRIVATE_FOLDER) if visit.prefix.is_empty() => {}
                Ok(part) if is_arriving(part) => {}
                Ok(part) => self.sort_in(&visit, part, entry.file_type())?,
                Err(_) => {
                    let part = entry.file_name().to_bytes().escape_ascii();
                    self.leave_out(format!("{}{part}", visit.prefix), Reason::NotUtf8);
                }
            }
        }
        Ok(())
    }

    fn sort_in(&mut self, visit: &Visit, part: &str, kind: FileType) -> io::Result<()> {
        let text = format!("{}{part}", visit.prefix);
        let name = match text.parse::<FileName>() {
            Ok(name) => name,
            Err(bad) => {
                self.leave_out(text, bad.into());
                return Ok(());
            }
        };
        match kind {
            FileType::RegularFile => self.names.sorted.push(Named { name, folder: false }),
            // That of another peer, whose folder lies in this one.
            FileType::Directory if part == PRIVATE_FOLDER => {
                self.leave_out(text, Reason::PrivateName);
            }
            FileType::Directory => self.ahead.push(visit.below(&name, 0)),
            FileType::Symlink | FileType::Unknown => return self.look(visit, name),
            other => self.leave_out(text, reason_of_kind(other)),
        }
        Ok(())
    }

    /// Takes a link for what it points to, as long as that lies in the folder.
    fn look(&mut self, visit: &Visit, name: FileName) -> io::Result<()> {
        let is_link =
            || statat(self.folder.dir(), name.as_path(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        match self.folder.look(name.as_path()) {
            Ok(metadata) if metadata.is_file() => {
                self.names.sorted.push(Named { name, folder: false })
            }
            Ok(metadata) if metadata.is_dir() && visit.links < config::MAX_LINKED_FOLDERS => {
                self.ahead.push(visit.below(&name, 1));
            }
            Ok(metadata) if metadata.is_dir() => self.leave_out(name.into(), Reason::Circle),
            Ok(metadata) => {
                let kind = FileType::from_raw_mode(metadata.mode());
                self.leave_out(name.into(), reason_of_kind(kind));
            }
            Err(error) => match reason_for(&error).map_err(|()| error)? {
                Some(reason) => self.leave_out(name.into(), reason),
                None if is_link() => self.leave_out(name.into(), Reason::DeadLink),
                // It went away meanwhile.
                None => {}
            },
        }
        Ok(())
    }

    fn leave_out(&mut self, name: String, reason: Reason) {
        self.names.left_out.push(LeftOut { name, reason, unknown_folder: false });
    }
}

/// Whether a folder is the first one of its file system.
fn is_new_device(visit: &Visit, (device, _): (u64, u64)) -> bool {
    visit.within.last().is_none_or(|(above, _)| *above != device)
}

/// Whether the files of a folder are made up by the system while they are read: they say that they
/// have no bytes, and have some.
#[cfg(target_os = "linux")]
fn is_made_up(dir: &File) -> io::Result<bool> {
    // proc, sysfs, debugfs, tracefs, securityfs, configfs, cgroup, cgroup2 (magic.h of Linux)
    const MADE_UP: [u64; 8] = [
        0x9fa0,
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x6265_6570,
        0x27_e0eb,
        0x6367_7270,
    ];
    #[allow(clippy::unnecessary_cast, reason = "the type of this field differs between systems")]
    let kind = rustix::fs::fstatfs(dir)?.f_type as u64;
    Ok(MADE_UP.contains(&(kind & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn is_made_up(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// Why something on the way is left out; `None` when it is not there. An error of the system's own
/// (no descriptors, no memory) says nothing of what is there, and gives `Err`.
fn reason_for(error: &io::Error) -> Result<Option<Reason>, ()> {
    match Errno::from_io_error(error) {
        _ if is_shortage(error) => Err(()),
        Some(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Some(Errno::XDEV) => Ok(Some(Reason::LeadsOut)),
        Some(Errno::LOOP) => Ok(Some(Reason::Circle)),
        Some(Errno::ACCESS | Errno::PERM) => Ok(Some(Reason::NotAllowed)),
        Some(Errno::NAMETOOLONG) => Ok(Some(Reason::NameTooLong)),
        _ => Ok(Some(Reason::Unreadable)),
    }
}

fn reason_of_kind(kind: FileType) -> Reason {
    match kind {
        FileType::Fifo => Reason::Fifo,
        FileType::Socket => Reason::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => Reason::Device,
        _ => Reason::Unknown,
    }
}

impl Visit {
    fn below(&self, name: &FileName, links: usize) -> Self {
        Self { prefix: format!("{name}/"), within: self.within.clone(), links: self.links + links }
    }
}
