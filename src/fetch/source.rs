//! Where chunks come from: the seam between the engine and the dialects.

use std::io;
use std::time::Duration;

use super::outage::Waits;
use crate::connection::nothing_came;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Root, UnitFile};
use crate::topology::PeerId;
use crate::transport::{Cancel, Closer, timed_out};
use crate::wire::{ErrorCode, Refusal, Request, Response, WireError};

/// Why one source is of no use, for now or for this file. Never the end of a transfer by itself.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No connection could be made.
    #[error("unreachable ({0})")]
    Unreachable(io::Error),
    /// The system gave us no thread to ask it.
    #[error("it cannot be asked: {0}")]
    NoThread(io::Error),
    /// The connection ended or broke.
    #[error("the connection was lost ({0})")]
    Lost(WireError),
    /// Nothing came for too long.
    #[error("it stopped answering")]
    Stalled,
    /// It has no place for us at the moment.
    #[error("it is busy ({})", .0.message)]
    Busy(Refusal),
    /// What came was next to nothing, for too long.
    #[error("it sends next to nothing")]
    Trickles,
    /// It answers, but what it says leads nowhere.
    #[error("it made no progress with {what} in {}", in_words(*after))]
    Idles {
        /// What it should have got on with.
        what: &'static str,
        /// How long that was watched.
        after: Duration,
    },
    /// It answered with an error.
    #[error("it refused: {}", .0.message)]
    Refused(Refusal),
    /// Its file is not any more what it was.
    #[error("its file changed while reading")]
    Changed,
    /// It does not have the content (any more).
    #[error("it does not serve that file")]
    NotServing,
    /// It does not have that chunk yet.
    #[error("it does not have that chunk yet")]
    NotYet,
    /// It sent a chunk that is not what it was said to be.
    #[error("it sent a chunk that does not verify")]
    BadChunk,
    /// It was waited for in vain.
    #[error("gave up after {}: {error}", in_words(*after))]
    GaveUp {
        /// How long nothing came.
        after: Duration,
        /// What was wrong at last.
        error: Box<Self>,
    },
    /// It broke the protocol.
    #[error("it broke the protocol ({0})")]
    Misbehaved(WireError),
    /// Another peer answers at its address.
    #[error("{0}")]
    AnotherPeer(WireError),
    /// It did not greet as a framed peer does; it may speak the classic dialect.
    #[error("no peershare server answers there, or it is too busy ({0})")]
    Foreign(WireError),
}

impl SourceError {
    /// Whether it sent, or had, other bytes than it said.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::BadChunk | Self::Changed)
    }

    /// Whether it is there, and only has too much to do at the moment.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// What a refusal is, whatever was asked for.
    pub fn refused(refusal: Refusal) -> Self {
        match refusal.code {
            ErrorCode::Busy => Self::Busy(refusal),
            _ => Self::Refused(refusal),
        }
    }

    /// Whether the source may work again after a pause.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Lost(_)
            | Self::Stalled
            | Self::Trickles
            | Self::Busy(_)
            | Self::NotYet => true,
            // A server that was ending, perhaps.
            Self::Foreign(error) => matches!(error, WireError::NoGreeting(_)),
            Self::Refused(_)
            | Self::Changed
            | Self::NotServing
            | Self::BadChunk
            | Self::AnotherPeer(_)
            | Self::GaveUp { .. }
            | Self::Idles { .. }
            | Self::NoThread(_)
            | Self::Misbehaved(_) => false,
        }
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

impl From<WireError> for SourceError {
    fn from(error: WireError) -> Self {
        match error {
            // The system says of a time-out no more than its kind, a pace that something came.
            WireError::Io(error) if timed_out(&error) && error.get_ref().is_some() => {
                Self::Trickles
            }
            error if nothing_came(&error) => Self::Stalled,
            WireError::NotPeershare | WireError::NoGreeting(_) => Self::Foreign(error),
            WireError::Io(_) | WireError::Closed => Self::Lost(error),
            WireError::AnotherPeer { .. } => Self::AnotherPeer(error),
            WireError::Refused(refusal) => Self::refused(refusal),
            _ => Self::Misbehaved(error),
        }
    }
}

