use std::time::SystemTime;

use super::*;

fn catalog(served: &Served) -> PathBuf {
    private(served.folder.path(), "catalog")
}

#[test]
fn what_was_hashed_is_known_after_reopening() {
    let served = Served::new();
    let data = pattern(700_000);
    served.write("d/f", &data);
    hashed(&served.store, "d/f");
    let again = served.other();
    assert!(is_known(&again, "d/f"));
    assert!(
        matches!(again.describe(&name("d/f")), Ok(Description::Ready(m)) if *m == *manifest_of("d/f", &data))
    );
}

#[test]
fn a_changed_file_is_not_taken_for_the_old_one() {
    let served = Served::new();
    served.write("f", b"old");
    let old = hashed(&served.store, "f").root();
    let before = fs::metadata(served.path("f")).unwrap().modified().unwrap();
    served.write("f", b"new");
    // Neither length nor modification time tell them apart, but the change time does.
    fs::File::options().write(true).open(served.path("f")).unwrap().set_modified(before).unwrap();
    assert!(!is_known(&served.store, "f"));
    assert!(served.store.by_root(&old).unwrap().is_none());
    assert_ne!(hashed(&served.store, "f").root(), old);
}

#[test]
fn two_stores_of_one_folder_share_what_they_know() {
    let served = Served::new();
    let other = served.other();
    for (store, file) in [(&served.store, "a"), (&other, "b"), (&served.store, "c")] {
        served.write(file, file.as_bytes());
        hashed(store, file);
    }
    for file in ["a", "b", "c"] {
        assert!(is_known(&served.store, file) && is_known(&other, file), "{file}");
    }
}

#[test]
fn a_torn_record_is_ignored_and_overwritten() {
    let served = Served::new();
    ["a", "b"].iter().for_each(|file| {
        served.write(file, file.as_bytes());
        hashed(&served.store, file);
    });
    let bytes = fs::read(catalog(&served)).unwrap();
    fs::write(catalog(&served), &bytes[..bytes.len() - 5]).unwrap();
    let again = served.other();
    assert!(is_known(&again, "a") && !is_known(&again, "b"));
    hashed(&again, "b");
    let third = served.other();
    assert!(is_known(&third, "a") && is_known(&third, "b"));
    assert_eq!(fs::read(catalog(&served)).unwrap().len(), bytes.len());
}

#[test]
fn garbage_in_place_of_a_catalog_is_replaced() {
    let served = Served::new();
    served.write("f", &pattern(100_000));
    for garbage in [&b""[..], b"nonsense", &[0xff; 5000], b"peershare catalog 1\nnonsense"] {
        fs::write(catalog(&served), garbage).unwrap();
        let store = served.other();
        assert!(!is_known(&store, "f"));
        hashed(&store, "f");
        assert!(is_known(&served.other(), "f"));
    }
}

