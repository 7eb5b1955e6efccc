//! Where the served folder is, and what lies in it, when that is not what it was.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::receiving::{begin, write};
use super::*;

const LENGTH: usize = 600_000;

/// A file system of its own at a folder, until this is dropped; `None` where this may not be done.
struct Mounted(PathBuf);

impl Mounted {
    fn at(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mounted = mount("none", folder, "tmpfs", MountFlags::empty(), None);
        match mounted {
            Ok(()) => Some(Self(folder.to_owned())),
            Err(error) => {
                eprintln!("only root can mount a file system, so this is not tried: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

fn listed(store: &Store) -> Vec<String> {
    let page = store.list(&ListQuery { limit: 100, ..ListQuery::default() }).unwrap();
    page.entries.into_iter().map(|entry| entry.name.to_string()).collect()
}

fn receive(store: &Store, file: &str, data: &[u8]) -> Result<Arc<Manifest>, StoreError> {
    let manifest = manifest_of(file, data);
    let Reception::Part(part) = store.receive(Arc::clone(&manifest), false)? else { panic!() };
    write(&part, data, 0..manifest.layout().count());
    part.complete()
}

fn receive_small(store: &Store, file: &str, data: &[u8]) -> Result<(), StoreError> {
    let whole = crate::content::whole::hash_all(&[data]).pop().unwrap().unwrap();
    let mut group = store.group(false)?;
    group.put(&name(file), &whole, &crate::content::Attributes::default())?;
    group.settle().pop().unwrap().1
}

#[test]
fn another_folder_in_the_place_of_the_served_one_is_taken_up() {
    let top = tempfile::tempdir().unwrap();
    let place = top.path().join("served");
    let store = Store::open(&place).unwrap();
    fs::write(place.join("old"), b"old").unwrap();
    assert_eq!(listed(&store), ["old"]);
    fs::rename(&place, top.path().join("elsewhere")).unwrap();
    for result in
        [store.list(&ListQuery::default()).map(drop), receive(&store, "f", b"x").map(drop)]
    {
        assert!(matches!(result, Err(StoreError::Gone { .. })), "{result:?}");
    }
    fs::create_dir(&place).unwrap();
    fs::write(place.join("new"), b"new").unwrap();
    assert_eq!(listed(&store), ["new"]);
    receive(&store, "f", &pattern(LENGTH)).unwrap();
    receive_small(&store, "d/g", b"small").unwrap();
    assert_eq!(listed(&store), ["d/g", "f", "new"]);
    assert_eq!(
        fs::read_dir(top.path().join("elsewhere")).unwrap().count(),
        2,
        "old and .peershare"
    );
}

#[test]
fn what_was_begun_in_a_folder_that_is_covered_is_never_called_complete() {
    let served = Served::new();
    let data = pattern(LENGTH);
    let part = begin(&served.store, &manifest_of("f", &data));
    write(&part, &data, 0..3);
    let mut group = served.store.group(false).unwrap();
    let whole = crate::content::whole::hash_all(&[b"small"]).pop().unwrap().unwrap();
    group.put(&name("g"), &whole, &crate::content::Attributes::default()).unwrap();
    let moved = served.folder.path().with_extension("moved");
    fs::rename(served.folder.path(), &moved).unwrap();
    fs::create_dir(served.folder.path()).unwrap();
    assert!(matches!(part.complete(), Err(StoreError::Moved { .. })));
    assert!(matches!(group.settle().pop(), Some((_, Err(StoreError::Moved { .. })))));
    assert!(!moved.join("f").exists() && !served.path("f").exists());
    fs::remove_dir_all(moved).unwrap();
}

#[test]
fn our_own_folders_are_made_again_when_somebody_removed_them() {
    for removed in [".peershare", ".peershare/parts"] {
        let served = Served::new();
        served.write("old", b"old");
        hashed(&served.store, "old");
        fs::remove_dir_all(served.path(removed)).unwrap();
        receive(&served.store, "f", &pattern(LENGTH)).unwrap();
        receive_small(&served.store, "g", b"small").unwrap();
        hashed(&served.store, "old");
        assert_eq!(listed(&served.store), ["f", "g", "old"]);
        assert!(served.path(".peershare/catalog").exists());
    }
}

#[test]
fn a_file_system_below_the_folder_receives_what_is_called_so() {
    let served = Served::new();
    let Some(_mounted) = Mounted::at(&served.path("usb")) else { return };
    let data = pattern(LENGTH);
    receive(&served.store, "usb/large", &data).unwrap();
    receive_small(&served.store, "usb/deep/small", b"small").unwrap();
    let unproven = served.store.receive_unproven(name("usb/unproven"), None, false).unwrap();
    let Arrival::Ready(mut incoming) = unproven else { panic!() };
    incoming.append(b"text").unwrap();
    served.store.complete(incoming).unwrap();
    assert!(fs::read(served.path("usb/large")).unwrap() == data);
    assert_eq!(fs::read(served.path("usb/deep/small")).unwrap(), b"small");
    assert_eq!(listed(&served.store), ["usb/deep/small", "usb/large", "usb/unproven"]);
    assert!(
        ["usb/large", "usb/deep/small", "usb/unproven"]
            .iter()
            .all(|file| is_known(&served.store, file))
    );
    assert_eq!(fs::read_dir(served.path(".peershare/parts")).unwrap().count(), 0);
}

#[test]
fn what_does_not_fit_on_the_file_system_below_is_refused_before_it_comes() {
    let served = Served::new();
    let folder = served.path("small");
    fs::create_dir(&folder).unwrap();
    let size = c"size=256k";
    if mount("none", &folder, "tmpfs", MountFlags::empty(), size).is_err() {
        eprintln!("only root can mount a file system, so this is not tried");
        return;
    }
    let _mounted = Mounted(folder);
    let result = served.store.receive(manifest_of("small/f", &pattern(LENGTH)), false);
    assert!(matches!(result, Err(StoreError::NoSpace { .. })), "{result:?}");
}

#[test]
fn a_read_only_folder_is_served_and_receives_nothing() {
    let served = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::at(served.path()) else { return };
    fs::write(served.path().join("f"), b"x").unwrap();
    let flags = MountFlags::RDONLY;
    rustix::mount::mount_remount(&mounted.0, flags, "").unwrap();
    let store = Store::open(served.path()).unwrap();
    assert_eq!(hashed(&store, "f").length(), 1);
    assert_eq!(listed(&store), ["f"]);
    for result in [
        receive(&store, "g", b"y").map(drop),
        receive_small(&store, "g", b"y"),
        store.receive_unproven(name("g"), None, false).map(drop),
        store.make_folder(&name("d")),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Closed { .. }), "{error}");
        assert!(error.to_string().contains("read-only"), "{error}");
    }
    drop(store);
    let again = Store::open(served.path()).unwrap();
    assert!(is_known(&again, "f"), "what was hashed is remembered elsewhere");
}

#[test]
fn a_store_without_a_folder_lends_and_leaves_nothing() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("f"), b"x").unwrap();
    let store = Store::nowhere().unwrap();
    let lent = store.lend(&elsewhere.path().join("f"), &mut |_, _| true).unwrap();
    assert!(store.open_content(&lent.root()).is_ok());
    assert!(listed(&store).is_empty());
    assert!(matches!(store.receive(lent, false), Err(StoreError::Closed { .. })));
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let error = Store::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::NoFolder { .. }), "{error}");
    assert!(matches!(Store::open(&file.join("below")), Err(StoreError::Io { .. })));
}

