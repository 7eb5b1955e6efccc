//! What a download does with what the peers have and with what is here already.

use std::collections::HashMap;

use peershare::client::ExitStatus;
use peershare::content::{ChunkLayout, Digest};

use super::lab::{CHUNK, LONG, Lab, bytes, manifest, manifest_cut};
use super::rogue::{Deed, Rogue};

#[test]
fn a_file_comes_from_all_who_have_it() {
    let lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LONG);
    lab.put("a", "big.bin", &data);
    lab.put("b", "big.bin", &data);
    let mut client = lab.client();
    client.run("download big.bin").succeeded().prints("downloaded big.bin: 5.0 MiB");
    lab.assert_has("me", "big.bin", &data);
}

#[test]
fn only_the_named_peers_are_asked() {
    let mut lab = Lab::of(&["a", "b"]);
    let data = bytes(1, 100);
    lab.put("b", "x", &data);
    let a = Rogue::new("x", &data, |_, _| panic!("a is asked"));
    lab.rogue("a", &a);
    lab.client().run("download x b").succeeded().prints("from b 100%");
}

#[test]
fn a_client_never_asks_itself() {
    let mut lab = Lab::of(&["a", "b"]);
    lab.put("b", "x", &bytes(1, 100));
    lab.kill("a");
    lab.client_at("a").run("download x").succeeded();
    lab.assert_has("a", "x", &bytes(1, 100));
}

#[test]
fn peers_that_disagree_are_named_and_one_is_chosen_by_its_shortened_id() {
    let lab = Lab::of(&["a", "b", "c"]);
    let (one, other) = (bytes(1, 1000), bytes(2, 2000));
    lab.put("a", "x", &one);
    lab.put("b", "x", &other);
    lab.put("c", "x", &one);
    let mut client = lab.client();
    let refused = client.run("download x").is(ExitStatus::Refused);
    let (first, second) = (manifest("x", &one).root(), manifest("x", &other).root());
    let refused = refused
        .tells("x is not the same file at all peers")
        .tells(&format!("#DOWNLOAD {}  1000 B (1000 bytes) at a, c", first.short()));
    refused.tells(&format!("#DOWNLOAD {}  2.0 KiB (2000 bytes) at b", second.short()));
    assert!(lab.visible("me").is_empty());
    client.run(&format!("download {}", &second.to_string()[..6])).succeeded();
    lab.assert_has("me", "x", &other);
}

#[test]
fn chunks_of_the_same_content_come_together_however_they_are_cut() {
    let mut lab = Lab::of(&["a", "b"]);
    let data = bytes(1, 5 * CHUNK + 1);
    let small = ChunkLayout::new(data.len() as u64, 16 << 10).unwrap();
    lab.put("a", "x", &data);
    lab.rogue("b", &Rogue::of(manifest_cut("x", &data, small), &data, |_, _| Deed::Honest));
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_shortened_id_that_fits_two_files_is_refused() {
    // Files of one leaf have its SHA-256 as their id; two of a few thousand begin alike.
    let mut seen = HashMap::new();
    let twins = (0_u64..).find_map(|seed| {
        let digits = Digest::of(&seed.to_le_bytes()).to_string()[..6].to_owned();
        let earlier = seen.insert(digits.clone(), seed)?;
        Some((digits, [earlier, seed]))
    });
    let (digits, seeds) = twins.unwrap();
    let lab = Lab::of(&["a"]);
    let mut client = lab.client();
    for (name, seed) in ["one", "two"].into_iter().zip(seeds) {
        lab.put("a", name, &seed.to_le_bytes());
        client.run(&format!("download {name}")).succeeded();
    }
    let outcome = client.run(&format!("download {digits}")).is(ExitStatus::Refused);
    outcome.tells(&format!("id {digits} fits 2 files here; type more digits"));
}

#[test]
fn a_file_that_is_here_already_is_not_moved() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    lab.put("me", "x", &data);
    let outcome = lab.client().run("download x").succeeded().prints("x is already here");
    assert!(outcome.received < CHUNK as u64, "{outcome:?}");
}

#[test]
fn another_file_of_that_name_is_left_alone_unless_it_is_to_be_replaced() {
    for (own, theirs) in [(bytes(1, 1000), bytes(2, 1000)), (bytes(1, 10), bytes(2, CHUNK + 1))] {
        let lab = Lab::of(&["a"]);
        lab.put("a", "x", &theirs);
        lab.put("me", "x", &own);
        let mut client = lab.client();
        client
            .run("download x")
            .is(ExitStatus::Refused)
            .tells("another file of that name is here")
            .tells("--replace");
        lab.assert_has("me", "x", &own);
        client.run("download x --replace").succeeded();
        lab.assert_has("me", "x", &theirs);
        assert_eq!(lab.visible("me"), ["x"]);
    }
}

#[test]
fn a_replacement_that_fails_leaves_the_old_file() {
    let mut lab = Lab::of(&["a"]);
    let own = bytes(1, 10);
    lab.put("me", "x", &own);
    lab.rogue("a", &Rogue::at_chunk("x", &bytes(2, LONG), 4, || Deed::Corrupt));
    lab.client().run("download x --replace").is(ExitStatus::Integrity);
    lab.assert_has("me", "x", &own);
}

#[test]
fn a_file_that_nobody_has_is_told_apart_from_peers_that_are_down() {
    let mut lab = Lab::of(&["a", "b"]);
    let mut client = lab.client();
    client.run("download x").is(ExitStatus::NoSuchFile).tells("no peer has x");
    lab.kill("a");
    client.run("download x").is(ExitStatus::NoSuchFile).tells("a at 127.0.0.1:1: unreachable");
    lab.kill("b");
    client.run("download x").is(ExitStatus::Unreachable).tells("no peer could be asked");
    lab.start("b");
    lab.put("b", "x", b"x");
    client.run("download x").succeeded();
}

#[test]
fn a_file_that_is_already_being_received_is_not_received_twice() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "x", &bytes(1, LONG));
    let (mut first, mut second) = (lab.client(), lab.client());
    let (found, waiting) = crossbeam_channel::bounded(1);
    first.traffic.after(3 * CHUNK as u64, move || {
        let outcome = second.run("download x");
        found.send(outcome).unwrap();
    });
    first.run("download x").succeeded();
    let outcome = waiting.recv_timeout(super::lab::DEADLINE).unwrap();
    outcome.is(ExitStatus::Refused).tells("is being received already");
}
