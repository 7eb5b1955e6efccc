//! A system that is short of something: of threads, in this process; of open files, in others.

use std::ops::Range;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use peershare::client::ExitStatus;
use peershare::threads::Ration;

use super::lab::{CHUNK, DEADLINE, Lab, Outcome, bytes};
use super::programs::Site;
use super::rogue::{Deed, Rogue};

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

/// The same command with so few files that may be open.
fn with_few_files(command: &Command, files: usize) -> Command {
    let mut few = Command::new("sh");
    few.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\""));
    few.arg(command.get_program()).args(command.get_args());
    few.current_dir(command.get_current_dir().unwrap()).env_remove("RUST_LOG");
    few
}

/// Runs it; gives stdout, and asserts that all went well.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn with_few_open_files_folders_are_received_and_given_whole() {
    let site = Site::new();
    let name = |i: usize| format!("d/{}/deep/{}/f{i}", i % 40, i % 7);
    (0..600).for_each(|i| site.put("a", &name(i), &bytes(i as u64, 100 + i)));
    site.put("a", "d/large", &bytes(1, 5 << 20));
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    let mut download = site.client_command();
    download.args(["download", "d/", "a"]);
    succeeds(&mut with_few_files(&download, 40));
    for i in 0..600 {
        assert!(site.read("me", &name(i)).is_some_and(|data| data == bytes(i as u64, 100 + i)));
    }
    assert_eq!(site.read("me", "d/large").unwrap(), bytes(1, 5 << 20));
    let mut upload = site.client_command();
    upload.args(["upload", "d/", "--as", "e", "a"]);
    succeeds(&mut with_few_files(&upload, 40));
    assert!((0..600).all(|i| site.read("a", &name(i).replacen('d', "e", 1)).is_some()));
}

#[test]
fn with_few_open_files_there_are_fewer_connections_at_once() {
    let site = Site::new();
    let peer = Rogue::new("x", &bytes(1, 2 * CHUNK), |_, _| Deed::Honest);
    let ids: Vec<String> = (0..60).map(|i| format!("p{i}")).collect();
    let peers = ids.iter().map(|id| (id.as_str(), peer.listen()));
    site.list_peers(&peers.collect::<Vec<_>>());
    let mut list = site.client_command();
    list.args(["filelist"]);
    let listed = succeeds(&mut with_few_files(&list, 40));
    assert!(ids.iter().all(|id| listed.contains(id.as_str())), "{listed}");
    let mut download = site.client_command();
    download.args(["download", "x"]);
    succeeds(&mut with_few_files(&download, 40));
    assert_eq!(site.read("me", "x").unwrap(), bytes(1, 2 * CHUNK));
}
