use std::fs;

use super::*;
use crate::content::ChunkIndex;
use crate::store::{EarlyPart, Reception};

const LENGTH: usize = 3 * (256 << 10) + 1000;

fn early(served: &Served) -> EarlyPart {
    served.store.receive_early(name("x"), LENGTH as u64).unwrap().unwrap()
}

fn write(part: &EarlyPart, numbers: &[u32], data: &[u8]) {
    for number in numbers {
        let index = part.layout().index(*number).unwrap();
        let range = part.layout().range(index);
        part.write(index, &data[range.start as usize..range.end as usize]).unwrap();
    }
}

/// The numbers of the chunks that need not be fetched.
fn have(reception: &Reception) -> Vec<u32> {
    match reception {
        Reception::Part(part) => part.have().iter().map(ChunkIndex::get).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_what_came_early_those_chunks_count_that_the_manifest_vouches_for() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let mut wrong = data.clone();
    wrong[256 << 10] ^= 1;
    let part = early(&served);
    write(&part, &[0, 1, 3], &wrong);
    let reception = served.store.receive_after(Some(part), manifest_of("x", &data), false).unwrap();
    assert_eq!(have(&reception), [0, 3]);
}

#[test]
fn a_second_copy_of_a_chunk_changes_nothing() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let mut wrong = data.clone();
    wrong[0] ^= 1;
    let part = early(&served);
    write(&part, &[0], &wrong);
    write(&part, &[0], &data);
    let reception = served.store.receive_after(Some(part), manifest_of("x", &data), false).unwrap();
    assert!(have(&reception).is_empty());
}

#[test]
fn what_an_ended_attempt_left_counts_after_it_was_hashed() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let mut wrong = data.clone();
    wrong[0] ^= 1;
    write(&early(&served), &[0, 2], &wrong);
    let reception = served.other().receive(manifest_of("x", &data), false).unwrap();
    assert_eq!(have(&reception), [2]);
}

#[test]
fn what_an_ended_attempt_left_is_gone_on_with() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    write(&early(&served), &[0, 2], &data);
    let part = early(&served);
    assert_eq!(part.left().iter().map(ChunkIndex::get).collect::<Vec<_>>(), [0, 2]);
    write(&part, &[1, 3], &data);
    let reception = served.store.receive_after(Some(part), manifest_of("x", &data), false).unwrap();
    assert_eq!(have(&reception), [0, 1, 2, 3]);
}

#[test]
fn a_manifest_that_cuts_otherwise_finds_what_is_good_all_the_same() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let part = early(&served);
    write(&part, &[0, 1], &data);
    let layout = ChunkLayout::new(LENGTH as u64, 512 << 10).unwrap();
    let digests =
        data.chunks(512 << 10).map(|chunk| merkle::chunk_digest(&layout, chunk)).collect();
    let manifest = Arc::new(Manifest::from_digests(name("x"), layout, digests).unwrap());
    let reception = served.store.receive_after(Some(part), manifest, false).unwrap();
    assert_eq!(have(&reception), [0]);
}

#[test]
fn what_came_early_of_a_file_that_is_here_is_deleted() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let part = early(&served);
    write(&part, &[0], &data);
    served.write("x", &data);
    let reception = served.store.receive_after(Some(part), manifest_of("x", &data), false).unwrap();
    assert!(matches!(reception, Reception::AlreadyHere));
    assert_eq!(fs::read_dir(private(served.folder.path(), "parts")).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_taken_or_begun_elsewhere_is_not_begun_early() {
    let served = Served::new();
    served.write("here", b"1");
    assert!(served.store.receive_early(name("here"), 10).unwrap().is_none());
    let _part = early(&served);
    assert!(served.other().receive_early(name("x"), LENGTH as u64).unwrap().is_none());
    assert!(served.store.receive_early(name("y"), 1 << 60).ok().flatten().is_none());
}

#[test]
fn a_file_that_turns_out_shorter_or_longer_has_its_own_length() {
    for length in [1000, (256 << 10) + 1, 2 * LENGTH] {
        let (served, data) = (Served::new(), pattern(length));
        let part = early(&served);
        write(&part, &[0, 1, 2, 3], &pattern(LENGTH));
        let reception =
            served.store.receive_after(Some(part), manifest_of("x", &data), false).unwrap();
        let Reception::Part(part) = reception else { panic!("{reception:?}") };
        let manifest = manifest_of("x", &data);
        for index in manifest.layout().indices() {
            let range = manifest.layout().range(index);
            let chunk = &data[range.start as usize..range.end as usize];
            part.write(&manifest.verify(index, chunk).unwrap()).unwrap();
        }
        part.complete().unwrap();
        assert_eq!(fs::read(served.path("x")).unwrap(), data);
    }
}
