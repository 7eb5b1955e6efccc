//! Defaults and limits of the classic dialect.

use std::time::Duration;

/// Downloads of the classic dialect that are counted at once for the log; with more, all are told.
pub const CLASSIC_DOWNLOADS: usize = 1024;

/// How long a silence makes a whole message of a text that may be one.
pub const CLASSIC_PAUSE: Duration = Duration::from_millis(5);

/// The same for a listing, which may come in several segments.
pub const CLASSIC_LIST_PAUSE: Duration = Duration::from_millis(50);

/// How long the rest of a message may take.
pub const CLASSIC_REST: Duration = Duration::from_secs(1);

/// Longest message in bytes that is sent; the other side reads no more at once.
pub const CLASSIC_MESSAGE: usize = 1024;

/// Longest message in bytes that is taken.
pub const CLASSIC_MOST: usize = 4 << 10;

/// Longest file in bytes that is given in the dialect. Its characters have to be counted before its
/// length can be said, which takes a second or two for so many, and 5 MiB of memory; in steps of
/// 100 characters hardly anybody waits for more.
pub const CLASSIC_LONGEST: u64 = 4 << 30;

/// Longest listing in bytes that is taken.
pub const CLASSIC_LISTING: usize = 4 << 20;

/// How long after the last chunk a client may say that the upload is complete; A expects to be told
/// after this time, and C breaks when it is told sooner than after half a second.
pub const CLASSIC_FAREWELL: Duration = Duration::from_millis(750);

/// How long an upload lives whose offer's connection has ended, from its last chunk on.
pub const CLASSIC_GRACE: Duration = Duration::from_secs(10);

/// How long the sender of an upload may say nothing before it counts as gone.
pub const CLASSIC_SILENCE: Duration = Duration::from_secs(60);

/// Bytes a second of an upload, at least, over each [`CLASSIC_SILENCE`]. Each chunk of 100 waits for
/// an answer, and some programs open a connection for it, so over a long way it is not many.
pub const CLASSIC_LEAST: u32 = 16;

/// Bytes a second of answers to a download, at least. Four are under way at once, and each begins
/// within [`CLASSIC_ANSWER`]; one that does and then drips would pass for hours.
pub const CLASSIC_LEAST_READ: u32 = 64;

/// Chunks of a classic transfer that may come before an earlier one.
pub const CLASSIC_WINDOW: u32 = 4096;

/// How long an answer of a classic server may take; several of them pause.
pub const CLASSIC_ANSWER: Duration = Duration::from_secs(5);

/// The same where another way is open if none comes.
pub const CLASSIC_LOOK: Duration = Duration::from_millis(300);

/// How long the end of an upload is listened for, each time.
pub const CLASSIC_LISTEN: Duration = Duration::from_secs(1);

/// How long an uploaded file may take to be listed.
pub const CLASSIC_CONFIRM: Duration = Duration::from_secs(3);

/// Chunks that are asked of one classic server at once; their backlogs are short.
pub const CLASSIC_LANES: usize = 4;
