//! How far a transfer is, and what happens to it, in words.

use std::time::Duration;

use super::text::{files, percents, shown, size, span};
use crate::config;
use crate::fetch::{Contribution, Event, Snapshot};

/// What happened, in words for the user.
pub(super) fn in_words(event: &Event) -> String {
    match event {
        Event::Resumed { bytes } => {
            format!(
                "{} are here already, from an earlier attempt or an older version",
                size(*bytes)
            )
        }
        Event::Hashing { peer, done, total } => {
            format!("{peer} is hashing it first ({} of {})", size(*done), size(*total))
        }
        Event::Many { files: many } => format!(
            "{} are listed so far, which takes much memory; name a folder or a pattern to have fewer at once",
            files(*many)
        ),
        Event::Waiting { peer, reason } => {
            format!("waiting for {peer}: {}", shown(reason))
        }
        Event::Back { peer, after } => format!("{peer} is back after {}", span(*after)),
        Event::SourceLost { peer, reason } => format!("lost {peer}: {}", shown(reason)),
        Event::SourceRetried { peer, reason } => {
            format!("trying {peer} again in a moment: {}", shown(reason))
        }
    }
}

/// How much of it is here: files of a folder, and bytes.
pub(super) fn amount(snapshot: &Snapshot) -> String {
    let bytes = format!("{} / {}", size(snapshot.done), size(snapshot.total));
    match snapshot.of_files {
        0 => bytes,
        of_files => format!("{} / {}  {bytes}", snapshot.files, files(of_files)),
    }
}

/// How fast it comes and how long that will take, or why nothing does.
pub(super) fn outlook(snapshot: &Snapshot, rate: u64) -> String {
    let away = snapshot.sources.iter().find_map(|source| Some((&source.peer, source.waiting?)));
    let missing = snapshot.total.saturating_sub(snapshot.done);
    match (away, missing.checked_div(rate)) {
        _ if missing == 0 && snapshot.total > 0 => "finishing: it goes to the disk".to_owned(),
        (Some((peer, time)), None) if missing > 0 => format!("waiting for {peer}, {}", span(time)),
        (_, Some(seconds)) if missing > 0 => {
            format!("{}/s  {} left", size(rate), span(Duration::from_secs(seconds)))
        }
        _ => format!("{}/s", size(rate)),
    }
}

/// All of that, and what each peer contributes.
pub(super) fn in_one_line(snapshot: &Snapshot, rate: u64) -> String {
    let text = format!("{}  {}", amount(snapshot), outlook(snapshot, rate));
    match snapshot.sources.as_slice() {
        [] => text,
        sources => format!("{text}  {}", shares(sources)),
    }
}

/// What there is to say of a source that gives nothing.
pub(super) fn state(source: &Contribution) -> Option<String> {
    match (source.waiting, source.active) {
        (Some(time), _) => Some(format!("away, {}", span(time))),
        (None, false) => Some("gone".to_owned()),
        (None, true) => None,
    }
}

/// What each peer contributes of what came in this time, such as `peer1 42% · peer2 58%`.
fn shares(sources: &[Contribution]) -> String {
    let (first, others) = sources.split_at(sources.len().min(config::SHOWN_SHARES));
    let mut amounts: Vec<u64> = first.iter().map(|source| source.bytes).collect();
    amounts.push(others.iter().map(|source| source.bytes).sum());
    let mut percents = percents(&amounts).into_iter();
    let mut parts: Vec<String> = first
        .iter()
        .zip(percents.by_ref())
        .map(|(source, percent)| match state(source) {
            Some(state) => format!("{} {percent}% ({state})", source.peer),
            None => format!("{} {percent}%", source.peer),
        })
        .collect();
    if !others.is_empty() {
        parts.push(format!("{} others {}%", others.len(), percents.next().unwrap_or_default()));
    }
    parts.join(" · ")
}

/// Bytes a second, smoothed over a few seconds; what was resumed does not count.
#[derive(Debug, Default)]
pub(super) struct Rate {
    last: Option<(Duration, u64)>,
    per_second: f64,
}

impl Rate {
    /// Seconds after which an old rate has lost most of its weight.
    const MEMORY: f64 = 3.0;

    /// Takes in where the transfer stands; gives the rate.
    pub(super) fn update(&mut self, snapshot: &Snapshot) -> u64 {
        let (since, before) = self.last.unwrap_or((Duration::ZERO, snapshot.resumed));
        let passed = snapshot.elapsed.saturating_sub(since).as_secs_f64();
        if passed > 0.0 {
            let now = snapshot.done.saturating_sub(before) as f64 / passed;
            let weight =
                if self.last.is_none() { 1.0 } else { 1.0 - (-passed / Self::MEMORY).exp() };
            self.per_second += weight * (now - self.per_second);
            self.last = Some((snapshot.elapsed, snapshot.done));
        }
        self.per_second as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn source(peer: &str, bytes: u64, active: bool) -> Contribution {
        Contribution { peer: peer.parse().unwrap(), bytes, active, waiting: None }
    }

    fn at(seconds: u64, done: u64) -> Snapshot {
        let elapsed = Duration::from_secs(seconds);
        Snapshot { total: 1000 * MIB, done, resumed: 100 * MIB, elapsed, ..Snapshot::default() }
    }

    #[test]
    fn the_rate_counts_what_came_this_time_and_follows_changes() {
        let mut rate = Rate::default();
        assert_eq!(rate.update(&at(1, 110 * MIB)), 10 * MIB);
        assert_eq!(rate.update(&at(1, 110 * MIB)), 10 * MIB);
        for second in 2..30 {
            rate.update(&at(second, (110 + 20 * (second - 1)) * MIB));
        }
        assert_eq!((rate.per_second / MIB as f64).round(), 20.0);
    }

    #[test]
    fn a_line_tells_amount_rate_time_left_and_shares() {
        let mut snapshot = at(5, 200 * MIB);
        snapshot.sources = vec![source("peer1", 42 * MIB, true), source("peer2", 58 * MIB, false)];
        let expected =
            "200.0 MiB / 1000.0 MiB  10.0 MiB/s  1 min 20 s left  peer1 42% · peer2 58% (gone)";
        assert_eq!(in_one_line(&snapshot, 10 * MIB), expected);
    }

    #[test]
    fn a_folder_tells_its_files_too() {
        let snapshot = Snapshot { files: 7, of_files: 9, ..at(5, 200 * MIB) };
        assert!(in_one_line(&snapshot, 0).starts_with("7 / 9 files  200.0 MiB / "));
    }

    #[test]
    fn a_standstill_has_no_time_left() {
        assert_eq!(in_one_line(&at(5, 200 * MIB), 0), "200.0 MiB / 1000.0 MiB  0 B/s");
    }

    #[test]
    fn many_peers_are_added_up() {
        let sources: Vec<_> = (1..=8).map(|i| source(&format!("p{i}"), 0, true)).collect();
        assert!(shares(&sources).ends_with("p6 0% · 2 others 0%"));
    }

    #[test]
    fn events_are_told_in_words_and_made_harmless() {
        let event =
            Event::SourceLost { peer: "p1".parse().unwrap(), reason: "no\u{1b}[2J".to_owned() };
        assert_eq!(in_words(&event), r"lost p1: no\u{1b}[2J");
        assert_eq!(
            in_words(&Event::Resumed { bytes: MIB }),
            "1.0 MiB are here already, from an earlier attempt or an older version"
        );
    }
}
