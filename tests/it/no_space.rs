//! Disks that become full in the middle of a transfer: a small one of its own, which somebody else
//! fills. That transfer ends and says so, others go on, and with room again the same command
//! continues. What becomes of every single call that fails is tried in `src/store/tests/failing.rs`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use peershare::client::ExitStatus;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use super::lab::{CHUNK, LONG, Lab, bytes, eventually};
use super::programs::Site;

/// A disk of eight megabytes at the folder of a peer.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` for users who may not mount anything.
    fn at(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        match mount("none", folder, "tmpfs", MountFlags::empty(), c"size=8m") {
            Ok(()) => Some(Self(folder.to_owned())),
            Err(error) => {
                eprintln!("only root can mount a small disk, so this is not tried: {error}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Has somebody else fill it from now on.
    fn fill(path: &Path) {
        let mut file = File::create(path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_download_onto_a_disk_that_becomes_full_ends_and_continues() {
    let mut lab = Lab::of(&["a"]);
    let data = bytes(1, LONG);
    lab.put("a", "x", &data);
    let Some(disk) = SmallDisk::at(&lab.folder("me")) else { return };
    lab.start("a");
    let mut client = lab.client();
    let filler = disk.filler();
    client.traffic.after(4 * CHUNK as u64, move || SmallDisk::fill(&filler));
    client
        .run("download x")
        .is(ExitStatus::NoSpace)
        .tells("no space for x: ")
        .tells("make room and try again");
    assert_eq!(lab.visible("me"), ["filler"]);
    fs::remove_file(disk.filler()).unwrap();
    let outcome = client.run_when_free("download x").succeeded().tells("from an earlier attempt");
    assert!(outcome.received < LONG as u64, "{outcome:?}");
    lab.assert_has("me", "x", &data);
}

#[test]
fn an_upload_to_a_disk_that_becomes_full_ends_there_alone_and_continues() {
    let mut lab = Lab::of(&["b", "c"]);
    let data = bytes(1, LONG);
    lab.put("me", "x", &data);
    let Some(disk) = SmallDisk::at(&lab.folder("b")) else { return };
    lab.start("b");
    let mut client = lab.client();
    let filler = disk.filler();
    client.traffic.after(4 * CHUNK as u64, move || SmallDisk::fill(&filler));
    let outcome = client.run("upload x b c").is(ExitStatus::SomePeersFailed);
    outcome.tells("b at ").prints("c: uploaded x").tells("no space for x: ");
    lab.assert_has("c", "x", &data);
    assert_eq!(lab.visible("b"), ["filler"]);
    fs::remove_file(disk.filler()).unwrap();
    let outcome = client.run_when_free("upload x b c").succeeded();
    assert!(outcome.sent < LONG as u64, "{outcome:?}");
    lab.assert_has("b", "x", &data);
}

#[test]
fn a_folder_onto_a_disk_that_becomes_full_ends_and_continues() {
    let mut lab = Lab::of(&["a"]);
    let files: Vec<_> = (0..30).map(|n| (format!("d/{n}"), bytes(n, 100_000))).collect();
    files.iter().for_each(|(name, data)| lab.put("a", name, data));
    files.iter().for_each(|(name, data)| lab.put("c", name, data));
    let (Some(mine), Some(theirs)) =
        (SmallDisk::at(&lab.folder("me")), SmallDisk::at(&lab.folder("b")))
    else {
        return;
    };
    lab.list_peers(&["a", "b"]);
    lab.start("b");
    for (disk, line, whose) in [(&mine, "download d/ a", "me"), (&theirs, "upload d/ b", "c")] {
        let mut client = lab.client_at(whose);
        let filler = disk.filler();
        client.traffic.after(1_500_000, move || SmallDisk::fill(&filler));
        let outcome = client.run(line);
        let full = [ExitStatus::NoSpace, ExitStatus::SomePeersFailed];
        assert!(full.contains(&outcome.status), "{line}: {outcome:?}");
        assert!(
            outcome.err.contains("no space") || outcome.out.contains("no space"),
            "{outcome:?}"
        );
        fs::remove_file(disk.filler()).unwrap();
        eventually("the command succeeds", || client.run(line).status.is_success());
    }
    for (name, data) in &files {
        lab.assert_has("me", name, data);
        lab.assert_has("b", name, data);
    }
}

#[test]
fn a_server_starts_on_a_full_disk_and_gives_what_is_there() {
    let site = Site::new();
    let Some(disk) = SmallDisk::at(&site.path("a")) else { return };
    site.put("a", "x", b"x");
    let mut server = site.server("a");
    server.running.signal(Signal::TERM);
    assert!(server.running.ends().success());
    site.put("a", "y", b"not hashed");
    SmallDisk::fill(&disk.filler());
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    for name in ["x", "y"] {
        site.client(&["download", name]).success();
    }
    site.put("me", "z", b"z");
    let told = site.client(&["upload", "z", "a"]).code(9);
    let err = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(err.contains("make room"), "{err}");
}
