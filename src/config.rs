//! Every default and every limit, in one place. Other documentation names them and does not repeat
//! their values.

mod asking;
mod classic;
mod client;
mod disk;
mod serving;
mod swarms;

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

pub use asking::*;
pub use classic::*;
pub use client::*;
pub use disk::*;
pub use serving::*;
pub use swarms::*;

/// Where the peers are listed when nobody says otherwise.
pub const PEER_SETTINGS_FILE: &str = "peer_settings.txt";

/// What else is said of the peers, in the folder of that file.
pub const PEER_KEYS_FILE: &str = "peer_keys.txt";

/// Environment variable that names another file of peers.
pub const PEER_SETTINGS_VARIABLE: &str = "PEERSHARE_PEER_SETTINGS";

/// The folder that a peer serves when nobody says otherwise.
pub const SERVED_FOLDER: &str = "served_files";

/// How long a client waits for a TCP connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long after one address of a peer the next one is tried too (RFC 8305, section 5).
pub const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// How long the addresses of a host name are remembered.
pub const NAME_KEPT: Duration = Duration::from_secs(300);

/// How long it is remembered that a host name has none.
pub const NO_NAME_KEPT: Duration = Duration::from_secs(2);

/// Host names that are looked up at once, at most; each takes a thread.
pub const LOOKUPS: usize = 16;

/// How long a peer may be away that a transfer is using, unless the user says otherwise.
pub const OUTAGE: Duration = Duration::from_secs(120);

/// The first pause before a peer that is away is tried again; each later one is twice as long, up
/// to [`OUTAGE_LONGEST_PAUSE`].
pub const OUTAGE_FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest such pause.
pub const OUTAGE_LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long the first bytes of a new connection, or the rest of a frame that has begun, may take.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a session waits for the next request before it ends the connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long the other side may read nothing, or less than [`LEAST_RATE`], before it counts as gone.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked at meanwhile how much it reads. Linux sends a file in pieces of 64 KiB,
/// and says nothing before a piece is through or this has passed.
pub const WRITE_LOOK: Duration = Duration::from_secs(4);

/// A chunk that moves slower than this, in bytes a second, moves too slowly: a fourth of the lowest
/// limit that a user can set ([`SLOWEST_LIMIT`]), which may be shared by some connections.
pub const LEAST_RATE: u32 = 256;

/// Over so many of the times in which it may stand still, that is looked at while it comes in.
pub const STALLS: u32 = 3;

/// How long an answer to a small request (listing, manifest, offer) may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest JSON header of a frame in bytes.
pub const MAX_HEADER: u32 = 64 << 10;

/// Longest payload of a frame in bytes: the digests of the largest manifest.
pub const MAX_PAYLOAD: u32 = 32 << 20;

/// Files in one page of a listing.
pub const LIST_PAGE: usize = 1000;

/// Longest payload in bytes of a message that needs none: it is skipped, as later versions may send
/// one.
pub const STRAY_PAYLOAD: u32 = 64 << 10;

/// Longest payload in bytes at the end of an offered folder: [`SHOWN_FAILURES`] names and reasons.
pub const FOLDER_REPORT: u32 = 2 << 20;

/// Longest listing of one peer in bytes, over all pages: more than a million files of ordinary
/// names.
pub const MAX_LISTING: usize = 256 << 20;

/// How long a server takes at most to end its sessions after a signal.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// How often the server looks whether `peer_settings.txt` was edited.
pub const SETTINGS_POLL: Duration = Duration::from_secs(1);

/// A small message slower than this, in bytes a second, counts as stalled.
pub const SLOWEST_RATE: u32 = 16 << 10;

/// Threads that verify and write the chunks of one transfer, at most.
pub const MAX_VERIFIERS: usize = 8;

/// How often in a row a source may fail without having sent anything before it is given up.
pub const SOURCE_RETRIES: u32 = 3;

/// The pause before a failed source is tried again; it grows with every failure in a row.
pub const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// How often a source with nothing to do looks for work that time alone has made.
pub const IDLE_POLL: Duration = Duration::from_millis(10);

/// How long a source may send nothing before it counts as stalled.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may wait for a file to be hashed, in milliseconds; then it says how far it
/// is.
pub const HASHING_WAIT_MS: u32 = 500;

/// How often the user is told how far a peer is with hashing what was asked for.
pub const HASHING_NOTES: Duration = Duration::from_secs(5);

/// How long peers that have not answered are waited for at least, once another one has the file.
pub const LATE_ANSWERS: Duration = Duration::from_millis(300);

/// Digests that come along with the first answer of every peer, at most; more are asked of one, which
/// takes one more round trip.
pub const DIGESTS_AT_ONCE: u32 = 512;

