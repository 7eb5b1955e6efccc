//! How far transfers are, for people: a bar each on a terminal, a line now and then elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::audience::{Audience, Gauge};
use super::progress::{Rate, amount, in_one_line, outlook, state};
use super::terminal::Terminal;
use super::text::{self, clipped, harmless, percents, size, width};
use crate::config;
use crate::fetch::{Contribution, Snapshot};
use crate::topology::PeerId;

/// A bar on a terminal; nothing is drawn before [`config::BAR_DELAY`].
pub(super) struct Drawn {
    multi: MultiProgress,
    label: String,
    bar: Option<ProgressBar>,
    /// From the beginning of the transfer.
    drawn_at: Duration,
    rates: Rates,
}

/// How fast all of it comes, and what comes from each peer.
#[derive(Default)]
struct Rates {
    all: Rate,
    peers: HashMap<PeerId, Rate>,
}

impl Drawn {
    pub(super) fn new(multi: MultiProgress, label: &str) -> Self {
        let (label, rates) = (harmless(label).into_owned(), Rates::default());
        Self { multi, label, bar: None, drawn_at: Duration::ZERO, rates }
    }

    /// The line or lines that show where it stands.
    fn text(&mut self, snapshot: &Snapshot, columns: usize) -> String {
        let rate = self.rates.all.update(snapshot);
        let mut lines = head(&self.label, snapshot, rate, columns);
        lines.extend(peers(snapshot, &mut self.rates.peers, columns));
        let lines: Vec<_> = lines.iter().map(|line| clipped(line, columns)).collect();
        lines.join("\n")
    }
}

impl Gauge for Drawn {
    fn update(&mut self, snapshot: &Snapshot) {
        let due = match self.bar {
            Some(_) => self.drawn_at + config::BAR_INTERVAL,
            None => config::BAR_DELAY,
        };
        if snapshot.elapsed < due {
            return;
        }
        self.drawn_at = snapshot.elapsed;
        // Each time anew, as a terminal may be resized. Its last column is left free, because
        // some go to the next line when it is written to.
        let columns = text::columns_of_stderr().saturating_sub(1);
        let text = self.text(snapshot, columns);
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => {
                // The whole bar is made before it is seen for the first time.
                let hidden = ProgressDrawTarget::hidden();
                let bar = ProgressBar::with_draw_target(None, hidden).with_message(text);
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                let bar = self.multi.add(bar);
                bar.tick();
                self.bar = Some(bar);
            }
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }
}

/// Label, bar, percent, and as much of the rest as there is room for; where one line is too short
/// for the bar and its figures, the label stands above.
fn head(label: &str, snapshot: &Snapshot, rate: u64, columns: usize) -> Vec<String> {
    let percent = match (snapshot.done, snapshot.total) {
        (_, 0) => "  0%".to_owned(),
        (done, total) => format!("{:3}%", u128::from(done.min(total)) * 100 / u128::from(total)),
    };
    let (amount, outlook) = (amount(snapshot), outlook(snapshot, rate));
    let whole = format!("{percent}  {amount}  {outlook}");
    let label = clipped(label, config::LABEL_COLUMNS.max(columns / 3));
    let beside = columns.saturating_sub(width(&label) + width(&whole) + 2);
    if beside >= config::SHORTEST_BAR {
        let bar = filled(beside.min(config::LONGEST_BAR), snapshot);
        return vec![format!("{label} {bar} {whole}")];
    }
    let fits = 2 + config::SHORTEST_BAR + 1 + width(&whole) <= columns;
    let figures = if fits { whole } else { format!("{percent}  {outlook}") };
    let room = columns.saturating_sub(width(&figures) + 3);
    let bar = filled(room.clamp(config::SHORTEST_BAR, config::LONGEST_BAR), snapshot);
    vec![label.into_owned(), format!("  {bar} {figures}")]
}

/// A bar of so many columns, filled as far as the transfer is, in eighths of a column.
fn filled(columns: usize, snapshot: &Snapshot) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = snapshot.done.min(snapshot.total) as f64 / snapshot.total.max(1) as f64;
    let eighths = (share * (columns * 8) as f64) as usize;
    let part = PARTS.get(eighths % 8).copied().unwrap_or_default();
    let mut bar = format!("{}{part}", "█".repeat(eighths / 8));
    let taken = width(&bar);
    text::pad(&mut bar, taken, columns);
    bar
}

