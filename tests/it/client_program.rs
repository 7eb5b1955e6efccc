//! The program `client`: once, from a pipe, interrupted, killed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::{Arc, Mutex};

use peershare::wire::{Request, Response};
use rustix::process::Signal;

use super::lab::{CHUNK, DEADLINE, LONG, bytes, eventually, manifest};
use super::programs::{Running, Site, relay};
use super::rogue::{Deed, Rogue};
use super::speaker::Speaker;

pub fn out_of(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

pub fn err_of(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

#[test]
fn one_command_ends_with_a_code_that_scripts_rely_on() {
    let site = Site::new();
    let (a, b) = (site.server("a"), Rogue::new("z", b"z", |_, _| Deed::Honest).listen());
    site.list_peers(&[("a", a.port), ("b", b)]);
    site.put("a", "x", b"x of a");
    site.put("me", "w", b"w of me");
    let done = site.client(&["download", "x", "a"]).code(0);
    assert!(out_of(&done).starts_with("downloaded x: 6 B"), "{}", out_of(&done));
    assert!(err_of(&done).is_empty(), "{}", err_of(&done));
    assert_eq!(site.read("me", "x").unwrap(), b"x of a");
    let listed = site.client(&["filelist"]).code(0);
    assert!(out_of(&listed).contains("x") && out_of(&listed).contains("z"));
    site.client(&["download"]).code(2);
    site.client(&["download", "x", "nobody"]).code(2);
    site.client(&["download", "nothing"]).code(4);
    site.client(&["upload", "nothing"]).code(4);
    site.put("me", "x", b"another x");
    site.client(&["download", "x"]).code(5);
    site.client(&["download", "x", "--replace"]).code(0);
    // The rogue takes no uploads.
    site.client(&["upload", "w"]).code(7);
    site.client(&["upload", "w", "b"]).code(5);
    drop(a);
    site.client(&["filelist"]).code(7);
    site.client(&["filelist", "a"]).code(3);
    site.client(&["download", "x", "a"]).code(3);
}

#[test]
fn bad_settings_are_one_line() {
    let site = Site::new();
    fs::write(site.path("peer_settings.txt"), "a 127.0.0.1 70000\n").unwrap();
    let refused = site.client(&["filelist"]).code(2);
    assert_eq!(err_of(&refused).lines().count(), 1);
    assert!(
        err_of(&refused).contains("peer_settings.txt, line 1: \"70000\" is not a port"),
        "{}",
        err_of(&refused)
    );
    fs::remove_file(site.path("peer_settings.txt")).unwrap();
    site.client(&["filelist"]).code(2);
    // Help needs none.
    assert!(out_of(&site.client(&["help"]).code(0)).contains("#DOWNLOAD"));
}

#[test]
fn commands_come_from_a_pipe() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("a", "two words", b"2");
    let run = |input: &str| {
        let mut command = assert_cmd::Command::from_std(site.client_command());
        command.write_stdin(input).timeout(DEADLINE).assert()
    };
    let done = run("#FILELIST\n\ndownload 'two words'\n#quit\nfilelist nobody\n").code(0);
    assert!(out_of(&done).contains("downloaded two words: 1 B"), "{}", out_of(&done));
    let failed = run("download nothing\ndownload 'two words'\n").code(4);
    assert!(out_of(&failed).contains("two words is already here"), "{}", out_of(&failed));
    run("filelist\nfrobnicate\n").code(2);
    run("").code(0);
}

#[test]
fn an_edit_of_the_settings_is_noticed_between_two_commands_of_a_pipe() {
    let site = Site::new();
    let server = site.server("a");
    site.put("a", "x", b"x");
    site.list_peers(&[("other", server.port)]);
    let mut client = Running::start(&mut site.client_command());
    client.type_line("filelist a");
    client.wait_for("unknown peer a; known: other");
    site.list_peers(&[("other", 1), ("a", server.port)]);
    client.type_line("filelist a");
    assert_eq!(client.ends().code(), Some(2));
    assert!(client.stdout().contains('x'));
}

/// A peer that gives eight chunks of the long file `x` and then nothing more.
fn gives_eight(data: &[u8]) -> Rogue {
    Rogue::after("x", data, 8, || Deed::Silence)
}

/// Blocks until eight chunks are on the disk of the client.
fn wait_for_eight(site: &Site, data: &[u8]) {
    let part = site.path("me/.peershare/parts").join(manifest("x", data).root().to_string());
    let written = || fs::metadata(&part).map_or(0, |part| part.blocks() * 512);
    eventually("eight chunks are there", || written() >= 8 * CHUNK as u64);
}

/// The same command, with a good peer.
fn continues(site: &Site, data: &[u8]) {
    let good = Rogue::new("x", data, |_: &Request, _| Deed::Honest);
    site.list_peers(&[("a", good.listen())]);
    let done = site.client(&["download", "x"]).code(0);
    assert!(
        err_of(&done).contains("are here already, from an earlier attempt"),
        "{}",
        err_of(&done)
    );
    assert!(good.reads() <= 13, "{} chunks were fetched again", good.reads() - 12);
    assert!(site.read("me", "x").unwrap() == data);
}

#[test]
fn ctrl_c_ends_a_transfer_and_the_same_command_continues() {
    let (site, data) = (Site::new(), bytes(1, LONG));
    site.list_peers(&[("a", gives_eight(&data).listen())]);
    let mut client = Running::start(site.client_command().args(["download", "x"]));
    wait_for_eight(&site, &data);
    client.signal(Signal::INT);
    client.wait_for("the same command continues");
    assert_eq!(client.ends().code(), Some(130));
    assert!(site.read("me", "x").is_none());
    continues(&site, &data);
}

#[test]
fn a_client_that_is_killed_continues_when_it_is_started_again() {
    let (site, data) = (Site::new(), bytes(1, LONG));
    site.list_peers(&[("a", gives_eight(&data).listen())]);
    let mut client = Running::start(site.client_command().args(["download", "x"]));
    wait_for_eight(&site, &data);
    client.signal(Signal::KILL);
    assert!(!client.ends().success());
    assert!(site.read("me", "x").is_none());
    continues(&site, &data);
}

#[test]
fn a_server_that_is_killed_midway_is_made_up_for_by_another() {
    let (site, data) = (Site::new(), bytes(1, LONG));
    site.put("a", "x", &data);
    let a = site.server("a");
    let (held, holding) = crossbeam_channel::bounded(1);
    let (killed, kill) = crossbeam_channel::bounded::<()>(0);
    let relayed = relay(Arc::new(Mutex::new(a.port)), 4 * CHUNK as u64, held, kill.clone());
    // The other peer gives nothing before the first one is dead.
    let other = Rogue::good_after("x", &data, move || {
        let _ = kill.recv_timeout(DEADLINE);
    });
    site.list_peers(&[("a", relayed), ("b", other.listen())]);
    let mut client = Running::start(site.client_command().args(["download", "x"]));
    holding.recv_timeout(DEADLINE).unwrap();
    a.running.signal(Signal::KILL);
    drop(a);
    drop(killed);
    assert!(client.ends().success());
    let said = client.stdout();
    assert!(said.contains("downloaded x") && said.contains("b "), "{said}");
    assert!(site.read("me", "x").unwrap() == data);
}

#[test]
fn a_target_that_is_killed_midway_continues_when_it_is_started_again() {
    let (site, data) = (Site::new(), bytes(1, LONG));
    site.put("me", "x", &data);
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    // An offer by hand, of which eight chunks come.
    let offered = manifest("x", &data);
    let stream = peershare::transport::dial::dial(
        &[([127, 0, 0, 1], a.port).into()],
        DEADLINE,
        &peershare::transport::Cancel::new(),
    );
    let mut speaker = Speaker::over(Box::new(stream.unwrap())).introduce();
    speaker.offer(&offered);
    speaker.serve(&data, 8);
    let part = site.path("a/.peershare/parts").join(offered.root().to_string());
    eventually("eight chunks are there", || {
        fs::metadata(&part).is_ok_and(|part| part.blocks() * 512 >= 8 * CHUNK as u64)
    });
    a.running.signal(Signal::KILL);
    drop(a);
    assert!(site.read("a", "x").is_none());
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.client(&["upload", "x"]).code(0);
    assert!(site.read("a", "x").unwrap() == data);
}

/// Stops a program and lets it go on, as Ctrl-Z and `fg` do. That the signals came is certain, that
/// they met a wait is not; so it is done several times.
fn suspend_and_continue(running: &Running) {
    for _ in 0..5 {
        running.signal(Signal::STOP);
        running.wait_until_stopped();
        running.signal(Signal::CONT);
    }
}

#[test]
fn a_client_that_is_suspended_goes_on_while_it_gives_and_while_it_takes() {
    let (site, data) = (Site::new(), bytes(1, LONG));
    for (command, owner, taker) in [("download", "a", "me"), ("upload", "me", "a")] {
        let name = command;
        site.put(owner, name, &data);
        let a = site.server("a");
        let (held, holding) = crossbeam_channel::bounded(1);
        let (resumed, resume) = crossbeam_channel::bounded::<()>(0);
        site.list_peers(&[("a", relay(Arc::new(Mutex::new(a.port)), 100, held, resume))]);
        let mut client = Running::start(site.client_command().args([command, name]));
        holding.recv_timeout(DEADLINE).unwrap();
        // The client waits for the other side now, and so does the server.
        suspend_and_continue(&client);
        suspend_and_continue(&a.running);
        drop(resumed);
        assert!(client.ends().success(), "{command}");
        assert!(site.read(taker, name).is_some_and(|came| came == data));
    }
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_arrives_is_allowed_no_more_than_the_own_umask_allows() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("a", "large", &bytes(1, LONG));
    site.put("a", "d/e/small", b"x");
    for (name, bits) in [("large", 0o6777), ("d/e/small", 0o4666), ("d/e", 0o1777), ("d", 0o775)] {
        fs::set_permissions(site.path("a").join(name), fs::Permissions::from_mode(bits)).unwrap();
    }
    for wanted in ["large", "d/"] {
        let client = site.client_command();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "umask 027; exec \"$@\"", "sh"])
            .arg(client.get_program())
            .args(client.get_args());
        let mut shell = assert_cmd::Command::from_std(shell);
        shell.args(["download", wanted]).timeout(DEADLINE).assert().success();
    }
    let came = ["large", "d/e/small", "d/e", "d"].map(|name| mode(&site.path("me").join(name)));
    assert_eq!(came, [0o750, 0o640, 0o750, 0o750]);
}

