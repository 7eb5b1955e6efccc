//! Uploads to so many peers that chunks go by way of some of them.

use peershare::client::ExitStatus;
use peershare::config;

use super::lab::{Lab, bytes};

const TARGETS: usize = config::SWARM_MEMBERS + 7;

/// As many chunks as half of a hundred, and few enough bytes for so many targets.
const LENGTH: usize = 3 << 20;

/// So many targets, and the file beside them.
fn lab(data: &[u8]) -> (Lab, Vec<String>) {
    let names: Vec<String> = (0..TARGETS).map(|number| format!("p{number}")).collect();
    let lab = Lab::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    lab.put("me", "x", data);
    (lab, names)
}

#[test]
fn many_targets_are_one_swarm_in_which_each_fetches_from_few() {
    let data = bytes(1, LENGTH);
    let (lab, names) = lab(&data);
    let outcome = lab.client().run("upload x").succeeded();
    // Whatever is late on a busy machine is had from the uploader, but never all by everybody.
    let most = (TARGETS * LENGTH) as u64;
    assert!(outcome.sent < most, "{} bytes were sent", outcome.sent);
    for name in &names {
        lab.assert_has(name, "x", &data);
        let dialled = lab.dialled(name);
        assert!(dialled.len() <= TARGETS / 3, "{name} fetched from {dialled:?}");
    }
}

#[test]
fn one_of_many_that_dies_half_way_does_not_keep_the_others_from_the_file() {
    let data = bytes(2, LENGTH);
    let (lab, names) = lab(&data);
    let (network, dying) = (lab.network.clone(), lab.host("p7"));
    let mut client = lab.client();
    client.traffic.after(LENGTH as u64 / 2, move || {
        network.detach(&"p7".parse().unwrap());
        dying.end_sessions();
    });
    client.run("upload x").is(ExitStatus::SomePeersFailed);
    names.iter().filter(|name| *name != "p7").for_each(|name| lab.assert_has(name, "x", &data));
}
