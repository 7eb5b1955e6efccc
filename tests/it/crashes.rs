//! Processes that are killed (`kill -9`) at random moments: servers, clients and members of swarms.
//!
//! Whatever the moment: every file that can be seen is whole, the same command completes it, what a
//! journal vouched for is not fetched again, and nothing is left behind.
//!
//! `PEERSHARE_ROUNDS` says how often each is tried, `PEERSHARE_SEED` with which seed to begin. What
//! a failed test prints names the seed and the moment of the round that failed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::lab::{DEADLINE, bytes};
use super::programs::{Running, Server, Site};

/// Rounds of each kind when nobody says otherwise.
const ROUNDS: u64 = 2;

/// Longest file in bytes then; with more rounds there are some whose journal is written midway.
const BRIEF: u64 = 6 << 20;
const LONG: u64 = 100 << 20;

/// Files by their names.
type Files = BTreeMap<String, Vec<u8>>;

fn setting(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Plays a kind of round with one seed after the other. The moment of the kill is one within the
/// time that such a transfer takes, which is learned.
fn play(kind: &str, mut round: impl FnMut(&mut Luck)) {
    let rounds = setting("PEERSHARE_ROUNDS").unwrap_or(ROUNDS);
    let first = setting("PEERSHARE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let (mut span, mut struck) = (Duration::from_millis(150), 0);
    for seed in first..first + rounds {
        let mut luck = Luck::of(seed, span, if rounds > ROUNDS { LONG } else { BRIEF });
        eprintln!("{kind}: PEERSHARE_SEED={seed}, killed after {:?}", luck.moment);
        let begun = Instant::now();
        round(&mut luck);
        eprintln!("    it took {:?}", begun.elapsed());
        struck += u64::from(luck.struck);
        span = if luck.struck { span * 9 / 8 } else { span * 7 / 8 };
        span = span.clamp(Duration::from_millis(20), Duration::from_secs(5));
    }
    eprintln!("{kind}: {rounds} rounds, {struck} of them killed in the middle");
}

/// What chance decides in one round.
struct Luck {
    state: u64,
    /// When somebody is killed, from the start of the client on.
    moment: Duration,
    longest: u64,
    /// Whether that was before the client had ended.
    struck: bool,
}

impl Luck {
    fn of(seed: u64, span: Duration, longest: u64) -> Self {
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut luck = Self { state, moment: Duration::ZERO, longest, struck: false };
        luck.moment = Duration::from_micros(luck.below(span.as_micros() as u64));
        luck
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % end
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        let block = bytes(self.state, (len as usize).min(256 << 10));
        let mut data = Vec::with_capacity(len as usize);
        while data.len() < len as usize {
            data.extend(self.below(u64::MAX).to_le_bytes());
            data.extend(&block[..block.len().min((len as usize).saturating_sub(data.len()))]);
        }
        data.truncate(len as usize);
        data
    }

    /// One file of several chunks.
    fn file(&mut self) -> Files {
        let length = 600_000 + self.below(self.longest);
        [("x".to_owned(), self.bytes(length))].into()
    }

    /// Many small files, empty ones among them, and two that travel chunk by chunk.
    fn folder(&mut self) -> Files {
        let mut files = Files::new();
        for number in 0..40 + self.below(self.longest >> 17) {
            let length = self.below(2) * self.below(60_000);
            files.insert(format!("d/{}/{number}", number % 7), self.bytes(length));
        }
        for number in 0..2 {
            let length = (5 << 20) + self.below(self.longest >> 4);
            files.insert(format!("d/large{number}"), self.bytes(length));
        }
        files
    }

    /// Waits for the moment, kills, and waits for the client to end in its own way.
    fn strike(&mut self, client: &mut Running, kill: impl FnOnce(&mut Running)) {
        let until = Instant::now() + self.moment;
        while let left = until.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            thread::park_timeout(left);
        }
        self.struck = client.runs();
        kill(client);
        client.ends();
    }
}

/// Kills it, unless it has ended.
fn kill(running: &mut Running) {
    if running.runs() {
        running.signal(Signal::KILL);
        running.ends();
    }
}

/// The word that names all of these files.
fn word(files: &Files) -> &'static str {
    if files.contains_key("x") { "x" } else { "d/" }
}

fn put_all(site: &Site, peer: &str, files: &Files) {
    files.iter().for_each(|(name, data)| site.put(peer, name, data));
}

fn list(site: &Site, servers: &[(&str, &Server)]) {
    let peers: Vec<(&str, u16)> = servers.iter().map(|(id, server)| (*id, server.port)).collect();
    site.list_peers(&peers);
}

/// The client with that folder, which waits no longer than a moment for those who are killed.
fn start(site: &Site, folder: &str, words: &[&str]) -> Running {
    let mut command = site.client_command_of(folder);
    Running::start(command.args(["--timeout", "1s"]).args(words))
}

