//! How a file is recognised as the one that was hashed, without reading it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// What the file system says of a file. While all of it stays equal, so does the content: every
/// write moves the change time, which nobody can set back.
///
/// Kernels before 6.13 count these times in steps of a few milliseconds, so there a write of the
/// same length within one step of the hashing goes unnoticed here; receivers still notice it,
/// because they verify every chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) length: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    pub(super) inode: u64,
}

impl Identity {
    /// Asks for the identity of an open file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::from_metadata(&metadata))
    }

    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Whether a file that stayed open still has its content. The change time is left out: it moves
    /// as well when the file is renamed, replaced or given other permissions, none of which is a
    /// reason to stop serving it to somebody in the middle of it.
    pub(super) fn same_content(&self, now: &Self) -> bool {
        (self.length, self.mtime_ns, self.inode) == (now.length, now.mtime_ns, now.inode)
    }

    /// Modification time in whole seconds since 1970.
    pub(super) fn modified(&self) -> Option<u64> {
        u64::try_from(self.mtime_ns.div_euclid(NANOSECONDS)).ok()
    }
}

const NANOSECONDS: i64 = 1_000_000_000;

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(NANOSECONDS).saturating_add(rest)
}
