//! Sources that die, stall, lie or change: the others take over, the user is told, and no byte that
//! was not verified is kept.

use std::fs;
use std::sync::Mutex;

use crossbeam_channel::bounded;
use peershare::client::ExitStatus;
use peershare::content::{Attributes, ChunkLayout, Digest, Manifest};
use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{CHUNK, Client, DEADLINE, LONG, Lab, bytes, change, manifest};
use super::rogue::{self, Deed, Rogue, refuse};

/// Downloads `x` from that rogue at `b` and from a good peer at `a`, which gives nothing before the
/// user was told `words`.
#[track_caller]
fn others_take_over(rogue: impl FnOnce(&[u8]) -> Rogue, words: &str) {
    let data = bytes(1, LONG);
    let mut lab = Lab::of(&["a", "b"]);
    let mut client = lab.client();
    let (said, awaited) = (client.err.clone(), words.to_owned());
    lab.rogue("a", &Rogue::good_after("x", &data, move || said.wait_for(&awaited)));
    lab.rogue("b", &rogue(&data));
    client.run("download x").succeeded().tells(words);
    lab.assert_has("me", "x", &data);
}

/// Downloads `x` from that rogue alone.
#[track_caller]
fn alone(rogue: &Rogue, status: ExitStatus, words: &str) {
    let mut lab = Lab::of(&["a"]);
    lab.rogue("a", rogue);
    lab.client().run("download x").is(status).tells(words);
    assert!(lab.visible("me").is_empty());
}

#[test]
fn when_a_source_dies_midway_the_others_take_over() {
    others_take_over(
        |data| Rogue::after("x", data, 3, || Deed::Cut),
        "trying b again in a moment: the connection was lost",
    );
}

#[test]
fn when_a_source_cuts_a_chunk_in_half_the_others_take_over() {
    others_take_over(
        |data| Rogue::at_chunk("x", data, 2, || Deed::Half),
        "trying b again in a moment: the connection was lost",
    );
}

#[test]
fn when_a_source_sends_a_bad_chunk_the_others_take_over() {
    others_take_over(
        |data| Rogue::at_chunk("x", data, 3, || Deed::Corrupt),
        "lost b: it sent a chunk that does not verify",
    );
}

#[test]
fn when_a_source_sends_another_chunk_than_was_asked_the_others_take_over() {
    let wrong = || Deed::Say(Response::Chunk { chunk: 7, shared: false }, vec![0; CHUNK]);
    others_take_over(|data| Rogue::at_chunk("x", data, 2, wrong), "lost b: it broke the protocol");
}

#[test]
fn when_a_source_sends_a_chunk_of_the_wrong_length_the_others_take_over() {
    let short = || Deed::Say(Response::Chunk { chunk: 2, shared: false }, vec![0; 5]);
    others_take_over(|data| Rogue::at_chunk("x", data, 2, short), "lost b: it broke the protocol");
}

#[test]
fn when_a_source_announces_a_huge_length_the_others_take_over() {
    let huge = || Deed::Raw([0, 0, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, b'{', b'}'].to_vec());
    others_take_over(
        |data| Rogue::after("x", data, 2, huge),
        "a payload of 4294967295 bytes was announced",
    );
}

#[test]
fn when_a_source_loses_the_file_the_others_take_over() {
    let gone = || refuse(ErrorCode::NotFound);
    others_take_over(
        |data| Rogue::after("x", data, 2, gone),
        "lost b: it does not serve that file",
    );
}

#[test]
fn when_a_source_says_its_file_changed_the_others_take_over() {
    let changed = || refuse(ErrorCode::Changed);
    others_take_over(
        |data| Rogue::after("x", data, 2, changed),
        "lost b: its file changed while reading",
    );
}

