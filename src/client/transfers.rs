//! Does the commands: decides whom to ask, has it done, and tells how it went.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::interrupts::Interrupts;
use super::local::Given;
use super::{
    Command, Execute, ExitStatus, Surroundings, classic, filelist, folder, local, meaning, shown, targets,
    upload,
};
use crate::connection::Identity;
use crate::fetch::{Caller, SourceError};
use crate::store::{Store, StoreError};
use crate::topology::{Peer, PeerId, Topology};
use crate::transport::Cancel;
use crate::wire::{ErrorCode, Refusal, WireError};

/// Does listings, uploads and downloads, one after the other.
pub struct Transfers {
    pub(super) surroundings: Surroundings,
    store: Mutex<Option<Store>>,
    pub(super) classic: classic::Known,
    interrupts: Interrupts,
}

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
}

impl Work<'_> {
    /// The peers of these ids.
    pub(super) fn named(&self, failures: Vec<(PeerId, SourceError)>) -> Vec<(Peer, SourceError)> {
        let peer = |id: &PeerId| self.peers.iter().find(|peer| peer.id == *id).cloned();
        failures.into_iter().filter_map(|(id, error)| Some((peer(&id)?, error))).collect()
    }

    /// The same with other peers.
    pub(super) fn among(&self, peers: Vec<Peer>) -> Work<'_> {
        let (caller, cancel) = (self.caller.clone(), self.cancel.clone());
        Work { transfers: self.transfers, peers, topology: self.topology, caller, cancel, swarm: self.swarm }
    }
}

impl Transfers {
    /// Nothing is opened before a command needs it.
    pub fn new(surroundings: Surroundings) -> Self {
        let (classic, interrupts) = (classic::Known::default(), Interrupts::default());
        Self { surroundings, store: Mutex::default(), classic, interrupts }
    }

    /// The own served folder for what only reads: where there is none, none is made.
    pub(super) fn store_to_read(&self) -> Result<Store, StoreError> {
        if self.opened().is_none() && !Path::new(&self.surroundings.served_files).exists() {
            return Store::nowhere();
        }
        self.store()
    }

    /// The own served folder, opened on first use and made where it is missing.
    pub(super) fn store(&self) -> Result<Store, StoreError> {
        let mut opened = self.opened();
        if let Some(store) = &*opened {
            return Ok(store.clone());
        }
        let store = Store::open(Path::new(&self.surroundings.served_files))?;
        *opened = Some(store.clone());
        Ok(store)
    }

    /// Removes the served folder that a command made and that nothing came into.
    fn leave_nothing(&self) {
        if let Some(store) = self.opened().take() {
            store.leave_nothing();
        }
    }

