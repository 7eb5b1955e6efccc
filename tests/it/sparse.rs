//! Files with holes: neither read, nor sent, nor written out.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::lab::Lab;

const MIB: u64 = 1 << 20;

/// Bytes, and where they are.
type Placed<'a> = (u64, &'a [u8]);

/// A file of that length with bytes at these places.
fn put(lab: &Lab, peer: &str, name: &str, length: u64, places: &[Placed<'_>]) {
    fs::create_dir_all(lab.folder(peer)).unwrap();
    let file = fs::File::create(lab.folder(peer).join(name)).unwrap();
    file.set_len(length).unwrap();
    for (place, bytes) in places {
        file.write_all_at(bytes, *place).unwrap();
    }
}

/// Whether both have the same bytes and length.
fn equal(lab: &Lab, one: &str, other: &str, name: &str) -> bool {
    let open = |peer: &str| fs::File::open(lab.folder(peer).join(name)).unwrap();
    let (one, other) = (open(one), open(other));
    let length = one.metadata().unwrap().len();
    let (mut ours, mut theirs) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    length == other.metadata().unwrap().len()
        && (0..length).step_by(MIB as usize).all(|place| {
            let len = (length - place).min(MIB) as usize;
            one.read_exact_at(&mut ours[..len], place).unwrap();
            other.read_exact_at(&mut theirs[..len], place).unwrap();
            ours[..len] == theirs[..len]
        })
}

fn on_disk(lab: &Lab, peer: &str, name: &str) -> u64 {
    fs::metadata(lab.folder(peer).join(name)).unwrap().blocks() * 512
}

#[test]
fn holes_are_not_sent_and_stay_holes_in_both_directions() {
    let lab = Lab::of(&["a", "b"]);
    let cases: [(&str, u64, &[Placed<'_>]); 5] = [
        ("end", 300 * MIB, &[(300 * MIB - 1, b"x")]),
        ("start", 300 * MIB, &[(0, b"x")]),
        ("middle", 300 * MIB + 5, &[(0, b"a"), (150 * MIB, b"b"), (300 * MIB, b"c")]),
        ("nothing", 300 * MIB + 7, &[]),
        ("small", 3 * MIB, &[(MIB, b"x")]),
    ];
    for (name, length, places) in cases {
        put(&lab, "a", name, length, places);
        if on_disk(&lab, "a", name) > length / 10 {
            eprintln!("the temporary folder's file system makes no holes");
            return;
        }
        lab.hash("a", name);
        let outcome = lab.client().run(&format!("download {name} a")).succeeded();
        assert!(equal(&lab, "a", "me", name), "{name}");
        assert!(outcome.received < 4 * MIB, "{name}: {} bytes came", outcome.received);
        let room = on_disk(&lab, "me", name);
        assert!(room < 4 * MIB, "{name} takes {room} bytes");
        lab.client().run(&format!("upload {name} b")).succeeded();
        assert!(
            equal(&lab, "a", "b", name) && on_disk(&lab, "b", name) < 4 * MIB,
            "{name} given away"
        );
    }
}

#[test]
fn a_sparse_file_larger_than_the_disk_is_received() {
    let lab = Lab::of(&["a"]);
    put(&lab, "a", "image", 1 << 40, &[(1 << 39, b"x")]);
    lab.client().run("download image").succeeded();
    let file = fs::File::open(lab.folder("me").join("image")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1 << 39).unwrap();
    assert_eq!((file.metadata().unwrap().len(), byte), (1 << 40, *b"x"));
}

#[test]
fn a_hole_in_the_place_of_what_was_data_replaces_it() {
    let lab = Lab::of(&["a"]);
    let data = super::lab::bytes(1, 8 * MIB as usize);
    lab.put("me", "f", &data);
    put(&lab, "a", "f", 8 * MIB, &[(0, &data[..MIB as usize])]);
    lab.client().run("download f --replace").succeeded();
    assert!(equal(&lab, "a", "me", "f"));
}

#[test]
fn zeros_that_were_written_out_arrive_as_zeros() {
    let lab = Lab::of(&["a", "b"]);
    let mut data = vec![0; 6 * MIB as usize];
    data[3 * MIB as usize] = 1;
    lab.put("a", "f", &data);
    lab.client().run("download f a").succeeded();
    lab.assert_has("me", "f", &data);
    lab.client().run("upload f a b").succeeded();
    lab.assert_has("b", "f", &data);
}
