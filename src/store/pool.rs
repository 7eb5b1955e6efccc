//! The threads that hash: the only ones of the store.
//!
//! Each of them takes one chunk at a time: of a job that somebody asked for while there is one,
//! else of the backlog, which never keeps more than half of the threads. So one large file is
//! hashed by all of them, and a request waits for no more than the chunk in hand.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::StoreError;
use super::job::{Claim, Job};
use crate::config;
use crate::locks::{lock, wait, wait_timeout_while};
use crate::threads;

/// Jobs that nobody asked for, made one by one as there is time for them.
pub(super) type Backlog = Box<dyn Iterator<Item = Arc<Job>> + Send>;

/// A pool of hashing threads, started when first needed.
pub(super) struct HashPool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl HashPool {
    /// A pool that has no threads yet.
    pub(super) fn new() -> Self {
        let queue = Arc::new(Queue { state: Mutex::default(), changed: Condvar::new() });
        Self { queue, threads: Mutex::default() }
    }

    /// Puts a job before the backlog and behind those that were asked for earlier, once.
    pub(super) fn submit(&self, job: &Arc<Job>) -> Result<(), StoreError> {
        if !job.ask_for() {
            return Ok(());
        }
        let queued = self.queue.change(|state| state.asked_for.push_back(Arc::clone(job)));
        let started = queued.and_then(|()| self.start_threads());
        match &started {
            Ok(()) => job.end_if_empty(),
            Err(_) => job.interrupt(),
        }
        started
    }

    /// Whether anything is being hashed, or is to be.
    pub(super) fn is_busy(&self) -> bool {
        let mut busy = false;
        let looked = self.queue.change(|state| busy = state.is_busy());
        looked.is_ok() && busy
    }

    /// Waits until nothing is to be hashed any more, but no longer than that.
    pub(super) fn wait_until_idle(&self, time: Duration) {
        let state = lock(&self.queue.state);
        let is_busy = |state: &mut State| state.is_busy() && !state.closed;
        drop(wait_timeout_while(&self.queue.changed, state, time, is_busy));
    }

    /// Adds to what is hashed when nothing else is to be done.
    pub(super) fn submit_backlog(&self, backlog: Backlog) -> Result<(), StoreError> {
        self.queue.change(|state| state.backlogs.push_back(backlog))?;
        self.start_threads()
    }

    /// Interrupts what is being hashed and joins the threads. Nothing is hashed afterwards.
    pub(super) fn close(&self) {
        let mut abandoned = Vec::new();
        let _already_closed = self.queue.change(|state| {
            state.closed = true;
            abandoned.extend(state.asked_for.drain(..));
            abandoned.extend(state.current.take());
            state.backlogs.clear();
        });
        abandoned.iter().for_each(|job| job.interrupt());
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a hashing thread panicked");
            }
        }
    }

    fn start_threads(&self) -> Result<(), StoreError> {
        let mut threads = lock(&self.threads);
        if !threads.is_empty() {
            return Ok(());
        }
        let count = config::cores().min(config::MAX_HASHERS);
        self.queue.change(|state| state.spare = count.div_ceil(2))?;
        for number in 0..count {
            let queue = Arc::clone(&self.queue);
            match threads::start(format!("hash-{number}"), move || work(&queue)) {
                Ok(thread) => threads.push(thread),
                Err(error) if threads.is_empty() => return Err(StoreError::no_thread(error)),
                Err(error) => {
                    log::warn!("hashing with {} threads instead of {count}: {error}", threads.len())
                }
            }
        }
        Ok(())
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.close();
    }
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked_for: VecDeque<Arc<Job>>,
    /// The job of the backlog that is being hashed.
    current: Option<Arc<Job>>,
    backlogs: VecDeque<Backlog>,
    /// Threads that the backlog may still have.
    spare: usize,
    closed: bool,
}

/// What a thread does next.
enum Step {
    Hash(Arc<Job>, Claim),
    HashSpare(Arc<Job>, Claim),
    /// Finds the backlog's next job.
    Advance(Backlog),
}

fn work(queue: &Queue) {
    let mut buffer = vec![0; config::HASH_PIECE];
    while let Some(step) = queue.next() {
        match step {
            Step::Hash(job, claim) => job.hash(claim, &mut buffer),
            Step::HashSpare(job, claim) => {
                job.hash(claim, &mut buffer);
                queue.give_back(|_| ());
            }
            Step::Advance(mut backlog) => {
                let job = backlog.next();
                if let Some(job) = &job {
                    job.end_if_empty();
                }
                queue.give_back(|state| state.advanced(job, backlog));
            }
        }
    }
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(StoreError::Interrupted);
        }
        change(&mut state);
        self.changed.notify_all();
        Ok(())
    }

    /// Ends a step of the backlog.
    fn give_back(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        state.spare += 1;
        change(&mut state);
        self.changed.notify_all();
    }

    /// Waits for something to do. `None` when the pool is closed.
    fn next(&self) -> Option<Step> {
        let mut state = lock(&self.state);
        while !state.closed {
            if let Some(step) = state.take_asked_for().or_else(|| state.take_backlog()) {
                return Some(step);
            }
            state = wait(&self.changed, state);
        }
        None
    }
}

impl State {
    /// Whether anything is being hashed or looked for, or is to be.
    fn is_busy(&self) -> bool {
        !self.asked_for.is_empty() || self.current.is_some() || !self.backlogs.is_empty()
    }

    fn take_asked_for(&mut self) -> Option<Step> {
        while let Some(job) = self.asked_for.front() {
            if let Some(claim) = job.claim() {
                return Some(Step::Hash(Arc::clone(job), claim));
            }
            self.asked_for.pop_front();
        }
        None
    }

    fn take_backlog(&mut self) -> Option<Step> {
        if self.spare == 0 {
            return None;
        }
        let claimed = self.current.as_ref().and_then(|job| Some((Arc::clone(job), job.claim()?)));
        let step = match claimed {
            Some((job, claim)) => Step::HashSpare(job, claim),
            None => {
                self.current = None;
                Step::Advance(self.backlogs.pop_front()?)
            }
        };
        self.spare -= 1;
        Some(step)
    }

    /// Goes on with the backlog's next job; a backlog that has none is finished.
    fn advanced(&mut self, job: Option<Arc<Job>>, backlog: Backlog) {
        if let Some(job) = job {
            if self.closed {
                job.interrupt();
                return;
            }
            self.current = Some(job);
            self.backlogs.push_front(backlog);
        }
    }
}
