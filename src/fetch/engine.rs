//! The engine: one thread a source asks and reads, a few verify and write.
//!
//! How a chunk travels: a worker leases it from the ledger, sends the request, and later reads
//! the answer into a buffer from a fixed set; the buffer goes through a bounded channel to a verify
//! thread, which proves it and writes it into the part file; the ledger is told, and the buffer goes
//! back to the set. So what is in memory is bounded by the number of buffers, and when the disk is
//! slower than the sources the workers wait for buffers and stop asking.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ledger::{Grant, Ledger, SourceId};
use super::progress::{Event, Progress};
use super::source::{Dial, Source, SourceError};
use crate::config;
use crate::content::{ChunkIndex, Manifest};
use crate::store::{PartFile, StoreError};
use crate::topology::PeerId;
use crate::transport::{Cancel, Closer};

/// Why a transfer as a whole failed. What was verified stays in the part file.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Every source is lost; the reasons are told peer by peer.
    #[error("no source is left: {}", list(.0))]
    NoSource(Vec<(PeerId, SourceError)>),
    /// The user or the system asked to stop.
    #[error("interrupted; the verified chunks are kept, the same command continues")]
    Interrupted,
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(reasons: &[(PeerId, SourceError)]) -> String {
    let lines: Vec<String> = reasons.iter().map(|(peer, reason)| format!("{peer}: {reason}")).collect();
    lines.join("; ")
}

/// All that one transfer needs.
pub struct Fetch<'a> {
    /// What is received, and where.
    pub part: &'a PartFile,
    /// Who may be asked, in the order of [`Progress`].
    pub sources: Vec<Box<dyn Dial + 'a>>,
    /// Is kept up to date.
    pub progress: &'a Progress,
    /// Ends the transfer early.
    pub cancel: &'a Cancel,
    /// How long a source may send nothing before it counts as stalled.
    pub stall: Duration,
    /// Is told what happens.
    pub observer: &'a (dyn Fn(Event) + Sync),
}

impl Fetch<'_> {
    /// Fetches all that the part file lacks; returns when every chunk is verified and written, or
    /// when that cannot be.
    pub fn run(self) -> Result<(), TransferError> {
        let manifest = self.part.manifest().clone();
        let have = self.part.have();
        if have.is_full() {
            return Ok(());
        }
        let (cancel, _registration) = self.cancel.child();
        let verifiers = verifiers(manifest.layout().count() - have.len());
        let buffers = self.sources.len() + 2 * verifiers;
        let (filled, to_verify) = bounded(buffers);
        let engine = Engine {
            ledger: Mutex::new(Ledger::new(manifest.layout(), &have)),
            changed: Condvar::new(),
            manifest,
            part: self.part,
            cancel,
            stall: self.stall,
            buffers: Buffers::new(buffers),
            progress: self.progress,
            observer: self.observer,
            losses: Mutex::default(),
            fatal: Mutex::default(),
        };
        thread::scope(|scope| {
            engine.start_verifiers(scope, verifiers, &to_verify);
            for (slot, dial) in self.sources.into_iter().enumerate() {
                let (engine, filled) = (&engine, filled.clone());
                let name = format!("fetch-{}", dial.peer());
                engine.start(scope, name, move || Worker::new(engine, slot, filled).run(dial));
            }
            drop((filled, to_verify));
        });
        engine.outcome(self.cancel)
    }
}

/// Threads that verify and write: one a core, and no more than there are chunks.
fn verifiers(chunks: u32) -> usize {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    cores.min(config::MAX_VERIFIERS).min(chunks as usize).max(1)
}

