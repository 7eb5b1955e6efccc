//! Peers of an earlier release, which know nothing of what came since, with peers of this one.
//!
//! What they say was recorded between programs of that release; what they understood is told there
//! too, so that nothing is sent to them that they would take for something else.

mod peer;
mod recorded;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::lab::{Lab, eventually};
use peer::{Older, Side, TIME};
use recorded::{Frame, recorded};

/// Puts files of the recordings, with their times and modes, into the folder of a peer.
fn put(lab: &Lab, peer: &str, names: &[&str]) {
    let time = UNIX_EPOCH + Duration::from_nanos(TIME as u64);
    for name in names {
        lab.put(peer, name, &recorded().files[*name]);
        let path = lab.folder(peer).join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    for folder in ["d/b", "d", "e/b", "e"] {
        if let Ok(folder) = File::open(lab.folder(peer).join(folder)) {
            folder.set_permissions(Permissions::from_mode(0o755)).unwrap();
            folder.set_modified(time).unwrap();
        }
    }
}

#[track_caller]
fn assert_has(lab: &Lab, peer: &str, names: &[&str]) {
    names.iter().for_each(|name| lab.assert_has(peer, name, &recorded().files[*name]));
}

const SERVED: [&str; 4] = ["f", "d/a", "d/b/c", "d/large"];
const FOLDER: [&str; 3] = ["e/a", "e/b/c", "e/large"];

#[test]
fn the_older_peer_of_these_tests_answers_as_the_older_program_did() {
    let lab = Lab::of(&[]);
    let older = Older::with(&lab, "p1", &SERVED);
    let titles = ["download of a file", "download of a folder", "list", "by hand"];
    let scenes = recorded().scenes.iter();
    let scenes: Vec<_> =
        scenes.filter(|scene| titles.iter().any(|title| scene.title.starts_with(title))).collect();
    assert_eq!(scenes.len(), 5);
    for scene in scenes {
        let (requests, answers): (Vec<&Frame>, Vec<&Frame>) =
            scene.frames.iter().partition(|frame| frame.opener);
        assert_eq!(requests.len(), answers.len());
        for (request, expected) in requests.iter().zip(answers) {
            let (header, payload) = older.answer(&request.header, &request.payload, "").unwrap();
            assert_eq!(header, expected.header, "to {}", request.header);
            if payload.starts_with(b"[") {
                let json = |bytes| serde_json::from_slice::<Value>(bytes).unwrap();
                assert_eq!(json(&payload), json(&expected.payload), "to {}", request.header);
            } else {
                assert!(payload == expected.payload, "to {}", request.header);
            }
        }
    }
}

#[test]
fn what_was_recorded_is_understood_and_what_would_be_misread_is_noticed() {
    for scene in &recorded().scenes {
        for Frame { header, payload, .. } in &scene.frames {
            let sides = [true, false].map(|it| recorded().understands(it, header, payload.len()));
            assert!(
                sides.contains(&Ok(true)) || header["type"] == "sing" || header["type"] == "cut"
            );
        }
    }
    let understands = |header: Value, payload| recorded().understands(true, &header, payload);
    assert_eq!(understands(json!({"type": "gather", "new": 1}), 64), Ok(true));
    assert_eq!(understands(json!({"type": "new", "root": 7}), 9), Ok(false));
    assert!(understands(json!({"type": "gather"}), 8193).is_err());
    let read = json!({"type": "read", "root": "00", "chunk": "first", "chunk_size": 1});
    assert!(understands(read, 0).is_err());
    assert!(understands(json!({"type": "read", "root": "00", "chunk": 1}), 0).is_err());
    assert!(understands(json!({"type": "report", "report": "new"}), 0).is_err());
    assert!(recorded().understands(false, &json!({"type": "new"}), 0).is_err());
}

#[test]
fn a_file_and_a_folder_are_downloaded_from_an_older_server() {
    let mut lab = Lab::of(&["p1"]);
    let older = Older::with(&lab, "p1", &SERVED);
    older.stand_in(&mut lab);
    let mut client = lab.client();
    client.run("filelist p1").succeeded().prints("d/large").prints("f");
    client.run("download f p1").succeeded();
    client.run("download d/ p1").succeeded();
    client.run("ping p1").succeeded();
    older.check();
    assert_has(&lab, "me", &SERVED);
}

#[test]
fn an_older_server_and_one_of_this_release_are_sources_of_one_download() {
    let mut lab = Lab::of(&["p1", "p2"]);
    put(&lab, "p2", &SERVED);
    let older = Older::with(&lab, "p1", &SERVED);
    older.stand_in(&mut lab);
    let mut client = lab.client();
    client.run("download f").succeeded();
    client.run("download d/").succeeded();
    older.check();
    assert_has(&lab, "me", &SERVED);
    assert!(older.was_asked().contains("describe"), "{:?}", older.was_asked());
}

#[test]
fn a_file_and_a_folder_are_uploaded_to_an_older_server() {
    let mut lab = Lab::of(&["p1"]);
    let older = Older::with(&lab, "p1", &[]);
    older.stand_in(&mut lab);
    put(&lab, "me", &["u"]);
    put(&lab, "me", &FOLDER);
    let mut client = lab.client();
    client.run("upload u p1").succeeded().prints("uploaded u");
    client.run("upload e/ p1").succeeded().prints("uploaded e/: 3 files");
    older.check();
    eventually("it has both", || older.has("u") && older.has("e/large"));
}

#[test]
fn an_older_server_takes_part_in_the_swarm_of_an_upload() {
    let mut lab = Lab::of(&["p1", "p2"]);
    let older = Older::with(&lab, "p1", &[]);
    older.stand_in(&mut lab);
    put(&lab, "me", &["v"]);
    lab.client().run("upload v").succeeded().prints("p1: uploaded v").prints("p2: uploaded v");
    older.check();
    assert!(older.has("v"));
    assert_has(&lab, "p2", &["v"]);
}

#[test]
fn a_folder_goes_to_an_older_server_and_one_of_this_release_at_once() {
    let mut lab = Lab::of(&["p1", "p2"]);
    let older = Older::with(&lab, "p1", &[]);
    older.stand_in(&mut lab);
    put(&lab, "me", &FOLDER);
    lab.client().run("upload e/").succeeded().prints("p1: uploaded e/").prints("p2: uploaded e/");
    older.check();
    assert_has(&lab, "p2", &FOLDER);
}

#[test]
fn an_older_client_lists_and_downloads_from_a_server_of_this_release() {
    let lab = Lab::of(&["p1"]);
    put(&lab, "p1", &SERVED);
    SERVED.iter().for_each(|name| lab.hash("p1", name));
    let older = Older::with(&lab, "me", &[]);
    let titles = ["download of a file", "download of a folder", "list"];
    for scene in &recorded().scenes {
        if titles.iter().any(|title| scene.title.starts_with(title)) {
            older.connect("p1").play(&scene.frames).unwrap();
        }
    }
    older.check();
}

/// The older client answers what it is asked, until it hears the end of what it gives.
fn give(side: &mut Side, peer: &str) -> Value {
    loop {
        let Frame { header, payload, .. } = side.receive().unwrap();
        match header["report"].as_str() {
            Some("finished" | "failed" | "folder_finished") => return header,
            _ => side.answer(&header, &payload, peer).unwrap(),
        }
    }
}

/// Offers something to a peer, as recorded, and gives it.
fn upload(older: &Older, title: &str, peer: &str) -> Value {
    let frames = &recorded().scene(title).frames;
    let accepted = frames.iter().position(|frame| frame.header["type"] == "accepted").unwrap();
    let mut side = older.connect(peer);
    side.play(&frames[..=accepted]).unwrap();
    side.turn();
    give(&mut side, peer)
}

#[test]
fn an_older_client_uploads_a_file_and_a_folder_to_a_server_of_this_release() {
    let lab = Lab::of(&["p1"]);
    let older = Older::with(&lab, "me", &["u", "e/a", "e/b/c", "e/large"]);
    let end = upload(&older, "upload of a file, me->p1", "p1");
    assert_eq!(end["report"], "finished");
    let end = upload(&older, "upload of a folder, me->p1", "p1");
    let counts = ["received", "bytes", "here", "failed"].map(|name| end[name].as_u64().unwrap());
    assert_eq!(counts, [3, 4_194_612, 0, 0]);
    older.check();
    assert_has(&lab, "p1", &["u"]);
    assert_has(&lab, "p1", &FOLDER);
}

#[test]
fn an_older_client_uploads_a_file_to_two_servers_of_this_release_at_once() {
    let lab = Lab::of(&["p1", "p2"]);
    let older = Older::with(&lab, "me", &["v"]);
    std::thread::scope(|scope| {
        for peer in ["p1", "p2"] {
            let older = &older;
            scope.spawn(move || {
                let title = format!("upload of a file to two, me->{peer}");
                assert_eq!(upload(older, &title, peer)["report"], "finished");
            });
        }
    });
    older.check();
    assert_has(&lab, "p1", &["v"]);
    assert_has(&lab, "p2", &["v"]);
    assert!(older.was_asked().contains("next"), "{:?}", older.was_asked());
}
