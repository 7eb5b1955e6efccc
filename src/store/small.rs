//! Small files, many at a time: hashed together and remembered with one write, because a job, a
//! lock and a record for each of them would cost more than their bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use super::StoreError;
use super::disk::Disk;
use super::identity::Identity;
use super::record::Head;
use crate::config;
use crate::content::{Digest, FileName, Root, WholeFile, whole};

/// Files that are read before they are hashed together.
const AT_ONCE: usize = 64;

/// … or so many bytes of them.
const BYTES_AT_ONCE: u64 = 4 << 20;

/// Whether a file of that length travels as a whole.
pub(super) fn is_small(length: u64) -> bool {
    length <= config::SMALL_FILE
}

/// What these files are, after hashing them here and now; in their order. One that changed
/// meanwhile or cannot be read is an error of its own.
pub(super) fn hash(disk: &Disk, files: &[(FileName, Identity)]) -> Vec<Result<Root, StoreError>> {
    let (mut roots, then) = (Vec::with_capacity(files.len()), SystemTime::now());
    let (mut rest, mut known) = (files, Vec::new());
    while !rest.is_empty() {
        let (some, more) = rest.split_at(how_many(rest));
        hash_some(disk, some, &mut roots, &mut known);
        rest = more;
    }
    disk.catalog.remember_all(known, then);
    roots
}

fn how_many(files: &[(FileName, Identity)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, identity): &&(FileName, Identity)| {
        bytes += identity.length;
        bytes <= BYTES_AT_ONCE
    };
    files.iter().take(AT_ONCE).take_while(fits).count().max(1)
}

fn hash_some(
    disk: &Disk,
    files: &[(FileName, Identity)],
    roots: &mut Vec<Result<Root, StoreError>>,
    known: &mut Vec<(Head, Vec<Digest>)>,
) {
    let read: Vec<Result<Vec<u8>, StoreError>> =
        files.iter().map(|(name, identity)| read_unchanged(disk, name, identity)).collect();
    let bytes: Vec<&[u8]> = read.iter().filter_map(|bytes| bytes.as_deref().ok()).collect();
    let mut hashed = whole::hash_all(&bytes).into_iter();
    let results = files.iter().zip(&read).map(|((name, identity), read)| match read {
        Err(error) => Err(error.again()),
        Ok(_) => match hashed.next().flatten() {
            Some(whole) => {
                known.push(record_of(name.clone(), *identity, &whole));
                Ok(whole.root())
            }
            None => Err(StoreError::Changed { name: name.clone() }),
        },
    });
    roots.extend(results);
}

/// What the catalog is to remember of a file that was hashed as a whole.
pub(super) fn record_of(
    name: FileName,
    identity: Identity,
    whole: &WholeFile<'_>,
) -> (Head, Vec<Digest>) {
    let chunk_size = whole.layout().chunk_size();
    (Head { name, root: whole.root(), chunk_size, identity }, whole.digests().to_vec())
}

fn read_unchanged(
    disk: &Disk,
    name: &FileName,
    identity: &Identity,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let file = disk.open_unchanged(name, identity)?;
    append(&file, name, identity, &mut bytes)?;
    Ok(bytes)
}

/// Appends all bytes of an open file that has that identity. What was appended of a file that
/// changed meanwhile is taken away again.
pub(super) fn append(
    file: &File,
    name: &FileName,
    identity: &Identity,
    to: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let changed = || StoreError::Changed { name: name.clone() };
    let before = to.len();
    let length = usize::try_from(identity.length).ok().filter(|_| is_small(identity.length));
    to.resize(before + length.ok_or_else(changed)?, 0);
    let space = to.get_mut(before..).unwrap_or_default();
    let result = match file.read_exact_at(space, 0) {
        Ok(()) => match Identity::of(file) {
            Ok(now) if identity.same_content(&now) => Ok(()),
            Ok(_) => Err(changed()),
            Err(error) => Err(StoreError::reaching(name)(error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(changed()),
        Err(error) => Err(StoreError::io(format!("cannot read {name}"))(error)),
    };
    if result.is_err() {
        to.truncate(before);
    }
    result
}

/// Appends the beginning of a file that was `identity` and has become longer, if it still is that
/// content.
pub(super) fn append_beginning(
    disk: &Disk,
    name: &FileName,
    identity: &Identity,
    root: &Root,
    to: &mut Vec<u8>,
) -> Option<()> {
    let file = disk.open_at_least(name, identity).ok()?;
    let mut bytes =
        vec![0; usize::try_from(identity.length).ok().filter(|_| is_small(identity.length))?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let whole = whole::hash_all(&[&bytes]).pop()??;
    (whole.root() == *root).then(|| to.extend_from_slice(&bytes))
}
