//! What of a part file is on the disk for certain, and what is kept of one that is not complete.
//!
//! A disk that could not keep what was written says so once, to whoever syncs next. After that the
//! lost bytes still read well from memory, and a second sync succeeds. So nothing that was not
//! certain before is believed any more: it is thrown away, and fetched again.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::io::Errno;

use super::part::{Part, PartFile, journal_entry, part_entry};
use super::watched::live_entry;
use super::{StoreError, calls, journal, reception};
use crate::config;
use crate::content::ChunkSet;

impl PartFile {
    pub(super) fn sync_if_due(&self) -> Result<(), StoreError> {
        let Ok(mut synced) = self.part.synced.try_lock() else { return Ok(()) };
        let due = synced.elapsed() >= config::JOURNAL_INTERVAL
            || self.part.unsynced.load(Relaxed) >= config::JOURNAL_BYTES;
        if !due {
            return Ok(());
        }
        let result = self.sync().and_then(|()| self.check_reserve());
        *synced = Instant::now();
        result
    }

    fn check_reserve(&self) -> Result<(), StoreError> {
        self.disk.check_reserve(self.manifest().name(), self.needed())
    }

    /// Syncs the data, and only then says in the journal that it is there.
    fn sync(&self) -> Result<(), StoreError> {
        if self.part.doubtful.load(Relaxed) {
            return Err(self.unwritable(Errno::IO.into()));
        }
        self.part.unsynced.store(0, Relaxed);
        let have = self.have();
        let manifest = self.manifest();
        let entry = journal_entry(&manifest.root());
        let inode = self.identity()?.inode;
        self.part
            .noting_doubt(calls::sync_data(&self.part.file))
            .and_then(|()| journal::encode(manifest, inode, &have))
            .and_then(|journal| self.disk.parts.replace(&entry, &journal))
            .map_err(|error| self.unwritable(error))
    }

    /// What a failed sync leaves is lost on the disk and still reads well from memory, so that
    /// nothing but throwing it away keeps it from being taken for received later.
    fn throw_doubtful_away(&self) -> io::Result<()> {
        let layout = *self.manifest().layout();
        // What was synced before is; a journal that cannot be read says nothing.
        let journaled = reception::read_journal(&self.disk, &self.part.file, self.manifest());
        let certain = journaled.ok().flatten().unwrap_or(ChunkSet::none(&layout));
        let doubtful = layout.indices().filter(|index| !certain.contains(*index));
        let mut ranges = doubtful.map(|index| layout.range(index));
        let punched = ranges.try_for_each(|range| {
            calls::punch(&self.part.file, range.start, range.end - range.start)
        });
        // Where there are no holes, all of it goes.
        punched.or_else(|_| {
            let entry = part_entry(&self.manifest().root());
            self.forget_journal().and_then(|()| self.disk.parts.remove(&entry))
        })
    }

    pub(super) fn forget_journal(&self) -> io::Result<()> {
        self.disk.parts.remove(&journal_entry(&self.manifest().root()))?;
        self.disk.parts.sync()
    }

    /// Whether anything was received, or taken over; zeros that are holes were not.
    fn has_anything(&self) -> bool {
        let zeros = self.part.manifest.zeros();
        self.part.arrivals.look(|have| have.iter().any(|index| !zeros.contains(index)))
    }
}

impl Part {
    /// Remembers that the disk could not keep what was written.
    pub(super) fn noting_doubt(&self, synced: io::Result<()>) -> io::Result<()> {
        synced.inspect_err(|_| self.doubtful.store(true, Relaxed))
    }
}

impl PartFile {
    /// What is kept for the next attempt.
    fn keep(&self) -> Result<(), StoreError> {
        if !self.has_anything() {
            let entry = part_entry(&self.manifest().root());
            let removed = self.forget_journal().and_then(|()| self.disk.parts.remove(&entry));
            return removed.map_err(StoreError::io("cannot delete an empty part file"));
        }
        let synced = self.sync();
        match self.part.doubtful.load(Relaxed) {
            true => self.throw_doubtful_away().map_err(|error| self.unwritable(error)),
            false => synced,
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        self.disk.live.leave(&self.manifest().root());
        self.part.arrivals.end();
        if self.live.take().is_some()
            && let Err(error) = self.disk.parts.remove(&live_entry(&self.manifest().root()))
        {
            log::debug!("cannot remove what others see of {}: {error}", self.manifest().name());
        }
        if !self.settled
            && let Err(error) = self.keep()
        {
            log::warn!("{error}; received chunks may have to be verified again");
        }
    }
}
