//! Puts a file or a folder from anywhere on this machine into the served folder, without a copy
//! where the file system can share its bytes.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, statat};
use rustix::io::Errno;

use super::disk::Disk;
use super::folder::{place_in, place_of};
use super::placing::{Placing, copy_bytes, same_bytes};
use super::{Store, StoreError, attributes, calls};
use crate::content::FileName;
use crate::content::name::{is_arriving, is_private};

/// What a copy is called before it has its name.
pub(super) const PUBLISHED: &str = ".published";

/// How something came into the served folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Published {
    /// The bytes are shared until one of both files is written to.
    Reflink,
    /// It is the same file under one more name; a write to one is a write to both.
    HardLink,
    /// It is a copy.
    Copy,
}

/// What became of publishing a folder or a file.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Files that are there now, and how; the dearest way that was needed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already, by name and content.
    pub there: u64,
    /// The way that cost most.
    pub way: Option<Published>,
    /// What was not published, and why.
    pub left_out: Vec<(String, String)>,
}

impl Store {
    /// Publishes a file or a folder as `name`; another file of that name is never replaced. Links,
    /// FIFOs and the like within a folder are left out and told. `goes_on` is told how many bytes
    /// were copied so far, and ends it; what was published by then stays.
    pub fn publish(
        &self,
        path: &Path,
        name: &FileName,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Publication, StoreError> {
        let disk = &self.looked_at()?.disk;
        disk.check_open()?;
        let cannot = |error| StoreError::io(format!("cannot read {}", path.display()))(error);
        let real = path.canonicalize().map_err(cannot)?;
        let metadata = fs::metadata(&real).map_err(cannot)?;
        let top = disk.folder.path();
        let refused = |why: &str| StoreError::Io {
            what: real.display().to_string(),
            error: io::Error::other(why.to_owned()),
        };
        if metadata.is_dir() && top.starts_with(&real) {
            return Err(refused("the served folder lies within it"));
        }
        if real.components().any(|part| part.as_os_str().to_str().is_some_and(is_ours)) {
            return Err(refused("it is a file of peershare itself"));
        }
        if metadata.is_dir() && top.join(name.as_path()).starts_with(&real) {
            return Err(refused("it would lie within itself"));
        }
        let (mut done, mut copied) = (Publication::default(), 0);
        let mut goes_on = |bytes| {
            copied += bytes;
            goes_on(copied)
        };
        match metadata.is_dir() {
            true => self.publish_folder(&real, name, &mut done, &mut goes_on)?,
            false if metadata.is_file() => {
                self.publish_file(&real, name, &mut done, &mut goes_on)?
            }
            false => return Err(StoreError::NotAFile { name: name.clone() }),
        }
        self.sync()?;
        Ok(done)
    }

    fn publish_folder(
        &self,
        path: &Path,
        name: &FileName,
        done: &mut Publication,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        self.make_folder(name)?;
        let cannot = |error| StoreError::io(format!("cannot read {}", path.display()))(error);
        for entry in fs::read_dir(path).map_err(cannot)? {
            if !goes_on(0) {
                return Err(StoreError::Interrupted);
            }
            let entry = entry.map_err(cannot)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(cannot)?);
            let part = entry.file_name();
            let below =
                part.to_str().and_then(|part| format!("{name}/{part}").parse::<FileName>().ok());
            let why = match below {
                _ if part.to_str().is_some_and(is_ours) => "it is of peershare itself".to_owned(),
                None => "its name cannot be asked for".to_owned(),
                Some(_) if !kind.is_dir() && !kind.is_file() => {
                    "a link or no ordinary file".to_owned()
                }
                Some(below) => {
                    let published = match kind.is_dir() {
                        true => self.publish_folder(&path, &below, done, goes_on),
                        false => self.publish_file(&path, &below, done, goes_on),
                    };
                    match published {
                        Ok(()) => continue,
                        Err(StoreError::Interrupted) => return Err(StoreError::Interrupted),
                        Err(error) => error.to_string(),
                    }
                }
            };
            done.left_out.push((path.display().to_string(), why));
        }
        Ok(())
    }

    fn publish_file(
        &self,
        path: &Path,
        name: &FileName,
        done: &mut Publication,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        let disk = &self.now().disk;
        let cannot = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                StoreError::Blocked { name: name.clone(), by: "another file" }
            }
            io::ErrorKind::Interrupted => StoreError::Interrupted,
            _ => super::placing::unplaceable(disk, name, 0, error),
        };
        // It was a file a moment ago; what has taken its place since is not followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        let source = File::from(opened.map_err(cannot)?);
        let metadata = source.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err(StoreError::NotAFile { name: name.clone() });
        }
        if let Ok((there, _)) = disk.folder.open_file(name) {
            return match same_bytes(&source, &there).map_err(cannot)? {
                true => {
                    done.there += 1;
                    Ok(())
                }
                false => Err(cannot(io::ErrorKind::AlreadyExists.into())),
            };
        }
        let length = metadata.len();
        let parent = disk.folder.make_parent(name).map_err(cannot)?;
        let to = (&parent, name.last_part());
        let way = place(disk, &source, path, to, goes_on).map_err(cannot)?;
        done.files += 1;
        done.bytes = done.bytes.saturating_add(length);
        done.way = done.way.max(Some(way));
        Ok(())
    }
}

/// Whether a part of a path is one that this program keeps for itself.
fn is_ours(part: &str) -> bool {
    is_private(part) || is_arriving(part)
}

/// Tries the ways from the cheapest on. What is copied gets its name when all of it is there.
fn place(
    disk: &Disk,
    source: &File,
    path: &Path,
    to: (&File, &str),
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Published> {
    let entry = format!("{:016x}{PUBLISHED}", RandomState::new().build_hasher().finish());
    let copy = disk.parts.claim(&entry)?.ok_or(io::ErrorKind::AlreadyExists)?;
    let placed = place_over(disk, (source, path), (&copy, &entry), to, goes_on);
    // Renamed, or of no use.
    disk.parts.remove(&entry)?;
    placed
}

fn place_over(
    disk: &Disk,
    (source, path): (&File, &Path),
    (copy, entry): (&File, &str),
    to: (&File, &str),
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Published> {
    let give_name = || {
        attributes::take_over(source, copy)?;
        calls::sync(copy)?;
        Placing { disk, from: (disk.parts.dir(), entry), to, replace: false }.place().map(drop)
    };
    #[cfg(target_os = "linux")]
    if rustix::fs::ioctl_ficlone(copy, source).is_ok() {
        return give_name().map(|()| Published::Reflink);
    }
    match linkat(CWD, path, to.0, to.1, AtFlags::empty()) {
        Ok(()) => {
            let linked = statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW)?;
            if place_in(&linked) == place_of(source)? {
                return Ok(Published::HardLink);
            }
            // Something else has the path by now.
            calls::remove(to.0, to.1)?;
        }
        Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
        // Another file system, or one without links, or not ours to link.
        Err(_) => {}
    }
    copy_bytes(source, copy, goes_on)?;
    give_name().map(|()| Published::Copy)
}
