//! Memory where lengths lie: nobody gets more of it by announcing much than by sending it.
//!
//! A binary of its own, because its allocator counts what all threads of the process ask for. It
//! counts what was asked for altogether, whether or not it was given back, which is more than was
//! ever held at once.

use std::alloc::System;
use std::fs;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peershare::config;
use peershare::connection::{Framed, Identity, buffered};
use peershare::content::torrent::Torrent;
use peershare::content::{ChunkLayout, ChunkSet, Digest, Entry, Manifest, Root};
use peershare::store::{ListQuery, Store};
use peershare::transport::memory;
use peershare::wire::{self, MAGIC, Request, Response, VERSION};
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[allow(dead_code)]
#[path = "../it"]
mod it {
    pub mod lab;
    pub mod rogue;
    pub mod speaker;
}

use it::lab::{CHUNK, Lab, bytes};
use it::rogue::{Deed, Rogue};
use it::speaker::Speaker;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What reading a message may take beside its own bytes: buffers, errors, threads.
const LITTLE: usize = 256 << 10;

const MIB: usize = 1 << 20;

/// One test at a time, or each counts what the others do.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does it, and says how many bytes were asked for meanwhile.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    (result, region.change().bytes_allocated)
}

#[track_caller]
fn takes_at_most<T>(most: usize, what: &str, work: impl FnOnce() -> T) -> T {
    let (result, taken) = counted(work);
    assert!(taken <= most, "{what} takes {taken} bytes, more than {most}");
    result
}

/// A frame that announces these lengths, of which so much comes.
fn announced(header: u32, payload: u32, comes: &[u8]) -> Vec<u8> {
    [&header.to_be_bytes()[..], &payload.to_be_bytes(), comes].concat()
}

#[test]
fn the_counter_counts() {
    let _alone = alone();
    let (bytes, taken) = counted(|| vec![1_u8; 5 * MIB]);
    assert!(taken >= bytes.len());
}

#[test]
fn a_header_takes_no_more_than_the_longest_may() {
    let _alone = alone();
    let longest = config::MAX_HEADER as usize + LITTLE;
    for header in [0, 1, config::MAX_HEADER, config::MAX_HEADER + 1, i32::MAX as u32, u32::MAX] {
        for payload in [0, config::MAX_PAYLOAD, config::MAX_PAYLOAD + 1, u32::MAX] {
            let frame = announced(header, payload, b"{");
            let what = format!("a header of {header} bytes and a payload of {payload}");
            let read =
                takes_at_most(longest, &what, || wire::read_head::<Request>(&mut &frame[..]));
            assert!(read.is_err(), "{what}");
        }
    }
}