/// The same command again until it succeeds, as others may be at it still; gives the bytes that
/// came in each transfer, by peer.
#[track_caller]
fn complete(site: &Site, folder: &str, words: &[&str]) -> BTreeMap<String, u64> {
    let (until, mut came) = (Instant::now() + DEADLINE, BTreeMap::new());
    loop {
        let mut client = assert_cmd::Command::from_std(site.client_command_of(folder));
        let client = client.args(["--timeout", "1s", "--json"]).args(words).timeout(DEADLINE);
        let output = client.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in said.lines().filter(|line| line.contains("\"event\":\"transferred\"")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let peer = line["peer"].as_str().unwrap_or_default().to_owned();
            *came.entry(peer).or_default() += line["bytes"].as_u64().unwrap();
        }
        if output.status.success() {
            return came;
        }
        assert!(matches!(output.status.code(), Some(1..=9)), "{:?}: {said}", output.status);
        assert!(Instant::now() < until, "{words:?} does not succeed: {said}");
    }
}

/// No file can be seen that is not whole; gives the bytes of those that can.
#[track_caller]
fn all_whole(site: &Site, peer: &str, files: &Files) -> u64 {
    let mut bytes = 0;
    for (name, data) in files {
        if let Some(found) = site.read(peer, name) {
            assert!(found == *data, "{peer} shows {} bytes of {name} that are wrong", found.len());
            bytes += data.len() as u64;
        }
    }
    bytes
}

#[track_caller]
fn assert_whole(site: &Site, peer: &str, files: &Files) {
    all_whole(site, peer, files);
}

