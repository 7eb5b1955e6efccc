//! A system that is short of something: of threads, in this process.

use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use peershare::client::ExitStatus;
use peershare::threads::Ration;

use super::lab::{CHUNK, DEADLINE, Lab, Outcome, bytes};

/// A command, and whether all of it was done, by what is there afterwards and what was said.
struct Case {
    line: &'static str,
    is_done: fn(&Lab, &Outcome) -> bool,
}

const CASES: [Case; 7] = [
    Case { line: "download x a b", is_done: |lab, _| lab.read("me", "x").is_some() },
    Case {
        line: "download d/ a b",
        is_done: |lab, _| (0..FILES).all(|i| lab.read("me", &format!("d/{i}")).is_some()),
    },
    Case {
        line: "upload mine a b",
        is_done: |lab, _| ["a", "b"].iter().all(|peer| lab.read(peer, "mine").is_some()),
    },
    Case {
        line: "upload e/ a b",
        is_done: |lab, _| {
            let has = |peer: &&str| (0..FILES).all(|i| lab.read(peer, &format!("e/{i}")).is_some());
            ["a", "b"].iter().all(has)
        },
    },
    Case {
        line: "filelist a b",
        is_done: |_, outcome| outcome.out.contains("only a") && outcome.out.contains("only b"),
    },
    Case {
        line: "search only a b",
        is_done: |_, outcome| outcome.out.contains("only a") && outcome.out.contains("only b"),
    },
    Case {
        line: "ping a b",
        is_done: |_, outcome| outcome.out.contains('a') && outcome.out.contains('b'),
    },
];

/// Files of the folders.
const FILES: usize = 3;

/// Does it without some of the threads. Says whether one of them was asked for.
#[track_caller]
fn run_without(refused: Range<usize>, case: &'static Case) -> bool {
    let lab = Lab::of(&["a", "b"]);
    for peer in ["a", "b"] {
        lab.put(peer, "x", &bytes(1, 2 * CHUNK + 1));
        lab.put(peer, &format!("only {peer}"), b"x");
        (0..FILES).for_each(|i| lab.put(peer, &format!("d/{i}"), &bytes(i as u64, 1000)));
    }
    lab.put("me", "mine", &bytes(2, 2 * CHUNK + 1));
    (0..FILES).for_each(|i| lab.put("me", &format!("e/{i}"), &bytes(i as u64, 1000)));
    let ration = Ration::refusing(refused.clone());
    let (mut client, rationed, line) = (lab.impatient_client(), ration.clone(), case.line);
    let (done, ended) = mpsc::channel();
    let running = thread::spawn(move || {
        let _ = done.send(rationed.during(|| client.run(line)));
    });
    let outcome = match ended.recv_timeout(DEADLINE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{line} hangs without {refused:?}"),
        Err(_) => panic!("{line} panics without {refused:?}: {:?}", running.join().is_err()),
    };
    let is_done = (case.is_done)(&lab, &outcome);
    match outcome.status {
        ExitStatus::Success => assert!(is_done, "{line} without {refused:?}: {outcome:?}"),
        _ => assert!(!outcome.err.is_empty(), "{line} without {refused:?}: {outcome:?}"),
    }
    ration.asked() > refused.start
}

#[test]
fn whichever_thread_is_refused_nothing_panics_hangs_or_passes_for_done() {
    for case in &CASES {
        let mut refused = 0;
        while run_without(refused..refused + 1, case) {
            refused += 1;
        }
        assert!(refused > 2, "{} asks for {refused} threads", case.line);
    }
}

#[test]
fn the_same_when_from_some_point_on_there_are_no_threads_at_all() {
    for case in &CASES {
        let mut first = 0;
        while run_without(first..usize::MAX, case) {
            first += 1;
        }
    }
}
