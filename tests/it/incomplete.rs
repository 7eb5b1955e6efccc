//! What cannot be copied or listed is named with its reason, and is part of the exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use peershare::client::ExitStatus;
use peershare::wire::{ErrorCode, Request, Response};

use super::lab::{DEADLINE, Lab};
use super::programs::{Running, Site};
use super::rogue::{Deed, Rogue};

/// Every kind of entry that is no file, and what is said of it.
const ODD: [(&str, &str); 8] = [
    ("dangling", "a link that leads to nothing"),
    ("loop", "links in a circle"),
    ("out", "a link that leads out of the folder"),
    ("fifo", "a FIFO, not a file"),
    ("socket", "a socket, not a file"),
    ("new\\u{a}line", "its name has a control character"),
    ("lat\\xe9", "its name is not UTF-8"),
    ("deep/up", "links in a circle"),
];

/// Makes them, and two files among them.
fn make_odd(folder: &std::path::Path) {
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("ok"), b"1").unwrap();
    fs::write(folder.join("deep/ok"), b"2").unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    symlink("/etc/hostname", folder.join("out")).unwrap();
    symlink("..", folder.join("deep/up")).unwrap();
    fs::write(folder.join("new\nline"), b"3").unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"lat\xe9")), b"4").unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("fifo"), fifo, 0o600.into(), 0).unwrap();
    drop(UnixListener::bind(folder.join("socket")).unwrap());
}

fn names_all(said: &str) {
    for (name, reason) in ODD {
        let line = said.lines().find(|line| line.contains(&format!("{name}: ")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{name} in {said}");
    }
}

#[test]
fn a_download_names_what_its_source_left_out() {
    let lab = Lab::of(&["a"]);
    make_odd(&lab.folder("a").join("d"));
    let outcome =
        lab.client().run("download d/").is(ExitStatus::Incomplete).tells("a left out 8 entries:");
    names_all(&outcome.err);
    let came = |name: &str| lab.read("me", name).is_some();
    assert!(came("d/ok") && came("d/deep/ok"));
    // What was asked for is whole here.
    lab.client().run("download d/ok").succeeded();
    lab.client().run("download 'd/*k'").succeeded();
    lab.client()
        .run("download d/ -x fifo -x socket -x dangling -x loop -x out -x deep -x 'new*' -x 'lat*'")
        .succeeded();
    lab.client()
        .run("download 'd/dang*'")
        .is(ExitStatus::Incomplete)
        .tells("dangling: a link that leads to nothing");
}

#[test]
fn a_listing_names_what_is_not_in_it() {
    let lab = Lab::of(&["a"]);
    make_odd(&lab.folder("a").join("d"));
    let outcome = lab.client().run("filelist").is(ExitStatus::Incomplete).prints("d/deep/ok");
    names_all(&outcome.err);
    lab.client().run("filelist d/o*k").succeeded();
}

#[test]
fn an_upload_names_once_what_it_left_out_for_all_targets() {
    let lab = Lab::of(&["a", "b"]);
    make_odd(&lab.folder("me").join("d"));
    let outcome = lab.client().run("upload d/ a b").is(ExitStatus::Incomplete);
    names_all(&outcome.err);
    assert_eq!(outcome.err.matches("left out 8 entries").count(), 1, "{outcome:?}");
    for peer in ["a", "b"] {
        assert!(lab.read(peer, "d/ok").is_some() && lab.read(peer, "d/deep/ok").is_some());
    }
}

#[test]
fn very_many_are_counted_and_some_are_named() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "d/ok", b"x");
    for number in 0..30 {
        symlink("nowhere", lab.folder("a").join(format!("d/dead{number:02}"))).unwrap();
    }
    let outcome = lab.client().run("download d/").is(ExitStatus::Incomplete);
    assert_eq!(outcome.err.matches("leads to nothing").count(), 10, "{outcome:?}");
    outcome.tells("a left out 30 entries:").tells("and 20 more; -v shows all");
}

#[test]
fn a_peer_of_an_earlier_version_only_counts_and_that_is_told() {
    let mut lab = Lab::of(&["old"]);
    let old = Rogue::new("x", b"x", |request, _| match request {
        Request::List { .. } => {
            Deed::Say(Response::Listing { next: None, left_out: 3, shared: false }, b"[]".to_vec())
        }
        Request::LeftOut { .. } => {
            Deed::Say(Response::error(ErrorCode::Unsupported, "what?"), vec![])
        }
        _ => Deed::Honest,
    });
    lab.rogue("old", &old);
    lab.client()
        .run("filelist")
        .is(ExitStatus::Incomplete)
        .tells("left out 3 entries and does not say why");
}

