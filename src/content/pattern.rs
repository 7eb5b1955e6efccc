//! Which names somebody wants: patterns and what they leave out. Pure text, the same at both ends,
//! so that whoever asked can check what was answered.

use globset::{GlobBuilder, GlobSet};

use super::FileName;
use crate::config;

/// Some of the names of a folder: those that a pattern wants, without those that others leave out.
#[derive(Debug)]
pub struct Selection {
    wanted: Pattern,
    left_out: Vec<Exception>,
}

/// The text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {reason}")]
pub struct BadPattern {
    /// What was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Selection {
    /// Understands a pattern (a glob in which `*` stays within a folder and `**` does not, a plain
    /// name, or `folder/` for everything beneath it; `None` for all) and what is left out of it.
    ///
    /// An exception without `/` is compared with every part of a name, one with `/` with its
    /// beginning up to any part; so one that fits a folder leaves out all beneath it.
    pub fn new(pattern: Option<&str>, except: &[String]) -> Result<Self, BadPattern> {
        if except.len() > config::MAX_EXCEPTIONS {
            return Err(bad("-x", "too many patterns are left out"));
        }
        let left_out = except.iter().map(|text| Exception::new(text)).collect::<Result<_, _>>()?;
        Ok(Self { wanted: Pattern::new(pattern)?, left_out })
    }

    /// Whether the name is one of them.
    pub fn matches(&self, name: &FileName) -> bool {
        self.selects(name.as_str())
    }

    /// The same for what need not be a name that can be asked for.
    pub fn selects(&self, text: &str) -> bool {
        self.wanted.matches(text) && !self.is_excepted(text)
    }

    /// Whether something beneath that folder may be wanted.
    pub fn may_select_beneath(&self, folder: &str) -> bool {
        let may = match &self.wanted {
            Pattern::All => true,
            Pattern::Beneath(prefix) => {
                format!("{folder}/").starts_with(prefix)
                    || prefix.starts_with(&format!("{folder}/"))
            }
            Pattern::Glob { text, .. } => may_lead_into(text, folder),
        };
        may && !self.is_excepted(folder)
    }

    fn is_excepted(&self, text: &str) -> bool {
        self.left_out.iter().any(|exception| exception.matches(text))
    }

    /// The folder, with a `/` behind, that all of these names lie in; empty when that is the top.
    pub fn beneath(&self) -> &str {
        let text = match &self.wanted {
            Pattern::All => "",
            Pattern::Beneath(prefix) => prefix,
            // Behind a backslash a letter stands for itself, so the text is no name from there on.
            Pattern::Glob { text, .. } => {
                let plain = |letter| letter != '\\' && !GLOB_LETTERS.contains(&letter);
                text.split(|letter| !plain(letter)).next().unwrap_or_default()
            }
        };
        text.rfind('/').map_or("", |slash| text.get(..=slash).unwrap_or_default())
    }
}

/// Whether a text means several files: a folder or a glob.
pub fn is_pattern(text: &str) -> bool {
    text.ends_with('/') || text.contains(GLOB_LETTERS)
}

/// Whether a text means one folder and all beneath it.
pub fn is_folder_name(text: &str) -> bool {
    text.ends_with('/') && !text.contains(GLOB_LETTERS)
}

/// The pattern that fits this folder and all beneath it, and nothing else.
pub fn beneath(folder: &str) -> String {
    let escaped = escaped(folder);
    match escaped == folder {
        true => format!("{folder}/"),
        // A glob that ends with a slash does not fit the folder itself, so an empty one would be
        // nothing.
        false => format!("{{{escaped},{escaped}/**}}"),
    }
}

/// The folder that a pattern was made for by [`beneath`].
pub fn folder_of(pattern: &str) -> Option<String> {
    if is_folder_name(pattern) {
        return pattern.strip_suffix('/').map(str::to_owned);
    }
    let inner = pattern.strip_prefix('{')?.strip_suffix("/**}")?;
    let (escaped_folder, again) = inner.split_at_checked(inner.len().checked_sub(1)? / 2)?;
    if again.strip_prefix(',')? != escaped_folder {
        return None;
    }
    let (mut folder, mut letters) = (String::new(), escaped_folder.chars());
    while let Some(letter) = letters.next() {
        folder.push(if letter == '[' { letters.next()? } else { letter });
        if letter == '[' && letters.next()? != ']' {
            return None;
        }
    }
    (escaped(&folder) == escaped_folder).then_some(folder)
}

/// Whether a glob may fit something beneath a folder, as far as its parts tell.
fn may_lead_into(pattern: &str, folder: &str) -> bool {
    // Its parts may have slashes.
    if pattern.contains('{') || has_class_of_slashes(pattern) {
        return true;
    }
    let mut parts = pattern.split('/').peekable();
    for name in folder.split('/') {
        match parts.next() {
            None => return false,
            // A slash at the end stands for all beneath.
            Some("") if parts.peek().is_none() => return true,
            Some(part) if part.contains("**") => return true,
            Some(part) if part == name || glob(part).map_or(true, |glob| glob.is_match(name)) => {}
            Some(_) => return false,
        }
    }
    parts.next().is_some()
}