/// What all threads of one transfer share.
struct Engine<'a> {
    manifest: Arc<Manifest>,
    part: &'a PartFile,
    ledger: Mutex<Ledger>,
    /// The ledger has news for sources with nothing to do.
    changed: Condvar,
    /// Ends this transfer: it is complete, or it failed, or the user said so.
    cancel: Cancel,
    stall: Duration,
    buffers: Buffers,
    progress: &'a Progress,
    observer: &'a (dyn Fn(Event) + Sync),
    losses: Mutex<Vec<(PeerId, SourceError)>>,
    fatal: Mutex<Option<TransferError>>,
}

/// A fixed number of buffers, made when first needed.
struct Buffers {
    give: Sender<Vec<u8>>,
    take: Receiver<Vec<u8>>,
}

impl Buffers {
    fn new(count: usize) -> Self {
        let (give, take) = bounded(count);
        for _ in 0..count {
            // The channel has room for exactly these.
            let _ = give.try_send(Vec::new());
        }
        Self { give, take }
    }

    fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.take.recv().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        buffer
    }

    fn give(&self, buffer: Vec<u8>) {
        let _ = self.give.try_send(buffer);
    }
}

/// A chunk as it came, not proven yet.
struct Arrived {
    index: ChunkIndex,
    buffer: Vec<u8>,
    slot: usize,
    bad: Sender<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine<'_> {
    fn start<'scope, 'env>(
        &self,
        scope: &'scope Scope<'scope, 'env>,
        name: String,
        work: impl FnOnce() + Send + 'scope,
    ) {
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, work) {
            let what = "cannot start a thread".to_owned();
            self.fail(TransferError::Store(StoreError::Io { what, error }));
        }
    }

    fn start_verifiers<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        count: usize,
        to_verify: &Receiver<Arrived>,
    ) {
        for number in 0..count {
            let to_verify = to_verify.clone();
            self.start(scope, format!("verify-{number}"), move || {
                to_verify.iter().for_each(|arrived| self.verify(arrived));
            });
        }
    }

    fn verify(&self, arrived: Arrived) {
        let Arrived { index, buffer, slot, bad } = arrived;
        let len = self.manifest.layout().chunk_len(index);
        match self.manifest.verify(index, buffer.get(..len).unwrap_or_default()) {
            Ok(chunk) => match self.part.write(&chunk) {
                Ok(()) => self.complete(index, slot, len),
                Err(error) => self.fail(error.into()),
            },
            Err(_) => {
                lock(&self.ledger).give_back(index);
                self.changed.notify_all();
                // A worker that has left already needs no word.
                let _ = bad.try_send(());
            }
        }
        self.buffers.give(buffer);
    }

    fn complete(&self, index: ChunkIndex, slot: usize, len: usize) {
        let (first, complete) = {
            let mut ledger = lock(&self.ledger);
            (ledger.complete(index), ledger.is_complete())
        };
        if first {
            self.progress.add(slot, len as u64);
        }
        if complete {
            self.end();
        }
    }

    fn fail(&self, error: TransferError) {
        lock(&self.fatal).get_or_insert(error);
        self.end();
    }

    fn end(&self) {
        self.cancel.cancel();
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
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
        Err(TransferError::NoSource(std::mem::take(&mut lock(&self.losses))))
    }
}

/// The thread of one source.
struct Worker<'e, 'a> {
    engine: &'e Engine<'a>,
    slot: usize,
    id: SourceId,
    filled: Sender<Arrived>,
    /// A verify thread says here that a chunk of this source was bad.
    bad: (Sender<()>, Receiver<()>),
}

impl<'e, 'a> Worker<'e, 'a> {
    fn new(engine: &'e Engine<'a>, slot: usize, filled: Sender<Arrived>) -> Self {
        let id = lock(&engine.ledger).join();
        Self { engine, slot, id, filled, bad: bounded(1) }
    }

