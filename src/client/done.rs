//! Says how a download went.

use super::ExitStatus;
use super::said::{Said, Transferred};
use super::text::{self, quoted};
use super::work::Work;
use crate::content::FileName;
use crate::fetch::Snapshot;

/// Says that a file is here now.
pub(super) fn say_downloaded(work: &Work<'_>, name: &FileName, snapshot: &Snapshot) -> ExitStatus {
    let line = format!("{}{}", summary(name, snapshot), work.where_it_lies(name.as_str()));
    let said = Said::Transferred(transferred(name, snapshot, 0));
    work.transfers.surroundings.audience.say(&line, &said)
}

/// Says that a file was here before.
pub(super) fn say_already_here(work: &Work<'_>, name: &FileName) -> ExitStatus {
    let line = format!("{} is already here", quoted(name.as_str()));
    let nothing = Snapshot::default();
    let said = Said::Transferred(transferred(name, &nothing, 1));
    work.transfers.surroundings.audience.say(&line, &said)
}

fn transferred<'a>(name: &'a FileName, snapshot: &'a Snapshot, there: u64) -> Transferred<'a> {
    Transferred {
        direction: "download",
        name: name.as_str(),
        bytes: came(snapshot),
        seconds: snapshot.elapsed.as_secs_f64(),
        files: 1 - there,
        there,
        sources: &snapshot.sources,
        ..Transferred::default()
    }
}

/// How much came, how fast, and from whom.
fn summary(name: &FileName, snapshot: &Snapshot) -> String {
    let rate = text::rate(came(snapshot), snapshot.elapsed);
    let much = text::fetched(snapshot.total, came(snapshot));
    format!("downloaded {}: {much}{rate}{}", quoted(name.as_str()), shares(snapshot))
}

/// Bytes that came in this transfer.
pub(super) fn came(snapshot: &Snapshot) -> u64 {
    snapshot.sources.iter().map(|source| source.bytes).sum()
}

/// From whom they came, such as ` from peer1 42%, peer2 58%`.
pub(super) fn shares(snapshot: &Snapshot) -> String {
    let amounts: Vec<u64> = snapshot.sources.iter().map(|source| source.bytes).collect();
    let shares = snapshot.sources.iter().zip(text::percents(&amounts));
    let sources: Vec<String> = shares
        .filter(|(source, _)| source.bytes > 0)
        .map(|(source, percent)| format!("{} {percent}%", source.peer))
        .collect();
    if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(", ")) }
}