/// Whether a class of a pattern, such as `[!a]` or `[.-0]`, fits a slash.
fn has_class_of_slashes(pattern: &str) -> bool {
    pattern.match_indices('[').any(|(from, _)| {
        let inner = pattern.get(from + 1..).unwrap_or_default();
        let letters = inner.strip_prefix(['!', '^']).unwrap_or(inner);
        // A bracket that comes first is one of the letters.
        let first = letters.chars().next().map_or(0, char::len_utf8);
        let end = letters.get(first..).and_then(|rest| rest.split_once(']'));
        let class = end.and_then(|(_, behind)| inner.strip_suffix(behind));
        let class = class.map(|class| format!("[{class}"));
        class.is_none_or(|class| glob(&class).map_or(true, |glob| glob.is_match("/")))
    })
}

/// The pattern that fits this name and nothing else.
pub fn escaped(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '*' | '?' | '[' | ']' | '{' | '}' | '\\' => pattern.extend(['[', letter, ']']),
            _ => pattern.push(letter),
        }
    }
    pattern
}

const GLOB_LETTERS: [char; 4] = ['*', '?', '[', '{'];

fn bad(pattern: &str, reason: &str) -> BadPattern {
    BadPattern { pattern: pattern.to_owned(), reason: reason.to_owned() }
}

fn glob(text: &str) -> Result<GlobSet, BadPattern> {
    if text.len() > config::MAX_PATTERN {
        return Err(bad(&text.chars().take(20).collect::<String>(), "it is too long"));
    }
    // A set of one: unlike a matcher of one glob, it does not panic where a glob nests too deeply.
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.and_then(|glob| GlobSet::builder().add(glob).build());
    glob.map_err(|error| bad(text, &error.kind().to_string()))
}

#[derive(Debug)]
enum Pattern {
    All,
    Beneath(String),
    Glob { text: String, glob: GlobSet },
}

impl Pattern {
    fn new(text: Option<&str>) -> Result<Self, BadPattern> {
        let Some(text) = text else { return Ok(Self::All) };
        let compiled = match text.strip_suffix('/') {
            Some(_) if !text.contains(GLOB_LETTERS) => return Ok(Self::Beneath(text.to_owned())),
            None if let Some(folder) = folder_of(text) => {
                return Ok(Self::Beneath(format!("{folder}/")));
            }
            Some(_) => glob(&format!("{text}**"))?,
            None => glob(text)?,
        };
        Ok(Self::Glob { text: text.to_owned(), glob: compiled })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            // The folder itself belongs to what is beneath it, so that an empty one travels too.
            Self::Beneath(prefix) => {
                name.starts_with(prefix) || prefix.strip_suffix('/') == Some(name)
            }
            // A plain name may hold the characters of a glob.
            Self::Glob { text, glob } => name == text || glob.is_match(name),
        }
    }
}

#[derive(Debug)]
struct Exception {
    /// The text as a name.
    text: String,
    /// The same as a pattern, where it is one.
    glob: Option<GlobSet>,
    whole: bool,
}

impl Exception {
    fn new(text: &str) -> Result<Self, BadPattern> {
        let bare = text.trim_end_matches('/');
        let glob = match glob(bare) {
            Ok(glob) => Some(glob),
            // A name may look like a pattern that is not finished.
            Err(_) if bare.parse::<FileName>().is_ok() => None,
            Err(bad) => return Err(bad),
        };
        Ok(Self { text: bare.to_owned(), glob, whole: bare.contains('/') })
    }

    fn matches(&self, text: &str) -> bool {
        if !self.whole {
            return text.split('/').any(|part| self.fits(part));
        }
        let ends = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
        ends.filter_map(|end| text.get(..end)).any(|beginning| self.fits(beginning))
    }