/// How often the receiver of an upload reports how far it is.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// How often it does so while its disk catches up.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long the receiver of an upload may say nothing before it counts as gone.
pub const OFFER_SILENCE: Duration = Duration::from_secs(60);

/// The pause after a connection could not be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// How long it is believed how many files are served.
pub const SUMMARY_KEPT: Duration = Duration::from_secs(10);

/// The lowest limit of a rate that can be set, in bytes a second.
pub const SLOWEST_LIMIT: u64 = 1024;

/// Pieces a second that are sent or received where the rate is limited.
pub const PIECES_A_SECOND: u32 = 50;

/// How much time that was not used is made up for where the rate is limited. Threads that wake up
/// late made it 4 to 22 % slower than it should be on a busy machine, while nothing was made up.
pub const MADE_UP: Duration = Duration::from_millis(100);

/// Bytes of such a piece, at least.
pub const SMALLEST_PIECE: usize = 1024;

/// How long it is believed that none of our own folders is on the way to files that are only read.
pub const WAY_KEPT: Duration = Duration::from_secs(1);

/// Letters of a line of the server's log, at most.
pub const LOG_LINE: usize = 1000;

/// Files of one session of which is counted at once how much of them was given.
pub const TALLIES: usize = 8;

/// When nothing more of a file was asked for in this time, the log tells what was given.
pub const TALLY_IDLE: Duration = Duration::from_secs(30);

/// A line of the log that repeats is said again after this time, with how often it was not.
pub const LOG_AGAIN: Duration = Duration::from_secs(60);

/// How long the greeting of an acceptor may take; one that says nothing may speak the classic
/// dialect.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

// Classic dialect

// Client

/// How many bytes are read at once for hashing; a multiple of a leaf. 64 leaves at once took 3.5 to
/// 3.7 GB/s a core from the page cache, 16 leaves 2.7.
pub const HASH_PIECE: usize = 1 << 20;

/// Threads that hash, at most; each has a buffer of [`HASH_PIECE`].
pub const MAX_HASHERS: usize = 16;

/// How often at most a server looks for files that were put there since it hashed everything, which
/// it does when somebody asks for what it does not know. Of 100,000 files that took 0.17 s.
pub const HASH_AGAIN: Duration = Duration::from_secs(2);

/// How often somebody who waits for a file to be hashed is told how far it is.
pub const HASH_PROGRESS: Duration = Duration::from_millis(100);

/// How long a small file's description waits for its hashing, which saves the peer a second
/// question.
pub const DESCRIBE_GRACE: Duration = Duration::from_millis(20);

/// How long a failed hashing is remembered for those who asked for it and come back.
pub const HASH_FAILURE_KEPT: Duration = Duration::from_secs(10);

/// How long the names of a listing are kept for those who ask for its next page.
pub const LISTING_KEPT: Duration = Duration::from_secs(10);

/// Longest file in bytes that travels as a whole among others, instead of chunk by chunk.
pub const SMALL_FILE: u64 = 4 << 20;

/// Most small files that are asked for at once.
pub const GATHER_FILES: usize = 256;

/// Most bytes of small files that are asked for at once; at least the longest of them.
pub const GATHER_BYTES: u64 = 4 << 20;

/// How many such requests a source has under way, so that it never runs dry. So many answers wait
/// at the source; in our memory are at most one a source and two a writing thread.
pub const GATHERS_AHEAD: usize = 4;

/// A group of received files is synced and gets its names after so many of them …
pub const GROUP_FILES: usize = 1024;

/// … or so many bytes …
pub const GROUP_BYTES: u64 = 64 << 20;

/// … or so much time, whichever comes first.
pub const GROUP_TIME: Duration = Duration::from_secs(1);

/// Folders that a group keeps open for its files, at most.
pub const OPEN_FOLDERS: usize = 64;

/// Bytes of small files that are hashed at once for one page of a listing.
pub const HASH_GROUP: u64 = 32 << 20;

/// Most files that a peer may list before it counts as endless.
pub const MAX_LISTED: usize = 4 << 20;

/// Most patterns that one command leaves out.
pub const MAX_EXCEPTIONS: usize = 64;

/// Entries that were left out that a peer tells of, at most.
pub const OMISSIONS_TOLD: usize = 10_000;

/// Most bytes of the names of these.
pub const OMISSION_BYTES: usize = 4 << 20;

/// Longest pattern of a listing in bytes.
pub const MAX_PATTERN: usize = 16 << 10;

/// Links to follow for one name before it counts as a circle, as Linux does.
pub const MAX_LINKS: usize = 40;

/// Linked folders within linked folders that a listing goes into.
pub const MAX_LINKED_FOLDERS: usize = 4;

/// How many cores this process may use. The system is asked once: to answer it reads several files,
/// which takes as long as a transfer of one byte.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(2, usize::from))
}
