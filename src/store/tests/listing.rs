use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn names(store: &Store, pattern: Option<&str>) -> Vec<String> {
    let query =
        ListQuery { pattern: pattern.map(str::to_owned), limit: 1000, ..ListQuery::default() };
    let page = store.list(&query).unwrap();
    assert!(page.next.is_none());
    page.entries.into_iter().map(|entry| entry.name.into()).collect()
}

fn left_out(store: &Store) -> u64 {
    store.list(&ListQuery::default()).unwrap().left_out
}

#[test]
fn files_are_listed_in_the_order_of_their_names_with_sub_folders() {
    let served = Served::new();
    for file in ["b", "a/z", "a-b", "a/deep/er/x", "c.txt"] {
        served.write(file, file.as_bytes());
    }
    fs::create_dir(served.path("empty")).unwrap();
    assert_eq!(names(&served.store, None), ["a-b", "a/deep/er/x", "a/z", "b", "c.txt"]);
    let page = served.store.list(&ListQuery { limit: 1, ..ListQuery::default() }).unwrap();
    let entry = &page.entries[0];
    assert_eq!((entry.length, entry.root), (3, None));
    assert!(entry.mtime_ns.unwrap() > 1_600_000_000_000_000_000);
}

#[test]
fn pages_follow_one_another_and_say_whether_there_are_more() {
    let served = Served::new();
    (0..25).for_each(|i| served.write(&format!("f{i:02}"), b"x"));
    let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let page =
            served.store.list(&ListQuery { after, limit: 10, ..ListQuery::default() }).unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.name.to_string()));
        after = page.next;
        pages += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, (0..25).map(|i| format!("f{i:02}")).collect::<Vec<_>>());
}

#[test]
fn a_file_that_vanishes_between_pages_is_not_on_the_next_one() {
    let served = Served::new();
    ["a", "b", "c"].iter().for_each(|file| served.write(file, b"x"));
    let first = served.store.list(&ListQuery { limit: 1, ..ListQuery::default() }).unwrap();
    fs::remove_file(served.path("b")).unwrap();
    let query = ListQuery { after: first.next, limit: 5, ..ListQuery::default() };
    let second = served.store.list(&query).unwrap();
    assert_eq!(second.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn patterns_choose_files() {
    let served = Served::new();
    ["a.txt", "b.bin", "d/a.txt", "d/e/a.txt", "x[1].txt"]
        .iter()
        .for_each(|file| served.write(file, b"x"));
    let of = |pattern| names(&served.store, Some(pattern));
    assert_eq!(of("*.txt"), ["a.txt", "x[1].txt"]);
    assert_eq!(of("**/*.txt"), ["a.txt", "d/a.txt", "d/e/a.txt", "x[1].txt"]);
    assert_eq!(of("d/*"), ["d/a.txt"]);
    assert_eq!(of("d/"), ["d/a.txt", "d/e/a.txt"]);
    assert_eq!(of("b.bin"), ["b.bin"]);
    assert_eq!(of("x[1].txt"), ["x[1].txt"]);
    assert_eq!(of("nothing"), [""; 0]);
    let query = ListQuery { pattern: Some("a[".to_owned()), limit: 1, ..ListQuery::default() };
    assert!(matches!(served.store.list(&query), Err(StoreError::BadPattern { .. })));
    let deep = ["{", "a", "}"].map(|part| part.repeat(300)).concat();
    let query = ListQuery { pattern: Some(deep), limit: 1, ..ListQuery::default() };
    assert!(matches!(served.store.list(&query), Err(StoreError::BadPattern { .. })));
}

#[test]
fn links_within_the_folder_are_what_they_point_to_and_others_are_left_out() {
    let served = Served::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    served.write("sub/real", b"real");
    symlink("sub/real", served.path("relative")).unwrap();
    symlink(served.folder.path().canonicalize().unwrap().join("sub"), served.path("absolute"))
        .unwrap();
    symlink("../sub/./real", served.path("sub/back")).unwrap();
    assert_eq!(
        names(&served.store, None),
        ["absolute/back", "absolute/real", "relative", "sub/back", "sub/real"]
    );
    assert_eq!(left_out(&served.store), 0);
    assert_eq!(hashed(&served.store, "absolute/back").length(), 4);

    symlink(outside.path().join("secret"), served.path("leak")).unwrap();
    symlink(outside.path(), served.path("leaks")).unwrap();
    symlink("../sub/../../etc/passwd", served.path("sub/up")).unwrap();
    symlink("nowhere", served.path("dangling")).unwrap();
    symlink(".peershare/catalog", served.path("private")).unwrap();
    symlink("self", served.path("self")).unwrap();
    assert_eq!(names(&served.store, None).len(), 5);
    // `sub/up` is left out beneath `absolute` too.
    assert_eq!(left_out(&served.store), 7);
    for leak in ["leak", "leaks/secret", "sub/up", "private", "self"] {
        let result = served.store.describe(&name(leak));
        assert!(matches!(result, Err(StoreError::Outside { .. })), "{leak}: {result:?}");
    }
}

#[test]
fn circles_of_links_end() {
    let served = Served::new();
    served.write("a/file", b"x");
    symlink("..", served.path("a/up")).unwrap();
    symlink(".", served.path("a/here")).unwrap();
    symlink("../a", served.path("a/again")).unwrap();
    assert_eq!(names(&served.store, None), ["a/file"]);
    assert_eq!(left_out(&served.store), 3);
}

#[test]
fn what_has_no_name_or_is_no_file_is_left_out_and_never_hangs() {
    let served = Served::new();
    served.write("good", b"x");
    served.write("bad\nname", b"x");
    fs::write(served.folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), b"x").unwrap();
    mknodat(CWD, served.path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert_eq!(names(&served.store, None), ["good"]);
    assert_eq!(left_out(&served.store), 3);
    assert!(matches!(served.store.describe(&name("fifo")), Err(StoreError::NotAFile { .. })));
    assert!(matches!(
        served.store.lend(&served.path("fifo"), &mut |_, _| true),
        Err(StoreError::NotAFile { .. })
    ));
}

#[test]
fn what_is_not_there_or_is_a_folder_is_told_apart() {
    let served = Served::new();
    served.write("d/f", b"x");
    assert!(matches!(served.store.describe(&name("missing")), Err(StoreError::NotFound { .. })));
    assert!(matches!(served.store.describe(&name("d/f/g")), Err(StoreError::NotFound { .. })));
    assert!(matches!(served.store.describe(&name("d")), Err(StoreError::NotAFile { .. })));
}

#[test]
fn a_folder_as_deep_as_names_can_be_is_listed_without_looking_at_each_level_again_and_again() {
    let served = Served::new();
    let mut deep = String::new();
    while deep.len() + 4 < FileName::MAX_LEN {
        deep.push_str("d/");
    }
    served.write(&format!("{deep}f"), b"deep");
    let (mut folder, levels) = (served.path(""), deep.len() / 2);
    for level in 0..levels {
        // Some have files, as those that a hostile peer could send.
        folder.push("d");
        if level % 4 == 0 {
            fs::write(folder.join("f"), b"x").unwrap();
        }
    }
    let begun = std::time::Instant::now();
    let query = ListQuery { hashed: true, limit: 10_000, ..ListQuery::default() };
    let listed = served.store.list(&query).unwrap().entries.len();
    eprintln!("{levels} levels took {:?}", begun.elapsed());
    assert!(listed > levels / 4);
    assert!(begun.elapsed() < std::time::Duration::from_secs(60));
}
