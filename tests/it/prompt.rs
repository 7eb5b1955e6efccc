//! A session at the prompt, on a pseudo-terminal.

use std::fs;
use std::sync::{Arc, Mutex};

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect};
use peershare::transport::tcp::Listener;

use super::lab::{CHUNK, DEADLINE, LONG, bytes};
use super::programs::{Running, Site, relay};

/// The prompt, after it greeted.
fn prompt(site: &Site) -> OsSession {
    let mut command = site.client_command();
    command.env("TERM", "xterm").env("XDG_STATE_HOME", site.path("state"));
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(DEADLINE));
    session.expect("peershare> ").unwrap();
    session
}

#[track_caller]
fn exits_well(mut session: OsSession) {
    session.expect(Eof).unwrap();
    let status = session.get_process().wait().unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

#[test]
fn lines_that_are_typed_ahead_or_pasted_run_in_their_turn_and_a_bad_byte_is_one_bad_line() {
    let site = Site::new();
    let mut session = prompt(&site);
    session.send("ahead1\rahead2\rahead3\r").unwrap();
    for line in ["ahead1", "ahead2", "ahead3"] {
        session.expect(format!("unknown command \"{line}\"")).unwrap();
    }
    session.send("\x1b[200~paste1\rpaste2\x1b[201~\r").unwrap();
    for line in ["paste1", "paste2"] {
        session.expect(format!("unknown command \"{line}\"")).unwrap();
    }
    session.send(b"download caf\xe9.txt\r").unwrap();
    session.expect("is not UTF-8; it is skipped").unwrap();
    session.send("help quit\r").unwrap();
    session.expect("Leave (also").unwrap();
    session.send("#QUIT\r").unwrap();
    exits_well(session);
}

#[test]
fn a_session_helps_lists_downloads_and_leaves() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    site.put("a", "two words", &bytes(1, 1000));
    let mut session = prompt(&site);
    for (line, answer) in [
        ("#HELP", "Explain a command"),
        ("#FILELIST", "two words"),
        ("nonsense", "unknown command"),
        ("download 'two words' a", "downloaded two words"),
        ("download 'two words' a", "is already here"),
    ] {
        session.send_line(line).unwrap();
        session.expect(answer).unwrap();
        session.expect("peershare> ").unwrap();
    }
    session.send_line("#quit").unwrap();
    exits_well(session);
    assert_eq!(site.read("me", "two words").unwrap(), bytes(1, 1000));
}

#[test]
fn ctrl_d_leaves_and_ctrl_c_says_how_to() {
    let site = Site::new();
    let mut session = prompt(&site);
    session.send(ControlCode::EndOfText).unwrap();
    session.expect("#QUIT or Ctrl-D leaves").unwrap();
    session.expect("peershare> ").unwrap();
    session.send(ControlCode::EndOfTransmission).unwrap();
    exits_well(session);
}

#[test]
fn an_edit_of_the_settings_is_noticed_at_the_prompt() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("other", 1)]);
    let mut session = prompt(&site);
    session.send_line("filelist a").unwrap();
    session.expect("unknown peer a; known: other").unwrap();
    session.expect("peershare> ").unwrap();
    site.list_peers(&[("a", server.port), ("other", 1)]);
    session.send_line("filelist a").unwrap();
    session.expect("no files").unwrap();
    session.expect("peershare> ").unwrap();
    session.send_line("quit").unwrap();
    exits_well(session);
}

#[test]
fn what_was_typed_is_remembered_by_the_next_session_and_names_complete() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    site.put("a", "zeta file.txt", b"x");
    let mut session = prompt(&site);
    session.send_line("ping a").unwrap();
    session.expect("up").unwrap();
    session.expect("peershare> ").unwrap();
    session.send_line("quit").unwrap();
    exits_well(session);
    assert!(fs::read_to_string(site.path("state/peershare/history")).unwrap().contains("ping a"));
    let mut session = prompt(&site);
    // Up twice, past the line that left.
    session.send("\x1b[A\x1b[A\r").unwrap();
    session.expect("ping a").unwrap();
    session.expect("up").unwrap();
    session.expect("peershare> ").unwrap();
    session.send_line("filelist").unwrap();
    session.expect("zeta file.txt").unwrap();
    session.expect("peershare> ").unwrap();
    session.send("download z\t").unwrap();
    session.expect("'zeta file.txt'").unwrap();
    session.send("\r").unwrap();
    session.expect("downloaded zeta file.txt").unwrap();
    session.send_line("quit").unwrap();
    exits_well(session);
    assert!(site.read("me", "zeta file.txt").is_some());
}