    fn fits(&self, text: &str) -> bool {
        self.text == text || self.glob.as_ref().is_some_and(|glob| glob.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_folder_is_wanted_only_if_a_pattern_can_lead_there() {
        let may = |pattern: &str, folder| {
            Selection::new(Some(pattern), &[]).unwrap().may_select_beneath(folder)
        };
        for pattern in ["lost+found/", "l*/*", "*/x", "**", "a/**/b", "lost+found/a/*", "{l*,x}/y"]
        {
            assert!(may(pattern, "lost+found") || pattern.starts_with('a'), "{pattern}");
        }
        for pattern in
            ["*.txt", "photos/*", "p*/**", "[a-k]*/x", "photos/", "lost+found", &beneath("*.txt")]
        {
            assert!(!may(pattern, "lost+found"), "{pattern}");
        }
        assert!(may("a[!x]b/c", "a/b") && may("a[.-0]b/c", "a/b") && may("a[/]b/c", "a/b"));
        assert!(!may("a[]x]b/c", "a/b") && !may("a[!/]b/c", "a/b") && may("a[!!]b/c", "a/b"));
        assert!(may("p*/", "photos/a/b") && !may("p*/", "lost+found"));
        assert!(may("photos/*/x", "photos/closed") && !may("photos/*", "photos/closed"));
        assert!(may(&beneath("p [1]"), "p [1]/closed") && !may(&beneath("p [1]"), "p 1/closed"));
    }

    fn chosen(pattern: Option<&str>, except: &[&str]) -> Vec<&'static str> {
        let except: Vec<String> = except.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection::new(pattern, &except).unwrap();
        let names = ["a.iso", "p", "p/a.jpg", "p/q", "p/q/a.tmp", "p/q/b.jpg", "x[1].txt"];
        names.into_iter().filter(|name| selection.matches(&name.parse().unwrap())).collect()
    }

    #[test]
    fn folders_globs_and_plain_names_choose() {
        assert_eq!(chosen(Some("p/"), &[]), ["p", "p/a.jpg", "p/q", "p/q/a.tmp", "p/q/b.jpg"]);
        assert_eq!(chosen(Some("p/**"), &[]), ["p/a.jpg", "p/q", "p/q/a.tmp", "p/q/b.jpg"]);
        assert_eq!(chosen(Some("*.iso"), &[]), ["a.iso"]);
        assert_eq!(chosen(Some("x[1].txt"), &[]), ["x[1].txt"]);
        assert_eq!(chosen(Some("**"), &[]).len(), 7);
        assert_eq!(chosen(None, &[]).len(), 7);
    }

    #[test]
    fn exceptions_leave_out_parts_folders_and_whole_names() {
        assert_eq!(chosen(None, &["*.jpg", "x*"]), ["a.iso", "p", "p/q", "p/q/a.tmp"]);
        assert_eq!(chosen(None, &["x[1].txt", "p"]), ["a.iso"]);
        assert!(
            !Selection::new(None, &["a[b".to_owned()]).unwrap().matches(&"d/a[b".parse().unwrap())
        );
        assert_eq!(chosen(Some("p/"), &["q"]), ["p", "p/a.jpg"]);
        assert_eq!(chosen(Some("p/"), &["p/q/"]), ["p", "p/a.jpg"]);
        assert_eq!(chosen(Some("p/"), &["p/*.jpg"]), ["p", "p/q", "p/q/a.tmp", "p/q/b.jpg"]);
    }

    #[test]
    fn an_escaped_name_fits_itself_alone() {
        for text in ["a[b", "x[1].txt", "p {2020}", "a*b?", r"a\b", "]", "plain", "[]"] {
            let selection = Selection::new(Some(&escaped(text)), &[]).unwrap();
            assert!(selection.matches(&text.parse().unwrap()), "{text}");
            for other in ["x1.txt", "ab", "a", "p 2020"] {
                assert!(
                    !selection.matches(&other.parse().unwrap()) || other == text,
                    "{text} {other}"
                );
            }
            let beneath = Selection::new(Some(&beneath(text)), &[]).unwrap();
            for within in [text.to_owned(), format!("{text}/f"), format!("{text}/d/f")] {
                assert!(beneath.matches(&within.parse().unwrap()), "{within}");
            }
        }
    }

    #[test]
    fn a_folder_that_may_hold_what_is_wanted_is_told_from_others() {
        let may = |pattern, folder| {
            Selection::new(Some(pattern), &[]).unwrap().may_select_beneath(folder)
        };
        for (pattern, folder) in
            [("p/", "p"), ("p/", "p/q"), ("p/q/", "p"), ("**/*.txt", "x"), ("p/*/x", "p/q")]
        {
            assert!(may(pattern, folder), "{pattern} {folder}");
        }
        for (pattern, folder) in [("p/", "q"), ("p/", "pq"), ("*.iso", "p"), ("p/*", "p/q")] {
            assert!(!may(pattern, folder), "{pattern} {folder}");
        }
        let except = ["q".to_owned()];
        assert!(!Selection::new(None, &except).unwrap().may_select_beneath("p/q"));
    }

    #[test]
    fn the_folder_that_all_lie_in_is_known() {
        for (pattern, folder) in [
            ("p/q/", "p/q/"),
            ("p/q*", "p/"),
            ("**", ""),
            ("*.iso", ""),
            ("p/q", "p/"),
            (r"p/\q/x*", "p/"),
        ] {
            assert_eq!(Selection::new(Some(pattern), &[]).unwrap().beneath(), folder, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_glob_is_told() {
        assert!(Selection::new(Some("a["), &[]).is_err());
        assert!(Selection::new(Some(&"x".repeat(50_000)), &[]).is_err());
        assert!(Selection::new(None, &["../a[".to_owned()]).is_err());
    }
}
