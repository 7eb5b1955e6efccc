//! Peers that keep one waiting without an end: each wait of the asking side has one, the liar is
//! named with what it did, and what the others have comes all the same.
//!
//! What the table in the docs of `fetch` says, row by row, with short limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use peershare::client::ExitStatus;
use peershare::fetch::source::{Answer, Ask, Handed};
use peershare::fetch::{Dial, Fetch, Progress, Source, SourceError, Swarm, TransferError, Waits};
use peershare::store::{Reception, Store};
use peershare::topology::PeerId;
use peershare::transport::Cancel;
use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{CHUNK, Client, Lab, bytes, manifest};
use super::rogue::{Deed, Rogue, refuse};

/// Limits that pass soon.
fn short() -> Waits {
    let (idling, stall) = (Duration::from_millis(300), Duration::from_millis(100));
    Waits { idling, answer: idling, ..Waits::brief(stall) }
}

/// A client with these, and a liar at `a`.
fn meet(rogue: &Rogue) -> (Lab, Client) {
    let mut lab = Lab::of(&["a", "b"]);
    lab.rogue("a", rogue);
    let client = lab.client_with_waits(short());
    (lab, client)
}

/// The only file.
fn data() -> Vec<u8> {
    bytes(1, 3 * CHUNK)
}

/// What the liar does to `x`, and what is said of it.
struct Lie {
    rogue: fn() -> Rogue,
    status: ExitStatus,
    words: &'static str,
}

fn at_reads(deed: fn() -> Deed) -> Rogue {
    Rogue::after("x", &data(), 1, deed)
}

/// Of one file.
const LIES: [Lie; 12] = [
    Lie {
        rogue: || at_reads(|| Deed::Cut),
        status: ExitStatus::Unreachable,
        words: "the connection was lost",
    },
    Lie {
        rogue: || at_reads(|| Deed::Half),
        status: ExitStatus::Unreachable,
        words: "the connection was lost",
    },
    Lie {
        rogue: || at_reads(|| Deed::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())),
        status: ExitStatus::Failed,
        words: "it broke the protocol",
    },
    Lie {
        rogue: || at_reads(|| Deed::Corrupt),
        status: ExitStatus::Integrity,
        words: "it sent a chunk that does not verify",
    },
    Lie {
        rogue: || at_reads(|| refuse(ErrorCode::Changed)),
        status: ExitStatus::Integrity,
        words: "its file changed while reading",
    },
    Lie {
        rogue: || at_reads(|| refuse(ErrorCode::NotFound)),
        status: ExitStatus::NoSuchFile,
        words: "it does not serve that file",
    },
    Lie {
        rogue: || {
            at_reads(|| Deed::Say(Response::Chunk { chunk: 77, shared: false }, vec![0; CHUNK]))
        },
        status: ExitStatus::Failed,
        words: "it broke the protocol",
    },
    Lie {
        rogue: || at_reads(|| Deed::Silence),
        status: ExitStatus::Unreachable,
        words: "it stopped answering",
    },
    Lie {
        rogue: || at_reads(|| Deed::Trickle(Duration::from_millis(20))),
        status: ExitStatus::Unreachable,
        words: "it sends next to nothing",
    },
    Lie {
        rogue: || at_reads(|| refuse(ErrorCode::NotYet)),
        status: ExitStatus::Unreachable,
        words: "it made no progress with the chunks that it is asked for",
    },
    Lie {
        rogue: || at_reads(|| refuse(ErrorCode::Refused)),
        status: ExitStatus::Refused,
        words: "it refused: because",
    },
    Lie {
        rogue: || at_reads(|| refuse(ErrorCode::Busy)),
        status: ExitStatus::Unreachable,
        words: "it is busy (because)",
    },
];

/// Tries all lies at the same time.
fn at_once(attempt: impl Fn(&Lie) + Sync) {
    thread::scope(|scope| {
        for lie in &LIES {
            scope.spawn(|| attempt(lie));
        }
    });
}

/// All that is beside the folder of the client.
fn outside(lab: &Lab) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut ahead = vec![lab.root().to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path != lab.root().join("me") {
                ahead.push(path.clone());
            }
            found.push(path);
        }
    }
    found.retain(|path| !path.components().any(|part| part.as_os_str() == ".peershare"));
    found.retain(|path| *path != lab.root().join("me"));
    found.sort();
    found
}

