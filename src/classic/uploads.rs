//! Uploads to us while they last, by the name of the file; some clients send every chunk on another
//! connection.
//!
//! An upload belongs to the session that its offer came on: when that ends, the upload goes with
//! it, at once or after the grace that D needs, and what came is deleted. Each upload has a lock of
//! its own, which is held while a chunk is written: nobody but its own sender waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::assembly::{Assembly, Verdict};
use super::message::Ripeness;
use crate::config;
use crate::content::FileName;
use crate::locks::{lock, wait_timeout};
use crate::logging::Tally;
use crate::store::{Incoming, Store, StoreError};
use crate::transport::{Cancel, Closer, Pace};

/// The uploads under way.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<FileName, Arc<Upload>>>);

/// One upload.
pub(super) struct Upload {
    pub(super) name: FileName,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    assembly: Assembly,
    /// `None` when the upload is complete or given up.
    incoming: Option<Incoming>,
    touched: Instant,
    tally: Tally,
    /// How quickly the chunks have to come.
    pace: Pace,
}

/// What became of a chunk.
pub(super) enum Taken {
    /// It is kept.
    Kept,
    /// It was the last one, and the file is complete on disk.
    Complete {
        /// How it came.
        base64: bool,
        /// How much came, and how fast.
        tally: Tally,
    },
}

/// Why an upload came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Spoiled {
    /// It is complete or given up already, or the chunk is too far ahead or too long.
    #[error("a chunk came that belongs to no upload")]
    Stray,
    /// The sizes do not add up.
    #[error("its size is not what was announced")]
    WrongSize,
    /// The sender takes its time, and the name is not to wait for it.
    #[error("it came too slowly")]
    TooSlow,
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Uploads {
    /// Adds an upload, which lasts as long as what is returned.
    /// Its sender may say nothing for `silence`, and has to send enough in each such time.
    pub(super) fn begin(
        self: &Arc<Self>,
        incoming: Incoming,
        length: Option<u64>,
        silence: Duration,
    ) -> Offered {
        let name = incoming.name().clone();
        let (assembly, now) = (Assembly::new(length), Instant::now());
        let pace = Pace::new(config::CLASSIC_LEAST, silence);
        let state = State {
            assembly,
            incoming: Some(incoming),
            touched: now,
            tally: Tally::since(now),
            pace,
        };
        let upload = Upload { name: name.clone(), state: Mutex::new(state), ended: Condvar::new() };
        let upload = Arc::new(upload);
        lock(&self.0).insert(name, upload.clone());
        Offered { uploads: self.clone(), upload, here: false }
    }

    /// The upload of that name.
    pub(super) fn find(&self, name: &FileName) -> Option<Arc<Upload>> {
        lock(&self.0).get(name).cloned()
    }
}

impl Upload {
    /// Whether `data` is all of a chunk; `alone` on a connection that is not the offer's.
    pub(super) fn ripeness(&self, index: u32, data: &[u8], alone: bool) -> Ripeness {
        let state = lock(&self.state);
        match alone {
            true => state.assembly.ripeness_alone(index, data),
            false => state.assembly.ripeness(index, data),
        }
    }

    /// Takes a chunk; with the last one the file is completed.
    pub(super) fn take(
        &self,
        store: &Store,
        index: u32,
        data: &[u8],
        alone: bool,
    ) -> Result<Taken, Spoiled> {
        let (mut state, now) = (lock(&self.state), Instant::now());
        let passed = now.saturating_duration_since(state.touched);
        state.touched = now;
        state.pace.moved(data.len(), passed, Duration::MAX);
        if state.pace.check().is_err() {
            state.incoming = None;
            self.ended.notify_all();
            return Err(Spoiled::TooSlow);
        }
        let State { assembly, incoming, tally, touched, .. } = &mut *state;
        let file = incoming.as_mut().ok_or(Spoiled::Stray)?;
        let (data, base64) = match alone {
            true => assembly.read_alone(index, data),
            false => (data.to_vec(), false),
        };
        let ready = assembly.take(index, &data).ok_or(Spoiled::Stray)?;
        if let Err(error) = file.append(&ready) {
            // Without this chunk the others are of no use; what came goes at once.
            *incoming = None;
            self.ended.notify_all();
            return Err(error.into());
        }
        tally.add(data.len() as u64, *touched);
        match if alone { assembly.is_complete_alone() } else { assembly.is_complete() } {
            true => self.complete(state, store).map(|tally| Taken::Complete { base64, tally }),
            false => Ok(Taken::Kept),
        }
    }

    /// Completes the file: no more chunks come. Says how much came.
    pub(super) fn finish(&self, store: &Store) -> Result<Tally, Spoiled> {
        self.complete(lock(&self.state), store)
    }

    /// Whether a file of no bytes is all there with its offer.
    pub(super) fn is_complete(&self) -> bool {
        lock(&self.state).assembly.is_complete()
    }

    fn complete(&self, mut state: MutexGuard<'_, State>, store: &Store) -> Result<Tally, Spoiled> {
        let tally = state.tally;
        let mut incoming = state.incoming.take().ok_or(Spoiled::Stray)?;
        let verdict = state.assembly.verdict();
        drop(state);
        self.ended.notify_all();
        let done = match verdict {
            Verdict::Whole => Ok(()),
            Verdict::WithoutReturns => incoming.put_returns_back(),
            Verdict::Wrong => return Err(Spoiled::WrongSize),
        };
        done.and_then(|()| store.complete(incoming))?;
        Ok(tally)
    }

    /// Deletes what came, if it is not complete; says how much that was.
    fn give_up(&self) -> Option<Tally> {
        let mut state = lock(&self.state);
        let (incoming, tally) = (state.incoming.take(), state.tally);
        drop(state);
        self.ended.notify_all();
        incoming.map(|_| tally)
    }
}

/// An upload, held by the session that its offer came on. Dropping it ends the upload.
pub(super) struct Offered {
    uploads: Arc<Uploads>,
    pub(super) upload: Arc<Upload>,
    /// Chunks came on the offer's connection.
    pub(super) here: bool,
}

impl Offered {
    /// The offer's connection has ended: waits until the upload is complete or its sender has been
    /// silent for too long, unless its chunks came on that connection. Says how much came of one
    /// that is not complete.
    pub(super) fn linger(self, cancel: &Cancel) -> Option<Tally> {
        if self.here {
            return self.upload.give_up();
        }
        let upload = self.upload.clone();
        let _registration = cancel.closes(Closer::new(move || {
            upload.give_up();
        }));
        let mut state = lock(&self.upload.state);
        while state.incoming.is_some() {
            let left =
                (state.touched + config::CLASSIC_GRACE).saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait_timeout(&self.upload.ended, state, left);
        }
        drop(state);
        self.upload.give_up()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let mut uploads = lock(&self.uploads.0);
        if uploads.get(&self.upload.name).is_some_and(|upload| Arc::ptr_eq(upload, &self.upload)) {
            uploads.remove(&self.upload.name);
        }
        drop(uploads);
        self.upload.give_up();
    }
}
