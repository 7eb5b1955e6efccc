//! Garbage, lies and sudden ends against the answering side. After each of them it serves on.

use std::io::Read;
use std::time::Duration;

use peershare::client::ExitStatus;
use peershare::config;
use peershare::content::{Attributes, Digest};
use peershare::serve::Rights;
use peershare::server::Limits;
use peershare::wire::{self, ErrorCode, MAGIC, Report, Request, Response, VERSION};

use super::lab::{CHUNK, DEADLINE, LONG, Lab, bytes, eventually, manifest};
use super::speaker::Speaker;

/// A lab whose peer `a` serves the long file `x`.
fn lab() -> Lab {
    let lab = Lab::of(&["a"]);
    lab.put("a", "x", &bytes(1, LONG));
    lab
}

#[track_caller]
fn still_serves(lab: &Lab) {
    let mut speaker = Speaker::introduced(lab, "a");
    assert!(matches!(speaker.ask(&Request::Ping, &[]), Response::Pong(_)));
    let data = bytes(9, 1000);
    lab.put("me", "from me", &data);
    lab.client().run("upload 'from me' a").succeeded();
    lab.assert_has("a", "from me", &data);
}

#[track_caller]
fn code_of(answer: Response) -> ErrorCode {
    match answer {
        Response::Error(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

fn list_of(pattern: &str) -> Request {
    let (pattern, except) = (Some(pattern.to_owned()), Vec::new());
    Request::List { pattern, except, folders: false, hashed: false, after: None, limit: None }
}

#[test]
fn a_garbage_first_byte_ends_the_connection() {
    let lab = lab();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0],
        &[0],
        &[0xFF; 1000],
        &[0xF0, 0, 0, 0, 0],
    ] {
        let mut speaker = Speaker::silent(&lab, "a");
        speaker.raw(garbage);
        speaker.until_end();
    }
    still_serves(&lab);
}

#[test]
fn somebody_who_connects_and_leaves_costs_nothing() {
    let lab = lab();
    (0..50).for_each(|_| drop(Speaker::silent(&lab, "a")));
    drop(Speaker::greeted(&lab, "a"));
    drop(Speaker::introduced(&lab, "a"));
    still_serves(&lab);
}

#[test]
fn huge_announced_lengths_are_answered_with_an_error_and_end_the_connection() {
    let lab = lab();
    for lengths in [[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], [0, 0, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF]] {
        let mut speaker = Speaker::introduced(&lab, "a");
        speaker.raw(&lengths);
        assert_eq!(code_of(speaker.answer()), ErrorCode::BadRequest);
        speaker.until_end();
    }
    still_serves(&lab);
}

#[test]
fn a_header_that_is_no_request_is_answered_with_an_error_and_ends_the_connection() {
    let lab = lab();
    let refused =
        [r#"{"type":"read","root":"12","chunk":0}"#, r#"{"type":"describe","name":"../x"}"#];
    for header in ["hello", "{", "[]", "{}", "\u{0}", r#"{"type":5}"#].into_iter().chain(refused) {
        let mut speaker = Speaker::introduced(&lab, "a");
        speaker.send_header(header);
        assert_eq!(code_of(speaker.answer()), ErrorCode::BadRequest, "{header}");
        speaker.until_end();
    }
    still_serves(&lab);
}

#[test]
fn the_first_request_must_be_hello() {
    let lab = lab();
    let mut speaker = Speaker::greeted(&lab, "a");
    speaker.send(&Request::Ping, &[]);
    assert_eq!(code_of(speaker.answer()), ErrorCode::BadRequest);
    speaker.until_end();
    still_serves(&lab);
}

#[test]
fn what_is_handed_out_is_cut_as_the_request_says_whatever_came_before() {
    let (lab, data) = (lab(), bytes(1, LONG));
    lab.client().run("download x").succeeded();
    let mut speaker = Speaker::greeted(&lab, "a");
    let hello = Request::Hello { peer: Some("b".into()), to: None, agent: "speaker".into() };
    assert!(matches!(speaker.ask(&hello, &[]), Response::Hello { .. }));
    let root = manifest("x", &data).root();
    for chunk_size in [CHUNK, CHUNK / 4, 2 * CHUNK] {
        let next = Request::Next { root, chunk_size: chunk_size as u32, seen: 0, want: true };
        speaker.send(&next, &[]);
        let (answer, chunk) = speaker.answer_with_payload();
        // Each peer begins at a place of its own.
        let Response::Handed { chunk: Some(number), .. } = answer else { panic!("{answer:?}") };
        let start = number as usize * chunk_size;
        let wanted = &data[start..data.len().min(start + chunk_size)];
        assert!(chunk == wanted, "{} bytes of {chunk_size}", chunk.len());
    }
}

#[test]
fn later_versions_are_answered_in_ours() {
    let lab = lab();
    let mut speaker = Speaker::silent(&lab, "a");
    speaker.raw(&[&MAGIC[..], &[VERSION + 7]].concat());
    assert_eq!(peershare::wire::read_greeting(&mut speaker.0).unwrap(), VERSION);
}

#[test]
fn an_unknown_request_is_unsupported_and_the_connection_goes_on() {
    let lab = lab();
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.send_header(r#"{"type":"sing","song":"of the sea"}"#);
    assert_eq!(code_of(speaker.answer()), ErrorCode::Unsupported);
    speaker.send_header(r#"{"type":"ping","loudly":true}"#);
    assert!(matches!(speaker.answer(), Response::Pong(_)));
}

#[test]
fn requests_that_do_not_fit_are_answered_with_an_error_and_the_connection_goes_on() {
    let lab = lab();
    lab.client().run("download x").succeeded();
    let mut speaker = Speaker::introduced(&lab, "a");
    let root = manifest("x", &bytes(1, LONG)).root();
    let read = |root, chunk, chunk_size| Request::Read { root, chunk, chunk_size, wait_ms: 0 };
    let unknown = manifest("y", b"never seen").root();
    let usual = CHUNK as u32;
    for (request, code) in [
        (read(root, 20, usual), ErrorCode::BadRequest),
        (read(root, u32::MAX, usual), ErrorCode::BadRequest),
        (read(root, 0, 0), ErrorCode::BadRequest),
        (read(root, 0, 3), ErrorCode::BadRequest),
        (read(root, 0, u32::MAX), ErrorCode::BadRequest),
        (read(unknown, 0, usual), ErrorCode::NotFound),
        (Request::Have { root: unknown, chunk_size: 0 }, ErrorCode::NotFound),
        (Request::Hello { peer: None, to: None, agent: String::new() }, ErrorCode::BadRequest),
        (list_of("["), ErrorCode::BadRequest),
    ] {
        assert_eq!(code_of(speaker.ask(&request, &[])), code, "{request:?}");
    }
    assert_eq!(
        speaker.ask(&read(root, 19, usual), &[]),
        Response::Chunk { chunk: 19, shared: false }
    );
    assert!(matches!(
        speaker.ask(&Request::Ping, b"a payload that nobody reads"),
        Response::Pong(_)
    ));
}

#[test]
fn what_is_offered_to_another_peer_is_refused_and_the_rest_is_answered() {
    let lab = lab();
    let data = bytes(1, 1000);
    for (to, refused) in [("a", false), ("elsewhere", true)] {
        let mut speaker = Speaker::greeted(&lab, "a");
        let hello = Request::Hello { peer: None, to: Some(to.to_owned()), agent: String::new() };
        assert!(matches!(speaker.ask(&hello, &[]), Response::Hello { .. }));
        assert!(matches!(speaker.ask(&list_of("*"), &[]), Response::Listing { .. }));
        let manifest = manifest("offered", &data);
        let offer = Request::offer(&manifest, Attributes::default(), false, false);
        let answer = speaker.ask(&offer, &Response::digests_of(&manifest));
        assert_eq!(matches!(answer, Response::Error(_)), refused, "{answer:?}");
        if refused {
            assert_eq!(code_of(answer), ErrorCode::Refused);
        }
    }
}

#[test]
fn a_report_outside_of_an_offer_does_no_harm() {
    let lab = lab();
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.send(&Request::Report { report: Report::Finished }, &[]);
    // A report gets no answer; whatever is said to it must not be taken for that of the ping.
    let answer = speaker.ask(&Request::Ping, &[]);
    assert!(matches!(answer, Response::Pong(_)), "a report outside of an offer is answered");
    still_serves(&lab);
}

#[test]
fn an_offer_whose_digests_do_not_lead_to_its_root_is_refused() {
    let lab = lab();
    let offered = manifest("new", &bytes(2, LONG));
    let offer = Request::offer(&offered, Attributes::default(), false, false);
    let mut wrong = Response::digests_of(&offered);
    wrong[0] ^= 1;
    let mut speaker = Speaker::introduced(&lab, "a");
    for payload in [&wrong[..], &wrong[..31], &wrong[Digest::LEN..], &[]] {
        assert_eq!(code_of(speaker.ask(&offer, payload)), ErrorCode::BadRequest);
    }
    assert_eq!(lab.visible("a"), ["x"]);
    // The connection goes on, and nothing of the lies is left in the way.
    speaker.offer(&offered);
}

#[test]
fn offers_of_impossible_layouts_are_refused() {
    let lab = lab();
    let root = manifest("x", b"").root();
    let mut speaker = Speaker::introduced(&lab, "a");
    for (length, chunk_size) in [(u64::MAX, 16 << 10), (1, 0), (1, 3), (1, 1 << 31)] {
        let offer = Request::Offer {
            name: "new".parse().unwrap(),
            length,
            chunk_size,
            root,
            attributes: Attributes::default(),
            replace: false,
            swarm: false,
        };
        assert_eq!(code_of(speaker.ask(&offer, &[])), ErrorCode::BadRequest);
    }
}

#[test]
fn an_offer_that_fits_no_disk_is_refused_for_space() {
    let lab = lab();
    // A million digests of 16 MiB chunks each: 16 TiB.
    let length = (1_u64 << 20) * (16 << 20);
    let layout = peershare::content::ChunkLayout::new(length, 16 << 20).unwrap();
    let digests = vec![Digest::ZERO; layout.count() as usize];
    let huge = peershare::content::Manifest::from_digests("huge".parse().unwrap(), layout, digests)
        .unwrap();
    let mut speaker = Speaker::introduced(&lab, "a");
    let answer = speaker.ask(
        &Request::offer(&huge, Attributes::default(), false, false),
        &Response::digests_of(&huge),
    );
    assert_eq!(code_of(answer), ErrorCode::NoSpace);
}

#[test]
fn a_client_that_vanishes_at_any_step_of_an_offer_leaves_nothing_in_the_way() {
    let data = bytes(2, LONG);
    let offered = manifest("new", &data);
    let (offer, digests) = (
        Request::offer(&offered, Attributes::default(), false, false),
        Response::digests_of(&offered),
    );
    let frame = [peershare::wire::encode(&offer, digests.len()).unwrap(), digests].concat();
    let steps: [&dyn Fn(&mut Speaker); 6] = [
        &|speaker| speaker.raw(&frame[..5]),
        &|speaker| speaker.raw(&frame[..20]),
        &|speaker| speaker.raw(&frame[..frame.len() - 1]),
        &|speaker| speaker.raw(&frame),
        &|speaker| speaker.offer(&offered),
        &|speaker| {
            speaker.offer(&offered);
            speaker.serve(&data, 1);
        },
    ];
    for step in steps {
        let lab = lab();
        let mut speaker = Speaker::introduced(&lab, "a");
        step(&mut speaker);
        drop(speaker);
        lab.put("me", "new", &data);
        let mut client = lab.client();
        // The end of the connection takes a moment to be noticed.
        client.run_when_free("upload new a").succeeded();
        lab.assert_has("a", "new", &data);
        let parts = lab.folder("a").join(".peershare/parts");
        eventually("nothing of it is left behind", || {
            std::fs::read_dir(&parts).unwrap().count() == 0
        });
    }
}

#[test]
fn an_uploader_that_sends_bad_chunks_is_told_and_the_connection_ends() {
    let lab = lab();
    let offered = manifest("new", &bytes(2, LONG));
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.offer(&offered);
    let code = loop {
        match speaker.next::<Request>() {
            Some(Request::Read { chunk, chunk_size, .. }) => {
                let len = (chunk_size as usize).min(LONG - chunk as usize * chunk_size as usize);
                speaker.send(&Response::Chunk { chunk, shared: false }, &vec![0; len]);
            }
            Some(Request::Have { .. }) => speaker.send(&Response::Have, &[0xFF, 0xFF, 0x0F]),
            Some(Request::Report { report: Report::Failed(refusal) }) => break refusal.code,
            Some(Request::Report { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, ErrorCode::Integrity);
    assert_eq!(lab.visible("a"), ["x"]);
    still_serves(&lab);
}

#[test]
fn an_uploader_that_answers_nonsense_is_told() {
    let lab = lab();
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.offer(&manifest("new", &bytes(2, LONG)));
    let failed = loop {
        match speaker.next::<Request>() {
            Some(Request::Report { report: Report::Failed(refusal) }) => break refusal,
            Some(Request::Report { .. }) => {}
            Some(_) => speaker.send(&Response::Pong(Default::default()), &[]),
            None => panic!("it left without a word"),
        }
    };
    assert!(failed.message.contains("broke the protocol"), "{failed:?}");
    still_serves(&lab);
}

#[test]
fn digests_that_stop_coming_take_no_more_memory_than_all_of_them_may_have() {
    let lab = lab();
    let (length, chunk_size) = (31 << 25, 16 << 10);
    let offer = |name: &str| Request::Offer {
        name: name.parse().unwrap(),
        length,
        chunk_size,
        root: manifest("x", b"x").root(),
        attributes: Attributes::default(),
        replace: false,
        swarm: false,
    };
    let digests = (length / u64::from(chunk_size)) as usize * Digest::LEN;
    let mut held = Vec::new();
    for number in 0..60 {
        let mut speaker = Speaker::introduced(&lab, "a");
        speaker.raw(&wire::encode(&offer(&number.to_string()), digests).unwrap());
        held.push(speaker);
    }
    // Those for which there is no room are told, and nothing of theirs is kept.
    let most = config::OFFERS_HELD / 2 / digests;
    let mut waiting = held;
    let mut refused = Vec::new();
    eventually("those that are too many are told", || {
        let is_told = |speaker: &mut Speaker| {
            speaker.0.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            speaker.0.read(&mut [0; 500]).is_ok_and(|length| length > 8)
        };
        refused.extend(waiting.extract_if(.., is_told));
        waiting.len() <= most
    });
    assert_eq!(waiting.len(), most);
    let mut usual = Speaker::introduced(&lab, "a");
    usual.offer(&manifest("new", &bytes(2, LONG)));
    drop((waiting, refused));
    eventually("there is room again", || {
        let mut speaker = Speaker::introduced(&lab, "a");
        speaker.raw(&wire::encode(&offer("y"), digests).unwrap());
        speaker.raw(&vec![0; digests]);
        code_of(speaker.answer()) == ErrorCode::BadRequest
    });
}

#[test]
fn one_connection_too_many_is_told_busy_and_the_others_go_on() {
    let mut lab = lab();
    let spared = DEADLINE;
    lab.start_with("a", Rights::default(), Limits { connections: 2, spared, ..Limits::default() });
    let mut first = Speaker::introduced(&lab, "a");
    let second = Speaker::introduced(&lab, "a");
    let mut third = Speaker::greeted(&lab, "a");
    assert_eq!(code_of(third.answer()), ErrorCode::Busy);
    third.until_end();
    lab.client().run("download x").is(ExitStatus::Unreachable).tells("all 2 connections are taken");
    assert!(matches!(first.ask(&Request::Ping, &[]), Response::Pong(_)));
    drop(second);
    eventually("the place is free again", || lab.client().run("filelist").status.is_success());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let lab = lab();
    lab.client().run("download x").succeeded();
    let root = manifest("x", &bytes(1, LONG)).root();
    let mut speaker = Speaker::introduced(&lab, "a");
    for chunk in (0..20).rev() {
        speaker.send(&Request::Read { root, chunk, chunk_size: CHUNK as u32, wait_ms: 0 }, &[]);
    }
    for chunk in (0..20).rev() {
        assert_eq!(speaker.answer(), Response::Chunk { chunk, shared: false });
    }
}
