use std::fs;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::connection::{Framed, Identity, buffered};
use crate::content::{ChunkSet, Entry, Root, Unit, Units, whole};
use crate::serve::{Company, Responder};
use crate::store::{Store, UnitsPart};
use crate::transport::memory;
use crate::wire::{ErrorCode, Refusal, Request, Response};

/// The size of units.
const SIZE: u32 = 64 << 10;

const LONG: Duration = Duration::from_secs(60);

/// A folder that is served to whoever connects.
struct Served {
    folder: TempDir,
    store: Store,
    company: Company,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self { folder, store, company: Company::default() }
    }

    /// One of a large file and two small ones that make one unit.
    fn full() -> Self {
        let served = Self::new();
        let large: Vec<u8> = (0..5_u32 << 20).map(|number| (number / 251) as u8).collect();
        served.write("f/large", &large);
        served.write("f/one", b"first");
        served.write("f/two", b"second");
        served.store.manifest(&"f/large".parse().unwrap(), &mut |_, _| true).unwrap();
        served
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A connection of that peer.
    fn connect(&self, peer: Option<&str>) -> Asking {
        let (here, there) = memory::pair();
        let (store, company) = (self.store.clone(), self.company.clone());
        thread::spawn(move || {
            let mut connection =
                Framed::accept(buffered(Box::new(there)), &Identity::default()).unwrap();
            let mut responder = Responder::new(store, company);
            while let Ok(Some(head)) = connection.request(LONG) {
                if responder.answer(&mut connection, head.message).is_err() {
                    return;
                }
            }
        });
        let peer = peer.map(|peer| peer.parse().unwrap());
        let identity = Identity { peer, ..Identity::default() };
        Asking(Framed::open(Box::new(here), &identity, None).unwrap())
    }
}

struct Asking(Framed);

impl Asking {
    fn says(&mut self, request: &Request, payload: &[u8]) -> Result<(Response, Vec<u8>), Refusal> {
        let head = self.0.ask_within(request, payload, LONG).unwrap()?;
        Ok((head.message, self.0.take_payload().unwrap()))
    }

    #[track_caller]
    fn refused(&mut self, request: &Request) -> ErrorCode {
        self.says(request, &[]).unwrap_err().code
    }

    fn cut(&mut self) -> (Root, u32) {
        match self.says(&cut("f/"), &[]).unwrap().0 {
            Response::Cut { id, count } => (id, count),
            other => panic!("{other:?}"),
        }
    }

