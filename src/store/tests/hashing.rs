use std::io::Write;

use super::*;
use crate::content::ChunkIndex;

fn first(manifest: &Manifest) -> ChunkIndex {
    manifest.layout().index(0).unwrap()
}

#[test]
fn a_file_is_described_as_its_content_says() {
    let served = Served::new();
    for length in [0, 1, 16384, 262_144, 262_145, 3_000_000] {
        let (file, data) = (format!("f{length}"), pattern(length));
        served.write(&file, &data);
        assert_eq!(*hashed(&served.store, &file), *manifest_of(&file, &data));
        assert!(matches!(served.store.describe(&name(&file)), Ok(Description::Ready(_))));
    }
}

#[test]
fn a_file_that_is_being_hashed_says_how_far_it_is() {
    let served = Served::new();
    served.write("large", &pattern(8 << 20));
    match served.store.describe(&name("large")).unwrap() {
        Description::Hashing { done, total } => assert!(done <= total && total == 8 << 20),
        Description::Ready(_) => panic!("8 MiB were hashed in no time"),
    }
    let mut last = (0, 0);
    served
        .store
        .manifest(&name("large"), &mut |done, total| {
            assert!(done >= last.0);
            last = (done, total);
            true
        })
        .unwrap();
    // It may have been ready before anybody could be told.
    assert!(last == (8 << 20, 8 << 20) || last == (0, 0), "{last:?}");
}

#[test]
fn whoever_gives_up_is_interrupted() {
    let served = Served::new();
    served.write("f", &pattern(4 << 20));
    let result = served.store.manifest(&name("f"), &mut |_, _| false);
    assert!(matches!(result, Err(StoreError::Interrupted)));
    let result = served.store.lend(&served.path("f"), &mut |_, _| false);
    assert!(matches!(result, Err(StoreError::Interrupted)));
    assert_eq!(hashed(&served.store, "f").length(), 4 << 20);
}

#[test]
fn everything_can_be_hashed_in_advance() {
    let served = Served::new();
    (0..50).for_each(|i| served.write(&format!("d{}/f{i}", i % 7), &pattern(i * 10_000)));
    served.store.hash_all();
    // The backlog gives way, so a file asked for is ready soon whatever it holds.
    assert_eq!(hashed(&served.store, "d0/f49").length(), 490_000);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let page = served.store.list(&ListQuery { limit: 100, ..ListQuery::default() }).unwrap();
        if page.entries.iter().all(|entry| entry.root.is_some()) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "not all hashed");
        std::thread::yield_now();
    }
}

#[test]
fn after_closing_nothing_is_hashed_but_what_is_known_is_served() {
    let served = Served::new();
    served.write("known", b"known");
    served.write("new", b"new");
    let root = hashed(&served.store, "known").root();
    served.store.hash_all();
    served.store.close();
    served.store.close();
    served.write("newer", b"newer");
    for _ in 0..3 {
        let result = served.store.manifest(&name("newer"), &mut |_, _| true);
        assert!(matches!(result, Err(StoreError::Interrupted)));
        assert!(matches!(served.store.describe(&name("newer")), Err(StoreError::Interrupted)));
    }
    assert!(served.store.open_content(&root).is_ok());
}

fn read(content: &Content, index: ChunkIndex) -> Vec<u8> {
    let Extent { offset, len, .. } = content.chunk(index).unwrap();
    let mut chunk = vec![0; len];
    content.read_at(&mut chunk, offset).unwrap();
    chunk
}

#[test]
fn content_is_read_chunk_by_chunk() {
    let served = Served::new();
    let data = pattern(600_000);
    served.write("f", &data);
    let manifest = hashed(&served.store, "f");
    let content = served.store.open_content(&manifest.root()).unwrap();
    for index in manifest.layout().indices() {
        manifest.verify(index, &read(&content, index)).unwrap();
    }
}

#[test]
fn a_file_that_grows_while_it_is_served_is_served_as_it_was_described() {
    let served = Served::new();
    served.write("f", &pattern(300_000));
    let manifest = hashed(&served.store, "f");
    let content = served.store.open_content(&manifest.root()).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(served.path("f")).unwrap();
    for _ in 0..3 {
        file.write_all(b"more").unwrap();
        // Somebody else asks what it is by now.
        let longer = hashed(&served.store, "f");
        assert!(longer.length() > manifest.length());
        let again = served.store.open_content(&manifest.root()).unwrap();
        for content in [&content, &again] {
            for index in manifest.layout().indices() {
                manifest.verify(index, &read(content, index)).unwrap();
            }
            assert!(matches!(content.check_unchanged(), Err(StoreError::Changed { .. })));
        }
    }
}