#[test]
fn a_header_takes_few_times_its_bytes() {
    let _alone = alone();
    let most = config::MAX_HEADER as usize;
    let filled = |before: &str, repeated: &str, after: &str| {
        let times = (most - before.len() - after.len()) / repeated.len();
        format!("{before}{}{after}", repeated.repeat(times))
    };
    for header in [
        filled(r#"{"type":"gathered","lengths":["#, "0,", "0]}"),
        filled(r#"{"type":"handed","seen":0,"all":true,"handed":{"a":["#, "1,", "1]}}"),
        filled(r#"{"type":"handed","seen":0,"all":true,"later":["#, "[],", "[]]}"),
        filled(r#"{"type":"later","later":["#, "{},", "{}]}"),
        filled(r#"{"type":"error","code":"busy","message":""#, r"\n", r#""}"#),
    ] {
        let frame = announced(header.len() as u32, 0, header.as_bytes());
        let what = header.get(..60).unwrap_or_default();
        let read = takes_at_most(64 * most, what, || wire::read_head::<Response>(&mut &frame[..]));
        assert!(read.is_ok(), "{what}: {read:?}");
    }
}

#[test]
fn a_payload_takes_no_more_than_what_came() {
    let _alone = alone();
    for came in [0, 10, 5 * CHUNK] {
        let hello = wire::encode(&Request::Hello { peer: None, to: None, agent: "x".into() }, 0);
        let (mut ours, theirs) = memory::pair();
        let later = br#"{"type":"later"}"#;
        let frame = announced(later.len() as u32, config::MAX_PAYLOAD, later);
        let opening = [&MAGIC[..], &[VERSION], &hello.unwrap()].concat();
        let said = [&frame[..], &vec![7; came]].concat();
        // More than the stream holds at once.
        let speaking = std::thread::spawn(move || {
            ours.write_all(&opening).unwrap();
            wire::read_greeting(&mut ours).unwrap();
            wire::read_head::<Response>(&mut ours).unwrap();
            ours.write_all(&said).unwrap();
        });
        let what = format!("a payload of which {came} bytes came");
        let payload = takes_at_most(4 * came + LITTLE, &what, || {
            let stream = buffered(Box::new(theirs));
            let mut connection = Framed::accept(stream, &Identity::default()).unwrap();
            let head = connection.request(Duration::from_secs(20)).unwrap().unwrap();
            assert_eq!(head.payload, config::MAX_PAYLOAD);
            connection.take_payload()
        });
        speaking.join().unwrap();
        assert!(payload.is_err(), "{what}");
    }
}

#[test]
fn rows_without_end_take_no_more_than_those_that_are_wanted() {
    let _alone = alone();
    let name = |number: u32| format!(r#"{{"name":"{number:06}"}}"#);
    let page: Vec<String> = (0..300_000).map(name).collect();
    let page = format!("[{}]", page.join(",")).into_bytes();
    let read = takes_at_most(MIB, "a page of 300,000 rows", || {
        wire::rows::<Entry>(&page, config::LIST_PAGE)
    });
    let rows = read.unwrap();
    assert!(rows.more && rows.first.len() == config::LIST_PAGE);
}

#[test]
fn lengths_of_files_take_nothing() {
    let _alone = alone();
    for length in [0, 1, 1 << 44, (1 << 44) + 1, 1 << 63, u64::MAX] {
        for chunk_size in [0, 1, 16384, 16384 + 1, 16 << 20, 1 << 31, u32::MAX] {
            let what = format!("{length} bytes in chunks of {chunk_size}");
            takes_at_most(LITTLE, &what, || {
                let layout = ChunkLayout::new(length, chunk_size).ok()?;
                let root = Root(Digest::ZERO);
                let made = Manifest::new("f".parse().unwrap(), layout, root, Vec::new());
                assert!(made.is_err(), "{what}");
                let set = ChunkSet::from_bytes(&layout, &[0; 3]);
                assert!(set.is_none() || layout.count().div_ceil(8) == 3, "{what}");
                Some(())
            });
        }
    }
}

/// Every message of that side in `tests/data/messages.txt`, with every number in its header
/// replaced by each of these.
fn with_numbers(side: &str, numbers: &[u64]) -> Vec<String> {
    let headers = include_str!("../data/messages.txt").split("\n\n").filter_map(|block| {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        lines.next().filter(|title| title.contains(side))?;
        lines.nth(1)
    });
    let mut changed = Vec::new();
    for header in headers {
        let header: Value = serde_json::from_str(header).unwrap();
        for number in numbers {
            let fields = header.as_object().unwrap();
            for (field, _) in fields.iter().filter(|(_, value)| value.is_number()) {
                let mut header = header.clone();
                header[field] = Value::from(*number);
                changed.push(header.to_string());
            }
            if let Some(lengths) = fields.get("lengths").and_then(Value::as_array) {
                let mut header = header.clone();
                header["lengths"] = Value::from(vec![*number; lengths.len()]);
                changed.push(header.to_string());
            }
        }
    }
    assert!(changed.len() > 20, "{changed:?}");
    changed
}

#[test]
fn a_server_takes_little_for_numbers_in_requests() {
    let _alone = alone();
    let lab = Lab::of(&["a"]);
    lab.put("a", "f/ž x", &bytes(1, 3 * CHUNK));
    // What is served is known, so that nothing is hashed meanwhile.
    lab.client().run("download 'f/ž x'").succeeded();
    let root = it::lab::manifest("f/ž x", &bytes(1, 3 * CHUNK)).root().to_string();
    for header in with_numbers("request", &[0, 1, u64::from(u32::MAX), 1 << 63, u64::MAX]) {
        let known = header.replace(&"ab".repeat(32), &root);
        // Answers that may wait would wait for as long as they are told.
        if known.contains("\"wait_ms\":4294967295") {
            continue;
        }
        for payload in [0, config::MAX_PAYLOAD] {
            let what = format!("{known} with {payload} bytes to come");
            takes_at_most(4 * MIB, &what, || {
                let mut speaker = Speaker::introduced(&lab, "a");
                speaker.raw(&announced(known.len() as u32, payload, known.as_bytes()));
                if payload == 0 && !known.contains("\"report\"") {
                    let answer: Option<Response> = speaker.next();
                    assert!(answer.is_some(), "{what}");
                }
            });
        }
    }
    let speaker = &mut Speaker::introduced(&lab, "a");
    assert!(matches!(speaker.ask(&Request::Ping, &[]), Response::Pong(_)));
}

#[test]
fn a_client_takes_little_for_numbers_in_answers() {
    let _alone = alone();
    let (mut lab, data) = (Lab::of(&["a"]), bytes(1, 3 * CHUNK));
    lab.rogue("a", &Rogue::new("f", &data, |_, _| Deed::Honest));
    let download = |lab: &Lab| {
        let mut client = lab.impatient_client();
        client.run("download f");
        client.run("filelist");
        let _ = fs::remove_dir_all(lab.folder("me"));
    };
    let ((), honest) = counted(|| download(&lab));
    for header in with_numbers("response", &[0, u64::from(u32::MAX), u64::MAX]) {
        let Ok(answer) = serde_json::from_str::<Response>(&header) else { continue };
        let said = answer.clone();
        let rogue = Rogue::new("f", &data, move |request, _| match (request, &said) {
            (Request::Describe { .. }, Response::Manifest { .. })
            | (Request::List { .. }, Response::Listing { .. })
            | (Request::LeftOut { .. }, Response::LeftOut { .. })
            | (Request::Read { .. }, Response::Chunk { .. })
            | (Request::Next { .. }, Response::Handed { .. }) => {
                Deed::Say(said.clone(), b"[]".to_vec())
            }
            _ => Deed::Honest,
        });
        lab.rogue("a", &rogue);
        takes_at_most(2 * honest + 4 * MIB, &header, || download(&lab));
    }
}

/// Length fields of what lies in the private folder, and of torrents.
#[test]
fn files_take_little_for_their_numbers() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join(".peershare");
    fs::create_dir_all(private.join("parts")).unwrap();
    fs::write(folder.path().join("f"), b"abc").unwrap();
    let root = "ab".repeat(32);
    for number in [0, 1, u64::from(u32::MAX), 1 << 44, 1 << 63, u64::MAX] {
        let short = (number as u32).to_be_bytes();
        let catalog = [b"peershare catalog 2\n", &short[..], &short, &[0; 8], &[1; 200]].concat();
        let head = format!(
            "{{\"name\":\"f\",\"root\":\"{root}\",\"length\":{number},\"chunk_size\":16777216,"
        );
        let head = format!("{head}\"inode\":1}}\n");
        let journal = [b"peershare part 1\n", head.as_bytes(), b"\x01"].concat();
        let journal = [&journal[..], &Digest::of(&journal).0].concat();
        let live = [b"peershare live 1\n", head.as_bytes(), b"\x01"].concat();
        fs::write(private.join("catalog"), catalog).unwrap();
        fs::write(private.join("parts").join(&root), b"x").unwrap();
        fs::write(private.join("parts").join(format!("{root}.journal")), journal).unwrap();
        fs::write(private.join("parts").join(format!("{root}.live")), live).unwrap();
        takes_at_most(4 * MIB, &format!("{number} in the private folder"), || {
            let store = Store::open(folder.path()).unwrap();
            let query = ListQuery { limit: 10, ..ListQuery::default() };
            assert_eq!(store.list(&query).unwrap().entries.len(), 1);
            assert!(store.begun().is_ok_and(|begun| begun.len() <= 1));
            assert!(store.partial(&Root(root.parse().unwrap()), Instant::now()).is_none());
            let root = Root(root.parse().unwrap());
            assert!(store.open_content(&root).is_err());
        });
        for torrent in [
            format!("{number}:"),
            format!("d{number}:a"),
            format!("d4:infod9:file treed1:ad0:d6:lengthi{number}e11:pieces root{number}:"),
            format!("{}{}", "l".repeat(60), "e".repeat(60)),
        ] {
            takes_at_most(LITTLE, &torrent, || Torrent::parse(torrent.as_bytes()).is_err());
        }
    }
}
