//! What somebody means who types the name of something to fetch: a name that a peer has, letter by
//! letter, is that name; only then it may be a folder without its slash, or a pattern. What nobody
//! has is compared with what there is.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Mutex;

use unicode_normalization::UnicodeNormalization;

use super::text::quoted;
use super::work::Work;
use super::{ExitStatus, download, folder, folding, select, shown};
use crate::config;
use crate::content::name::BadName;
use crate::content::pattern::{BadPattern, Selection, beneath, is_pattern};
use crate::content::{Entry, FileName, RootPrefix};
use crate::fetch::SourceError;
use crate::fetch::list::{ListRequest, list};
use crate::locks::{self, lock};
use crate::threads;
use crate::topology::Peer;

/// One thing that a text may mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// A file of that very name, or one with that id.
    File(FileName),
    /// A folder of that very name.
    Folder(FileName),
    /// All that the pattern fits.
    Several(String),
}

/// Why a text means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Meaningless {
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(transparent)]
    Pattern(#[from] BadPattern),
}

/// What a text may mean, what comes first being tried first. Shells complete names to `./a` and
/// `a//b`, which mean no more than `a` and `a/b`.
pub(super) fn meanings(typed: &str) -> Result<Vec<Meaning>, Meaningless> {
    let tidied = tidied(typed);
    let bare = tidied.trim_end_matches('/');
    let (mut meanings, named) = (Vec::new(), bare.parse::<FileName>());
    if let Ok(name) = &named {
        let (file, folder) = (Meaning::File(name.clone()), Meaning::Folder(name.clone()));
        match tidied.ends_with('/') {
            true => meanings.push(folder),
            false => meanings.extend([file, folder]),
        }
    }
    if is_pattern(bare) {
        match Selection::new(Some(&tidied), &[]) {
            Ok(_) => meanings.push(Meaning::Several(tidied)),
            Err(bad) if meanings.is_empty() => return Err(bad.into()),
            Err(_) => {}
        }
    }
    match named {
        Err(bad) if meanings.is_empty() => Err(bad.into()),
        _ => Ok(meanings),
    }
}

/// The text without parts that mean nothing: `./` and doubled slashes.
fn tidied(typed: &str) -> String {
    if typed.starts_with('/') {
        return typed.to_owned();
    }
    let parts: Vec<&str> = typed.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let slash = if typed.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("{}{slash}", parts.join("/"))
}

/// What became of trying one meaning.
pub(super) enum Tried {
    /// It was what was meant, and ended so.
    Done(ExitStatus),
    /// No peer has that; these peers could not be asked, or said something else.
    Nobody(Vec<(Peer, SourceError)>),
}

/// Fetches what was typed from the peers of the command.
pub(super) fn download(
    work: &Work<'_>,
    typed: &str,
    except: &[String],
    replace: bool,
) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let meanings = match meanings(typed) {
        Ok(meanings) => meanings,
        Err(why) => {
            audience.error(&format!(
                "cannot download {}: {}",
                shown(typed),
                shown(&why.to_string())
            ));
            return ExitStatus::Usage;
        }
    };
    let asked_for = Asked { work, typed, except, replace };
    let mut nobody = Nobody::of(work);
    for meaning in &meanings {
        match asked_for.attempt(&nobody.asked, meaning) {
            Tried::Done(status) => return status,
            Tried::Nobody(failures) => nobody.hear(failures),
        }
        if work.cancel.is_cancelled() {
            audience.error("interrupted; the same command continues");
            return ExitStatus::Interrupted;
        }
    }
    let near = near(work, &nobody.asked, typed);
    if let [only] = &near.same[..]
        && let Ok(again) = self::meanings(only)
    {
        audience
            .note(&format!("{} is written otherwise there, with the same letters", quoted(only)));
        for meaning in again {
            if let Tried::Done(status) = asked_for.attempt(&nobody.asked, &meaning) {
                return status;
            }
        }
    }
    tell_what_was_not_asked(work, &meanings, except);
    nobody.tell(work, typed, &near)
}

