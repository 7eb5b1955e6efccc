//! Swarms on an invented clock, with the model of `benches/swarm`: who gets what when, without a
//! socket.

use peershare::config;
use peershare::content::ChunkLayout;

use crate::model::{End, Link, Report, Scenario, Simulation};

/// Bytes a second of every link, and seconds that one takes for the file.
const RATE: u64 = 4 << 20;
const LEAST: f64 = 2.0;

fn scenario(targets: usize) -> Scenario {
    Scenario {
        layout: ChunkLayout::new(8 << 20, config::SMALLEST_UNIT).unwrap(),
        links: vec![Link { up: RATE, down: RATE }; targets + 1],
        reach: |_, _| true,
        end: None,
    }
}

/// When the last of those targets had the file, in seconds.
#[track_caller]
fn last(report: &Report, targets: std::ops::RangeInclusive<usize>) -> f64 {
    let done =
        targets.map(|target| report.done[target].unwrap_or_else(|| panic!("{target} is not done")));
    done.max().unwrap() as f64 / 1e9
}

#[test]
fn all_chunks_come_to_everybody_and_each_is_handed_out_once() {
    for targets in 1..=5 {
        let report = Simulation::run(scenario(targets));
        let time = last(&report, 1..=targets);
        assert!(time < LEAST * 1.15, "{time} s for {targets}");
        assert!(report.handed.iter().all(|times| *times == 1));
        assert_eq!((report.origin_sent, report.twice), (8 << 20, 0));
    }
}

#[test]
fn a_target_that_dies_or_falls_silent_costs_the_others_little() {
    for end in [End::Killed, End::Silent] {
        let report =
            Simulation::run(Scenario { end: Some((2, 1_000_000_000, end)), ..scenario(4) });
        assert!(report.done[2].is_none());
        let time = last(&report, 1..=1).max(last(&report, 3..=4));
        assert!(time < LEAST * 1.3, "{time} s");
        // What the lost one was handed, a quarter of the half until then, may go out once more.
        assert!(report.handed.iter().all(|times| (1..=2).contains(times)));
        let again = report.handed.iter().filter(|times| **times == 2).count();
        assert!(again <= report.handed.len() / 4, "{again} chunks");
    }
}

#[test]
fn targets_that_do_not_reach_one_another_have_all_from_the_origin() {
    let report = Simulation::run(Scenario { reach: |_, _| false, ..scenario(3) });
    let time = last(&report, 1..=3);
    assert!(time < 3.0 * LEAST * 1.1, "{time} s");
    assert!(report.origin_sent < 25 << 20, "{} bytes", report.origin_sent);
}

#[test]
fn a_slow_target_does_not_slow_the_others_down_to_its_own_rate() {
    let mut slow = scenario(4);
    slow.links[1] = Link { up: RATE / 10, down: RATE / 10 };
    let time = last(&Simulation::run(slow), 2..=4);
    assert!(time < LEAST * 2.0, "{time} s");
}

#[test]
fn a_simulation_is_the_same_at_every_run() {
    let done = || Simulation::run(scenario(5)).done;
    assert_eq!(done(), done());
}