#[test]
fn when_a_source_stalls_the_others_fetch_what_it_was_asked() {
    let data = bytes(1, LONG);
    let mut lab = Lab::of(&["a", "b"]);
    let (asked, waiting) = bounded(1);
    lab.rogue(
        "b",
        &Rogue::after("x", &data, 0, move || {
            let _ = asked.try_send(());
            Deed::Silence
        }),
    );
    let once = Mutex::new(Some(waiting));
    lab.rogue(
        "a",
        &Rogue::good_after("x", &data, move || {
            if let Some(waiting) = once.lock().unwrap().take() {
                waiting.recv_timeout(DEADLINE).unwrap();
            }
        }),
    );
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_source_that_falls_silent_is_tried_again_and_then_told() {
    let mut lab = Lab::of(&["a"]);
    lab.rogue("a", &Rogue::after("x", &bytes(1, LONG), 2, || Deed::Silence));
    let outcome = lab.impatient_client().run("download x").is(ExitStatus::Unreachable);
    outcome
        .tells("trying a again in a moment: it stopped answering")
        .tells("lost a: it stopped answering");
}

#[test]
fn a_peer_that_says_again_and_again_that_it_is_hashing_is_told_once_in_a_while() {
    let mut lab = Lab::of(&["a"]);
    let data = bytes(1, 1000);
    let asked = Mutex::new(0);
    let hashing = move |request: &Request, _| match request {
        Request::Describe { .. } if *asked.lock().unwrap() < 100 => {
            *asked.lock().unwrap() += 1;
            Deed::Say(Response::Hashing { done: 1, total: 2 }, vec![])
        }
        _ => Deed::Honest,
    };
    lab.rogue("a", &Rogue::new("x", &data, hashing));
    let outcome =
        lab.client().run("download x").succeeded().tells("a is hashing it first (1 B of 2 B)");
    assert!(outcome.err.lines().count() < 5, "{outcome:?}");
}

#[test]
fn a_peer_that_never_says_what_it_has_is_not_waited_for() {
    let data = bytes(1, LONG);
    let mut lab = Lab::of(&["a", "b"]);
    lab.put("a", "x", &data);
    lab.rogue("b", &Rogue::new("x", &data, |_, _| Deed::Silence));
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_source_that_dribbles_is_slow_but_good() {
    let data = bytes(1, 20_000);
    let mut lab = Lab::of(&["a"]);
    lab.rogue("a", &Rogue::new("x", &data, |_, _| Deed::Dribble));
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_busy_peer_is_told_as_such() {
    let lab = Lab::of(&["a"]);
    lab.network.attach("a".parse().unwrap(), rogue::busy);
    lab.client().run("download x").is(ExitStatus::Unreachable).tells("busy");
}

#[test]
fn only_bad_chunks_are_an_integrity_failure() {
    alone(
        &Rogue::after("x", &bytes(1, LONG), 0, || Deed::Corrupt),
        ExitStatus::Integrity,
        "does not verify",
    );
}

#[test]
fn a_manifest_with_another_root_than_its_digests_lead_to_is_not_believed() {
    let (data, other) = (bytes(1, LONG), bytes(2, LONG));
    let (good, bad) = (manifest("x", &data), manifest("x", &other));
    let lie = move |request: &Request, _| match request {
        Request::Describe { .. } => Deed::Say(
            Response::manifest(&good, Attributes::default(), false),
            Response::digests_of(&bad),
        ),
        _ => Deed::Honest,
    };
    alone(
        &Rogue::new("x", &data, lie),
        ExitStatus::Failed,
        "the chunk digests do not lead to the content id",
    );
}

#[test]
fn a_manifest_that_cannot_be_is_not_believed() {
    let data = bytes(1, LONG);
    let good = manifest("x", &data);
    let manifest = |name: &str, length: u64, chunk_size: u32| Response::Manifest {
        name: name.parse().unwrap(),
        length,
        chunk_size,
        root: good.root(),
        attributes: Attributes::default(),
        shared: false,
    };
    let digests = Response::digests_of(&good);
    for (response, payload, words) in [
        (manifest("x", LONG as u64, 1), digests.clone(), "is not a power of two"),
        (manifest("x", u64::MAX, 16 << 10), digests.clone(), "too many"),
        (manifest("x", LONG as u64, CHUNK as u32), vec![0; 31], "odd digests"),
        (
            manifest("x", LONG as u64, CHUNK as u32),
            vec![0; Digest::LEN],
            "a manifest without digests",
        ),
        (Response::Pong(Default::default()), vec![], "in answer to describe"),
    ] {
        let lie = move |_: &Request, _| Deed::Say(response.clone(), payload.clone());
        alone(&Rogue::new("x", &data, lie), ExitStatus::Failed, words);
    }
}

#[test]
fn a_name_that_leaves_the_folder_is_not_taken_from_a_peer() {
    let lab = Lab::of(&["a"]);
    for name in ["../evil", "/tmp/evil", "a//b", ".peershare/x", "a\\u0000b", ""] {
        let header = format!(
            r#"{{"type":"manifest","name":"{name}","length":0,"chunk_size":16384,"root":"{}"}}"#,
            peershare::content::Root::of_nothing()
        );
        let mut frame = (header.len() as u32).to_be_bytes().to_vec();
        frame.extend([0; 4]);
        frame.extend(header.as_bytes());
        let rogue = Rogue::new("x", b"", move |_, _| Deed::Raw(frame.clone()));
        lab.network.attach("a".parse().unwrap(), move |stream| rogue.accept(stream));
        lab.client().run("download x").is(ExitStatus::Failed).tells("it broke the protocol");
        assert!(lab.visible("me").is_empty() && !lab.root().join("me/evil").exists());
    }
}

#[test]
fn a_peer_chooses_neither_the_name_nor_the_content_of_what_was_asked_for() {
    let mut lab = Lab::of(&["a"]);
    let evil = manifest("precious", b"evil");
    let lie = move |request: &Request, _| match request {
        Request::Describe { .. } => Deed::Say(
            Response::manifest(&evil, Attributes::default(), false),
            Response::digests_of(&evil),
        ),
        _ => Deed::Honest,
    };
    lab.rogue("a", &Rogue::new("precious", b"evil", lie));
    lab.put("me", "precious", b"mine");
    for wanted in ["wanted", "abcdef012345"] {
        let outcome =
            lab.client().run(&format!("download {wanted} --replace")).is(ExitStatus::Failed);
        outcome.tells("a manifest of another file, precious");
    }
    lab.assert_has("me", "precious", b"mine");
    assert_eq!(lab.visible("me"), ["precious"]);
}

#[test]
fn a_program_that_is_no_peer_is_told_as_such() {
    let data = bytes(1, 10);
    for greeting in
        [&b"HTTP/1.1 400 Bad Request\r\n"[..], &[0x16, 3, 1], &[0xF0, 0x9F, 0xA7, 0xA9, 0]]
    {
        let rogue =
            Rogue::greeting(greeting.to_vec(), manifest("x", &data), &data, |_, _| Deed::Honest);
        alone(&rogue, ExitStatus::Failed, "does not speak peershare");
    }
}

#[test]
fn answers_that_are_no_frames_are_a_broken_protocol() {
    let data = bytes(1, 10);
    for answer in [
        [0xFF; 64].to_vec(),
        [&[0, 0, 0, 5, 0, 0, 0, 0][..], b"hello"].concat(),
        [&[0, 0, 0, 0, 0, 0, 0, 0][..], b"hello"].concat(),
    ] {
        alone(
            &Rogue::new("x", &data, move |_, _| Deed::Raw(answer.clone())),
            ExitStatus::Failed,
            "broke the protocol",
        );
    }
}

/// Has the file of the peer `a` change when a few of its chunks have crossed.
fn change_midway(lab: &Lab, client: &Client) {
    let file = lab.folder("a").join("x");
    client.traffic.after(4 * CHUNK as u64, move || change(&file));
}

#[test]
fn a_source_file_that_changes_while_it_is_read_is_never_mixed() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let mut client = lab.client();
    change_midway(&lab, &client);
    client.run("download x").is(ExitStatus::Integrity).tells("changed while reading");
    assert!(lab.visible("me").is_empty());
    client.run_when_free("download x").succeeded();
    lab.assert_has("me", "x", &fs::read(lab.folder("a").join("x")).unwrap());
}

#[test]
fn a_source_file_that_becomes_shorter_while_it_is_read_is_noticed() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "x", &bytes(1, LONG));
    let mut client = lab.client();
    let file = lab.folder("a").join("x");
    client.traffic.after(4 * CHUNK as u64, move || fs::write(file, b"short").unwrap());
    let outcome = client.run("download x");
    assert_ne!(outcome.status, ExitStatus::Success, "{outcome:?}");
    assert!(lab.visible("me").is_empty());
}

