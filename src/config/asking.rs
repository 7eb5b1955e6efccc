//! Limits of the asking side: how long it waits for whom, and how much it keeps in mind.

use std::time::Duration;

/// How long a connection waits for room where this process may open no further file.
pub const FILES_PATIENCE: Duration = Duration::from_secs(30);

/// Files that it may still open then, because connections leave them: for folders, part files,
/// journal and catalog of a transfer, and what reads files for it.
pub const FILES_KEPT: u64 = 16;

/// How long a peer that is busy is asked the same question again, at most; where a user waits for
/// the answers of many, the others are not to wait for one that is overrun.
pub const BUSY_PATIENCE: Duration = Duration::from_secs(30);

/// How long a peer may take over what takes time without getting on with it: hashing what was asked
/// for, a page of a listing, for which it may have to hash files, or a chunk that it is still
/// receiving. A disk that wakes up, or is busy with other things, needs no longer.
pub const IDLING: Duration = Duration::from_secs(60);

/// Names a second that a listing brings at least, over [`IDLING`].
pub const LEAST_LISTED: u32 = 1;

/// As so many of them counts a name for which a file was hashed, of up to [`SMALL_FILE`] bytes: slow
/// disks read a quarter of a megabyte a second at least.
///
/// [`SMALL_FILE`]: super::SMALL_FILE
pub const HASHED_COUNTS: usize = 15;

/// Files of a folder that could not be received of which it is kept which and why.
pub const FAILURES_KEPT: usize = 1000;

/// From so many files of a folder on, which takes some hundred megabytes of memory, the user is told
/// how to have fewer at once.
pub const MANY_FILES: u64 = 500_000;