    fn opened(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Execute for Transfers {
    fn execute(&mut self, command: &Command, topology: &Topology) -> ExitStatus {
        let named = match command {
            Command::FileList { peers, .. }
            | Command::Upload { peers, .. }
            | Command::Download { peers, .. } => peers,
            Command::Help { .. } | Command::Quit => return ExitStatus::Success,
        };
        let own = self.surroundings.own.as_ref();
        let bars = &self.surroundings.bars;
        // A word that no peer is called by may be a file.
        let (mut named, mut file) = (named.clone(), None);
        if let Command::FileList { pattern: None, .. } = command
            && let [only] = &named.iter().filter(|id| topology.find(id).is_none()).collect::<Vec<_>>()[..]
        {
            file = Some((*only).clone());
            named.retain(|id| topology.find(id).is_some());
        }
        let named = &named;
        let peers = match targets(named, topology, own) {
            Ok(peers) => peers,
            Err(error) => {
                bars.error(&error.to_string());
                return ExitStatus::Usage;
            }
        };
        let cancel = Cancel::new();
        let _watched = self.interrupts.watch(&cancel);
        let identity = Identity { peer: own.cloned(), read_only: false };
        let caller = Caller { identity, network: self.surroundings.network.clone() };
        let swarm = match command {
            Command::Upload { swarm, .. } | Command::Download { swarm, .. } => *swarm,
            _ => false,
        };
        let work = Work { transfers: self, peers, topology, caller, cancel, swarm };
        match command {
            Command::FileList { pattern, null, .. } => {
                let no_peer = file.as_ref().map(|file| targets::unknown(file, topology));
                let typed = pattern.as_deref().or(file.as_ref().map(PeerId::as_str));
                filelist::run(&work, typed, *null, no_peer.as_ref())
            }
            Command::Upload { file, replace, except, .. } => match local::find(&work, file, except) {
                Ok(Given::Several(several)) => folder::upload(&work, several, *replace),
                Ok(Given::Served(name)) => upload::run(&work, upload::From::Served(name), *replace),
                Ok(Given::Elsewhere(path)) => upload::run(&work, upload::From::Elsewhere(path), *replace),
                Err(error) => {
                    bars.error(&format!("cannot upload {}: {}", shown(file), shown(&error.to_string())));
                    ExitStatus::from(&error)
                }
            },
            Command::Download { wanted, replace, except, .. } => {
                let was_there = Path::new(&self.surroundings.served_files).exists();
                let status = meaning::download(&work, wanted, except, *replace);
                if !was_there {
                    self.leave_nothing();
                }
                status
            }
            Command::Help { .. } | Command::Quit => ExitStatus::Success,
        }
    }
}

impl From<&SourceError> for ExitStatus {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::Unreachable(_)
            | SourceError::Lost(_)
            | SourceError::Stalled
            | SourceError::GaveUp { .. } => Self::Unreachable,
            SourceError::Refused(refusal) => refusal.into(),
            SourceError::AnotherPeer(_) => Self::Refused,
            SourceError::Changed | SourceError::BadChunk => Self::Integrity,
            SourceError::NotServing | SourceError::NotYet => Self::NoSuchFile,
            SourceError::Foreign(WireError::NoGreeting(_)) => Self::Unreachable,
            SourceError::Misbehaved(_) | SourceError::Foreign(_) => Self::Failed,
        }
    }
}

impl From<&Refusal> for ExitStatus {
    fn from(refusal: &Refusal) -> Self {
        match refusal.code {
            ErrorCode::NotFound | ErrorCode::NotYet => Self::NoSuchFile,
            ErrorCode::Ambiguous | ErrorCode::Refused | ErrorCode::Receiving | ErrorCode::InTheWay => {
                Self::Refused
            }
            ErrorCode::Changed | ErrorCode::Integrity => Self::Integrity,
            ErrorCode::Busy => Self::Unreachable,
            ErrorCode::NoSpace => Self::NoSpace,
            ErrorCode::BadRequest | ErrorCode::Unsupported | ErrorCode::Internal | ErrorCode::Unknown => {
                Self::Failed
            }
        }
    }
}

impl From<&StoreError> for ExitStatus {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound { .. }
            | StoreError::NoSuchContent { .. }
            | StoreError::NotAFile { .. }
            | StoreError::DeadLink { .. } => Self::NoSuchFile,
            StoreError::InTheWay { .. }
            | StoreError::Blocked { .. }
            | StoreError::NotAFolder { .. }
            | StoreError::Unholdable { .. }
            | StoreError::Outside { .. } => Self::Refused,
            StoreError::Changed { .. } => Self::Integrity,
            StoreError::NoSpace { .. } | StoreError::NoRoom { .. } | StoreError::TooLarge { .. } => {
                Self::NoSpace
            }
            StoreError::Interrupted => Self::Interrupted,
            StoreError::BadName(_) | StoreError::BadPattern { .. } | StoreError::NoFolder { .. } => {
                Self::Usage
            }
            StoreError::Closed { .. } => Self::Refused,
            _ => Self::Failed,
        }
    }
}
