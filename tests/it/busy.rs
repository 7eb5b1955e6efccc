//! Peers that have no place at the moment: asked again, and never taken for older programs.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peershare::client::ExitStatus;
use peershare::transport::Stream;

use super::lab::{CHUNK, DEADLINE, Lab, bytes};
use super::rogue::busy;

/// How somebody is turned away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// With an answer.
    Told,
    /// By the end of the connection.
    Cut,
    /// Not at all: the connection stays, and nothing is said.
    Silent,
}

/// The first connections to `a` are turned away. Says how many came.
fn full_at_first(lab: &Lab, away: Away, first: u32) -> Arc<AtomicU32> {
    let (host, came) = (lab.host("a"), Arc::<AtomicU32>::default());
    let (counted, kept) = (came.clone(), Mutex::new(Vec::new()));
    lab.network.attach("a".parse().unwrap(), move |stream| {
        match (counted.fetch_add(1, SeqCst) < first, away) {
            (true, Away::Told) => busy(stream),
            (true, Away::Cut) => stream.closer().close(),
            (true, Away::Silent) => kept.lock().unwrap().push(stream),
            (false, _) => host.serve(stream),
        }
    });
    came
}

/// A lab in which every command has something to do.
fn lab() -> Lab {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, 2 * CHUNK + 1);
    lab.put("a", "x", &data);
    (0..3).for_each(|i| lab.put("a", &format!("d/{i}"), &data[i..1000]));
    lab.put("me", "mine", &data[1..]);
    lab.put("me", "e/f", &data[2..1000]);
    lab
}

const COMMANDS: [&str; 6] =
    ["filelist", "search x", "download x", "download d/", "upload mine", "upload e/"];

/// Tries these commands at the same time.
fn each(lines: &[&'static str], attempt: impl Fn(&'static str) + Sync) {
    thread::scope(|scope| {
        for line in lines {
            scope.spawn(|| attempt(line));
        }
    });
}

#[test]
fn a_busy_peer_is_asked_again_until_it_has_a_place() {
    each(&COMMANDS, |line| {
        let lab = lab();
        let came = full_at_first(&lab, Away::Told, 5);
        let outcome = lab.client_that_endures(DEADLINE).run(line).succeeded();
        assert!(came.load(SeqCst) > 5, "{line}");
        outcome.tells("it is busy (busy)");
    });
}

#[test]
fn a_peer_that_stays_busy_is_told_as_such_and_its_exit_code_is_that_of_a_peer_out_of_reach() {
    each(&COMMANDS, |line| {
        let lab = lab();
        full_at_first(&lab, Away::Told, u32::MAX);
        let outcome = lab.impatient_client().run(line).is(ExitStatus::Unreachable);
        outcome.tells("it is busy (busy)");
    });
    let lab = lab();
    full_at_first(&lab, Away::Told, u32::MAX);
    lab.client_that_endures(Duration::from_secs(3))
        .run("filelist")
        .is(ExitStatus::Unreachable)
        .tells("gave up after 3 s: it is busy (busy)");
}

#[test]
fn a_peer_that_hangs_up_once_is_no_older_program() {
    // Older programs have no folders.
    let of_files = COMMANDS.into_iter().filter(|line| !line.ends_with('/'));
    each(&of_files.collect::<Vec<_>>(), |line| {
        let lab = lab();
        full_at_first(&lab, Away::Cut, 1);
        let outcome = lab.client_that_endures(DEADLINE).run(line).succeeded();
        // Text would be said not to be verified, and listed without sizes.
        assert!(!outcome.err.contains("classic"), "{line}: {outcome:?}");
        assert!(!outcome.out.contains("\t-\t-\t"), "{line}: {outcome:?}");
    });
}

#[test]
fn a_peer_that_always_hangs_up_or_says_nothing_is_out_of_reach_and_not_without_the_file() {
    for away in [Away::Cut, Away::Silent] {
        each(&COMMANDS, |line| {
            let lab = lab();
            full_at_first(&lab, away, u32::MAX);
            let outcome = lab.impatient_client().run(line).is(ExitStatus::Unreachable);
            outcome.tells("too busy");
        });
    }
}

#[test]
fn nobody_waits_for_a_busy_peer_where_another_has_it() {
    let lab = Lab::of(&["a", "b"]);
    let data = bytes(1, 2 * CHUNK + 1);
    ["a", "b"].iter().for_each(|peer| lab.put(peer, "x", &data));
    full_at_first(&lab, Away::Told, u32::MAX);
    lab.client_that_endures(DEADLINE).run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}
