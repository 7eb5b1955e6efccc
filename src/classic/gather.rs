//! A download from classic peers alone: chunk i comes from peer i mod k, and from others when that
//! peer fails. Nothing proves what comes; sizes are all that can be checked.
//!
//! One thread a peer reads chunks; the calling thread puts them in order and appends them. How far
//! a peer may run ahead of the slowest is bounded, and so is what is kept in memory.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ask::{Asker, check};
use super::assembly::{Assembly, Verdict};
use super::chunks::Chunks;
use super::message::count;
use crate::config;
use crate::content::FileName;
use crate::fetch::{Event, Progress, SourceError, TransferError};
use crate::locks::{lock, wait_timeout};
use crate::store::Incoming;
use crate::threads;
use crate::topology::PeerId;
use crate::transport::Cancel;

/// A download without a manifest.
pub struct Gather<'a> {
    /// Whom to ask; all say that the file has the same length.
    pub from: Vec<Asker>,
    /// What for.
    pub name: &'a FileName,
    /// What they say.
    pub length: u64,
    /// Is kept up to date.
    pub progress: &'a Progress,
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Is told what happens.
    pub observer: &'a (dyn Fn(Event) + Sync),
}

/// What a peer's thread has to say.
enum News {
    Chunk { index: u32, data: Option<Vec<u8>> },
    Lost { peer: PeerId, error: SourceError },
}

impl Gather<'_> {
    /// Fetches the whole file into `incoming`, which then only has to be completed.
    pub fn run(&self, incoming: &mut Incoming) -> Result<(), TransferError> {
        if let Some(Err(error)) = self.from.first().map(|_| check(self.name)) {
            return Err(self.no_source(vec![error]));
        }
        let (ending, _registration) = self.cancel.child();
        let shares =
            Shares::new(self.from.len(), count(self.length).unwrap_or(u32::MAX), ending.clone());
        let (tell, news) = bounded(config::CLASSIC_LANES * self.from.len().max(1));
        let mut unstarted = Vec::new();
        thread::scope(|scope| {
            for (slot, asker) in self.from.iter().enumerate() {
                let (shares, tell) = (&shares, tell.clone());
                let asker = Asker { cancel: ending.clone(), ..asker.clone() };
                let work = move || self.read(slot, asker, shares, &tell);
                let name = format!("classic-{}", asker_id(&self.from, slot));
                if let Err(error) = threads::start_in(scope, name, work) {
                    shares.leave(slot, BTreeSet::new());
                    unstarted.push(SourceError::NoThread(error));
                }
            }
            drop(tell);
            let result = self.assemble(incoming, &shares, &news, unstarted);
            ending.cancel();
            shares.changed.notify_all();
            // Threads that still have something to say must not wait for somebody to hear it.
            drop(news);
            result
        })
    }

    /// The thread of one peer.
    fn read(&self, slot: usize, asker: Asker, shares: &Shares, tell: &Sender<News>) {
        let peer = asker.peer.id.clone();
        let mut chunks = Chunks::new(asker, self.name.clone(), self.length);
        let counter = self.progress.join(peer.clone());
        while let Some(run) = shares.take(slot) {
            let mut left: BTreeSet<u32> = run.iter().copied().collect();
            let mut ended = false;
            let result = chunks.read(run.into_iter(), |index, data| {
                left.remove(&index);
                let data = data.map(<[u8]>::to_vec);
                ended |= data.is_none();
                counter.add(data.as_ref().map_or(0, Vec::len) as u64);
                let heard = tell.send(News::Chunk { index, data }).is_ok();
                Ok(heard && !ended)
            });
            if ended {
                break;
            }
            if let Err(error) = result {
                shares.leave(slot, left);
                // Nobody listens any more when the file is complete.
                let _ = tell.send(News::Lost { peer, error });
                break;
            }
        }
        counter.end();
    }

    /// Puts the chunks in order until the file is complete.
    fn assemble(
        &self,
        incoming: &mut Incoming,
        shares: &Shares,
        news: &Receiver<News>,
        mut losses: Vec<SourceError>,
    ) -> Result<(), TransferError> {
        let (mut assembly, mut end) = (Assembly::new(Some(self.length)), None);
        while !assembly.is_complete() && end.is_none_or(|end| assembly.next() < end) {
            match news.recv() {
                Ok(News::Chunk { index, data: Some(data) }) => {
                    let ready = assembly.take(index, &data);
                    let ready = ready.ok_or_else(|| self.no_source(vec![SourceError::Changed]))?;
                    incoming.append(&ready)?;
                    shares.written(assembly.next());
                }
                Ok(News::Chunk { index, data: None }) => {
                    end = Some(end.map_or(index, |end: u32| end.min(index)));
                }
                Ok(News::Lost { peer, error }) => {
                    (self.observer)(Event::SourceLost { peer, reason: error.to_string() });
                    losses.push(error);
                }
                Err(_) if self.cancel.is_cancelled() => return Err(TransferError::Interrupted),
                Err(_) => return Err(self.no_source(losses)),
            }
        }
        match assembly.verdict() {
            Verdict::Whole => Ok(()),
            Verdict::WithoutReturns => Ok(incoming.put_returns_back()?),
            Verdict::Wrong => Err(self.no_source(vec![SourceError::Changed])),
        }
    }

    fn no_source(&self, errors: Vec<SourceError>) -> TransferError {
        let peers = self.from.iter().map(|asker| asker.peer.id.clone());
        TransferError::NoSource(peers.zip(errors).collect())
    }
}

