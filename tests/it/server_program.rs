//! The program `server`: how it starts, what keeps it from starting, how it ends.

use std::fs;
use std::process::Command;

use peershare::transport::tcp::Listener;
use rustix::process::Signal;

use super::lab::{DEADLINE, bytes, eventually};
use super::programs::{Running, Site};

/// The program says one line and ends with exit code 2.
#[track_caller]
fn refuses(command: Command, words: &[&str]) {
    let assert = assert_cmd::Command::from_std(command).timeout(DEADLINE).assert().code(2);
    let err = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert_eq!(err.lines().count(), 1, "{err}");
    words.iter().for_each(|word| assert!(err.contains(word), "no {word:?} in {err}"));
}

#[test]
fn it_says_who_it_is_where_it_listens_and_what_it_serves() {
    let site = Site::new();
    let server = site.server("a");
    let folder = site.path("a").canonicalize().unwrap();
    let expected =
        format!("peer a listens on 127.0.0.1:{} and serves {}", server.port, folder.display());
    assert!(server.line.contains(&expected), "{}", server.line);
    assert!(folder.is_dir(), "the served folder was not made");
}

#[test]
fn a_signal_ends_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let site = Site::new();
        let mut server = site.server("a");
        site.list_peers(&[("a", server.port)]);
        site.client(&["filelist"]).success();
        server.running.signal(signal);
        assert!(server.running.ends().success());
    }
}

#[test]
fn a_signal_ends_it_while_somebody_is_connected() {
    let site = Site::new();
    let mut server = site.server("a");
    let mut connected = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    server.running.signal(Signal::TERM);
    assert!(server.running.ends().success());
    connected.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(std::io::Read::read(&mut connected, &mut [0]).unwrap_or(0), 0);
}

#[test]
fn a_port_that_is_taken_is_one_line() {
    let site = Site::new();
    let taken = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let port = taken.address().unwrap().port();
    site.list_peers(&[("a", port)]);
    refuses(
        site.server_command("a"),
        &["cannot listen on a at 127.0.0.1", &port.to_string(), "another program listens there"],
    );
}

#[test]
fn an_address_of_another_machine_is_no_word_about_another_server() {
    let site = Site::new();
    // An address for documentation, which no machine has (RFC 5737).
    fs::write(site.path("peer_settings.txt"), "a 192.0.2.1 7001\n").unwrap();
    refuses(
        site.server_command("a"),
        &["192.0.2.1:7001", "no address of this machine", "--listen"],
    );
}

#[test]
fn a_server_without_descriptors_says_so_once_and_goes_on_when_there_are_some() {
    let site = Site::new();
    site.list_peers(&[("a", 1)]);
    site.put("a", "x", b"x");
    let usual = site.server_command("a");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -n 24; exec \"$@\"", "sh"])
        .arg(usual.get_program())
        .args(usual.get_args());
    let mut running =
        Running::start(shell.args(["--listen", "127.0.0.1:0"]).env_remove("RUST_LOG"));
    let line = running.wait_for("listens on 127.0.0.1:");
    let port: u16 =
        line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let held: Vec<_> =
        (0..40).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    running.wait_for("away: ");
    drop(held);
    site.list_peers(&[("a", port)]);
    // The sessions of those that left take a moment to end.
    eventually("the server serves again", || {
        let mut client = assert_cmd::Command::from_std(site.client_command());
        client.args(["download", "x"]).timeout(DEADLINE).ok().is_ok()
    });
    running.signal(Signal::TERM);
    assert!(running.ends().success());
    let again = running.rest().iter().filter(|line| line.contains("away: ")).count();
    assert_eq!(again, 0, "it was said again");
}

#[test]
fn settings_that_are_gone_are_told_once() {
    let site = Site::new();
    let mut server = site.server("a");
    fs::remove_file(site.path("peer_settings.txt")).unwrap();
    server.running.wait_for("the peers stay as they were");
    site.list_peers(&[("a", 9), ("b", 8)]);
    server.running.wait_for("b at 127.0.0.1:8");
    server.running.signal(Signal::TERM);
    server.running.ends();
    assert!(server.running.rest().iter().all(|line| !line.contains("stay as they were")));
}

