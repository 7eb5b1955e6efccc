//! What was verified stays: the same command continues where it stopped, whoever died.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use peershare::client::ExitStatus;
use peershare::wire::ErrorCode;
use rustix::process::Signal;

use super::lab::{CHUNK, Client, DEADLINE, LONG, Lab, MESSAGES, bytes, manifest};
use super::programs::{Running, Site, relay};
use super::rogue::{Deed, Rogue, refuse};
use super::speaker::Speaker;

/// A lab whose client has got eight chunks of `x` and then lost its only source.
fn eight_chunks_here(data: &[u8]) -> (Lab, Client) {
    let mut lab = Lab::of(&["a"]);
    lab.rogue("a", &Rogue::after("x", data, 8, || refuse(ErrorCode::Internal)));
    let mut client = lab.client();
    client.run("download x").is(ExitStatus::Failed).tells("no source is left: a: it refused");
    assert!(lab.visible("me").is_empty(), "a file is visible before it is complete");
    lab.put("a", "x", data);
    lab.start("a");
    (lab, client)
}

#[track_caller]
fn fetches_only_the_other_twelve(client: &mut Client) {
    let outcome = client
        .run_when_free("download x")
        .succeeded()
        .tells("2.0 MiB are here already, from an earlier attempt");
    assert!(outcome.received < 12 * CHUNK as u64 + MESSAGES, "{outcome:?}");
}

#[test]
fn the_same_command_continues_when_all_sources_were_lost() {
    let data = bytes(1, LONG);
    let (lab, mut client) = eight_chunks_here(&data);
    fetches_only_the_other_twelve(&mut client);
    lab.assert_has("me", "x", &data);
}

#[test]
fn the_same_command_continues_after_a_restart() {
    let data = bytes(1, LONG);
    let (lab, client) = eight_chunks_here(&data);
    drop(client);
    fetches_only_the_other_twelve(&mut lab.client());
    lab.assert_has("me", "x", &data);
}

#[test]
fn chunks_that_were_damaged_on_disk_meanwhile_are_fetched_again() {
    let data = bytes(1, LONG);
    let (lab, client) = eight_chunks_here(&data);
    drop(client);
    let parts = lab.folder("me").join(".peershare/parts");
    let part = parts.join(manifest("x", &data).root().to_string());
    let mut received = std::fs::read(&part).unwrap();
    // The first chunks came first.
    received[3 * CHUNK] ^= 1;
    std::fs::write(&part, received).unwrap();
    std::fs::remove_file(part.with_extension("journal")).ok();
    lab.client().run_when_free("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_source_that_is_killed_midway_and_comes_back_is_used_again() {
    let mut lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let mut client = lab.client();
    let (host, network) = (lab.host("a"), lab.network.clone());
    client.traffic.after(5 * CHUNK as u64, move || {
        network.detach(&"a".parse().unwrap());
        host.end_sessions();
    });
    client.run("download x").is(ExitStatus::Unreachable);
    assert!(lab.visible("me").is_empty());
    lab.start("a");
    let outcome =
        lab.client().run_when_free("download x").succeeded().tells("from an earlier attempt");
    assert!(outcome.received < (LONG - CHUNK) as u64, "{outcome:?}");
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_content_continues_under_another_name() {
    let data = bytes(1, LONG);
    let (lab, mut client) = eight_chunks_here(&data);
    std::fs::rename(lab.folder("a").join("x"), lab.folder("a").join("y")).unwrap();
    lab.hash("a", "y");
    let outcome = client.run_when_free("download y").succeeded();
    assert!(outcome.received < 12 * CHUNK as u64 + MESSAGES, "{outcome:?}");
    lab.assert_has("me", "y", &data);
}

#[test]
fn an_upload_continues_when_the_client_was_lost_midway() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.offer(&manifest("x", &data));
    speaker.serve(&data, 8);
    drop(speaker);
    continues_upload(&lab, &data);
}

#[test]
fn an_upload_continues_when_the_target_was_killed_midway() {
    let mut lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("me", "x", &data);
    let mut client = lab.client();
    let host = lab.host("a");
    client.traffic.after(5 * CHUNK as u64, move || {
        host.end_sessions();
    });
    let outcome = client.run("upload x a");
    assert_ne!(outcome.status, ExitStatus::Success, "{outcome:?}");
    assert!(lab.visible("a").is_empty());
    lab.kill("a");
    lab.start("a");
    continues_upload(&lab, &data);
}

/// Uploads `x`, of which the peer `a` has a part, as soon as `a` has noticed the end of the earlier
/// upload.
#[track_caller]
fn continues_upload(lab: &Lab, data: &[u8]) {
    lab.put("me", "x", data);
    let mut client = lab.client();
    let outcome = client.run_when_free("upload x a").succeeded().prints("needed no sending");
    assert!(outcome.sent < (LONG - CHUNK) as u64, "{outcome:?}");
    lab.assert_has("a", "x", data);
}

#[test]
fn bad_chunks_do_not_count_as_received() {
    let data = bytes(1, LONG);
    let mut lab = Lab::of(&["a"]);
    lab.rogue("a", &Rogue::after("x", &data, 0, || Deed::Corrupt));
    let mut client = lab.client();
    client.run("download x").is(ExitStatus::Integrity);
    lab.put("a", "x", &data);
    lab.start("a");
    let outcome = client.run_when_free("download x").succeeded();
    assert!(!outcome.err.contains("earlier attempt"), "{outcome:?}");
    lab.assert_has("me", "x", &data);
}

#[test]
fn what_has_the_permission_bits_of_its_source_already_is_continued() {
    // Larger than what sockets hold, so that not all of it is here.
    let (site, data) = (Site::new(), bytes(1, 8 * LONG));
    site.put("a", "x", &data);
    let a = site.server("a");
    let (held, holding) = crossbeam_channel::bounded(1);
    let (resume, resumed) = crossbeam_channel::bounded::<()>(0);
    let port = relay(Arc::new(Mutex::new(a.port)), 4 * CHUNK as u64, held, resumed);
    site.list_peers(&[("a", port)]);
    let mut client = Running::start(site.ordinary_client_command().args(["download", "x"]));
    holding.recv_timeout(DEADLINE).unwrap();
    client.signal(Signal::KILL);
    client.ends();
    drop(resume);
    let part = site.path("me/.peershare/parts").join(manifest("x", &data).root().to_string());
    // As if it had been killed while the complete file was synced.
    fs::set_permissions(&part, fs::Permissions::from_mode(0o400)).unwrap();
    site.list_peers(&[("a", a.port)]);
    let mut client = assert_cmd::Command::from_std(site.ordinary_client_command());
    client.args(["download", "x"]).timeout(DEADLINE).assert().success();
    assert!(site.read("me", "x").unwrap() == data);
}
