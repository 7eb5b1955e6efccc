//! Uploads to several peers, which fetch from one another what the uploader hands out once.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use peershare::client::ExitStatus;
use peershare::wire::{ErrorCode, Report, Request, Response, encode};

use peershare::content::{ChunkLayout, Manifest};

use super::lab::{LONG, Lab, bytes, eventually, manifest, manifest_cut};
use super::rogue::{Deed, Rogue, refuse};
use super::speaker::Speaker;

/// Long enough for a hundred chunks.
const LENGTH: usize = 8 << 20;

/// The number of MiB that a line gives before these words.
#[track_caller]
fn mib_before(line: &str, words: &str) -> f64 {
    let before = line.split(words).next().and_then(|before| before.strip_suffix(" MiB"));
    let number = before.and_then(|before| before.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no size before {words:?} in {line:?}"))
}

#[test]
fn every_byte_leaves_the_uploader_about_once() {
    let lab = Lab::of(&["a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("a", "x", &data);
    let outcome = lab.client_at("a").run("upload x").succeeded();
    assert!(outcome.sent < LENGTH as u64 * 3 / 2, "{} bytes were sent", outcome.sent);
    // "b: uploaded x: 8.0 MiB in … (…); 2.8 MiB from here, 5.2 MiB from other peers" and so on.
    let from_here: Vec<f64> =
        outcome.out.lines().map(|line| mib_before(line, " from here")).collect();
    let from_others: Vec<f64> =
        outcome.out.lines().map(|line| mib_before(line, " from other peers")).collect();
    assert_eq!(from_here.len(), 3, "{outcome:?}");
    assert!(
        from_here.iter().zip(&from_others).all(|(here, others)| (here + others - 8.0).abs() < 0.11)
    );
    let sent = outcome.sent as f64 / f64::from(1 << 20);
    assert!(from_here.iter().sum::<f64>() < sent + 0.2, "{from_here:?} of {sent}");
    ["b", "c", "d"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn without_a_swarm_every_target_gets_all_from_the_uploader() {
    let lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let outcome = lab.client().run("upload x --no-swarm").succeeded();
    assert!(outcome.sent >= 3 * LENGTH as u64);
    assert!(!outcome.out.contains("other peers"), "{outcome:?}");
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn targets_that_do_not_know_one_another_get_all_from_the_uploader() {
    let mut lab = Lab::of(&[]);
    for peer in ["a", "b", "c"] {
        // Each has settings of its own, in which nobody else stands.
        lab.list_peers(&[peer]);
        lab.start(peer);
    }
    lab.list_peers(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    lab.client().run("upload x").succeeded();
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn a_target_that_dies_half_way_does_not_keep_the_others_from_the_file() {
    let mut lab = Lab::of(&["a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let (network, dying) = (lab.network.clone(), lab.host("d"));
    let mut client = lab.client();
    client.traffic.after(LENGTH as u64 / 2, move || {
        network.detach(&"d".parse().unwrap());
        dying.end_sessions();
    });
    client.run("upload x").is(ExitStatus::SomePeersFailed);
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
    lab.start("d");
    client.run("upload x").succeeded().prints("already serving");
    lab.assert_has("d", "x", &data);
}

#[test]
fn targets_that_have_all_or_half_of_it_already_take_part() {
    let mut lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    lab.put("a", "x", &data);
    let mut interrupted = lab.client();
    let host = lab.host("b");
    interrupted.traffic.after(LENGTH as u64 / 2, move || {
        host.end_sessions();
    });
    interrupted.run("upload x b");
    lab.start("b");
    let outcome = lab.client().run_when_free("upload x").succeeded().prints("a: already serving");
    assert!(outcome.sent < LENGTH as u64 * 5 / 4, "{} bytes were sent", outcome.sent);
    let line = outcome.out.lines().find(|line| line.starts_with("c: ")).unwrap();
    assert!(
        mib_before(line, " from other peers") > 1.0,
        "c has nothing of what b brought: {outcome:?}"
    );
    ["a", "b", "c"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn when_all_are_cut_off_the_targets_keep_what_they_have_and_the_next_upload_continues() {
    let mut lab = Lab::of(&["a", "b"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let mut client = lab.client();
    let hosts = [lab.host("a"), lab.host("b")];
    client.traffic.after(LENGTH as u64 / 2, move || {
        hosts.iter().for_each(|host| {
            host.end_sessions();
        });
    });
    let outcome = client.run("upload x");
    assert!(!outcome.status.is_success());
    ["a", "b"].iter().for_each(|peer| lab.start(peer));
    let outcome = lab.client().run_when_free("upload x").succeeded();
    assert!(outcome.sent < LENGTH as u64 * 3 / 2, "{} bytes were sent again", outcome.sent);
    ["a", "b"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn nobody_is_handed_anything_and_odd_chunk_sizes_are_refused() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LENGTH);
    lab.put("a", "x", &data);
    let root = manifest("x", &data).root();
    lab.client().run("download x").succeeded();
    for (peer, chunk_size, code) in
        [(None, 65536, ErrorCode::Refused), (Some("b"), 3, ErrorCode::BadRequest)]
    {
        let mut speaker = Speaker::greeted(&lab, "a");
        let peer = peer.map(str::to_owned);
        speaker.ask(
            &Request::Hello { peer: peer.clone(), to: None, agent: "speaker".to_owned() },
            &[],
        );
        let answer = speaker.ask(&Request::Next { root, chunk_size, seen: 0, want: true }, &[]);
        assert!(matches!(answer, Response::Error(refusal) if refusal.code == code), "{peer:?}");
    }
}

/// Answers what it is asked until it is told how the upload ended.
fn serve_to_the_end(speaker: &mut Speaker, data: &[u8]) -> Report {
    loop {
        match speaker.request() {
            Request::Report { report: Report::Progress { .. } } => {}
            Request::Report { report } => return report,
            Request::Read { chunk, chunk_size, .. } => {
                let start = chunk as usize * chunk_size as usize;
                let end = data.len().min(start + chunk_size as usize);
                speaker.send(&Response::Chunk { chunk, shared: false }, &data[start..end]);
            }
            other => panic!("{other:?} after an offer"),
        }
    }
}

#[test]
fn a_second_upload_of_a_file_that_is_being_received_joins_the_first() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("me", "x", &data);
    let mut first = Speaker::introduced(&lab, "a");
    first.offer(&manifest("x", &data));
    first.serve(&data, 1);
    let mut second = lab.client();
    let traffic = second.traffic.clone();
    thread::scope(|scope| {
        let joining = scope.spawn(move || second.run("upload x").succeeded());
        eventually("the second gives chunks", || traffic.sent.load(SeqCst) > LONG as u64 / 4);
        assert_eq!(serve_to_the_end(&mut first, &data), Report::Finished);
        let outcome = joining.join().unwrap().prints("a: uploaded x");
        assert!(!outcome.out.contains("there already"), "{outcome:?}");
        assert!(outcome.sent < LONG as u64, "{} bytes were sent", outcome.sent);
    });
    lab.assert_has("a", "x", &data);
}

#[test]
fn an_upload_that_joined_another_goes_on_when_that_one_dies() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("me", "x", &data);
    let mut first = Speaker::introduced(&lab, "a");
    first.offer(&manifest("x", &data));
    let before = first.serve(&data, 4).len() as u64;
    let mut second = lab.client();
    let traffic = second.traffic.clone();
    second.traffic.after(LONG as u64 / 2, move || drop(first));
    let outcome = second.run("upload x").succeeded().prints("a: uploaded x");
    assert!(outcome.sent < LONG as u64, "{} bytes were sent beside {before} chunks", outcome.sent);
    assert!(traffic.sent.load(SeqCst) > LONG as u64 / 2);
    lab.assert_has("a", "x", &data);
}

#[test]
fn an_upload_that_joined_is_told_when_the_transfer_fails() {
    let lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    let (mut first, mut second) = (Speaker::introduced(&lab, "a"), Speaker::introduced(&lab, "a"));
    first.offer(&manifest("x", &data));
    second.offer(&manifest("x", &data));
    drop(first);
    loop {
        match second.request() {
            Request::Report { report: Report::Progress { .. } } => {}
            Request::Report { report } => {
                assert!(
                    matches!(&report, Report::Failed(refusal) if refusal.code == ErrorCode::Integrity)
                );
                break;
            }
            Request::Read { chunk, chunk_size, .. } => {
                let start = chunk as usize * chunk_size as usize;
                second.send(
                    &Response::Chunk { chunk, shared: false },
                    &vec![0; (LONG - start).min(chunk_size as usize)],
                );
            }
            Request::Have { .. } => second.send(&Response::Have, &[]),
            other => panic!("{other:?} after an offer"),
        }
    }
    assert!(lab.visible("a").is_empty());
}

#[test]
fn two_swarms_for_one_file_that_share_targets_both_end_well() {
    let lab = Lab::of(&["a", "b", "c", "d", "e", "f"]);
    let data = bytes(1, LENGTH);
    ["a", "b"].iter().for_each(|peer| lab.put(peer, "x", &data));
    let (mut one, mut other) = (lab.client_at("a"), lab.client_at("b"));
    let (begun, begins) = crossbeam_channel::bounded(1);
    one.traffic.after(LENGTH as u64 / 8, move || begun.send(()).unwrap());
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            begins.recv().unwrap();
            other.run("upload x d e f").succeeded()
        });
        one.run("upload x c d e").succeeded();
        other.join().unwrap();
    });
    ["c", "d", "e", "f"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn another_file_under_a_name_that_is_being_received_is_refused_by_its_id() {
    let lab = Lab::of(&["a", "b"]);
    let (mine, theirs) = (bytes(1, LONG), bytes(2, LONG));
    let mut first = Speaker::introduced(&lab, "a");
    first.offer(&manifest("x", &theirs));
    lab.put("me", "x", &mine);
    let id = manifest("x", &theirs).root().short().to_string();
    let outcome =
        lab.client().run("upload x").is(ExitStatus::SomePeersFailed).prints("b: uploaded x");
    outcome
        .tells(&format!("currently receiving another file of that name ({LONG} bytes, id {id})"));
    assert_eq!(serve_to_the_end(&mut first, &theirs), Report::Finished);
    lab.assert_has("a", "x", &theirs);
    lab.assert_has("b", "x", &mine);
}

#[test]
fn a_target_that_stops_reading_is_given_up_and_the_others_get_what_it_was_handed() {
    let mut lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let root = manifest("x", &data).root();
    let deaf = Rogue::new("none", b"", move |request, _| match request {
        Request::Offer { chunk_size, .. } => {
            let next = Request::Next { root, chunk_size: *chunk_size, seen: 0, want: true };
            let accepted = encode(&Response::Accepted { have: 0 }, 0).unwrap();
            Deed::Deaf([accepted, encode(&next, 0).unwrap().repeat(20)].concat())
        }
        _ => Deed::Silence,
    });
    lab.rogue("c", &deaf.called("c"));
    let outcome = lab
        .client_that_waits(Duration::from_secs(3))
        .run("upload x")
        .is(ExitStatus::SomePeersFailed);
    outcome
        .tells("c at 127.0.0.1:3: x: it stopped answering")
        .prints("a: uploaded x")
        .prints("b: uploaded x");
    ["a", "b"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn a_target_that_passes_on_bad_chunks_is_shunned_and_everybody_gets_the_file() {
    let lab = Lab::of(&["a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let lies = lab.lies("d");
    lab.client().run("upload x").succeeded();
    ["a", "b", "c", "d"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
    // What each of the others had asked for when the first one came, and no more.
    let (told, asked_at_once) = (lies.load(SeqCst), 16);
    assert!((1..=3 * asked_at_once).contains(&told), "{told} bad chunks were sent");
}

#[test]
fn forty_targets_get_the_file_without_a_word_about_it() {
    let names: Vec<String> = (1..=40).map(|number| format!("t{number}")).collect();
    let peers: Vec<&str> = names.iter().map(String::as_str).collect();
    let lab = Lab::of(&peers);
    let data = bytes(1, 1 << 20);
    lab.put("me", "x", &data);
    let outcome = lab.client().run("upload x").succeeded();
    peers.iter().for_each(|peer| lab.assert_has(peer, "x", &data));
    assert!(outcome.sent < 32 << 20, "{} bytes were sent", outcome.sent);
}

#[test]
fn a_target_without_space_refuses_before_any_byte_and_the_others_get_the_file() {
    let mut lab = Lab::of(&["a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("me", "x", &data);
    let full = Rogue::new("none", b"", |request, _| match request {
        Request::Offer { .. } => refuse(ErrorCode::NoSpace),
        _ => Deed::Cut,
    });
    lab.rogue("c", &full);
    let outcome = lab.client().run("upload x").is(ExitStatus::SomePeersFailed);
    assert!(outcome.sent < 2 * LENGTH as u64, "{} bytes were sent", outcome.sent);
    outcome.tells("c at 127.0.0.1:3: x: because").prints("a: uploaded x").prints("b: uploaded x");
    assert_eq!(full.reads(), 0, "nobody turns to a target that takes no part");
    ["a", "b"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
    lab.client().run("upload x c").is(ExitStatus::NoSpace);
}

/// How an upload of that length is cut for a swarm.
const UNIT: u32 = 64 << 10;

/// Uploads `x` from a client at `u`, which dies half-way, when all targets have begun and have
/// turned to others.
fn upload_and_die(lab: &Lab, manifest: &Manifest) {
    let mut dying = lab.client_at("u");
    let traffic = dying.traffic.clone();
    let part = |peer| lab.folder(peer).join(".peershare/parts").join(manifest.root().to_string());
    let places = ["a", "b", "c", "d"].map(|peer| (part(peer), lab.folder(peer).join("x")));
    let dialled = lab.all_dialled();
    dying.traffic.after(manifest.length() / 2, move || {
        let has_met =
            |peer: &str| dialled.lock().unwrap().get(peer).is_some_and(|met| !met.is_empty());
        let begun = || {
            places.iter().all(|(part, whole)| part.exists() || whole.exists())
                && ["a", "b", "c", "d"].into_iter().all(has_met)
        };
        eventually("all targets have begun", begun);
        traffic.cut();
    });
    let outcome = dying.run("upload x a b c d");
    assert!(!outcome.status.is_success(), "{outcome:?}");
}

#[test]
fn when_the_uploader_dies_the_targets_share_what_they_have_and_the_next_upload_sends_the_rest() {
    let lab = Lab::of(&["u", "a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("u", "x", &data);
    let cut = manifest_cut("x", &data, ChunkLayout::new(LENGTH as u64, UNIT).unwrap());
    upload_and_die(&lab, &cut);
    let kept = ["a", "b", "c", "d"].map(|peer| lab.kept(peer, &cut));
    assert!(kept.iter().all(|other| *other == kept[0]), "{:?}", kept.map(|set| set.len()));
    let missing = u64::from(cut.layout().count() - kept[0].len()) * u64::from(UNIT);
    assert!(missing < LENGTH as u64 * 2 / 3, "only {} chunks were kept", kept[0].len());
    let outcome = lab.client_at("u").run_when_free("upload x a b c d").succeeded();
    assert!(outcome.sent < missing + LENGTH as u64 / 8, "{} bytes for {missing}", outcome.sent);
    ["a", "b", "c", "d"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}

#[test]
fn after_the_uploader_died_a_download_continues() {
    let lab = Lab::of(&["u", "a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("u", "x", &data);
    let cut = manifest_cut("x", &data, ChunkLayout::new(LENGTH as u64, UNIT).unwrap());
    upload_and_die(&lab, &cut);
    let kept = lab.kept("a", &cut);
    let outcome = lab.client_at("a").run_when_free("download x u").succeeded();
    let missing = u64::from(cut.layout().count() - kept.len()) * u64::from(UNIT);
    // The download cuts the file four times as coarse.
    assert!(
        outcome.received < missing + LENGTH as u64 / 4,
        "{} bytes for {missing}",
        outcome.received
    );
    lab.assert_has("a", "x", &data);
}

#[test]
fn an_upload_to_targets_that_wait_for_one_another_joins_them() {
    let lab = Lab::of(&["u", "a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("u", "x", &data);
    let cut = manifest_cut("x", &data, ChunkLayout::new(LENGTH as u64, UNIT).unwrap());
    upload_and_die(&lab, &cut);
    // At once, while they still exchange what there is.
    let outcome = lab.client_at("u").run_when_free("upload x a b c d").succeeded();
    assert!(outcome.sent < 2 * LENGTH as u64, "{} bytes were sent again", outcome.sent);
    ["a", "b", "c", "d"].iter().for_each(|peer| lab.assert_has(peer, "x", &data));
}
