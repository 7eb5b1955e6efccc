//! Clients that vanish, a thousand at once, classic and framed peers in one download, and the
//! client that finds out who is which.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use peershare::classic::{Asker, ClassicPeer};
use peershare::client::{Execute, ExitStatus, Manner, Surroundings, Terminal, Transfers, Typed};
use peershare::connection::{Deadlines, Framed};
use peershare::content::FileName;
use peershare::fetch::{Caller, Dial, Event, Fetch, FramedPeer, Progress, Waits};
use peershare::store::Reception;
use peershare::topology::Topology;
use peershare::transport::memory::{MemoryNetwork, MemoryStream};
use peershare::transport::{Cancel, Network, memory};
use peershare::wire::Request;

use super::*;
use crate::serving;

fn open(served: &Served) -> Box<dyn Stream> {
    let (near, far) = memory::pair();
    served.host.serve(far);
    Box::new(near)
}

#[test]
fn a_client_that_vanishes_at_any_step_leaves_nothing_and_blocks_nobody() {
    let uploads = [
        serving::UPLOAD_A.to_owned(),
        serving::UPLOAD_B.to_owned(),
        serving::UPLOAD_C.to_owned(),
        serving::UPLOAD_D.replace("{length}", "250"),
        serving::UPLOAD_E.replace("{length}", "250"),
    ];
    thread::scope(|scope| {
        for lines in &uploads {
            let steps = transcript(lines, &ascii());
            for end in 1..steps.len() {
                let steps = steps[..end].to_vec();
                scope.spawn(move || vanish(&steps));
            }
        }
    });
}

/// Plays the beginning of an upload; afterwards the file is whole or gone, and the name is free.
fn vanish(steps: &[Step]) {
    let served = Served::new();
    serving::play(steps, &|| open(&served));
    eventually("nothing is left", || served.parts().is_empty());
    match served.read("f.txt") {
        Some(data) => assert_eq!(data, ascii().as_bytes(), "after {:?}", steps.last()),
        None => {
            eventually("the name is free", || uploads_whole(&served));
            assert_eq!(served.read("f.txt").as_deref(), Some(ascii().as_bytes()));
        }
    }
}

/// Whether an offer of the name is taken; if so, all of the file follows.
fn uploads_whole(served: &Served) -> bool {
    let mut stream = open(served);
    stream.write_all(b"#UPLOAD f.txt bytes 250").unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answer = [0; 64];
    let free = stream.read(&mut answer).is_ok_and(|_| answer.starts_with(b"330"));
    for index in 0..if free { 3 } else { 0 } {
        let chunk = format!("#UPLOAD f.txt chunk {index} {{{index}}}");
        stream.write_all(&filled(&chunk, &ascii())).unwrap();
        let ack = format!("200 File f.txt chunk {index} received");
        expect(&mut *stream, ack.as_bytes(), "ack");
    }
    free
}

/// A peer whose senders of uploads may take so long.
fn with_uploads_within(upload: Duration) -> Served {
    let deadlines = Deadlines { upload, ..Deadlines::default() };
    Served::with(Default::default(), Limits { deadlines, ..Limits::default() })
}

#[test]
fn an_upload_that_stops_frees_its_name() {
    let served = with_uploads_within(Duration::from_millis(50));
    let mut stream = open(&served);
    stream.write_all(b"#UPLOAD f.txt bytes 250").unwrap();
    expect(&mut *stream, b"330 Ready to receive file f.txt", "offer");
    expect_end(&mut *stream, "it says nothing");
    eventually("the name is free", || uploads_whole(&served));
}

#[test]
fn an_upload_that_drips_frees_its_name() {
    let served = with_uploads_within(Duration::from_millis(400));
    let mut stream = open(&served);
    stream.write_all(b"#UPLOAD f.txt bytes 2500").unwrap();
    expect(&mut *stream, b"330 Ready to receive file f.txt", "offer");
    let until = Instant::now() + DEADLINE;
    for index in 0.. {
        assert!(Instant::now() < until, "it may take its time");
        // Ten bytes a second, without ever being silent for long.
        std::thread::park_timeout(Duration::from_millis(100));
        let sent = stream.write_all(format!("#UPLOAD f.txt chunk {index} x").as_bytes());
        let mut answer = [0; 100];
        let read = stream.read(&mut answer);
        if sent.is_err() || !matches!(read, Ok(read) if answer[..read].starts_with(b"200 File")) {
            break;
        }
    }
    eventually("the name is free", || uploads_whole(&served));
}

