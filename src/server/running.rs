//! Files that are being received by offer at this moment, so that a second offer of the same file
//! joins the transfer that runs instead of being turned away.
//!
//! The first offer of a content [enters](Running::enter) it here before anything else is done for
//! it. Whoever offers it later finds the entry, hands its connection over as one more source, and
//! is told how the transfer ends. An offer that comes too late for that gets its connection back,
//! and its session begins again: then the file is here, or the next transfer is its own.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::config;
use crate::connection::Framed;
use crate::content::{FileName, Manifest, Root};
use crate::fetch::offered::{Joiner, Returned, progress_report};
use crate::fetch::{Late, Progress};
use crate::locks::{lock, wait_timeout_while};
use crate::topology::PeerId;
use crate::transport::Closer;
use crate::wire::{ErrorCode, Refusal, Report, Request, WireError};

/// The transfers under way, by content.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<Root, Arc<Transfer>>>);

/// One of them.
pub(super) struct Transfer {
    pub(super) manifest: Arc<Manifest>,
    pub(super) progress: Arc<Progress>,
    /// Where further sources go in.
    late: Sender<Late>,
    outcome: Mutex<Option<Result<(), Refusal>>>,
    ended: Condvar,
    /// Ends the connection of the first offer.
    holder: Mutex<Option<Closer>>,
}

/// The right to receive a content; whoever offers it too comes in here. Ends with the entry.
pub(super) struct Place<'r> {
    running: &'r Running,
    pub(super) transfer: Arc<Transfer>,
    pub(super) late: Receiver<Late>,
}

/// Where an offer of some content stands.
pub(super) enum Entry<'r> {
    /// It is the first.
    First(Place<'r>),
    /// The content is being received already.
    Joins(Arc<Transfer>),
    /// Other content is being received under that name, or the content under another name.
    Clashes(Arc<Transfer>),
}

impl Running {
    /// Enters an offer.
    pub(super) fn enter(&self, manifest: &Arc<Manifest>) -> Entry<'_> {
        let mut transfers = lock(&self.0);
        if let Some(transfer) = transfers.get(&manifest.root()) {
            let same = transfer.manifest.name() == manifest.name();
            return if same {
                Entry::Joins(transfer.clone())
            } else {
                Entry::Clashes(transfer.clone())
            };
        }
        if let Some(other) =
            transfers.values().find(|other| other.manifest.name() == manifest.name())
        {
            return Entry::Clashes(other.clone());
        }
        let (give, late) = unbounded();
        let transfer = Arc::new(Transfer {
            manifest: manifest.clone(),
            progress: Arc::new(Progress::new(manifest.length())),
            late: give,
            outcome: Mutex::default(),
            ended: Condvar::new(),
            holder: Mutex::default(),
        });
        transfers.insert(manifest.root(), transfer.clone());
        Entry::First(Place { running: self, transfer, late })
    }
}

impl Place<'_> {
    /// Tells all who joined how it ended.
    pub(super) fn end(&self, outcome: Result<(), Refusal>) {
        lock(&self.transfer.outcome).get_or_insert(outcome);
        self.transfer.ended.notify_all();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Whoever is sent away with the receiver must not find the entry again.
        lock(&self.running.0).remove(&self.transfer.manifest.root());
        let message = format!("{} could not be received; try again", self.transfer.manifest.name());
        self.end(Err(Refusal { code: ErrorCode::Internal, message }));
    }
}

impl Transfer {
    /// What is in the way of the offer of another content, or under another name.
    pub(super) fn clash(&self, offered: &FileName) -> Refusal {
        let own = &self.manifest;
        let message = match own.name() == offered {
            true => format!(
                "currently receiving another file of that name ({} bytes, id {})",
                own.length(),
                own.root().short()
            ),
            false => format!("currently receiving that file as {}", own.name()),
        };
        Refusal { code: ErrorCode::Receiving, message }
    }

    /// The transfer fetches over the connection that this closes.
    pub(super) fn held_by(&self, holder: Closer) {
        *lock(&self.holder) = Some(holder);
    }

