use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::receiving::{begin, write};
use super::*;
use crate::content::{Attributes, ChunkIndex, ChunkSet, Units, whole};

/// Larger than any that travels as a whole.
const LARGE: usize = 5 << 20;

/// A long time, for what comes sooner.
const LONG: Duration = Duration::from_secs(60);

fn now() -> Instant {
    Instant::now()
}

fn root_of(data: &[u8]) -> Root {
    whole::hash_all(&[data]).pop().unwrap().unwrap().root()
}

fn put(group: &mut Group, file: &str, data: &[u8]) {
    let whole = whole::hash_all(&[data]).pop().unwrap().unwrap();
    group.put(&name(file), &whole, &Attributes::default()).unwrap();
}

/// One large file, and two small ones in one unit at the end.
struct Folder {
    large: Vec<u8>,
    manifest: Arc<Manifest>,
    units: Arc<Units>,
}

const SMALL: [&[u8]; 2] = [b"first", b"second"];

impl Folder {
    fn new() -> Self {
        let large = pattern(LARGE);
        let manifest = manifest_of("large", &large);
        let small = SMALL.map(|data| (root_of(data), data.len() as u64));
        let files = small.into_iter().chain([(manifest.root(), LARGE as u64)]);
        let units = Arc::new(Units::cut(files, 64 << 10).unwrap());
        assert_eq!(units.layout().count(), 21);
        Self { large, manifest, units }
    }

    fn receive(&self, store: &Store) -> UnitsPart {
        store.receive_units(self.units.clone(), ChunkSet::none(self.units.layout())).unwrap()
    }

    fn index(&self, number: u32) -> ChunkIndex {
        self.units.layout().index(number).unwrap()
    }

    /// The bytes of that unit, where all of it is here.
    fn unit(&self, store: &Store, number: u32) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        store.unit(&self.units, self.index(number), &mut bytes).ok().map(|()| bytes)
    }

    fn chunk(&self, number: usize) -> &[u8] {
        let size = self.manifest.layout().chunk_size() as usize;
        &self.large[number * size..self.large.len().min((number + 1) * size)]
    }
}

#[test]
fn who_waits_for_a_unit_is_woken_when_it_is_stored_here_or_by_another_process() {
    let (served, folder) = (Served::new(), Folder::new());
    let other = served.other();
    assert!(other.partial(&folder.units.id(), now()).is_none());
    let units = folder.receive(&served.store);
    let part = begin(&served.store, &folder.manifest);
    let partials = [&served.store, &other]
        .map(|store| store.partial(&folder.units.id(), now()).expect("nobody receives it"));
    for partial in &partials {
        assert_eq!(**partial.units().unwrap(), *folder.units);
        assert!(partial.have(folder.units.layout()).is_empty() && !partial.is_over());
        assert!(matches!(partial.await_unit(4, now()), Err(StoreError::NoUnitYet { number: 4 })));
        assert!(matches!(partial.await_unit(21, now()), Err(StoreError::NoSuchUnit { .. })));
    }
    std::thread::scope(|scope| {
        let late: Vec<_> = partials
            .iter()
            .map(|partial| scope.spawn(|| partial.await_unit(4, now() + LONG).is_ok()))
            .collect();
        write(&part, &folder.large, 4..5);
        units.mark(folder.index(4));
        assert!(late.into_iter().all(|late| late.join().unwrap()));
    });
    for store in [&served.store, &other] {
        assert_eq!(folder.unit(store, 4).as_deref(), Some(folder.chunk(4)));
        assert_eq!(folder.unit(store, 5), None, "that one did not come");
    }
    assert!(partials.iter().all(|partial| partial.have(folder.units.layout()).len() == 1));
    units.expects_more(false);
    assert!(matches!(partials[0].await_unit(5, now() + LONG), Err(StoreError::NoUnitYet { .. })));
}

