//! How the fetching of an offer goes, as it stands in the JSON headers of frames.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::content::FileName;

/// A file that could not be transferred.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// Its name where it should have gone.
    pub name: FileName,
    /// Why.
    pub reason: Refusal,
}

/// How the fetching of an offer goes, told by the side that fetches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// So many bytes are verified.
    Progress {
        /// Bytes of the file, those of earlier attempts included.
        done: u64,
        /// Bytes of these that came from others than the offering side.
        #[serde(default, skip_serializing_if = "is_none_of_them")]
        from_others: u64,
    },
    /// The same of a folder.
    Folder {
        /// Files that are there.
        files: u64,
        /// Files in all.
        of_files: u64,
        /// Bytes that are there.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The folder is there, as far as it can be. The payload is a JSON array of [`Failed`].
    FolderFinished {
        /// Files that were received.
        received: u64,
        /// Their bytes.
        bytes: u64,
        /// Files that were there before.
        here: u64,
        /// Files that could not be received; the payload may tell fewer.
        failed: u64,
    },
    /// The file is complete, verified, on disk and served.
    Finished,
    /// It is not going to be.
    Failed(Refusal),
}

fn is_none_of_them(bytes: &u64) -> bool {
    *bytes == 0
}
