use std::os::unix::fs::symlink;
use std::time::SystemTime;

use super::*;

const LENGTH: usize = 1_300_000;

pub(super) fn begin(store: &Store, manifest: &Arc<Manifest>) -> PartFile {
    match store.receive(Arc::clone(manifest), false).unwrap() {
        Reception::Part(part) => part,
        other => panic!("{other:?}"),
    }
}

pub(super) fn write(part: &PartFile, data: &[u8], chunks: std::ops::Range<u32>) {
    let manifest = part.manifest();
    for index in chunks.filter_map(|number| manifest.layout().index(number)) {
        let range = manifest.layout().range(index);
        let chunk = &data[range.start as usize..range.end as usize];
        part.write(&manifest.verify(index, chunk).unwrap()).unwrap();
    }
}

fn receive(store: &Store, file: &str, data: &[u8]) -> Arc<Manifest> {
    let manifest = manifest_of(file, data);
    let part = begin(store, &manifest);
    write(&part, data, 0..manifest.layout().count());
    part.complete().unwrap()
}

fn chunks(part: &PartFile) -> Vec<u32> {
    part.have().iter().map(|index| index.get()).collect()
}

fn part_path(served: &Served, manifest: &Manifest) -> PathBuf {
    private(served.folder.path(), "parts").join(manifest.root().to_string())
}

fn journal_path(served: &Served, manifest: &Manifest) -> PathBuf {
    part_path(served, manifest).with_extension("journal")
}

fn parts_left(served: &Served) -> usize {
    fs::read_dir(private(served.folder.path(), "parts")).unwrap().count()
}

#[test]
fn a_received_file_is_served_at_once_and_never_hashed_again() {
    let served = Served::new();
    served.store.close();
    let data = pattern(LENGTH);
    let manifest = receive(&served.store, "new/folder/f", &data);
    assert_eq!(fs::read(served.path("new/folder/f")).unwrap(), data);
    for store in [&served.store, &served.other()] {
        let described = store.describe(&name("new/folder/f")).unwrap();
        assert!(matches!(described, Description::Ready(ready) if ready == manifest));
        assert!(store.open_content(&manifest.root()).is_ok());
    }
    assert_eq!(parts_left(&served), 0);
}

#[test]
fn chunks_may_come_from_many_threads_in_any_order() {
    let served = Served::new();
    let data = pattern(20 << 20);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (part, data) = (&part, &data);
            scope.spawn(move || {
                (0..20).rev().for_each(|i| write(part, data, i * 4 + number..i * 4 + number + 1))
            });
        }
    });
    part.complete().unwrap();
    assert_eq!(fs::read(served.path("f")).unwrap(), data);
}

#[test]
fn nothing_is_visible_before_all_is_there() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..4);
    assert!(!served.path("f").exists());
    assert!(matches!(part.complete(), Err(StoreError::Incomplete { missing: 1, .. })));
    assert!(!served.path("f").exists());
    assert_eq!(chunks(&begin(&served.store, &manifest)), [0, 1, 2, 3]);
}

#[test]
fn what_was_received_is_kept_for_the_next_attempt_under_any_name() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let part = begin(&served.store, &manifest_of("f", &data));
    write(&part, &data, 1..3);
    drop(part);
    let part = begin(&served.other(), &manifest_of("g", &data));
    assert_eq!(chunks(&part), [1, 2]);
    write(&part, &data, 0..5);
    part.complete().unwrap();
    assert_eq!(fs::read(served.path("g")).unwrap(), data);
}

#[test]
fn without_a_sound_journal_every_chunk_is_verified_again() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..3);
    drop(part);
    let journal = fs::read(journal_path(&served, &manifest)).unwrap();
    let torn = &journal[..journal.len() - 1];
    for bytes in [None, Some(&b"nonsense"[..]), Some(b""), Some(torn)] {
        match bytes {
            Some(bytes) => fs::write(journal_path(&served, &manifest), bytes).unwrap(),
            None => fs::remove_file(journal_path(&served, &manifest)).unwrap(),
        }
        assert_eq!(chunks(&begin(&served.store, &manifest)), [0, 1, 2], "{bytes:?}");
    }
}

