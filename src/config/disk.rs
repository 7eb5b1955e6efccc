//! What is kept on the disk, and for how long.

use std::time::Duration;

/// How long a file must have been left alone before it was hashed, where times are coarse, for its
/// id to be believed later. FAT tells them in steps of two seconds.
pub const COARSE_TIME: Duration = Duration::from_secs(3);

/// Longest journal of a part file in bytes that is read.
pub const MAX_JOURNAL: u64 = 1 << 20;

/// After how long received chunks are synced to disk and entered in the journal.
pub const JOURNAL_INTERVAL: Duration = Duration::from_secs(2);

/// After how many received bytes the same happens.
pub const JOURNAL_BYTES: u64 = 64 << 20;

/// Files that are served as they were described, though they have grown since.
pub const DESCRIBED_KEPT: usize = 64;

/// How long a part file that nobody continues is kept.
pub const PART_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// No part file is older than this date, told from 1970 on: 2024-01-01, before this program was
/// written.
pub const EARLIEST_PART: Duration = Duration::from_secs(1_704_067_200);

/// Files that a catalog may know though they are gone. With more, those that are gone are forgotten
/// once they are three of four; the others may be on a disk that is unplugged for a while, and would
/// have to be hashed again.
pub const NAMES_KEPT: usize = 10_000;

/// Smallest catalog in bytes that is worth compacting.
pub const CATALOG_COMPACTED: u64 = 64 << 10;

/// How long others find a folder by the id of its units after it has come, since somebody asked for
/// it last. Those who fetch it together end within a few seconds of one another.
pub const UNITS_KEPT: Duration = Duration::from_secs(60);

/// Folders of which that is so at once, at most.
pub const UNITS_KEPT_AT_MOST: usize = 8;

/// Longest file in bytes that says what the units of a folder are: those of 1.6 million files.
pub const MAX_UNITS: u64 = 64 << 20;

/// How long a small file may be nowhere to be found while another process gives it its name: a group
/// of 1,000 takes some milliseconds, and a disk that is busy longer.
pub const SETTLING: Duration = Duration::from_millis(500);