#[test]
fn damaged_digests_are_noticed_before_anything_is_served() {
    let served = Served::new();
    let data = pattern(700_000);
    served.write("f", &data);
    let root = hashed(&served.store, "f").root();
    let mut bytes = fs::read(catalog(&served)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(catalog(&served), bytes).unwrap();
    let store = served.other();
    assert!(store.by_root(&root).unwrap().is_none());
    assert_eq!(*hashed(&store, "f"), *manifest_of("f", &data));
    assert!(served.other().by_root(&root).unwrap().is_some());
}

#[test]
fn a_catalog_of_mostly_old_records_shrinks() {
    let served = Served::new();
    served.write("f", b"f");
    hashed(&served.store, "f");
    let before = bloat(served.folder.path());
    let again = served.other();
    assert!(is_known(&again, "f"));
    let after = fs::metadata(catalog(&served)).unwrap().len();
    assert!(after < before / 10, "{before} → {after}");
    // Whoever had the old catalog open goes on with the new one.
    served.write("g", b"g");
    hashed(&served.store, "g");
    assert!(is_known(&again, "g") && is_known(&served.store, "f"));
}

#[test]
fn a_catalog_does_not_grow_without_end_while_it_is_open() {
    let served = Served::new();
    let mut longest = 0;
    for round in 0..1500 {
        served.write("f", &pattern(1000 + round));
        hashed(&served.store, "f");
        longest = longest.max(fs::metadata(catalog(&served)).unwrap().len());
    }
    assert!(is_known(&served.store, "f"));
    assert!(longest < 2 * config::CATALOG_COMPACTED, "{longest} bytes");
}

#[test]
fn files_are_found_by_the_beginning_of_their_content_id() {
    let served = Served::new();
    ["a", "b", "c"].iter().for_each(|file| served.write(file, b"same"));
    served.write("d", b"other");
    ["a", "b", "c", "d"].iter().for_each(|file| drop(hashed(&served.store, file)));
    fs::remove_file(served.path("b")).unwrap();
    let root = hashed(&served.store, "a").root();
    let found = |prefix: &str| served.store.by_prefix(&prefix.parse().unwrap()).unwrap();
    let mut expected = vec![(name("a"), root), (name("c"), root)];
    expected.sort();
    for prefix in [&root.short()[..], &root.to_string(), &root.to_string()[..6].to_uppercase()] {
        let mut found = found(prefix);
        found.sort();
        assert_eq!(found, expected);
    }
    assert!(found("ffffff").is_empty());
}

#[test]
fn a_file_that_is_not_what_it_was_though_its_time_says_so_is_found() {
    let served = Served::new();
    served.write("f", b"as it is");
    let (name, inner) = (name("f"), served.store.now());
    assert!(matches!(served.store.verify(&name, &mut |_, _| true), Ok(Checked::Fresh)));
    assert_eq!(served.store.verify(&name, &mut |_, _| true).unwrap(), Checked::Same);
    served.write("f", b"rewritten");
    assert!(matches!(served.store.verify(&name, &mut |_, _| true), Ok(Checked::Changed { .. })));
    served.write("f", b"as it is");
    assert!(matches!(served.store.verify(&name, &mut |_, _| true), Ok(Checked::Changed { .. })));
    let file = fs::File::options().write(true).open(served.path("f")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let verified = served.store.verify(&name, &mut |_, _| true).unwrap();
    assert_eq!(verified, Checked::Same, "its time alone is another");
    let identity = inner.disk.folder.identity(&name).unwrap();
    let was = manifest_of("f", b"as it WS");
    inner.disk.catalog.remember(&was, identity, SystemTime::now());
    let is = manifest_of("f", b"as it is").root();
    let found = served.store.verify(&name, &mut |_, _| true).unwrap();
    assert_eq!(found, Checked::Damaged { was: was.root(), is });
    assert_eq!(hashed(&served.store, "f").root(), is, "it is served as what it is");
    assert_eq!(served.store.verify(&name, &mut |_, _| true).unwrap(), Checked::Same);
}

#[test]
fn files_that_are_long_gone_are_forgotten_when_they_are_most_of_all() {
    let served = Served::new();
    let files = |from: usize, to: usize| (from..to).map(|number| number.to_string());
    let there = config::NAMES_KEPT / 5;
    files(0, config::NAMES_KEPT).for_each(|file| served.write(&file, file.as_bytes()));
    let query = ListQuery { hashed: true, limit: 2 * config::NAMES_KEPT, ..ListQuery::default() };
    served.store.list(&query).unwrap();
    let length = || fs::metadata(catalog(&served)).unwrap().len();
    let before = length();
    files(0, config::NAMES_KEPT / 2).for_each(|file| fs::remove_file(served.path(&file)).unwrap());
    served.store.sweep();
    assert_eq!(length(), before, "half of them may come back");
    let gone = files(config::NAMES_KEPT / 2, config::NAMES_KEPT - there);
    gone.for_each(|file| fs::remove_file(served.path(&file)).unwrap());
    served.store.sweep();
    assert!(length() < before / 4, "{before} → {}", length());
    let listed = served.store.list(&ListQuery { hashed: false, ..query }).unwrap().entries;
    assert_eq!(listed.iter().filter(|entry| entry.root.is_some()).count(), there);
}