/// All files are there, whole, and nothing else is.
#[track_caller]
fn complete_and_clean(site: &Site, peer: &str, files: &Files) {
    let all: u64 = files.values().map(|data| data.len() as u64).sum();
    assert_eq!(all_whole(site, peer, files), all, "{peer} lacks files");
    assert!(files.keys().all(|name| site.path(peer).join(name).is_file()), "{peer} lacks files");
    // A living server may still be about to notice that the other side is gone.
    let mut left = Vec::new();
    let until = Instant::now() + DEADLINE;
    loop {
        let now = parts(site, peer);
        if now.iter().all(|entry| entry == "server") {
            break;
        }
        assert!(Instant::now() < until, "{peer} has {now:?} left");
        if now != left {
            eprintln!("    {peer} still has {now:?}");
            left = now;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    assert!(!site.path(peer).join(".peershare/catalog.new").exists());
}

/// What lies among the part files.
fn parts(site: &Site, peer: &str) -> Vec<String> {
    let entries = fs::read_dir(site.path(peer).join(".peershare/parts"));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries.into_iter().flatten().map(|entry| name(entry).into_string().unwrap()).collect()
}

/// Bytes that journals vouch for; of the last chunks only those that they have for certain.
fn vouched(site: &Site, peer: &str) -> u64 {
    let folder = site.path(peer).join(".peershare/parts");
    let journals = parts(site, peer).into_iter().filter(|entry| entry.ends_with(".journal"));
    journals.map(|entry| vouched_by(&folder.join(entry))).sum()
}

fn vouched_by(journal: &Path) -> u64 {
    let bytes = fs::read(journal).unwrap();
    let body = bytes.strip_prefix(b"peershare part 1\n").unwrap();
    let end = body.iter().position(|byte| *byte == b'\n').unwrap();
    let head: serde_json::Value = serde_json::from_slice(&body[..end]).unwrap();
    let chunks = &body[end + 1..body.len() - 32];
    let count: u32 = chunks.iter().map(|byte| byte.count_ones()).sum();
    let part = journal.with_extension("");
    if !part.exists() {
        // It has its name already.
        return 0;
    }
    u64::from(count.saturating_sub(1)) * head["chunk_size"].as_u64().unwrap()
}

/// Nothing was fetched again that could be seen or was vouched for.
#[track_caller]
fn only_the_rest(came: u64, files: &Files, had: u64) {
    let all: u64 = files.values().map(|data| data.len() as u64).sum();
    assert!(came <= all - had, "{came} bytes came though {had} of {all} were there");
}

fn download(luck: &mut Luck, files: &Files, kill_server: bool) {
    let site = Site::new();
    put_all(&site, "a", files);
    let mut server = site.server("a");
    list(&site, &[("a", &server)]);
    let mut client = start(&site, "me", &["download", word(files)]);
    luck.strike(&mut client, |client| match kill_server {
        true => kill(&mut server.running),
        false => kill(client),
    });
    let had = all_whole(&site, "me", files) + vouched(&site, "me");
    if kill_server {
        server = site.server("a");
        list(&site, &[("a", &server)]);
    }
    let came = complete(&site, "me", &["download", word(files)]);
    only_the_rest(came.values().sum(), files, had);
    complete_and_clean(&site, "me", files);
    complete_and_clean(&site, "a", files);
}

fn upload(luck: &mut Luck, files: &Files, kill_server: bool) {
    let site = Site::new();
    put_all(&site, "me", files);
    let mut server = site.server("a");
    list(&site, &[("a", &server)]);
    let mut client = start(&site, "me", &["upload", word(files)]);
    luck.strike(&mut client, |client| match kill_server {
        true => kill(&mut server.running),
        false => kill(client),
    });
    let mut had = all_whole(&site, "a", files);
    if kill_server {
        had += vouched(&site, "a");
        server = site.server("a");
        list(&site, &[("a", &server)]);
    }
    let came = complete(&site, "me", &["upload", word(files)]);
    if kill_server {
        only_the_rest(came.values().sum(), files, had);
    }
    complete_and_clean(&site, "a", files);
    complete_and_clean(&site, "me", files);
}

/// An upload to three peers that fetch from one another, of which one is killed, or the uploader.
fn upload_to_a_swarm(luck: &mut Luck, files: &Files) {
    let site = Site::new();
    put_all(&site, "me", files);
    let peers = ["a", "b", "c"];
    site.list_peers(&[("a", 1), ("b", 2), ("c", 3)]);
    let mut servers = peers.map(|peer| site.server(peer));
    let told = |site: &Site, servers: &[Server; 3]| {
        list(site, &[("a", &servers[0]), ("b", &servers[1]), ("c", &servers[2])]);
    };
    told(&site, &servers);
    let mut client = start(&site, "me", &["upload", word(files), "all"]);
    let victim = luck.below(4) as usize;
    luck.strike(&mut client, |client| {
        kill(servers.get_mut(victim).map_or(client, |server| &mut server.running));
    });
    peers.iter().for_each(|peer| assert_whole(&site, peer, files));
    let mut had = 0;
    if let (Some(peer), Some(server)) = (peers.get(victim), servers.get_mut(victim)) {
        had = all_whole(&site, peer, files) + vouched(&site, peer);
        *server = site.server(peer);
        told(&site, &servers);
    }
    let came = complete(&site, "me", &["upload", word(files), "all"]);
    if let Some(peer) = peers.get(victim) {
        only_the_rest(came.get(*peer).copied().unwrap_or(0), files, had);
    }
    peers.iter().for_each(|peer| complete_and_clean(&site, peer, files));
    complete_and_clean(&site, "me", files);
}

/// Two downloads of the same at the same time, with a server beside each, of which one is killed.
fn download_together(luck: &mut Luck, files: &Files) {
    let site = Site::new();
    put_all(&site, "a", files);
    site.list_peers(&[("a", 1), ("b", 2), ("c", 3)]);
    let servers = ["a", "b", "c"].map(|peer| site.server(peer));
    list(&site, &[("a", &servers[0]), ("b", &servers[1]), ("c", &servers[2])]);
    let at = |peer| ["--peer", peer, "download", word(files)];
    let mut other = start(&site, "c", &at("c"));
    let mut client = start(&site, "b", &at("b"));
    luck.strike(&mut client, kill);
    other.ends();
    let had = all_whole(&site, "b", files) + vouched(&site, "b");
    let came = complete(&site, "b", &at("b"));
    only_the_rest(came.values().sum(), files, had);
    complete(&site, "c", &at("c"));
    ["a", "b", "c"].iter().for_each(|peer| complete_and_clean(&site, peer, files));
}

#[test]
fn a_killed_client_loses_no_download() {
    play("client, downloading a file", |luck| {
        let files = luck.file();
        download(luck, &files, false);
    });
    play("client, downloading a folder", |luck| {
        let files = luck.folder();
        download(luck, &files, false);
    });
}

#[test]
fn a_killed_server_loses_no_download() {
    play("server, giving a file", |luck| {
        let files = luck.file();
        download(luck, &files, true);
    });
    play("server, giving a folder", |luck| {
        let files = luck.folder();
        download(luck, &files, true);
    });
}

#[test]
fn a_killed_client_loses_no_upload() {
    play("client, uploading a file", |luck| {
        let files = luck.file();
        upload(luck, &files, false);
    });
    play("client, uploading a folder", |luck| {
        let files = luck.folder();
        upload(luck, &files, false);
    });
}

#[test]
fn a_killed_server_loses_no_upload() {
    play("server, receiving a file", |luck| {
        let files = luck.file();
        upload(luck, &files, true);
    });
    play("server, receiving a folder", |luck| {
        let files = luck.folder();
        upload(luck, &files, true);
    });
}

#[test]
fn a_killed_member_of_a_swarm_loses_nothing() {
    play("swarm, a file to three", |luck| {
        let files = luck.file();
        upload_to_a_swarm(luck, &files);
    });
    play("swarm, a folder to three", |luck| {
        let files = luck.folder();
        upload_to_a_swarm(luck, &files);
    });
    play("swarm, a file downloaded by two", |luck| {
        let files = luck.file();
        download_together(luck, &files);
    });
}
