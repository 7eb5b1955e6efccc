//! What a transfer tells about itself: [`Event`] is what happened, [`Snapshot`] where it stands.
//!
//! Both serialise, so that whoever renders them (bars, lines, a dashboard) needs nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::locks::lock;
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
    /// So many files are listed already that to keep them in mind takes much memory.
    Many {
        /// How many files.
        files: u64,
    },
    /// A source that was in use is away, or busy, and is waited for.
    Waiting {
        /// Which peer.
        peer: PeerId,
        /// Why, in words for the user.
        reason: String,
    },
    /// It is back.
    Back {
        /// Which peer.
        peer: PeerId,
        /// How long nothing came.
        after: Duration,
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
    /// Files that are complete, where it is a folder.
    pub files: u64,
    /// Files of the folder; 0 for a single file.
    pub of_files: u64,
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
    /// How long it has been waited for, while it is away.
    pub waiting: Option<Duration>,
}

/// The live counters of one transfer, written by its threads and read by whoever shows it.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    total: AtomicU64,
    resumed: AtomicU64,
    files: AtomicU64,
    of_files: AtomicU64,
    sources: Mutex<Vec<Arc<Counter>>>,
}

/// What one source contributed so far.
#[derive(Debug)]
pub struct Counter {
    peer: PeerId,
    bytes: AtomicU64,
    active: AtomicBool,
    away: Mutex<Option<Instant>>,
}

impl Counter {
    /// Verified bytes that came from it.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds verified bytes.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is away, or back.
    pub fn set_away(&self, away: bool) {
        let mut since = lock(&self.away);
        *since = if away { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// It takes no part any more.
    pub fn end(&self) {
        self.active.store(false, Ordering::Relaxed);
    }
}

impl Progress {
    /// Nothing done yet of a file of `total` bytes; the clock starts now.
    pub fn new(total: u64) -> Self {
        Self {
            started: Instant::now(),
            total: AtomicU64::new(total),
            resumed: AtomicU64::new(0),
            files: AtomicU64::new(0),
            of_files: AtomicU64::new(0),
            sources: Mutex::default(),
        }
    }

    /// Tells how many bytes were here before the transfer began.
    pub fn resume(&self, bytes: u64) {
        self.resumed.store(bytes, Ordering::Relaxed);
    }

    /// Where the transfer stands now.
    pub fn snapshot(&self) -> Snapshot {
        let contribution = |counter: &Arc<Counter>| Contribution {
            peer: counter.peer.clone(),
            bytes: counter.bytes(),
            active: counter.active.load(Ordering::Relaxed),
            waiting: lock(&counter.away).map(|since| since.elapsed()),
        };
        Snapshot {
            total: self.total.load(Ordering::Relaxed),
            done: self.done(),
            resumed: self.resumed.load(Ordering::Relaxed),
            elapsed: self.started.elapsed(),
            files: self.files.load(Ordering::Relaxed),
            of_files: self.of_files.load(Ordering::Relaxed),
            sources: self.sources().iter().map(contribution).collect(),
        }
    }

    /// Verified bytes, those of earlier attempts included.
    pub fn done(&self) -> u64 {
        let fresh: u64 = self.sources().iter().map(|counter| counter.bytes()).sum();
        fresh + self.resumed.load(Ordering::Relaxed)
    }

    /// So many files and bytes more belong to the folder.
    pub(super) fn announce(&self, files: u64, bytes: u64) {
        self.of_files.fetch_add(files, Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        self.total.store(total.saturating_add(bytes), Ordering::Relaxed);
    }

    /// A file of the folder was here before.
    pub(super) fn found_here(&self, bytes: u64) {
        self.completed(1);
        self.resume_more(bytes);
    }

    /// Bytes of the folder that were here before, of a file that is counted elsewhere.
    pub(super) fn resume_more(&self, bytes: u64) {
        self.resumed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many files of the folder are complete.
    pub(super) fn completed(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    /// Verified bytes that came from others than `peer`.
    pub fn from_others(&self, peer: &PeerId) -> u64 {
        self.sources()
            .iter()
            .filter(|counter| counter.peer != *peer)
            .map(|counter| counter.bytes())
            .sum()
    }

    /// The counter of one more source, or of one that took part before.
    pub fn join(&self, peer: PeerId) -> Arc<Counter> {
        let again = |counter: &&Arc<Counter>| {
            counter.peer == peer && !counter.active.swap(true, Ordering::Relaxed)
        };
        if let Some(counter) = self.sources().iter().find(again) {
            return Arc::clone(counter);
        }
        let counter = Arc::new(Counter {
            peer,
            bytes: AtomicU64::new(0),
            active: AtomicBool::new(true),
            away: Mutex::default(),
        });
        self.sources().push(counter.clone());
        counter
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Arc<Counter>>> {
        lock(&self.sources)
    }
}
