//! `#SEARCH`: which peer has something that is called so, or has that id, and how much of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::said::Said;
use super::table::Layout;
use super::text::{quoted, size, wrapped};
use super::work::Work;
use super::{ExitStatus, classic, folding, shown};
use crate::config;
use crate::content::pattern::{escaped, is_pattern};
use crate::content::{ChunkLayout, ChunkSet, Entry, FileName, Root, RootPrefix, Selection};
use crate::fetch::SourceError;
use crate::fetch::list::{ListRequest, list};
use crate::locks::{self, lock};
use crate::threads;
use crate::topology::{Peer, PeerId};
use crate::wire::{Request, Response, Subject};

/// What was found at one peer.
#[derive(Clone, Debug)]
struct Found {
    name: FileName,
    size: Option<u64>,
    root: Option<Root>,
}

/// What was found in all, for asking those that may have a part of it.
type Contents = Mutex<BTreeMap<Root, (Found, Vec<PeerId>)>>;

/// Asks all peers at once, and shows what each has as it answers.
pub(super) fn run(work: &Work<'_>, wanted: &str, except: &[String]) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    if wanted.is_empty() {
        audience.error("say what to search for: a part of a name, a pattern or an id");
        return ExitStatus::Usage;
    }
    let pattern = pattern_of(wanted);
    if let Err(bad) = Selection::new(Some(&pattern), except) {
        audience.error(&format!(
            "cannot search for {}: {}",
            shown(wanted),
            shown(&bad.to_string())
        ));
        return ExitStatus::Usage;
    }
    let (except, waits) = (except.to_vec(), work.waits);
    let request = ListRequest { pattern: Some(pattern), except, waits, ..ListRequest::default() };
    let id = wanted.parse::<RootPrefix>().ok();
    let contents: Contents = Mutex::default();
    let ask = |peer: &Peer| search(work, peer, &request, id.as_ref(), &contents);
    let outcomes = threads::for_all(&work.peers, |peer| format!("search-{}", peer.id), ask);
    let outcomes = outcomes.into_iter().map(|one| one.unwrap_or(Err(SourceError::Stalled)));
    let outcomes: Vec<_> = work.peers.iter().cloned().zip(outcomes).collect();
    if work.cancel.is_cancelled() {
        return ExitStatus::Interrupted;
    }
    ask_for_parts(work, &outcomes, locks::into_inner(contents));
    end(work, wanted, &outcomes)
}

/// The pattern that fits every name with that text in it, in any case, and, where the text is a
/// pattern, what that fits.
fn pattern_of(wanted: &str) -> String {
    let containing = containing(wanted);
    let both = format!("{{{wanted},{containing}}}");
    match is_pattern(wanted) {
        true if Selection::new(Some(&both), &[]).is_ok() => both,
        true if Selection::new(Some(wanted), &[]).is_ok() => wanted.to_owned(),
        _ => format!("{{{containing}}}"),
    }
}

fn containing(wanted: &str) -> String {
    let mut text = String::new();
    for letter in wanted.chars() {
        // A letter that is two in the other case, such as ß, is only found as it is typed.
        let only = |mut letters: Box<dyn Iterator<Item = char>>| {
            letters.next().filter(|_| letters.next().is_none())
        };
        let cases = [only(Box::new(letter.to_lowercase())), only(Box::new(letter.to_uppercase()))];
        match cases {
            [Some(lower), Some(upper)] if lower != upper && letter.is_ascii() => {
                text.extend(['[', lower, upper, ']']);
            }
            [Some(lower), Some(upper)] if lower != upper => {
                text.push_str(&format!("{{{lower},{upper}}}"));
            }
            // It would end one of the two patterns below.
            _ if letter == ',' => text.push_str("[,]"),
            _ => text.push_str(&escaped(&letter.to_string())),
        }
    }
    format!("**/*{text}*,**/*{text}*/**")
}

fn search(
    work: &Work<'_>,
    peer: &Peer,
    request: &ListRequest,
    id: Option<&RootPrefix>,
    contents: &Contents,
) -> Result<u64, SourceError> {
    let mut count = 0;
    let mut found = |entry: Found| {
        count += 1;
        show(work, &peer.id, &entry, None);
        if let Some(root) = entry.root {
            let mut contents = lock(contents);
            if contents.len() >= config::SEARCHED_PARTS && !contents.contains_key(&root) {
                return;
            }
            contents.entry(root).or_insert_with(|| (entry, Vec::new())).1.push(peer.id.clone());
        }
    };
    let mut each = |page: Vec<Entry>| {
        for Entry { name, length, root, .. } in page {
            found(Found { name, size: Some(length), root });
        }
    };
    let framed = |peer: &Peer| list(peer, request, &work.caller, &work.cancel, &mut each);
    if work.is_classic(peer) || work.ask_framed(peer, framed)?.is_none() {
        return search_classic(work, peer, request);
    }
    if let Some(id) = id
        && let Some(entry) = by_id(work, peer, id)?
    {
        found(entry);
    }
    Ok(count)
}

fn search_classic(work: &Work<'_>, peer: &Peer, request: &ListRequest) -> Result<u64, SourceError> {
    let (listed, _) = classic::listed(peer, work.asker(peer).list()?);
    let Ok(selection) = Selection::new(request.pattern.as_deref(), &request.except) else {
        return Ok(0);
    };
    let fits = listed.into_iter().filter(|listed| selection.matches(&listed.name));
    Ok(fits
        .map(|listed| {
            show(work, &peer.id, &Found { name: listed.name, size: None, root: None }, None)
        })
        .count() as u64)
}

