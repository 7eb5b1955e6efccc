//! File names as they cross the wire: relative, `/`-separated, unable to leave the served folder.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// The folder inside the served folder that holds what peershare keeps for itself; no file in it
/// is ever listed, served or written by name.
pub const PRIVATE_FOLDER: &str = ".peershare";

/// How files begin that are copied to another file system below the served folder, until they are
/// whole; they are private wherever they lie.
pub const ARRIVING: &str = ".peershare-arriving-";

/// Whether a file system may take this part of a name for [`PRIVATE_FOLDER`]. Some fold case
/// (exFAT, NTFS, SMB, ext4 with casefold), some normalise or ignore characters (HFS+), Windows
/// drops dots and blanks at the end, takes what follows a `:` for a stream of the file, and gives
/// long names short ones (`PEERSH~1`). Taking too many names for private costs nobody anything.
pub fn is_private(part: &str) -> bool {
    // Most names end here.
    if part.is_ascii() && !part.as_bytes().windows(6).any(|six| six.eq_ignore_ascii_case(b"peersh"))
    {
        return false;
    }
    let folded: String = part.nfkc().filter(|symbol| !is_ignorable(*symbol)).collect();
    let folded: String =
        folded.to_lowercase().nfkc().filter(|symbol| !is_ignorable(*symbol)).collect();
    let bare = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    bare == PRIVATE_FOLDER || bare.trim_start_matches('.').starts_with("peersh~")
}

/// Whether a file system may take this part of a name for one that begins with [`ARRIVING`].
pub fn is_arriving(part: &str) -> bool {
    part.starts_with('.') && part.to_lowercase().starts_with(ARRIVING)
        || !part.is_ascii() && part.nfkc().collect::<String>().to_lowercase().starts_with(ARRIVING)
}

/// Characters that are not seen, and that some file systems do not compare.
fn is_ignorable(symbol: char) -> bool {
    matches!(symbol,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A name that is safe to join to the served folder: made of non-empty parts between `/`, without
/// `.` or `..`, without NUL or control characters, and outside [`PRIVATE_FOLDER`].
///
/// Whether a *link* on disk leads out of the folder is the store's matter; this type is about the
/// text alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// Longest part between two `/`, in bytes: what Linux file systems take (`NAME_MAX`).
    pub const MAX_PART: usize = 255;

    /// Longest whole name in bytes; below `PATH_MAX`, so that a served folder's own path fits too.
    pub const MAX_LEN: usize = 3072;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a relative path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The folder the file lies in, without a trailing `/`; `None` at the top.
    pub fn folder(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(folder, _)| folder)
    }

    /// The part after the last `/`.
    pub fn last_part(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }
}

/// Why a text cannot name a file. Raised for names from users, from peers and from the disk alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No characters at all.
    #[error("the name is empty")]
    Empty,
    /// Starts with `/`.
    #[error("the name is absolute; names are relative to the served folder")]
    Absolute,
    /// Two `/` in a row, or one at the end.
    #[error("the name has an empty part between slashes")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error("the name has a part '.' or '..'")]
    Dots,
    /// NUL, newline, escape and the like.
    #[error("the name has a control character")]
    Control,
    /// More than [`FileName::MAX_PART`] or [`FileName::MAX_LEN`] bytes.
    #[error("the name is too long")]
    TooLong,
    /// The first part is [`PRIVATE_FOLDER`], or some file system takes it for that.
    #[error("names in .peershare are private, in whatever spelling")]
    Private,
}

impl FromStr for FileName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for FileName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        check(&text)?;
        Ok(Self(text))
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

fn check(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.starts_with('/') {
        return Err(BadName::Absolute);
    }
    if text.len() > FileName::MAX_LEN {
        return Err(BadName::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(BadName::Control);
    }
    for (position, part) in text.split('/').enumerate() {
        match part {
            "" => return Err(BadName::EmptyPart),
            "." | ".." => return Err(BadName::Dots),
            _ if position == 0 && is_private(part) => return Err(BadName::Private),
            _ if is_arriving(part) => return Err(BadName::Private),
            _ if part.len() > FileName::MAX_PART => return Err(BadName::TooLong),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        let longest = "x".repeat(255);
        for name in [
            "a.txt",
            "a/b/c.txt",
            "with blanks",
            "žluť.pdf",
            "...",
            ".hidden",
            "a..b",
            &longest,
            "x/.peershare/y",
        ] {
            assert_eq!(name.parse::<FileName>().map(String::from).as_deref(), Ok(name));
        }
    }

    #[test]
    fn names_that_could_leave_the_folder_or_a_line_are_refused() {
        for (name, why) in [
            ("", BadName::Empty),
            ("/etc/passwd", BadName::Absolute),
            ("../x", BadName::Dots),
            ("a/../x", BadName::Dots),
            ("a/./x", BadName::Dots),
            ("a//b", BadName::EmptyPart),
            ("a/", BadName::EmptyPart),
            ("a\0b", BadName::Control),
            ("a\nb", BadName::Control),
            ("a\u{9b}b", BadName::Control),
            (".peershare/catalog", BadName::Private),
            (".peershare", BadName::Private),
        ] {
            assert_eq!(name.parse::<FileName>(), Err(why), "{name:?}");
        }
        assert_eq!("x".repeat(256).parse::<FileName>(), Err(BadName::TooLong));
        assert_eq!("x/".repeat(2000).parse::<FileName>(), Err(BadName::TooLong));
    }

    #[test]
    fn what_a_file_system_may_take_for_the_private_folder_is_private() {
        for part in [
            ".PEERSHARE",
            ".PeerShare",
            ".peershare.",
            ".peershare . .",
            ".peer\u{17f}hare",
            ".peer\u{200c}share",
            "\u{feff}.peershare",
            "．ＰＥＥＲＳＨＡＲＥ",
            "\u{2024}peershare",
            ".peershare::$INDEX_ALLOCATION",
            "PEERSH~1",
            "peersh~2",
        ] {
            assert_eq!(part.parse::<FileName>(), Err(BadName::Private), "{part:?}");
            assert_eq!(
                format!("{part}/catalog").parse::<FileName>(),
                Err(BadName::Private),
                "{part:?}"
            );
        }
        for name in [
            ".peershares",
            "peershare",
            ".peer share",
            ".peershare-old/x",
            "x/.PEERSHARE",
            "p~1",
            "žluť",
        ] {
            assert!(name.parse::<FileName>().is_ok(), "{name:?}");
        }
        for arriving in
            ["x/.peershare-arriving-7", ".PEERSHARE-Arriving-7", "x/.peer\u{17f}hare-arriving-1"]
        {
            assert_eq!(arriving.parse::<FileName>(), Err(BadName::Private), "{arriving}");
        }
    }

    #[test]
    fn a_name_knows_its_folder() {
        let name: FileName = "a/b/c".parse().unwrap();
        assert_eq!((name.folder(), name.last_part()), (Some("a/b"), "c"));
        let top: FileName = "c".parse().unwrap();
        assert_eq!((top.folder(), top.last_part()), (None, "c"));
    }
}