    /// Chunk, who has everything, and the bytes.
    fn next(&mut self, id: Root, have: &[u8]) -> (Option<u32>, Vec<String>, Vec<u8>) {
        match self.says(&next(id, SIZE), have).unwrap() {
            (Response::Handed { chunk, whole, .. }, bytes) => (chunk, whole, bytes),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, id: Root, chunk: u32, wait_ms: u32) -> Result<Vec<u8>, Refusal> {
        let request = Request::Read { root: id, chunk, chunk_size: SIZE, wait_ms };
        self.says(&request, &[]).map(|(_, bytes)| bytes)
    }

    fn list(&mut self, pattern: &str, hashed: bool) -> (bool, Vec<Entry>) {
        let request = Request::List {
            pattern: Some(pattern.to_owned()),
            except: vec!["*.tmp".to_owned()],
            folders: false,
            hashed,
            after: None,
            limit: None,
        };
        match self.says(&request, &[]).unwrap() {
            (Response::Listing { shared, .. }, entries) => {
                (shared, serde_json::from_slice(&entries).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn gather(&mut self, root: Root) -> bool {
        match self.says(&Request::Gather, &root.0.0).unwrap().0 {
            Response::Gathered { lengths, shared } => {
                assert!(lengths[0].is_some());
                shared
            }
            other => panic!("{other:?}"),
        }
    }
}

fn cut(pattern: &str) -> Request {
    Request::Cut { pattern: Some(pattern.to_owned()), except: Vec::new(), chunk_size: SIZE }
}

fn next(root: Root, chunk_size: u32) -> Request {
    Request::Next { root, chunk_size, seen: 0, want: true }
}

fn have(root: Root, chunk_size: u32) -> Request {
    Request::Have { root, chunk_size }
}

/// The units of what a peer lists.
fn units(entries: &[Entry]) -> Units {
    Units::cut(entries.iter().map(|entry| (entry.root.unwrap(), entry.length)), SIZE).unwrap()
}

#[test]
fn a_folder_is_cut_as_whoever_lists_it_cuts_it_and_its_units_are_handed_out_once() {
    let served = Served::full();
    let (mut a, mut b) = (served.connect(Some("a")), served.connect(Some("b")));
    let units = units(&a.list("f/", true).1);
    let (id, count) = a.cut();
    assert_eq!((id, count), (units.id(), units.layout().count()));
    assert_eq!(b.cut(), (id, 21));
    let mut got = vec![Vec::new(); 21];
    for turn in 0..21 {
        let (chunk, _, bytes) = if turn % 2 == 0 { &mut a } else { &mut b }.next(id, &[]);
        let slot = &mut got[chunk.unwrap() as usize];
        assert!(slot.is_empty(), "handed out twice");
        *slot = bytes;
    }
    assert_eq!(a.next(id, &[]).0, None);
    assert_eq!(got[20], b"firstsecond");
    assert!(got[..20].concat() == fs::read(served.folder.path().join("f/large")).unwrap());
    assert!(a.read(id, 20, 0).unwrap() == got[20] && b.read(id, 3, 2000).unwrap() == got[3]);
    let (_, all) = a.says(&have(id, 0), &[]).unwrap();
    assert_eq!(all, ChunkSet::all(units.layout()).as_bytes());
    assert_eq!(a.refused(&next(id, SIZE * 2)), ErrorCode::BadRequest);
    assert_eq!(a.refused(&have(id, SIZE * 2)), ErrorCode::BadRequest);
    assert_eq!(a.read(id, 21, 0).unwrap_err().code, ErrorCode::BadRequest);
    assert_eq!(served.connect(None).refused(&next(id, SIZE)), ErrorCode::Refused);
}

#[test]
fn what_was_never_cut_is_not_found_and_nonsense_is_refused() {
    let served = Served::full();
    let mut a = served.connect(Some("a"));
    assert_eq!(a.refused(&next(Root::of_nothing(), SIZE)), ErrorCode::NotFound);
    let odd = Request::Cut { pattern: None, except: Vec::new(), chunk_size: 3 };
    assert_eq!(a.refused(&odd), ErrorCode::BadRequest);
    assert_eq!(a.refused(&cut("f/[")), ErrorCode::BadRequest);
}

#[test]
fn a_file_that_changes_spoils_its_own_unit_alone() {
    let served = Served::full();
    let mut a = served.connect(Some("a"));
    let (id, _) = a.cut();
    served.write("f/one", b"other");
    assert_eq!(a.read(id, 20, 0).unwrap_err().code, ErrorCode::Changed);
    assert!(a.read(id, 19, 0).is_ok());
    fs::remove_file(served.folder.path().join("f/large")).unwrap();
    assert_eq!(served.connect(Some("b")).read(id, 1, 0).unwrap_err().code, ErrorCode::Changed);
}

#[test]
fn who_asks_soon_after_has_the_same_cut_of_a_folder_to_which_a_file_came() {
    let served = Served::full();
    let first = served.connect(Some("a")).cut();
    served.write("f/three", b"third");
    assert_eq!(served.connect(Some("b")).cut(), first);
}

#[test]
fn origins_begin_at_places_of_their_own_and_go_round() {
    let order = |me: Option<&str>| {
        let mut served = Served::full();
        if let Some(me) = me {
            served.company = Company::default().of(me);
        }
        let mut a = served.connect(Some("a"));
        let (id, count) = a.cut();
        let order: Vec<u32> = (0..count).map(|_| a.next(id, &[]).0.unwrap()).collect();
        assert_eq!(a.next(id, &[]).0, None);
        order
    };
    let (nobody, one, other) = (order(None), order(Some("b")), order(Some("c")));
    assert!(nobody[0] == 0 && one[0] != 0 && other[0] != 0 && one[0] != other[0]);
    let mut turned = nobody.clone();
    turned.rotate_left(one[0] as usize);
    assert_eq!(one, turned);
}

#[test]
fn what_came_from_elsewhere_is_not_handed_out_and_who_has_everything_is_told() {
    let served = Served::full();
    let (mut a, mut b) = (served.connect(Some("a")), served.connect(Some("b")));
    let units = units(&a.list("f/", true).1);
    let id = a.cut().0;
    assert_eq!(a.next(id, &[]).0, Some(0));
    let mut came = ChunkSet::none(units.layout());
    [0, 1, 3].iter().for_each(|number| {
        came.insert(units.layout().index(*number).unwrap());
    });
    assert_eq!(a.next(id, came.as_bytes()).0, Some(2));
    let all = ChunkSet::all(units.layout());
    let mut c = served.connect(Some("c"));
    assert_eq!(c.next(id, all.as_bytes()).0, None, "nothing is handed to whoever has it all");
    served.company.whole("d");
    let (chunk, whole, _) = b.next(id, &[]);
    assert_eq!((chunk, whole), (Some(4), vec!["c".to_owned(), "d".to_owned()]));
    assert_eq!(c.next(id, all.as_bytes()).1, ["d"], "nobody is told of itself");
    served.company.lost("d");
    assert_eq!(b.next(id, &[]).1, ["c"]);
}

#[test]
fn listings_and_small_files_say_whether_others_fetch_the_same() {
    let served = Served::full();
    let (mut a, mut b) = (served.connect(Some("a")), served.connect(Some("b")));
    let mut nobody = served.connect(None);
    let (shared, entries) = a.list("f/", true);
    assert!(!shared && !a.list("f/", true).0, "nobody shares with itself");
    assert!(!nobody.list("f/", true).0);
    let small = entries.iter().find(|entry| entry.name.as_str() == "f/one").unwrap().root.unwrap();
    assert!(!a.gather(small));
    assert!(!b.list("f/", false).0, "who only looks is no company");
    assert!(!a.list("f/", true).0);
    assert!(!b.list("f/o*", true).0, "another selection");
    assert!(!a.gather(small));
    assert!(b.list("f/", true).0 && b.gather(small) && a.gather(small));
    assert!(!nobody.gather(small));
    let large = entries.iter().find(|entry| entry.length > 1000).unwrap().root.unwrap();
    let read = Request::Read { root: large, chunk: 0, chunk_size: SIZE, wait_ms: 0 };
    let answer = a.says(&read, &[]).unwrap().0;
    assert!(matches!(answer, Response::Chunk { shared: true, .. }), "{answer:?}");
}

#[test]
fn a_folder_that_is_handed_out_is_shared() {
    let served = Served::full();
    let mut a = served.connect(Some("a"));
    let selected = Request::Cut {
        pattern: Some("f/".to_owned()),
        except: vec!["*.tmp".to_owned()],
        chunk_size: SIZE,
    };
    let Ok((Response::Cut { id, .. }, _)) = a.says(&selected, &[]) else { panic!() };
    assert!(!served.connect(Some("b")).list("f/", true).0);
    a.next(id, &[]);
    assert!(served.connect(Some("b")).list("f/", true).0);
}

/// Somebody who receives what another one serves.
fn receiving(served: &Served, id: Root) -> (Served, UnitsPart) {
    let member = Served::new();
    let units = units(&served.connect(Some("x")).list("f/", true).1);
    assert_eq!(units.id(), id);
    let none = ChunkSet::none(units.layout());
    let part = member.store.receive_units(units.into(), none).unwrap();
    (member, part)
}

#[test]
fn a_member_gives_what_it_has_lets_wait_for_the_rest_and_hands_out_when_it_has_all() {
    let served = Served::full();
    let id = served.connect(Some("a")).cut().0;
    let (member, part) = receiving(&served, id);
    let mut reader = member.connect(Some("r"));
    assert_eq!(reader.refused(&next(id, SIZE)), ErrorCode::NotYet);
    assert_eq!(reader.read(id, 20, 0).unwrap_err().code, ErrorCode::NotYet);
    let mut group = member.store.group(false).unwrap();
    let units = part.units().clone();
    let last = units.layout().index(20).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.read(id, 20, 2000));
        for (name, bytes) in [("one", &b"first"[..]), ("two", b"second")] {
            let whole = whole::hash_all(&[bytes]).pop().unwrap().unwrap();
            group.put(&name.parse().unwrap(), &whole, &Default::default()).unwrap();
        }
        part.mark(last);
        assert_eq!(waiting.join().unwrap().unwrap(), b"firstsecond");
    });
    let (_, set) = reader.says(&have(id, SIZE), &[]).unwrap();
    assert_eq!(ChunkSet::from_bytes(units.layout(), &set).unwrap().len(), 1);
    assert_eq!(part.take_askers().into_iter().collect::<Vec<_>>(), ["r"]);
    part.own(last);
    assert!(part.keeps_up(0));
    assert!(group.settle().iter().all(|(_, settled)| settled.is_ok()));

    let large = fs::read(served.folder.path().join("f/large")).unwrap();
    member.write("large", &large);
    member.store.manifest(&"large".parse().unwrap(), &mut |_, _| true).unwrap();
    let chunks = units
        .layout()
        .indices()
        .filter(|index| matches!(units.get(*index), Some(Unit::Chunk { .. })));
    chunks.for_each(|index| part.mark(index));
    assert_eq!(reader.next(id, &[]).0, Some(0));
    drop(part);
    assert_eq!(reader.next(id, &[]).0, Some(1), "who had it open goes on");
    assert_eq!(member.connect(Some("s")).next(id, &[]).0, Some(2), "and others find it");
    assert_eq!(reader.read(id, 20, 0).unwrap(), b"firstsecond");
}