/// What has that id at a peer.
fn by_id(work: &Work<'_>, peer: &Peer, id: &RootPrefix) -> Result<Option<Found>, SourceError> {
    let mut connection = work.caller.connect(peer, &work.cancel)?;
    let _registration = work.cancel.closes(connection.closer());
    let request =
        Request::Describe { subject: Subject::Id(id.clone()), wait_ms: 0, digests_up_to: 0 };
    match connection.ask(&request, &[])?.map(|head| head.message) {
        Ok(Response::Manifest { name, length, root, .. }) => {
            Ok(Some(Found { name, size: Some(length), root: Some(root) }))
        }
        _ => Ok(None),
    }
}

/// Asks the peers that did not list what others have whether they have a part of it.
fn ask_for_parts(
    work: &Work<'_>,
    outcomes: &[(Peer, Result<u64, SourceError>)],
    contents: BTreeMap<Root, (Found, Vec<PeerId>)>,
) {
    let few: Vec<_> = contents.into_iter().take(config::SEARCHED_PARTS).collect();
    let asked = outcomes.iter().filter(|(peer, outcome)| outcome.is_ok() && !work.is_classic(peer));
    let asked: Vec<&Peer> = asked.map(|(peer, _)| peer).collect();
    let look = |peer: &&Peer| {
        for (root, (found, holders)) in &few {
            if holders.contains(&peer.id) || work.cancel.is_cancelled() {
                continue;
            }
            if let Some(percent) = part(work, peer, root, found.size.unwrap_or(0)) {
                show(work, &peer.id, found, Some(percent));
            }
        }
    };
    threads::for_all(&asked, |peer| format!("parts-{}", peer.id), look);
}

/// How much of a content a peer has that is receiving it, in percent.
fn part(work: &Work<'_>, peer: &Peer, root: &Root, length: u64) -> Option<u32> {
    let layout = ChunkLayout::usual(length).ok()?;
    let mut connection = work.caller.connect(peer, &work.cancel).ok()?;
    let _registration = work.cancel.closes(connection.closer());
    let request = Request::Have { root: *root, chunk_size: layout.chunk_size() };
    let Ok(Response::Have) = connection.ask(&request, &[]).ok()?.map(|head| head.message) else {
        return None;
    };
    let have = ChunkSet::from_bytes(&layout, &connection.take_payload().ok()?)?;
    let good: u64 = layout
        .indices()
        .filter(|index| have.contains(*index))
        .map(|index| layout.chunk_len(index) as u64)
        .sum();
    u32::try_from(good.saturating_mul(100).checked_div(length)?).ok()
}

fn show(work: &Work<'_>, peer: &PeerId, found: &Found, percent: Option<u32>) {
    let audience = &work.transfers.surroundings.audience;
    let Found { name, size: length, root } = found;
    let said = Said::Found {
        name: name.as_str(),
        size: *length,
        id: root.map(|root| root.to_string()),
        peer: peer.as_str(),
        percent: percent.unwrap_or(100),
    };
    let id = root.map_or("-".to_owned(), |root| root.short());
    let part = percent.map_or(String::new(), |percent| format!(" ({percent}%)"));
    let line = match audience.layout() {
        Layout::Aligned => {
            let length = length.map_or("-".to_owned(), size);
            let line = format!("{peer}{part}  {length}  {id}  {}", quoted(name.as_str()));
            wrapped(&line, audience.columns())
        }
        _ => {
            let length = length.map_or("-".to_owned(), |length| length.to_string());
            format!("{}\t{length}\t{id}\t{peer}\t{}", quoted(name.as_str()), percent.unwrap_or(100))
        }
    };
    // A pipe that was closed ends with the command.
    let _ = audience.result(&line, &said);
}

fn end(work: &Work<'_>, wanted: &str, outcomes: &[(Peer, Result<u64, SourceError>)]) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let failures =
        outcomes.iter().filter_map(|(peer, outcome)| Some((peer, outcome.as_ref().err()?)));
    folding::reasons(failures, |line| audience.error(line));
    let found = outcomes.iter().any(|(_, outcome)| outcome.as_ref().is_ok_and(|count| *count > 0));
    let answered = outcomes.iter().any(|(_, outcome)| outcome.is_ok());
    if answered && !found {
        audience.error(&format!(
            "no peer that answered has anything with {} in its name",
            quoted(wanted)
        ));
        return ExitStatus::NoSuchFile;
    }
    let outcome = |outcome: &Result<u64, SourceError>| {
        outcome.as_ref().err().map_or(ExitStatus::Success, ExitStatus::from)
    };
    ExitStatus::of_peers(outcomes.iter().map(|(_, one)| outcome(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_anywhere_in_a_name_and_in_any_case() {
        let fits = |wanted: &str, name: &str| {
            Selection::new(Some(&pattern_of(wanted)), &[]).unwrap().matches(&name.parse().unwrap())
        };
        assert!(fits("CÖDÉ", "my cödé.txt") && fits("straße", "Straße 1"));
        for name in ["Report.txt", "a/old-REPORT", "my reports/x/y", "report"] {
            assert!(fits("report", name), "{name}");
        }
        assert!(
            fits("a,b", "xa,bx")
                && !fits("a,b", "xa")
                && !fits("report", "repor/t")
                && !fits("a.b", "axb")
        );
        assert!(fits("*.iso", "a.iso") && !fits("*.iso", "d/a.iso"), "a pattern is that pattern");
    }
}