fn asker_id(askers: &[Asker], slot: usize) -> &str {
    askers.get(slot).map_or("", |asker| asker.peer.id.as_str())
}

/// Who reads which chunk.
struct Shares {
    state: Mutex<State>,
    changed: Condvar,
    step: u32,
    count: u32,
    ending: Cancel,
}

struct State {
    /// The next chunk of each peer's own share.
    next: Vec<u32>,
    /// The peers that have left; what is left of their shares is everybody's.
    gone: BTreeSet<usize>,
    /// Chunks that such a peer had taken and did not get to.
    given_back: BTreeSet<u32>,
    /// The chunk that is due.
    due: u32,
}

impl Shares {
    fn new(peers: usize, count: u32, ending: Cancel) -> Self {
        let next = (0..peers as u32).collect();
        let state = State { next, gone: BTreeSet::new(), given_back: BTreeSet::new(), due: 0 };
        let state = Mutex::new(state);
        Self { state, changed: Condvar::new(), step: peers as u32, count, ending }
    }

    /// The next chunks for a peer, in their order; waits while there may be some. `None` at the
    /// end.
    fn take(&self, slot: usize) -> Option<Vec<u32>> {
        let mut state = self.state();
        loop {
            if self.ending.is_cancelled() {
                return None;
            }
            let run = state.take(slot, self);
            if !run.is_empty() {
                return Some(run);
            }
            state = wait_timeout(&self.changed, state, config::IDLE_POLL);
        }
    }

    /// A peer has failed: its share goes to the others.
    fn leave(&self, slot: usize, left: BTreeSet<u32>) {
        let mut state = self.state();
        state.given_back.extend(left);
        state.gone.insert(slot);
        drop(state);
        self.changed.notify_all();
    }

    /// All chunks before this one are in their place.
    fn written(&self, due: u32) {
        self.state().due = due;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// As many chunks as may be read now, at most a run that keeps the lanes busy.
    fn take(&mut self, slot: usize, shares: &Shares) -> Vec<u32> {
        let limit = shares.count.min(self.due.saturating_add(config::CLASSIC_WINDOW));
        let most = 16 * config::CLASSIC_LANES;
        let gone = &self.gone;
        let open = self
            .next
            .iter_mut()
            .enumerate()
            .filter(|(owner, _)| *owner == slot || gone.contains(owner));
        let Some((_, next)) = open.min_by_key(|(_, next)| **next) else { return Vec::new() };
        let before = limit.min(*next);
        let mut run: Vec<u32> = self.given_back.range(..before).take(most).copied().collect();
        for index in &run {
            self.given_back.remove(index);
        }
        if run.is_empty() {
            run = (*next..limit).step_by(shares.step as usize).take(most).collect();
            *next = run.last().map_or(*next, |last| last.saturating_add(shares.step));
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_go_round_and_a_lost_peers_share_goes_to_the_others() {
        let shares = Shares::new(2, 200, Cancel::new());
        let first = shares.take(0).unwrap();
        assert_eq!(first[..3], [0, 2, 4]);
        assert_eq!(shares.take(1).unwrap()[..3], [1, 3, 5]);
        shares.leave(0, first.into_iter().skip(2).collect());
        let mut rest = Vec::new();
        while rest.len() + 2 + 64 < 200 {
            rest.extend(shares.take(1).unwrap());
        }
        rest.sort();
        rest.dedup();
        assert_eq!(rest.len() + 2 + 64, 200);
        shares.ending.cancel();
        assert_eq!(shares.take(1), None);
    }

    #[test]
    fn a_peer_that_boasts_of_a_huge_file_and_leaves_costs_no_memory() {
        let shares = Shares::new(2, u32::MAX, Cancel::new());
        let taken = shares.take(0).unwrap();
        shares.leave(0, taken.iter().copied().collect());
        assert_eq!(shares.take(1), Some(vec![0]));
        assert_eq!(shares.state().given_back.len(), taken.len() - 1);
    }

    #[test]
    fn nobody_runs_too_far_ahead_of_what_is_written() {
        let shares = Shares::new(1, u32::MAX, Cancel::new());
        let mut taken = 0;
        while taken < config::CLASSIC_WINDOW {
            taken += shares.take(0).unwrap().len() as u32;
        }
        assert_eq!(taken, config::CLASSIC_WINDOW);
        shares.written(1);
        assert_eq!(shares.take(0), Some(vec![config::CLASSIC_WINDOW]));
    }
}
