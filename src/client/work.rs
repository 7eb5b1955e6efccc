//! What one command works with.

use super::transfers::Transfers;
use super::{ExitStatus, Layout, shown};
use crate::config;
use crate::content::FileName;
use crate::content::torrent::TorrentFile;
use crate::fetch::{Caller, SourceError, Waits};
use crate::store::{Store, StoreError};
use crate::topology::{Peer, PeerId, Topology};
use crate::transport::Cancel;

/// What one command works with.
pub(super) struct Work<'a> {
    pub(super) transfers: &'a Transfers,
    pub(super) peers: Vec<Peer>,
    /// All peers that there are.
    pub(super) topology: &'a Topology,
    pub(super) caller: Caller,
    pub(super) cancel: Cancel,
    /// Whether peers that fetch the same file pass its chunks on to one another.
    pub(super) swarm: bool,
    /// How long is waited for what.
    pub(super) waits: Waits,
    /// Where downloads go, if not into the own served folder.
    pub(super) to: Option<Store>,
    /// What the one file or folder is called where it arrives.
    pub(super) name: Option<FileName>,
    /// The one content that is wanted, whatever has which name.
    pub(super) described: Option<&'a TorrentFile>,
    /// Nothing is transferred; it is only said what would be.
    pub(super) dry_run: bool,
}

impl Work<'_> {
    /// The peers of these ids.
    pub(super) fn named(&self, failures: Vec<(PeerId, SourceError)>) -> Vec<(Peer, SourceError)> {
        let peer = |id: &PeerId| self.peers.iter().find(|peer| peer.id == *id).cloned();
        failures.into_iter().filter_map(|(id, error)| Some((peer(&id)?, error))).collect()
    }

    /// The same with other peers.
    pub(super) fn among(&self, peers: Vec<Peer>) -> Work<'_> {
        Work {
            peers,
            caller: self.caller.clone(),
            cancel: self.cancel.clone(),
            to: self.to.clone(),
            name: self.name.clone(),
            ..*self
        }
    }

    /// Says to eyes where something of that name was put; programs know.
    pub(super) fn where_it_lies(&self, name: &str) -> String {
        match (self.transfers.surroundings.audience.layout(), self.store()) {
            (Layout::Aligned, Ok(store)) => {
                format!("; it lies in {}", shown(&store.folder().join(name).display().to_string()))
            }
            _ => String::new(),
        }
    }

    /// Where what is downloaded goes.
    pub(super) fn store(&self) -> Result<Store, StoreError> {
        self.to.clone().map_or_else(|| self.transfers.store(), Ok)
    }
}

/// Does it again while peers cannot be reached, so many times.
pub(super) fn retried(
    times: u32,
    work: &Work<'_>,
    mut attempt: impl FnMut() -> ExitStatus,
) -> ExitStatus {
    let mut status = attempt();
    for time in 1..=times {
        if status != ExitStatus::Unreachable || work.cancel.wait(config::COMMAND_PAUSE) {
            break;
        }
        work.transfers.surroundings.audience.note(&format!("trying again, {time} of {times}"));
        status = attempt();
    }
    status
}

/// Does the same with each; the first failure counts, and an interruption ends it.
pub(super) fn one_after_the_other<T>(
    all: impl IntoIterator<Item = T>,
    cancel: &Cancel,
    mut each: impl FnMut(T) -> ExitStatus,
) -> ExitStatus {
    let mut outcomes = Vec::new();
    for one in all {
        outcomes.push(each(one));
        if cancel.is_cancelled() {
            break;
        }
    }
    ExitStatus::of_peers(outcomes)
}
