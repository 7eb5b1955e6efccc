//! What scripts are told: objects that fit their description, exit codes, progress without a terminal.

use serde_json::Value;

use super::client_program::out_of;
use super::lab::bytes;
use super::programs::Site;

/// What a command says with `--json`, every line of which fits the description.
#[track_caller]
fn said(site: &Site, words: &[&str], code: i32) -> Vec<Value> {
    let schema = serde_json::from_str(include_str!("../../docs/client-json.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let done = site.client(&[&["--json"], words].concat()).code(code);
    let lines = out_of(&done);
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for object in &objects {
        assert!(schema.is_valid(object), "{object}: {:?}", schema.iter_errors(object).next());
    }
    let summary = objects.last().unwrap();
    assert_eq!((&summary["event"], &summary["exit"]), (&"summary".into(), &code.into()), "{summary}");
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
