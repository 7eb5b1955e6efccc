//! What a server takes at most, and what it leaves to others: of files, folders and uploads of the
//! classic dialect alike.

use std::fs;
use std::io::Read;
use std::time::Duration;

use peershare::client::ExitStatus;
use peershare::content::Attributes;
use peershare::server::Limits;
use peershare::store::Bounds;
use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{LONG, Lab, bytes, eventually, manifest};
use super::programs::Site;
use super::speaker::Speaker;

/// A lab whose peer `a` takes no more than that.
fn lab(bounds: Bounds) -> Lab {
    let mut lab = Lab::of(&["a"]);
    lab.start_bounded("a", bounds);
    lab
}

fn up_to(largest: u64) -> Lab {
    lab(Bounds { largest: Some(largest), reserve: 0 })
}

/// More than any disk has.
fn full() -> Lab {
    lab(Bounds { largest: None, reserve: u64::MAX })
}

#[test]
fn a_file_that_is_too_long_is_refused_and_the_reason_told() {
    let lab = up_to(999);
    lab.put("me", "long", &bytes(1, 1000));
    lab.put("me", "short", &bytes(1, 999));
    let told = lab.client().run("upload long a").is(ExitStatus::Refused);
    told.tells("long has 1000 bytes, and this peer takes no files of more than 999");
    lab.client().run("upload short a").succeeded();
    assert_eq!(lab.visible("a"), ["short"]);
}

#[test]
fn of_a_folder_the_others_are_taken() {
    let lab = up_to(5 << 20);
    lab.put("me", "f/small", &bytes(1, 10));
    lab.put("me", "f/large", &bytes(2, 6 << 20));
    lab.client()
        .run("upload f a")
        .is(ExitStatus::SomePeersFailed)
        .tells("takes no files of more than");
    lab.assert_has("a", "f/small", &bytes(1, 10));
    assert!(lab.read("a", "f/large").is_none());
    let lab = up_to(5);
    lab.put("me", "f/small", &bytes(1, 10));
    lab.put("me", "f/smaller", &bytes(1, 5));
    lab.client()
        .run("upload f a")
        .is(ExitStatus::SomePeersFailed)
        .tells("takes no files of more than 5");
    lab.assert_has("a", "f/smaller", &bytes(1, 5));
    assert!(lab.read("a", "f/small").is_none());
}

#[test]
fn what_is_to_stay_free_is_not_filled() {
    let lab = full();
    lab.put("me", "x", &bytes(1, LONG));
    lab.put("me", "f/x", &bytes(1, 10));
    lab.client().run("upload x a").tells("no space for x");
    lab.client().run("upload f a").tells("no space");
    assert!(lab.visible("a").is_empty());
    let parts = lab.folder("a").join(".peershare/parts");
    assert!(
        !fs::read_dir(parts).unwrap().any(|entry| entry.unwrap().metadata().unwrap().len() > 99)
    );
}

/// What is answered to the beginning of an upload in the classic dialect, and to its first chunk.
fn classic(lab: &Lab, offer: &str) -> String {
    let mut speaker = Speaker::silent(lab, "a");
    let mut said = String::new();
    for line in [offer, &format!("#UPLOAD f.txt chunk 0 {}", "x".repeat(100))] {
        speaker.raw(line.as_bytes());
        let mut answer = [0; 200];
        let length = speaker.0.read(&mut answer).unwrap();
        said += &String::from_utf8_lossy(&answer[..length]);
        said.push('\n');
    }
    said
}

#[test]
fn uploads_of_the_classic_dialect_are_bound_too() {
    assert!(classic(&full(), "#UPLOAD f.txt bytes 250").contains("250 Not receiving"));
    let lab = up_to(99);
    assert!(classic(&lab, "#UPLOAD f.txt bytes 100").contains("250 Not receiving"));
    let without_length = classic(&lab, "#UPLOAD f.txt");
    assert!(without_length.starts_with("330"), "{without_length}");
    assert!(without_length.contains("250 Not receiving"), "{without_length}");
    eventually("nothing is left", || {
        fs::read_dir(lab.folder("a").join(".peershare/parts")).unwrap().count() == 0
    });
}

#[test]
fn absurd_lengths_are_refused_before_their_digests_are_read() {
    let lab = up_to(1 << 40);
    let mut speaker = Speaker::introduced(&lab, "a");
    for (length, code) in [
        (1 << 63, ErrorCode::BadRequest),
        (u64::MAX, ErrorCode::BadRequest),
        (1 << 41, ErrorCode::Refused),
    ] {
        let offer = Request::Offer {
            name: "f".parse().unwrap(),
            length,
            chunk_size: 16 << 20,
            root: manifest("f", b"f").root(),
            attributes: Attributes::default(),
            replace: false,
            swarm: false,
        };
        match speaker.ask(&offer, &[]) {
            Response::Error(refusal) => assert_eq!(refusal.code, code, "{refusal:?}"),
            other => panic!("{other:?}"),
        }
    }
    speaker.offer(&manifest("f", &bytes(1, LONG)));
}

#[test]
fn leftovers_go_while_the_server_runs() {
    let mut lab = Lab::of(&["a"]);
    let sweep = Duration::from_millis(10);
    let _server = lab.listen("a", Limits { sweep, ..Limits::default() });
    let left = lab.folder("a").join(".peershare/parts/1.1.group");
    fs::create_dir(&left).unwrap();
    eventually("an empty group is swept away", || !left.exists());
}

#[test]
fn limits_are_options_and_a_check_shows_them() {
    let site = Site::new();
    let check = |words: &[&str]| {
        let mut command = assert_cmd::Command::from_std(site.server_command("a"));
        command.args(["--check", "--listen", "127.0.0.1:0"]).args(words).assert()
    };
    let words = ["--max-connections", "9", "--max-upload-size", "2K", "--reserve", "1.5M"];
    let done = check(&words).success();
    let report = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
    assert!(report.contains("connections: 9 at once, 5 of one address\n"), "{report}");
    assert!(report.contains("up to 2048 bytes; 1572864 bytes stay free;"), "{report}");
    let done = check(&["--read-only"]).success();
    assert!(String::from_utf8_lossy(&done.get_output().stdout).contains("uploads: none"));
    for wrong in [["--reserve", "much"], ["--max-upload-size", "-1"]] {
        check(&wrong).code(2);
    }
    let mut command = site.server_command("a");
    command.args(["--listen", "127.0.0.1:0", "--max-upload-size", "1K"]);
    let server = super::programs::Running::start(&mut command);
    site.list_peers(&[("a", server.port())]);
    site.put("me", "x", &bytes(1, 2000));
    site.client(&["upload", "x"]).code(5);
    site.put("me", "y", &bytes(1, 1024));
    site.client(&["upload", "y"]).success();
    drop(server);
    assert!(site.read("a", "y").is_some() && site.read("a", "x").is_none());
}