#[test]
fn a_message_that_drips_ends() {
    let deadlines = Deadlines { frame: Duration::from_millis(50), ..Deadlines::default() };
    let limits = Limits { deadlines, ..Limits::default() };
    let served = Served::with(Default::default(), limits);
    let mut stream = open(&served);
    let until = Instant::now() + DEADLINE;
    // Never a whole message, however long a pause there is in it.
    stream.write_all(b"#UPLOAD f chunk 0").unwrap();
    while stream.write_all(b"0").is_ok() {
        assert!(Instant::now() < until, "it is listened to for ever");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_cut_off_message_blocks_nobody() {
    let served = Served::new();
    for text in ["#", "#UPLOAD f.txt bytes 2", "#UPLOAD f.txt chunk 0", "#DOWNLOAD f"] {
        let mut stream = open(&served);
        stream.write_all(text.as_bytes()).unwrap();
    }
    eventually("nothing is left", || served.parts().is_empty());
}

#[test]
fn a_thousand_classic_connections_at_once_are_served_beside_hundreds_of_others() {
    let served = Served::new();
    let text: String = (0..100_000).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    served.write("g.txt", &text);
    let name: FileName = "g.txt".parse().unwrap();
    served.store.manifest(&name, &mut |_, _| true).unwrap();
    let others: Vec<Framed> = (0..300)
        .map(|_| {
            let mut connection = Framed::open(open(&served), &Default::default(), None).unwrap();
            connection.ask(&Request::Ping, &[]).unwrap().unwrap();
            connection
        })
        .collect();
    let mut all: Vec<_> = (0..1000).map(|_| open(&served)).collect();
    for (index, stream) in all.iter_mut().enumerate() {
        stream.write_all(format!("#DOWNLOAD g.txt chunk {index}").as_bytes()).unwrap();
    }
    for (index, stream) in all.iter_mut().enumerate() {
        let chunk = &text[index * 100..index * 100 + 100];
        expect(&mut **stream, format!("200 File g.txt chunk {index} {chunk}").as_bytes(), "chunk");
    }
    drop(others);
}

/// Peers on one network: framed ones, and classic ones that only understand text.
#[derive(Default)]
struct Neighbourhood {
    network: Arc<MemoryNetwork>,
}

/// What a classic server does with a framed greeting.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Puzzled {
    Closes,
    Answers,
    SaysNothing,
}

impl Neighbourhood {
    fn framed(&self, id: &str, served: &Served) {
        let host = served.host.clone();
        self.network.attach(id.parse().unwrap(), move |stream| host.serve(stream));
    }

    /// Our own server behind a door that lets in only text; counts who knocked otherwise.
    fn classic(&self, id: &str, served: &Served, puzzled: Puzzled) -> Arc<AtomicUsize> {
        let (host, greeted) = (served.host.clone(), Arc::<AtomicUsize>::default());
        let counted = greeted.clone();
        self.network.attach(id.parse().unwrap(), move |mut stream: MemoryStream| {
            let (host, counted) = (host.clone(), counted.clone());
            thread::spawn(move || {
                let mut first = [0];
                match stream.read(&mut first) {
                    Ok(1) if first == *b"#" => {
                        host.serve(Cut { before: b"#".to_vec(), ..cut(stream, 1024) })
                    }
                    Ok(1) => {
                        counted.fetch_add(1, Relaxed);
                        puzzled.puzzle(stream);
                    }
                    _ => {}
                }
            });
        });
        greeted
    }

    fn client(&self, own: &Served) -> Transfers {
        self.client_that_tells(own, &Told::default())
    }

    fn client_that_tells(&self, own: &Served, told: &Told) -> Transfers {
        let network = self.network.clone();
        let served_files = own.folder.path().to_owned();
        let audience = Arc::new(Terminal::told_to(told.clone(), told.clone()));
        Transfers::new(Surroundings {
            own: None,
            served_files,
            audience,
            network,
            waits: Waits::brief(DEADLINE),
        })
    }
}

/// What the client writes.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Told {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl Puzzled {
    fn puzzle(self, mut stream: MemoryStream) {
        match self {
            Self::Closes => {}
            Self::Answers => stream.write_all(b"400 Unknown command").unwrap(),
            // Until the client has had enough.
            Self::SaysNothing => while stream.read(&mut [0; 64]).is_ok_and(|got| got > 0) {},
        }
    }
}

fn command(client: &mut Transfers, line: &str, topology: &str) -> ExitStatus {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let topology: Topology = topology.parse().unwrap();
    client.execute(&Typed::parse(&words).unwrap().command.unwrap(), &Manner::default(), &topology)
}

fn long_text() -> String {
    (0..20_000).map(|i| format!("this is line {i} of a long text\n")).collect()
}

