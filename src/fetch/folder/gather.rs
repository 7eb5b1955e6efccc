//! Small contents, many with one request: a thread a source asks and reads (`worker`), a few prove
//! and write.
//!
//! What is in memory is bounded: an answer is at most [`config::GATHER_BYTES`] long, every source's
//! thread has one in hand, and two for each writing thread wait in the channel between them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::batches::{Batches, Content};
use super::plan::{Plan, Small};
use super::supply::Supply;
use super::worker::Worker;
use super::{FileError, FolderFetch, Record, locked};
use crate::config;
use crate::content::{Root, WholeFile, whole};
use crate::fetch::engine::TransferError;
use crate::fetch::outage::Waits;
use crate::fetch::progress::{Counter, Event, Progress};
use crate::fetch::source::SourceError;
use crate::store::{Group, Salvage, Store, StoreError};
use crate::threads;
use crate::topology::PeerId;
use crate::transport::Cancel;

/// Fetches all small contents of the plan and gives them their names.
pub(super) fn run(
    fetch: &mut FolderFetch<'_>,
    plan: &Plan,
    record: &Record,
    counters: &[Arc<Counter>],
) {
    if plan.small.is_empty() {
        return;
    }
    let mut supplies = std::mem::take(&mut fetch.supplies);
    let (cancel, _registration) = fetch.cancel.child();
    let mut batches = Batches::new(supplies.len());
    for small in &plan.small {
        batches.add(small.length, &small.sources);
    }
    let gather = Gather {
        contents: &plan.small,
        store: fetch.store,
        replace: fetch.replace,
        batches: Mutex::new(batches),
        changed: Condvar::new(),
        progress: fetch.progress,
        counters,
        observer: fetch.observer,
        record,
        cancel,
        waits: fetch.waits,
        bad_came: AtomicBool::new(false),
    };
    gather.take_what_is_here(fetch.store.salvage());
    gather.fetch(&mut supplies);
    if !fetch.cancel.is_cancelled() {
        gather.tell_failures();
    }
    fetch.supplies = supplies;
}

/// What all threads share.
pub(super) struct Gather<'a> {
    pub(super) contents: &'a [Small],
    store: &'a Store,
    replace: bool,
    pub(super) batches: Mutex<Batches>,
    /// The batches have news for sources with nothing to do.
    pub(super) changed: Condvar,
    pub(super) progress: &'a Progress,
    /// What each source contributed, in their order.
    pub(super) counters: &'a [Arc<Counter>],
    pub(super) observer: &'a (dyn Fn(Event) + Sync),
    pub(super) record: &'a Record,
    /// Ends this part of the transfer.
    pub(super) cancel: Cancel,
    pub(super) waits: Waits,
    /// Bytes came that were not what they were said to be; their source may have ended before that
    /// was seen.
    bad_came: AtomicBool,
}

/// An answer as it came, not proven yet.
pub(super) struct Arrived {
    pub(super) source: usize,
    /// With the length of each, in the order of the payload.
    pub(super) contents: Vec<(Content, usize)>,
    pub(super) payload: Vec<u8>,
    pub(super) bad: Sender<()>,
}