#[test]
fn a_file_that_is_written_anew_while_it_is_served_is_not_served_on() {
    let served = Served::new();
    served.write("f", &pattern(300_000));
    let manifest = hashed(&served.store, "f");
    let content = served.store.open_content(&manifest.root()).unwrap();
    for data in [&pattern(299_999)[..], b"x"] {
        fs::write(served.path("f"), data).unwrap();
        assert!(matches!(content.chunk(first(&manifest)), Err(StoreError::Changed { .. })));
        assert!(served.store.by_root(&manifest.root()).unwrap().is_none());
        let gone = served.store.open_content(&manifest.root());
        assert!(matches!(gone, Err(StoreError::NoSuchContent { .. })), "{gone:?}");
    }
    assert_eq!(hashed(&served.store, "f").length(), 1);
}

#[test]
fn a_file_replaced_or_renamed_while_it_is_served_is_served_to_its_end() {
    let served = Served::new();
    let data = pattern(300_000);
    served.write("f", &data);
    let manifest = hashed(&served.store, "f");
    let content = served.store.open_content(&manifest.root()).unwrap();
    served.write("other", b"other");
    fs::rename(served.path("other"), served.path("f")).unwrap();
    assert!(manifest.verify(first(&manifest), &read(&content, first(&manifest))).is_ok());
    assert_eq!(hashed(&served.store, "f").length(), 5);
}

#[test]
fn a_file_that_grows_while_it_is_hashed_is_described_as_it_was() {
    let served = Served::new();
    let data = pattern(32 << 20);
    served.write("f", &data);
    let mut file = fs::OpenOptions::new().append(true).open(served.path("f")).unwrap();
    assert!(matches!(served.store.describe(&name("f")), Ok(Description::Hashing { .. })));
    file.write_all(b"more").unwrap();
    let manifest = served.store.manifest(&name("f"), &mut |_, _| true).unwrap();
    // The job was about the file as it was, unless it had ended before and another was begun.
    let length = manifest.length() as usize;
    assert!(length == data.len() || length == data.len() + 4, "{length}");
    let content = served.store.open_content(&manifest.root()).unwrap();
    manifest.verify(first(&manifest), &read(&content, first(&manifest))).unwrap();
    assert_eq!(hashed(&served.store, "f").length(), (32 << 20) + 4);
}

#[test]
fn a_file_that_is_cut_off_while_it_is_hashed_has_changed() {
    let served = Served::new();
    served.write("f", &pattern(32 << 20));
    assert!(matches!(served.store.describe(&name("f")), Ok(Description::Hashing { .. })));
    fs::OpenOptions::new().write(true).open(served.path("f")).unwrap().set_len(5).unwrap();
    match served.store.manifest(&name("f"), &mut |_, _| true) {
        Ok(manifest) => assert_eq!(manifest.length(), 5),
        Err(error) => assert!(matches!(error, StoreError::Changed { .. }), "{error}"),
    }
    assert_eq!(hashed(&served.store, "f").length(), 5);
}

#[test]
fn a_lent_file_is_served_by_content_only() {
    let served = Served::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("lent.bin");
    fs::write(&path, pattern(500_000)).unwrap();
    let manifest = served.store.lend(&path, &mut |_, _| true).unwrap();
    assert_eq!(manifest.name().as_str(), "lent.bin");
    assert_eq!(served.store.by_root(&manifest.root()).unwrap().unwrap().length(), 500_000);
    let content = served.store.open_content(&manifest.root()).unwrap();
    assert!(manifest.verify(first(&manifest), &read(&content, first(&manifest))).is_ok());
    let all = ListQuery { limit: 10, ..ListQuery::default() };
    assert!(served.store.list(&all).unwrap().entries.is_empty());
    assert!(matches!(served.store.describe(&name("lent.bin")), Err(StoreError::NotFound { .. })));

    fs::write(&path, b"changed").unwrap();
    assert!(served.store.by_root(&manifest.root()).unwrap().is_none());
    assert!(matches!(content.chunk(first(&manifest)), Err(StoreError::Changed { .. })));
    assert_eq!(served.store.lend(&path, &mut |_, _| true).unwrap().length(), 7);
}
