//! The settings while a server runs: read again when the file was edited, or when somebody asks.

use std::sync::{Arc, Mutex};

use crate::locks::lock;
use crate::topology::{Peer, PeerId, Topology, TopologyFile};

/// The file with the peers, and who follows its edits.
pub(super) struct Settings {
    file: TopologyFile,
    /// The topology that sessions go by.
    followed: Option<Arc<Mutex<Topology>>>,
    /// Our own line, as it is followed.
    own: Option<Peer>,
}

impl Settings {
    /// `followed` is kept like the file from now on; `own` is who we are.
    pub(super) fn new(
        file: TopologyFile,
        followed: Option<Arc<Mutex<Topology>>>,
        own: Option<&PeerId>,
    ) -> Self {
        let own = own.and_then(|own| file.current().find(own).cloned());
        Self { file, followed, own }
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
    fn take_up<E: std::fmt::Display>(&mut self, why: Result<Option<&str>, E>) {
        match why {
            Ok(None) => {}
            Ok(Some(why)) => {
                let current = self.file.current();
                if let Some(followed) = &self.followed {
                    *lock(followed) = current.clone();
                }
                let peers: Vec<String> =
                    current.peers().iter().map(|peer| peer.to_string()).collect();
                log::info!(
                    "{} {why}; peers are now: {}",
                    self.file.path().display(),
                    peers.join(", ")
                );
                self.compare_own();
            }
            Err(error) => log::error!("{error}; the peers stay as they were"),
        }
    }

    /// The port is bound for as long as the server runs, so another one in the own line needs a
    /// restart.
    fn compare_own(&mut self) {
        let Some(own) = &self.own else { return };
        match self.file.current().find(&own.id) {
            None => log::warn!(
                "{} is not listed any more; other peers will not find this server",
                own.id
            ),
            Some(now) if now != own => {
                log::warn!("the settings now say {now}; restart the server for it to listen there");
                self.own = Some(now.clone());
            }
            Some(_) => {}
        }
    }
}