    /// Ends the transfer in favour of another file when it is slower than `least`, in bytes a
    /// second: who holds a name must not take for ever. Says whether it has ended.
    pub(super) fn gives_way(&self, least: u32) -> bool {
        let snapshot = self.progress.snapshot();
        let fresh = snapshot.done.saturating_sub(snapshot.resumed);
        let chunk = self.manifest.layout().chunk_size();
        let Some(holder) = lock(&self.holder).clone() else { return false };
        if !is_slow(fresh, snapshot.elapsed, chunk, least) {
            return false;
        }
        log::warn!(
            "{} came too slowly, and another file is to have its name",
            self.manifest.name()
        );
        holder.close();
        let runs = |outcome: &mut Option<_>| outcome.is_none();
        !wait_timeout_while(&self.ended, lock(&self.outcome), config::GIVE_WAY, runs).1
    }

    /// Has the transfer fetch from this connection too, and tells the other side how it ended.
    /// Gives the connection back, and whether that was done: not when the transfer had ended
    /// already.
    pub(super) fn join(
        &self,
        (peer, connection): (PeerId, Framed),
        swarm: bool,
    ) -> Result<(Framed, bool), WireError> {
        let (back, returned) = bounded(1);
        let progress = self.progress.clone();
        let joiner = Joiner::new((peer.clone(), connection), progress, back);
        // One that cannot be sent any more is dropped, and so comes back all the same.
        let _ = self.late.send(Late { dial: Box::new(joiner), swarm });
        let Returned { mut connection, was_let_in } =
            returned.recv().map_err(|_| WireError::Closed)?;
        if was_let_in {
            let outcome = self.wait(&mut connection, &peer)?;
            report_end(&mut connection, &self.progress, &peer, outcome)?;
        }
        Ok((connection, was_let_in))
    }

    /// Waits for the end, telling the other side that we are alive.
    fn wait(
        &self,
        connection: &mut Framed,
        peer: &PeerId,
    ) -> Result<Result<(), Refusal>, WireError> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return Ok(outcome.clone());
            }
            let runs = |outcome: &mut Option<_>| outcome.is_none();
            let (after, still_runs) =
                wait_timeout_while(&self.ended, outcome, config::HEARTBEAT, runs);
            outcome = after;
            if still_runs {
                drop(outcome);
                let report = progress_report(&self.progress, peer);
                connection.send(&Request::Report { report }, &[])?;
                outcome = lock(&self.outcome);
            }
        }
    }
}

/// Whether so many verified bytes in that time are less than `least` a second, with what may be
/// under way.
fn is_slow(fresh: u64, elapsed: Duration, chunk: u32, least: u32) -> bool {
    /// Chunks that are asked for ahead of those that have come.
    const UNDER_WAY: u64 = 4;
    let due = elapsed.as_secs_f64() * f64::from(least);
    (fresh.saturating_add(UNDER_WAY * u64::from(chunk)) as f64) < due
}

/// Tells the side that offered how it ended.
pub(super) fn report_end(
    connection: &mut Framed,
    progress: &Progress,
    peer: &PeerId,
    outcome: Result<(), Refusal>,
) -> Result<(), WireError> {
    match outcome {
        Ok(()) => {
            connection.send(&Request::Report { report: progress_report(progress, peer) }, &[])?;
            connection.send(&Request::Report { report: Report::Finished }, &[])
        }
        Err(refusal) => {
            connection.send(&Request::Report { report: Report::Failed(refusal) }, &[])?;
            // Answers to our requests may still be under way; nobody could tell them apart.
            connection.closer().close();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_what_brings_less_than_chunks_that_may_be_under_way() {
        let after = |seconds, fresh| {
            is_slow(fresh, Duration::from_secs(seconds), 256 << 10, config::SLOWEST_RATE)
        };
        assert!(!after(60, 0), "four chunks may be on their way");
        assert!(after(70, 0));
        assert!(!after(70, 256 << 10));
        assert!(after(3600, 50 << 20));
        assert!(!after(3600, 60 << 20));
    }
}