/// A line for each peer that contributes, the first [`config::SHOWN_SHARES`] of them; the others
/// are added up. Where there is little room, how much came is left to the percents.
fn peers(snapshot: &Snapshot, rates: &mut HashMap<PeerId, Rate>, columns: usize) -> Vec<String> {
    let amount = |bytes| match columns {
        ..48 => String::new(),
        48.. => format!("  {:>10}", size(bytes)),
    };
    let sources = &snapshot.sources;
    let (first, others) = sources.split_at(sources.len().min(config::SHOWN_SHARES));
    let mut amounts: Vec<u64> = first.iter().map(|source| source.bytes).collect();
    amounts.push(others.iter().map(|source| source.bytes).sum());
    let shares = percents(&amounts);
    let mut line = |source: &Contribution, share: u64| {
        let came =
            Snapshot { done: source.bytes, elapsed: snapshot.elapsed, ..Snapshot::default() };
        let rate = rates.entry(source.peer.clone()).or_default().update(&came);
        let state = state(source).unwrap_or_else(|| format!("{}/s", size(rate)));
        format!("  {:12} {share:3}%{}  {state}", source.peer.as_str(), amount(source.bytes))
    };
    let mut lines: Vec<String> =
        first.iter().zip(&shares).map(|(source, share)| line(source, *share)).collect();
    if let (false, Some(share), Some(bytes)) = (others.is_empty(), shares.last(), amounts.last()) {
        let who = format!("{} others", others.len());
        lines.push(format!("  {who:12} {share:3}%{}", amount(*bytes)));
    }
    lines
}

/// A line now and then, where nothing can be drawn.
pub(super) struct Spoken {
    reader: Terminal,
    label: String,
    /// From the beginning of the transfer.
    said_at: Duration,
    rate: Rate,
}

impl Spoken {
    pub(super) fn new(reader: Terminal, label: &str) -> Self {
        let (label, rate) = (label.to_owned(), Rate::default());
        Self { reader, label, said_at: Duration::ZERO, rate }
    }
}

impl Gauge for Spoken {
    fn update(&mut self, snapshot: &Snapshot) {
        if snapshot.elapsed < self.said_at + config::PROGRESS_LINE {
            return;
        }
        self.said_at = snapshot.elapsed;
        let rate = self.rate.update(snapshot);
        self.reader.note(&format!("{}: {}", self.label, in_one_line(snapshot, rate)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn source(peer: &str, bytes: u64, active: bool) -> Contribution {
        Contribution { peer: peer.parse().unwrap(), bytes, active, waiting: None }
    }

    /// What is drawn of a transfer that has run for so many seconds.
    fn drawn(label: &str, columns: usize, sources: Vec<Contribution>) -> Vec<String> {
        let mut bar = Drawn::new(MultiProgress::new(), label);
        let (done, elapsed) = (500 * MIB, Duration::from_secs(50));
        let snapshot =
            Snapshot { total: 1000 * MIB, done, elapsed, sources, ..Snapshot::default() };
        bar.text(&snapshot, columns).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_bar_fits_any_terminal_and_keeps_what_matters_most() {
        for columns in [39, 60, 79, 119, 300] {
            for label in ["a", "peer1 a rather long name of a film.mkv", "日本語の長いファイル名"]
            {
                let sources = vec![source("p1", 300 * MIB, true), source("p2", 200 * MIB, false)];
                let lines = drawn(label, columns, sources);
                let text = lines.join("\n");
                for line in &lines {
                    assert!(width(line) <= columns, "{columns}: {line}");
                }
                for part in [" 50%", "10.0 MiB/s", "50 s left", "█", " 60% ", "gone"] {
                    assert!(text.contains(part), "{columns}: {part} in {text}");
                }
            }
        }
        assert_eq!(
            drawn("a.iso", 79, vec![]),
            ["a.iso ██████████            50%  500.0 MiB / 1000.0 MiB  10.0 MiB/s  50 s left"]
        );
    }

    #[test]
    fn each_peer_has_a_line_and_many_are_added_up() {
        let sources: Vec<_> = (1..=9).map(|i| source(&format!("p{i}"), 10 * MIB, true)).collect();
        let lines = drawn("a", 80, sources);
        assert_eq!(lines.len(), 1 + config::SHOWN_SHARES + 1);
        assert!(lines[1].starts_with("  p1            11%    10.0 MiB  "), "{}", lines[1]);
        assert!(lines.last().unwrap().contains("3 others"), "{lines:?}");
    }

    #[test]
    fn a_quick_transfer_draws_nothing() {
        let mut bar = Drawn::new(MultiProgress::new(), "a");
        let quick = Snapshot { elapsed: config::BAR_DELAY / 2, ..Snapshot::default() };
        bar.update(&quick);
        assert!(bar.bar.is_none());
        bar.update(&Snapshot { elapsed: config::BAR_DELAY, ..quick });
        assert!(bar.bar.is_some());
    }
}