#[test]
fn small_files_are_read_by_content_before_and_while_and_after_they_get_their_names() {
    let (served, folder) = (Served::new(), Folder::new());
    let other = served.other();
    let stores = [&served.store, &other];
    let mut group = served.store.group(false).unwrap();
    assert_eq!(folder.unit(&served.store, 20), None);
    put(&mut group, "a/one", SMALL[0]);
    put(&mut group, "a/two", SMALL[1]);
    put(&mut group, "a/again", SMALL[0]);
    let roots = SMALL.map(root_of);
    for store in stores {
        assert_eq!(folder.unit(store, 20).unwrap(), SMALL.concat());
        let mut payload = Vec::new();
        let lengths = store.gather(&roots, 7, &mut payload).unwrap();
        assert_eq!(lengths, [Some(5), None], "there is room for one");
        assert!(!served.path("a/one").exists());
    }
    assert!(group.settle().iter().all(|(_, settled)| settled.is_ok()));
    for store in stores {
        assert_eq!(folder.unit(store, 20).unwrap(), SMALL.concat());
    }
    ["a/one", "a/again"].iter().for_each(|file| {
        assert_eq!(fs::read(served.path(file)).unwrap(), SMALL[0]);
    });
    // The same content once more in the same group.
    put(&mut group, "b/one", SMALL[0]);
    fs::remove_dir_all(served.path("a")).unwrap();
    assert_eq!(other.gather(&roots, 100, &mut Vec::new()).unwrap(), [Some(5), None]);
    assert!(group.settle().iter().all(|(_, settled)| settled.is_ok()));
    drop(group);
    assert_eq!(parts(&served), Vec::<String>::new());
}