impl Gather<'_> {
    fn fetch(&self, supplies: &mut [Supply<'_>]) {
        if locked(&self.batches).is_complete() {
            return;
        }
        let writers = config::cores().min(config::MAX_VERIFIERS);
        let (arrived, to_write) = bounded(2 * writers);
        thread::scope(|scope| {
            for number in 0..writers {
                let to_write = to_write.clone();
                let work = move || self.write_all(&to_write);
                match threads::start_in(scope, format!("write-{number}"), work) {
                    Ok(_) => {}
                    Err(error) if number == 0 => {
                        return self.fail(StoreError::no_thread(error).into());
                    }
                    Err(error) => {
                        log::info!("writing with {number} threads: {error}");
                        break;
                    }
                }
            }
            drop(to_write);
            for (source, supply) in supplies.iter_mut().enumerate() {
                let arrived = arrived.clone();
                let peer = supply.peer().clone();
                let work = move || Worker::new(self, source, arrived).run(supply);
                if let Err(error) = threads::start_in(scope, format!("gather-{peer}"), work) {
                    self.lose(&peer, SourceError::NoThread(error));
                    self.leave(source);
                }
            }
            drop(arrived);
        });
    }

    /// A source is of no use any more.
    pub(super) fn lose(&self, peer: &PeerId, error: SourceError) {
        (self.observer)(Event::SourceLost { peer: peer.clone(), reason: error.to_string() });
        self.record.lose(peer, error);
    }

    /// Nothing more comes from a source.
    pub(super) fn leave(&self, source: usize) {
        locked(&self.batches).leave(source, true);
        self.changed.notify_all();
        if let Some(counter) = self.counters.get(source) {
            counter.end();
        }
        if locked(&self.batches).is_complete() {
            self.end();
        }
    }

    fn fail(&self, error: TransferError) {
        locked(&self.record.fatal).get_or_insert(error);
        self.end();
    }

    pub(super) fn end(&self) {
        self.cancel.cancel();
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Takes what needs no fetching: empty files, and what an earlier attempt left.
    fn take_what_is_here(&self, mut salvage: Salvage) {
        let Some(mut group) = self.group() else { return };
        for (content, small) in self.contents.iter().enumerate() {
            let bytes =
                if small.length == 0 { Some(Vec::new()) } else { salvage.take(&small.root) };
            let Some(bytes) = bytes else { continue };
            for whole in whole::prove(&[(small.root, &bytes)]).into_iter().flatten() {
                if locked(&self.batches).landed(content) {
                    self.progress.resume_more(small.length);
                    self.put(&mut group, small, &whole);
                }
            }
        }
        self.settle(&mut group);
    }

    pub(super) fn contributed(&self, source: usize) -> u64 {
        self.counters.get(source).map_or(0, |counter| counter.bytes())
    }

    fn group(&self) -> Option<Group> {
        self.store.group(self.replace).map_err(|error| self.fail(error.into())).ok()
    }

    /// One writing thread: until every source has ended.
    fn write_all(&self, to_write: &Receiver<Arrived>) {
        let Some(mut group) = self.group() else { return };
        loop {
            match to_write.recv_timeout(config::GROUP_TIME) {
                Ok(arrived) => self.prove(&mut group, arrived),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if group.is_due() {
                self.settle(&mut group);
            }
        }
        self.settle(&mut group);
    }

    fn prove(&self, group: &mut Group, arrived: Arrived) {
        let Arrived { source, contents, payload, bad } = arrived;
        let (mut files, mut rest) = (Vec::with_capacity(contents.len()), &payload[..]);
        for (content, length) in contents {
            let Some((bytes, more)) = rest.split_at_checked(length) else { break };
            rest = more;
            if let Some(small) = self.contents.get(content)
                && locked(&self.batches).is_wanted(content)
            {
                files.push((content, small, bytes));
            }
        }
        let claims: Vec<(Root, &[u8])> =
            files.iter().map(|(_, small, bytes)| (small.root, *bytes)).collect();
        let proven = whole::prove(&claims);
        let (mut landed, mut sum) = (Vec::with_capacity(files.len()), 0);
        {
            let mut batches = locked(&self.batches);
            for ((content, small, bytes), whole) in files.into_iter().zip(proven) {
                match whole {
                    Some(whole) if batches.landed(content) => {
                        sum += bytes.len() as u64;
                        landed.push((small, whole));
                    }
                    Some(_) => {}
                    None => {
                        batches.missed(content, source);
                        self.bad_came.store(true, Relaxed);
                        // A worker that has left already needs no word.
                        let _ = bad.try_send(());
                    }
                }
            }
        }
        if let Some(counter) = self.counters.get(source) {
            counter.add(sum);
        }
        self.record.outcome().bytes += sum;
        landed.iter().for_each(|(small, whole)| self.put(group, small, whole));
        self.changed.notify_all();
        if locked(&self.batches).is_complete() {
            self.end();
        }
    }

    fn put(&self, group: &mut Group, small: &Small, whole: &WholeFile<'_>) {
        for (name, attributes) in &small.names {
            match group.put(name, whole, attributes) {
                Ok(()) => {}
                Err(error) if error.is_no_space() => return self.fail(error.into()),
                Err(error) => self.record.fail(name, error.into()),
            }
        }
    }

    fn settle(&self, group: &mut Group) {
        let mut received = 0;
        for (name, result) in group.settle() {
            match result {
                Ok(()) => received += 1,
                Err(StoreError::InTheWay { .. }) => self.record.fail(&name, FileError::InTheWay),
                Err(error) => self.record.fail(&name, error.into()),
            }
        }
        self.record.outcome().received += received;
        self.progress.completed(received);
    }

    fn tell_failures(&self) {
        let failed: Vec<Content> = locked(&self.batches).failed().collect();
        if failed.is_empty() {
            return;
        }
        let (mut why, mut passing) = (Vec::new(), false);
        let mut integrity = self.bad_came.load(Relaxed);
        for (peer, error) in &self.record.outcome().lost {
            why.push(format!("{peer}: {error}"));
            integrity |= error.is_integrity();
            passing |= error.is_passing() || matches!(error, SourceError::GaveUp { .. });
        }
        if integrity && why.is_empty() {
            why.push("what came is not what it was said to be".to_owned());
        }
        let why = why.join("; ");
        let error = || match why.is_empty() {
            true => FileError::NoSource,
            false => FileError::Lost { why: why.clone(), integrity, passing },
        };
        for small in failed.into_iter().filter_map(|content| self.contents.get(content)) {
            small.names.iter().for_each(|(name, _)| self.record.fail(name, error()));
        }
    }
}
