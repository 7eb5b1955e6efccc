//! Files that are fetched while the only peer that has them hashes them: chunks flow at once, and
//! nothing counts before it is known what it is.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use peershare::client::ExitStatus;
use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{CHUNK, LONG, Lab, MESSAGES, bytes};
use super::rogue::{Deed, Rogue, refuse};

const CHUNKS: u32 = (LONG / CHUNK) as u32 + 1;

/// A peer that hashes `x` until so many of its chunks were read by name, and then knows what it is.
/// `named` says what it does with the read of a chunk of that number, `hashed` whether it may know.
fn hashing(
    data: &[u8],
    chunks: u32,
    named: impl Fn(u32) -> Deed + Send + Sync + 'static,
    then: impl Fn() -> Deed + Send + Sync + 'static,
) -> Rogue {
    let (read, total) = (AtomicU32::new(0), data.len() as u64);
    Rogue::new("x", data, move |request, _| match request {
        Request::ReadNamed { chunk, .. } => {
            read.fetch_add(1, SeqCst);
            named(*chunk)
        }
        Request::Describe { .. } if read.load(SeqCst) < chunks => Deed::Say(
            Response::Hashing { done: u64::from(read.load(SeqCst)) * 1000, total },
            vec![],
        ),
        Request::Describe { .. } => then(),
        _ => Deed::Honest,
    })
}

fn is_visible(folder: &Path) -> bool {
    fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() == "x"))
}

#[test]
fn all_of_a_file_comes_while_it_is_hashed_and_nothing_is_visible_before_it_is_known() {
    let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
    let (folder, too_soon) = (lab.folder("me"), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&too_soon);
    let then = move || {
        seen.fetch_or(is_visible(&folder), SeqCst);
        Deed::Honest
    };
    let rogue = hashing(&data, CHUNKS, |_| Deed::Honest, then);
    lab.rogue("a", &rogue);
    let outcome =
        lab.client().run("download x").succeeded().prints("downloaded x").prints("from a 100%");
    lab.assert_has("me", "x", &data);
    assert!(!too_soon.load(SeqCst), "it was visible before anybody knew what it is");
    assert!(outcome.received < LONG as u64 + 2 * CHUNK as u64 + MESSAGES, "{outcome:?}");
}

#[test]
fn what_came_early_and_is_not_what_was_hashed_is_fetched_again() {
    let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
    let bad = |chunk| if chunk == 3 { Deed::Corrupt } else { Deed::Honest };
    lab.rogue("a", &hashing(&data, CHUNKS, bad, || Deed::Honest));
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_peer_that_gives_nothing_before_it_has_hashed_is_waited_for() {
    for deed in [|| refuse(ErrorCode::Unsupported), || Deed::Cut] {
        let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
        lab.rogue("a", &hashing(&data, 1, move |_| deed(), || Deed::Honest));
        lab.client().run("download x").succeeded();
        lab.assert_has("me", "x", &data);
    }
}

#[test]
fn a_file_that_turns_out_longer_or_shorter_is_fetched_as_it_is() {
    for said in [1, CHUNK as u64, 3 * LONG as u64] {
        let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
        let told = AtomicBool::new(false);
        let rogue = Rogue::new("x", &data, move |request, _| match request {
            Request::Describe { .. } if !told.swap(true, SeqCst) => {
                Deed::Say(Response::Hashing { done: 0, total: said }, vec![])
            }
            _ => Deed::Honest,
        });
        lab.rogue("a", &rogue);
        lab.client().run("download x").succeeded();
        lab.assert_has("me", "x", &data);
    }
}

#[test]
fn what_came_before_the_only_peer_died_is_not_fetched_again() {
    let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
    lab.rogue("a", &hashing(&data, CHUNKS, |_| Deed::Honest, || Deed::Cut));
    lab.client().run("download x").is(ExitStatus::Unreachable);
    assert!(lab.visible("me").is_empty());
    lab.put("a", "x", &data);
    lab.start("a");
    let outcome = lab.client().run_when_free("download x").succeeded();
    assert!(outcome.received < CHUNK as u64 + MESSAGES, "{outcome:?}");
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_peer_that_knows_what_the_file_is_is_asked_rather() {
    let (mut lab, data) = (Lab::of(&["a", "b"]), bytes(1, LONG));
    // It would never end.
    lab.rogue("a", &hashing(&data, u32::MAX, |_| Deed::Honest, || Deed::Honest));
    lab.put("b", "x", &data);
    lab.start("b");
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_file_that_is_here_already_is_not_fetched_before_it_is_known() {
    let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
    let told = AtomicBool::new(false);
    let reads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&reads);
    let rogue = Rogue::new("x", &data, move |request, _| match request {
        Request::Describe { .. } if !told.swap(true, SeqCst) => {
            Deed::Say(Response::Hashing { done: 0, total: LONG as u64 }, vec![])
        }
        Request::ReadNamed { .. } => {
            counted.fetch_add(1, SeqCst);
            Deed::Honest
        }
        _ => Deed::Honest,
    });
    lab.rogue("a", &rogue);
    lab.put("me", "x", &data);
    lab.client().run("download x").succeeded().prints("already here");
    assert_eq!(reads.load(SeqCst), 0);
}
