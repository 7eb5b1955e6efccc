//! Whole folders between peers in one process: round trips, patterns, several sources, conflicts,
//! changed files, interruptions, and peers that lie.
//!
//! Peers are [`Host`]s on a [`MemoryNetwork`], so nothing here needs a port; what a user types goes
//! through [`Transfers`], what needs a closer look through [`FolderFetch`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peershare::client::{
    Execute, ExitStatus, Manner, Surroundings, Terminal, Transfers, Typed, words,
};
use peershare::config;
use peershare::connection::{self, Framed, Identity};
use peershare::content::whole;
use peershare::fetch::{
    Caller, Dial, FileError, FolderFetch, FolderOutcome, FramedPeer, Progress, TransferError, Waits,
};
use peershare::serve::{Company, Responder, Rights};
use peershare::server::{Host, Limits};
use peershare::store::Store;
use peershare::topology::{Peer, Topology};
use peershare::transport::Cancel;
use peershare::transport::memory::MemoryNetwork;
use peershare::wire::{Request, Response, Share};

/// Some peers, each with a folder, and a client with a folder of its own.
struct Net {
    folder: tempfile::TempDir,
    network: Arc<MemoryNetwork>,
    topology: Topology,
    hosts: Vec<Host>,
}

impl Net {
    fn new(peers: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String =
            (1..).zip(peers).map(|(port, id)| format!("{id} 127.0.0.1 {port}\n")).collect();
        let topology = lines.parse().unwrap();
        let mut net = Self { folder, network: Arc::default(), topology, hosts: Vec::new() };
        peers.iter().for_each(|id| net.start(id));
        net
    }

    fn start(&mut self, id: &str) {
        let store = Store::open(&self.path(id, "")).unwrap();
        let identity = Identity { peer: Some(id.parse().unwrap()), read_only: false };
        let host = Host::new(store, identity, Rights::default(), Limits::default());
        self.hosts.push(host.clone());
        self.network.attach(id.parse().unwrap(), move |stream| host.serve(stream));
    }

    /// A peer that says whatever `script` says.
    fn rogue(
        &self,
        id: &str,
        script: impl Fn(&mut Framed, Request) -> bool + Send + Sync + 'static,
    ) {
        let script = Arc::new(script);
        self.network.attach(id.parse().unwrap(), move |stream| {
            let script = script.clone();
            std::thread::spawn(move || {
                let stream = connection::buffered(Box::new(stream));
                let Ok(mut framed) = Framed::accept(stream, &Identity::default()) else {
                    return;
                };
                while let Ok(Some(head)) = framed.receive::<Request>(Duration::from_secs(60)) {
                    if !script(&mut framed, head.message) {
                        return;
                    }
                }
            });
        });
    }

    fn path(&self, peer: &str, name: &str) -> PathBuf {
        self.folder.path().join(peer).join(name)
    }

