//! What is said of a peer beyond its address, in its line or in `peer_keys.txt`.

use std::fmt;
use std::str::FromStr;

use super::{BadLine, BadPeerId, PeerId, numbered_lines, words_of};

/// What several peers are called together: letters, digits, `.`, `_` or `-`, as in a peer id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupName(PeerId);

/// The text is no name of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a group: expected 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
)]
pub struct BadGroup(String);

impl FromStr for GroupName {
    type Err = BadGroup;

    fn from_str(text: &str) -> Result<Self, BadGroup> {
        text.parse().map(Self).map_err(|_| BadGroup(text.to_owned()))
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is said of one peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Traits {
    /// It speaks the classic text dialect.
    pub(super) classic: bool,
    /// The groups that it belongs to, where they are said.
    pub(super) groups: Option<Vec<GroupName>>,
}

impl Traits {
    /// How they are written.
    pub(super) const USAGE: &str = "[classic] [group=NAME,…]";

    /// Reads the words behind a peer; an error names the one that means nothing.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut traits = Self::default();
        for word in words {
            match word.split_once('=') {
                None if *word == "classic" && !traits.classic => traits.classic = true,
                Some(("group", names)) if traits.groups.is_none() => {
                    let names = names.split(',').map(GroupName::from_str).collect::<Result<_, _>>();
                    traits.groups = Some(names.map_err(|bad| bad.to_string())?);
                }
                _ => return Err(format!("unexpected {word:?}")),
            }
        }
        Ok(traits)
    }
}

/// What `peer_keys.txt` says: at most one line a peer, `peerID` and what is said of it.
pub(super) struct KeptApart(Vec<(usize, PeerId, Traits)>);

impl KeptApart {
    /// The lines with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &PeerId, &Traits)> {
        self.0.iter().map(|(line, id, traits)| (*line, id, traits))
    }
}

impl FromStr for KeptApart {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        let mut lines: Vec<(usize, PeerId, Traits)> = Vec::new();
        for (line, text) in numbered_lines(text) {
            let at = |what| BadLine { line, what };
            let words = words_of(text);
            let Some((id, said)) = words.split_first() else { continue };
            let id: PeerId = id.parse().map_err(|bad: BadPeerId| at(bad.to_string()))?;
            if let Some((earlier, ..)) = lines.iter().find(|(_, other, _)| *other == id) {
                return Err(at(format!("peer id {id} is already taken by line {earlier}")));
            }
            let usage = Traits::USAGE;
            if said.is_empty() {
                return Err(at(format!("nothing is said of {id}; expected: peerID {usage}")));
            }
            let bad = |bad| at(format!("{bad}; expected: peerID {usage}"));
            lines.push((line, id, Traits::parse(said).map_err(bad)?));
        }
        Ok(Self(lines))
    }
}
