//! Where chunks come from: the seam between the engine and the dialects.

use std::io;
use std::time::Duration;

use crate::connection::nothing_came;
use crate::content::{ChunkIndex, ChunkSet};
use crate::topology::PeerId;
use crate::transport::{Cancel, Closer, timed_out};
use crate::wire::{ErrorCode, Refusal, WireError};

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

/// A request for what a swarm's source has handed to nobody yet.
#[derive(Clone, Copy, Debug)]
pub struct Next<'a> {
    /// How much of the log is known.
    pub seen: u64,
    /// Whether a chunk is wanted, or only the news.
    pub want: bool,
    /// With the first request: the chunks that are here already.
    pub have: Option<&'a ChunkSet>,
}

/// What a swarm's source handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handed {
    /// What we are handed; its bytes follow.
    pub chunk: Option<ChunkIndex>,
    /// What others were handed.
    pub others: Vec<(PeerId, Vec<ChunkIndex>)>,
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

/// A peer that answers requests for chunks of one content, in their order.
pub trait Source {
    /// Asks for a chunk; the answer is read later.
    fn request(&mut self, index: ChunkIndex) -> Result<(), SourceError>;

    /// Waits for the answer to the oldest request, which was for `index`, at most `stall`.
    fn await_chunk(&mut self, index: ChunkIndex, stall: Duration) -> Result<(), SourceError>;

    /// Whether others fetch the same content from it, as it said with the last chunk.
    fn is_shared(&self) -> bool {
        false
    }

    /// Reads the chunk whose answer has come into `buffer`, which is as long as that chunk. No wait
    /// for further bytes is longer than `stall`.
    fn receive(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError>;

    /// Asks for a chunk that was handed to nobody yet, and for the news; see [`Next`].
    fn request_next(&mut self, next: &Next<'_>) -> Result<(), SourceError> {
        Err(SourceError::Misbehaved(WireError::Unexpected(format!("no swarm here: {next:?}"))))
    }

    /// Waits for the answer to the oldest such request; when it brings a chunk, that is received
    /// next.
    fn await_next(&mut self, stall: Duration) -> Result<Handed, SourceError> {
        Err(SourceError::Misbehaved(WireError::Unexpected(format!("no swarm here for {stall:?}"))))
    }

    /// Asks which chunks the source has now, when no other request is under way; `None` where it
    /// cannot be asked.
    fn has(&mut self, _stall: Duration) -> Result<Option<ChunkSet>, SourceError> {
        Ok(None)
    }

    /// Why a chunk may not have verified, asked of the source itself: `Changed` when it says so,
    /// else it sent a bad chunk.
    fn excuse(&mut self) -> SourceError;

    /// Is called now and then while there is nothing to ask.
    fn idle(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Ends the connection from another thread; `None` where it must outlive the transfer.
    fn closer(&self) -> Option<Closer>;
}