#[test]
fn one_server_serves_a_folder_and_clients_beside_it_do() {
    let served = Served::new();
    let held = served.store.hold_for_server("peer1 (process 7)").unwrap();
    let other = served.other();
    let error = other.hold_for_server("peer2").unwrap_err().to_string();
    assert!(error.starts_with("peer1 (process 7) serves "), "{error}");
    receive(&other, "f", b"x").unwrap();
    drop(held);
    other.hold_for_server("peer2").unwrap();
}

#[test]
fn permission_bits_that_forbid_all_do_not_hinder_the_copy_to_another_file_system() {
    let served = Served::new();
    let Some(_mounted) = Mounted::at(&served.path("usb")) else { return };
    let data = pattern(LENGTH);
    let manifest = manifest_of("usb/f", &data);
    let attributes =
        crate::content::Attributes { mtime_ns: Some(1_000_000_000), mode: Some(0o400) };
    let Reception::Part(part) = served.store.receive(manifest, false).unwrap().with(attributes)
    else {
        panic!()
    };
    write(&part, &data, 0..3);
    part.complete().unwrap();
    let metadata = fs::metadata(served.path("usb/f")).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.mtime()), (0o400, 1));
}

#[test]
fn the_hold_of_a_server_goes_over_to_the_folder_that_takes_the_place() {
    let top = tempfile::tempdir().unwrap();
    let place = top.path().join("served");
    let store = Store::open(&place).unwrap();
    let held = store.hold_for_server("peer1").unwrap();
    fs::rename(&place, top.path().join("elsewhere")).unwrap();
    fs::create_dir(&place).unwrap();
    assert!(listed(&store).is_empty());
    let other = Store::open(&place).unwrap();
    assert!(matches!(other.hold_for_server("peer2"), Err(StoreError::Held { .. })));
    fs::remove_dir_all(place.join(".peershare")).unwrap();
    assert!(listed(&store).is_empty() && listed(&other).is_empty());
    assert!(matches!(other.hold_for_server("peer2"), Err(StoreError::Held { .. })));
    drop(held);
    other.hold_for_server("peer2").unwrap();
}