    fn write(&self, peer: &str, name: &str, data: &[u8]) {
        let path = self.path(peer, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    fn transfers(&self) -> Transfers {
        Transfers::new(Surroundings {
            own: None,
            served_files: self.path("client", ""),
            audience: Arc::new(Terminal::new(true)),
            network: self.network.clone(),
            waits: Waits::brief(config::STALL_TIMEOUT),
        })
    }

    /// What the client does with a line.
    fn type_in(&self, line: &str) -> ExitStatus {
        let command = Typed::parse(&words::split(line).unwrap()).unwrap().command.unwrap();
        self.transfers().execute(&command, &Manner::default(), &self.topology)
    }

    fn peers(&self) -> Vec<Peer> {
        self.topology.peers().to_vec()
    }

    /// Fetches into the client's folder and says how it ended, with what each peer sent.
    fn fetch(
        &self,
        pattern: &str,
        replace: bool,
    ) -> (Result<FolderOutcome, TransferError>, Vec<u64>) {
        let store = Store::open(&self.path("client", "")).unwrap();
        let share = Share { pattern: Some(pattern.to_owned()), ..Share::default() };
        let progress = Progress::new(0);
        let caller = Caller { identity: Identity::default(), network: self.network.clone() };
        let source =
            |peer| -> Box<dyn Dial> { Box::new(FramedPeer::new(peer, caller.clone(), None)) };
        let sources = self.peers().into_iter().map(source).collect();
        let (store, share, cancel) = (&store, &share, &Cancel::new());
        let (progress, observer) = (&progress, &|_| ());
        let waits = Waits::brief(config::STALL_TIMEOUT);
        let result = FolderFetch {
            store,
            share,
            replace,
            progress,
            cancel,
            waits,
            observer,
            renamed: None,
            dry_run: false,
            swarm: None,
            unit_size: None,
        }
        .run(sources);
        (result, progress.snapshot().sources.iter().map(|source| source.bytes).collect())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.end_sessions();
        }
    }
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    let mut data: Vec<u8> = (0..length).map(|i| (i * 31 + i / 251) as u8).collect();
    data.iter_mut().zip(seed.to_le_bytes()).for_each(|(byte, of_seed)| *byte = of_seed);
    data
}

/// Everything in a folder but what is private: kind, mode, modification time and bytes by name.
fn tree(folder: &Path) -> BTreeMap<String, (bool, u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if name == ".peershare" {
                continue;
            }
            let metadata = fs::metadata(&path).unwrap();
            let data = if metadata.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            let (mode, seconds) = (metadata.mode() & 0o777, metadata.mtime());
            found.insert(name, (metadata.is_dir(), mode, seconds, metadata.mtime_nsec(), data));
            if metadata.is_dir() {
                ahead.push(path);
            }
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    tree(folder).into_iter().filter(|(_, (folder, ..))| !folder).map(|(name, _)| name).collect()
}

fn set(path: &Path, mode: u32, time: Duration) {
    let file = fs::File::open(path).unwrap();
    file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
    file.set_modified(UNIX_EPOCH + time).unwrap();
}

/// A folder with everything that a folder can have.
fn make_tree(net: &Net, peer: &str) {
    net.write(peer, "photos/a.jpg", &pattern(1, 5000));
    net.write(peer, "photos/A.JPG", &pattern(2, 100));
    net.write(peer, "photos/deep/er/b c.bin", &pattern(3, 300_000));
    net.write(peer, "photos/deep/empty file", b"");
    net.write(peer, "photos/deep/copy of a", &pattern(1, 5000));
    net.write(peer, "photos/large.bin", &pattern(4, 5_000_000));
    fs::create_dir_all(net.path(peer, "photos/empty/folder")).unwrap();
    set(&net.path(peer, "photos/a.jpg"), 0o640, Duration::new(1_000_000_000, 123_456_789));
    set(&net.path(peer, "photos/A.JPG"), 0o755, Duration::new(1, 1));
    set(&net.path(peer, "photos/large.bin"), 0o444, Duration::new(1_500_000_000, 5));
    set(&net.path(peer, "photos/deep/er"), 0o750, Duration::new(1_200_000_000, 7));
    set(&net.path(peer, "photos/empty/folder"), 0o700, Duration::new(1_300_000_000, 9));
    set(&net.path(peer, "photos"), 0o755, Duration::new(1_400_000_000, 0));
}

#[test]
fn a_folder_is_downloaded_with_all_that_is_in_it_and_a_second_run_moves_nothing() {
    let net = Net::new(&["p1", "p2"]);
    make_tree(&net, "p1");
    make_tree(&net, "p2");
    assert_eq!(net.type_in("download photos/ p1 p2"), ExitStatus::Success);
    assert_eq!(tree(&net.path("client", "")), tree(&net.path("p1", "")));
    let (result, bytes) = net.fetch("photos/", false);
    let outcome = result.unwrap();
    assert_eq!((outcome.received, outcome.here, bytes.iter().sum::<u64>()), (0, 6, 0));
    assert_eq!(fs::read_dir(net.path("client", ".peershare/parts")).unwrap().count(), 0);
}

#[test]
fn a_folder_is_uploaded_from_the_served_folder_and_from_elsewhere() {
    let net = Net::new(&["p1", "p2"]);
    make_tree(&net, "client");
    assert_eq!(net.type_in("upload photos"), ExitStatus::Success);
    for peer in ["p1", "p2"] {
        assert_eq!(tree(&net.path("client", "")), tree(&net.path(peer, "")));
    }
    make_tree(&net, "elsewhere");
    fs::rename(net.path("elsewhere", "photos"), net.path("elsewhere", "album")).unwrap();
    let album = net.path("elsewhere", "album");
    let line = format!("upload '{}' p1 -x er", album.display());
    assert_eq!(net.type_in(&line), ExitStatus::Success);
    let there = names(&net.path("p1", "album"));
    assert_eq!(there, ["A.JPG", "a.jpg", "deep/copy of a", "deep/empty file", "large.bin"]);
    assert!(!album.join(".peershare").exists(), "nothing is written to a folder that is only read");
    assert_eq!(net.type_in(&line), ExitStatus::Success);
}

#[test]
fn patterns_choose_and_leave_out() {
    let net = Net::new(&["p1"]);
    for name in ["a.iso", "b.iso", "c.txt", "d/e.iso", "d/f/g.iso", "d/f/h.tmp"] {
        net.write("p1", name, name.as_bytes());
    }
    assert_eq!(net.type_in("download '*.iso' -x b*"), ExitStatus::Success);
    assert_eq!(names(&net.path("client", "")), ["a.iso"]);
    assert_eq!(net.type_in("download d/** -x *.tmp"), ExitStatus::Success);
    assert_eq!(names(&net.path("client", "")), ["a.iso", "d/e.iso", "d/f/g.iso"]);
    assert_eq!(net.type_in("download 'nothing/'"), ExitStatus::NoSuchFile);
    assert_eq!(net.type_in("download 'a['"), ExitStatus::NoSuchFile);
    assert_eq!(net.type_in("upload 'd/*.iso' p1"), ExitStatus::Success);
}

#[test]
fn sources_may_have_different_subsets_and_all_are_used() {
    let net = Net::new(&["p1", "p2", "p3"]);
    for i in 0..900_usize {
        for (peer, _) in ["p1", "p2", "p3"].iter().enumerate().filter(|(peer, _)| i % 4 != *peer) {
            net.write(&format!("p{}", peer + 1), &format!("d{}/f{i}", i % 9), &pattern(i, 20_000));
        }
    }
    let (result, bytes) = net.fetch("**", false);
    let outcome = result.unwrap();
    assert_eq!((outcome.received, outcome.failures.len()), (900, 0));
    assert_eq!(bytes.iter().sum::<u64>(), 900 * 20_000, "nothing is fetched twice");
    assert!(bytes.iter().all(|bytes| *bytes > 0), "{bytes:?}");
}

#[test]
fn conflicts_are_told_and_everything_else_is_fetched() {
    let net = Net::new(&["p1", "p2"]);
    net.write("p1", "d/same", b"same");
    net.write("p2", "d/same", b"same");
    net.write("p1", "d/other", b"one");
    net.write("p2", "d/other", b"two");
    net.write("p1", "d/kind", b"file");
    net.write("p2", "d/kind/file", b"file");
    net.write("client", "d/mine", b"mine");
    net.write("p1", "d/mine", b"theirs");
    let (result, _) = net.fetch("d/", false);
    let failures = result.unwrap().failures;
    let of = |name: &'static str| {
        failures.iter().filter(move |(failed, _)| failed.as_str() == name).map(|(_, why)| why)
    };
    assert!(
        of("d/other")
            .all(|why| matches!(why, FileError::Conflict(versions) if versions.len() == 2))
    );
    assert_eq!((of("d/other").count(), of("d/kind").count(), of("d/mine").count()), (1, 1, 1));
    assert!(of("d/mine").all(|why| matches!(why, FileError::InTheWay)));
    assert_eq!(fs::read(net.path("client", "d/same")).unwrap(), b"same");
    assert_eq!(fs::read(net.path("client", "d/mine")).unwrap(), b"mine");
    assert_eq!(net.type_in("download d/"), ExitStatus::SomePeersFailed);
    assert_eq!(net.type_in("download d/ p1 --replace"), ExitStatus::SomePeersFailed);
    assert_eq!(fs::read(net.path("client", "d/mine")).unwrap(), b"theirs");
}

