//! The largest numbers that a peer can say, where they are added up and shown. Tests are compiled
//! with checks for overflow, so that what would be a wrong number in a release fails here.

use peershare::client::ExitStatus;
use peershare::content::{Entry, Selection};
use peershare::wire::{Report, Request, Response, State, encode};

use super::lab::{LONG, Lab, bytes};
use super::rogue::{Deed, Rogue};

/// Two peers that answer so.
fn lab(script: impl Fn(&Request) -> Deed + Send + Sync + Clone + 'static) -> Lab {
    let mut lab = Lab::of(&["a", "b"]);
    for peer in ["a", "b"] {
        let script = script.clone();
        let rogue = Rogue::new("none", b"", move |request, _| script(request));
        lab.rogue(peer, &rogue.called(peer));
    }
    lab
}

fn accepted_and(reports: &[(Report, &[u8])]) -> Deed {
    let mut frames = encode(&Response::Accepted { have: u64::MAX }, 0).unwrap();
    for (report, payload) in reports {
        let report = Request::Report { report: report.clone() };
        frames.extend(encode(&report, payload.len()).unwrap());
        frames.extend(*payload);
    }
    Deed::Raw(frames)
}

#[test]
fn files_of_any_length_can_be_listed_and_are_not_there() {
    let most = u64::MAX;
    let lines = [
        format!(
            r#"{{"name":"a","length":{most},"stored":{most},"mtime_ns":{},"mode":4294967295}}"#,
            i64::MIN
        ),
        format!(r#"{{"name":"b","length":{most},"mtime_ns":{}}}"#, i64::MAX),
        format!(r#"{{"name":"p/c","length":{most},"root":"{}"}}"#, "ab".repeat(32)),
        format!(r#"{{"name":"p/d","length":{most},"root":"{}"}}"#, "cd".repeat(32)),
    ];
    let page = move |pattern: Option<&str>| {
        let selection = Selection::new(pattern, &[]).unwrap();
        let entry = |line: &&String| serde_json::from_str::<Entry>(line).unwrap();
        let chosen = lines.iter().filter(|line| selection.matches(&entry(line).name));
        format!("[{}]", chosen.cloned().collect::<Vec<_>>().join(",")).into_bytes()
    };
    let lab = lab(move |request| match request {
        Request::List { pattern, .. } => Deed::Say(
            Response::Listing { next: None, left_out: u64::MAX, shared: false },
            page(pattern.as_deref()),
        ),
        Request::LeftOut { .. } => Deed::Say(Response::LeftOut { count: u64::MAX }, b"[]".to_vec()),
        _ => Deed::Honest,
    });
    lab.client().run("filelist").prints("18446744073709551615");
    lab.client().run("search a");
    lab.client().run("download --dry-run p/").prints("16.0 EiB");
    lab.client().run("download p/").is(ExitStatus::NoSuchFile).prints("2 files failed");
    lab.client().run("download a").is(ExitStatus::NoSuchFile);
    assert!(lab.visible("me").is_empty());
}

#[test]
fn targets_may_say_that_they_received_any_number_of_bytes() {
    let most = u64::MAX;
    let lab = lab(move |request| match request {
        Request::Offer { .. } => accepted_and(&[
            (Report::Progress { done: most, from_others: most }, b""),
            (Report::Progress { done: 0, from_others: most }, b""),
            (Report::Finished, b""),
        ]),
        Request::OfferFolder { .. } => accepted_and(&[
            (Report::Folder { files: most, of_files: 0, done: most, total: 1 }, b""),
            (Report::Folder { files: most, of_files: most, done: most, total: most }, b""),
            (
                Report::FolderFinished { received: most, bytes: most, here: most, failed: most },
                b"[]",
            ),
        ]),
        _ => Deed::Honest,
    });
    lab.put("me", "x", &bytes(1, LONG));
    lab.put("me", "p/y", &bytes(2, 1000));
    lab.client().run("upload x").succeeded().prints("uploaded x");
    lab.client().run("upload p/").succeeded().prints("a: uploaded p/");
}

#[test]
fn a_peer_may_say_anything_of_how_it_is_doing() {
    let most = Some(u64::MAX);
    let state = State {
        files: most,
        bytes: most,
        free: most,
        hashing: Some(true),
        transfers: most,
        version: Some("\u{1b}[31m".repeat(100)),
    };
    let lab = lab(move |request| match request {
        Request::Ping => Deed::Say(Response::Pong(Box::new(state.clone())), vec![]),
        Request::Describe { .. } => {
            Deed::Say(Response::Hashing { done: u64::MAX, total: 1 }, vec![])
        }
        _ => Deed::Honest,
    });
    let outcome = lab.client().run("peers");
    assert!(!outcome.out.contains('\u{1b}') && outcome.out.contains('a'), "{outcome:?}");
    lab.client().run("ping a b").succeeded();
}
