//! Our content ids are the `pieces root`s that another BitTorrent v2 implementation computes; how
//! these came about is in `tests/data/make_roots.py`.

use std::fs;

use peershare::store::Store;

#[test]
fn content_ids_are_those_of_libtorrent() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let vectors = include_str!("../data/roots.txt");
    assert_eq!(vectors.lines().count(), 8);
    for line in vectors.lines() {
        let (length, root) = line.split_once(' ').unwrap();
        let data: Vec<u8> =
            (0..length.parse().unwrap()).map(|i: usize| (i * 31 + i / 251) as u8).collect();
        fs::write(folder.path().join(length), data).unwrap();
        let manifest = store.manifest(&length.parse().unwrap(), &mut |_, _| true).unwrap();
        assert_eq!(manifest.root().to_string(), root, "{length} bytes");
    }
}
