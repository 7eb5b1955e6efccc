//! What targets of an upload answer, and what the client makes of it.

use peershare::client::ExitStatus;
use peershare::serve::Rights;
use peershare::server::Limits;
use peershare::wire::{ErrorCode, Refusal, Report, Request, Response};

use super::lab::{CHUNK, LONG, Lab, MESSAGES, bytes, change, manifest};
use super::rogue::{Deed, Rogue};
use super::speaker::Speaker;

#[test]
fn a_file_goes_to_all_others_at_once() {
    let lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let outcome = lab.client_at("a").run("upload x").succeeded();
    outcome.prints("b: uploaded x: 5.0 MiB").prints("c: uploaded x");
    lab.assert_has("b", "x", &data);
    lab.assert_has("c", "x", &data);
}

#[test]
fn a_file_from_anywhere_goes_by_its_path() {
    let lab = Lab::of(&["a"]);
    let path = lab.root().join("else where.bin");
    std::fs::write(&path, bytes(1, 1000)).unwrap();
    lab.client().run(&format!("upload '{}'", path.display())).succeeded();
    lab.assert_has("a", "else where.bin", &bytes(1, 1000));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let lab = Lab::of(&["a"]);
    lab.client()
        .run("upload x")
        .is(ExitStatus::NoSuchFile)
        .tells("cannot upload x: there is no file or folder x;");
    assert!(lab.visible("a").is_empty());
}

#[test]
fn a_target_that_has_the_file_is_already_serving_it() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    lab.put("me", "x", &data);
    let outcome = lab.client().run("upload x").succeeded().prints("already serving");
    assert!(outcome.sent < MESSAGES, "{outcome:?}");
}

#[test]
fn a_target_with_another_file_of_that_name_fails_alone_unless_it_is_to_be_replaced() {
    let lab = Lab::of(&["a", "b"]);
    let (own, theirs) = (bytes(1, 1000), bytes(2, 1000));
    lab.put("me", "x", &own);
    lab.put("a", "x", &theirs);
    let mut client = lab.client();
    let outcome = client.run("upload x").is(ExitStatus::SomePeersFailed);
    outcome.tells("already serving another file").prints("b: uploaded x");
    lab.assert_has("a", "x", &theirs);
    lab.assert_has("b", "x", &own);
    client.run("upload x a").is(ExitStatus::Refused);
    client.run("upload x a --replace").succeeded();
    lab.assert_has("a", "x", &own);
}

#[test]
fn many_targets_that_fared_alike_share_a_line() {
    let peers = ["p1", "p2", "p3", "p4", "p5", "p6"];
    let mut lab = Lab::of(&peers);
    let data = bytes(1, 1000);
    lab.put("me", "x", &data);
    lab.put("me", "f/y", &data);
    lab.put("p4", "x", &data);
    lab.kill("p6");
    let mut client = lab.client();
    let outcome = client.run("upload x").is(ExitStatus::SomePeersFailed);
    let outcome = outcome.prints("p4: already serving x\n").tells("p6 at 127.0.0.1:6: x: ");
    assert!(outcome.out.contains("p[1-3], p5: uploaded x: 1000 B; the last after 0 s; "));
    assert_eq!((outcome.out.lines().count(), outcome.err.lines().count()), (2, 1), "{outcome:?}");
    let outcome = client.run("upload f").prints("p[1-5]: uploaded f/: 1 file, 1000 B");
    assert_eq!(outcome.out.lines().count(), 1, "{outcome:?}");
    peers[..5].iter().for_each(|peer| lab.assert_has(peer, "f/y", &data));
}

#[test]
fn a_target_that_is_receiving_another_file_of_that_name_fails_alone() {
    let lab = Lab::of(&["a", "b"]);
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.offer(&manifest("x", &bytes(2, LONG)));
    let data = bytes(1, 1000);
    lab.put("me", "x", &data);
    let outcome = lab.client().run("upload x").is(ExitStatus::SomePeersFailed);
    outcome.tells("currently receiving").prints("b: uploaded x");
    assert!(lab.visible("a").is_empty());
}

