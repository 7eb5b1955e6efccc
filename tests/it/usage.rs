//! Mistakes of the user are one line and nothing else; settings may be edited at any time.

use std::fs;

use peershare::client::ExitStatus;

use super::lab::{Lab, bytes};

#[track_caller]
fn one_line(lab: &Lab, typed: &str, words: &str) {
    let outcome = lab.client().run(typed).is(ExitStatus::Usage).tells(words);
    assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
    assert!(outcome.out.is_empty() && outcome.received == 0, "{outcome:?}");
}

#[test]
fn mistakes_are_one_line_that_says_what_was_expected() {
    let lab = Lab::of(&["a", "b"]);
    lab.put("a", "x", b"x");
    one_line(&lab, "download x nobody", "unknown peer nobody; known: a, b");
    one_line(&lab, "upload x a nobody", "unknown peer nobody; known: a, b");
    lab.client()
        .run("filelist c")
        .is(ExitStatus::Usage)
        .tells("unknown peer c; known: a, b; and no file");
    one_line(&lab, "downlaod x", "did you mean #DOWNLOAD?");
    one_line(&lab, "frobnicate", "expected #FILELIST, #UPLOAD, #DOWNLOAD, #SEARCH,");
    one_line(
        &lab,
        "download",
        "<NAME|PEER>... is missing; expected: #DOWNLOAD [OPTIONS] <NAME|PEER>...",
    );
    one_line(&lab, "#UPLOAD", "is missing; expected: #UPLOAD");
    one_line(&lab, "download x --force", "unknown flag \"--force\"");
    one_line(&lab, "download 'x", "line 1: ");
    assert!(lab.visible("me").is_empty());
}

#[test]
fn asking_only_oneself_is_a_mistake() {
    let lab = Lab::of(&["a", "b"]);
    lab.client_at("a").run("filelist a").is(ExitStatus::Usage).tells("a is this peer itself");
}

#[test]
fn commands_are_read_in_any_case_and_without_their_hash() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "x", b"x");
    for line in ["#FileList", "FILELIST a", "#filelist"] {
        lab.client().run(line).succeeded().prints("x");
    }
}

#[test]
fn a_failed_line_does_not_keep_the_next_ones_from_being_done() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "x", &bytes(1, 10));
    let outcome = lab.client().run("\ndownload nothing\ndownload x\nquit\ndownload nothing2\n");
    let outcome = outcome.prints("downloaded x");
    assert!(!outcome.err.contains("nothing2"), "{outcome:?}");
    assert_ne!(outcome.status, ExitStatus::Success);
}

#[test]
fn an_edit_of_the_settings_is_noticed_before_the_next_command() {
    let mut lab = Lab::of(&["a"]);
    let mut client = lab.client();
    client.run("filelist b").is(ExitStatus::Usage).tells("unknown peer b");
    lab.list_peers(&["a", "b"]);
    lab.start("b");
    client.run("filelist b").succeeded();
}

#[test]
fn settings_that_have_become_bad_are_told_and_the_old_ones_stay_in_force() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "x", b"x");
    let mut client = lab.client();
    fs::write(lab.settings(), "a 127.0.0.1 1\nb 127.0.0.1\n").unwrap();
    let outcome = client.run("filelist a").prints("x");
    outcome
        .tells("peer_settings.txt, line 2: found \"b 127.0.0.1\"; expected: peerID address port");
}
