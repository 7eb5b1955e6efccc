//! Fetching a file while the only peer that has it still hashes it.
//!
//! Nothing of what comes counts before that peer has said what the file is: see [`EarlyPart`]. Here
//! it is fetched by the same engine as everything else, over a connection of its own, until the
//! other side has hashed it or another peer turns out to know it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::engine::Fetch;
use super::framed::{Caller, FramedPeer};
use super::job::file::Unhashed;
use super::outage::Waits;
use super::progress::{Progress, Snapshot};
use crate::content::FileName;
use crate::store::{EarlyPart, StoreError};
use crate::topology::Peer;
use crate::transport::Cancel;

/// Fetches one file by its name, from the first peer that says that it is hashing it.
pub struct Early<'a> {
    /// Begins the file, of a length in bytes, as
    /// [`Store::receive_early`](crate::store::Store::receive_early).
    pub begin: &'a (dyn Fn(u64) -> Result<Option<EarlyPart>, StoreError> + Sync),
    /// What the file is called.
    pub name: &'a FileName,
    /// Who asks.
    pub caller: &'a Caller,
    /// How long the peer may send nothing before it counts as stalled.
    pub waits: Waits,
    /// Is told now and then where the transfer stands.
    pub watch: &'a (dyn Fn(&Snapshot) + Sync),
    /// Some peer was chosen.
    chosen: AtomicBool,
    begun: OnceLock<Begun>,
}

/// What came early.
pub struct Begun {
    /// The file.
    pub part: EarlyPart,
    /// From whom, and since when; for going on with it.
    pub progress: Progress,
}

impl<'a> Early<'a> {
    /// Nothing is made before a peer says that it is hashing.
    pub fn new(
        begin: &'a (dyn Fn(u64) -> Result<Option<EarlyPart>, StoreError> + Sync),
        name: &'a FileName,
        caller: &'a Caller,
        waits: Waits,
        watch: &'a (dyn Fn(&Snapshot) + Sync),
    ) -> Self {
        Self {
            begin,
            name,
            caller,
            waits,
            watch,
            chosen: AtomicBool::default(),
            begun: OnceLock::new(),
        }
    }

    /// Fetches from `peer`, which says that the file has that many bytes, until `cancel`. Does
    /// nothing where another peer was chosen before. Failures are no more than a pity.
    pub(super) fn fetch(&self, peer: &Peer, length: u64, cancel: &Cancel) {
        if self.chosen.swap(true, Ordering::Relaxed) {
            return;
        }
        let part = match (self.begin)(length) {
            Ok(Some(part)) => part,
            Ok(None) => return,
            Err(error) => {
                return log::info!("{} is not fetched before it is hashed: {error}", self.name);
            }
        };
        let Begun { part, progress } =
            self.begun.get_or_init(|| Begun { part, progress: Progress::new(length) });
        let left = part.left().iter().map(|index| part.layout().chunk_len(index) as u64).sum();
        progress.resume(left);
        let source = FramedPeer::new(peer.clone(), self.caller.clone(), None);
        let job = &Unhashed { part, name: self.name };
        let (waits, observer) = (self.waits, &|_| ());
        let sources: Vec<Box<dyn super::Dial>> = vec![Box::new(source)];
        if let Err(error) =
            (Fetch { job, sources, progress, cancel, waits, observer, swarm: None }).run()
        {
            log::debug!("{} came early up to {} bytes: {error}", self.name, progress.done());
        }
    }

    /// Where the transfer stands, for whoever watches.
    pub(super) fn show(&self) {
        if let Some(begun) = self.begun.get() {
            (self.watch)(&begun.progress.snapshot());
        }
    }

    /// What came, if anything was begun.
    pub fn into_begun(self) -> Option<Begun> {
        self.begun.into_inner()
    }
}
