//! Who has what.

use peershare::client::ExitStatus;
use peershare::wire::{ErrorCode, Request, Response, State};

use super::lab::{Lab, bytes};
use super::rogue::{Deed, Rogue, refuse};

#[test]
fn a_listing_shows_name_size_and_who_has_it() {
    let lab = Lab::of(&["a", "b"]);
    let data = bytes(1, 1000);
    lab.put("a", "both.txt", &data);
    lab.put("b", "both.txt", &data);
    lab.put("b", "folder/only b.txt", &data);
    let mut client = lab.client();
    // Hashed files are one line, whoever has them.
    client.run("download both.txt").succeeded();
    let listing = client.run("filelist").succeeded();
    assert_eq!(listing.out.lines().count(), 2, "{listing:?}");
    let line =
        |name: &str| listing.out.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("both.txt").contains("1000") && line("both.txt").contains("a,b"), "{listing:?}");
    assert!(line("folder/only b.txt").contains('b'), "{listing:?}");
}

#[test]
fn what_is_received_now_and_what_peershare_keeps_is_not_listed() {
    let lab = Lab::of(&["a"]);
    let listing = lab.client().run("filelist").succeeded();
    assert!(!listing.out.contains(".peershare"), "{listing:?}");
}

#[test]
fn a_peer_that_is_down_costs_one_line() {
    let mut lab = Lab::of(&["a", "b"]);
    lab.put("b", "x", b"x");
    lab.kill("a");
    let mut client = lab.client();
    let listing = client.run("filelist").is(ExitStatus::SomePeersFailed).prints("x");
    assert_eq!(listing.err.lines().count(), 1, "{listing:?}");
    client.run("filelist a").is(ExitStatus::Unreachable);
    client.run("filelist b").succeeded();
}

#[test]
fn a_listing_of_many_files_comes_page_by_page() {
    let lab = Lab::of(&["a"]);
    (0..2500).for_each(|i| lab.put("a", &format!("file {i}"), b""));
    let listing = lab.client().run("filelist").succeeded();
    assert_eq!(listing.out.lines().count(), 2500);
}

#[test]
fn a_page_with_a_bad_name_is_a_broken_protocol() {
    for payload in [
        r#"[{"name":"../evil","length":1}]"#,
        r#"[{"name":"ok","length":1},{"name":"/abs","length":1}]"#,
        r#"[{"name":"a\u001bb","length":1}]"#,
        r#"[{"name":"x","length":-1}]"#,
        "nonsense",
        "",
    ] {
        let mut lab = Lab::of(&["a", "b"]);
        lab.put("b", "good", b"good");
        lab.rogue(
            "a",
            &Rogue::new("x", b"", move |_, _| {
                Deed::Say(
                    Response::Listing { next: None, left_out: 0, shared: false },
                    payload.into(),
                )
            }),
        );
        let listing = lab.client().run("filelist").is(ExitStatus::SomePeersFailed).prints("good");
        let listing = listing.tells("a at 127.0.0.1:1: it broke the protocol");
        assert!(!listing.out.contains("evil"), "{listing:?}");
    }
}

fn stuck() -> Response {
    Response::Listing { next: Some("x".parse().unwrap()), left_out: 0, shared: false }
}

#[test]
fn a_listing_without_end_ends_when_it_does_not_advance() {
    let mut lab = Lab::of(&["a"]);
    lab.rogue(
        "a",
        &Rogue::new("x", b"x", |request, _| match request {
            Request::List { after: Some(_), .. } => Deed::Say(stuck(), b"[]".to_vec()),
            _ => Deed::Say(stuck(), br#"[{"name":"x","length":1}]"#.to_vec()),
        }),
    );
    lab.client()
        .run("filelist")
        .is(ExitStatus::Failed)
        .prints("x")
        .tells("a page that does not go on");
}

#[test]
fn a_listing_that_says_the_same_again_and_again_is_a_broken_protocol() {
    let mut lab = Lab::of(&["a"]);
    let again = || {
        let page = br#"[{"name":"x","length":1}]"#.to_vec();
        Deed::Say(stuck(), page)
    };
    lab.rogue("a", &Rogue::new("x", b"x", move |_, _| again()));
    lab.client().run("filelist").is(ExitStatus::Failed).tells("a page that does not go on");
}

#[test]
fn a_peer_that_refuses_to_list_is_told() {
    let mut lab = Lab::of(&["a"]);
    lab.rogue("a", &Rogue::new("x", b"x", |_, _| refuse(ErrorCode::Refused)));
    lab.client().run("filelist").is(ExitStatus::Refused).tells("it refused: because");
}

#[test]
fn what_a_peer_says_is_escaped_before_it_is_printed() {
    let mut lab = Lab::of(&["a"]);
    lab.rogue(
        "a",
        &Rogue::new("x", b"x", |_, _| {
            Deed::Say(Response::error(ErrorCode::Refused, "\u{1b}[31mred\u{202e}"), vec![])
        }),
    );
    let outcome = lab.client().run("filelist").is(ExitStatus::Refused).tells("red");
    assert!(!outcome.err.contains('\u{1b}') && !outcome.err.contains('\u{202e}'), "{outcome:?}");
}

/// Text that moves the cursor, and turns what stands behind it.
const HARMFUL: &str = "evil\u{1b}[2J\u{9b}2J\r\u{202e}";

/// A peer with that in whatever it says.
fn harmful() -> Rogue {
    Rogue::new("evil\u{202e}x", b"x", |request, _| match request {
        Request::Describe { .. } | Request::Read { .. } | Request::Gather => {
            Deed::Say(Response::error(ErrorCode::Internal, HARMFUL), vec![])
        }
        Request::Offer { .. } | Request::OfferFolder { .. } => {
            Deed::Say(Response::error(ErrorCode::Refused, HARMFUL), vec![])
        }
        Request::Ping => {
            let version = Some(HARMFUL.to_owned());
            Deed::Say(Response::Pong(Box::new(State { version, ..State::default() })), vec![])
        }
        Request::List { .. } => {
            let page = r#"[{"name":"evil\u202ex","length":1}]"#;
            Deed::Say(Response::Listing { next: None, left_out: 2, shared: false }, page.into())
        }
        Request::LeftOut { .. } => {
            let told = r#"[{"name":"evil\u001b[2J","reason":"leads_out"},{"name":"e\u202e","reason":"no_file"}]"#;
            Deed::Say(Response::LeftOut { count: 2 }, told.into())
        }
        _ => Deed::Honest,
    })
}

#[test]
fn whatever_a_peer_calls_things_and_says_does_nothing_to_a_terminal() {
    for line in [
        "filelist",
        "search evil",
        "ping",
        "peers",
        "download evil",
        "download **",
        "upload mine",
        "upload d/",
        "search evi*",
    ] {
        let mut lab = Lab::of(&["a"]);
        lab.put("me", "mine", b"x");
        lab.put("me", "d/x", b"x");
        lab.rogue("a", &harmful());
        let outcome = lab.impatient_client().run(line);
        let said = format!("{}{}", outcome.out, outcome.err);
        let bad = |letter: char| letter.is_control() && !"\n\t".contains(letter);
        assert!(!said.contains(bad) && !said.contains('\u{202e}'), "{line}: {said:?}");
        assert!(!said.is_empty(), "{line}");
    }
}