#[test]
fn a_classic_server_is_found_out_whatever_it_does_with_a_greeting_and_remembered() {
    for puzzled in [Puzzled::Closes, Puzzled::Answers, Puzzled::SaysNothing] {
        let (ours, theirs, neighbours) = (Served::new(), Served::new(), Neighbourhood::default());
        ours.write("up.txt", ascii());
        theirs.write("down.txt", unicode());
        let greeted = neighbours.classic("p2", &theirs, puzzled);
        let mut client = neighbours.client(&ours);
        let topology = "p2 127.0.0.1 1";
        assert_eq!(command(&mut client, "filelist", topology), ExitStatus::Success, "{puzzled:?}");
        assert_eq!(command(&mut client, "upload up.txt p2", topology), ExitStatus::Success);
        assert_eq!(theirs.read("up.txt"), ours.read("up.txt"));
        assert_eq!(command(&mut client, "download down.txt", topology), ExitStatus::Success);
        assert_eq!(ours.read("down.txt"), theirs.read("down.txt"));
        assert_eq!(greeted.load(Relaxed), 2, "{puzzled:?}: it is made sure once for the session");
    }
}

#[test]
fn the_settings_spare_the_attempt_and_failures_have_their_exit_codes() {
    let (ours, theirs, neighbours) = (Served::new(), Served::new(), Neighbourhood::default());
    ours.write("up.txt", ascii());
    ours.write("binary", b"\xff\xfe");
    theirs.write("binary", b"\xff\xfe");
    let greeted = neighbours.classic("p2", &theirs, Puzzled::Closes);
    let told = Told::default();
    let mut client = neighbours.client_that_tells(&ours, &told);
    let topology = "p2 127.0.0.1 1 classic\np3 127.0.0.1 2 classic";
    let mut run = |line: &str| command(&mut client, line, topology);
    assert_eq!(run("upload up.txt p2"), ExitStatus::Success);
    assert_eq!(run("upload up.txt p2"), ExitStatus::Refused, "already there");
    assert_eq!(run("upload binary p2"), ExitStatus::Refused, "no text");
    assert_eq!(run("upload up.txt p3"), ExitStatus::Unreachable);
    assert_eq!(run("download up.txt p2"), ExitStatus::Refused, "already here");
    told.take();
    assert_eq!(run("download up.txt p2 --replace"), ExitStatus::Success);
    let said = told.take();
    assert!(
        said.contains("up.txt: not verified, because the classic dialect has no checksums"),
        "{said}"
    );
    assert_eq!(run("download binary p2"), ExitStatus::NoSuchFile, "no text");
    assert_eq!(run("download none.txt p2 p3"), ExitStatus::NoSuchFile);
    assert_eq!(run("filelist p2 p3"), ExitStatus::SomePeersFailed);
    assert_eq!(greeted.load(Relaxed), 0);
    assert_eq!(theirs.read("binary").as_deref(), Some(b"\xff\xfe".as_slice()));
}

#[test]
fn several_classic_servers_share_a_download_and_a_lost_one_is_made_up_for() {
    let (ours, neighbours) = (Served::new(), Neighbourhood::default());
    let servers: Vec<Served> = (0..3).map(|_| Served::new()).collect();
    for (number, served) in servers.iter().enumerate() {
        served.write("long.txt", long_text());
        neighbours.classic(&format!("p{number}"), served, Puzzled::Closes);
    }
    let topology = "p0 127.0.0.1 1 classic\np1 127.0.0.1 2 classic\np2 127.0.0.1 3 classic";
    let mut client = neighbours.client(&ours);
    thread::scope(|scope| {
        let download = scope.spawn(|| command(&mut client, "download long.txt", topology));
        eventually("it has begun", || !ours.parts().is_empty() || ours.read("long.txt").is_some());
        neighbours.network.detach(&"p1".parse().unwrap());
        servers[1].host.end_sessions();
        assert_eq!(download.join().unwrap(), ExitStatus::Success);
    });
    assert_eq!(ours.read("long.txt").unwrap(), long_text().as_bytes());
}

#[test]
fn servers_that_disagree_about_a_length_are_told_apart() {
    let (ours, one, other, neighbours) =
        (Served::new(), Served::new(), Served::new(), Neighbourhood::default());
    one.write("f.txt", "short");
    other.write("f.txt", "longer");
    neighbours.classic("p1", &one, Puzzled::Closes);
    neighbours.classic("p2", &other, Puzzled::Closes);
    let topology = "p1 127.0.0.1 1 classic\np2 127.0.0.1 2 classic";
    let mut client = neighbours.client(&ours);
    assert_eq!(command(&mut client, "download f.txt", topology), ExitStatus::Refused);
    assert_eq!(ours.read("f.txt"), None);
}

