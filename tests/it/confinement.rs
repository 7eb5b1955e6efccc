//! What lies in a served folder is nobody's promise: links are swapped while they are read and
//! written, files come, go, shrink and grow, and some are no files. Never does a byte from outside
//! travel, or one land there; what to do about each thing stands in the docs of `store/folder.rs`.
//!
//! `PEERSHARE_ROUNDS` says for how many seconds each is tried; one, unless it says more.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peershare::client::ExitStatus;
use rustix::fs::{CWD, FileType, RenameFlags, mknodat, renameat_with};

use super::lab::{CHUNK, Client, DEADLINE, Lab, bytes};
use super::programs::Site;

/// What must not be seen, again and again.
const SECRET: &[u8] = b"SECRET-FROM-OUTSIDE-";

/// For how long something is tried.
struct Span(Instant);

impl Span {
    fn begins() -> Self {
        let seconds = std::env::var("PEERSHARE_ROUNDS").ok().map(|text| text.parse().unwrap());
        Self(Instant::now() + Duration::from_secs(seconds.unwrap_or(1)))
    }

    /// Whether to go on: until it is over, and until anything has succeeded.
    #[track_caller]
    fn lasts(&self, succeeded: bool) -> bool {
        let now = Instant::now();
        assert!(succeeded || now < self.0 + DEADLINE, "nothing succeeds");
        now < self.0 || !succeeded
    }
}

/// Does something again and again until this is dropped.
struct Restless {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Restless {
    fn new(mut act: impl FnMut(u64) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let work = move || {
            let mut rounds = 0;
            while !told.load(SeqCst) {
                act(rounds);
                rounds += 1;
                // So that the others meet every state of it.
                thread::yield_now();
            }
            rounds
        };
        Self { over, thread: Some(thread::spawn(work)) }
    }

    /// Gives what each name means in turn: what is at one, and what is at the other.
    fn swapping(folder: PathBuf, pairs: &'static [(&'static str, &'static str)]) -> Self {
        Self::new(move |_| {
            for (one, other) in pairs {
                let (one, other) = (folder.join(one), folder.join(other));
                // Somebody who replaces one of them may have it away for a moment.
                let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
            }
        })
    }

    fn ends(mut self) -> u64 {
        self.over.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
    }
}

/// A folder outside with secrets of the same names and lengths as files of the lab.
fn outside(lab: &Lab) -> PathBuf {
    let outside = lab.root().join("outside");
    fs::create_dir(&outside).unwrap();
    for (name, length) in [("small", 4000), ("large", 3 * CHUNK)] {
        let secret: Vec<u8> = SECRET.iter().copied().cycle().take(length).collect();
        fs::write(outside.join(name), secret).unwrap();
    }
    outside
}

/// Puts files into the folder of a peer, and links to secrets beside them, which are swapped with
/// them.
fn swapped(lab: &Lab, peer: &str, outside: &Path) -> Restless {
    for (folder, seed) in [("d/", 1), ("", 2)] {
        lab.put(peer, &format!("{folder}small"), &bytes(seed, 4000));
        lab.put(peer, &format!("{folder}large"), &bytes(seed, 3 * CHUNK));
    }
    let folder = lab.folder(peer);
    symlink(outside, folder.join("swap-d")).unwrap();
    symlink(outside.join("small"), folder.join("swap-small")).unwrap();
    symlink(outside.join("large"), folder.join("swap-large")).unwrap();
    Restless::swapping(folder, &[("d", "swap-d"), ("small", "swap-small"), ("large", "swap-large")])
}

fn watched(mut client: Client) -> Client {
    client.traffic.secret.lock().unwrap().replace(SECRET.to_vec());
    client.run("help").succeeded();
    client
}

/// No file beneath a folder has a byte of a secret, links not followed.
#[track_caller]
fn has_no_secret(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path).unwrap() {
            found if found.is_dir() => has_no_secret(&path),
            found if found.is_file() => {
                let data = fs::read(&path).unwrap();
                let secret = data.windows(SECRET.len()).any(|window| window == SECRET);
                assert!(!secret, "{} has bytes from outside", path.display());
            }
            _ => {}
        }
    }
}

/// Removes what came, if anything did; there must be no secret in it.
#[track_caller]
fn clear(folder: &Path) {
    if folder.exists() {
        has_no_secret(folder);
        fs::remove_dir_all(folder).unwrap();
    }
}

/// What is outside is what it was.
#[track_caller]
fn untouched(outside: &Path) {
    let mut names: Vec<_> =
        fs::read_dir(outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["large", "small"], "something was put outside");
    for name in names {
        let data = fs::read(outside.join(&name)).unwrap();
        assert!(data.chunks(SECRET.len()).all(|piece| SECRET.starts_with(piece)), "{name:?}");
    }
}

