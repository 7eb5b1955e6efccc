//! What a peer cannot give of a folder, and why: it is told, never left away in silence.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::BadName;

/// One entry of a folder that is not served.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Omission {
    /// What it is called, as well as that can be written; not always a name that can be asked for.
    pub name: String,
    /// Why it is not served.
    pub reason: Reason,
}

/// Why an entry is not served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A link that leads out of the served folder.
    LeadsOut,
    /// A link to nothing.
    DeadLink,
    /// Links that lead in a circle, or too many of them.
    Circle,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// Its name is not UTF-8.
    NotUtf8,
    /// Its name has a control character, such as a newline.
    ControlCharacter,
    /// It lies too deep, or its name is too long.
    NameTooLong,
    /// Its name is one that this program keeps for itself.
    PrivateName,
    /// The server may not read it.
    NotAllowed,
    /// The disk could not read it.
    Unreadable,
    /// The system makes its files up while they are read, and they have no length.
    MadeUp,
    /// One of a later version.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeadsOut => "a link that leads out of the folder",
            Self::DeadLink => "a link that leads to nothing",
            Self::Circle => "links in a circle",
            Self::Fifo => "a FIFO, not a file",
            Self::Socket => "a socket, not a file",
            Self::Device => "a device, not a file",
            Self::NotUtf8 => "its name is not UTF-8",
            Self::ControlCharacter => "its name has a control character",
            Self::NameTooLong => "its name is too long",
            Self::PrivateName => "its name is kept for peershare itself",
            Self::NotAllowed => "no permission to read it",
            Self::Unreadable => "the disk cannot read it",
            Self::MadeUp => {
                "the system makes its files up, as in /proc; copy them to an ordinary folder first"
            }
            Self::Unknown => "for a reason that this version does not know",
        })
    }
}

impl From<BadName> for Reason {
    fn from(bad: BadName) -> Self {
        match bad {
            BadName::TooLong => Self::NameTooLong,
            BadName::Private => Self::PrivateName,
            BadName::Control => Self::ControlCharacter,
            BadName::Empty | BadName::Absolute | BadName::EmptyPart | BadName::Dots => {
                Self::Unknown
            }
        }
    }
}

/// What was left out of a listing: how much, and as much of it as was told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Omissions {
    /// How many entries.
    pub count: u64,
    /// Which, in the order of their names; fewer than `count` when there are very many, or when a
    /// peer of an earlier version does not say.
    pub told: Vec<Omission>,
}

impl Omissions {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one; `most` of them are kept.
    pub fn add(&mut self, name: String, reason: Reason, most: usize) {
        self.count = self.count.saturating_add(1);
        if self.told.len() < most {
            self.told.push(Omission { name, reason });
        }
    }
}
