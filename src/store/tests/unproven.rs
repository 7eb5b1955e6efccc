use super::*;

fn begin(store: &Store, file: &str) -> Incoming {
    match store.receive_unproven(name(file), None, false).unwrap() {
        Arrival::Ready(incoming) => incoming,
        other => panic!("{other:?}"),
    }
}

fn parts(served: &Served) -> usize {
    fs::read_dir(private(served.folder.path(), "parts")).unwrap().count()
}

#[test]
fn a_file_without_proof_becomes_visible_whole_and_is_known_then() {
    let served = Served::new();
    let mut incoming = begin(&served.store, "a/f.txt");
    let data = pattern(700_000);
    data.chunks(100).for_each(|chunk| incoming.append(chunk).unwrap());
    assert!(!served.path("a/f.txt").exists());
    served.store.complete(incoming).unwrap();
    assert_eq!(fs::read(served.path("a/f.txt")).unwrap(), data);
    let query = ListQuery { limit: 9, ..ListQuery::default() };
    let listed = served.store.list(&query).unwrap().entries;
    assert_eq!(listed[0].root, Some(manifest_of("a/f.txt", &data).root()));
    assert_eq!(parts(&served), 0);
}

#[test]
fn what_is_dropped_leaves_nothing() {
    let served = Served::new();
    begin(&served.store, "f").append(b"x").unwrap();
    assert_eq!(parts(&served), 0);
    assert!(!served.path("f").exists());
}

#[test]
fn one_name_is_received_once_with_proof_or_without() {
    let served = Served::new();
    let manifest = manifest_of("f", b"proven");
    let incoming = begin(&served.store, "f");
    assert!(matches!(served.other().receive(manifest.clone(), false), Ok(Reception::Busy)));
    assert!(matches!(served.other().receive_unproven(name("f"), None, false), Ok(Arrival::Busy)));
    drop(incoming);
    let part = served.store.receive(manifest, false).unwrap();
    assert!(matches!(served.store.receive_unproven(name("f"), None, false), Ok(Arrival::Busy)));
    drop(part);
    begin(&served.store, "f");
}

#[test]
fn a_file_of_that_name_is_in_the_way_before_and_after() {
    let served = Served::new();
    served.write("f", b"here");
    assert!(matches!(served.store.receive_unproven(name("f"), None, false), Ok(Arrival::Exists)));
    assert!(matches!(
        served.store.receive_unproven(name("f/g"), None, false),
        Err(StoreError::NotAFile { .. } | StoreError::NotAFolder { .. })
    ));
    let incoming = begin(&served.store, "g");
    served.write("g", b"meanwhile");
    assert!(matches!(served.store.complete(incoming), Err(StoreError::InTheWay { .. })));
    assert_eq!(fs::read(served.path("g")).unwrap(), b"meanwhile");
    assert_eq!(parts(&served), 0);
    let Ok(Arrival::Ready(mut incoming)) = served.store.receive_unproven(name("f"), None, true)
    else {
        panic!()
    };
    incoming.append(b"other").unwrap();
    assert_eq!(fs::read(served.path("f")).unwrap(), b"here");
    served.store.complete(incoming).unwrap();
    assert_eq!(fs::read(served.path("f")).unwrap(), b"other");
}

#[test]
fn what_would_not_fit_is_refused_before_it_comes() {
    let served = Served::new();
    let result = served.store.receive_unproven(name("f"), Some(u64::MAX / 2), false);
    assert!(matches!(result, Err(StoreError::NoSpace { .. })));
    assert_eq!(parts(&served), 0);
}

#[test]
fn carriage_returns_are_put_back_in_files_of_any_length() {
    for length in [0, 1, 300, crate::config::HASH_PIECE, 3 * crate::config::HASH_PIECE + 7] {
        let served = Served::new();
        let text: Vec<u8> = (0..length).map(|i| if i % 37 == 0 { b'\n' } else { b'x' }).collect();
        let mut incoming = begin(&served.store, "f");
        text.chunks(100).for_each(|chunk| incoming.append(chunk).unwrap());
        incoming.put_returns_back().unwrap();
        served.store.complete(incoming).unwrap();
        let expected = String::from_utf8(text).unwrap().replace('\n', "\r\n");
        assert!(fs::read(served.path("f")).unwrap() == expected.as_bytes(), "{length}");
    }
}