#[test]
fn a_second_server_on_one_folder_is_refused_whatever_its_id() {
    let site = Site::new();
    site.list_peers(&[("a", 1), ("b", 2)]);
    let mut first = site.server("a");
    let second = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command
            .args(["b", "--listen", "127.0.0.1:0", "--served-files", "a"])
            .current_dir(site.path(""));
        command
    };
    refuses(second(), &["a (process ", " serves ", "already"]);
    first.running.signal(Signal::KILL);
    first.running.ends();
    Running::start(&mut second()).wait_for("listens on");
}

#[test]
fn a_server_that_only_its_own_machine_can_reach_says_so() {
    for (settings, words) in [
        ("a 127.0.0.1 0000\nb 192.0.2.1 7001\n", "only this machine can reach 127.0.0.1"),
        ("a 0.0.0.0 0000\nb 127.0.0.1 7001\n", "leads other peers nowhere"),
    ] {
        let site = Site::new();
        // Another test may have the port before the server has it.
        let said = (0..10).any(|_| {
            let any = ["127.0.0.1:0".parse().unwrap()];
            let free = Listener::bind(&any).unwrap().address().unwrap().port().to_string();
            fs::write(site.path("peer_settings.txt"), settings.replace("0000", &free)).unwrap();
            let server = Running::start(&mut site.server_command("a"));
            server.wait_for_any(&[words, "Address already in use"]).contains(words)
        });
        assert!(said, "no port stays free");
    }
}

#[test]
fn an_edit_of_the_own_line_is_said_to_need_a_restart() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", 9), ("b", 10)]);
    server.running.signal(Signal::HUP);
    server.running.wait_for("the settings now say a at 127.0.0.1:9; restart the server");
    site.list_peers(&[("b", 10)]);
    server.running.signal(Signal::HUP);
    server.running.wait_for("a is not listed any more");
}

#[test]
fn a_peer_that_is_not_in_the_settings_is_one_line() {
    let site = Site::new();
    site.list_peers(&[("a", 1), ("b", 2)]);
    refuses(site.server_command("c"), &["no peer c in", "it lists: a, b"]);
}

#[test]
fn a_folder_that_cannot_be_served_is_one_line() {
    let site = Site::new();
    fs::write(site.path("a"), b"a file").unwrap();
    let mut command = site.server_command("a");
    command.args(["--listen", "127.0.0.1:0"]);
    refuses(command, &[site.path("a").to_str().unwrap()]);
}

#[test]
fn a_bad_line_of_the_settings_is_one_line() {
    let site = Site::new();
    for (text, words) in [
        ("a 127.0.0.1 1\nb 127.0.0.1 x\n", "line 2: \"x\" is not a port"),
        ("a 127.0.0.1 1\na 127.0.0.1 2\n", "line 2: peer id a is already taken"),
        ("a 127.0.0.1 1\nb 127.0.0.1 1\n", "line 2: 127.0.0.1 port 1 is already taken"),
        ("a\n", "line 1: found \"a\"; expected: peerID address port"),
    ] {
        fs::write(site.path("peer_settings.txt"), text).unwrap();
        refuses(site.server_command("a"), &["peer_settings.txt, ", words]);
    }
    fs::remove_file(site.path("peer_settings.txt")).unwrap();
    refuses(site.server_command("a"), &["cannot read", "peer_settings.txt"]);
}

#[test]
fn settings_are_found_in_the_folder_above() {
    let site = Site::new();
    let below = site.path("a");
    fs::create_dir(&below).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["a", "--listen", "127.0.0.1:0"]).current_dir(&below);
    command.env_remove("PEERSHARE_PEER_SETTINGS").env_remove("RUST_LOG");
    Running::start(&mut command).wait_for("served_files");
}

#[test]
fn an_edit_of_the_settings_is_noticed_while_it_runs() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port), ("new", 9)]);
    server.running.wait_for("new at 127.0.0.1:9");
    fs::write(site.path("peer_settings.txt"), "nonsense").unwrap();
    server.running.wait_for("the peers stay as they were");
}

