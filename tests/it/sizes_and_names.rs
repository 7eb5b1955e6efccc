//! Lengths around leaf and chunk, names that work, and names that are refused on both sides.

use std::fs;
use std::os::unix::fs::symlink;

use peershare::client::ExitStatus;
use peershare::wire::{ErrorCode, Request, Response, Subject};

use super::lab::{CHUNK, Lab, bytes, manifest};
use super::speaker::Speaker;

const LEAF: usize = 16 << 10;

const LENGTHS: [usize; 11] = [
    0,
    1,
    LEAF - 1,
    LEAF,
    LEAF + 1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK - 1,
    2 * CHUNK,
    2 * CHUNK + 1,
];

const NAMES: [&str; 9] = [
    "two words.txt",
    " blanks at both ends ",
    "žluťoučký kůň.pdf",
    "日本語.txt",
    "👩‍👩‍👧.png",
    "a/b/c.txt",
    "it's \"quoted\" \\ #1",
    "-dash",
    "...",
];

/// The name as it is typed.
fn quoted(name: &str) -> String {
    let escaped: String = name
        .chars()
        .flat_map(|c| if " '\"\\".contains(c) { vec!['\\', c] } else { vec![c] })
        .collect();
    escaped
}

#[test]
fn files_of_every_length_are_downloaded_and_uploaded() {
    let lab = Lab::of(&["a", "b", "c"]);
    let mut client = lab.client();
    for length in LENGTHS {
        let (name, data) = (format!("of {length}"), bytes(length as u64, length));
        lab.put("a", &name, &data);
        lab.put("b", &name, &data);
        client.run(&format!("download '{name}' a b")).succeeded();
        lab.assert_has("me", &name, &data);
        client.run(&format!("upload '{name}' c")).succeeded();
        lab.assert_has("c", &name, &data);
    }
}

#[test]
fn names_with_blanks_unicode_quotes_and_folders_work() {
    let lab = Lab::of(&["a", "b"]);
    let mut client = lab.client();
    let longest = "ß".repeat(127) + "s";
    assert_eq!(longest.len(), 255);
    let deep = ["d"; 20].join("/");
    for name in NAMES.into_iter().chain([longest.as_str(), deep.as_str()]) {
        lab.put("a", name, name.as_bytes());
        client.run(&format!("download -- {} a", quoted(name))).succeeded();
        lab.assert_has("me", name, name.as_bytes());
        client.run(&format!("upload -- {} b", quoted(name))).succeeded();
        lab.assert_has("b", name, name.as_bytes());
    }
}

#[test]
fn names_that_could_leave_the_folder_are_not_downloaded() {
    let lab = Lab::of(&["a"]);
    fs::write(lab.root().join("a/secret"), b"secret").unwrap();
    let mut client = lab.client();
    let too_long = "x".repeat(256);
    for name in [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "../",
        ".",
        "..",
        ".peershare/catalog",
        "a\tb",
        &too_long,
    ] {
        let outcome = client.run(&format!("download '{name}'")).is(ExitStatus::Usage);
        assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
        assert!(lab.visible("me").is_empty());
    }
}

/// Names as they stand in JSON.
const REFUSED: [&str; 12] = [
    "",
    "/etc/passwd",
    "../secret",
    "a/../../secret",
    "a/./b",
    "a//b",
    "a/",
    ".peershare/catalog",
    "a\\u0000b",
    "a\\nb",
    "a\\u001b[31mb",
    "..",
];

#[test]
fn a_server_refuses_such_names_when_they_are_sent_all_the_same() {
    let lab = Lab::of(&["a"]);
    fs::write(lab.root().join("a/secret"), b"secret").unwrap();
    let root = manifest("x", b"").root();
    for name in REFUSED {
        for header in [
            format!(r#"{{"type":"describe","name":"{name}"}}"#),
            format!(
                r#"{{"type":"offer","name":"{name}","length":0,"chunk_size":16384,"root":"{root}"}}"#
            ),
            format!(r#"{{"type":"list","after":"{name}"}}"#),
        ] {
            let mut speaker = Speaker::introduced(&lab, "a");
            speaker.send_header(&header);
            match speaker.next::<Response>() {
                None | Some(Response::Error(_)) => {}
                Some(other) => panic!("{other:?} to {header}"),
            }
        }
    }
    assert!(lab.visible("a").is_empty());
    lab.put("a", "x", b"x");
    lab.client().run("download x").succeeded();
}

#[test]
fn a_server_does_not_follow_links_that_leave_its_folder() {
    let lab = Lab::of(&["a"]);
    let outside = lab.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    symlink(&outside, lab.folder("a").join("out")).unwrap();
    symlink(outside.join("secret"), lab.folder("a").join("direct")).unwrap();
    symlink("/etc/passwd", lab.folder("a").join("passwd")).unwrap();
    let mut client = lab.client();
    for name in ["out/secret", "direct", "passwd"] {
        let outcome = client.run(&format!("download {name}"));
        assert_ne!(outcome.status, ExitStatus::Success, "{outcome:?}");
        let subject = Subject::Name(name.parse().unwrap());
        let answer = Speaker::introduced(&lab, "a")
            .ask(&Request::Describe { subject, wait_ms: 0, digests_up_to: 0 }, &[]);
        let Response::Error(refusal) = answer else { panic!("{answer:?}") };
        assert_eq!(refusal.code, ErrorCode::Refused, "{refusal:?}");
    }
    let listing = client.run("filelist").is(ExitStatus::Incomplete);
    let listing = listing.tells("passwd: a link that leads out of the folder");
    assert!(!listing.out.contains("secret") && listing.out.is_empty(), "{listing:?}");
}

#[test]
fn nothing_is_received_through_a_link_that_leaves_the_folder() {
    let lab = Lab::of(&["a", "b"]);
    let outside = lab.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir_all(lab.folder("me")).unwrap();
    symlink(&outside, lab.folder("me").join("out")).unwrap();
    symlink(&outside, lab.folder("b").join("out")).unwrap();
    lab.put("a", "out/x", b"x");
    let mut client = lab.client();
    client.run("download out/x a").is(ExitStatus::Refused).tells("leads out of the served folder");
    // The uploader has it in a real folder.
    let outcome = lab.client_at("a").run("upload out/x b").is(ExitStatus::Refused);
    outcome.tells("leads out of the served folder");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn links_within_the_folder_are_served_like_files() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "real/x", b"within");
    symlink("real/x", lab.folder("a").join("alias")).unwrap();
    lab.client().run("download alias").succeeded();
    lab.assert_has("me", "alias", b"within");
}
