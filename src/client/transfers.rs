//! Does the commands: decides whom to ask, has it done, and tells how it went.

use std::path::Path;
use std::sync::OnceLock;

use super::interrupts::Interrupts;
use super::{
    Command, Execute, ExitStatus, Surroundings, classic, download, filelist, folder, targets, upload,
};
use crate::connection::Identity;
use crate::content::pattern::is_pattern;
use crate::fetch::{Caller, SourceError};
use crate::store::{Store, StoreError};
use crate::topology::{Peer, Topology};
use crate::transport::Cancel;
use crate::wire::{ErrorCode, Refusal, WireError};

/// Does listings, uploads and downloads, one after the other.
pub struct Transfers {
    pub(super) surroundings: Surroundings,
    store: OnceLock<Store>,
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

impl Transfers {
    /// Nothing is opened before a command needs it.
    pub fn new(surroundings: Surroundings) -> Self {
        let (classic, interrupts) = (classic::Known::default(), Interrupts::default());
        Self { surroundings, store: OnceLock::new(), classic, interrupts }
    }

    /// The own served folder for what only reads: where there is none, none is made.
    pub(super) fn store_to_read(&self) -> Result<Store, StoreError> {
        if self.store.get().is_none() && !Path::new(&self.surroundings.served_files).exists() {
            return Store::nowhere();
        }
        self.store().cloned()
    }

    /// The own served folder, opened on first use and made where it is missing.
    pub(super) fn store(&self) -> Result<&Store, StoreError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open(Path::new(&self.surroundings.served_files))?;
        Ok(self.store.get_or_init(|| store))
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
            Command::FileList { pattern, null, .. } => filelist::run(&work, pattern.as_deref(), *null),
            Command::Upload { file, replace, except, .. } => match folder::shared(&work, file, except) {
                Some(shared) => folder::upload(&work, shared, *replace),
                None => upload::run(&work, file, *replace),
            },
            Command::Download { wanted, replace, except, .. } if is_pattern(wanted) => {
                folder::download(&work, wanted, except, *replace)
            }
            Command::Download { wanted, replace, .. } => download::run(&work, wanted, *replace),
            Command::Help { .. } | Command::Quit => ExitStatus::Success,
        }
    }
}

impl From<&SourceError> for ExitStatus {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::Unreachable(_) | SourceError::Lost(_) | SourceError::Stalled => Self::Unreachable,
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
            | StoreError::Outside { .. } => Self::Refused,
            StoreError::Changed { .. } => Self::Integrity,
            StoreError::NoSpace { .. } | StoreError::TooLarge { .. } => Self::NoSpace,
            StoreError::Interrupted => Self::Interrupted,
            StoreError::BadName(_) | StoreError::BadPattern { .. } | StoreError::NoFolder { .. } => {
                Self::Usage
            }
            StoreError::Closed { .. } => Self::Refused,
            _ => Self::Failed,
        }
    }
}