/// What is to be fetched.
struct Asked<'a> {
    work: &'a Work<'a>,
    typed: &'a str,
    except: &'a [String],
    replace: bool,
}

impl Asked<'_> {
    /// Fetches it from these peers, taking it for that.
    fn attempt(&self, peers: &[Peer], meaning: &Meaning) -> Tried {
        let Self { work, except, replace, .. } = *self;
        // Folders are not for the older dialect.
        let framed = || peers.iter().filter(|peer| !work.is_classic(peer)).cloned().collect();
        match meaning {
            Meaning::File(name) => download::run(&work.among(peers.to_vec()), name, replace),
            Meaning::Folder(name) => {
                let (pattern, label) = (beneath(name.as_str()), (name.as_str(), "/"));
                folder::download(&work.among(framed()), &pattern, label, except, replace)
            }
            Meaning::Several(_) if work.name.is_some() => {
                work.transfers.surroundings.audience.error(&format!(
                    "--as goes with one file or folder, not with the pattern {}",
                    quoted(self.typed)
                ));
                Tried::Done(ExitStatus::Usage)
            }
            Meaning::Several(pattern) => {
                folder::download(&work.among(framed()), pattern, (pattern, ""), except, replace)
            }
        }
    }
}

/// Says what may be why nothing was found, beside that nothing is there.
fn tell_what_was_not_asked(work: &Work<'_>, meanings: &[Meaning], except: &[String]) {
    let audience = &work.transfers.surroundings.audience;
    if !except.is_empty() {
        let left_out: Vec<_> = except.iter().map(|text| shown(text)).collect();
        audience.note(&format!("-x leaves out what fits {}", left_out.join(", ")));
    }
    let classic: Vec<&str> = work
        .peers
        .iter()
        .filter(|peer| work.is_classic(peer))
        .map(|peer| peer.id.as_str())
        .collect();
    if !classic.is_empty() && !meanings.iter().any(|meaning| matches!(meaning, Meaning::File(_))) {
        audience.note(&format!(
            "not asked: {}; the classic dialect has no folders",
            classic.join(", ")
        ));
    }
}

/// Peers that have not what was asked for, and peers that could not be asked.
pub(super) struct Nobody {
    asked: Vec<Peer>,
    failures: Vec<(Peer, SourceError)>,
}

impl Nobody {
    pub(super) fn of(work: &Work<'_>) -> Self {
        Self { asked: work.peers.clone(), failures: Vec::new() }
    }

    /// Those that can be asked.
    pub(super) fn asked(&self) -> &[Peer] {
        &self.asked
    }

    /// Those that could not be asked are asked for nothing else; one that refused one meaning may
    /// have another.
    pub(super) fn hear(&mut self, failures: Vec<(Peer, SourceError)>) {
        for (peer, error) in failures {
            if matches!(error, SourceError::NotServing) {
                continue;
            }
            if !matches!(error, SourceError::Refused(_)) || error.is_passing() {
                self.asked.retain(|asked| *asked != peer);
            }
            if !self.failures.iter().any(|(failed, _)| *failed == peer) {
                self.failures.push((peer, error));
            }
        }
    }