#[test]
fn a_target_that_is_down_fails_alone() {
    let mut lab = Lab::of(&["a", "b"]);
    lab.put("me", "x", &bytes(1, 1000));
    lab.kill("a");
    let mut client = lab.client();
    client.run("upload x").is(ExitStatus::SomePeersFailed).tells("a at 127.0.0.1:1");
    lab.assert_has("b", "x", &bytes(1, 1000));
    client.run("upload x a").is(ExitStatus::Unreachable);
}

#[test]
fn a_target_that_is_read_only_refuses() {
    let mut lab = Lab::of(&["a"]);
    lab.start_with("a", Rights { read_only: true }, Limits::default());
    lab.put("me", "x", &bytes(1, 1000));
    lab.put("a", "y", b"y");
    let mut client = lab.client();
    client.run("upload x").is(ExitStatus::Refused).tells("read-only");
    assert_eq!(lab.visible("a"), ["y"]);
    client.run("download y").succeeded();
}

#[test]
fn a_file_that_changes_while_it_is_uploaded_is_never_mixed() {
    let lab = Lab::of(&["a"]);
    lab.put("me", "x", &bytes(1, LONG));
    let mut client = lab.client();
    let file = lab.folder("me").join("x");
    let changed = file.clone();
    client.traffic.after(4 * CHUNK as u64, move || change(&changed));
    client.run("upload x").is(ExitStatus::Integrity).tells("changed while reading");
    assert!(lab.visible("a").is_empty());
    client.run_when_free("upload x").succeeded();
    lab.assert_has("a", "x", &std::fs::read(file).unwrap());
}

/// What becomes of an upload to a target that does this when it is offered a file.
#[track_caller]
fn target(answer: impl Fn() -> Deed + Send + Sync + 'static, status: ExitStatus, words: &str) {
    let mut lab = Lab::of(&["a"]);
    lab.put("me", "x", &bytes(1, LONG));
    lab.rogue("a", &Rogue::new("none", b"", move |_, _| answer()));
    lab.client().run("upload x").is(status).tells(words);
}

fn frames(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.concat()
}

fn accepted() -> Vec<u8> {
    peershare::wire::encode(&Response::Accepted { have: 0 }, 0).unwrap()
}

fn asks(request: &Request) -> Vec<u8> {
    peershare::wire::encode(request, 0).unwrap()
}

#[test]
fn a_target_that_leaves_is_told() {
    target(|| Deed::Cut, ExitStatus::Unreachable, "the connection was lost");
}

#[test]
fn a_target_that_answers_something_else_is_told() {
    let pong = || Deed::Say(Response::Pong(Default::default()), vec![]);
    target(
        pong,
        ExitStatus::Failed,
        "it broke the protocol (an unexpected message came: Pong(State {",
    );
}

#[test]
fn a_target_that_gives_up_says_why() {
    let failed = || {
        let refusal = Refusal { code: ErrorCode::NoSpace, message: "no space for it".to_owned() };
        let report = Request::Report { report: Report::Failed(refusal) };
        Deed::Raw(frames(&[accepted(), asks(&report)]))
    };
    target(failed, ExitStatus::NoSpace, "no space for it");
}

#[test]
fn a_target_that_asks_for_nonsense_gets_errors_and_nothing_else() {
    let root = manifest("x", &bytes(1, LONG)).root();
    let nonsense = move || {
        let beyond =
            Request::Read { root, chunk: 4_000_000_000, chunk_size: CHUNK as u32, wait_ms: 0 };
        let odd = Request::Read { root, chunk: 0, chunk_size: 3, wait_ms: 0 };
        let finished = Request::Report { report: Report::Finished };
        Deed::Raw(frames(&[
            accepted(),
            asks(&beyond),
            asks(&odd),
            asks(&Request::Ping),
            asks(&finished),
        ]))
    };
    let mut lab = Lab::of(&["a"]);
    lab.put("me", "x", &bytes(1, LONG));
    lab.rogue(
        "a",
        &Rogue::new("none", b"", move |request, _| match request {
            Request::Offer { .. } => nonsense(),
            _ => Deed::Silence,
        }),
    );
    let outcome = lab.client().run("upload x").succeeded();
    assert!(outcome.sent < MESSAGES, "{outcome:?}");
}
