//! Uploads to several peers, which fetch from one another what the uploader hands out once.

use peershare::client::ExitStatus;
use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{Lab, bytes, manifest};
use super::speaker::Speaker;

/// Long enough for a hundred chunks.
const LENGTH: usize = 8 << 20;

#[test]
fn every_byte_leaves_the_uploader_about_once() {
    let lab = Lab::of(&["a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("a", "x", &data);
    let outcome = lab.client_at("a").run("upload x").succeeded();
    assert!(outcome.sent < LENGTH as u64 * 3 / 2, "{} bytes were sent", outcome.sent);
    outcome.prints("of it from the other targets");
    ["b", "c", "d"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn without_a_swarm_every_target_gets_all_from_the_uploader() {
    let lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let outcome = lab.client().run("upload x --no-swarm").succeeded();
    assert!(outcome.sent >= 3 * LENGTH as u64);
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn targets_that_do_not_know_one_another_get_all_from_the_uploader() {
    let mut lab = Lab::of(&[]);
    for peer in ["a", "b", "c"] {
        // Each has settings of its own, in which nobody else stands.
        lab.list_peers(&[peer]);
        lab.start(peer);
    }
    lab.list_peers(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    lab.client().run("upload x").succeeded();
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn a_target_that_dies_half_way_does_not_keep_the_others_from_the_file() {
    let mut lab = Lab::of(&["a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let (network, dying) = (lab.network.clone(), lab.host("d"));
    let mut client = lab.client();
    client.traffic.after(LENGTH as u64 / 2, move || {
        network.detach(&"d".parse().unwrap());
        dying.end_sessions();
    });
    client.run("upload x").is(ExitStatus::SomePeersFailed);
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
    lab.start("d");
    client.run("upload x").succeeded().prints("already serving");
    lab.assert_has("d", "x", &data);
}

#[test]
fn targets_that_have_all_or_half_of_it_already_take_part() {
    let mut lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    lab.put("a", "x", &data);
    let mut interrupted = lab.client();
    let host = lab.host("b");
    interrupted.traffic.after(LENGTH as u64 / 2, move || {
        host.end_sessions();
    });
    interrupted.run("upload x b");
    lab.start("b");
    let outcome = lab.client().run_when_free("upload x").succeeded().prints("a: already serving");
    assert!(outcome.sent < LENGTH as u64 * 5 / 4, "{} bytes were sent", outcome.sent);
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn when_all_are_cut_off_the_targets_keep_what_they_have_and_the_next_upload_continues() {
    let mut lab = Lab::of(&["a", "b"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let mut client = lab.client();
    let hosts = [lab.host("a"), lab.host("b")];
    client.traffic.after(LENGTH as u64 / 2, move || {
        hosts.iter().for_each(|host| {
            host.end_sessions();
        });
    });
    let outcome = client.run("upload x");
    assert!(!outcome.status.is_success());
    ["a", "b"].iter().for_each(|peer| lab.start(peer));
    let outcome = lab.client().run_when_free("upload x").succeeded();
    assert!(outcome.sent < LENGTH as u64, "{} bytes were sent again", outcome.sent);
    ["a", "b"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn nobody_is_handed_anything_and_odd_chunk_sizes_are_refused() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LENGTH);
    lab.put("a", "x", &data);
    let root = manifest("x", &data).root();
    lab.client().run("download x").succeeded();
    for (peer, chunk_size, code) in [(None, 65536, ErrorCode::Refused), (Some("b"), 3, ErrorCode::BadRequest)]
    {
        let mut speaker = Speaker::greeted(&lab, "a");
        let peer = peer.map(str::to_owned);
        speaker.ask(&Request::Hello { peer: peer.clone(), agent: "speaker".to_owned() }, &[]);
        let answer = speaker.ask(&Request::Next { root, chunk_size, seen: 0, want: true }, &[]);
        assert!(matches!(answer, Response::Error(refusal) if refusal.code == code), "{peer:?}");
    }
}