#[test]
fn the_others_finish_a_file_that_changed_at_one_peer() {
    let mut lab = Lab::of(&["a", "b"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let mut client = lab.client();
    let said = client.err.clone();
    lab.rogue(
        "b",
        &Rogue::good_after("x", &data, move || {
            said.wait_for("lost a: its file changed while reading")
        }),
    );
    change_midway(&lab, &client);
    client.run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn sources_are_given_up_after_a_few_failures_in_a_row() {
    let mut lab = Lab::of(&["a"]);
    let rogue = Rogue::after("x", &bytes(1, LONG), 0, || Deed::Cut);
    lab.rogue("a", &rogue);
    lab.client().run("download x").is(ExitStatus::Unreachable).tells("no source is left");
    assert!(rogue.reads() > 1, "it was asked only once");
}

#[test]
fn a_bad_chunk_is_told_even_when_the_others_are_done_at_once() {
    let data = bytes(1, LONG);
    let mut lab = Lab::of(&["a", "b"]);
    let (asked, waiting) = bounded(1);
    // Never gets to excuse itself.
    let bad = Rogue::new("x", &data, move |request, _| match request {
        Request::Read { chunk: 3, .. } => Deed::Corrupt,
        Request::Have { .. } => {
            let _ = asked.try_send(());
            Deed::Silence
        }
        _ => Deed::Honest,
    });
    let once = Mutex::new(Some(waiting));
    let good = Rogue::good_after("x", &data, move || {
        if let Some(waiting) = once.lock().unwrap().take() {
            waiting.recv_timeout(DEADLINE).unwrap();
        }
    });
    lab.rogue("a", &good);
    lab.rogue("b", &bad);
    lab.client()
        .run("download x")
        .succeeded()
        .tells("lost b: it sent a chunk that does not verify");
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_file_that_fits_no_disk_is_not_begun() {
    // 16 MiB chunks, a million of them: 16 TiB.
    let layout = ChunkLayout::new(1 << 44, 16 << 20).unwrap();
    let digests = vec![Digest::ZERO; layout.count() as usize];
    let huge = Manifest::from_digests("x".parse().unwrap(), layout, digests).unwrap();
    alone(&Rogue::of(huge, b"", |_, _| Deed::Honest), ExitStatus::NoSpace, "no space for x");
}
