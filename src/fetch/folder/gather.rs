//! Small contents, many with one request: a thread a source asks and reads, a few prove and write.
//!
//! What is in memory is bounded: an answer is at most [`config::GATHER_BYTES`] long, every source's
//! thread has one in hand, and two for each writing thread wait in the channel between them.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::batches::{Batches, Content, Lease};
use super::plan::{Plan, Small};
use super::supply::Supply;
use super::{FileError, FolderFetch, Record, locked};
use crate::config;
use crate::content::{Digest, Root, WholeFile, whole};
use crate::fetch::engine::TransferError;
use crate::fetch::progress::{Event, Progress};
use crate::fetch::source::{SourceError, misbehaved};
use crate::store::{Group, Salvage, Store, StoreError};
use crate::transport::Cancel;
use crate::wire::{Request, Response};

/// Fetches all small contents of the plan and gives them their names.
pub(super) fn run(fetch: &mut FolderFetch<'_>, plan: &Plan, record: &Record) {
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
        observer: fetch.observer,
        record,
        cancel,
        stall: fetch.stall,
    };
    gather.take_what_is_here(fetch.store.salvage());
    gather.fetch(&mut supplies);
    if !fetch.cancel.is_cancelled() {
        gather.tell_failures();
    }
    fetch.supplies = supplies;
}

/// What all threads share.
struct Gather<'a> {
    contents: &'a [Small],
    store: &'a Store,
    replace: bool,
    batches: Mutex<Batches>,
    /// The batches have news for sources with nothing to do.
    changed: Condvar,
    progress: &'a Progress,
    observer: &'a (dyn Fn(Event) + Sync),
    record: &'a Record,
    /// Ends this part of the transfer.
    cancel: Cancel,
    stall: Duration,
}

/// An answer as it came, not proven yet.
struct Arrived {
    source: usize,
    /// With the length of each, in the order of the payload.
    contents: Vec<(Content, usize)>,
    payload: Vec<u8>,
    bad: Sender<()>,
}

impl Gather<'_> {
    fn fetch(&self, supplies: &mut [Supply<'_>]) {
        if locked(&self.batches).is_complete() {
            return;
        }
        let writers = thread::available_parallelism().map_or(2, usize::from).min(config::MAX_VERIFIERS);
        let (arrived, to_write) = bounded(2 * writers);
        thread::scope(|scope| {
            for number in 0..writers {
                let to_write = to_write.clone();
                let name = format!("write-{number}");
                let work = move || self.write_all(&to_write);
                self.started(thread::Builder::new().name(name).spawn_scoped(scope, work));
            }
            drop(to_write);
            for (source, supply) in supplies.iter_mut().enumerate() {
                let arrived = arrived.clone();
                let name = format!("gather-{}", supply.peer());
                let work = move || Worker::new(self, source, arrived).run(supply);
                self.started(thread::Builder::new().name(name).spawn_scoped(scope, work));
            }
            drop(arrived);
        });
    }

    fn started<T>(&self, thread: std::io::Result<T>) {
        if let Err(error) = thread {
            let what = "cannot start a thread".to_owned();
            self.fail(TransferError::Store(StoreError::Io { what, error }));
        }
    }

    fn fail(&self, error: TransferError) {
        locked(&self.record.fatal).get_or_insert(error);
        self.end();
    }

    fn end(&self) {
        self.cancel.cancel();
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Takes what needs no fetching: empty files, and what an earlier attempt left.
    fn take_what_is_here(&self, mut salvage: Salvage) {
        let Some(mut group) = self.group() else { return };
        for (content, small) in self.contents.iter().enumerate() {
            let bytes = if small.length == 0 { Some(Vec::new()) } else { salvage.take(&small.root) };
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
        let claims: Vec<(Root, &[u8])> = files.iter().map(|(_, small, bytes)| (small.root, *bytes)).collect();
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
                        // A worker that has left already needs no word.
                        let _ = bad.try_send(());
                    }
                }
            }
        }
        self.progress.add(source, sum);
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
                Err(error @ StoreError::NoSpace { .. }) => return self.fail(error.into()),
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
        for small in failed.into_iter().filter_map(|content| self.contents.get(content)) {
            small.names.iter().for_each(|(name, _)| self.record.fail(name, FileError::NoSource));
        }
    }
}

/// The thread of one source.
struct Worker<'g, 'a> {
    gather: &'g Gather<'a>,
    source: usize,
    arrived: Sender<Arrived>,
    /// A writing thread says here that something of this source was bad.
    bad: (Sender<()>, Receiver<()>),
}

impl<'g, 'a> Worker<'g, 'a> {
    fn new(gather: &'g Gather<'a>, source: usize, arrived: Sender<Arrived>) -> Self {
        Self { gather, source, arrived, bad: bounded(1) }
    }

