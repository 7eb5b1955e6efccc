//! What is said of a peer beyond its address, in its line or in `peer_keys.txt`.

use std::str::FromStr;

use super::{BadLine, BadPeerId, PeerId, numbered_lines, words_of};

/// What is said of one peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Traits {
    /// It speaks the classic text dialect.
    pub(super) classic: bool,
}

impl Traits {
    /// Reads the words behind a peer; an error names the one that means nothing.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut traits = Self::default();
        for word in words {
            match *word {
                "classic" if !traits.classic => traits.classic = true,
                other => return Err(format!("unexpected {other:?}")),
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
            if said.is_empty() {
                return Err(at(format!("nothing is said of {id}; expected: peerID classic")));
            }
            let bad = |bad| at(format!("{bad}; expected: peerID classic"));
            lines.push((line, id, Traits::parse(said).map_err(bad)?));
        }
        Ok(Self(lines))
    }
}