#[test]
fn what_has_the_content_already_is_skipped_whatever_its_time() {
    let net = Net::new(&["p1"]);
    net.write("p1", "d/a", &pattern(1, 9000));
    net.write("client", "d/a", &pattern(1, 9000));
    set(&net.path("client", "d/a"), 0o600, Duration::from_secs(5));
    net.write("p1", "d/b", b"same time and length");
    net.write("client", "d/b", b"SAME TIME AND LENGTH");
    for peer in ["p1", "client"] {
        set(&net.path(peer, "d/b"), 0o600, Duration::from_secs(7));
    }
    let (result, bytes) = net.fetch("d/", false);
    let outcome = result.unwrap();
    assert_eq!((outcome.here, bytes[0]), (1, 0));
    assert!(matches!(outcome.failures[..], [(_, FileError::InTheWay)]), "{:?}", outcome.failures);
}

#[test]
fn only_changed_chunks_of_a_large_file_cross_the_wire() {
    let net = Net::new(&["p1"]);
    let mut data = pattern(5, 40 << 20);
    net.write("client", "d/big", &data);
    data[20_000_000] ^= 1;
    net.write("p1", "d/big", &data);
    let (result, bytes) = net.fetch("d/", true);
    assert_eq!(result.unwrap().received, 1);
    assert_eq!(bytes, [256 << 10], "one chunk of 160");
    assert_eq!(fs::read(net.path("client", "d/big")).unwrap(), data);
    data[0] ^= 1;
    net.write("client", "single", &data);
    assert_eq!(net.type_in("upload single p1"), ExitStatus::Success);
    data[1] ^= 1;
    net.write("client", "single", &data);
    assert_eq!(net.type_in("upload single p1"), ExitStatus::Refused);
    assert_eq!(net.type_in("upload single p1 --replace"), ExitStatus::Success);
    assert_eq!(fs::read(net.path("p1", "single")).unwrap(), data);
}

