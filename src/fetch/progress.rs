//! What a transfer tells about itself: [`Event`] is what happened, [`Snapshot`] where it stands.
//!
//! Both serialise, so that whoever renders them (bars, lines, a dashboard) needs nothing else.

use std::time::Duration;

use serde::Serialize;

use crate::topology::PeerId;

/// Something that happened during a transfer and that a user may want to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An earlier attempt left verified chunks; they are not fetched again.
    Resumed {
        /// Bytes that are here already.
        bytes: u64,
    },
    /// A source can no longer be used for this file; the others take over.
    SourceLost {
        /// Which peer.
        peer: PeerId,
        /// Why, in words for the user.
        reason: String,
    },
    /// A source failed and is tried again after a pause.
    SourceRetried {
        /// Which peer.
        peer: PeerId,
        /// Why, in words for the user.
        reason: String,
    },
}

/// Where a transfer stands at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Length of the file in bytes.
    pub total: u64,
    /// Bytes that are verified, those of earlier attempts included.
    pub done: u64,
    /// Of these, bytes of earlier attempts.
    pub resumed: u64,
    /// Time since the transfer began.
    pub elapsed: Duration,
    /// What each source contributed, in the order in which they were named.
    pub sources: Vec<Contribution>,
}

/// What one source contributed to a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contribution {
    /// Which peer.
    pub peer: PeerId,
    /// Verified bytes that came from it.
    pub bytes: u64,
    /// Whether it still takes part.
    pub active: bool,
}
