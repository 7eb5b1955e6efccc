//! The served folder, and how a name becomes an open file without ever leaving it.
//!
//! Every name is resolved from the folder's own descriptor. The quick way is one `openat2` call
//! that follows no link at all. Where it meets a link, or does not exist, the name is walked part
//! by part: each step opens one part without following it, a link is read and its target walked in
//! turn, `..` goes back to the descriptor we came from, and whatever would leave the folder or
//! enter `.peershare` ends with `EXDEV`. No step trusts a path that somebody else could change in
//! the meantime.
//!
//! # What lies in a served folder
//!
//! | it | to those who list and read | to what arrives under its name |
//! |---|---|---|
//! | a file | as long as it is what it was when it was hashed, or has become longer | in the way; replaced when that is asked for |
//! | one that is gone, shorter, or another since | an error of that request, never a mixture; hashed again by the next | what the name means at the moment of the rename |
//! | a folder | what is in it | in the way, always |
//! | a link within the folder | what it leads to, up to [`config::MAX_LINKS`] on the way | the link gives way, its target stays; a linked folder is a folder |
//! | a link that leads out, to nothing, or in a circle | left out and told; as if it were not there | refused; one to nothing gives way when that is asked for |
//! | a FIFO, a socket, a device | left out and told; never opened by a name that nobody saw to be a file | in the way, always |
//! | what may not be read | left out and told | as what it is |
//! | a name that is not UTF-8, has control characters or is too long | left out and told | cannot be asked for |
//! | `.peershare`, under whatever name | as if it were not there | refused |
//! | files that the system makes up (`/proc`) | left out and told | |
//!
//! An entry that changes while it is looked at is either of the two. A link that takes the place of
//! a folder after that was opened changes nothing: what was opened is the folder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, readlinkat, statat};
use rustix::io::Errno;

use super::calls::Mounts;
use super::identity::Identity;
use super::{StoreError, attributes, calls};
use crate::config;
use crate::content::FileName;
use crate::content::name::is_private;
use crate::locks::lock;

/// Reads a file; a FIFO or a device cannot make the call hang.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// Opens a folder.
const ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Only looks at what is there, which needs no permission to read it.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = READ;

/// A folder that nothing opened through it can leave.
#[derive(Debug)]
pub(super) struct Folder {
    dir: File,
    path: PathBuf,
    /// Our own folders, which no name may lead to, however it is spelt.
    private: OnceLock<Vec<Place>>,
    /// The folder of the last file that was looked at or read, and when it was seen that none of
    /// ours is on the way to it: most files lie beside one another.
    free: Mutex<Option<(PathBuf, Instant)>>,
}

/// Device and inode of a folder: which one it is, whatever it is called.
pub(super) type Place = (u64, u64);

