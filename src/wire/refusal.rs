//! Why something was not done, as it travels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something was not done: a code for programs and a message for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub struct Refusal {
    /// What kind of failure.
    pub code: ErrorCode,
    /// In words; comes from the other peer and is escaped before it is printed.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Kinds of failure that the asking side treats differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request cannot be understood or does not fit the file.
    BadRequest,
    /// The request belongs to a version that this peer does not speak.
    Unsupported,
    /// No such file or content here.
    NotFound,
    /// The chunk is not here yet.
    NotYet,
    /// A shortened id fits several contents.
    Ambiguous,
    /// The file changed while it was read.
    Changed,
    /// This peer does not take or give that.
    Refused,
    /// Too many connections, or the peer is ending.
    Busy,
    /// A file of that name is being received.
    Receiving,
    /// Another file of that name is served.
    InTheWay,
    /// The disk of that peer is full.
    NoSpace,
    /// What was received did not verify.
    Integrity,
    /// That peer's own disk or system failed.
    Internal,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}
