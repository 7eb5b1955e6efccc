//! Several programs on one folder: clients and a server share it and lose nothing of one another;
//! a second server is refused; one that may not be written to is served all the same.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::lab::{CHUNK, DEADLINE, bytes, eventually};
use super::programs::{Running, Site};

/// Which bytes every name has.
fn files() -> Vec<(String, Vec<u8>)> {
    let small = (0..120).map(|number| (format!("d/{number}"), bytes(number, 3000)));
    let large = (0..3).map(|number| (format!("d/large{number}"), bytes(number, 17 * CHUNK)));
    small.chain(large).collect()
}

#[test]
fn two_clients_and_a_server_on_one_folder_lose_nothing() {
    let site = Site::new();
    let files = files();
    for (name, data) in &files {
        site.put("a", name, data);
        site.put("b", name, data);
    }
    site.list_peers(&[("a", 1), ("me", 2)]);
    let (a, me) = (site.server("a"), site.server("me"));
    site.list_peers(&[("a", a.port), ("me", me.port)]);
    let run = |folder: &str, words: &[&str]| {
        let mut client = assert_cmd::Command::from_std(site.client_command_of(folder));
        client.args(words).timeout(DEADLINE).output().unwrap().status
    };
    let download: &[&str] = &["--peer", "me", "download", "d/"];
    thread::scope(|scope| {
        // All of them bring the same files into the folder of `me` at once.
        scope.spawn(|| run("me", download));
        scope.spawn(|| run("me", download));
        scope.spawn(|| run("me", &["--peer", "me", "download", "d/large1", "d/large2"]));
        scope.spawn(|| run("b", &["upload", "d/", "me"]));
    });
    // Each may have been told that a file is being received already, and none is lost by that.
    eventually("the same command completes", || run("me", download).success());
    for (name, data) in &files {
        assert!(site.read("me", name).is_some_and(|found| found == *data), "{name}");
    }
    let parts = fs::read_dir(site.path("me").join(".peershare/parts")).unwrap();
    let left: Vec<_> = parts.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["server"], "nothing is left but the lock of the server");
    // What each wrote down is known to all: nothing is hashed again.
    let mut client = assert_cmd::Command::from_std(site.client_command());
    let listed =
        client.args(["--peer", "me", "files", "--json"]).timeout(DEADLINE).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.matches("\"event\":\"file\"").count(), files.len(), "{listed}");
    assert_eq!(listed.matches("\"id\":null").count(), 0, "{listed}");
}

#[test]
fn a_client_that_would_serve_is_refused_where_a_server_runs() {
    let site = Site::new();
    site.list_peers(&[("a", 1), ("b", 2)]);
    let _server = site.server("a");
    let mut command = assert_cmd::Command::from_std(site.client_command_of("a"));
    let told = command.args(["--peer", "b", "--serve", "filelist"]).timeout(DEADLINE).assert();
    let told = told.code(2);
    let err = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(err.contains("a (process ") && err.contains(" serves "), "{err}");
}

/// Has a folder be read only while this lives; `None` for users who may not mount anything.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn at(folder: &'a Path, prepare: impl FnOnce()) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        if let Err(error) = mount("none", folder, "tmpfs", MountFlags::empty(), c"size=4m") {
            eprintln!("only root can mount a disk, so this is not tried: {error}");
            return None;
        }
        prepare();
        mount_remount(folder, MountFlags::RDONLY, "").unwrap();
        Some(Self(folder))
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_folder_that_is_read_only_is_served_once_and_receives_nothing() {
    let site = Site::new();
    let folder = site.path("a");
    let Some(_mounted) = ReadOnly::at(&folder, || site.put("a", "x", b"on a disc")) else { return };
    let cache = site.path("cache");
    let server = |peer: &str| {
        let mut command = Command::new(site.server_command(peer).get_program());
        command.args([peer, "--listen", "127.0.0.1:0", "--served-files", "a"]);
        command.current_dir(site.path("")).env("XDG_CACHE_HOME", &cache).env_remove("RUST_LOG");
        command
    };
    site.list_peers(&[("a", 1), ("b", 2)]);
    let first = Running::start(&mut server("a"));
    site.list_peers(&[("a", first.port()), ("b", 2)]);
    site.client(&["download", "x", "a"]).success();
    assert_eq!(site.read("me", "x").unwrap(), b"on a disc");
    site.put("me", "y", b"y");
    let told = site.client(&["upload", "y", "a"]).code(5);
    let err = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(err.contains("nothing can be received") && err.contains("read-only"), "{err}");
    let second = assert_cmd::Command::from_std(server("b")).timeout(DEADLINE).assert().code(2);
    let err = String::from_utf8_lossy(&second.get_output().stderr).into_owned();
    assert!(err.contains("a (process ") && err.contains(" serves "), "{err}");
}
