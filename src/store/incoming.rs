//! A file while it is received from a peer that cannot say what it is: `.peershare/parts/<digest of
//! the name>.unproven`.
//!
//! Its bytes come in order and nothing proves them, so it is not continued by another attempt: it
//! becomes visible whole, or it goes. It shares the lock of its name with every other reception.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::disk::Disk;
use super::identity::Identity;
use super::part::NameLock;
use super::placing::{Placed, Placing, unplaceable, unwritable};
use super::reception::lock_name;
use super::{StoreError, calls, placing, way};
use crate::config;
use crate::content::{Digest, FileName};

/// What such a file is called behind the digest of its name.
pub(super) const UNPROVEN: &str = ".unproven";

/// How such a reception can begin.
#[derive(Debug)]
pub enum Arrival {
    /// A file has that name, and it was not to be replaced.
    Exists,
    /// That name is being received right now, by this process or by another.
    Busy,
    /// Bytes may come.
    Ready(Incoming),
}

/// A file that is being received without proof. Dropping it deletes what came.
#[derive(Debug)]
pub struct Incoming {
    disk: Arc<Disk>,
    name: FileName,
    entry: String,
    file: File,
    _lock: NameLock,
    /// Bytes that came and are not written yet.
    unwritten: Vec<u8>,
    /// Bytes that are written.
    written: u64,
    replace: bool,
    /// Renamed: there is nothing left to delete.
    settled: bool,
}

pub(super) fn begin(
    disk: &Arc<Disk>,
    name: FileName,
    length: Option<u64>,
    replace: bool,
) -> Result<Arrival, StoreError> {
    disk.check_open()?;
    if way::look(disk, &name, replace)?.is_some() && !replace {
        return Ok(Arrival::Exists);
    }
    disk.check_size(&name, length.unwrap_or(0))?;
    placing::check_holdable(disk, &name)?;
    let what = format!("cannot prepare to receive {name}");
    let free = disk.free_space().map_err(StoreError::io(what.clone()))?;
    if let Some(needed) = length.filter(|length| *length > free) {
        return Err(StoreError::NoSpace { name, needed, free });
    }
    let Some(lock) = lock_name(disk, &name).map_err(StoreError::io(what.clone()))? else {
        return Ok(Arrival::Busy);
    };
    let entry = format!("{}{UNPROVEN}", Digest::of(name.as_str().as_bytes()));
    // What a killed process left may already have its name; nobody else can have this one now.
    let claimed = disk.parts.remove(&entry).and_then(|()| disk.parts.claim(&entry));
    let Some(file) = claimed.map_err(StoreError::io(what))? else { return Ok(Arrival::Busy) };
    let (disk, unwritten) = (Arc::clone(disk), Vec::new());
    let incoming = Incoming {
        disk,
        name,
        entry,
        file,
        _lock: lock,
        unwritten,
        written: 0,
        replace,
        settled: false,
    };
    Ok(Arrival::Ready(incoming))
}

impl Incoming {
    /// What it will be called.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Takes the bytes that follow those before.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.unwritten.extend_from_slice(bytes);
        let length = self.written.saturating_add(self.unwritten.len() as u64);
        self.disk.check_size(&self.name, length)?;
        if self.unwritten.len() < config::HASH_PIECE {
            return Ok(());
        }
        self.disk.check_reserve(&self.name, self.unwritten.len() as u64)?;
        self.flush()
    }

    /// Makes every line end with a carriage return and a newline, for a sender that read the former
    /// away.
    pub fn put_returns_back(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let mut returns = 0;
        self.for_pieces_backwards(|piece| {
            returns += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            Ok(())
        })?;
        let (file, mut end) = (&self.file, self.written + returns);
        // From the end on, so that no piece is overwritten before it is read.
        self.for_pieces_backwards(|piece| {
            let mut longer = Vec::with_capacity(2 * piece.len());
            for byte in piece {
                longer.extend((*byte == b'\n').then_some(b'\r'));
                longer.push(*byte);
            }
            end -= longer.len() as u64;
            calls::write_at(file, &longer, end)
        })?;
        self.written += returns;
        Ok(())
    }

    /// Makes the file visible under its name, synced to disk.
    pub(super) fn complete(mut self) -> Result<(FileName, Identity), StoreError> {
        self.flush()?;
        calls::sync(&self.file).map_err(|error| self.unwritable(error))?;
        self.disk.check_in_force()?;
        let folder =
            self.disk.folder.make_parent(&self.name).map_err(|error| self.unplaceable(error))?;
        let to = (&folder, self.name.last_part());
        let from = (self.disk.parts.dir(), &*self.entry);
        let placing = Placing { disk: &self.disk, from, to, replace: self.replace };
        let placed = placing.place().map_err(|error| self.unplaceable(error))?;
        self.settled = true;
        calls::sync(&folder).map_err(|error| self.unplaceable(error))?;
        let file = match &placed {
            Placed::Renamed => &self.file,
            Placed::Copied(copy) => copy,
        };
        let identity = Identity::of(file).map_err(|error| self.unplaceable(error))?;
        Ok((self.name.clone(), identity))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let written = calls::write_at(&self.file, &self.unwritten, self.written);
        written.map_err(|error| self.unwritable(error))?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// Reads what is written piece by piece, the last one first.
    fn for_pieces_backwards(
        &self,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let (mut end, mut buffer) = (self.written, vec![0; config::HASH_PIECE]);
        while end > 0 {
            let len = usize::try_from(end).unwrap_or(usize::MAX).min(buffer.len());
            let (piece, _) = buffer.split_at_mut(len);
            end -= len as u64;
            let done = self.file.read_exact_at(piece, end).and_then(|()| each(piece));
            done.map_err(|error| self.unwritable(error))?;
        }
        Ok(())
    }

    fn unwritable(&self, error: io::Error) -> StoreError {
        unwritable(&self.disk, &self.name, self.unwritten.len() as u64, error)
    }

    fn unplaceable(&self, error: io::Error) -> StoreError {
        unplaceable(&self.disk, &self.name, 0, error)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.disk.parts.remove(&self.entry)
        {
            log::warn!("cannot delete what came of {}: {error}", self.name);
        }
    }
}