#[test]
fn links_are_what_they_point_to_and_what_leaves_the_folder_is_left_out() {
    let net = Net::new(&["p1"]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    net.write("p1", "d/real", b"real");
    symlink("real", net.path("p1", "d/link")).unwrap();
    symlink(outside.path().join("secret"), net.path("p1", "d/leak")).unwrap();
    symlink(outside.path(), net.path("p1", "d/leaks")).unwrap();
    let fifo = net.path("p1", "d/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let (result, _) = net.fetch("d/", false);
    let outcome = result.unwrap();
    assert_eq!(outcome.left_out.iter().map(|(_, left_out)| left_out.count).sum::<u64>(), 3);
    assert_eq!(names(&net.path("client", "")), ["d/link", "d/real"]);
    assert!(net.path("client", "d/link").symlink_metadata().unwrap().is_file());
}

#[test]
fn a_source_that_dies_half_way_costs_nothing_but_time() {
    let net = Net::new(&["p1", "p2"]);
    for i in 0..600 {
        net.write("p1", &format!("d/f{i:03}"), &pattern(i, 30_000));
    }
    let store = Store::open(&net.path("p1", "")).unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    // The other source has the same files, and goes after two answers to a gather, for good.
    net.rogue("p2", move |framed, request| {
        let gather = matches!(request, Request::Gather);
        if gather && count.fetch_add(1, Ordering::Relaxed) >= 2 {
            return false;
        }
        Responder::new(store.clone(), Company::default()).answer(framed, request).is_ok()
    });
    let (result, bytes) = net.fetch("d/", false);
    let outcome = result.unwrap();
    assert_eq!((outcome.received, outcome.failures.len()), (600, 0));
    assert!(bytes[0] > 0 && answered.load(Ordering::Relaxed) > 0);
    assert_eq!(tree(&net.path("client", "")), tree(&net.path("p1", "")));
}

#[test]
fn an_interrupted_folder_continues_without_fetching_anything_twice() {
    let net = Net::new(&["p1"]);
    for i in 0..600 {
        net.write("p1", &format!("d/f{i:03}"), &pattern(i, 30_000));
    }
    // A process that was killed: its group has files, and nobody holds its lock.
    let killed = net.path("client", ".peershare/parts/1-1.group");
    fs::create_dir_all(&killed).unwrap();
    for i in 0..100 {
        let data = pattern(i, 30_000);
        let root = whole::hash_all(&[&data])[0].as_ref().unwrap().root();
        fs::write(killed.join(format!("{root}.{i}")), &data).unwrap();
    }
    let torn = whole::hash_all(&[&pattern(100, 30_000)[..]])[0].as_ref().unwrap().root();
    fs::write(killed.join(format!("{torn}.100")), vec![0; 30_000]).unwrap();
    // And some that had their names already.
    for i in 200..300 {
        net.write("client", &format!("d/f{i:03}"), &pattern(i, 30_000));
    }
    let (result, bytes) = net.fetch("d/", false);
    let outcome = result.unwrap();
    assert_eq!((outcome.received, outcome.here), (500, 100));
    assert_eq!(bytes, [400 * 30_000]);
    assert_eq!(names(&net.path("client", "")).len(), 600);
    assert!(!killed.exists());
}

#[test]
fn an_upload_to_a_peer_that_has_some_of_it_moves_only_the_rest() {
    let net = Net::new(&["p1"]);
    for i in 0..50 {
        net.write("client", &format!("d/f{i:02}"), &pattern(i, 1000));
    }
    (0..25).for_each(|i| net.write("p1", &format!("d/f{i:02}"), &pattern(i, 1000)));
    net.write("p1", "d/f30", b"other");
    assert_eq!(net.type_in("upload d p1"), ExitStatus::SomePeersFailed);
    assert_eq!(fs::read(net.path("p1", "d/f30")).unwrap(), b"other");
    assert_eq!(names(&net.path("p1", "")).len(), 50);
    assert_eq!(net.type_in("upload d/ p1 --replace"), ExitStatus::Success);
    assert_eq!(fs::read(net.path("p1", "d/f30")).unwrap(), pattern(30, 1000));
}

/// One page of a listing as a rogue peer has it.
fn page(framed: &mut Framed, entries: &str) -> bool {
    framed
        .send(&Response::Listing { next: None, left_out: 0, shared: false }, entries.as_bytes())
        .is_ok()
}

#[test]
fn listings_that_lie_are_refused_and_touch_nothing() {
    let zeros = "0".repeat(64);
    let entry = |name: &str| format!(r#"{{"name":"{name}","length":3,"root":"{zeros}"}}"#);
    let lists = [
        format!("[{}]", entry("../x")),
        format!("[{}]", entry("/etc/x")),
        format!("[{}]", entry(".peershare/catalog")),
        format!("[{},{}]", entry("d/a"), entry("d/a")),
        format!("[{},{}]", entry("d/b"), entry("d/a")),
        format!("[{}]", entry("elsewhere")),
        "[".repeat(2000),
        r#"[{"name":"d/a","length":-1}]"#.to_owned(),
    ];
    for list in lists {
        let net = Net::new(&["honest", "rogue"]);
        net.write("honest", "d/good", b"good");
        let shown = list.clone();
        net.rogue("rogue", move |framed, _| page(framed, &list));
        let (result, _) = net.fetch("d/", false);
        let outcome = result.unwrap();
        assert_eq!(outcome.lost.len(), 1, "{shown}");
        assert_eq!(names(&net.path("client", "")), ["d/good"], "{shown}");
    }
}

#[test]
fn a_file_beneath_a_file_and_lengths_beyond_all_bounds_fail_for_themselves() {
    let net = Net::new(&["honest", "rogue"]);
    net.write("honest", "d/good", b"good");
    let good = whole::hash_all(&[b"abc"])[0].as_ref().unwrap().root();
    let list = format!(
        r#"[{{"name":"d/a","length":3,"root":"{good}"}},{{"name":"d/a/b","length":3,"root":"{good}"}},
            {{"name":"d/huge","length":{},"root":"{good}"}}]"#,
        u64::MAX
    );
    net.rogue("rogue", move |framed, request| match request {
        Request::List { .. } => page(framed, &list),
        Request::Gather => framed
            .send(&Response::Gathered { lengths: vec![Some(3)], shared: false }, b"abc")
            .is_ok(),
        _ => false,
    });
    let (result, _) = net.fetch("d/", false);
    let outcome = result.unwrap();
    let mut failed: Vec<&str> = outcome.failures.iter().map(|(name, _)| name.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["d/a/b", "d/huge"], "{:?}", outcome.failures);
    assert_eq!(names(&net.path("client", "")), ["d/a", "d/good"]);
}

#[test]
fn gathers_that_do_not_verify_are_fetched_from_others_and_nothing_bad_is_kept() {
    type Answer = (&'static str, ExitStatus, fn(&mut Framed) -> bool);
    let answers: [Answer; 4] = [
        ("bad bytes", ExitStatus::Integrity, |framed| {
            framed
                .send(&Response::Gathered { lengths: vec![Some(1000)], shared: false }, &[7; 1000])
                .is_ok()
        }),
        ("another length", ExitStatus::Failed, |framed| {
            framed
                .send(&Response::Gathered { lengths: vec![Some(9)], shared: false }, &[7; 9])
                .is_ok()
        }),
        ("more than asked", ExitStatus::Failed, |framed| {
            framed
                .send(
                    &Response::Gathered { lengths: vec![Some(1000); 2], shared: false },
                    &[7; 2000],
                )
                .is_ok()
        }),
        ("nothing", ExitStatus::NoSuchFile, |framed| {
            framed.send(&Response::Gathered { lengths: vec![None], shared: false }, &[]).is_ok()
        }),
    ];
    for (what, status, answer) in answers {
        let net = Net::new(&["honest", "rogue"]);
        net.write("honest", "d/a", &pattern(1, 1000));
        let store = Store::open(&net.path("honest", "")).unwrap();
        net.rogue("rogue", move |framed, request| match request {
            Request::Gather => answer(framed),
            request => {
                Responder::new(store.clone(), Company::default()).answer(framed, request).is_ok()
            }
        });
        let (result, bytes) = net.fetch("d/", false);
        let outcome = result.unwrap();
        assert_eq!((outcome.received, outcome.failures.len()), (1, 0), "{what}");
        assert_eq!(bytes, [1000, 0], "{what}");
        assert_eq!(fs::read(net.path("client", "d/a")).unwrap(), pattern(1, 1000), "{what}");

        // Alone it is of no use, and that is told.
        let alone = net.type_in("download d/ rogue --replace -x a");
        assert!(matches!(alone, ExitStatus::Success | ExitStatus::NoSuchFile), "{what}: {alone:?}");
        fs::remove_file(net.path("client", "d/a")).unwrap();
        assert_eq!(net.type_in("download d/ rogue"), status, "{what}");
        assert!(!net.path("client", "d/a").exists(), "{what}");
    }
}

#[test]
fn a_hundred_thousand_names_are_listed_in_pages() {
    let net = Net::new(&["p1"]);
    net.rogue("p1", |framed, request| match request {
        Request::List { after, .. } => {
            let start: usize =
                after.map_or(0, |name| name.as_str()[1..].parse::<usize>().unwrap() + 1);
            let names: Vec<String> =
                (start..start + config::LIST_PAGE).map(|i| format!("f{i:06}")).collect();
            let entry = |name: &String| format!(r#"{{"name":"{name}","length":1}}"#);
            let entries: Vec<String> = names.iter().map(entry).collect();
            let end = start + config::LIST_PAGE >= 100_000;
            let next = names.last().filter(|_| !end).map(|name| name.parse().unwrap());
            let payload = format!("[{}]", entries.join(","));
            framed
                .send(&Response::Listing { next, left_out: 0, shared: false }, payload.as_bytes())
                .is_ok()
        }
        _ => false,
    });
    assert_eq!(net.type_in("filelist p1"), ExitStatus::Success);
}

#[test]
fn the_time_of_a_single_file_travels_too() {
    let net = Net::new(&["p1", "p2"]);
    net.write("p1", "f", &pattern(1, 700_000));
    set(&net.path("p1", "f"), 0o600, Duration::new(1_000_000_000, 42));
    assert_eq!(net.type_in("download f p1"), ExitStatus::Success);
    assert_eq!(net.type_in("upload f p2"), ExitStatus::Success);
    for peer in ["client", "p2"] {
        let metadata = fs::metadata(net.path(peer, "f")).unwrap();
        assert_eq!(
            metadata.modified().unwrap(),
            SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 42)
        );
        assert_eq!(metadata.mode() & 0o777, 0o600);
    }
}
