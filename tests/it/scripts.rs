//! What scripts are told: objects that fit their description, exit codes, progress without a
//! terminal.

use std::fs;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use super::client_program::out_of;
use super::lab::{CHUNK, DEADLINE, LONG, bytes, eventually};
use super::programs::{Running, Site, relay};

/// What a command says with `--json`, every line of which fits the description.
#[track_caller]
fn said(site: &Site, words: &[&str], code: i32) -> Vec<Value> {
    said_by(site, "me", words, code)
}

/// The same of a client whose folder is that of a peer.
#[track_caller]
fn said_by(site: &Site, peer: &str, words: &[&str], code: i32) -> Vec<Value> {
    let schema = serde_json::from_str(include_str!("../../docs/client-json.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut client = assert_cmd::Command::from_std(site.client_command_of(peer));
    let done = client.arg("--json").args(words).timeout(DEADLINE).assert().code(code);
    let lines = out_of(&done);
    let objects: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for object in &objects {
        assert!(schema.is_valid(object), "{object}: {:?}", schema.iter_errors(object).next());
    }
    let summary = objects.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["exit"]),
        (&"summary".into(), &code.into()),
        "{summary}"
    );
    assert!(done.get_output().stderr.is_empty(), "{done}");
    objects
}

#[test]
fn every_command_tells_programs_what_it_did() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    site.put("a", "x \u{202e}y", &bytes(1, 1000));
    site.put("a", "d/1", b"1");
    site.put("a", "d/2", b"22");
    site.put("me", "up", b"up");
    let done = said(&site, &["download", "x \u{202e}y"], 0);
    let done = done.iter().find(|said| said["event"] == "transferred").unwrap();
    assert_eq!((&done["name"], &done["bytes"]), (&"x \u{202e}y".into(), &1000.into()), "{done}");
    assert_eq!(done["sources"][0]["peer"], "a");
    let listed = said(&site, &["filelist", "x*"], 0);
    assert_eq!((&listed[0]["size"], &listed[0]["peers"][0]), (&1000.into(), &"a".into()));
    assert_eq!(listed[0]["id"].as_str().unwrap().len(), 64);
    let folder = said(&site, &["download", "d/"], 0);
    let folder = folder.iter().find(|said| said["event"] == "transferred").unwrap();
    assert_eq!((&folder["files"], &folder["bytes"]), (&2.into(), &3.into()), "{folder}");
    let planned = said(&site, &["upload", "up", "a", "--dry-run"], 0);
    assert_eq!(planned[0]["event"], "planned", "{planned:?}");
    let up = said(&site, &["upload", "up", "a"], 0);
    assert_eq!(
        (&up[0]["direction"], &up[0]["peer"], &up[0]["files"]),
        (&"upload".into(), &"a".into(), &1.into())
    );
    let again = said(&site, &["upload", "up", "a"], 0);
    assert_eq!((&again[0]["there"], &again[0]["bytes"]), (&1.into(), &0.into()));
}

#[test]
fn mistakes_and_failures_are_objects_too() {
    let site = Site::new();
    site.list_peers(&[("a", 1)]);
    let failed = said(&site, &["download", "x"], 3);
    assert!(failed.iter().any(|said| said["event"] == "error"), "{failed:?}");
    let unknown = said(&site, &["filelist", "@nobody"], 2);
    assert!(unknown[0]["text"].as_str().unwrap().contains("no peer is in group"), "{unknown:?}");
}

#[test]
fn peers_are_up_down_or_others_and_scripts_are_told_which() {
    let site = Site::new();
    let a = site.server("a");
    site.put("a", "x", &bytes(1, 1000));
    // b's line leads to a's server.
    let port = a.port;
    let text = format!("a 127.0.0.1 {port}\nb localhost {port}\nc 127.0.0.1 1\n");
    std::fs::write(site.path("peer_settings.txt"), text).unwrap();
    let looked = said(&site, &["peers"], 7);
    let of =
        |id: &str| looked.iter().find(|said| said["event"] == "peer" && said["id"] == id).unwrap();
    assert_eq!(
        (&of("a")["standing"], &of("a")["files"], &of("a")["bytes"]),
        (&"up".into(), &1.into(), &1000.into())
    );
    assert!(of("a")["free"].as_u64().unwrap() > 0 && of("a")["trip_ms"].as_f64().unwrap() > 0.0);
    assert!(of("a")["version"].as_str().unwrap().starts_with("peershare/"));
    assert_eq!(of("b")["standing"], "another");
    assert_eq!((&of("c")["standing"], &of("c")["files"]), (&"down".into(), &Value::Null));
    assert_eq!(said(&site, &["ping", "a"], 0)[0]["standing"], "up");
    said(&site, &["ping", "c"], 3);
}

