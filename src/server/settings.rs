//! The settings while a server runs: read again when the file was edited, or when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use crate::topology::{Topology, TopologyFile};

/// The file with the peers, and who follows its edits.
pub(super) struct Settings {
    file: TopologyFile,
    /// The topology that sessions go by.
    followed: Option<Arc<Mutex<Topology>>>,
}

impl Settings {
    /// `followed` is kept like the file from now on.
    pub(super) fn new(file: TopologyFile, followed: Option<Arc<Mutex<Topology>>>) -> Self {
        Self { file, followed }
    }

    /// Takes up an edit, if there was one.
    pub(super) fn look(&mut self) {
        let reloaded = self.file.reload();
        self.take_up(reloaded.map(|changed| changed.then_some("was edited")));
    }

    /// Reads the file again, and says in the log what came of it.
    pub(super) fn read_again(&mut self) {
        let reloaded = self.file.read_again();
        self.take_up(reloaded.map(|_| Some("was read again")));
    }

    /// Makes the topology of the file that in force; `why` is worth a line.
    fn take_up<E: std::fmt::Display>(&self, why: Result<Option<&str>, E>) {
        match why {
            Ok(None) => {}
            Ok(Some(why)) => {
                let current = self.file.current();
                if let Some(followed) = &self.followed {
                    *followed.lock().unwrap_or_else(PoisonError::into_inner) = current.clone();
                }
                let peers: Vec<String> = current.peers().iter().map(|peer| peer.to_string()).collect();
                log::info!("{} {why}; peers are now: {}", self.file.path().display(), peers.join(", "));
            }
            Err(error) => log::error!("{error}; the peers stay as they were"),
        }
    }
}