#[test]
fn framed_and_classic_peers_are_named_in_one_download() {
    let (ours, framed, classic, neighbours) =
        (Served::new(), Served::new(), Served::new(), Neighbourhood::default());
    framed.write("long.txt", long_text());
    classic.write("long.txt", long_text().replace("line 7", "lies 7"));
    neighbours.framed("p1", &framed);
    neighbours.classic("p2", &classic, Puzzled::Closes);
    let topology = "p1 127.0.0.1 1\np2 127.0.0.1 2 classic";
    let told = Told::default();
    let mut client = neighbours.client_that_tells(&ours, &told);
    assert_eq!(command(&mut client, "download long.txt", topology), ExitStatus::Success);
    assert_eq!(ours.read("long.txt").unwrap(), long_text().as_bytes(), "what lies is not kept");
    assert!(!told.take().contains("not verified"));
}

/// Fetches `long.txt`, whose manifest `framed` has, from these peers; says who was lost and why.
fn fetch(
    ours: &Served,
    framed: &Served,
    sources: impl FnOnce(&peershare::content::Manifest) -> Vec<Box<dyn Dial>>,
) -> (bool, Vec<String>) {
    let name: FileName = "long.txt".parse().unwrap();
    let manifest = framed.store.manifest(&name, &mut |_, _| true).unwrap();
    let sources = sources(&manifest);
    let Reception::Part(part) = ours.store.receive(manifest.clone(), false).unwrap() else {
        panic!()
    };
    let progress = Progress::new(manifest.length());
    let lost = Mutex::new(Vec::new());
    let observer = |event: Event| {
        if let Event::SourceLost { reason, .. } = event {
            lost.lock().unwrap().push(reason);
        }
    };
    let cancel = Cancel::new();
    let done = Fetch {
        job: &part,
        sources,
        progress: &progress,
        cancel: &cancel,
        waits: Waits::brief(DEADLINE),
        observer: &observer,
        swarm: None,
    }
    .run();
    if done.is_ok() {
        part.complete().unwrap();
    }
    (done.is_ok(), lost.into_inner().unwrap())
}

#[test]
fn what_a_classic_peer_sends_is_verified_against_a_framed_peers_manifest() {
    let (ours, framed, good, bad) = (Served::new(), Served::new(), Served::new(), Served::new());
    let neighbours = Neighbourhood::default();
    framed.write("long.txt", long_text());
    good.write("long.txt", long_text());
    bad.write("long.txt", long_text().replace("line 7", "lies 7"));
    neighbours.framed("p1", &framed);
    neighbours.classic("p2", &good, Puzzled::Closes);
    neighbours.classic("p3", &bad, Puzzled::Closes);
    let network: Arc<dyn Network> = neighbours.network.clone();
    let name: FileName = "long.txt".parse().unwrap();
    let classic = |id: &str, manifest: &peershare::content::Manifest| -> Box<dyn Dial> {
        let (network, cancel) = (network.clone(), Cancel::new());
        let asker =
            Asker { peer: peer(id), network, cancel, heard: Arc::new(|_| {}), idling: DEADLINE };
        let length = asker.probe(&name).unwrap();
        assert!(
            ClassicPeer::new(asker.clone(), &name, manifest, length + 1).is_err(),
            "another length"
        );
        Box::new(ClassicPeer::new(asker, &name, manifest, length).unwrap())
    };
    let (done, lost) = fetch(&ours, &framed, |manifest| vec![classic("p3", manifest)]);
    assert!(!done && ours.read("long.txt").is_none());
    assert!(
        lost.iter().all(|reason| reason == "it sent a chunk that does not verify")
            && !lost.is_empty(),
        "{lost:?}"
    );
    let (done, lost) = fetch(&ours, &framed, |manifest| {
        let caller = Caller { identity: Identity::default(), network: network.clone() };
        let framed = FramedPeer::new(peer("p1"), caller, None);
        vec![classic("p3", manifest), Box::new(framed)]
    });
    assert!(done, "{lost:?}");
    assert_eq!(ours.read("long.txt").unwrap(), long_text().as_bytes());
    std::fs::remove_file(ours.folder.path().join("long.txt")).unwrap();
    let (done, lost) = fetch(&ours, &framed, |manifest| vec![classic("p2", manifest)]);
    assert!(done, "{lost:?}");
    assert_eq!(ours.read("long.txt").unwrap(), long_text().as_bytes());
}
