//! Asks: one engine fetches a file's chunks from all sources at once, for downloads and uploads
//! alike.
//!
//! * [`find`](mod@find): which peers have a file, and what it is at each of them
//! * [`list`](mod@list): what one peer serves
//! * [`source`]: where chunks come from, in whatever dialect; [`framed`]: in the framed one
//! * [`offered`]: the source of an upload, over the connection that the offer came on
//! * [`early`]: a file that the only peer that has it is still hashing
//! * [`folder`]: whole folders
//! * `ledger`, `policy`: who fetches which chunk, and why; `pace`: how fast each source is;
//!   `asked`: what a member of a swarm asks of its origin; pure
//! * [`engine`]: one transfer; `worker`: the thread of one source; `swarm`: several that fetch
//!   together, with what they know of one another (`exchange`); `late`: sources that come while it runs
//! * [`outage`]: how long a peer is waited for that was in use and is away, or is busy; [`busy`]:
//!   questions to one that is
//! * [`progress`]: what a transfer tells about itself

// Public for `benches/` alone.
#[doc(hidden)]
pub mod asked;
pub mod busy;
pub mod early;
pub mod engine;
mod exchange;
pub mod find;
pub mod folder;
pub mod framed;
mod late;
// Public for `benches/` alone.
#[doc(hidden)]
pub mod ledger;
pub mod list;
pub mod offered;
pub mod outage;
mod pace;
mod policy;
pub mod progress;
pub mod source;
mod swarm;
mod worker;

pub use busy::while_busy;
pub use early::{Begun, Early};
pub use engine::{Fetch, Sink, TransferError};
pub use folder::{FileError, FolderFetch, FolderOutcome, Supply};
pub use framed::{Caller, FramedPeer};
pub use late::Late;
pub use outage::{Outage, Verdict, Waits};
pub use progress::{Contribution, Counter, Event, Progress, Snapshot};
pub use source::{Dial, Source, SourceError};
pub use swarm::{Meet, Swarm};
