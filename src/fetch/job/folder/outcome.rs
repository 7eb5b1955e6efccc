//! How the transfer of a folder ended, and why single files of it were not received.

use crate::config;
use crate::content::{FileName, Omissions, Root};
use crate::fetch::engine::TransferError;
use crate::fetch::source::SourceError;
use crate::store::StoreError;
use crate::topology::PeerId;

/// How the transfer of a folder ended.
#[derive(Debug, Default)]
pub struct FolderOutcome {
    /// Files and folders that the sources listed.
    pub listed: u64,
    /// Files that were received.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were here already.
    pub here: u64,
    /// Files that could not be received.
    pub failed: u64,
    /// Which, and why: the first of them, and one of each kind.
    pub failures: Vec<(FileName, FileError)>,
    /// What each source cannot serve, where that is anything.
    pub left_out: Vec<(PeerId, Omissions)>,
    /// Sources that could not be used to the end.
    pub lost: Vec<(PeerId, SourceError)>,
}

/// Why one file of a folder was not received.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The sources have different contents of that name.
    #[error("it is not the same file at all peers: {}", describe(.0))]
    Conflict(Vec<(PeerId, Version)>),
    /// Another file of that name is here.
    #[error("another file of that name is here; --replace overwrites it")]
    InTheWay,
    /// It is being received by somebody else.
    #[error("it is being received already, by this peer's server or another client")]
    Busy,
    /// All that had it are lost, or have it no more.
    #[error("no peer has it any more; it may have been changed meanwhile")]
    NoSource,
    /// All that had it are lost, for these reasons.
    #[error("no source is left: {why}")]
    Lost {
        /// Each with its reason.
        why: String,
        /// One of them sent other bytes than it said.
        integrity: bool,
        /// One of them may be back later.
        passing: bool,
    },
    /// The transfer of a large file failed.
    #[error(transparent)]
    Transfer(TransferError),
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a name is at one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A folder.
    Folder,
    /// A file of that length in bytes, and its content where that is known.
    File(u64, Option<Root>),
}

fn describe(versions: &[(PeerId, Version)]) -> String {
    let one = |(peer, version): &(PeerId, Version)| match version {
        Version::Folder => format!("a folder at {peer}"),
        Version::File(length, Some(root)) => format!("{} ({length} bytes) at {peer}", root.short()),
        Version::File(length, None) => format!("{length} bytes at {peer}"),
    };
    versions.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl FolderOutcome {
    /// A file could not be received.
    pub(super) fn fail(&mut self, name: &FileName, error: FileError) {
        self.failed += 1;
        let kind = std::mem::discriminant(&error);
        let is_known = |(_, known): &(FileName, FileError)| std::mem::discriminant(known) == kind;
        // Whoever lists a million files and has none of them does not fill our memory.
        if self.failures.len() < config::FAILURES_KEPT || !self.failures.iter().any(is_known) {
            self.failures.push((name.clone(), error));
        }
    }
}