#[test]
fn no_byte_from_outside_travels_while_links_are_swapped() {
    let lab = Lab::of(&["a"]);
    let outside = outside(&lab);
    let swapping = swapped(&lab, "a", &outside);
    let mine = swapped(&lab, "me2", &outside);
    let (span, mut succeeded) = (Span::begins(), 0);
    while span.lasts(succeeded > 0) {
        let mut client = watched(lab.client());
        for line in
            ["filelist", "download d/small", "download small", "download large", "download d/"]
        {
            succeeded += u64::from(client.run(line).status.is_success());
        }
        assert!(!client.traffic.leaked.load(SeqCst), "a byte from outside was sent");
        clear(&lab.folder("me"));
        // The uploading side, into a folder of its own at the peer.
        let mut client = watched(lab.client_at("me2"));
        for line in
            ["upload small a --as up/small", "upload d/ a --to up", "upload large a --as up/l"]
        {
            client.run(line);
        }
        assert!(!client.traffic.leaked.load(SeqCst), "a byte from outside was sent");
        clear(&lab.folder("a").join("up"));
    }
    let swaps = swapping.ends();
    mine.ends();
    eprintln!("{swaps} swaps, {succeeded} downloads and listings that succeeded");
    assert!(swaps > 10);
    untouched(&outside);
}

#[test]
fn nothing_lands_outside_while_links_are_swapped() {
    let lab = Lab::of(&["a", "b"]);
    let outside = outside(&lab);
    let swapping = [swapped(&lab, "a", &outside), swapped(&lab, "me", &outside)];
    for (name, length) in
        [("d/small", 4000), ("d/large", 3 * CHUNK), ("d/e/new", 100), ("d/f/g/x", 9)]
    {
        lab.put("b", name, &bytes(7, length));
        lab.put("c", name, &bytes(8, length));
    }
    let (span, mut succeeded) = (Span::begins(), 0);
    while span.lasts(succeeded > 0) {
        for line in ["upload d/ a --replace", "upload d/large a --replace", "upload d/e/new a"] {
            succeeded += u64::from(lab.client_at("c").run(line).status.is_success());
        }
        for line in ["download d/ b --replace", "download d/large b --replace", "download d/f/ b"] {
            succeeded += u64::from(lab.client().run(line).status.is_success());
        }
        untouched(&outside);
        for folder in ["a", "me"].map(|peer| lab.folder(peer)) {
            // Whichever of the two is the folder now.
            for name in ["d", "swap-d"] {
                let _ = fs::remove_dir_all(folder.join(name).join("f"));
                let _ = fs::remove_file(folder.join(name).join("e/new"));
            }
        }
        untouched(&outside);
    }
    let swaps: u64 = swapping.into_iter().map(Restless::ends).sum();
    eprintln!("{swaps} swaps, {succeeded} transfers that succeeded");
    assert!(swaps > 10);
    untouched(&outside);
}

/// Bytes of the file in its n-th life.
fn life(number: u64) -> Vec<u8> {
    bytes(number + 1, 2 * CHUNK)
}

#[test]
fn files_that_shrink_grow_and_are_replaced_are_never_mixed() {
    let lab = Lab::of(&["a"]);
    let folder = lab.folder("a");
    let lives: Vec<Vec<u8>> = (0..8).map(life).collect();
    lab.put("a", "d/f", &lives[0][..CHUNK]);
    lab.put("a", "d/still", b"still");
    let (path, fresh, own) = (folder.join("d/f"), folder.join("fresh"), lives.clone());
    let mut number = 0;
    // At any moment it is the beginning of one of its lives.
    let mutating = Restless::new(move |round| {
        let life = &own[number];
        match round.wrapping_mul(0x9E37_79B9) >> 7 & 7 {
            0 => {
                number = (number + 1) % own.len();
                fs::write(&fresh, &own[number][..CHUNK / 3]).unwrap();
                fs::rename(&fresh, &path).unwrap();
            }
            1 => fs::remove_file(&path).unwrap_or(()),
            2 => {
                if let Ok(file) = File::options().write(true).open(&path) {
                    file.set_len(1000).unwrap();
                }
            }
            _ => {
                let Ok(file) = File::options().write(true).create(true).truncate(false).open(&path)
                else {
                    return;
                };
                let length = file.metadata().unwrap().len() as usize;
                let more = &life[length.min(life.len())..(length + 5000).min(life.len())];
                file.write_all_at(more, length as u64).unwrap();
            }
        }
        thread::park_timeout(Duration::from_millis(round % 4));
    });
    let (span, mut came) = (Span::begins(), 0);
    while span.lasts(came > 0) {
        for line in ["download d/f", "download d/"] {
            let outcome = lab.client().run(line);
            if let Some(found) = lab.read("me", "d/f") {
                came += 1;
                let is_one = lives.iter().any(|life| life.starts_with(&found));
                assert!(is_one, "{} bytes that are no beginning: {outcome:?}", found.len());
            }
            assert!(line != "download d/" || lab.read("me", "d/still").is_some(), "{outcome:?}");
            let _ = fs::remove_dir_all(lab.folder("me"));
        }
    }
    mutating.ends();
    eprintln!("{came} came");
}

