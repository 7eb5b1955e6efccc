//! How long an upload to many targets takes beside what the links allow, simulated: `model` says
//! how.
//!
//! `cargo bench --bench swarm` prints a table that is the same at every run.

mod model;

use model::{End, Link, ORIGIN, Report, Scenario, Simulation, Time};
use peershare::content::ChunkLayout;
use peershare::serve::handout;

/// Length of the file in bytes.
const LENGTH: u64 = 128 << 20;

/// The uplink and the downlink of a usual peer, in bytes a second: 200 Mbit/s.
const RATE: u64 = 25_000_000;

/// The numbers of targets with equal links.
const EQUAL: [usize; 8] = [1, 2, 4, 8, 16, 64, 256, 1000];

/// What a run is held against.
#[derive(Clone, Copy)]
struct Judged {
    /// The targets whose time counts.
    counts: fn(usize) -> bool,
    /// How often the origin must send every byte, as no one else can.
    copies: u64,
}

const ALL: Judged = Judged { counts: |_| true, copies: 1 };

/// The first target is the one that is slow, or ends.
const OTHERS: Judged = Judged { counts: |target| target != 1, copies: 1 };

fn main() {
    println!(
        "| targets | time s | bound s | time ÷ bound | origin sent ÷ F | chunks twice | sources |"
    );
    println!("|---|---|---|---|---|---|---|");
    EQUAL.iter().for_each(|targets| row(&targets.to_string(), &equal(*targets), ALL));
    mixed();
}

/// Links that are not all alike, and targets that end.
fn mixed() {
    for targets in [4, 8, 16, 64] {
        let mut scenario = equal(targets);
        scenario.links[1..=targets / 2].iter_mut().for_each(|link| link.up /= 4);
        row(&format!("{targets}, half of them with a quarter of the uplink"), &scenario, ALL);
    }
    for targets in [4, 8, 16, 64] {
        let mut scenario = equal(targets);
        scenario.links[1] = Link { up: RATE / 10, down: RATE / 10 };
        row(&format!("{targets}, one at a tenth: the others"), &scenario, OTHERS);
    }
    for (end, what) in [(End::Killed, "killed"), (End::Silent, "silent")] {
        for targets in [4, 8, 16, 64] {
            let half = LENGTH * 1_000_000_000 / RATE / 2;
            let scenario = Scenario { end: Some((1, half, end)), ..equal(targets) };
            row(&format!("{targets}, one {what} half-way: the others"), &scenario, OTHERS);
        }
    }
    let halves = Scenario { reach: |one, other| (one <= 4) == (other <= 4), ..equal(8) };
    row("8, two halves that do not reach each other", &halves, Judged { copies: 2, ..ALL });
    let isolated = Scenario { reach: |_, _| false, ..equal(8) };
    row("8 that do not reach one another", &isolated, Judged { copies: 8, ..ALL });
}

/// An upload as the code does it, over equal links.
fn equal(targets: usize) -> Scenario {
    let usual = ChunkLayout::usual(LENGTH).unwrap();
    let layout = match targets {
        1 => usual,
        _ => ChunkLayout::new(LENGTH, handout::chunk_size(&usual, targets)).unwrap(),
    };
    Scenario {
        layout,
        links: vec![Link { up: RATE, down: RATE }; targets + 1],
        reach: |_, _| true,
        end: None,
    }
}

/// Prints how it went for those targets that count.
fn row(what: &str, scenario: &Scenario, judged: Judged) {
    let report = Simulation::run(scenario.clone());
    // One that dies, or is slow to answer, may have to be replaced.
    let equal = scenario.links.iter().all(|link| (link.up, link.down) == (RATE, RATE));
    if equal && scenario.end.is_none() {
        assert!(report.handed.iter().all(|times| *times <= 1), "handed out more than once");
    }
    let bound = bound(scenario, judged);
    let Report { twice, sources, .. } = report;
    let (time, ratio) = match last(&report, judged.counts) {
        Some(time) => (format!("{time:.2}"), format!("{:.2}", time / bound)),
        None => ("never".to_owned(), String::new()),
    };
    let sent = report.origin_sent as f64 / LENGTH as f64;
    println!("| {what} | {time} | {bound:.2} | {ratio} | {sent:.2} | {twice} | {sources} |");
}

/// When the last target that counts had the file, in seconds.
fn last(report: &Report, counts: fn(usize) -> bool) -> Option<f64> {
    let done = report.done.iter().enumerate().skip(1).filter(|(target, _)| counts(*target));
    let last: Option<Vec<Time>> = done.map(|(_, done)| *done).collect();
    Some(last?.into_iter().max()? as f64 / 1e9)
}

/// Least time in seconds in which those targets that count can have the file when they help one
/// another: the origin sends every byte as often as it must, everybody takes every byte, and all
/// uplinks together send as much as all take.
fn bound(scenario: &Scenario, judged: Judged) -> f64 {
    let targets = 1..scenario.links.len();
    let counted: Vec<Link> = targets
        .filter(|target| (judged.counts)(*target))
        .map(|target| scenario.links[target])
        .collect();
    let origin = scenario.links[ORIGIN].up;
    let slowest = counted.iter().map(|link| link.down).min().unwrap_or(RATE);
    let together = origin + counted.iter().map(|link| link.up).sum::<u64>();
    let shared = counted.len() as f64 * LENGTH as f64 / together as f64;
    shared.max((judged.copies * LENGTH) as f64 / origin as f64).max(LENGTH as f64 / slowest as f64)
}