    /// One line for all that have it not, and one for each reason why others could not be asked.
    pub(super) fn tell(&self, work: &Work<'_>, wanted: &str, near: &Near) -> ExitStatus {
        let audience = &work.transfers.surroundings.audience;
        let failures = self.failures.iter().map(|(peer, error)| (peer, error));
        folding::reasons(failures, |line| audience.error(line));
        // One that has it and cannot give it says more than others that have it not.
        let has_it = |error: &SourceError| {
            let is_refusal = matches!(error, SourceError::Refused(_)) && !error.is_passing();
            is_refusal || matches!(error, SourceError::Changed) || error.is_integrity()
        };
        let outcome = |(_, error): &(Peer, SourceError)| ExitStatus::from(error);
        if self.failures.iter().any(|(_, error)| has_it(error)) {
            let failures = self.failures.iter().filter(|(_, error)| has_it(error));
            audience.error(&format!("cannot have {}", quoted(wanted)));
            return ExitStatus::of_peers(failures.map(outcome));
        }
        let failed = |peer: &&Peer| self.failures.iter().any(|(failed, _)| failed == *peer);
        let asked: Vec<&str> =
            self.asked.iter().filter(|peer| !failed(peer)).map(|peer| peer.id.as_str()).collect();
        if asked.is_empty() {
            audience.error(&format!("cannot find {}: no peer could be asked", quoted(wanted)));
            return ExitStatus::of_peers(self.failures.iter().map(outcome));
        }
        let asked = select::some(&asked);
        audience.error(&format!(
            "no peer has {}; {}; asked: {asked}",
            quoted(wanted),
            near.hint(wanted)
        ));
        ExitStatus::NoSuchFile
    }
}

/// Names that resemble one that nobody has.
#[derive(Default, Debug)]
pub(super) struct Near {
    /// The same letters in another form of Unicode.
    same: Vec<String>,
    /// Others, the likeliest first.
    like: Vec<String>,
}

impl Near {
    /// The names that may have been meant, to be typed again.
    pub(super) fn meant(&self) -> Option<String> {
        let names: Vec<_> = self.same.iter().chain(&self.like).map(|name| quoted(name)).collect();
        (!names.is_empty()).then(|| names.join(" or "))
    }

    fn hint(&self, wanted: &str) -> String {
        let short_id = wanted.len() < RootPrefix::MIN_DIGITS
            && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        match self.meant() {
            Some(names) => format!("did you mean {names}?"),
            None if short_id => {
                format!("if that is an id, type at least {} digits", RootPrefix::MIN_DIGITS)
            }
            None => "see #FILELIST for what there is".to_owned(),
        }
    }

    /// The names that resemble `wanted` most.
    pub(super) fn among<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Self {
        let mut nearest = Nearest::new(wanted);
        names.for_each(|name| nearest.look_at(name));
        nearest.end()
    }
}

/// Compares names with one, and keeps the few that resemble it most.
struct Nearest {
    wanted: String,
    composed: String,
    folded: String,
    same: BTreeSet<String>,
    /// By how much they differ, in thousandths.
    like: BTreeSet<(Reverse<u32>, String)>,
}

impl Nearest {
    fn new(wanted: &str) -> Self {
        let wanted = tidied(wanted).trim_end_matches('/').to_owned();
        let (composed, folded) = (wanted.nfc().collect(), folded(&wanted));
        Self { wanted, composed, folded, same: BTreeSet::new(), like: BTreeSet::new() }
    }

    fn look_at(&mut self, name: &str) {
        let bare = name.trim_end_matches('/');
        if bare == self.wanted {
            // It is a folder where a file was meant, or the other way round.
            self.like.insert((Reverse(1001), name.to_owned()));
        } else if bare.nfc().eq(self.composed.chars()) {
            self.same.insert(name.to_owned());
        } else {
            let likeness = likeness(&self.folded, &folded(bare));
            if likeness >= config::LIKE_ENOUGH {
                self.like.insert((Reverse((likeness * 1000.0) as u32), name.to_owned()));
            }
        }
        while self.like.len() > config::SHOWN_LIKE {
            self.like.pop_last();
        }
        while self.same.len() > config::SHOWN_LIKE {
            self.same.pop_last();
        }
    }

    fn end(self) -> Near {
        Near {
            same: self.same.into_iter().collect(),
            like: self.like.into_iter().map(|(_, name)| name).collect(),
        }
    }
}

/// How a name is compared: without regard to case, to forms of Unicode and to kinds of spaces.
fn folded(name: &str) -> String {
    let space = |letter: char| if letter.is_whitespace() { ' ' } else { letter };
    name.nfkc().flat_map(char::to_lowercase).map(space).collect()
}