#[test]
fn a_liar_alone_is_named_with_what_it_did_and_its_file_is_not_there() {
    at_once(|Lie { rogue, status, words }| {
        let (lab, mut client) = meet(&rogue());
        let before = outside(&lab);
        client.run("download x a").is(*status).tells(words);
        assert!(lab.visible("me").is_empty(), "{words}");
        assert_eq!(outside(&lab), before, "{words}");
    });
}

#[test]
fn beside_a_liar_the_file_comes_from_elsewhere() {
    at_once(|Lie { rogue, words, .. }| {
        let (mut lab, mut client) = meet(&rogue());
        // Nothing comes from the other one before the liar was named.
        let (said, words) = (client.err.clone(), *words);
        lab.rogue("b", &Rogue::good_after("x", &data(), move || said.wait_for(words)));
        client.run("download x").succeeded();
        lab.assert_has("me", "x", &data());
    });
}

#[test]
fn a_peer_that_never_says_what_the_file_is_is_left() {
    let silent = Rogue::new("x", &data(), |_, _| Deed::Silence);
    let (lab, mut client) = meet(&silent);
    client.run("download x a").is(ExitStatus::Unreachable).tells("it stopped answering");
    lab.put("b", "x", &data());
    client.run("download x").succeeded();
    lab.assert_has("me", "x", &data());
}

#[test]
fn hashing_that_creeps_ends() {
    let done = AtomicU64::new(0);
    let creeping = Rogue::new("x", &data(), move |request, _| match request {
        Request::Describe { .. } => {
            let done = done.fetch_add(1, SeqCst);
            Deed::Say(Response::Hashing { done, total: 1 << 40 }, Vec::new())
        }
        _ => Deed::Silence,
    });
    let (lab, mut client) = meet(&creeping);
    let outcome = client.run("download x a").is(ExitStatus::Unreachable);
    outcome.tells("it made no progress with hashing the file");
    lab.put("b", "x", &data());
    client.run("download x").succeeded();
    lab.assert_has("me", "x", &data());
}

/// Pages without a name, each of which says that the next one begins further on.
fn empty_pages() -> Rogue {
    let page = AtomicU64::new(0);
    Rogue::new("x", b"", move |request, _| match request {
        Request::List { .. } => {
            let next = format!("{:012}", page.fetch_add(1, SeqCst)).parse().ok();
            Deed::Say(Response::Listing { next, left_out: 0, shared: false }, b"[]".to_vec())
        }
        _ => Deed::Silence,
    })
}

#[test]
fn a_list_that_leads_nowhere_ends_and_what_the_others_have_is_shown_meanwhile() {
    let rogues = [
        (empty_pages(), "it made no progress with its list"),
        (Rogue::new("x", b"", |_, _| Deed::Silence), "it stopped answering"),
    ];
    for (rogue, words) in rogues {
        let (lab, mut client) = meet(&rogue);
        lab.put("b", "good", b"good");
        for line in ["filelist", "search good"] {
            client.run(line).is(ExitStatus::SomePeersFailed).prints("good").tells(words);
        }
        client.run("filelist a").is(ExitStatus::Unreachable).tells(words);
        // A folder comes from those that can list it.
        lab.put("b", "d/f", b"f");
        client.run("download d/").succeeded().tells(words);
        lab.assert_has("me", "d/f", b"f");
    }
}

#[test]
fn files_of_others_are_shown_while_one_peer_still_lists() {
    let mut lab = Lab::of(&["a", "b"]);
    lab.put("b", "good", b"good");
    let mut client = lab.client_with_waits(Waits::brief(Duration::from_secs(20)));
    let out = client.out.clone();
    // It answers once its files were waited for in vain.
    lab.rogue(
        "a",
        &Rogue::new("late", b"late", move |request, _| {
            if let Request::List { .. } = request {
                out.wait_for("good");
            }
            Deed::Honest
        }),
    );
    client.run("filelist").succeeded().prints("late");
}

