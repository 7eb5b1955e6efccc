//! Asks: one engine fetches units from all sources at once, of files and folders, for downloads and
//! uploads alike.
//!
//! * [`find`](mod@find): which peers have a file, and what it is at each of them
//! * [`list`](mod@list): what one peer serves
//! * [`job`]: what is fetched: a file, or a folder
//! * pure, told `now`: [`plan`], what one transfer knows; [`course`], what one source is to it and
//!   what to ask it next; [`ledger`], who fetches which unit, and `policy`, why; `pace`, how fast
//!   each source is; `asked`, what is under way at an adviser; `exchange`, what is known of a source
//! * [`engine`]: one transfer; `door`, where its sources come in; `worker`, the thread of one
//!   source; `buffers`; `swarm`, how several peers begin to fetch together
//! * [`source`]: where units come from, in whatever dialect; [`framed`]: in the framed one;
//!   [`offered`]: over the connection that an offer came on
//! * [`outage`]: how long a peer is waited for that was in use and is away, or is busy; [`busy`]:
//!   questions to one that is
//! * [`progress`]: what a transfer tells about itself
//!
//! Calls go one way: engine → door → worker → course → plan → ledger → policy. Whoever learns of a
//! further source says so at the door.
//!
//! # How long the asking side waits for what
//!
//! Each wait ends, whatever the other side does. `stall`, `answer`, `outage` and `idling` are those
//! of [`Waits`]; tests have shorter ones. A pace counts only the time in which this side waits.
//!
//! | it waits for | no longer than | and at least | then |
//! |---|---|---|---|
//! | a connection | [`CONNECT_TIMEOUT`] | | unreachable |
//! | the greeting | [`GREETING_TIMEOUT`] | | it may be a classic peer, or too busy; see `client/classic.rs` |
//! | what a file is, which it may say while it hashes | `answer` | | stalled |
//! | an answer to another small request | [`ANSWER_TIMEOUT`] | | stalled |
//! | a chunk, small files | `stall` without a byte | [`LEAST_RATE`] over [`STALLS`] of them | stalled, or it trickles; others fetch it |
//! | a chunk that is not there yet, or is promised by an origin | `idling`, when nothing comes from anybody | | it idles |
//! | a file to be hashed | `idling` | [`SLOWEST_RATE`] over it | it idles |
//! | a page of a list | `idling` | [`LEAST_LISTED`] over it | it idles; the others' files are shown before |
//! | a chunk in the classic dialect | [`CLASSIC_ANSWER`] | [`CLASSIC_LEAST_READ`] over `idling` | it idles |
//! | a peer that is busy | [`BUSY_PATIENCE`] with a question, `outage` with a transfer | | it is busy |
//! | a peer that was in use and stalls or goes away | `outage`, if there is no other | | given up |
//!
//! [`CONNECT_TIMEOUT`]: crate::config::CONNECT_TIMEOUT
//! [`GREETING_TIMEOUT`]: crate::config::GREETING_TIMEOUT
//! [`ANSWER_TIMEOUT`]: crate::config::ANSWER_TIMEOUT
//! [`LEAST_RATE`]: crate::config::LEAST_RATE
//! [`STALLS`]: crate::config::STALLS
//! [`SLOWEST_RATE`]: crate::config::SLOWEST_RATE
//! [`LEAST_LISTED`]: crate::config::LEAST_LISTED
//! [`CLASSIC_ANSWER`]: crate::config::CLASSIC_ANSWER
//! [`CLASSIC_LEAST_READ`]: crate::config::CLASSIC_LEAST_READ
//! [`BUSY_PATIENCE`]: crate::config::BUSY_PATIENCE

pub mod busy;
pub mod engine;
pub mod find;
pub mod framed;
pub mod job;
pub mod list;
pub mod offered;
pub mod outage;
pub mod progress;
pub mod source;

mod asked;
mod buffers;
mod door;
mod exchange;
mod pace;
mod policy;
mod swarm;
mod worker;
// Public for `benches/` alone.
#[doc(hidden)]
pub mod course;
#[doc(hidden)]
pub mod ledger;
#[doc(hidden)]
pub mod plan;

pub use busy::while_busy;
pub use door::Late;
pub use engine::{Fetch, TransferError};
pub use framed::{Caller, FramedPeer};
pub use job::Job;
pub use job::folder::{FileError, FolderFetch, FolderOutcome, folder_report};
pub use outage::{Outage, Verdict, Waits};
pub use progress::{Contribution, Counter, Event, Progress, Snapshot};
pub use source::{Dial, Source, SourceError};
pub use swarm::{Meet, Swarm};