#[test]
fn a_folder_that_can_be_written_to_again_receives_again() {
    let served = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::at(served.path()) else { return };
    rustix::mount::mount_remount(&mounted.0, MountFlags::RDONLY, "").unwrap();
    let store = Store::open(served.path()).unwrap();
    assert!(matches!(receive(&store, "f", b"x"), Err(StoreError::Closed { .. })));
    rustix::mount::mount_remount(&mounted.0, MountFlags::empty(), "").unwrap();
    receive(&store, "f", b"x").unwrap();
    assert_eq!(fs::read(served.path().join("f")).unwrap(), b"x");
}

#[test]
fn unusual_names_are_received_where_the_file_system_has_them() {
    let served = Served::new();
    for file in ["a:b", "what?", "end.", "sp ace ", "d:/x*"] {
        receive(&served.store, file, b"x").unwrap();
        assert_eq!(fs::read(served.path(file)).unwrap(), b"x");
    }
    assert_eq!(fs::read_dir(served.path(".peershare/parts")).unwrap().count(), 0);
}

#[test]
fn many_programs_that_hash_one_folder_lose_nothing_of_what_the_others_wrote_down() {
    let served = Served::new();
    let files = |who: usize| (0..40).map(move |number| format!("{who}-{number}"));
    (0..4).flat_map(files).for_each(|file| served.write(&file, file.as_bytes()));
    let names = |who| files(who).map(|file| name(&file)).collect::<Vec<_>>();
    // Whoever opens the catalog compacts it.
    served.write("again", b"again");
    hashed(&served.store, "again");
    bloat(served.folder.path());
    std::thread::scope(|scope| {
        for who in 0..4 {
            let (names, served) = (names(who), &served);
            scope.spawn(move || {
                for some in names.chunks(4) {
                    // As another process, which starts, hashes and ends.
                    let store = served.other();
                    for name in some {
                        store.manifest(name, &mut |_, _| true).unwrap();
                    }
                }
            });
        }
    });
    let fresh = served.other();
    let unknown = (0..4).flat_map(files).filter(|file| !is_known(&fresh, file)).count();
    assert_eq!(unknown, 0, "records were lost");
    for file in (0..4).flat_map(files) {
        assert_eq!(hashed(&fresh, &file).root(), manifest_of(&file, file.as_bytes()).root());
    }
}

#[test]
fn of_two_programs_that_give_one_name_exactly_one_does() {
    let served = Served::new();
    for round in 0..30 {
        let file = format!("f{round}");
        let data = [pattern(LENGTH + 1), pattern(LENGTH)];
        let start = std::sync::Barrier::new(2);
        let wins: Vec<bool> = std::thread::scope(|scope| {
            let threads = data.each_ref().map(|data| {
                let (file, start, served) = (&file, &start, &served);
                scope.spawn(move || {
                    let store = served.other();
                    start.wait();
                    match store.receive(manifest_of(file, data), false) {
                        Ok(Reception::Part(part)) => {
                            write(&part, data, 0..part.manifest().layout().count());
                            part.complete().is_ok()
                        }
                        // The other one is at it, or through.
                        Ok(Reception::Busy | Reception::InTheWay { .. }) => false,
                        other => panic!("{other:?}"),
                    }
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = wins.iter().position(|won| *won).unwrap();
        assert_eq!(wins.iter().filter(|won| **won).count(), 1, "{wins:?}");
        assert!(fs::read(served.path(&file)).unwrap() == data[winner]);
    }
}