#[test]
fn thousands_of_listed_files_that_are_not_there_are_counted_and_the_first_are_named() {
    let many = Rogue::new("x", b"", |request, _| match request {
        Request::List { after: None, .. } => {
            let entry = |i| format!(r#"{{"name":"d/{i:04}","length":9,"root":"{:064x}"}}"#, i + 1);
            let page: Vec<String> = (0..1000).map(entry).collect();
            let next = "d/0999".parse().ok();
            Deed::Say(
                Response::Listing { next, left_out: 0, shared: false },
                format!("[{}]", page.join(",")).into(),
            )
        }
        Request::List { .. } => {
            let page =
                r#"[{"name":"d/1000","length":9,"root":"ff"}]"#.replace("ff", &"f".repeat(64));
            Deed::Say(Response::Listing { next: None, left_out: 0, shared: false }, page.into())
        }
        Request::Gather => Deed::Cut,
        _ => refuse(ErrorCode::NotFound),
    });
    let (lab, mut client) = meet(&many);
    lab.put("b", "d/good", b"good");
    let outcome = client.run("download d/").is(ExitStatus::SomePeersFailed);
    // Its connection may be gone before its second page was read.
    let all = if outcome.out.contains("1001 files failed") { 1001 } else { 1000 };
    let outcome = outcome.tells(&format!("and {} files more failed", all - 100));
    outcome.prints("1 file, 4 B").prints(&format!("{all} files failed"));
    lab.assert_has("me", "d/good", b"good");
}

/// A peer with one large file in a folder, which it says so often that it hashes, a moment at a time.
/// `moves` says whether it gets on with that.
fn hashes_first(data: &[u8], times: u32, moves: bool) -> Rogue {
    let (length, said) = (data.len() as u64, AtomicU64::new(0));
    Rogue::new("d/x", data, move |request, _| match request {
        Request::List { .. } => {
            let page = format!(r#"[{{"name":"d/x","length":{length}}}]"#);
            let listing = Response::Listing { next: None, left_out: 0, shared: false };
            Deed::Say(listing, page.into())
        }
        Request::Describe { .. } if said.fetch_add(1, SeqCst) < u64::from(times) => {
            thread::park_timeout(Duration::from_millis(100));
            let done = if moves { said.load(SeqCst) * (256 << 10) } else { 0 };
            Deed::Say(Response::Hashing { done, total: length }, Vec::new())
        }
        _ => Deed::Honest,
    })
}

#[test]
fn one_that_hashes_a_large_file_of_a_folder_is_waited_for_as_long_as_it_gets_on() {
    let data = bytes(1, 5 << 20);
    let (lab, mut client) = meet(&hashes_first(&data, 8, true));
    client.run("download d/ a").succeeded();
    lab.assert_has("me", "d/x", &data);
    let (_lab, mut client) = meet(&hashes_first(&data, u32::MAX, false));
    client.run("download d/ a").is(ExitStatus::Failed).tells("it made no progress");
}

/// The origin of a swarm that hands nothing out and says again and again that it is not done.
struct Promises(PeerId);

impl Dial for Promises {
    fn peer(&self) -> &PeerId {
        &self.0
    }

    fn dial(&mut self, _: &Cancel) -> Result<Box<dyn Source + '_>, SourceError> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl Source for Promises {
    fn ask(&mut self, _: &Ask) -> Result<(), SourceError> {
        Ok(())
    }

    fn answer(&mut self, to: &Ask, _: &Waits) -> Result<Answer, SourceError> {
        match to {
            // Those chunks are at somebody who is not there.
            Ask::Advice { .. } => Ok(Answer::Handed(Handed {
                others: vec![("nobody".parse().unwrap(), Vec::new())],
                ..Handed::default()
            })),
            _ => Ok(Answer::NotYet),
        }
    }

    fn receive(&mut self, _: &mut [u8], _: Duration) -> Result<(), SourceError> {
        Err(SourceError::NotYet)
    }
}

#[test]
fn an_origin_that_only_promises_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let manifest = Arc::new(manifest("x", &data()));
    let Reception::Part(part) = store.receive(manifest, false).unwrap() else { panic!("no part") };
    let (progress, cancel) = (Progress::new(data().len() as u64), Cancel::new());
    let meet = |_: &PeerId| None;
    let fetch = Fetch {
        job: &part,
        sources: vec![Box::new(Promises("liar".parse().unwrap()))],
        progress: &progress,
        cancel: &cancel,
        waits: short(),
        observer: &|_| (),
        swarm: Some(Swarm::Given(&meet)),
    };
    let error = fetch.run().unwrap_err();
    assert!(matches!(error, TransferError::Incomplete { .. }), "{error}");
    assert!(error.to_string().contains("liar: it made no progress with the chunks"), "{error}");
}