/// A message that does not fit what was asked.
pub(super) fn misbehaved(what: impl ToString) -> SourceError {
    SourceError::Misbehaved(WireError::Unexpected(what.to_string()))
}

impl From<Refusal> for SourceError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            ErrorCode::Changed => Self::Changed,
            ErrorCode::NotFound => Self::NotServing,
            ErrorCode::NotYet => Self::NotYet,
            _ => Self::refused(refusal),
        }
    }
}

/// A request to a source. It says all that there is to say: a source knows nothing of what is
/// fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// A chunk of a content, or a unit of a folder that is cut into units.
    Chunk {
        /// Of which content, or of which units.
        root: Root,
        /// Which one, from 0.
        number: u32,
        /// How it is cut, in bytes.
        chunk_size: u32,
        /// How long it is, in bytes.
        len: usize,
        /// How long the answer may wait for it, in milliseconds.
        wait_ms: u32,
    },
    /// Small files as a whole.
    Files(Vec<UnitFile>),
    /// What was handed to nobody yet, and the news.
    Advice {
        /// Of which content, or of which units.
        root: Root,
        /// How it is cut.
        layout: ChunkLayout,
        /// How much of the log is known.
        seen: u64,
        /// Whether a unit is wanted, or only the news.
        unit: bool,
        /// What is here already, where that is said.
        have: Option<ChunkSet>,
    },
    /// Anything whose answer is a message, and little payload.
    Small(Box<Request>),
}

/// The answer to an [`Ask`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Bytes that are received next.
    Bytes {
        /// How many.
        len: usize,
        /// Of small files, which ones these are; all where it says nothing.
        there: Option<Vec<bool>>,
        /// Whether others fetch the same from there.
        shared: bool,
    },
    /// It is not there yet.
    NotYet,
    /// What was handed out; bytes follow where it names a unit.
    Handed(Handed),
    /// A message and its payload.
    Small(Box<Response>, Vec<u8>),
}

/// What an adviser handed out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Handed {
    /// What we are handed; its bytes follow.
    pub unit: Option<ChunkIndex>,
    /// How many bytes these are.
    pub len: usize,
    /// What others were handed.
    pub others: Vec<(PeerId, Vec<ChunkIndex>)>,
    /// Who has everything.
    pub whole: Vec<PeerId>,
    /// How much of the log that makes.
    pub seen: u64,
    /// Whether everything was handed out, and told.
    pub all: bool,
}

/// A peer that may become a source: knows how to reach it, again after a failure.
pub trait Dial: Send {
    /// Which peer.
    fn peer(&self) -> &PeerId;

    /// Whether it can be reached again after its connection is lost.
    fn can_redial(&self) -> bool {
        true
    }

    /// Reaches it.
    fn dial(&mut self, cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError>;
}

/// A peer that answers requests, in their order.
pub trait Source {
    /// Sends a request; the answer is read later.
    fn ask(&mut self, ask: &Ask) -> Result<(), SourceError>;

    /// Waits for the answer to the oldest request, which was `to`, for as long as `waits` says.
    fn answer(&mut self, to: &Ask, waits: &Waits) -> Result<Answer, SourceError>;

    /// Reads the bytes that an answer announced into `buffer`, which is as long as they are. No
    /// wait for further bytes is longer than `stall`.
    fn receive(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError>;

    /// Why what came of that content may not have verified, asked of the source itself: `Changed`
    /// when it says so, else it sent a bad chunk.
    fn excuse(&mut self, _root: Option<Root>) -> SourceError {
        SourceError::BadChunk
    }

    /// Is called now and then while there is nothing to ask.
    fn idle(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// How long a round trip to it takes, where that is known.
    fn round_trip(&self) -> Option<Duration> {
        None
    }

    /// Ends the connection from another thread; `None` where it must outlive the transfer.
    fn closer(&self) -> Option<Closer> {
        None
    }
}