/// Makes one of each kind that is no file.
fn make_no_files(folder: &Path) -> Vec<&'static str> {
    fs::create_dir_all(folder.join("folder")).unwrap();
    drop(UnixListener::bind(folder.join("socket")).unwrap());
    symlink("/dev/zero", folder.join("link-to-device")).unwrap();
    symlink("nowhere", folder.join("dead")).unwrap();
    symlink("circle", folder.join("circle")).unwrap();
    let mut made = vec!["folder", "socket", "link-to-device", "dead", "circle", "fifo"];
    mknodat(CWD, folder.join("fifo"), FileType::Fifo, 0o600.into(), 0).unwrap();
    let zero = rustix::fs::makedev(1, 5);
    match mknodat(CWD, folder.join("device"), FileType::CharacterDevice, 0o600.into(), zero) {
        Ok(()) => made.push("device"),
        Err(error) => eprintln!("only root can make a device, so that is not tried: {error}"),
    }
    made
}

#[test]
fn what_is_no_file_is_never_opened_nor_waited_for() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "d/ok", b"ok");
    lab.put("me", "d/ok", b"ok");
    let theirs = make_no_files(&lab.folder("a").join("d"));
    make_no_files(&lab.folder("me").join("d"));
    // Somebody waits at the other end until the FIFO is opened, or this is over.
    let fifo = lab.folder("a").join("d/fifo");
    let (opened, at) = (Arc::new(AtomicBool::new(false)), fifo.clone());
    let told = opened.clone();
    let waiting = thread::spawn(move || {
        let mut end = File::options().write(true).open(at).unwrap();
        told.store(true, SeqCst);
        let _ = end.write_all(b"x");
    });
    for name in theirs {
        let status = lab.client().run(&format!("download d/{name} --as new")).status;
        assert!(!status.is_success() || name == "folder", "{name}: {status:?}");
        assert!(!lab.visible("me").contains(&"new".to_owned()) || name == "folder", "{name}");
        let _ = fs::remove_dir_all(lab.folder("me").join("new"));
        let status = lab.client().run(&format!("upload d/{name} a --as up")).status;
        assert!(!status.is_success() || name == "folder", "{name}: {status:?}");
    }
    lab.client().run("filelist").is(ExitStatus::Incomplete).prints("d/ok");
    assert!(!opened.load(SeqCst), "the FIFO was opened");
    drop(File::open(fifo).unwrap());
    waiting.join().unwrap();
}

#[test]
fn many_entries_and_deep_folders_are_listed_and_fetched() {
    let many = if std::env::var_os("PEERSHARE_ROUNDS").is_some() { 100_000 } else { 3000 };
    let site = Site::new();
    for number in 0..many {
        site.put("a", &format!("many/{number:06}"), b"");
    }
    let deep = "d/".repeat(200);
    site.put("a", &format!("{deep}f"), b"deep");
    let server = site.server("a");
    site.list_peers(&[("a", server.port)]);
    let listed = site.client(&["filelist"]).success();
    let listed = String::from_utf8_lossy(&listed.get_output().stdout).into_owned();
    assert_eq!(listed.lines().count(), many + 1);
    let begun = Instant::now();
    for folder in ["many/", "d/"] {
        let mut client = assert_cmd::Command::from_std(site.client_command());
        client.args(["download", folder]).timeout(10 * DEADLINE).assert().success();
    }
    eprintln!("{many} files and 200 levels took {:?}", begun.elapsed());
    assert_eq!(fs::read_dir(site.path("me/many")).unwrap().count(), many);
    assert_eq!(site.read("me", &format!("{deep}f")).unwrap(), b"deep");
}

#[test]
fn a_folder_that_is_closed_to_others_is_not_opened_by_an_upload() {
    let lab = Lab::of(&["a"]);
    lab.put("a", "d/mine", b"mine");
    lab.put("me", "d/e/theirs", b"theirs");
    let closed = lab.folder("a").join("d");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(lab.folder("me").join("d"), fs::Permissions::from_mode(0o777)).unwrap();
    lab.client().run("upload d/ a").succeeded();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&closed), 0o700);
    assert_eq!(lab.read("a", "d/e/theirs").unwrap(), b"theirs");
}