#[test]
fn a_file_beyond_the_limit_of_file_sizes_is_an_error_with_words() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("a", "large", &bytes(1, LONG));
    let client = site.client_command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -f 100; exec \"$@\"", "sh"])
        .arg(client.get_program())
        .args(client.get_args());
    let mut shell = assert_cmd::Command::from_std(shell);
    let failed = shell.args(["download", "large"]).timeout(DEADLINE).assert().code(9);
    assert!(err_of(&failed).contains("ulimit -f"), "{}", err_of(&failed));
}

#[test]
fn every_command_ends_whoever_answers_and_however_much_is_said() {
    let site = Site::new();
    let a = site.server("a");
    site.put("a", "x.txt", b"x");
    site.put("me", "w.txt", b"w");
    let port = a.port;
    for peers in [
        format!("a 127.0.0.1 {port}\n"),
        // The older dialect, of which -v tells every line while a listing is written.
        format!("a 127.0.0.1 {port} classic\n"),
        format!("a 127.0.0.1 {port} classic\nb localhost {port}\nc 127.0.0.1 1\n"),
    ] {
        fs::write(site.path("peer_settings.txt"), &peers).unwrap();
        for said in [&["-q"][..], &[], &["-v"], &["-vv"]] {
            for words in [
                &["filelist"][..],
                &["download", "x.txt", "--replace"],
                &["upload", "w.txt"],
                &["help"],
            ] {
                let mut client = assert_cmd::Command::from_std(site.client_command());
                let output = client.args(said).args(words).timeout(DEADLINE).output().unwrap();
                assert!(
                    output.status.code().is_some(),
                    "{said:?} {words:?} did not end with {peers:?}"
                );
                if said == ["-q"]
                    && output.status.success()
                    && words[0] != "filelist"
                    && words[0] != "help"
                {
                    assert!(
                        output.stdout.is_empty() && output.stderr.is_empty(),
                        "{words:?}: {output:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_a_listing_prints_is_what_a_download_takes() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    let names =
        ["a\\b.txt", "two  words", "it's", "$'x'", "\u{202e}fdp.exe", "-x", "ünïcödé", "#x"];
    for name in names {
        site.put("a", name, name.as_bytes());
    }
    let listed = out_of(&site.client(&["filelist"]).code(0));
    assert_eq!(listed.lines().count(), names.len());
    assert!(!listed.contains('\u{202e}'), "{listed}");
    for line in listed.lines() {
        let name = line.split('\t').next().unwrap();
        site.client(&["download", "--", name]).code(0);
    }
    for name in names {
        assert_eq!(site.read("me", name).as_deref(), Some(name.as_bytes()), "{name}");
    }
    let raw = out_of(&site.client(&["filelist", "-0"]).code(0));
    let mut found: Vec<&str> =
        raw.split_terminator('\0').map(|line| line.split('\t').next().unwrap()).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn another_peer_at_the_address_gets_nothing_and_counts_for_nobody() {
    let site = Site::new();
    site.list_peers(&[("a", 1), ("b", 2)]);
    let b = site.server("b");
    site.put("b", "x", b"x of b");
    site.put("me", "secret", b"for a");
    site.put("me", "folder/f", b"for a");
    // A new lease: the line of a leads to b.
    site.list_peers(&[("a", b.port)]);
    for words in
        [&["upload", "secret", "a"][..], &["upload", "folder", "a"], &["download", "x", "a"]]
    {
        let refused = site.client(words).code(5);
        let words = "b answers there, not a; correct the line of a in the peer settings";
        assert!(err_of(&refused).contains(words), "{}", err_of(&refused));
    }
    let listed = site.client(&["filelist", "a"]).code(5);
    assert!(
        out_of(&listed).is_empty() && err_of(&listed).contains("not a;"),
        "{}",
        out_of(&listed)
    );
    assert!(site.read("b", "secret").is_none() && site.read("b", "folder/f").is_none());
    assert!(site.read("me", "x").is_none());
    // Among others it is left out.
    let text = format!("a 127.0.0.1 {0}\nb localhost {0}\n", b.port);
    fs::write(site.path("peer_settings.txt"), text).unwrap();
    let downloaded = site.client(&["download", "x"]).code(0);
    assert!(err_of(&downloaded).contains("not a;"), "{}", err_of(&downloaded));
    assert!(out_of(&downloaded).contains("from b 100%"), "{}", out_of(&downloaded));
}

#[test]
fn an_upload_from_anywhere_makes_no_served_folder() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("elsewhere", "file", b"1");
    site.put("elsewhere", "folder/x", b"2");
    for what in ["elsewhere/file", "elsewhere/folder"] {
        site.client(&["upload", site.path(what).to_str().unwrap()]).success();
    }
    site.client(&["filelist"]).success();
    assert_eq!(site.read("a", "folder/x").unwrap(), b"2");
    assert!(!site.path("me").exists());
    site.client(&["download", "file"]).success();
    assert_eq!(site.read("me", "file").unwrap(), b"1");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--served-files", "me/file", "download", "folder/"]).current_dir(site.path(""));
    let refused = command.timeout(DEADLINE).assert().code(2);
    assert!(err_of(&refused).contains("is no folder; name a folder with --served-files"));
}

#[test]
fn what_was_received_with_read_only_folders_is_brought_up_to_date() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    let close = |name: &str, bits| {
        fs::set_permissions(site.path("a").join(name), fs::Permissions::from_mode(bits)).unwrap();
    };
    let download = |words: &[&str]| {
        let mut client = assert_cmd::Command::from_std(site.ordinary_client_command());
        client.args(words).timeout(DEADLINE).assert()
    };
    fs::create_dir_all(site.path("me")).unwrap();
    site.put("a", "t/ro/deep/x", b"1");
    close("t/ro/deep", 0o555);
    close("t/ro", 0o555);
    download(&["download", "t/"]).success();
    assert_eq!(mode(&site.path("me/t/ro")), 0o555);

    close("t/ro", 0o755);
    close("t/ro/deep", 0o755);
    site.put("a", "t/ro/deep/x", b"22");
    site.put("a", "t/ro/deep/new", b"3");
    site.put("a", "t/ro/more/y", b"4");
    site.put("a", "t/ro/large", &bytes(1, LONG));
    close("t/ro/deep", 0o555);
    close("t/ro", 0o555);
    download(&["download", "t/", "--replace"]).success();
    download(&["download", "t/ro/large"]).success();
    assert_eq!(site.read("me", "t/ro/deep/x").unwrap(), b"22");
    assert_eq!(site.read("me", "t/ro/deep/new").unwrap(), b"3");
    assert_eq!(site.read("me", "t/ro/more/y").unwrap(), b"4");
    assert!(site.read("me", "t/ro/large").unwrap() == bytes(1, LONG));
    assert_eq!([mode(&site.path("me/t/ro")), mode(&site.path("me/t/ro/deep"))], [0o555, 0o555]);

    // A single file into a closed folder leaves it closed, too.
    close("t/ro", 0o755);
    close("t/ro/deep", 0o755);
    site.put("a", "t/ro/deep/single", b"5");
    download(&["download", "t/ro/deep/single"]).success();
    assert_eq!(mode(&site.path("me/t/ro/deep")), 0o555);
}

#[test]
fn ctrl_c_ends_an_upload() {
    let site = Site::new();
    site.put("me", "x", &bytes(1, LONG));
    let (accepted, waiting) = crossbeam_channel::bounded(1);
    let target = Rogue::new("none", b"", move |_, _| {
        let _ = accepted.try_send(());
        Deed::Say(Response::Accepted { have: 0 }, vec![])
    });
    site.list_peers(&[("a", target.listen())]);
    let mut client = Running::start(site.client_command().args(["upload", "x"]));
    waiting.recv_timeout(DEADLINE).unwrap();
    client.signal(Signal::INT);
    client.wait_for("the same command continues");
    assert_eq!(client.ends().code(), Some(130));
}