#[test]
fn chunks_written_after_the_journal_count_only_if_they_verify() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..1);
    drop(part);
    let journal = fs::read(journal_path(&served, &manifest)).unwrap();
    let part = begin(&served.store, &manifest);
    write(&part, &data, 1..4);
    drop(part);
    // As if the process had been killed, and chunk 2 had not reached the disk.
    fs::write(journal_path(&served, &manifest), journal).unwrap();
    let mut bytes = fs::read(part_path(&served, &manifest)).unwrap();
    bytes[2 * (256 << 10) + 5] ^= 1;
    fs::write(part_path(&served, &manifest), bytes).unwrap();
    assert_eq!(chunks(&begin(&served.store, &manifest)), [0, 1, 3]);
}

#[test]
fn a_journal_of_a_part_file_that_is_no_more_is_not_believed() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..4);
    drop(part);
    fs::remove_file(part_path(&served, &manifest)).unwrap();
    assert!(begin(&served.store, &manifest).have().is_empty());

    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..4);
    drop(part);
    fs::File::create(part_path(&served, &manifest)).unwrap().set_len(LENGTH as u64).unwrap();
    assert!(begin(&served.store, &manifest).have().is_empty());
}

#[test]
fn discarding_leaves_nothing() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..4);
    part.discard().unwrap();
    assert_eq!(parts_left(&served), 0);
    drop(begin(&served.store, &manifest));
    assert_eq!(parts_left(&served), 0, "a reception that got nothing leaves nothing");
}

#[test]
fn one_name_and_one_content_are_received_once_at_a_time() {
    let served = Served::new();
    let other = served.other();
    let (data, more) = (pattern(LENGTH), pattern(LENGTH + 1));
    let part = begin(&served.store, &manifest_of("f", &data));
    for store in [&served.store, &other] {
        for manifest in [manifest_of("f", &data), manifest_of("g", &data), manifest_of("f", &more)]
        {
            let reception = store.receive(manifest, false).unwrap();
            assert!(matches!(reception, Reception::Busy), "{reception:?}");
        }
    }
    let unrelated = begin(&other, &manifest_of("g", &more));
    drop(part);
    drop(begin(&other, &manifest_of("f", &data)));
    drop(unrelated);
}

#[test]
fn the_same_file_is_not_received_again() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = receive(&served.store, "f", &data);
    assert!(matches!(served.store.receive(manifest, false).unwrap(), Reception::AlreadyHere));
    served.write("copied", &data);
    let same = manifest_of("copied", &data);
    assert!(matches!(served.store.receive(same, true).unwrap(), Reception::AlreadyHere));
}

#[test]
fn other_content_is_replaced_only_when_asked_for_and_only_at_the_end() {
    let served = Served::new();
    served.write("f", b"old");
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let reception = served.store.receive(Arc::clone(&manifest), false).unwrap();
    assert!(matches!(reception, Reception::InTheWay { root: None, length: 3 }));
    let old = hashed(&served.store, "f").root();
    let reception = served.store.receive(Arc::clone(&manifest), false).unwrap();
    assert!(matches!(reception, Reception::InTheWay { root: Some(root), .. } if root == old));

    let Reception::Part(part) = served.store.receive(Arc::clone(&manifest), true).unwrap() else {
        panic!()
    };
    write(&part, &data, 0..5);
    assert_eq!(fs::read(served.path("f")).unwrap(), b"old");
    part.complete().unwrap();
    assert_eq!(fs::read(served.path("f")).unwrap(), data);
    assert!(served.store.by_root(&old).unwrap().is_none());
    assert!(served.store.by_root(&manifest.root()).unwrap().is_some());
}

#[test]
fn a_file_that_appears_meanwhile_is_not_overwritten_and_nothing_is_lost() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..5);
    served.write("f", b"precious");
    assert!(matches!(part.complete(), Err(StoreError::InTheWay { .. })));
    assert_eq!(fs::read(served.path("f")).unwrap(), b"precious");
    fs::remove_file(served.path("f")).unwrap();
    let part = begin(&served.store, &manifest);
    assert!(part.have().is_full());
    part.complete().unwrap();
    assert_eq!(fs::read(served.path("f")).unwrap(), data);
}