#[test]
fn one_terminal_may_both_ask_and_serve() {
    let site = Site::new();
    let a = site.server("a");
    site.put("me", "mine.txt", b"mine");
    // A port that was free a moment ago.
    let port = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap().address().unwrap().port();
    site.list_peers(&[("a", a.port), ("me", port)]);
    let mut command = site.client_command();
    command.args(["--serve", "--peer", "me"]);
    command.env("TERM", "xterm").env("XDG_STATE_HOME", site.path("state"));
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(DEADLINE));
    session.expect("peershare> ").unwrap();
    let mut other = assert_cmd::Command::from_std(site.client_command_of("other"));
    other.args(["download", "mine.txt", "me"]).timeout(DEADLINE).assert().success();
    session.send_line("ping a").unwrap();
    session.expect("up").unwrap();
    session.expect("peershare> ").unwrap();
    let mut second = assert_cmd::Command::from_std(site.client_command());
    let refused =
        second.args(["--serve", "--peer", "me", "filelist"]).timeout(DEADLINE).assert().code(2);
    assert!(super::client_program::err_of(&refused).contains("cannot serve"), "{refused}");
    session.send_line("quit").unwrap();
    exits_well(session);
    assert_eq!(site.read("other", "mine.txt").unwrap(), b"mine");
}

#[test]
fn commands_run_beside_the_prompt_and_are_shown_and_ended() {
    let (site, data) = (Site::new(), bytes(1, 8 * LONG));
    site.put("a", "slow.bin", &data);
    site.put("b", "quick.txt", b"x");
    site.list_peers(&[("a", 1), ("b", 2)]);
    let (a, b) = (site.server("a"), site.server("b"));
    let (held, holding) = crossbeam_channel::bounded(1);
    let (resume, resumed) = crossbeam_channel::bounded::<()>(0);
    let slow = relay(Arc::new(Mutex::new(a.port)), 8 * CHUNK as u64, held, resumed);
    site.list_peers(&[("a", slow), ("b", b.port)]);
    let mut session = prompt(&site);
    session.send_line("download slow.bin a &").unwrap();
    session.expect("[1] download slow.bin a").unwrap();
    holding.recv_timeout(DEADLINE).unwrap();
    session.send_line("download quick.txt b &").unwrap();
    session.expect("downloaded quick.txt").unwrap();
    session.expect("[2] download quick.txt b: all well").unwrap();
    session.send_line("status").unwrap();
    session.expect("[1] download slow.bin a").unwrap();
    session.send_line("cancel 7").unwrap();
    session.expect("nothing that runs has the number 7").unwrap();
    session.send_line("quit").unwrap();
    session.expect("1 still run").unwrap();
    session.send_line("cancel 1").unwrap();
    session.expect("[1] download slow.bin a: interrupted").unwrap();
    drop(resume);
    session.send_line("quit").unwrap();
    exits_well(session);
    assert!(site.read("me", "slow.bin").is_none());
}

#[test]
fn lines_of_a_pipe_may_run_beside_one_another_and_all_are_awaited() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("a", "1.txt", b"1");
    site.put("a", "2.txt", b"2");
    let run = |lines: &'static str, code| {
        let mut client = assert_cmd::Command::from_std(site.client_command());
        client.write_stdin(lines).timeout(DEADLINE).assert().code(code);
    };
    run("download 1.txt &\ndownload 2.txt &\n", 0);
    assert!(site.read("me", "1.txt").is_some() && site.read("me", "2.txt").is_some());
    run("download gone.txt &\nfilelist\n", 4);
    run("help &\n", 2);
}

#[test]
fn a_peer_that_goes_away_or_comes_is_told_at_the_prompt() {
    let site = Site::new();
    let a = site.server_that_says_more("a");
    let port = a.port;
    site.list_peers(&[("a", port)]);
    let mut session = prompt(&site);
    // The first look tells nothing; after it the peer is known to be there.
    a.running.wait_for(" left");
    drop(a);
    session.expect("a went away").unwrap();
    let mut again = site.server_command("a");
    let again = Running::start(again.args(["--listen", &format!("127.0.0.1:{port}")]));
    again.wait_for("listens on");
    session.expect("a is up").unwrap();
    session.send_line("quit").unwrap();
    exits_well(session);
}

#[test]
fn tables_and_help_fit_narrow_and_wide_terminals() {
    let site = Site::new();
    let a = site.server("a");
    site.list_peers(&[("a", a.port)]);
    site.put("a", "photos/a rather long name of a picture from the beach.jpg", &bytes(1, 5000));
    site.put("me", "served here/a rather long name of a picture from the beach.jpg", b"x");
    for columns in [40_usize, 80, 120] {
        for line in [
            "help",
            "peers",
            "ping",
            "search beach",
            "filelist photos/",
            "files",
            "parts",
            "help peers",
        ] {
            let client = site.client_command();
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("stty cols {columns} rows 50; exec \"$@\""), "sh"]);
            shell
                .arg(client.get_program())
                .args(client.get_args())
                .args(line.split(' '))
                .env("TERM", "xterm");
            let mut session = OsSession::spawn(shell).unwrap();
            session.set_expect_timeout(Some(DEADLINE));
            let found = session.expect(Eof).unwrap();
            let text = String::from_utf8_lossy(found.before()).into_owned();
            let long = text.lines().find(|line| line.trim_end().chars().count() > columns);
            assert_eq!(long, None, "{line} at {columns}");
        }
    }
}
