//! What every message of the framed dialect is on the wire: `tests/data/messages.txt`.
//!
//! A block of that table whose first line begins with `=` is what we write and read. One that
//! begins with `<` is only read: so do peers of other versions say it, which leave out what they do
//! not know. Whoever adds a message or a field adds it there, and its value here; the last tests
//! say which are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use peershare::content::{
    Attributes, ChunkLayout, ChunkSet, Digest, Entry, Omission, Reason, Root,
};
use peershare::wire::{
    self, ErrorCode, Failed, Head, Message, Refusal, Report, Request, Response, Share, State,
    Subject,
};
use serde::Serialize;

const TABLE: &str = include_str!("../data/messages.txt");

/// One frame of the table.
struct Golden {
    written: bool,
    header: String,
    payload: Vec<u8>,
}

impl Golden {
    fn bytes(&self) -> Vec<u8> {
        let [header, payload] = [self.header.len(), self.payload.len()]
            .map(|length| u32::try_from(length).unwrap().to_be_bytes());
        [&header[..], &payload, self.header.as_bytes(), &self.payload].concat()
    }
}

/// The blocks of the table by their titles.
fn table() -> BTreeMap<&'static str, Golden> {
    let text = TABLE.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
    let blocks = text.split(|line| line.is_empty()).filter(|block| !block.is_empty());
    let mut table = BTreeMap::new();
    for block in blocks {
        let (title, lines) = block.split_first().unwrap();
        let (kind, title) = title.split_once(' ').unwrap();
        let golden = golden(title, kind == "=", lines);
        assert!(table.insert(title, golden).is_none(), "{title} is there twice");
    }
    table
}

/// Reads lengths, header and payload; the lengths are part of the table, so that they are seen.
fn golden(title: &str, written: bool, lines: &[&str]) -> Golden {
    let (lengths, rest) = lines.split_first().unwrap();
    let (header, payload) = rest.split_first().unwrap();
    let golden = Golden {
        written,
        header: (*header).to_owned(),
        payload: payload.iter().flat_map(|line| payload_of(line)).collect(),
    };
    let told: String = golden.bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lengths.replace(' ', ""), told, "the lengths of {title}");
    golden
}

/// A line of payload: text behind `"`, otherwise hexadecimal digits.
fn payload_of(line: &str) -> Vec<u8> {
    match line.strip_prefix('"') {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let digits: Vec<u8> =
                line.chars().filter_map(|digit| digit.to_digit(16)).map(|d| d as u8).collect();
            digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
        }
    }
}

