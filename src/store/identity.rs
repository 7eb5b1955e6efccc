//! How a file is recognised as the one that was hashed, without reading it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

use crate::config;

/// What the file system says of a file. While all of it stays equal, so does the content: every
/// write moves the change time, which nobody can set back.
///
/// Kernels before 6.13 count these times in steps of a few milliseconds, so there a write of the
/// same length within one step of the hashing goes unnoticed here; receivers still notice it,
/// because they verify every chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

    /// Whether a write that follows would be noticed, when the file was looked at `then`. Some file
    /// systems (exFAT, ext4 with small inodes, several over a network) tell times in seconds, or in
    /// hundredths of them: there a second write soon after the first leaves all of this as it was.
    pub(super) fn is_settled(&self, then: SystemTime) -> bool {
        if self.ctime_ns % COARSE_NS != 0 {
            return true;
        }
        let then = then.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let written = u128::try_from(self.ctime_ns.max(self.mtime_ns)).unwrap_or_default();
        written + config::COARSE_TIME.as_nanos() < then
    }

    /// Whether a file that was this has become longer, as a log does. It may still begin with the
    /// same content; nothing but the digests can say whether it does.
    fn grew(&self, now: &Self) -> bool {
        self.inode == now.inode && self.length < now.length
    }

    /// Whether a file that was this is the same, or has become longer.
    pub(super) fn is_or_grew(&self, now: &Self) -> bool {
        self == now || self.grew(now)
    }

    /// The same for a file that stayed open, see [`Self::same_content`].
    pub(super) fn may_begin(&self, now: &Self) -> bool {
        self.same_content(now) || self.grew(now)
    }

    /// The same from the system's own form.
    #[allow(clippy::unnecessary_cast, reason = "the types of these fields differ between systems")]
    pub(super) fn from_stat(stat: &Stat) -> Self {
        Self {
            length: stat.st_size as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            inode: stat.st_ino as u64,
        }
    }
}

const NANOSECONDS: i64 = 1_000_000_000;

/// Times that are told in steps of this many nanoseconds, or more, are coarse.
const COARSE_NS: i64 = 10_000_000;

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(NANOSECONDS).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_that_was_written_just_now_is_not_believed_where_times_are_coarse() {
        let at = |seconds: u64, rest: i64| {
            let ctime_ns = seconds as i64 * NANOSECONDS + rest;
            Identity { length: 1, mtime_ns: 0, ctime_ns, inode: 1 }
        };
        let then = UNIX_EPOCH + Duration::from_secs(1000);
        assert!(at(1000, 123_456_789).is_settled(then), "fine times");
        assert!(!at(1000, 0).is_settled(then) && !at(998, 20_000_000).is_settled(then));
        assert!(at(990, 0).is_settled(then));
        let later = Identity { mtime_ns: 1001 * NANOSECONDS, ..at(990, 0) };
        assert!(!later.is_settled(then), "its own time counts, too");
    }
}