#[test]
fn folders_in_the_way_and_files_in_place_of_folders_are_errors_before_anything_is_received() {
    let served = Served::new();
    served.write("d/f", b"x");
    let of = |file| served.store.receive(manifest_of(file, b"new"), true);
    assert!(matches!(of("d"), Err(StoreError::Blocked { by: "a folder", .. })));
    for below in ["d/f/g", "d/f/g/h"] {
        let result = of(below);
        assert!(
            matches!(&result, Err(StoreError::NotAFolder { part, .. }) if part == "d/f"),
            "{result:?}"
        );
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        served.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert!(matches!(of("fifo"), Err(StoreError::Blocked { by: "a FIFO", .. })));
    assert_eq!(parts_left(&served), 0);
}

#[test]
fn a_link_that_leads_to_nothing_is_in_the_way_unless_it_may_be_replaced() {
    let served = Served::new();
    symlink("nowhere", served.path("f")).unwrap();
    let data = pattern(LENGTH);
    let result = served.store.receive(manifest_of("f", &data), false);
    assert!(matches!(result, Err(StoreError::Blocked { by: "a link that leads to nothing", .. })));
    let Reception::Part(part) = served.store.receive(manifest_of("f", &data), true).unwrap() else {
        panic!()
    };
    write(&part, &data, 0..5);
    part.complete().unwrap();
    assert!(fs::read(served.path("f")).unwrap() == data);
    assert!(!served.path("nowhere").exists());
}

#[test]
fn the_same_content_that_appears_meanwhile_is_as_good() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let part = begin(&served.store, &manifest_of("f", &data));
    write(&part, &data, 0..5);
    served.write("f", &data);
    part.complete().unwrap();
    assert_eq!(parts_left(&served), 0);
    // Of the same length, but another.
    let part = begin(&served.store, &manifest_of("g", &data));
    write(&part, &data, 0..5);
    let mut other = data.clone();
    other[LENGTH - 1] ^= 1;
    served.write("g", &other);
    assert!(matches!(part.complete(), Err(StoreError::InTheWay { .. })));
    assert!(fs::read(served.path("g")).unwrap() == other);
}

#[test]
fn small_files_that_appear_meanwhile_are_compared_by_content() {
    let served = Served::new();
    let mut group = served.store.group(false).unwrap();
    for (file, data) in [("same", b"1"), ("other", b"2")] {
        let whole = crate::content::whole::hash_all(&[data]).pop().unwrap().unwrap();
        group.put(&name(file), &whole, &crate::content::Attributes::default()).unwrap();
        served.write(file, b"1");
    }
    let settled = group.settle();
    assert!(
        matches!(&settled[..], [(_, Ok(())), (_, Err(StoreError::InTheWay { .. }))]),
        "{settled:?}"
    );
}

#[test]
fn a_complete_file_drops_what_was_begun_of_its_other_versions() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let versions = [1, 2, 3].map(|i| manifest_of("f", &data[i..]));
    for manifest in &versions {
        write(
            &begin(&served.store, manifest),
            &data[data.len() - manifest.length() as usize..],
            0..2,
        );
    }
    let of_another_name = manifest_of("g", &data[4..]);
    write(&begin(&served.store, &of_another_name), &data[4..], 0..2);
    // Somebody is at one of them, under another name.
    let held = begin(&served.other(), &manifest_of("h", &data[2..]));
    receive(&served.store, "f", &data);
    let left = [&versions[0], &versions[1], &versions[2], &of_another_name]
        .map(|manifest| part_path(&served, manifest).exists());
    assert_eq!(left, [false, true, false, true]);
    drop(held);
}

