//! One file, or some chunks of one, to be hashed by as many threads as have time.
//!
//! Every chunk is taken by exactly one thread; whoever finishes the last one ends the job: it runs
//! what the job was started with, then tells everybody who waits. The file is opened by the first
//! thread that needs it and closed at the end, so that a long queue holds no open files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::{StoreError, sparse};
use crate::config;
use crate::content::leaf::hash_leaves;
use crate::content::{ChunkIndex, ChunkLayout, Digest, FileName, merkle};
use crate::locks::{lock, wait_timeout};

/// What is to be hashed, and what to do then.
pub(super) struct Task {
    /// What the file is called in errors.
    pub(super) name: FileName,
    /// How it is cut.
    pub(super) layout: ChunkLayout,
    /// Which chunks.
    pub(super) chunks: Vec<ChunkIndex>,
    /// Opens the file.
    pub(super) open: Open,
    /// Looks at the file and the digests, or at what went wrong, before anybody else does.
    pub(super) end: End,
}

/// Opens the file of a task.
pub(super) type Open = Box<dyn Fn() -> Result<File, StoreError> + Send + Sync>;

/// Is given the open file and its digests, or what went wrong; says how the job ended.
pub(super) type End =
    Box<dyn FnOnce(Result<(&File, &[Digest]), StoreError>) -> Result<(), StoreError> + Send>;

/// A [`Task`] while it is done.
pub(super) struct Job {
    name: FileName,
    layout: ChunkLayout,
    chunks: Vec<ChunkIndex>,
    open: Open,
    total: u64,
    done: AtomicU64,
    asked_for: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
    /// What a whole chunk of zeros hashes to.
    zero: OnceLock<Digest>,
}

struct State {
    file: Option<Arc<File>>,
    /// Position of the next chunk that nobody took.
    next: usize,
    digests: Vec<Digest>,
    /// Chunks that are not finished.
    left: usize,
    end: Option<End>,
    outcome: Option<Result<Vec<Digest>, StoreError>>,
}

/// The right to hash one chunk of a job.
pub(super) struct Claim {
    position: usize,
}

impl Job {
    /// A job that nobody has begun.
    pub(super) fn new(task: Task) -> Self {
        let Task { name, layout, chunks, open, end } = task;
        let total = chunks.iter().map(|index| layout.chunk_len(*index) as u64).sum();
        let state = State {
            file: None,
            next: 0,
            digests: vec![Digest::ZERO; chunks.len()],
            left: chunks.len(),
            end: Some(end),
            outcome: None,
        };
        Self {
            name,
            layout,
            chunks,
            open,
            total,
            done: AtomicU64::new(0),
            asked_for: AtomicBool::new(false),
            state: Mutex::new(state),
            ended: Condvar::new(),
            zero: OnceLock::new(),
        }
    }

