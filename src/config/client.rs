//! Defaults and limits of what the user meets.

use std::time::Duration;

/// Peers that the prompt looks at in the background, at most; each takes a thread for a moment.
pub const BACKGROUND_MOST: usize = 64;

/// Lines of commands beside the prompt that wait to be printed; more are not shown.
pub const BESIDE_LINES: usize = 10_000;

/// How long leaving the prompt waits for those lines.
pub const LAST_LINES: Duration = Duration::from_secs(1);

/// How often the prompt looks in the background whether peers are there.
pub const BACKGROUND_PEERS: Duration = Duration::from_secs(3);

/// How often peers that are watched are asked how they are.
pub const WATCH_PEERS: Duration = Duration::from_secs(2);

/// Contents found by a search of which other peers are asked whether they have a part.
pub const SEARCHED_PARTS: usize = 20;

/// Names offered by peers that are kept for completing what is typed.
pub const OFFERED_KEPT: usize = 20_000;

/// Lines that the prompt remembers between runs.
pub const HISTORY_LINES: usize = 1000;

/// The pause before a command that reached nobody is tried again.
pub const COMMAND_PAUSE: Duration = Duration::from_secs(2);

/// Longest torrent file in bytes that is read.
pub const MAX_TORRENT: u64 = 64 << 20;

/// Dictionaries and lists of a torrent file within one another.
pub const TORRENT_DEPTH: usize = 300;

/// How often a line says how far a transfer is where there is no terminal.
pub const PROGRESS_LINE: Duration = Duration::from_secs(5);

/// How often an object says so to a program.
pub const PROGRESS_EVENT: Duration = Duration::from_secs(1);

/// Peers that one word such as `peer[1-8]` may name.
pub const RANGE_PEERS: usize = 10_000;

/// How long a transfer runs before its bar is drawn, so that quick ones do not flicker.
pub const BAR_DELAY: Duration = Duration::from_millis(200);

/// How often at most the texts of a bar are made anew.
pub const BAR_INTERVAL: Duration = Duration::from_millis(80);

/// Columns that a file name takes at most before the columns after it give up their alignment.
pub const NAME_COLUMNS: usize = 60;

/// Columns of a file name in front of a progress bar.
pub const LABEL_COLUMNS: usize = 28;

/// Columns of a progress bar at least, where they are few; and at most.
pub const SHORTEST_BAR: usize = 8;

/// See there.
pub const LONGEST_BAR: usize = 20;

/// Targets of an upload of which each has a line when it is done; where there are more, those that
/// fared alike share one at the end.
pub const TARGETS_APART: usize = 4;

/// Peers whose share a progress bar shows one by one; the others are added up.
pub const SHOWN_SHARES: usize = 6;

/// Peer ids that a message enumerates; the others are counted.
pub const SHOWN_PEERS: usize = 20;
// Store

/// Files that could not be transferred that are told one by one; the others are counted.
pub const SHOWN_FAILURES: usize = 100;

/// Names of what was left out that are told at once, unless the user wants to see all.
pub const SHOWN_OMISSIONS: usize = 10;

/// Names that resemble one that nobody has, told at once.
pub const SHOWN_LIKE: usize = 3;

/// From which likeness on (0 to 1) a name may have been meant.
pub const LIKE_ENOUGH: f64 = 0.7;

/// How long the lists of peers that answer are held back for one that does not, so that all become
/// one list: a little longer than it takes to find that nobody answers ([`CONNECT_TIMEOUT`]).
///
/// [`CONNECT_TIMEOUT`]: super::CONNECT_TIMEOUT
pub const LIST_PATIENCE: Duration = Duration::from_secs(4);

/// How much longer they wait for every name that came from it; slower than that, it lists less than
/// a page a second.
pub const LIST_PATIENCE_NAME: Duration = Duration::from_millis(1);

/// Bytes of a listing that are written at once while it comes.
pub const LISTING_AT_ONCE: usize = 64 << 10;