#[test]
fn what_kills_left_goes_at_the_next_start() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let manifest = manifest_of("f", &data);
    write(&begin(&served.store, &manifest), &data, 0..2);
    served.write("named", b"small");
    let (parts, root) = (private(served.folder.path(), "parts"), manifest.root());
    let other = manifest_of("g", &data[2..]).root();
    let group = parts.join("1-0.group");
    fs::create_dir(&group).unwrap();
    fs::create_dir(parts.join("1-1.group")).unwrap();
    let useless = [
        format!("{root}.journal.new"),
        format!("{root}.live.new"),
        format!("{other}.journal"),
        format!("{other}.journal.new"),
        "00.name".to_owned(),
        "00.live".to_owned(),
        format!("{root}.unproven"),
        "00.published".to_owned(),
        "try:".to_owned(),
        format!("{root}.early"),
        format!("1-0.group/{root}.0"),
    ];
    for entry in &useless {
        fs::write(parts.join(entry), b"torn").unwrap();
    }
    fs::write(group.join(format!("{root}.0")), b"").unwrap();
    // Begun, but nothing came.
    let empty = other.to_string();
    fs::File::create(parts.join(&empty)).unwrap().set_len(LENGTH as u64).unwrap();
    // Named by a link, where the file system can do no better.
    let linked = [manifest_of("named", b"small").root().to_string(), "1-0.group/00.1".to_owned()];
    linked.iter().for_each(|entry| {
        fs::hard_link(served.path("named"), parts.join(entry)).unwrap();
    });
    fs::write(private(served.folder.path(), "catalog.new"), b"torn").unwrap();
    let kept = group.join(format!("{root}.2"));
    fs::write(&kept, b"may be continued").unwrap();
    // What is odd is in the way of nothing.
    fs::create_dir(parts.join("folder")).unwrap();
    let held = begin(&served.store, &manifest_of("h", &data[1..]));
    drop(served.other());
    for entry in useless.iter().chain([&empty]).chain(&linked) {
        assert!(!parts.join(entry).exists(), "{entry} is left");
    }
    assert!(!parts.join("1-1.group").exists() && kept.exists());
    assert!(!private(served.folder.path(), "catalog.new").exists());
    drop(held);
    assert_eq!(chunks(&begin(&served.store, &manifest)), [0, 1]);
}

#[test]
fn nothing_is_received_through_a_link_that_leaves_the_folder() {
    let served = Served::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), b"precious").unwrap();
    symlink(outside.path(), served.path("out")).unwrap();
    symlink(outside.path().join("f"), served.path("f")).unwrap();
    symlink(".peershare", served.path("private")).unwrap();
    for file in ["out/f", "out/new", "out/deep/new", "f", "private/new"] {
        let result = served.store.receive(manifest_of(file, b"new"), true);
        assert!(matches!(result, Err(StoreError::Outside { .. })), "{file}: {result:?}");
    }
    // The link appears while the file is received.
    let part = begin(&served.store, &manifest_of("later/f", b"data"));
    write(&part, b"data", 0..1);
    symlink(outside.path(), served.path("later")).unwrap();
    assert!(matches!(part.complete(), Err(StoreError::Outside { .. })));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"precious");
}

#[test]
fn a_link_within_the_folder_is_replaced_and_its_target_is_not() {
    let served = Served::new();
    served.write("target", b"target");
    symlink("target", served.path("link")).unwrap();
    let Reception::Part(part) = served.store.receive(manifest_of("link", b"new"), true).unwrap()
    else {
        panic!()
    };
    write(&part, b"new", 0..1);
    part.complete().unwrap();
    assert_eq!(fs::read(served.path("target")).unwrap(), b"target");
    assert_eq!(fs::read(served.path("link")).unwrap(), b"new");
}