/// From 0 to 1. A name in another folder resembles one, too, if its last part does.
fn likeness(one: &str, other: &str) -> f64 {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let (shorter, longer) = (one.len().min(other.len()), one.len().max(other.len()));
    // Most names are told apart by their length; the rest takes much longer.
    let whole = match shorter * 10 < longer * 6 {
        true => 0.0,
        false => strsim::normalized_damerau_levenshtein(one, other),
    };
    if one.contains('/') == other.contains('/') || last(one) != last(other) {
        whole
    } else {
        whole.max(0.8)
    }
}

/// Asks the peers what they have, and compares.
pub(super) fn near(work: &Work<'_>, peers: &[Peer], wanted: &str) -> Near {
    let nearest = Mutex::new(Nearest::new(wanted));
    let request = ListRequest { folders: true, waits: work.waits, ..ListRequest::default() };
    let ask = |peer: &Peer| {
        let mut each = |page: Vec<Entry>| {
            let mut nearest = lock(&nearest);
            for Entry { name, folder, .. } in page {
                let slash = if folder { "/" } else { "" };
                nearest.look_at(&format!("{name}{slash}"));
            }
        };
        if let Err(error) = list(peer, &request, &work.caller, &work.cancel, &mut each) {
            log::debug!("{peer} is not asked for names that resemble {}: {error}", shown(wanted));
        }
    };
    let asked: Vec<&Peer> = peers.iter().filter(|peer| !work.is_classic(peer)).collect();
    threads::for_all(&asked, |peer| format!("near-{}", peer.id), |peer| ask(peer));
    locks::into_inner(nearest).end()
}

#[cfg(test)]
mod tests {
    use super::Meaning::*;
    use super::*;

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_comes_before_a_folder_and_a_pattern_last() {
        assert_eq!(meanings("a").unwrap(), [File(name("a")), Folder(name("a"))]);
        assert_eq!(meanings("./a//b").unwrap(), [File(name("a/b")), Folder(name("a/b"))]);
        assert_eq!(meanings("d/./").unwrap(), [Folder(name("d"))]);
        let several = |text: &str| Several(text.to_owned());
        assert_eq!(
            meanings("x[1].txt").unwrap(),
            [File(name("x[1].txt")), Folder(name("x[1].txt")), several("x[1].txt")]
        );
        assert_eq!(meanings("p [1]/").unwrap(), [Folder(name("p [1]")), several("p [1]/")]);
        assert_eq!(meanings("a[b").unwrap(), [File(name("a[b")), Folder(name("a[b"))]);
    }

    #[test]
    fn what_is_neither_a_name_nor_a_pattern_is_told() {
        assert!(matches!(meanings("../x"), Err(Meaningless::Name(BadName::Dots))));
        assert!(matches!(meanings("/etc/passwd"), Err(Meaningless::Name(BadName::Absolute))));
        assert!(matches!(meanings("../a["), Err(Meaningless::Pattern(_))));
        assert!(matches!(meanings("./"), Err(Meaningless::Name(BadName::Empty))));
    }

    #[test]
    fn names_that_look_alike_are_found() {
        let near = |wanted: &str, names: &[&str]| {
            let Near { same, like } = Near::among(wanted, names.iter().copied());
            (same, like)
        };
        let (same, _) = near("caf\u{e9}.txt", &["cafe\u{301}.txt", "other"]);
        assert_eq!(same, ["cafe\u{301}.txt"]);
        for (wanted, meant) in [
            ("Shot 1.00 PM.png", "Shot 1.00\u{202f}PM.png"),
            ("REPORT.txt", "report.txt"),
            ("photoz", "photos/"),
            ("report.txt/", "report.txt"),
            ("a.txt", "deep/a.txt"),
        ] {
            let (same, like) = near(wanted, &["zzz", meant, "quite another"]);
            assert!(same.is_empty());
            assert_eq!(like, [meant], "{wanted}");
        }
        assert_eq!(near("nothing", &["quite", "other"]), (vec![], vec![]));
    }
}
