//! SHA-256 digests, the roots that identify files, and the short forms people type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One SHA-256 value. Printed and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// What pads the leaf layer of the tree up to a power of two (BEP 52).
    pub const ZERO: Self = Self([0; 32]);

    /// The SHA-256 of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// The parent of two nodes of the tree: SHA-256 over both, left first.
    pub fn parent(left: &Self, right: &Self) -> Self {
        let mut both = [0; 2 * Self::LEN];
        both[..Self::LEN].copy_from_slice(&left.0);
        both[Self::LEN..].copy_from_slice(&right.0);
        Self::of(&both)
    }

    /// Joins digests into raw bytes, as they travel and lie on disk.
    pub fn join(digests: &[Self]) -> Vec<u8> {
        digests.iter().flat_map(|digest| digest.0).collect()
    }

    /// Splits raw bytes into digests; `None` when the length is not a multiple of [`Self::LEN`].
    pub fn split(bytes: &[u8]) -> Option<Vec<Self>> {
        let (digests, rest) = bytes.as_chunks::<{ Self::LEN }>();
        rest.is_empty().then(|| digests.iter().map(|bytes| Self(*bytes)).collect())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Long listings print many of these.
        let mut text = [0; 2 * Self::LEN];
        for ([high, low], byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            (*high, *low) = (hex_digit(byte >> 4), hex_digit(byte & 15));
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Self::LEN || !rest.is_empty() {
            return Err(NotADigest);
        }
        let mut bytes = [0; Self::LEN];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let high = hex_value(*high).ok_or(NotADigest)?;
            let low = hex_value(*low).ok_or(NotADigest)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + (value - 10) }
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The content id of a file: its BEP 52 `pieces root`, or for an empty file, which has none, the
/// SHA-256 of nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Root(pub Digest);

impl Root {
    /// The id of every empty file.
    pub fn of_nothing() -> Self {
        Self(Digest::of(&[]))
    }

    /// The first digits, enough to tell files apart by eye and to type after `#DOWNLOAD`.
    pub fn short(&self) -> String {
        let mut text = self.0.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.short())
    }
}

/// A content id as a person types it: whole, or its first digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootPrefix(String);

impl RootPrefix {
    /// Fewer digits than this would be taken for ordinary file names too often.
    pub const MIN_DIGITS: usize = 6;

    /// Whether `root` begins with these digits.
    pub fn matches(&self, root: &Root) -> bool {
        root.to_string().starts_with(&self.0)
    }
}

impl FromStr for RootPrefix {
    type Err = NotARootPrefix;

    fn from_str(text: &str) -> Result<Self, NotARootPrefix> {
        let fits = (Self::MIN_DIGITS..=2 * Digest::LEN).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NotARootPrefix)
        }
    }
}

impl TryFrom<String> for RootPrefix {
    type Error = NotARootPrefix;

    fn try_from(text: String) -> Result<Self, NotARootPrefix> {
        text.parse()
    }
}

impl From<RootPrefix> for String {
    fn from(prefix: RootPrefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for RootPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Root> for RootPrefix {
    fn from(root: Root) -> Self {
        Self(root.to_string())
    }
}

/// The text is not a content id nor the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 6 to 64 hexadecimal digits")]
pub struct NotARootPrefix;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_printing_and_parsing() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().starts_with("ba7816bf"));
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        for text in ["", "ba78", &"g".repeat(64), &"a".repeat(65), "é"] {
            assert_eq!(text.parse::<Digest>(), Err(NotADigest), "{text}");
        }
    }

    #[test]
    fn a_shortened_id_matches_whatever_the_case() {
        let root = Root(Digest::of(b"abc"));
        assert!("BA7816".parse::<RootPrefix>().unwrap().matches(&root));
        assert!(!"ba7817".parse::<RootPrefix>().unwrap().matches(&root));
        assert!("ba781".parse::<RootPrefix>().is_err());
        assert!("readme".parse::<RootPrefix>().is_err());
    }
}