#[test]
fn readers_of_small_files_never_miss_them_while_they_get_their_names() {
    let served = Served::new();
    let other = served.other();
    let data: Vec<Vec<u8>> = (0..200_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    let files = data.iter().map(|data| (root_of(data), 4));
    let units = Units::cut(files, 64 << 10).unwrap();
    let mut group = served.store.group(false).unwrap();
    for (number, data) in data.iter().enumerate() {
        put(&mut group, &format!("f{number}"), data);
    }
    let settled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [&served.store, &other].map(|store| {
            let (units, settled, expected) = (&units, &settled, data.concat());
            scope.spawn(move || {
                let (index, mut bytes) = (units.layout().index(0).unwrap(), Vec::new());
                loop {
                    let last = settled.load(SeqCst);
                    store.unit(units, index, &mut bytes).unwrap();
                    assert!(bytes == expected);
                    if last {
                        return;
                    }
                }
            })
        });
        assert!(group.settle().iter().all(|(_, settled)| settled.is_ok()));
        settled.store(true, SeqCst);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_small_file_that_another_process_has_written_half_is_not_there() {
    let served = Served::new();
    let group = private(served.folder.path(), "parts").join("1-0.group");
    fs::create_dir(&group).unwrap();
    let root = root_of(SMALL[1]);
    fs::write(group.join(root.to_string()), &SMALL[1][..3]).unwrap();
    let gather = || served.store.gather(&[root], 100, &mut Vec::new()).unwrap();
    assert_eq!(gather(), [None]);
    fs::write(group.join(root.to_string()), SMALL[1]).unwrap();
    assert_eq!(gather(), [Some(6)]);
}

/// What lies among the part files.
fn parts(served: &Served) -> Vec<String> {
    let entries = fs::read_dir(private(served.folder.path(), "parts")).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries.map(|entry| name(entry).into_string().unwrap()).collect()
}

#[test]
fn a_folder_that_has_come_is_found_for_a_while_and_one_that_has_not_is_not() {
    let (served, folder) = (Served::new(), Folder::new());
    let (other, id) = (served.other(), folder.units.id());
    let units = folder.receive(&served.store);
    let watched = other.partial(&id, now()).unwrap();
    drop(units);
    assert!(watched.is_over() && served.store.partial(&id, now()).is_none());
    assert_eq!(parts(&served), Vec::<String>::new());

    served.write("large", &folder.large);
    for (file, data) in ["one", "two"].iter().zip(SMALL) {
        served.write(file, data);
    }
    ["large", "one", "two"].iter().for_each(|file| drop(hashed(&served.store, file)));
    let all = ChunkSet::all(folder.units.layout());
    let units = served.store.receive_units(folder.units.clone(), all).unwrap();
    let partials = [&served.store, &other].map(|store| store.partial(&id, now()).unwrap());
    drop(units);
    let later = served.store.partial(&id, now()).expect("it came a moment ago");
    for partial in partials.iter().chain([&later]) {
        assert!(!partial.is_over() && partial.is_complete());
        assert!(partial.await_unit(20, now()).is_ok());
    }
    assert_eq!(folder.unit(&other, 20).unwrap(), SMALL.concat());
    assert_eq!(folder.unit(&other, 3).as_deref(), Some(folder.chunk(3)));
    assert!(other.partial(&id, now()).is_none() && served.store.begun().unwrap().is_empty());
}

#[test]
fn two_who_receive_the_same_folder_are_not_in_each_others_way() {
    let (served, folder) = (Served::new(), Folder::new());
    let (other, id) = (served.other(), folder.units.id());
    let (first, second) = (folder.receive(&served.store), folder.receive(&served.store));
    let elsewhere = folder.receive(&other);
    drop(first);
    second.mark(folder.index(0));
    let here = served.store.partial(&id, now()).unwrap();
    assert!(here.await_unit(0, now()).is_ok());
    drop((second, elsewhere));
    assert!(here.is_over());
    assert_eq!(parts(&served), Vec::<String>::new());
}

#[test]
fn what_is_passed_on_of_a_folder_counts_and_who_asked_is_known() {
    let (served, folder) = (Served::new(), Folder::new());
    let (units, id) = (folder.receive(&served.store), folder.units.id());
    let theirs = served.other().partial(&id, now()).unwrap();
    let ours = served.store.partial(&id, now()).unwrap();
    let own = config::BACKLOG / 2 + config::AHEAD;
    (0..own.min(21)).for_each(|number| units.own(folder.index(number)));
    assert!(units.keeps_up(0), "as long as nobody reads");
    theirs.sent("reader", 20);
    ours.sent("another", 20);
    assert!(!units.keeps_up(0));
    theirs.forget("reader");
    ours.forget("another");
    assert!(units.keeps_up(0));
    ours.asked("c");
    assert_eq!(units.take_askers().into_iter().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn damaged_notes_about_a_folder_are_not_believed_and_go_with_the_next_start() {
    let (served, folder) = (Served::new(), Folder::new());
    let (units, id) = (folder.receive(&served.store), folder.units.id());
    let path = |end: &str| private(served.folder.path(), "parts").join(format!("{id}{end}"));
    let good = [".units", ".live"].map(|end| fs::read(path(end)).unwrap());
    let text = String::from_utf8_lossy(&good[1]).into_owned();
    let wrong = [
        (".units", good[0][1..].to_vec()),
        (".units", good[0][..good[0].len() - 40].to_vec()),
        (".live", text.replace("\"count\":21", "\"count\":20").into_bytes()),
        (".live", text.replace("units 1", "units 2").into_bytes()),
        (".live", good[1][..good[1].len() - 1].to_vec()),
    ];
    let other = served.other();
    assert!(other.partial(&id, now()).is_some());
    for (end, bytes) in wrong {
        fs::write(path(end), &bytes).unwrap();
        assert!(other.partial(&id, now()).is_none(), "{}", String::from_utf8_lossy(&bytes));
        fs::write(path(".units"), &good[0]).unwrap();
        fs::write(path(".live"), &good[1]).unwrap();
    }
    assert!(other.partial(&id, now()).is_some());
    drop(units);
    fs::write(path(".units"), &good[0]).unwrap();
    fs::write(path(".live"), &good[1]).unwrap();
    drop(served.other());
    assert_eq!(parts(&served), Vec::<String>::new());
}
