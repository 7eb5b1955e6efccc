//! BitTorrent v2 metainfo: ours is that of libtorrent 2.0, whose torrents of the same files lie in
//! `tests/data/torrents`, and what they describe is fetched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use peershare::content::torrent::Torrent;

use super::client_program::{err_of, out_of};
use super::programs::Site;

/// The files that the torrents were made of: their bytes follow from a number and their place.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + seed) as u8).collect()
}

const TREE: [(&str, usize); 6] = [
    ("a.txt", 10),
    ("deep/b", 50_000),
    ("deep/empty", 0),
    ("deep/er/c", 16384),
    ("z.bin", 300_000),
    ("Ünï.txt", 77),
];

const ONE: (usize, usize) = (9, 5_000_000);

fn put_tree(site: &Site, peer: &str, folder: &str) {
    for (seed, (name, len)) in TREE.into_iter().enumerate() {
        site.put(peer, &format!("{folder}/{name}"), &pattern(seed, len));
    }
    let first = site.path(peer).join(folder).join("a.txt");
    fs::set_permissions(first, fs::Permissions::from_mode(0o755)).unwrap();
}

fn made_by_others(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torrents").join(name)
}

fn read(path: &Path) -> Torrent {
    Torrent::parse(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn ours_are_those_of_libtorrent() {
    let site = Site::new();
    put_tree(&site, "away", "tree");
    site.put("away", "one.bin", &pattern(ONE.0, ONE.1));
    for (path, theirs) in [("away/tree", "tree-v2.torrent"), ("away/one.bin", "one-v2.torrent")] {
        let out = site.path("made.torrent");
        let made = site
            .client(&["create", site.path(path).to_str().unwrap(), out.to_str().unwrap()])
            .success();
        let (ours, theirs) = (read(&out), read(&made_by_others(theirs)));
        assert_eq!(ours, theirs, "{path}");
        let hash = theirs.encode().unwrap().1.to_string();
        assert!(out_of(&made).contains(&format!("info hash {hash}")), "{}", out_of(&made));
        // Another one is never written over.
        site.client(&["create", site.path(path).to_str().unwrap(), out.to_str().unwrap()]).code(5);
        fs::remove_file(out).unwrap();
    }
    std::os::unix::fs::symlink("/nowhere", site.path("away/tree/link")).unwrap();
    let less =
        site.client(&["create", site.path("away/tree").to_str().unwrap(), "less.torrent"]).code(8);
    assert!(err_of(&less).contains("the torrent left out 1 entry:\n"), "{}", err_of(&less));
    assert!(err_of(&less).contains("  link: "), "{}", err_of(&less));
    let gone = site.client(&["create", "gone"]).code(4);
    assert!(err_of(&gone).contains("there is no file or folder gone"), "{}", err_of(&gone));
}

#[test]
fn info_hashes_are_those_that_libtorrent_shows() {
    for (name, hash) in [
        ("tree-v2.torrent", "534c9d5f046e0edae1ae193c09060b56ccef5867b510e2b7eb3a0f64f1e1e80f"),
        ("one-v2.torrent", "3cb94e9e285fae576383d59089d70b08a3ed33459283744e9550a50ccfb14b3d"),
    ] {
        assert_eq!(read(&made_by_others(name)).encode().unwrap().1.to_string(), hash, "{name}");
    }
}

#[test]
fn what_anybodys_torrent_describes_is_fetched_whatever_it_is_called_there() {
    for name in ["tree-v2.torrent", "tree-hybrid.torrent", "tree-64k.torrent"] {
        let site = Site::new();
        put_tree(&site, "a", "another name");
        let server = site.server("a");
        site.list_peers(&[("a", server.port)]);
        // What was never hashed has no id yet; a listing for a folder has it hashed.
        site.client(&["download", "another name/", "--to", site.path("aside").to_str().unwrap()])
            .success();
        let torrent = made_by_others(name);
        site.client(&["download", torrent.to_str().unwrap(), "-x", "deep"]).success();
        assert!(site.read("me", "tree/z.bin").is_some() && !site.path("me/tree/deep").exists());
        site.client(&["download", torrent.to_str().unwrap()]).success();
        for (seed, (file, len)) in TREE.into_iter().enumerate() {
            let found = site.read("me", &format!("tree/{file}"));
            assert!(found == Some(pattern(seed, len)), "{name}: {file}");
        }
    }
}

#[test]
fn a_file_that_is_called_by_the_id_is_not_what_a_torrent_describes() {
    let site = Site::new();
    let torrent = made_by_others("one-v2.torrent");
    let root = read(&torrent).files[0].root;
    site.put("a", &root.to_string(), b"not it");
    site.list_peers(&[("a", 1), ("b", 2)]);
    let (a, b) = (site.server("a"), site.server("b"));
    site.list_peers(&[("a", a.port)]);
    let nobody = site.client(&["download", torrent.to_str().unwrap()]).code(4);
    assert!(err_of(&nobody).contains("no peer has one.bin, id "), "{}", err_of(&nobody));
    site.put("b", "one", &pattern(ONE.0, ONE.1));
    site.list_peers(&[("a", a.port), ("b", b.port)]);
    site.client(&["download", "one", "b", "--to", site.path("aside").to_str().unwrap()]).success();
    site.client(&["download", torrent.to_str().unwrap()]).success();
    assert!(site.read("me", "one.bin") == Some(pattern(ONE.0, ONE.1)));
}

#[test]
fn what_cannot_be_fetched_by_a_torrent_is_told() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    let old =
        site.client(&["download", made_by_others("tree-v1.torrent").to_str().unwrap()]).code(2);
    assert!(err_of(&old).contains("BitTorrent v1 torrent"), "{}", err_of(&old));
    fs::write(site.path("broken.torrent"), b"d4:info").unwrap();
    let broken = site.client(&["download", "broken.torrent"]).code(2);
    assert!(err_of(&broken).contains("no torrent file"), "{}", err_of(&broken));
    let absent =
        site.client(&["download", made_by_others("one-v2.torrent").to_str().unwrap()]).code(4);
    assert!(err_of(&absent).contains("no peer has one.bin, id "), "{}", err_of(&absent));
}
