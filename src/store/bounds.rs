//! What may be received, and how much room is left to others.

use super::StoreError;
use super::disk::Disk;
use crate::content::FileName;

/// Limits of what a store takes. None by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Length in bytes of the longest file that is taken.
    pub largest: Option<u64>,
    /// Bytes that are to stay free on the disk.
    pub reserve: u64,
}

impl Disk {
    /// [`StoreError::OverLimit`] when a file of that length is not to be received.
    pub(super) fn check_size(&self, name: &FileName, length: u64) -> Result<(), StoreError> {
        match self.bounds().largest {
            Some(largest) if length > largest => {
                Err(StoreError::OverLimit { name: name.clone(), length, largest })
            }
            _ => Ok(()),
        }
    }

    /// [`StoreError::NoSpace`] when what is to stay free on the disk is not free any more. Several
    /// receptions that begin at once find the same room.
    pub(super) fn check_reserve(&self, name: &FileName, needed: u64) -> Result<(), StoreError> {
        if self.bounds().reserve == 0 {
            return Ok(());
        }
        let what = || StoreError::io(format!("cannot see how much room there is for {name}"));
        match self.free_space().map_err(what())? {
            0 => Err(StoreError::NoSpace { name: name.clone(), needed, free: 0 }),
            _ => Ok(()),
        }
    }
}