#[test]
fn what_is_searched_for_is_found_by_name_in_any_case_and_by_id() {
    let site = Site::new();
    let (a, b) = (site.server("a"), {
        site.list_peers(&[("a", 1), ("b", 2)]);
        site.server("b")
    });
    site.put("a", "old/Annual REPORT 1.txt", b"one");
    site.put("b", "reports/2.txt", b"two");
    site.put("b", "other", b"three");
    site.list_peers(&[("a", a.port), ("b", b.port), ("down", 1)]);
    let found = |words: &[&str], code| -> Vec<String> {
        let said = said(&site, &[&["search"], words].concat(), code);
        let found = said.iter().filter(|said| said["event"] == "found");
        let mut names: Vec<String> =
            found.map(|said| said["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(found(&["report"], 7), ["old/Annual REPORT 1.txt", "reports/2.txt"]);
    assert_eq!(found(&["report", "a"], 0), ["old/Annual REPORT 1.txt"]);
    assert_eq!(found(&["report", "-x", "down", "-x", "old"], 0), ["reports/2.txt"]);
    assert_eq!(found(&["nowhere", "a", "b"], 4), Vec::<String>::new());
    // An id is known once somebody has asked for the file.
    site.client(&["download", "other", "b"]).success();
    let listed = site.client(&["filelist", "other", "b"]).success();
    let id = out_of(&listed).split('\t').nth(2).unwrap().to_owned();
    assert_eq!(found(&[&id, "a", "b"], 0), ["other"]);
}

#[test]
fn who_has_a_part_is_found_and_what_is_begun_is_shown_and_cleared() {
    let (site, data) = (Site::new(), bytes(1, 8 * LONG));
    site.put("a", "x.bin", &data);
    let a = site.server("a");
    site.list_peers(&[("a", a.port), ("b", 2)]);
    let b = site.server("b");
    let (held, holding) = crossbeam_channel::bounded(1);
    let (resume, resumed) = crossbeam_channel::bounded::<()>(0);
    let slow = relay(Arc::new(Mutex::new(a.port)), 40 * CHUNK as u64, held, resumed);
    site.list_peers(&[("a", slow), ("b", b.port)]);
    let mut client = site.client_command_of("b");
    let mut client = Running::start(client.args(["--peer", "b", "download", "x.bin", "a"]));
    holding.recv_timeout(DEADLINE).unwrap();
    site.list_peers(&[("a", a.port), ("b", b.port)]);
    let parts = |words: &[&str], code| -> Vec<Value> {
        said_by(&site, "b", words, code)
            .into_iter()
            .filter(|said| said["event"] == "part")
            .collect()
    };
    let begun = parts(&["parts"], 0);
    assert_eq!((begun.len(), &begun[0]["in_use"]), (1, &true.into()), "{begun:?}");
    assert_eq!(parts(&["parts", "--clean"], 5)[0]["cleared"], false, "what is in use stays");
    eventually("the search finds the part", || {
        let said = said(&site, &["search", "x.bin"], 0);
        said.iter().any(|said| {
            said["peer"] == "b" && (1..100).contains(&said["percent"].as_i64().unwrap())
        })
    });
    client.signal(Signal::INT);
    drop(resume);
    client.ends();
    let begun = parts(&["parts", "x*"], 0);
    assert_eq!(
        (&begun[0]["name"], &begun[0]["in_use"]),
        (&"x.bin".into(), &false.into()),
        "{begun:?}"
    );
    assert!(begun[0]["good"].as_u64().unwrap() > 0, "{begun:?}");
    assert!(parts(&["parts", "--clean", "--older", "1h"], 0).is_empty());
    assert!(parts(&["parts", "--clean", "other"], 0).is_empty());
    assert_eq!(parts(&["parts", "--clean", "x.bin"], 0)[0]["cleared"], true);
    assert!(parts(&["parts"], 0).is_empty());
}

#[test]
fn what_lies_elsewhere_is_published_without_overwriting() {
    let site = Site::new();
    site.put("away", "photos/1.jpg", &bytes(1, 5000));
    site.put("away", "photos/deep/2.jpg", &bytes(2, 5000));
    let publish = |words: &[&str], code| said(&site, &[&["publish"], words].concat(), code);
    let path = site.path("away/photos/1.jpg");
    let done = publish(&[path.to_str().unwrap(), "one.jpg"], 0);
    assert_eq!((&done[0]["files"], &done[0]["bytes"]), (&1.into(), &5000.into()), "{done:?}");
    assert_eq!(site.read("me", "one.jpg").unwrap(), bytes(1, 5000));
    publish(&[site.path("away/photos/deep/2.jpg").to_str().unwrap(), "one.jpg"], 5);
    assert_eq!(site.read("me", "one.jpg").unwrap(), bytes(1, 5000), "nothing is replaced");
    std::os::unix::fs::symlink("nowhere", site.path("away/photos/link")).unwrap();
    let done = publish(&[site.path("away/photos").to_str().unwrap()], 8);
    let told = done.iter().find(|said| said["event"] == "published").unwrap();
    assert_eq!((&told["files"], &told["left_out"]), (&2.into(), &1.into()), "{done:?}");
    assert_eq!(site.read("me", "photos/deep/2.jpg").unwrap(), bytes(2, 5000));
    fs::remove_file(site.path("away/photos/link")).unwrap();
    let again = publish(&[site.path("away/photos").to_str().unwrap()], 0);
    assert_eq!((&again[0]["files"], &again[0]["there"]), (&0.into(), &2.into()), "{again:?}");
    publish(&[site.path("gone").to_str().unwrap()], 4);
    let listed = said(&site, &["files", "photos"], 0);
    assert_eq!(listed.iter().filter(|said| said["event"] == "file").count(), 2, "{listed:?}");
    let verified = said(&site, &["verify"], 0);
    assert_eq!(
        (&verified[0]["fresh"], &verified[0]["failed"]),
        (&3.into(), &0.into()),
        "{verified:?}"
    );
    assert_eq!(said(&site, &["verify"], 0)[0]["same"], 3);
    said(&site, &["verify", "gone"], 4);
    said(&site, &["search", ""], 2);
    let some = said(&site, &["files", "gone", "one.jpg"], 7);
    assert!(some.iter().any(|said| said["event"] == "file"), "{some:?}");
}

#[test]
fn help_is_an_object_too() {
    let site = Site::new();
    for words in [&["help"][..], &["help", "upload"], &["upload", "--help"]] {
        let told = said(&site, words, 0);
        assert!(told[0]["text"].as_str().unwrap().contains("--dry-run") || words == ["help"]);
        assert_eq!((&told[0]["event"], told.len()), (&"help".into(), 2), "{told:?}");
    }
}

#[test]
fn mistakes_are_told_to_programs_too() {
    let site = Site::new();
    for words in ["bogus", "filelist --nope", "--peer nobody peers", "publish"] {
        let told = said(&site, &words.split(' ').collect::<Vec<_>>(), 2);
        assert_eq!(told[0]["event"], "error", "{words}: {told:?}");
    }
    let mut client = assert_cmd::Command::from_std(site.client_command());
    let piped = client.arg("--json").write_stdin("bogus\n#FILES \"a\n#FILES\n#FILES &\n");
    let done = piped.timeout(DEADLINE).assert().code(2);
    let told: Vec<Value> =
        out_of(&done).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let exits: Vec<_> = told
        .iter()
        .filter(|said| said["event"] == "summary")
        .map(|said| said["exit"].as_u64().unwrap())
        .collect();
    assert_eq!(exits[..3], [2, 2, 0], "{told:?}");
    fs::write(site.path("peer_settings.txt"), "no such line").unwrap();
    assert_eq!(said(&site, &["peers"], 2)[0]["event"], "error");
}
