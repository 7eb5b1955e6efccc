//! What a transfer tells about itself: [`Event`] is what happened, [`Snapshot`] where it stands.
//!
//! Both serialise, so that whoever renders them (bars, lines, a dashboard) needs nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    /// A peer has to hash the file before it can say what it is.
    Hashing {
        /// Which peer.
        peer: PeerId,
        /// Bytes hashed so far.
        done: u64,
        /// Length of the file in bytes.
        total: u64,
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

/// The live counters of one transfer, written by its threads and read by whoever shows it.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    total: u64,
    resumed: AtomicU64,
    sources: Vec<Counter>,
}

#[derive(Debug)]
struct Counter {
    peer: PeerId,
    bytes: AtomicU64,
    active: AtomicBool,
}

impl Progress {
    /// Nothing done yet of a file of `total` bytes; the clock starts now.
    pub fn new(total: u64, peers: impl IntoIterator<Item = PeerId>) -> Self {
        let counter = |peer| Counter { peer, bytes: AtomicU64::new(0), active: AtomicBool::new(true) };
        let sources = peers.into_iter().map(counter).collect();
        Self { started: Instant::now(), total, resumed: AtomicU64::new(0), sources }
    }

    /// Tells how many bytes were here before the transfer began.
    pub fn resume(&self, bytes: u64) {
        self.resumed.store(bytes, Ordering::Relaxed);
    }

    /// Where the transfer stands now.
    pub fn snapshot(&self) -> Snapshot {
        let contribution = |counter: &Counter| Contribution {
            peer: counter.peer.clone(),
            bytes: counter.bytes.load(Ordering::Relaxed),
            active: counter.active.load(Ordering::Relaxed),
        };
        Snapshot {
            total: self.total,
            done: self.done(),
            resumed: self.resumed.load(Ordering::Relaxed),
            elapsed: self.started.elapsed(),
            sources: self.sources.iter().map(contribution).collect(),
        }
    }

    /// Verified bytes, those of earlier attempts included.
    pub fn done(&self) -> u64 {
        let fresh: u64 = self.sources.iter().map(|counter| counter.bytes.load(Ordering::Relaxed)).sum();
        fresh + self.resumed.load(Ordering::Relaxed)
    }

    /// Verified bytes that came from the source in that place.
    pub(super) fn of(&self, slot: usize) -> u64 {
        self.sources.get(slot).map_or(0, |counter| counter.bytes.load(Ordering::Relaxed))
    }

    /// Adds verified bytes to what the source in that place contributed.
    pub fn add(&self, slot: usize, bytes: u64) {
        if let Some(counter) = self.sources.get(slot) {
            counter.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The source in that place takes part no longer.
    pub fn ended(&self, slot: usize) {
        if let Some(counter) = self.sources.get(slot) {
            counter.active.store(false, Ordering::Relaxed);
        }
    }
}