    /// Uses the source until the transfer is over or the source is beyond hope.
    fn run(self, mut dial: Box<dyn Dial + '_>) {
        let peer = dial.peer().clone();
        let mut failures = 0;
        while !self.engine.is_over() {
            let before = self.engine.progress.of(self.slot);
            let result = dial.dial(&self.engine.cancel).and_then(|source| self.drain(source));
            self.leave();
            let Err(error) = self.judged(result) else { break };
            // A source that ends with the transfer is not lost, but a bad chunk is always told.
            if self.engine.is_over() && !error.is_integrity() {
                break;
            }
            failures = if self.engine.progress.of(self.slot) > before { 1 } else { failures + 1 };
            if !error.is_passing() || !dial.can_redial() || failures > config::SOURCE_RETRIES {
                let reason = error.to_string();
                lock(&self.engine.losses).push((peer.clone(), error));
                (self.engine.observer)(Event::SourceLost { peer, reason });
                break;
            }
            let reason = error.to_string();
            (self.engine.observer)(Event::SourceRetried { peer: peer.clone(), reason });
            self.pause(config::RETRY_PAUSE * failures);
        }
        self.engine.progress.ended(self.slot);
    }

    /// Gives all leases back.
    fn leave(&self) {
        lock(&self.engine.ledger).leave(self.id);
        self.engine.changed.notify_all();
    }

    /// The word about a bad chunk may come when the source is not listened to any more.
    fn judged(&self, result: Result<(), SourceError>) -> Result<(), SourceError> {
        if self.bad.1.try_recv().is_ok() { Err(SourceError::BadChunk) } else { result }
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.engine.is_over() && Instant::now() < until {
            self.wait_for_news();
        }
    }

    /// Waits until the ledger changed, or a moment.
    fn wait_for_news(&self) {
        let ledger = lock(&self.engine.ledger);
        let waited = self.engine.changed.wait_timeout(ledger, config::IDLE_POLL);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Fetches from a connected source until nothing is left to do.
    fn drain(&self, mut source: Box<dyn Source + '_>) -> Result<(), SourceError> {
        let _registration = source.closer().map(|closer: Closer| self.engine.cancel.closes(closer));
        lock(&self.engine.ledger).rejoin(self.id);
        loop {
            if self.bad.1.try_recv().is_ok() {
                // The others go on at once; the answer may take its time.
                self.leave();
                return Err(source.excuse());
            }
            let asked_all = self.ask(&mut *source)?;
            let oldest = lock(&self.engine.ledger).oldest(self.id);
            match oldest {
                Some(index) => self.receive(&mut *source, index)?,
                None if asked_all || self.engine.is_over() => return Ok(()),
                None => self.wait_for_news(),
            }
        }
    }

    /// Sends requests as long as the ledger grants them. Says whether the transfer is complete.
    fn ask(&self, source: &mut dyn Source) -> Result<bool, SourceError> {
        loop {
            if self.engine.is_over() {
                return Ok(true);
            }
            let grant = lock(&self.engine.ledger).lease(self.id, Instant::now());
            match grant {
                Grant::Chunk(index) => source.request(index)?,
                Grant::Nothing => return Ok(false),
                Grant::Complete => return Ok(true),
            }
        }
    }

    /// Reads one answer and passes it on to be verified.
    fn receive(&self, source: &mut dyn Source, index: ChunkIndex) -> Result<(), SourceError> {
        let len = self.engine.manifest.layout().chunk_len(index);
        let mut buffer = self.engine.buffers.take(len);
        let received = match buffer.get_mut(..len) {
            Some(space) => source.receive(index, space, self.engine.stall),
            None => Ok(()),
        };
        if let Err(error) = received {
            self.engine.buffers.give(buffer);
            return Err(error);
        }
        let wanted = lock(&self.engine.ledger).arrived(self.id, Instant::now());
        if !wanted {
            self.engine.buffers.give(buffer);
            return Ok(());
        }
        let arrived = Arrived { index, buffer, slot: self.slot, bad: self.bad.0.clone() };
        // The verify threads live until every worker has dropped its end of the channel.
        let _ = self.filled.send(arrived);
        Ok(())
    }
}