    /// Bytes hashed, and bytes to hash in all.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.done.load(Relaxed).min(self.total), self.total)
    }

    /// Notes that somebody asked for the job; says whether that is new.
    pub(super) fn ask_for(&self) -> bool {
        !self.asked_for.swap(true, Relaxed)
    }

    /// Whether the job has not ended.
    pub(super) fn is_running(&self) -> bool {
        lock(&self.state).outcome.is_none()
    }

    /// Takes the next chunk that nobody took. `None` when all are taken or the job has failed.
    pub(super) fn claim(&self) -> Option<Claim> {
        let mut state = lock(&self.state);
        if state.outcome.is_some() || state.next >= self.chunks.len() {
            return None;
        }
        state.next += 1;
        Some(Claim { position: state.next - 1 })
    }

    /// Hashes a chunk, reading it through `buffer`; ends the job if it is the last.
    pub(super) fn hash(&self, claim: Claim, buffer: &mut [u8]) {
        match self.digest_of(claim.position, buffer) {
            Ok(digest) => self.finish_chunk(claim.position, digest),
            Err(error) => self.end(Err(error)),
        }
    }

    /// Ends a job that has no chunks at all, for there is nothing to claim in it.
    pub(super) fn end_if_empty(&self) {
        if self.chunks.is_empty() {
            match self.file() {
                Ok(_) => self.end(Ok(())),
                Err(error) => self.end(Err(error)),
            }
        }
    }

    /// Ends the job without a result.
    pub(super) fn interrupt(&self) {
        self.end(Err(StoreError::Interrupted));
    }

    /// Waits for the end at most so long; says whether it has come.
    pub(super) fn ends_within(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let mut state = lock(&self.state);
        while state.outcome.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = wait_timeout(&self.ended, state, left);
        }
        true
    }

    /// Waits for the digests, in the order of the task's chunks. `progress` is told the bytes done
    /// and all bytes now and then; when it says `false`, the caller waits no longer.
    pub(super) fn wait(
        &self,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Vec<Digest>, StoreError> {
        loop {
            let ended = self.ends_within(config::HASH_PROGRESS);
            let (done, total) = self.progress();
            if !progress(done, total) {
                return Err(StoreError::Interrupted);
            }
            if ended {
                return self.outcome().unwrap_or(Err(StoreError::Interrupted));
            }
        }
    }

    fn outcome(&self) -> Option<Result<Vec<Digest>, StoreError>> {
        match &lock(&self.state).outcome {
            Some(Ok(digests)) => Some(Ok(digests.clone())),
            Some(Err(error)) => Some(Err(error.again())),
            None => None,
        }
    }

    fn digest_of(&self, position: usize, buffer: &mut [u8]) -> Result<Digest, StoreError> {
        let Some(index) = self.chunks.get(position) else { return Ok(Digest::ZERO) };
        let file = self.file()?;
        let mut range = self.layout.range(*index);
        if sparse::is_hole(&file, &range) {
            let len = self.layout.chunk_len(*index);
            self.done.fetch_add(len as u64, Relaxed);
            return Ok(self.zero_digest(len));
        }
        let mut leaves = Vec::new();
        while !range.is_empty() {
            let len =
                usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(buffer.len());
            let (piece, _) = buffer.split_at_mut(len);
            file.read_exact_at(piece, range.start).map_err(|error| self.unreadable(error))?;
            hash_leaves(piece, &mut leaves);
            self.done.fetch_add(len as u64, Relaxed);
            range.start += len as u64;
        }
        Ok(merkle::chunk_digest_of_leaves(&self.layout, leaves))
    }

    /// The digest of a chunk of zeros; all but the last chunk have the same length, so it is kept.
    fn zero_digest(&self, len: usize) -> Digest {
        let digest = || merkle::zero_digest(&self.layout, len);
        if len == self.layout.chunk_size() as usize {
            *self.zero.get_or_init(digest)
        } else {
            digest()
        }
    }

    fn unreadable(&self, error: io::Error) -> StoreError {
        let name = self.name.clone();
        match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::Changed { name },
            _ => StoreError::Io { what: format!("cannot read {name}"), error },
        }
    }

    fn file(&self) -> Result<Arc<File>, StoreError> {
        if let Some(file) = &lock(&self.state).file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new((self.open)()?);
        Ok(Arc::clone(lock(&self.state).file.get_or_insert(file)))
    }

    fn finish_chunk(&self, position: usize, digest: Digest) {
        let mut state = lock(&self.state);
        if let Some(slot) = state.digests.get_mut(position) {
            *slot = digest;
        }
        state.left = state.left.saturating_sub(1);
        let last = state.left == 0;
        drop(state);
        if last {
            self.end(Ok(()));
        }
    }

    /// Runs what was to be done at the end, then tells everybody. Only the first end counts.
    fn end(&self, result: Result<(), StoreError>) {
        let mut state = lock(&self.state);
        let Some(end) = state.end.take() else { return };
        state.next = self.chunks.len();
        let (file, digests) = (state.file.take(), std::mem::take(&mut state.digests));
        drop(state);
        let outcome = match (result, file) {
            (Ok(()), Some(file)) => end(Ok((&file, &digests))).map(|()| digests),
            (Ok(()), None) => Err(StoreError::Interrupted),
            (Err(error), _) => end(Err(error)).map(|()| digests),
        };
        lock(&self.state).outcome = Some(outcome);
        self.ended.notify_all();
    }
}
