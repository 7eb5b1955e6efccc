//! Downloads of one file from one source at the same time: they fetch from one another too, through
//! the servers that their peers run beside them. Every peer has a store of its own for its server
//! and another for its client, on the same folder, as two processes have.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use peershare::content::ChunkSet;
use peershare::topology::Peer;
use peershare::transport::{Cancel, Closer, Network, Stream};
use peershare::wire::{Request, Response};

use super::lab::{CHUNK, Client, DEADLINE, Lab, Outcome, bytes, eventually, manifest};
use super::rogue::{Deed, Rogue};
use super::speaker::Speaker;

const LENGTH: usize = 8 << 20;

/// The one uplink of a peer: its chunks go out one after the other, each in its time.
#[derive(Default)]
struct Uplink {
    free_at: Mutex<Option<Instant>>,
    sent: AtomicU64,
}

impl Uplink {
    /// Bytes a second: slow enough that the others have time to notice one another.
    const RATE: usize = 16 << 20;

    /// Lets that peer answer over this link from now on.
    fn of(lab: &Lab, peer: &str) -> Arc<Self> {
        let (link, host) = (Arc::new(Self::default()), lab.host(peer));
        let given = link.clone();
        let accept =
            move |stream| host.serve(Slow { inner: Box::new(stream), link: given.clone() });
        lab.network.attach(peer.parse().unwrap(), accept);
        link
    }

    fn pass(&self, len: usize) {
        let until = {
            let mut free_at = self.free_at.lock().unwrap();
            let now = Instant::now();
            let time = Duration::from_secs_f64(len as f64 / Self::RATE as f64);
            let next = free_at.unwrap_or(now).max(now) + time;
            *free_at.insert(next)
        };
        while let Some(left) =
            until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            thread::park_timeout(left);
        }
        self.sent.fetch_add(len as u64, SeqCst);
    }

    fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }
}

