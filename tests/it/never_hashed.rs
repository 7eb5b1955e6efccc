//! Files that their holders have to hash before they can say what they are: they are fetched then,
//! whatever was said of them meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{CHUNK, LONG, Lab, MESSAGES, bytes};
use super::rogue::{Deed, Rogue};
use super::speaker::Speaker;

/// A peer that says `times` times that it is hashing `x`, which has `total` bytes, and `then` does
/// something else once; from there on it knows what it is. Counts in `reads` what it is asked for
/// before.
fn hashing(
    data: &[u8],
    (times, total): (u32, usize),
    then: impl Fn() -> Deed + Send + Sync + 'static,
    reads: &Arc<AtomicU32>,
) -> Rogue {
    let (said, reads) = (AtomicU32::new(0), Arc::clone(reads));
    Rogue::new("x", data, move |request, _| match request {
        Request::Describe { .. } => match said.fetch_add(1, SeqCst) {
            before if before < times => {
                let done = u64::from(before) * 1000;
                Deed::Say(Response::Hashing { done, total: total as u64 }, vec![])
            }
            before if before == times => then(),
            _ => Deed::Honest,
        },
        Request::Read { .. } | Request::ReadNamed { .. } if said.load(SeqCst) <= times => {
            reads.fetch_add(1, SeqCst);
            Deed::Honest
        }
        _ => Deed::Honest,
    })
}

#[test]
fn a_file_is_fetched_once_its_holder_has_hashed_it() {
    let (mut lab, data, reads) = (Lab::of(&["a"]), bytes(1, LONG), Arc::default());
    lab.rogue("a", &hashing(&data, (20, LONG), || Deed::Honest, &reads));
    let outcome = lab.client().run("download x").succeeded().prints("downloaded x");
    outcome.tells("a is hashing it first").prints("from a 100%");
    lab.assert_has("me", "x", &data);
    assert_eq!(reads.load(SeqCst), 0, "something was read before it was known what it is");
}

#[test]
fn a_holder_that_goes_away_while_it_hashes_is_asked_again() {
    let (mut lab, data, reads) = (Lab::of(&["a"]), bytes(1, LONG), Arc::default());
    lab.rogue("a", &hashing(&data, (3, LONG), || Deed::Cut, &reads));
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_file_that_turns_out_longer_or_shorter_is_fetched_as_it_is() {
    for said in [0, 1, CHUNK, 3 * LONG] {
        let (mut lab, data, reads) = (Lab::of(&["a"]), bytes(1, LONG), Arc::default());
        lab.rogue("a", &hashing(&data, (1, said), || Deed::Honest, &reads));
        lab.client().run("download x").succeeded();
        lab.assert_has("me", "x", &data);
    }
}

#[test]
fn a_peer_that_knows_what_the_file_is_is_asked_rather() {
    let (mut lab, data, reads) = (Lab::of(&["a", "b"]), bytes(1, LONG), Arc::default());
    // It would never end.
    lab.rogue("a", &hashing(&data, (u32::MAX, LONG), || Deed::Honest, &reads));
    lab.put("b", "x", &data);
    lab.start("b");
    lab.client().run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_file_that_is_here_already_is_not_fetched() {
    let (mut lab, data, reads) = (Lab::of(&["a"]), bytes(1, LONG), Arc::default());
    lab.rogue("a", &hashing(&data, (1, LONG), || Deed::Honest, &reads));
    lab.put("me", "x", &data);
    let outcome = lab.client().run("download x").succeeded().prints("already here");
    assert!(outcome.received < MESSAGES, "{outcome:?}");
}

#[test]
fn peers_of_an_earlier_version_read_by_name_what_is_not_hashed() {
    let (mut lab, data) = (Lab::of(&["a"]), bytes(1, LONG));
    lab.put("a", "x", &data);
    lab.start("a");
    let mut speaker = Speaker::introduced(&lab, "a");
    let read = |name: &str, chunk| Request::ReadNamed {
        name: name.parse().unwrap(),
        chunk,
        chunk_size: CHUNK as u32,
    };
    for (chunk, expected) in data.chunks(CHUNK).enumerate().skip(18) {
        speaker.send(&read("x", chunk as u32), &[]);
        let (answer, payload) = speaker.answer_with_payload();
        assert_eq!(answer, Response::Chunk { chunk: chunk as u32, shared: false });
        assert!(payload == expected, "chunk {chunk}");
    }
    for (name, chunk) in [("x", 20), ("y", 0)] {
        let answer = speaker.ask(&read(name, chunk), &[]);
        assert!(matches!(answer, Response::Error(_)), "{name} {chunk}: {answer:?}");
    }
    let answer = speaker.ask(&read("y", 0), &[]);
    assert!(matches!(answer, Response::Error(refusal) if refusal.code == ErrorCode::NotFound));
}