#[test]
fn a_hangup_makes_it_read_the_settings_again_and_go_on() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    server.running.signal(Signal::HUP);
    server.running.wait_for("was read again");
    fs::write(site.path("peer_settings.txt"), "nonsense").unwrap();
    server.running.signal(Signal::HUP);
    server.running.wait_for("the peers stay as they were");
    site.list_peers(&[("a", server.port)]);
    site.client(&["filelist"]).success();
}

#[test]
fn read_only_refuses_uploads_and_serves() {
    let site = Site::new();
    site.put("a", "x", b"x");
    site.put("me", "y", b"y");
    let mut command = site.server_command("a");
    let running = Running::start(command.args(["--listen", "127.0.0.1:0", "--read-only"]));
    let line = running.wait_for("read-only");
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    site.list_peers(&[("a", port)]);
    site.client(&["upload", "y"]).code(5);
    site.client(&["download", "x"]).success();
    assert!(site.read("a", "y").is_none());
}

#[test]
fn a_server_and_a_client_may_use_the_same_folder_at_once() {
    let site = Site::new();
    let (a, b) = (site.server("a"), {
        site.list_peers(&[("a", 1), ("me", 2)]);
        site.server("me")
    });
    site.list_peers(&[("a", a.port), ("me", b.port)]);
    let data = bytes(1, 1_000_000);
    site.put("me", "x", &data);
    site.client(&["--peer", "me", "upload", "x"]).success();
    assert!(site.read("a", "x").is_some_and(|found| found == data));
    site.put("a", "y", &data);
    site.client(&["--peer", "me", "download", "y"]).success();
    assert!(site.read("me", "y").is_some_and(|found| found == data));
}

#[test]
fn settings_that_become_a_fifo_stop_nothing() {
    let site = Site::new();
    let server = site.server("a");
    site.put("a", "x", b"x");
    site.list_peers(&[("a", server.port)]);
    let settings = site.path("peer_settings.txt");
    fs::rename(&settings, site.path("good.txt")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &settings, rustix::fs::FileType::Fifo, 0o644.into(), 0)
        .unwrap();
    server.running.wait_for("it is no regular file; the peers stay as they were");
    fs::remove_file(&settings).unwrap();
    fs::rename(site.path("good.txt"), &settings).unwrap();
    site.client(&["download", "x"]).success();
}

#[test]
fn it_can_be_checked_before_it_is_started() {
    let site = Site::new();
    site.put("a", "x", b"12345");
    let check = |words: &[&str]| {
        let mut command = assert_cmd::Command::from_std(site.server_command("a"));
        command.args(words).timeout(DEADLINE).assert()
    };
    let done = check(&["--check", "--listen", "127.0.0.1:0"]).success();
    let report = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
    for words in
        ["0 other peers", "peer: a at 127.0.0.1:1\n", "listen: 127.0.0.1:", "1 files, 5 bytes"]
    {
        assert!(report.contains(words), "{report}");
    }
    let server = site.server("a");
    let told = check(&["--check", "--listen", "127.0.0.1:0"]).code(2);
    assert!(String::from_utf8_lossy(&told.get_output().stderr).contains("(process "), "{told}");
    drop(server);
    check(&["--check", "--listen", "192.0.2.1:1"]).code(2);
    let mut nobody = assert_cmd::Command::new(env!("CARGO_BIN_EXE_server"));
    let page = nobody.arg("--man").timeout(DEADLINE).assert().success();
    assert!(String::from_utf8_lossy(&page.get_output().stdout).contains(".TH server 1"));
    let mut nobody = assert_cmd::Command::new(env!("CARGO_BIN_EXE_server"));
    nobody.args(["--completions", "bash"]).timeout(DEADLINE).assert().success();
    let mut nobody = assert_cmd::Command::new(env!("CARGO_BIN_EXE_server"));
    nobody.timeout(DEADLINE).assert().code(2);
}