#[test]
fn a_folder_without_permission_is_named_both_ways() {
    let site = Site::new();
    site.put("a", "t/open/b", b"b");
    site.put("a", "t/locked/a", b"a");
    site.put("me", "t2/locked/a", b"a");
    site.put("me", "t2/b", b"b");
    for locked in ["a/t/locked", "me/t2/locked"] {
        fs::set_permissions(site.path(locked), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let server =
        Running::start(site.ordinary_server_command("a").args(["--listen", "127.0.0.1:0"]));
    site.list_peers(&[("a", server.port())]);
    for (words, name) in [(["download", "t/"], "t/locked"), (["upload", "t2/"], "t2/locked")] {
        let mut client = assert_cmd::Command::from_std(site.ordinary_client_command());
        let done = client.args(words).timeout(DEADLINE).assert().code(8);
        let said = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
        assert!(said.contains(&format!("{name}: no permission to read it")), "{said}");
    }
    assert_eq!(site.read("me", "t/open/b").unwrap(), b"b");
    assert_eq!(site.read("a", "t2/b").unwrap(), b"b");
    for locked in ["a/t/locked", "me/t2/locked"] {
        fs::set_permissions(site.path(locked), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_server_without_descriptors_never_gives_less_and_calls_it_all() {
    let site = Site::new();
    site.list_peers(&[("a", 1)]);
    for number in 0..50 {
        site.put("a", &format!("d/e/{number}"), b"x");
    }
    let usual = site.server_command("a");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -n 26; exec \"$@\"", "sh"])
        .arg(usual.get_program())
        .args(usual.get_args());
    let server = Running::start(shell.args(["--listen", "127.0.0.1:0"]).env_remove("RUST_LOG"));
    let port = server.port();
    site.list_peers(&[("a", port)]);
    for held in 0..16 {
        // They hold a connection each, and its session a descriptor.
        let connections: Vec<_> =
            (0..held).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let mut client = assert_cmd::Command::from_std(site.client_command());
        let done = client.args(["download", "d/", "a"]).timeout(DEADLINE).output().unwrap();
        drop(connections);
        let came = fs::read_dir(site.path("me/d/e")).map_or(0, Iterator::count);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        match done.status.code() {
            Some(0) => assert_eq!(came, 50, "{held} held: {said}"),
            code => assert!(matches!(code, Some(3 | 7)), "{held} held: {code:?}, {said}"),
        }
        if site.path("me").exists() {
            fs::remove_dir_all(site.path("me")).unwrap();
        }
    }
}

#[test]
fn a_folder_larger_than_the_disk_is_not_begun() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let lab = Lab::of(&["a", "b"]);
    let (mine, theirs) = (lab.folder("me"), lab.folder("b"));
    for (owner, folder) in [("a", "d"), ("c", "e")] {
        for number in 0..6 {
            lab.put(owner, &format!("{folder}/{number}"), &super::lab::bytes(number, 1_000_000));
        }
    }
    fs::create_dir_all(&mine).unwrap();
    for folder in [&mine, &theirs] {
        if let Err(error) = mount("none", folder, "tmpfs", MountFlags::empty(), c"size=4m") {
            eprintln!("only root can mount a small disk, so this is not tried: {error}");
            return;
        }
    }
    let downloaded = lab.client().run("download d/ a");
    let uploaded = lab.client_at("c").run("upload e/ b");
    let begun = [mine.join("d"), theirs.join("e")].map(|folder| folder.exists());
    for folder in [&mine, &theirs] {
        unmount(folder, UnmountFlags::DETACH).unwrap();
    }
    for outcome in [downloaded, uploaded] {
        outcome.is(ExitStatus::NoSpace).tells("no space for all of it: 6000000 bytes are needed");
    }
    assert_eq!(begun, [false, false]);
}

#[test]
fn what_may_not_be_read_elsewhere_is_in_the_way_of_no_pattern() {
    let site = Site::new();
    site.put("a", "1.txt", b"1");
    site.put("a", "photos/p", b"p");
    site.put("a", "lost+found/x", b"x");
    fs::set_permissions(site.path("a/lost+found"), fs::Permissions::from_mode(0o000)).unwrap();
    let server =
        Running::start(site.ordinary_server_command("a").args(["--listen", "127.0.0.1:0"]));
    site.list_peers(&[("a", server.port())]);
    site.client(&["download", "*.txt"]).success();
    site.client(&["download", "photos/*"]).success();
    let listed = site.client(&["filelist", "*.txt"]).success();
    assert!(listed.get_output().stdout.starts_with(b"1.txt\t"), "{listed}");
    site.client(&["download", "nope*"]).code(4);
    // What may be meant is told.
    site.client(&["download", "**"]).code(8);
}

#[test]
#[cfg(target_os = "linux")]
fn files_that_the_system_makes_up_are_no_empty_files() {
    let site = Site::new();
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    let told = site.client(&["upload", "/proc/sys/net/core", "a"]).code(8);
    assert!(
        String::from_utf8_lossy(&told.get_output().stderr)
            .contains("the system makes its files up")
    );
    assert!(!site.path("a/core/rmem_max").exists());
    site.client(&["upload", "/proc/sys/net/core/rmem_max", "a"]).failure();
}

#[test]
fn one_that_has_it_and_cannot_give_it_says_more_than_one_that_has_it_not() {
    let site = Site::new();
    site.put("a", "secret", b"x");
    fs::set_permissions(site.path("a/secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let a = Running::start(site.ordinary_server_command("a").args(["--listen", "127.0.0.1:0"]));
    site.list_peers(&[("a", 1), ("b", 2)]);
    let b = site.server("b");
    site.list_peers(&[("a", a.port()), ("b", b.port)]);
    let told = site.client(&["download", "secret"]).code(5);
    let err = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(err.contains("Permission denied") && !err.contains("no peer has"), "{err}");
}
