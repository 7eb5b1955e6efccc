//! Defaults and limits of the serving side: who is let in, and for how long.

use std::time::Duration;

/// Connections that a server keeps at once, of all dialects. Twice as many as one address may have
/// by default, so that a client of the classic dialect, which opens up to a thousand at once, finds
/// a seat for each and leaves as many to others.
pub const MAX_CONNECTIONS: usize = 2048;

/// One address may have one in so many of these seats. There are no more for loopback: half of them
/// is enough for a laboratory on one machine, and whoever listens there for a tunnel or a container
/// lets in strangers by that address.
pub const ADDRESS_SHARE: usize = 2;

/// A connection that has been idle for less keeps its seat when seats run short. Clients think no
/// longer than that between two requests, and it bounds how many sessions end at once.
pub const IDLE_SPARED: Duration = Duration::from_secs(1);

/// When those who are turned away are told to come back, in seconds: by then an idle connection has
/// made room.
pub const TRY_AGAIN_SECONDS: u64 = 2;

/// Bytes of digests that all offers together may have in memory: the digests of 32 TiB in chunks of
/// the usual size.
pub const OFFERS_HELD: usize = 64 << 20;

/// A payload that is longer than this counts as large: the digests of the usual chunks of 128 GiB.
pub const LARGE_PAYLOAD: usize = 256 << 10;

/// Bytes of small files that all answers under way may have in memory.
pub const ANSWERS_HELD: usize = 512 << 20;

/// How long a request for small files waits for such memory before it is told `busy`; shorter than
/// the asking side waits for a byte.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// How long an upload whose name another file is to have may take to end.
pub const GIVE_WAY: Duration = Duration::from_secs(5);

/// Uploads that one address may have left unfinished. What came of them is kept for
/// [`PART_KEPT`](super::PART_KEPT), so that they can go on.
pub const UNFINISHED: usize = 64;

/// How often a server looks for what is older than that.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Open files that a server needs beside its connections: its log, listener, settings, catalog,
/// locks, and folders that are being listed.
pub const FILES_BESIDE: usize = 64;

/// Open files of one connection: itself, and the file that it reads or writes.
pub const FILES_A_CONNECTION: usize = 2;

/// How long a new connection may say nothing. Clients speak as soon as they are connected; this
/// leaves time for a packet that is sent again twice.
pub const FIRST_WORD: Duration = Duration::from_secs(5);

/// How long a folder that was cut into units is believed to be the same for others who ask for it:
/// those who begin to fetch it at once, from the same command or script.
pub const CUT_KEPT: Duration = Duration::from_secs(5);

/// Folders as they were cut that are remembered, at most, and their files all together, which take
/// 40 bytes each.
pub const CUTS_KEPT: usize = 16;

/// Selections of files that one of them is remembered for, and cuts under way at once, at most:
/// whoever asks chooses the words.
pub const CUT_SELECTIONS: usize = 64;

/// See above.
pub const CUT_FILES_KEPT: usize = 1 << 20;
