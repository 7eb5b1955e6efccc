//! The engine: one thread a source asks and reads, a few verify and write.
//!
//! How a chunk travels: a worker leases it from the ledger, sends the request, and later reads the
//! answer into a buffer from a fixed set; the buffer goes through a bounded channel to a verify
//! thread, which proves it and writes it into the part file; the ledger is told, and the buffer
//! goes back to the set. So what is in memory is bounded by the number of buffers, and when the
//! disk is slower than the sources the workers wait for buffers and stop asking.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};

use super::late::Late;
use super::ledger::{Ledger, SourceId};
use super::outage::Waits;
use super::progress::{Counter, Event, Progress};
use super::source::{Dial, SourceError};
use super::swarm::Swarm;
use super::worker::{Role, Worker};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};
use crate::store::{PartFile, StoreError};
use crate::threads;
use crate::topology::PeerId;
use crate::transport::Cancel;

/// Why a transfer as a whole failed. What was verified stays in the part file.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Every source is lost; the reasons are told peer by peer.
    #[error("no source is left: {}", list(.0))]
    NoSource(Vec<(PeerId, SourceError)>),
    /// The same, after the transfer had begun.
    #[error(
        "no source is left: {}; {missing} of {of} chunks are missing, what came is kept, and the same command continues",
        list(reasons)
    )]
    Incomplete {
        /// Chunks that did not come.
        missing: u32,
        /// Chunks of the file.
        of: u32,
        /// Why each source was lost.
        reasons: Vec<(PeerId, SourceError)>,
    },
    /// The user or the system asked to stop.
    #[error("interrupted; the verified chunks are kept, the same command continues")]
    Interrupted,
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(reasons: &[(PeerId, SourceError)]) -> String {
    let lines: Vec<String> =
        reasons.iter().map(|(peer, reason)| format!("{peer}: {reason}")).collect();
    lines.join("; ")
}

/// What chunks are fetched for.
pub trait Sink: Sync {
    /// How it is cut.
    fn layout(&self) -> &ChunkLayout;

    /// The chunks that need not be fetched.
    fn have(&self) -> ChunkSet;

    /// Takes the bytes of a chunk, unless they are not what they should be (`false`). Many threads
    /// may call it at once.
    fn put(&self, index: ChunkIndex, bytes: &[u8]) -> Result<bool, StoreError>;

    /// Notes that a chunk was given to us before anybody else, so that others wait for it at us.
    fn own(&self, _index: ChunkIndex) {}

    /// Whether the chunks of our own reach our readers about as fast as we receive them.
    fn keeps_up(&self) -> bool {
        true
    }

    /// Says whether readers may wait for chunks that are not here.
    fn expects_more(&self, _more: bool) {}

    /// Which peers asked what is here since this was called last.
    fn take_askers(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

impl Sink for PartFile {
    fn layout(&self) -> &ChunkLayout {
        self.manifest().layout()
    }

    fn have(&self) -> ChunkSet {
        self.have()
    }

    fn put(&self, index: ChunkIndex, bytes: &[u8]) -> Result<bool, StoreError> {
        match self.manifest().verify(index, bytes) {
            Ok(chunk) => self.write(&chunk).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn own(&self, index: ChunkIndex) {
        self.own(index);
    }

    fn keeps_up(&self) -> bool {
        self.keeps_up()
    }

    fn expects_more(&self, more: bool) {
        self.expects_more(more);
    }

    fn take_askers(&self) -> BTreeSet<String> {
        self.take_askers()
    }
}

/// All that one transfer needs.
pub struct Fetch<'a> {
    /// What is received, and where.
    pub part: &'a dyn Sink,
    /// Who may be asked, in the order of [`Progress`].
    pub sources: Vec<Box<dyn Dial + 'a>>,
    /// Is kept up to date.
    pub progress: &'a Progress,
    /// Ends the transfer early.
    pub cancel: &'a Cancel,
    /// How long is waited for what.
    pub waits: Waits,
    /// Is told what happens.
    pub observer: &'a (dyn Fn(Event) + Sync),
    /// Whether the first source hands its chunks out to several peers that fetch together.
    pub swarm: Option<Swarm<'a>>,
}

impl Fetch<'_> {
    /// Fetches all that the part file lacks; returns when every chunk is verified and written, or
    /// when that cannot be.
    pub fn run(self) -> Result<(), TransferError> {
        self.run_with(&never())
    }

    /// The same; further sources may come while it is under way.
    pub fn run_with(self, late: &Receiver<Late>) -> Result<(), TransferError> {
        let layout = *self.part.layout();
        let have = self.part.have();
        if have.is_full() {
            return Ok(());
        }
        let (cancel, _registration) = self.cancel.child();
        let verifiers = verifiers(layout.count() - have.len());
        let buffers = Buffers::new(2 * verifiers);
        let (filled, to_verify) = bounded(2 * verifiers);
        let engine = Engine {
            ledger: Mutex::new(Ledger::new(&layout, &have)),
            changed: Condvar::new(),
            layout,
            part: self.part,
            cancel,
            waits: self.waits,
            buffers,
            progress: self.progress,
            observer: self.observer,
            swarm: self.swarm,
            served: OnceLock::new(),
            members: Mutex::default(),
            heard_of: Mutex::default(),
            origins: AtomicUsize::new(self.sources.len()),
            working: AtomicUsize::new(0),
            left: unbounded(),
            losses: Mutex::default(),
            fatal: Mutex::default(),
        };
        thread::scope(|scope| {
            engine.start_verifiers(scope, verifiers, &to_verify);
            for (slot, dial) in self.sources.into_iter().enumerate() {
                let role = Role::of(slot, self.swarm);
                Worker::start(&engine, (role, dial), &filled, scope);
            }
            drop(to_verify);
            engine.admit(late, &filled, scope);
            drop(filled);
        });
        engine.outcome(self.cancel)
    }
}

/// Threads that verify and write: one a core, and no more than there are chunks.
fn verifiers(chunks: u32) -> usize {
    if chunks <= 1 {
        return 1;
    }
    config::cores().min(config::MAX_VERIFIERS).min(chunks as usize)
}

/// What all threads of one transfer share.
pub(super) struct Engine<'a> {
    pub(super) layout: ChunkLayout,
    pub(super) part: &'a dyn Sink,
    pub(super) ledger: Mutex<Ledger>,
    /// The ledger has news for sources with nothing to do.
    pub(super) changed: Condvar,
    /// Ends this transfer: it is complete, or it failed, or the user said so.
    pub(super) cancel: Cancel,
    pub(super) waits: Waits,
    pub(super) buffers: Buffers,
    pub(super) progress: &'a Progress,
    pub(super) observer: &'a (dyn Fn(Event) + Sync),
    pub(super) swarm: Option<Swarm<'a>>,
    /// Whether others can fetch from us, once that was tried.
    pub(super) served: OnceLock<bool>,
    /// The members of the swarm that we know of.
    pub(super) members: Mutex<HashMap<PeerId, Option<SourceId>>>,
    /// Members that have nothing for us yet, as far as we know.
    pub(super) heard_of: Mutex<HashSet<PeerId>>,
    /// Sources that are no members and not lost.
    pub(super) origins: AtomicUsize,
    /// Workers that have not left yet.
    pub(super) working: AtomicUsize,
    /// Somebody says here that a worker has left.
    pub(super) left: (Sender<()>, Receiver<()>),
    pub(super) losses: Mutex<Vec<(PeerId, SourceError)>>,
    fatal: Mutex<Option<TransferError>>,
}

/// A number of buffers that grows only with the sources, each made when first needed.
pub(super) struct Buffers {
    give: Sender<Vec<u8>>,
    take: Receiver<Vec<u8>>,
}

impl Buffers {
    fn new(count: usize) -> Self {
        let (give, take) = unbounded();
        let buffers = Self { give, take };
        (0..count).for_each(|_| buffers.add_one());
        buffers
    }