/// Messages with their titles and payloads.
type Messages<M> = Vec<(&'static str, M, Vec<u8>)>;

fn root() -> Root {
    Root(Digest([0xab; 32]))
}

fn attributes() -> Attributes {
    Attributes { mtime_ns: Some(-1), mode: Some(0o644) }
}

fn layout() -> ChunkLayout {
    ChunkLayout::new(11 * 16384, 16384).unwrap()
}

/// Chunks 0, 3 and 10 of [`layout`].
fn some() -> Vec<u8> {
    let mut set = ChunkSet::none(&layout());
    for number in [0, 3, 10] {
        set.insert(layout().index(number).unwrap());
    }
    set.as_bytes().to_vec()
}

fn digests() -> Vec<u8> {
    Digest::join(&[Digest([1; 32]), Digest([0xfe; 32])])
}

fn asking() -> Messages<Request> {
    let name = || "f/ž x".parse().unwrap();
    let (some_text, none) = (|text: &str| Some(text.to_owned()), Vec::new);
    let list = Request::List {
        pattern: None,
        except: vec![],
        folders: false,
        hashed: false,
        after: None,
        limit: None,
    };
    let describe =
        |subject, wait_ms, digests_up_to| Request::Describe { subject, wait_ms, digests_up_to };
    let read = |wait_ms| Request::Read { root: root(), chunk: 7, chunk_size: 16384, wait_ms };
    let cut = |pattern: Option<&str>, except: &[&str]| Request::Cut {
        pattern: pattern.map(str::to_owned),
        except: except.iter().map(|pattern| (*pattern).to_owned()).collect(),
        chunk_size: 262_144,
    };
    let next = |seen, want| Request::Next { root: root(), chunk_size: 65536, seen, want };
    let offer = |attributes, replace, swarm| Request::Offer {
        name: name(),
        length: 20_000,
        chunk_size: 16384,
        root: root(),
        attributes,
        replace,
        swarm,
    };
    let hello = |peer: Option<&str>, to: Option<&str>| Request::Hello {
        peer: peer.map(str::to_owned),
        to: to.map(str::to_owned),
        agent: "x/1".into(),
    };
    let share = |pattern: Option<&str>, except: &[&str], beneath: Option<&str>| Share {
        pattern: pattern.map(str::to_owned),
        except: except.iter().map(|text| (*text).to_owned()).collect(),
        beneath: beneath.map(|name| name.parse().unwrap()),
    };
    vec![
        ("request hello", hello(Some("a"), Some("b")), none()),
        ("request hello of nobody", hello(None, None), none()),
        (
            "request list",
            Request::List {
                pattern: some_text("p/"),
                except: vec!["*.tmp".into(), "q/".into()],
                folders: true,
                hashed: true,
                after: Some("p/a".parse().unwrap()),
                limit: Some(5),
            },
            none(),
        ),
        ("request list of everything", list, none()),
        (
            "request left_out",
            Request::LeftOut { pattern: some_text("p/"), except: vec!["*.tmp".into()] },
            none(),
        ),
        (
            "request left_out of everything",
            Request::LeftOut { pattern: None, except: vec![] },
            none(),
        ),
        ("request describe by name", describe(Subject::Name(name()), 9, 64), none()),
        (
            "request describe by id",
            describe(Subject::Id("abcdef".parse().unwrap()), 0, u32::MAX),
            none(),
        ),
        ("request describe without more", describe(Subject::Name(name()), 0, u32::MAX), none()),
        ("request read", read(2000), none()),
        ("request read without waiting", read(0), none()),
        (
            "request read_named",
            Request::ReadNamed { name: name(), chunk: u32::MAX, chunk_size: 262_144 },
            none(),
        ),
        ("request next at first", next(0, true), some()),
        ("request next for the news", next(u64::MAX, false), none()),
        ("request gather", Request::Gather, digests()),
        ("request have", Request::Have { root: root(), chunk_size: 16384 }, none()),
        ("request have in their cut", Request::Have { root: root(), chunk_size: 0 }, none()),
        ("request offer", offer(attributes(), true, true), digests()),
        ("request offer without more", offer(Attributes::default(), false, false), digests()),
        (
            "request offer_folder",
            Request::OfferFolder {
                share: share(Some("p/"), &["*.tmp"], Some("q")),
                replace: true,
                chunk_size: 262_144,
            },
            none(),
        ),
        (
            "request offer_folder without more",
            Request::OfferFolder { share: share(None, &[], None), replace: false, chunk_size: 0 },
            none(),
        ),
        ("request cut", cut(Some("p/"), &["*.tmp"]), none()),
        ("request cut of everything", cut(None, &[]), none()),
        ("request ping", Request::Ping, none()),
        ("request of a later version", Request::Unknown, none()),
    ]
    .into_iter()
    .chain(reports())
    .collect()
}

fn reports() -> Messages<Request> {
    let refusal = |code: ErrorCode| Refusal { code, message: "m".into() };
    let failed = |(position, code)| Failed {
        name: format!("f{position}").parse().unwrap(),
        reason: refusal(code),
    };
    let failed: Vec<Failed> = codes().into_iter().enumerate().map(failed).collect();
    let reports = vec![
        ("request report progress", Report::Progress { done: 4, from_others: 3 }, vec![]),
        ("request report progress alone", Report::Progress { done: 4, from_others: 0 }, vec![]),
        (
            "request report folder",
            Report::Folder { files: 1, of_files: 2, done: 3, total: u64::MAX },
            vec![],
        ),
        (
            "request report folder_finished",
            Report::FolderFinished { received: 1, bytes: 2, here: 3, failed: 4 },
            serde_json::to_vec(&failed).unwrap(),
        ),
        ("request report finished", Report::Finished, vec![]),
        ("request report failed", Report::Failed(refusal(ErrorCode::NoSpace)), vec![]),
    ];
    let told = |(title, report, payload)| (title, Request::Report { report }, payload);
    reports.into_iter().map(told).collect()
}

fn codes() -> Vec<ErrorCode> {
    use ErrorCode::*;
    vec![
        BadRequest,
        Unsupported,
        NotFound,
        NotYet,
        Ambiguous,
        Changed,
        Refused,
        Busy,
        Receiving,
        InTheWay,
        NoSpace,
        Integrity,
        Internal,
    ]
}

fn omissions() -> Vec<Omission> {
    use Reason::*;
    let reasons = [
        LeadsOut,
        DeadLink,
        Circle,
        Fifo,
        Socket,
        Device,
        NotUtf8,
        ControlCharacter,
        NameTooLong,
        PrivateName,
        NotAllowed,
        Unreadable,
        MadeUp,
    ];
    let omission = |reason| Omission { name: "x\n".into(), reason };
    reasons.into_iter().map(omission).collect()
}

fn entries() -> Vec<Entry> {
    let bare = |name: &str, folder| Entry {
        name: name.parse().unwrap(),
        folder,
        length: 0,
        stored: None,
        mtime_ns: None,
        mode: None,
        root: None,
    };
    let full = Entry {
        length: u64::MAX,
        stored: Some(4096),
        mtime_ns: Some(i64::MIN),
        mode: Some(0o600),
        root: Some(root()),
        ..bare("a", false)
    };
    vec![full, bare("b", true), bare("c", false)]
}

fn answering() -> Messages<Response> {
    let none = Vec::new;
    let hello = |peer: Option<&str>, read_only| Response::Hello {
        peer: peer.map(str::to_owned),
        agent: "x/1".into(),
        read_only,
    };
    let manifest = |attributes, shared| Response::Manifest {
        name: "f".parse().unwrap(),
        length: 20_000,
        chunk_size: 16384,
        root: root(),
        attributes,
        shared,
    };
    let chunk = |shared| Response::Chunk { chunk: 7, shared };
    let handed = |chunk, handed: &[(&str, &[u32])], whole: &[&str], seen, all| Response::Handed {
        chunk,
        handed: handed.iter().map(|(id, chunks)| ((*id).to_owned(), chunks.to_vec())).collect(),
        whole: whole.iter().map(|id| (*id).to_owned()).collect(),
        seen,
        all,
    };
    let state = State {
        files: Some(1),
        bytes: Some(2),
        free: Some(u64::MAX),
        hashing: Some(true),
        transfers: Some(3),
        version: Some("x/1".into()),
    };
    let listing = |next: Option<&str>, left_out, shared| Response::Listing {
        next: next.map(|name| name.parse().unwrap()),
        left_out,
        shared,
    };
    vec![
        ("response hello", hello(Some("b"), true), none()),
        ("response hello of nobody", hello(None, false), none()),
        ("response hello without more", hello(None, false), none()),
        ("response listing", listing(Some("c"), 2, true), serde_json::to_vec(&entries()).unwrap()),
        ("response listing, the last page", listing(None, 0, false), b"[]".to_vec()),
        ("response listing without more", listing(None, 0, false), b"[]".to_vec()),
        (
            "response left_out",
            Response::LeftOut { count: 20 },
            serde_json::to_vec(&omissions()).unwrap(),
        ),
        ("response left_out of nothing", Response::LeftOut { count: 0 }, b"[]".to_vec()),
        ("response left_out without more", Response::LeftOut { count: 0 }, b"[]".to_vec()),
        ("response manifest", manifest(attributes(), true), digests()),
        ("response manifest without more", manifest(Attributes::default(), false), none()),
        ("response hashing", Response::Hashing { done: 1, total: 2 }, none()),
        ("response chunk", chunk(true), b"abc".to_vec()),
        ("response chunk of one reader", chunk(false), b"abc".to_vec()),
        (
            "response gathered",
            Response::Gathered {
                lengths: vec![Some(3), None, Some(0), Some(u32::MAX)],
                shared: true,
            },
            b"abc".to_vec(),
        ),
        (
            "response gathered for one reader",
            Response::Gathered { lengths: vec![Some(3)], shared: false },
            b"abc".to_vec(),
        ),
        ("response cut", Response::Cut { id: root(), count: 7 }, none()),
        (
            "response handed",
            handed(
                Some(3),
                &[("b", &[0, 4]), ("c", &[]), ("d-1", &[1, u32::MAX])],
                &["c", "e"],
                4,
                false,
            ),
            b"abc".to_vec(),
        ),
        ("response handed, nothing new", handed(None, &[], &[], u64::MAX, true), none()),
        ("response have", Response::Have, some()),
        ("response accepted", Response::Accepted { have: 5 }, none()),
        ("response accepted from the start", Response::Accepted { have: 0 }, none()),
        ("response accepted without more", Response::Accepted { have: 0 }, none()),
        ("response already_here", Response::AlreadyHere, none()),
        ("response pong", Response::Pong(Box::new(state)), none()),
        ("response pong without more", Response::Pong(Box::default()), none()),
        ("response error", Response::error(ErrorCode::NotFound, "\u{1b}\"é"), none()),
        ("response error of a later version", Response::error(ErrorCode::Unknown, "m"), none()),
        ("response of a later version", Response::Unknown, none()),
    ]
}

/// What a frame of ours would be in the table.
fn block(title: &str, bytes: &[u8], payload: usize) -> String {
    let (lengths, rest) = bytes.split_at(8);
    let (header, payload) = rest.split_at(rest.len() - payload);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let header = String::from_utf8_lossy(header);
    let lines = match str::from_utf8(payload) {
        Ok("") => String::new(),
        Ok(text) if text.chars().all(|letter| !letter.is_control()) => {
            format!("\"{}\n", text.replace("},{", "},\n\"{"))
        }
        _ => payload.chunks(32).map(|line| format!("{}\n", hex(line))).collect(),
    };
    format!("= {title}\n{} {}\n{header}\n{lines}", hex(&lengths[..4]), hex(&lengths[4..]))
}

#[track_caller]
fn are_golden<M>(messages: Messages<M>, side: &str)
where
    M: Serialize + Message + PartialEq + std::fmt::Debug,
{
    let table = table();
    let mut told = BTreeSet::new();
    for (title, message, payload) in messages {
        let mut bytes = wire::encode(&message, payload.len()).unwrap();
        bytes.extend(&payload);
        let Some(golden) = table.get(title) else {
            panic!("the table lacks\n\n{}", block(title, &bytes, payload.len()))
        };
        told.insert(title);
        if golden.written {
            let ours = block(title, &bytes, payload.len());
            assert_eq!(bytes, golden.bytes(), "{title} is written as\n\n{ours}");
        }
        reads(title, golden, &message, &payload);
    }
    let all = table.keys().filter(|title| title.starts_with(side)).copied();
    assert_eq!(told, all.collect(), "the table has what no value stands for");
}

/// The golden bytes are that message, and are it still when a later version adds to it.
fn reads<M: Message + PartialEq + std::fmt::Debug>(
    title: &str,
    golden: &Golden,
    message: &M,
    payload: &[u8],
) {
    let later = r#","later":{"deep":[1,null,"x"]},"Later":-1.5}"#;
    let longer = golden.header.strip_suffix('}').map(|header| format!("{header}{later}")).unwrap();
    for header in [golden.header.clone(), longer] {
        let golden = Golden { header, payload: golden.payload.clone(), ..*golden };
        let bytes = golden.bytes();
        let mut input = &bytes[..];
        let head: Head<M> = wire::read_head(&mut input)
            .unwrap_or_else(|error| panic!("{title}: {}: {error}", golden.header));
        assert_eq!(&head.message, message, "{title}: {}", golden.header);
        assert_eq!(head.payload as usize, payload.len(), "{title}");
        assert_eq!(input, payload, "{title}");
    }
}

#[test]
fn every_request_has_its_golden_bytes() {
    are_golden(asking(), "request");
}

#[test]
fn every_response_has_its_golden_bytes() {
    are_golden(answering(), "response");
}

#[test]
fn what_payloads_say_is_read_back() {
    let table = table();
    let payload = |title: &str| &table[title].payload[..];
    let read: Vec<Entry> = serde_json::from_slice(payload("response listing")).unwrap();
    assert_eq!(read, entries());
    let read: Vec<Omission> = serde_json::from_slice(payload("response left_out")).unwrap();
    assert_eq!(read, omissions());
    let failed: Vec<Failed> =
        serde_json::from_slice(payload("request report folder_finished")).unwrap();
    assert_eq!(failed.into_iter().map(|failed| failed.reason.code).collect::<Vec<_>>(), codes());
    assert_eq!(
        Digest::split(payload("response manifest")),
        Some(vec![Digest([1; 32]), Digest([0xfe; 32])])
    );
    let set = ChunkSet::from_bytes(&layout(), payload("response have")).unwrap();
    assert_eq!(set.iter().map(|index| index.get()).collect::<Vec<_>>(), [0, 3, 10]);
}

/// What an older peer says in a listing, and what a later one may.
#[test]
fn entries_and_omissions_of_other_versions_are_read() {
    let entry: Entry = serde_json::from_str(r#"{"name":"c","later":[{}]}"#).unwrap();
    assert_eq!(entry, entries()[2]);
    let omission: Omission =
        serde_json::from_str(r#"{"name":"x\n","reason":"tired","later":1}"#).unwrap();
    assert_eq!(omission.reason, Reason::Unknown);
    let failed: Failed = serde_json::from_str(
        r#"{"name":"f","reason":{"code":"tired","message":"m","later":1},"later":{}}"#,
    )
    .unwrap();
    assert_eq!(failed.reason.code, ErrorCode::Unknown);
}

/// The names of what the body of a type declares, at that depth of indentation, as they travel.
fn declared(file: &str, kind: &str, depth: usize) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(path).unwrap();
    let start = text.find(&format!("pub {kind} {{\n")).unwrap_or_else(|| panic!("no {kind}"));
    let body = text[start..].split("\n}").next().unwrap();
    let mut found = Vec::new();
    let mut nameless = false;
    for line in body.lines().skip(1) {
        let words = line.trim_start();
        if words.starts_with("#[") {
            // What is flattened has no name on the wire, and `other` is any name.
            nameless = words.contains("flatten") || words.contains("other");
        } else if words.starts_with(char::is_alphabetic) {
            let words_at = line.len() - words.len();
            let name = words.trim_start_matches("pub ");
            let name = name.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
            if words_at == depth && !nameless {
                found.push(snake(name.into_iter().next().unwrap()));
            }
            nameless = false;
        }
    }
    found
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// All headers and payloads of one side that we write.
fn written(side: &str) -> String {
    let table = table();
    let ours = table.iter().filter(|(title, golden)| golden.written && title.starts_with(side));
    ours.map(|(_, golden)| {
        format!("{}\n{}\n", golden.header, String::from_utf8_lossy(&golden.payload))
    })
    .collect()
}

#[test]
fn no_kind_of_message_lacks_golden_bytes() {
    for (file, kind, side, tag, least) in [
        ("wire/message.rs", "enum Request", "request", "type", 14),
        ("wire/message.rs", "enum Response", "response", "type", 14),
        ("wire/report.rs", "enum Report", "request", "report", 5),
    ] {
        let (kinds, written) = (declared(file, kind, 4), written(side));
        assert!(kinds.len() >= least, "{kind}: {kinds:?}");
        for name in kinds {
            let tagged = format!("\"{tag}\":\"{name}\"");
            assert!(written.contains(&tagged), "tests/data/messages.txt has no {side} {tagged}");
        }
    }
    for (file, kind, least) in
        [("wire/refusal.rs", "enum ErrorCode", 13), ("content/omission.rs", "enum Reason", 13)]
    {
        let (names, written) = (declared(file, kind, 4), written(""));
        assert!(names.len() >= least, "{kind}: {names:?}");
        for name in names {
            let code = format!(":\"{name}\"");
            assert!(written.contains(&code), "tests/data/messages.txt has no {kind} {code}");
        }
    }
}

#[test]
fn no_field_of_a_message_lacks_golden_bytes() {
    for (file, kind, depth, side, least) in [
        ("wire/message.rs", "enum Request", 8, "request", 20),
        ("wire/message.rs", "enum Response", 8, "response", 15),
        ("wire/report.rs", "enum Report", 8, "request", 8),
        ("wire/message.rs", "struct Share", 4, "request", 3),
        ("wire/report.rs", "struct Failed", 4, "request", 2),
        ("wire/message.rs", "enum Subject", 4, "request", 2),
        ("wire/refusal.rs", "struct Refusal", 4, "response", 2),
        ("wire/state.rs", "struct State", 4, "response", 6),
        ("content/entry.rs", "struct Attributes", 4, "request", 2),
        ("content/entry.rs", "struct Entry", 4, "response", 7),
        ("content/omission.rs", "struct Omission", 4, "response", 2),
    ] {
        let (names, written) = (declared(file, kind, depth), written(side));
        assert!(names.len() >= least, "{kind}: {names:?}");
        for name in names {
            let field = format!("\"{name}\":");
            assert!(written.contains(&field), "tests/data/messages.txt has no {field} of {kind}");
        }
    }
}