/// Which folder that is.
pub(super) fn place_of(folder: &File) -> io::Result<Place> {
    let metadata = folder.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Folder {
    /// Opens the folder.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let dir = File::from(rustix::fs::open(&path, ENTER, Mode::empty())?);
        Ok(Self::of(dir, path))
    }

    /// An open folder that is found at `path`.
    pub(super) fn of(dir: File, path: PathBuf) -> Self {
        Self { dir, path, private: OnceLock::new(), free: Mutex::default() }
    }

    /// From now on no name leads into these folders.
    pub(super) fn keep_out_of(&self, private: &[&File]) -> io::Result<()> {
        let places = private.iter().map(|folder| place_of(folder)).collect::<io::Result<_>>()?;
        // They are told once.
        let _ = self.private.set(places);
        Ok(())
    }

    /// Whether that is one of our own folders.
    pub(super) fn is_private(&self, place: Place) -> bool {
        self.private.get().is_some_and(|private| private.contains(&place))
    }

    /// A folder on the way to a name must not be one of our own, under whatever name: a file system
    /// that folds case has them under several, and a mount may show them anywhere.
    fn check_way(&self, folders: &Path) -> io::Result<()> {
        if self.private.get().is_none() {
            return Ok(());
        }
        for above in folders.ancestors().filter(|above| !above.as_os_str().is_empty()) {
            match statat(&self.dir, above, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if self.is_private(place_in(&stat)) => return Err(Errno::XDEV.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The same, believed for a moment where nothing is made or changed: only who has the machine
    /// could give one of our folders another name meanwhile.
    fn check_way_to_read(&self, folders: &Path) -> io::Result<()> {
        if folders.as_os_str().is_empty() {
            return Ok(());
        }
        // Compared as text: to compare paths part by part takes longer.
        let is_fresh = |(last, when): &(PathBuf, Instant)| {
            last.as_os_str() == folders.as_os_str() && when.elapsed() < config::WAY_KEPT
        };
        if lock(&self.free).as_ref().is_some_and(is_fresh) {
            return Ok(());
        }
        // Nobody waits for this while a disk is slow to answer.
        self.check_way(folders)?;
        *lock(&self.free) = Some((folders.to_owned(), Instant::now()));
        Ok(())
    }

    fn check_not_private(&self, file: &File) -> io::Result<()> {
        match self.is_private(place_of(file)?) {
            true => Err(Errno::XDEV.into()),
            false => Ok(()),
        }
    }

    /// Where it is, without links on the way.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself.
    pub(super) fn dir(&self) -> &File {
        &self.dir
    }

    /// What the system knows of whatever has that name.
    pub(super) fn look(&self, path: &Path) -> io::Result<std::fs::Metadata> {
        let metadata = self.resolve(path, LOOK, Self::check_way_to_read)?.metadata()?;
        match self.is_private((metadata.dev(), metadata.ino())) {
            true => Err(Errno::XDEV.into()),
            false => Ok(metadata),
        }
    }

    /// The identity of a regular file.
    pub(super) fn identity(&self, name: &FileName) -> Result<Identity, StoreError> {
        let metadata = self.look(name.as_path()).map_err(StoreError::reaching(name))?;
        if metadata.is_file() {
            Ok(Identity::from_metadata(&metadata))
        } else {
            Err(StoreError::NotAFile { name: name.clone() })
        }
    }

    /// Opens a regular file for reading; says also what it is.
    pub(super) fn open_file(&self, name: &FileName) -> Result<(File, Identity), StoreError> {
        let file = self
            .resolve(name.as_path(), READ, Self::check_way_to_read)
            .map_err(StoreError::reaching(name))?;
        let metadata = file.metadata().map_err(StoreError::reaching(name))?;
        match metadata.is_file() {
            true => Ok((file, Identity::from_metadata(&metadata))),
            false => Err(StoreError::NotAFile { name: name.clone() }),
        }
    }

    /// The same for a name that nobody has seen to be a file: opening a FIFO would let go on who
    /// waits at its other end, and a device may do anything.
    pub(super) fn open_after_look(&self, name: &FileName) -> Result<(File, Identity), StoreError> {
        self.identity(name)?;
        self.open_file(name)
    }

    /// Opens a folder beneath this one.
    pub(super) fn enter(&self, path: &Path) -> io::Result<File> {
        let entered = self.resolve(path, ENTER, Self::check_way)?;
        self.check_not_private(&entered)?;
        Ok(entered)
    }

    /// Opens the folder that `name` lies in, after making what is missing of it.
    pub(super) fn make_parent(&self, name: &FileName) -> io::Result<File> {
        match name.folder() {
            Some(folder) => self.make(Path::new(folder), &calls::sync),
            None => calls::again(&self.dir),
        }
    }

    /// Opens a folder, after making what is missing of it; `made` is given each folder that got a
    /// new one.
    pub(super) fn make(
        &self,
        path: &Path,
        made: &dyn Fn(&File) -> io::Result<()>,
    ) -> io::Result<File> {
        match self.enter(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let parent = match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => self.make(parent, made)?,
            None => calls::again(&self.dir)?,
        };
        let part = path.file_name().unwrap_or_default();
        let make = || calls::make_folder(&parent, part);
        match attributes::lifting(&parent, make) {
            Ok(()) => made(&parent)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        self.enter(path)
    }

    /// Opens what a path leads to. `check` is for the folders on the way, once it is known that none
    /// of them is a link, so that looking at them does not lead out either; a walk has its own.
    fn resolve(
        &self,
        path: &Path,
        flags: OFlags,
        check: impl Fn(&Self, &Path) -> io::Result<()>,
    ) -> io::Result<File> {
        let open = |mounts| calls::open_beneath(&self.dir, path, flags, mounts);
        let (opened, way) = match open(Mounts::Stay) {
            Err(Errno::XDEV) => (open(Mounts::Cross), above(path)),
            // Without another mount on the way, no folder of ours is deeper than at the top.
            opened => (opened, first(above(path))),
        };
        match opened {
            // A link, or a system (or a container's filter) without this call.
            Err(Errno::LOOP | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.walk(path, flags),
            Ok(opened) => check(self, way).map(|()| opened),
            Err(error) => Err(error.into()),
        }
    }

    fn walk(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let mut walk = Walk { entered: Vec::new(), ahead: parts_backwards(path), links: 0 };
        while let Some(part) = walk.ahead.pop() {
            if part == ".." {
                walk.entered.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            if walk.entered.is_empty() && part.to_str().is_some_and(is_private) {
                return Err(Errno::XDEV.into());
            }
            let here = walk.entered.last().unwrap_or(&self.dir);
            match readlinkat(here, &part, Vec::new()) {
                Ok(target) => {
                    walk.follow(PathBuf::from(OsString::from_vec(target.into_bytes())), &self.path)?
                }
                Err(Errno::INVAL) if walk.ahead.is_empty() => return open_part(here, &part, flags),
                Err(Errno::INVAL) => {
                    let entered = open_part(here, &part, ENTER)?;
                    self.check_not_private(&entered)?;
                    walk.entered.push(entered);
                }
                Err(error) => return Err(error.into()),
            }
        }
        // The name ended with a link to a folder that was entered already.
        open_part(walk.entered.last().unwrap_or(&self.dir), OsStr::new("."), flags)
    }
}

/// The folder that a name lies in; empty for the top.
fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The first part of a path.
fn first(path: &Path) -> &Path {
    path.iter().next().map_or(Path::new(""), Path::new)
}

/// Which folder the system means.
#[allow(clippy::unnecessary_cast, reason = "the types of these fields differ between systems")]
pub(super) fn place_in(stat: &Stat) -> Place {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// Where a walk from the top of the folder stands.
struct Walk {
    /// Folders entered so far, below the top.
    entered: Vec<File>,
    /// Parts to go, the next one last.
    ahead: Vec<OsString>,
    /// Links met so far.
    links: usize,
}

impl Walk {
    /// Puts a link's target in front of what is ahead.
    fn follow(&mut self, target: PathBuf, top: &Path) -> io::Result<()> {
        self.links += 1;
        if self.links > config::MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            let inside = target.strip_prefix(top).map_err(|_| Errno::XDEV)?;
            self.entered.clear();
            self.ahead.extend(parts_backwards(inside));
        } else {
            self.ahead.extend(parts_backwards(&target));
        }
        Ok(())
    }
}

fn parts_backwards(path: &Path) -> Vec<OsString> {
    let parts = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

fn open_part(dir: &File, part: &OsStr, flags: OFlags) -> io::Result<File> {
    calls::open(dir, part, flags, 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn walking_part_by_part_leads_where_one_call_leads() {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::open(top.path()).unwrap();
        fs::create_dir_all(top.path().join("a/b")).unwrap();
        fs::write(top.path().join("a/b/f"), b"x").unwrap();
        symlink("a", top.path().join("link")).unwrap();
        for (path, flags) in
            [("a", ENTER), ("a/b/", ENTER), (".", ENTER), ("a/b/f", READ), ("a/b/f", LOOK)]
        {
            let path = Path::new(path);
            let quick = calls::open_beneath(folder.dir(), path, flags, Mounts::Stay)
                .unwrap()
                .metadata()
                .unwrap();
            assert_eq!(folder.walk(path, flags).unwrap().metadata().unwrap().ino(), quick.ino());
        }
        for (path, flags) in [("a/x", READ), ("x/f", READ), ("a/b/f/g", READ), ("a/b/f", ENTER)] {
            let path = Path::new(path);
            let quick = calls::open_beneath(folder.dir(), path, flags, Mounts::Stay).unwrap_err();
            assert_eq!(
                folder.walk(path, flags).unwrap_err().raw_os_error(),
                Some(quick.raw_os_error())
            );
        }
        assert_eq!(
            calls::open_beneath(folder.dir(), Path::new("link/b/f"), READ, Mounts::Cross)
                .unwrap_err(),
            Errno::LOOP
        );
        assert!(folder.walk(Path::new("link/b/f"), READ).is_ok());
    }

    #[test]
    fn walking_part_by_part_never_leads_out_while_links_are_swapped() {
        use std::io::Read;
        use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
        use std::time::Duration;

        use rustix::fs::{CWD, RenameFlags, renameat_with};

        let (top, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(top.path()).unwrap();
        fs::create_dir(top.path().join("d")).unwrap();
        for (place, bytes) in [(top.path().join("d"), b"ours"), (outside.path().into(), b"them")] {
            fs::write(place.join("f"), bytes).unwrap();
        }
        fs::write(top.path().join("f"), b"ours").unwrap();
        symlink(outside.path(), top.path().join("swap-d")).unwrap();
        symlink(outside.path().join("f"), top.path().join("swap-f")).unwrap();
        let over = AtomicBool::new(false);
        let secret = outside.path().metadata().unwrap().ino();
        let (mut inside, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    for name in ["d", "f"] {
                        let (one, other) = (top.path().join(name), format!("swap-{name}"));
                        let other = top.path().join(other);
                        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                    }
                }
            });
            let begun = Instant::now();
            // Both must be seen, however slow the machine is.
            let is_tried = |inside, refused| inside > 0 && refused > 0;
            while begun.elapsed() < Duration::from_millis(500)
                || begun.elapsed() < Duration::from_secs(30) && !is_tried(inside, refused)
            {
                for name in ["d/f", "f", "d/../d/f"] {
                    match folder.walk(Path::new(name), READ) {
                        Ok(mut file) => {
                            let mut bytes = Vec::new();
                            file.read_to_end(&mut bytes).unwrap();
                            assert_eq!(bytes, b"ours");
                            inside += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
                for flags in [ENTER, LOOK] {
                    if let Ok(entered) = folder.walk(Path::new("d"), flags) {
                        assert_ne!(entered.metadata().unwrap().ino(), secret);
                    }
                }
            }
            over.store(true, Relaxed);
        });
        assert!(inside > 0 && refused > 0, "{inside} and {refused}");
    }
}