    /// One more source may hold one.
    pub(super) fn add_one(&self) {
        self.give(Vec::new());
    }

    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.take.recv().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        buffer
    }

    pub(super) fn give(&self, buffer: Vec<u8>) {
        // Both ends live as long as this.
        let _ = self.give.send(buffer);
    }
}

/// A chunk as it came, not proven yet.
pub(super) struct Arrived {
    pub(super) index: ChunkIndex,
    pub(super) buffer: Vec<u8>,
    /// Whose it is.
    pub(super) counter: Arc<Counter>,
    /// Whether we were handed it before anybody else.
    pub(super) own: bool,
    pub(super) bad: Sender<()>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine<'_> {
    fn start_verifiers<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        count: usize,
        to_verify: &Receiver<Arrived>,
    ) {
        for number in 0..count {
            let to_verify = to_verify.clone();
            let work = move || to_verify.iter().for_each(|arrived| self.verify(arrived));
            match threads::start_in(scope, format!("verify-{number}"), work) {
                Ok(_) => {}
                Err(error) if number == 0 => return self.fail(StoreError::no_thread(error).into()),
                Err(error) => return log::info!("verifying with {number} threads: {error}"),
            }
        }
    }

    fn verify(&self, arrived: Arrived) {
        let Arrived { index, buffer, counter, own, bad } = arrived;
        let len = self.layout.chunk_len(index);
        if own {
            // Before anybody can be sent it, so that everybody who is gets counted.
            self.part.own(index);
        }
        match self.part.put(index, buffer.get(..len).unwrap_or_default()) {
            Ok(true) => self.complete(index, &counter, len),
            Err(error) => self.fail(error.into()),
            Ok(false) => {
                lock(&self.ledger).give_back(index);
                self.changed.notify_all();
                // A worker that has left already needs no word.
                let _ = bad.try_send(());
            }
        }
        self.buffers.give(buffer);
    }

    fn complete(&self, index: ChunkIndex, counter: &Counter, len: usize) {
        let (first, complete) = {
            let mut ledger = lock(&self.ledger);
            (ledger.complete(index), ledger.is_complete())
        };
        if first {
            counter.add(len as u64);
        }
        if complete {
            self.end();
        }
    }

    /// A source is of no use any more.
    pub(super) fn lose(&self, peer: PeerId, error: SourceError) {
        let reason = error.to_string();
        lock(&self.losses).push((peer.clone(), error));
        (self.observer)(Event::SourceLost { peer, reason });
    }

    fn fail(&self, error: TransferError) {
        lock(&self.fatal).get_or_insert(error);
        self.end();
    }

    fn end(&self) {
        self.cancel.cancel();
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn outcome(self, user: &Cancel) -> Result<(), TransferError> {
        if let Some(fatal) = lock(&self.fatal).take() {
            return Err(fatal);
        }
        if lock(&self.ledger).is_complete() {
            return Ok(());
        }
        if user.is_cancelled() {
            return Err(TransferError::Interrupted);
        }
        let (missing, of) = (lock(&self.ledger).lacks(), self.layout.count());
        Err(TransferError::Incomplete {
            missing,
            of,
            reasons: std::mem::take(&mut lock(&self.losses)),
        })
    }
}
