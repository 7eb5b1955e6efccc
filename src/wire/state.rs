//! How a peer is doing, as it says in answer to a ping.

use serde::{Deserialize, Serialize};

/// How a peer is doing. Each field is absent where the peer does not say it, as those of earlier
/// versions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Files that it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes that could still be received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Whether it hashes files at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashing: Option<bool>,
    /// Sessions in which something is being transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfers: Option<u64>,
    /// Program and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