    /// Uses the source until everything is there or the source is beyond hope.
    fn run(self, supply: &mut Supply<'_>) {
        let (gather, source) = (self.gather, self.source);
        let mut failures = 0;
        while !gather.is_over() {
            let before = gather.progress.of(source);
            let result = self.drain(supply);
            let Err(error) = result else { break };
            supply.hang_up();
            failures = if gather.progress.of(source) > before { 1 } else { failures + 1 };
            let hopeless = !error.is_passing() || !supply.can_redial() || failures > config::SOURCE_RETRIES;
            locked(&gather.batches).leave(source, hopeless);
            gather.changed.notify_all();
            if gather.is_over() {
                break;
            }
            let (peer, reason) = (supply.peer().clone(), error.to_string());
            if hopeless {
                (gather.observer)(Event::SourceLost { peer: peer.clone(), reason });
                gather.record.lose(&peer, error);
                break;
            }
            (gather.observer)(Event::SourceRetried { peer, reason });
            self.pause(config::RETRY_PAUSE * failures);
        }
        locked(&gather.batches).leave(source, true);
        gather.changed.notify_all();
        gather.progress.ended(source);
        if locked(&gather.batches).is_complete() {
            gather.end();
        }
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.gather.is_over() && Instant::now() < until {
            self.wait_for_news();
        }
    }

    fn wait_for_news(&self) {
        let batches = locked(&self.gather.batches);
        let waited = self.gather.changed.wait_timeout(batches, config::IDLE_POLL);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks and reads until nothing is left to do.
    fn drain(&self, supply: &mut Supply<'_>) -> Result<(), SourceError> {
        let _registration = supply.connect(&self.gather.cancel)?;
        loop {
            if self.bad.1.try_recv().is_ok() {
                return Err(SourceError::BadChunk);
            }
            let complete = self.ask(supply)?;
            let oldest = locked(&self.gather.batches).oldest(self.source);
            match oldest {
                Some(batch) => {
                    self.receive(supply, batch)?;
                    supply.report(self.gather.progress)?;
                }
                None if complete || self.gather.is_over() => return Ok(()),
                None => self.wait_for_news(),
            }
        }
    }

    /// Sends requests as long as there is something to ask for. Says whether everything is there.
    fn ask(&self, supply: &mut Supply<'_>) -> Result<bool, SourceError> {
        loop {
            let lease = {
                let mut batches = locked(&self.gather.batches);
                if batches.under_way(self.source) >= config::GATHERS_AHEAD {
                    return Ok(false);
                }
                batches.lease(self.source, Instant::now())
            };
            match lease {
                Lease::Batch(batch) => {
                    let root =
                        |content: &Content| self.gather.contents.get(*content).map(|small| small.root.0);
                    let roots: Vec<Digest> = batch.iter().filter_map(root).collect();
                    supply.connection()?.send(&Request::Gather, &Digest::join(&roots))?;
                }
                Lease::Nothing => return Ok(false),
                Lease::Complete => return Ok(true),
            }
        }
    }

    /// Reads one answer and passes it on.
    fn receive(&self, supply: &mut Supply<'_>, batch: Vec<Content>) -> Result<(), SourceError> {
        let connection = supply.connection()?;
        let head = connection.answer(self.gather.stall)?;
        let lengths = match head.message {
            Response::Gathered { lengths } => lengths,
            Response::Error(refusal) => return Err(refusal.into()),
            other => return Err(misbehaved(format!("{other:?} in answer to gather"))),
        };
        let contents = self.sort(&batch, &lengths, head.payload as usize)?;
        let mut payload = vec![0; head.payload as usize];
        connection.read_payload(&mut payload, self.gather.stall)?;
        let mut batches = locked(&self.gather.batches);
        for (content, length) in batch.into_iter().zip(lengths) {
            if length.is_none() {
                batches.missed(content, self.source);
            }
        }
        batches.answered(self.source);
        let complete = batches.is_complete();
        drop(batches);
        if complete {
            self.gather.end();
        }
        let arrived = Arrived { source: self.source, contents, payload, bad: self.bad.0.clone() };
        // The writing threads live until every worker has dropped its end of the channel.
        let _ = self.arrived.send(arrived);
        Ok(())
    }

    /// Which contents came; an answer that is not what was asked for is an error before its payload is
    /// read.
    fn sort(
        &self,
        batch: &[Content],
        lengths: &[Option<u32>],
        payload: usize,
    ) -> Result<Vec<(Content, usize)>, SourceError> {
        if lengths.len() != batch.len() {
            return Err(misbehaved(format!("{} lengths for {} files", lengths.len(), batch.len())));
        }
        let mut contents = Vec::with_capacity(batch.len());
        let mut sum: usize = 0;
        for (content, length) in batch.iter().zip(lengths) {
            let Some(length) = length.map(|length| length as usize) else { continue };
            let expected = self.gather.contents.get(*content).map(|small| small.length);
            if expected != Some(length as u64) {
                return Err(misbehaved("a file of another length than it was listed with"));
            }
            sum = sum.saturating_add(length);
            contents.push((*content, length));
        }
        match sum == payload {
            true => Ok(contents),
            false => Err(misbehaved(format!("{payload} bytes of files that are {sum} bytes long"))),
        }
    }
}
