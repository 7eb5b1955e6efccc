//! One line of a listing, and what a file has beside its content.

use serde::{Deserialize, Serialize};

use super::{FileName, Root};

/// What travels with a file and is set on arrival, but never says what the file *is*.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// When it was last modified, in nanoseconds since 1970; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ns: Option<i64>,
    /// Its permission bits; absent when unknown. Only the lowest nine count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

impl Attributes {
    /// The permission bits that may come from another peer: no set-user-id and the like.
    pub fn permissions(&self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o777)
    }
}

/// What a listing says of one file, or of one folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: FileName,
    /// Whether it is a folder; it has neither length nor root then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub folder: bool,
    /// Its length in bytes.
    #[serde(default)]
    pub length: u64,
    /// Bytes that it takes on the disk, where these are fewer: it has holes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// When it was last modified, in nanoseconds since 1970; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ns: Option<i64>,
    /// Its permission bits; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// What it is; absent until it is hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
}

impl Entry {
    /// What it has beside its content.
    pub fn attributes(&self) -> Attributes {
        Attributes { mtime_ns: self.mtime_ns, mode: self.mode }
    }

    /// Bytes that it may take where it arrives.
    pub fn room(&self) -> u64 {
        self.stored.map_or(self.length, |stored| stored.min(self.length))
    }

    /// What it is, as far as that is known; an empty file needs no hashing.
    pub fn content(&self) -> Option<Root> {
        self.root.or_else(|| (self.length == 0 && !self.folder).then(Root::of_nothing))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
