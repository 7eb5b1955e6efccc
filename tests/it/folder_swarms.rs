//! Folders that several peers fetch together: the targets of an upload, and simultaneous downloads.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use peershare::client::ExitStatus;

use super::lab::{Lab, bytes};

/// Small, middling and large files, with copies and an empty one, by their names.
fn folder() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("d/large".to_owned(), bytes(1, (5 << 20) + 77));
    for number in 0..4_u64 {
        files.insert(format!("d/middling{number}"), bytes(10 + number, 600_000));
    }
    for number in 0..150_u64 {
        files.insert(format!("d/sub/small{number:03}"), bytes(100 + number, 16_000));
    }
    files.insert("d/sub/copy".to_owned(), bytes(100, 16_000));
    files.insert("d/empty".to_owned(), Vec::new());
    files
}

fn length(files: &BTreeMap<String, Vec<u8>>) -> u64 {
    files.values().map(|data| data.len() as u64).sum()
}

fn put_all(lab: &Lab, peer: &str, files: &BTreeMap<String, Vec<u8>>) {
    files.iter().for_each(|(name, data)| lab.put(peer, name, data));
}

#[track_caller]
fn assert_has_all(lab: &Lab, peer: &str, files: &BTreeMap<String, Vec<u8>>) {
    files.iter().for_each(|(name, data)| lab.assert_has(peer, name, data));
}

#[test]
fn every_byte_of_a_folder_leaves_the_uploader_about_once() {
    let lab = Lab::of(&["a", "b", "c", "d"]);
    let files = folder();
    put_all(&lab, "me", &files);
    let outcome = lab.client().run("upload d").succeeded();
    ["a", "b", "c", "d"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
    assert!(outcome.sent < length(&files) * 3 / 2, "{} of {}", outcome.sent, length(&files));
    let again = lab.client().run("upload d").succeeded();
    assert!(again.sent < 1 << 20, "{} bytes were sent again", again.sent);
}

#[test]
fn without_a_swarm_every_target_gets_the_folder_from_the_uploader() {
    let lab = Lab::of(&["a", "b"]);
    let files = folder();
    put_all(&lab, "me", &files);
    let outcome = lab.client().run("upload d --no-swarm").succeeded();
    assert!(outcome.sent >= 2 * length(&files) - 100_000, "{}", outcome.sent);
    ["a", "b"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
}

#[test]
fn a_target_of_a_folder_that_dies_half_way_does_not_keep_the_others_from_it() {
    let mut lab = Lab::of(&["a", "b", "c", "d"]);
    let files = folder();
    put_all(&lab, "me", &files);
    let (network, dying) = (lab.network.clone(), lab.host("d"));
    let mut client = lab.client();
    client.traffic.after(length(&files) / 2, move || {
        network.detach(&"d".parse().unwrap());
        dying.end_sessions();
    });
    client.run("upload d").is(ExitStatus::SomePeersFailed);
    ["a", "b", "c"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
    lab.start("d");
    client.run("upload d").succeeded();
    assert_has_all(&lab, "d", &files);
}

#[test]
fn a_target_that_has_all_of_a_folder_gives_it_and_one_that_has_half_of_it_too() {
    let lab = Lab::of(&["a", "b", "c"]);
    let files = folder();
    put_all(&lab, "me", &files);
    put_all(&lab, "a", &files);
    let (mut half, mut here) = (BTreeMap::new(), 0);
    for (name, data) in &files {
        if here < length(&files) / 2 {
            here += data.len() as u64;
            half.insert(name.clone(), data.clone());
        }
    }
    put_all(&lab, "b", &half);
    let outcome = lab.client().run("upload d").succeeded();
    ["a", "b", "c"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
    assert!(outcome.sent < length(&files) * 5 / 4, "{} of {}", outcome.sent, length(&files));
}

#[test]
fn when_the_uploader_of_a_folder_dies_the_next_upload_sends_the_rest() {
    let lab = Lab::of(&["a", "b"]);
    let files = folder();
    put_all(&lab, "me", &files);
    let mut client = lab.client();
    let traffic = client.traffic.clone();
    client.traffic.after(length(&files) / 2, move || traffic.interrupt());
    let first = client.run("upload d");
    assert!(!first.status.is_success());
    let outcome = lab.client().run_when_free("upload d").succeeded();
    ["a", "b"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
    let sent = first.sent + outcome.sent;
    assert!(sent < length(&files) * 5 / 2, "{sent} of {}", length(&files));
}

#[test]
fn a_target_that_passes_on_bad_units_is_shunned_and_everybody_gets_the_folder() {
    let files = folder();
    // One that is slow to pass anything on may not get to lie.
    let lied = (0..10).any(|_| {
        let lab = Lab::of(&["a", "b", "c"]);
        put_all(&lab, "me", &files);
        let lies = lab.lies("c");
        lab.client().run("upload d").succeeded();
        ["a", "b", "c"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
        lies.load(SeqCst) > 0
    });
    assert!(lied, "nobody was lied to");
}

#[test]
fn two_uploads_of_one_folder_to_the_same_targets_at_once_both_end_well() {
    let lab = Lab::of(&["a", "b", "c", "d"]);
    let files = folder();
    ["a", "b"].iter().for_each(|peer| put_all(&lab, peer, &files));
    let (mut one, mut other) = (lab.client_at("a"), lab.client_at("b"));
    let (begun, begins) = crossbeam_channel::bounded(1);
    one.traffic.after(length(&files) / 8, move || begun.send(()).unwrap());
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            begins.recv().unwrap();
            other.run_when_free("upload d c d").succeeded()
        });
        one.run_when_free("upload d c d").succeeded();
        other.join().unwrap();
    });
    ["c", "d"].iter().for_each(|peer| assert_has_all(&lab, peer, &files));
}
