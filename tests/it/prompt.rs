//! A session at the prompt, on a pseudo-terminal.

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect};

use super::lab::{DEADLINE, bytes};
use super::programs::Site;

/// The prompt, after it greeted.
fn prompt(site: &Site) -> OsSession {
    let mut command = site.client_command();
    command.env("TERM", "xterm");
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
fn a_session_helps_lists_downloads_and_leaves() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    site.put("a", "two words", &bytes(1, 1000));
    let mut session = prompt(&site);
    for (line, answer) in [
        ("#HELP", "explain a command"),
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