struct Slow {
    inner: Box<dyn Stream>,
    link: Arc<Uplink>,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Stream for Slow {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<()> {
        self.link.pass(len);
        self.inner.send_file(file, offset, len)
    }

    fn closer(&self) -> Closer {
        self.inner.closer()
    }

    fn remote(&self) -> String {
        self.inner.remote()
    }
}

/// Clients at these peers of which none gets further than half a chunk before all are that far.
fn clients(lab: &Lab, peers: &[&str]) -> Vec<Client> {
    let start = Arc::new(Barrier::new(peers.len()));
    let client = |peer: &&str| {
        let (client, start) = (lab.client_at(peer), start.clone());
        client.traffic.after(CHUNK as u64 / 2, move || {
            start.wait();
        });
        client
    };
    peers.iter().map(client).collect()
}

fn run_all(clients: Vec<Client>, line: &str) -> Vec<Outcome> {
    thread::scope(|scope| {
        let run = |mut client: Client| scope.spawn(move || client.run(line));
        let running: Vec<_> = clients.into_iter().map(run).collect();
        running.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn simultaneous_downloads_take_little_more_than_one_file_from_the_source() {
    let peers = ["a", "b", "c", "d"];
    let lab = Lab::of(&["s", "a", "b", "c", "d"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    lab.client().run("filelist").succeeded();
    let link = Uplink::of(&lab, "s");
    let outcomes = run_all(clients(&lab, &peers), "download x");
    for (outcome, peer) in outcomes.into_iter().zip(peers) {
        let outcome = outcome.succeeded().prints(" from s ");
        let others = peers.iter().filter(|other| **other != peer);
        assert!(
            others.into_iter().any(|other| outcome.out.contains(&format!(" {other} "))),
            "{outcome:?}"
        );
        lab.assert_has(peer, "x", &data);
    }
    assert!(link.sent() < 2 * LENGTH as u64, "{} bytes left the source", link.sent());
}

#[test]
fn simultaneous_downloads_of_a_folder_take_little_more_than_one_from_the_source() {
    let peers = ["a", "b", "c"];
    let lab = Lab::of(&["s", "a", "b", "c"]);
    let mut files = vec![("d/large".to_owned(), bytes(1, (5 << 20) + 3))];
    files.extend((0..200).map(|number| (format!("d/sub/{number}"), bytes(number + 2, 20_000))));
    files.iter().for_each(|(name, data)| lab.put("s", name, data));
    lab.client().run("filelist").succeeded();
    let length: usize = files.iter().map(|(_, data)| data.len()).sum();
    let link = Uplink::of(&lab, "s");
    for outcome in run_all(clients(&lab, &peers), "download d/") {
        outcome.succeeded();
    }
    for peer in peers {
        files.iter().for_each(|(name, data)| lab.assert_has(peer, name, data));
    }
    assert!(link.sent() < 2 * length as u64, "{} of {length} bytes left the source", link.sent());
}

#[test]
fn simultaneous_downloads_from_two_sources_take_one_file_from_both_together() {
    let peers = ["a", "b", "c"];
    let lab = Lab::of(&["s", "t", "a", "b", "c"]);
    let data = bytes(1, LENGTH);
    ["s", "t"].iter().for_each(|peer| lab.put(peer, "x", &data));
    lab.client().run("filelist").succeeded();
    let links = [Uplink::of(&lab, "s"), Uplink::of(&lab, "t")];
    for (outcome, peer) in run_all(clients(&lab, &peers), "download x s t").into_iter().zip(peers) {
        outcome.succeeded();
        lab.assert_has(peer, "x", &data);
    }
    let sent = links.iter().map(|link| link.sent()).sum::<u64>();
    assert!(sent < 5 * LENGTH as u64 / 2, "{sent} bytes left the sources");
}

#[test]
fn downloads_that_do_without_others_take_all_from_the_source() {
    let lab = Lab::of(&["s", "a", "b"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    for outcome in run_all(clients(&lab, &["a", "b"]), "download x --no-swarm") {
        outcome.succeeded().prints("from s 100%");
    }
    lab.assert_has("a", "x", &data);
    lab.assert_has("b", "x", &data);
}

#[test]
fn a_download_alone_takes_all_from_the_source() {
    let lab = Lab::of(&["s", "a", "b"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    lab.client_at("a").run("download x").succeeded().prints("from s 100%");
    lab.assert_has("a", "x", &data);
}

#[test]
fn a_downloader_that_dies_half_way_does_not_keep_the_others_from_the_file() {
    let lab = Lab::of(&["s", "a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    let _link = Uplink::of(&lab, "s");
    let others = clients(&lab, &["a", "b"]);
    let (mut dying, server, network) = (lab.client_at("c"), lab.host("c"), lab.network.clone());
    let (end, ended) = mpsc::channel::<()>();
    dying.traffic.after(LENGTH as u64 / 2, move || {
        network.detach(&"c".parse().unwrap());
        server.end_sessions();
        // It does nothing more as long as the others are at it.
        let _ = ended.recv_timeout(DEADLINE);
    });
    thread::scope(|scope| {
        let dying = scope.spawn(|| dying.run("download x"));
        for (outcome, peer) in run_all(others, "download x").into_iter().zip(["a", "b"]) {
            outcome.succeeded();
            lab.assert_has(peer, "x", &data);
        }
        drop(end);
        dying.join().unwrap().succeeded();
    });
}

#[test]
fn a_downloader_without_a_server_gets_the_file_and_so_do_the_others() {
    let mut lab = Lab::of(&["s", "a", "b", "c"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    lab.kill("c");
    let _link = Uplink::of(&lab, "s");
    let outcomes = run_all(clients(&lab, &["a", "b", "c"]), "download x");
    for (outcome, peer) in outcomes.into_iter().zip(["a", "b", "c"]) {
        let outcome = outcome.succeeded();
        assert!(!outcome.out.contains(" c "), "nobody can fetch from c: {outcome:?}");
        lab.assert_has(peer, "x", &data);
    }
}

#[test]
fn a_source_that_always_speaks_of_others_is_used_all_the_same() {
    let data = bytes(1, LENGTH);
    let chunk = |data: &[u8], number: u32| {
        let start = number as usize * CHUNK;
        data[start..data.len().min(start + CHUNK)].to_vec()
    };
    let handed = |number, all| Response::Handed {
        chunk: number,
        handed: [].into(),
        seen: u64::MAX,
        all,
        whole: Vec::new(),
    };
    let refused = || Deed::Honest;
    let nothing = move || Deed::Say(handed(None, true), Vec::new());
    let beyond = move || Deed::Say(handed(Some(u32::MAX), false), Vec::new());
    let cut = || Deed::Cut;
    let deeds: [Box<dyn Fn() -> Deed + Send + Sync>; 4] =
        [Box::new(refused), Box::new(nothing), Box::new(beyond), Box::new(cut)];
    for deed in deeds {
        let mut lab = Lab::of(&["s", "a"]);
        let bytes = data.clone();
        let rogue = Rogue::new("x", &data, move |request, _| match request {
            Request::Read { chunk: number, .. } => {
                Deed::Say(Response::Chunk { chunk: *number, shared: true }, chunk(&bytes, *number))
            }
            Request::Next { .. } => deed(),
            _ => Deed::Honest,
        });
        lab.rogue("s", &rogue);
        lab.client_at("a").run("download x").succeeded().prints("from s 100%");
        lab.assert_has("a", "x", &data);
    }
}

#[test]
fn a_server_says_and_gives_what_its_client_has_of_a_download() {
    let lab = Lab::of(&["s", "a"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    let manifest = manifest("x", &data);
    let mut client = lab.client_at("a");
    let (network, root, layout) = (lab.network.clone(), manifest.root(), *manifest.layout());
    let (say, heard) = mpsc::channel();
    client.traffic.after(LENGTH as u64 / 2, move || {
        let peer = Peer::at("a".parse().unwrap(), "-", 1);
        let stream = network.dial(&peer, DEADLINE, &Cancel::new()).unwrap();
        let mut speaker = Speaker::over(stream).introduce();
        let have = |speaker: &mut Speaker| {
            speaker.send(&Request::Have { root, chunk_size: 0 }, &[]);
            let (answer, payload) = speaker.answer_with_payload();
            assert_eq!(answer, Response::Have);
            ChunkSet::from_bytes(&layout, &payload).unwrap()
        };
        // What came is verified and written by other threads.
        eventually("half of it is there", || have(&mut speaker).len() >= layout.count() / 3);
        let first = have(&mut speaker).iter().next().unwrap();
        let request =
            Request::Read { root, chunk: first.get(), chunk_size: layout.chunk_size(), wait_ms: 9 };
        speaker.send(&request, &[]);
        say.send((first, speaker.answer_with_payload())).unwrap();
    });
    client.run("download x").succeeded();
    let (index, (answer, payload)) = heard.recv_timeout(DEADLINE).unwrap();
    assert_eq!(answer, Response::Chunk { chunk: index.get(), shared: false });
    let range = layout.range(index);
    assert!(payload == data[range.start as usize..range.end as usize]);
}

#[test]
fn what_was_downloaded_is_served_at_once() {
    let mut lab = Lab::of(&["s", "a", "b"]);
    let data = bytes(1, LENGTH);
    lab.put("s", "x", &data);
    lab.client_at("a").run("download x").succeeded();
    lab.kill("s");
    lab.client_at("b").run("download x").succeeded().prints("from a 100%");
    lab.assert_has("b", "x", &data);
}
