//! A peer that was in use goes away and comes back: the transfer goes on.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peershare::client::ExitStatus;
use rustix::process::Signal;

use super::lab::{CHUNK, DEADLINE, LONG, Lab, bytes};
use super::programs::{Running, Site, relay};

/// Longer than any of these takes.
const LONG_ENOUGH: Duration = DEADLINE;

/// From the middle of the next transfer on, the peer is away, until the client says that it waits
/// for it.
fn goes_away_and_comes_back(lab: &Lab, client: &super::lab::Client, peer: &str) {
    let (network, host, id) = (lab.network.clone(), lab.host(peer), peer.parse().unwrap());
    let (err, traffic) = (client.err.clone(), client.traffic.clone());
    client.traffic.after(5 * CHUNK as u64, move || {
        network.detach(&id);
        traffic.interrupt();
        thread::spawn(move || {
            err.wait_for("waiting");
            network.attach(id, move |stream| host.serve(stream));
        });
    });
}

/// From the middle of the next transfer on, the peer is away for good.
fn goes_away(lab: &Lab, client: &super::lab::Client, peer: &str) {
    let (network, id, traffic) =
        (lab.network.clone(), peer.parse().unwrap(), client.traffic.clone());
    client.traffic.after(3 * CHUNK as u64, move || {
        network.detach(&id);
        traffic.interrupt();
    });
}

#[test]
fn a_download_goes_on_when_its_only_source_is_back() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let mut client = lab.client_that_endures(LONG_ENOUGH);
    goes_away_and_comes_back(&lab, &client, "a");
    let outcome = client.run("download x").succeeded().tells("a is back after");
    assert!(outcome.received < (LONG + 4 * CHUNK) as u64, "{} bytes came", outcome.received);
    lab.assert_has("me", "x", &data);
}

#[test]
fn an_upload_goes_on_when_its_target_is_back() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("me", "x", &data);
    let mut client = lab.client_that_endures(LONG_ENOUGH);
    goes_away_and_comes_back(&lab, &client, "a");
    client.run("upload x a").succeeded().prints("a: uploaded x");
    lab.assert_has("a", "x", &data);
}

#[test]
fn folders_go_on_in_both_directions() {
    let lab = Lab::of(&["a"]);
    for number in 0..40 {
        lab.put("a", &format!("d/{number}"), &bytes(number, CHUNK / 2));
        lab.put("me", &format!("e/{number}"), &bytes(number, CHUNK / 2));
    }
    for (command, owner, taker, folder) in
        [("download d/", "a", "me", "d"), ("upload e/ a", "me", "a", "e")]
    {
        let mut client = lab.client_that_endures(LONG_ENOUGH);
        goes_away_and_comes_back(&lab, &client, "a");
        client.run(command).succeeded();
        for number in 0..40 {
            let name = format!("{folder}/{number}");
            assert_eq!(lab.read(taker, &name), lab.read(owner, &name), "{command}: {name}");
        }
    }
}

#[test]
fn a_peer_that_stays_away_is_given_up_in_the_end_and_the_same_command_continues() {
    let mut lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let mut client = lab.client_that_endures(Duration::from_millis(1500));
    goes_away(&lab, &client, "a");
    let outcome = client.run("download x").is(ExitStatus::Unreachable).tells("gave up after 1 s");
    outcome.tells("the same command continues");
    lab.start("a");
    lab.client().run_when_free("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn nothing_waits_for_a_lost_source_while_there_are_others() {
    let lab = Lab::of(&["a", "b"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    lab.put("b", "x", &data);
    let mut client = lab.client_that_endures(LONG_ENOUGH);
    goes_away(&lab, &client, "a");
    // It would take a minute if it waited.
    client.run("download x").succeeded();
    lab.assert_has("me", "x", &data);
}

#[test]
fn a_peer_that_was_never_there_is_not_waited_for() {
    let mut lab = Lab::of(&["a"]);
    lab.put("me", "x", b"x");
    lab.kill("a");
    for command in ["download x", "upload x a", "filelist a"] {
        lab.client_that_endures(LONG_ENOUGH).run(command).is(ExitStatus::Unreachable);
    }
}

#[test]
fn a_server_that_is_killed_and_started_again_is_used_again() {
    let (site, data) = (Site::new(), bytes(1, LONG));
    site.put("a", "x", &data);
    let a = site.server("a");
    let (held, holding) = crossbeam_channel::bounded(1);
    let (killed, kill) = crossbeam_channel::bounded::<()>(0);
    let behind = Arc::new(Mutex::new(a.port));
    let port = relay(behind.clone(), 4 * CHUNK as u64, held, kill);
    site.list_peers(&[("a", port)]);
    let mut client = Running::start(site.client_command().args(["download", "x"]));
    holding.recv_timeout(DEADLINE).unwrap();
    a.running.signal(Signal::KILL);
    drop(a);
    let again = site.server("a");
    site.list_peers(&[("a", port)]);
    *behind.lock().unwrap() = again.port;
    drop(killed);
    assert!(client.ends().success());
    assert!(site.read("me", "x").unwrap() == data);
}

#[test]
fn ctrl_c_ends_the_waiting_at_once() {
    // More than sockets hold, so that it cannot all have left the server when that is killed.
    let (site, data) = (Site::new(), bytes(1, 8 * LONG));
    site.put("a", "x", &data);
    let a = site.server("a");
    let (held, holding) = crossbeam_channel::bounded(1);
    let (killed, kill) = crossbeam_channel::bounded::<()>(0);
    let port = relay(Arc::new(Mutex::new(a.port)), 4 * CHUNK as u64, held, kill);
    site.list_peers(&[("a", port)]);
    let mut client = Running::start(site.client_command().args(["download", "x"]));
    holding.recv_timeout(DEADLINE).unwrap();
    a.running.signal(Signal::KILL);
    drop(a);
    drop(killed);
    client.wait_for("waiting for a");
    client.signal(Signal::INT);
    client.wait_for("the same command continues");
    assert_eq!(client.ends().code(), Some(130));
}
