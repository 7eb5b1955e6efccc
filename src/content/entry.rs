//! One line of a listing.

use serde::{Deserialize, Serialize};

use super::{FileName, Root};

/// What a listing says of one file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: FileName,
    /// Its length in bytes.
    pub length: u64,
    /// When it was last modified, in seconds since 1970; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<u64>,
    /// What it is; absent until it is hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
}
