//! A served folder at a glance: how much is in it, and how much more would fit.

use std::sync::Mutex;
use std::time::Instant;

use super::listing::Names;
use super::looking::Looker;
use super::{Store, StoreError};
use crate::config;
use crate::content::Selection;
use crate::locks::lock;

/// How much is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that could still be written there.
    pub free: u64,
    /// Whether files are being hashed.
    pub hashing: bool,
}

/// Files and bytes as they were counted last, and when.
#[derive(Debug, Default)]
pub(super) struct Counted {
    last: Mutex<Option<(u64, u64, Instant)>>,
    /// Held by who counts.
    counting: Mutex<()>,
}

impl Store {
    /// How much is served, counted within the last [`config::SUMMARY_KEPT`].
    pub fn summary(&self) -> Result<Summary, StoreError> {
        let inner = self.looked_at()?;
        let last = lock(&inner.counted.last).as_ref().copied();
        let fresh = last.filter(|(_, _, when)| when.elapsed() < config::SUMMARY_KEPT);
        // One counts for all who ask meanwhile; they are told what was counted before.
        let counting = inner.counted.counting.try_lock().ok();
        let (files, bytes, _) = match (fresh, last, counting) {
            (Some(counted), ..) | (None, Some(counted), None) => counted,
            (None, ..) => {
                let (files, bytes) = self.count()?;
                *lock(&inner.counted.last).insert((files, bytes, Instant::now()))
            }
        };
        let free = inner.disk.free_space().unwrap_or(0);
        Ok(Summary { files, bytes, free, hashing: inner.hashing.is_busy() })
    }

    fn count(&self) -> Result<(u64, u64), StoreError> {
        let inner = self.now();
        let names = Names::read(&inner.disk.folder)?;
        let (all, mut looker) = (Selection::new(None, &[])?, Looker::new(&inner.disk.folder));
        let (mut files, mut bytes) = (0, 0_u64);
        for named in names.matching(&all, false, None) {
            // One that is gone meanwhile does not count.
            if let Ok(seen) = looker.look(&named.name) {
                files += 1;
                bytes = bytes.saturating_add(seen.identity.length);
            }
        }
        Ok((files, bytes))
    }
}