#[test]
fn empty_files_and_long_names_are_received_too() {
    let served = Served::new();
    let long = "ž".repeat(127) + "x";
    for (file, data) in [("empty", Vec::new()), (&*format!("{long}/{long}"), pattern(10))] {
        receive(&served.store, file, &data);
        assert_eq!(fs::read(served.path(file)).unwrap(), data);
    }
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_it_begins() {
    let served = Served::new();
    let length = 1 << 43;
    let layout = ChunkLayout::usual(length).unwrap();
    let digests = vec![crate::content::Digest::ZERO; layout.count() as usize];
    let manifest = Arc::new(Manifest::from_digests(name("huge"), layout, digests).unwrap());
    let result = served.store.receive(manifest, false);
    assert!(
        matches!(result, Err(StoreError::NoSpace { needed, free, .. }) if needed == length && free < needed)
    );
    assert_eq!(parts_left(&served), 0);
}

#[test]
fn a_chunk_of_another_file_is_refused() {
    let served = Served::new();
    let (data, other) = (pattern(LENGTH), pattern(100));
    let part = begin(&served.store, &manifest_of("f", &data));
    let other_manifest = manifest_of("g", &other);
    let chunk = other_manifest.verify(other_manifest.layout().index(0).unwrap(), &other).unwrap();
    assert!(matches!(part.write(&chunk), Err(StoreError::OtherFile { .. })));
}

#[test]
fn part_files_that_nobody_continues_are_deleted_after_two_weeks() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let [old, locked] = [1, 2].map(|i| manifest_of("f", &data[i..]));
    write(&begin(&served.store, &old), &data[1..], 0..2);
    let held = begin(&served.store, &locked);
    write(&held, &data[2..], 0..2);
    // As old as the other peer's file: what came of it is young all the same.
    let part = fs::File::options().write(true).open(part_path(&served, &old)).unwrap();
    part.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let sweep_at = |now| leftovers::sweep(&served.store.now().disk, now).unwrap();
    sweep_at(SystemTime::now());
    sweep_at(SystemTime::now() + config::PART_KEPT / 2);
    assert!(part_path(&served, &old).exists() && journal_path(&served, &old).exists());
    sweep_at(SystemTime::now() + config::PART_KEPT + std::time::Duration::from_secs(1));
    assert!(!part_path(&served, &old).exists() && !journal_path(&served, &old).exists());
    assert!(part_path(&served, &locked).exists());
}

#[test]
fn our_own_folders_under_other_names_are_never_reached() {
    use rustix::mount::{UnmountFlags, mount_bind, unmount};
    let served = Served::new();
    served.write("f", b"x");
    hashed(&served.store, "f");
    symlink(".peershare", served.path("link")).unwrap();
    let mut aliases = vec!["link/catalog", "link/parts/new"];
    // Second names for the folders themselves, where this may be done.
    let binds = [
        (".peershare", "alias"),
        (".peershare", "sub/x"),
        (".peershare/parts", "p"),
        (".", "sub/self"),
    ];
    let mut mounted = Vec::new();
    for (folder, alias) in binds {
        fs::create_dir_all(served.path(alias)).unwrap();
        match mount_bind(served.path(folder), served.path(alias)) {
            Ok(()) => mounted.push(served.path(alias)),
            Err(error) => eprintln!("only root can give a folder a second name: {error}"),
        }
    }
    if mounted.len() == binds.len() {
        aliases.extend([
            "alias/catalog",
            "alias/parts/new",
            "sub/x/catalog",
            "sub/x/parts/new",
            "p/new",
        ]);
        aliases.extend(["sub/self/.peershare/catalog", "sub/self/.peershare/parts/new"]);
    }
    for file in aliases {
        assert!(served.store.describe(&name(file)).is_err(), "{file}");
        assert!(served.store.open_named(&name(file)).is_err(), "{file}");
        let received = served.store.receive(manifest_of(file, b"poison"), true);
        assert!(received.is_err(), "{file}: {received:?}");
        let mut group = served.store.group(true).unwrap();
        let whole = crate::content::whole::hash_all(&[b"poison"]).pop().unwrap().unwrap();
        group.put(&name(file), &whole, &crate::content::Attributes::default()).unwrap();
        assert!(group.settle().iter().all(|(_, settled)| settled.is_err()), "{file}");
    }
    let query = ListQuery { limit: 100, ..ListQuery::default() };
    let listed = served.store.list(&query).unwrap().entries;
    for alias in mounted.iter().rev() {
        unmount(alias, UnmountFlags::DETACH).unwrap();
    }
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    assert!(names.iter().all(|name| name.ends_with('f')), "{names:?}");
}
