//! More connections than there are seats: nobody waits, who idles makes room, and no address keeps
//! the others out.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use peershare::connection::{Deadlines, Identity};
use peershare::serve::Rights;
use peershare::server::{Host, Limits, Server};
use peershare::store::Store;
use peershare::threads::Ration;
use peershare::transport::Stream;
use peershare::transport::tcp::Listener;
use peershare::wire::{self, ErrorCode, MAGIC, Request, Response, VERSION};
use socket2::{Domain, Socket, Type};

use super::lab::{DEADLINE, LONG, Lab, bytes, eventually};
use super::programs::{Running, Site};
use super::speaker::{Speaker, TcpSide};

/// A lab whose peer `a` has so many seats.
fn seats(connections: usize, spared: Duration) -> Lab {
    let mut lab = Lab::of(&["a"]);
    lab.put("a", "x", b"x");
    lab.start_with("a", Rights::default(), Limits { connections, spared, ..Limits::default() });
    lab
}

#[track_caller]
fn is_turned_away(mut speaker: Speaker, words: &str) {
    match speaker.answer() {
        Response::Error(refusal) => {
            assert_eq!(refusal.code, ErrorCode::Busy);
            assert!(refusal.message.contains(words), "{refusal:?}");
            assert!(refusal.message.contains("try again in 2 s"), "{refusal:?}");
        }
        other => panic!("{other:?}"),
    }
    speaker.until_end();
}

fn listing() -> Request {
    let (pattern, except, after, limit) = (None, Vec::new(), None, None);
    Request::List { pattern, except, folders: false, hashed: false, after, limit }
}

#[test]
fn who_idles_longest_makes_room_for_a_newcomer() {
    let lab = seats(2, Duration::ZERO);
    let first = Speaker::introduced(&lab, "a");
    let mut second = Speaker::introduced(&lab, "a");
    assert!(matches!(second.ask(&listing(), &[]), Response::Listing { .. }));
    let mut third = Speaker::introduced(&lab, "a");
    first.until_end();
    assert!(matches!(second.ask(&listing(), &[]), Response::Listing { .. }));
    assert!(matches!(third.ask(&listing(), &[]), Response::Listing { .. }));
}

#[test]
fn pings_keep_nobody_seated() {
    let lab = seats(2, Duration::ZERO);
    let mut first = Speaker::introduced(&lab, "a");
    let mut second = Speaker::introduced(&lab, "a");
    assert!(matches!(second.ask(&listing(), &[]), Response::Listing { .. }));
    assert!(matches!(first.ask(&Request::Ping, &[]), Response::Pong(_)));
    drop(Speaker::introduced(&lab, "a"));
    first.until_end();
    assert!(matches!(second.ask(&Request::Ping, &[]), Response::Pong(_)));
}

#[test]
fn who_says_nothing_makes_room_as_well() {
    let lab = seats(1, Duration::ZERO);
    let silent = Speaker::silent(&lab, "a");
    let greeted = Speaker::greeted(&lab, "a");
    silent.until_end();
    Speaker::introduced(&lab, "a");
    greeted.until_end();
}

#[test]
fn a_connection_that_says_nothing_ends_soon() {
    let mut lab = Lab::of(&["a"]);
    let deadlines = Deadlines { first_word: Duration::from_millis(20), ..Deadlines::default() };
    lab.start_with("a", Rights::default(), Limits { deadlines, ..Limits::default() });
    Speaker::silent(&lab, "a").until_end();
}

/// A peer that listens on a port of loopback.
fn listening(limits: Limits) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let host = Host::new(store, Identity::default(), Rights::default(), limits);
    let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    (folder, Server::start(listener, host, None).unwrap())
}

/// A connection from that address of loopback, of which every machine has millions.
fn from(address: &str, to: SocketAddr) -> Box<dyn Stream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&own.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Box::new(TcpSide(socket.into()))
}

#[test]
#[cfg(target_os = "linux")]
fn one_address_does_not_keep_the_others_out() {
    let limits =
        Limits { connections: 3, per_address: Some(2), spared: DEADLINE, ..Limits::default() };
    let (_folder, server) = listening(limits);
    let speaker = |address| Speaker::over(from(address, server.address()));
    let greedy = [speaker("127.0.0.1").introduce(), speaker("127.0.0.1").introduce()];
    is_turned_away(speaker("127.0.0.1").greet(), "all 2 connections that one address may have");
    let other = speaker("127.0.0.2").introduce();
    is_turned_away(speaker("127.0.0.3").greet(), "all 3 connections are taken");
    drop(greedy);
    eventually("a seat is free", || {
        let mut newcomer = speaker("127.0.0.1").greet();
        newcomer.send(&Request::Ping, &[]);
        // The first request must be hello: so somebody who has a seat is told.
        matches!(newcomer.answer(), Response::Error(refusal) if refusal.code != ErrorCode::Busy)
    });
    drop(other);
}

#[test]
#[cfg(target_os = "linux")]
fn hundreds_of_silent_connections_keep_nobody_out() {
    let limits = Limits { connections: 20, spared: Duration::ZERO, ..Limits::default() };
    let (_folder, server) = listening(limits);
    let crowd: Vec<_> = (0..200).map(|_| from("127.0.0.1", server.address())).collect();
    let mut speaker = Speaker::over(from("127.0.0.2", server.address())).introduce();
    assert!(matches!(speaker.ask(&listing(), &[]), Response::Listing { .. }));
    drop(crowd);
}

#[test]
fn without_a_thread_to_spare_a_newcomer_is_told_so_and_others_go_on() {
    let lab = seats(100, DEADLINE);
    let mut first = Speaker::introduced(&lab, "a");
    let second = Ration::refusing(0..usize::MAX).during(|| Speaker::greeted(&lab, "a"));
    is_turned_away(second, "short of threads");
    assert!(matches!(first.ask(&listing(), &[]), Response::Listing { .. }));
    Speaker::introduced(&lab, "a");
}

#[test]
fn a_server_that_would_let_nobody_in_is_not_started() {
    let site = Site::new();
    for option in ["--max-connections", "--max-per-address"] {
        let mut command = assert_cmd::Command::from_std(site.server_command("a"));
        let told = command.args([option, "0"]).timeout(DEADLINE).assert().code(2);
        let told = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
        assert!(told.contains("nobody could connect"), "{told}");
    }
}

/// The server of `a` in a process that may open so many files.
#[cfg(target_os = "linux")]
fn with_files(site: &Site, files: usize) -> Running {
    let server = site.server_command("a");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n $0; exec \"$@\""]).arg(files.to_string());
    command.arg(server.get_program()).args(server.get_args());
    command.args(["--listen", "127.0.0.1:0"]).env_remove("RUST_LOG").current_dir(site.path(""));
    Running::start(&mut command)
}

#[test]
#[cfg(target_os = "linux")]
fn with_few_open_files_it_has_few_seats_and_says_so() {
    let site = Site::new();
    with_files(&site, 84).wait_for("enough for 10 connections at once instead of 2048");
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_file_to_open_it_says_so_to_who_comes_and_goes_on() {
    let site = Site::new();
    // As many as it takes to start, and not one more.
    let mut started = (8..64).filter_map(|files| {
        let server = with_files(&site, files);
        let line = server.wait_for_any(&[" listens on 127.0.0.1:", "server: "]);
        let port = line.split(" listens on 127.0.0.1:").nth(1)?.split(' ').next()?.parse().ok()?;
        Some((server, SocketAddr::from(([127, 0, 0, 1], port))))
    });
    let (server, address) = started.next().unwrap();
    for _ in 0..100 {
        let mut speaker = Speaker::over(from("127.0.0.1", address)).greet();
        match speaker.answer() {
            Response::Error(refusal) => assert_eq!(refusal.code, ErrorCode::Busy, "{refusal:?}"),
            other => panic!("{other:?}"),
        }
    }
    let told = server.so_far();
    assert!(
        told.iter().filter(|line| line.contains("short of open files")).count() <= 1,
        "{told:?}"
    );
}

/// What the connections of a crowd do.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Connect and say nothing.
    Nothing,
    /// Say hello, and then nothing.
    Greeting,
    /// Connect and leave, again and again.
    Reopening,
    /// Say hello, and then a byte of a request now and then.
    Dripping,
}

/// Connections that want nothing, until this is dropped.
#[cfg(target_os = "linux")]
struct Crowd {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

#[cfg(target_os = "linux")]
impl Crowd {
    fn gather(
        doing: Doing,
        address: impl Fn(usize) -> String + Send + 'static,
        to: SocketAddr,
    ) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let over = is_over.clone();
        let (told, gathered) = crossbeam_channel::bounded(1);
        let work = move || {
            let connect = |number| {
                let mut speaker = Speaker::over(from(&address(number), to));
                if !matches!(doing, Doing::Nothing) {
                    let hello = Request::Hello { peer: None, to: None, agent: String::new() };
                    let hello = wire::encode(&hello, 0).unwrap();
                    speaker.raw(&[&MAGIC[..], &[VERSION], &hello].concat());
                }
                speaker
            };
            let mut all: Vec<Speaker> = (0..crowd()).map(connect).collect();
            told.send(()).unwrap();
            for number in (0..all.len()).cycle().take_while(|_| !over.load(Relaxed)) {
                match doing {
                    Doing::Nothing | Doing::Greeting => {}
                    Doing::Reopening => all[number] = connect(number),
                    Doing::Dripping => all[number].raw(&[0]),
                }
                thread::park_timeout(Duration::from_millis(1));
            }
        };
        let thread = Some(thread::spawn(work));
        gathered.recv_timeout(2 * DEADLINE).unwrap();
        Self { is_over, thread }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Crowd {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the crowd could not gather");
    }
}

/// How many they are: as many as `PEERSHARE_CROWD` says.
fn crowd() -> usize {
    std::env::var("PEERSHARE_CROWD").map_or(150, |number| number.parse().unwrap())
}

/// Threads and open files of a process.
#[cfg(target_os = "linux")]
fn held(process: u32) -> [usize; 2] {
    ["task", "fd"].map(|what| std::fs::read_dir(format!("/proc/{process}/{what}")).unwrap().count())
}

#[test]
#[cfg(target_os = "linux")]
fn beside_a_crowd_transfers_and_listings_succeed_and_afterwards_nothing_is_left_of_it() {
    let site = Site::new();
    site.put("a", "x", &bytes(1, LONG));
    // Fewer than come, so that somebody has to make room.
    let seats = (crowd() / 2).to_string();
    let mut command = site.server_command("a");
    let server =
        Running::start(command.args(["--listen", "127.0.0.1:0", "--max-connections", &seats]));
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    site.list_peers(&[("a", address.port())]);
    site.client(&["download", "x"]).success();
    let before = held(server.id());
    for doing in [Doing::Nothing, Doing::Greeting, Doing::Reopening, Doing::Dripping] {
        for hosts in [1, 100] {
            let crowd = Crowd::gather(
                doing,
                move |number| format!("127.0.1.{}", number % hosts + 1),
                address,
            );
            std::fs::remove_file(site.path("me/x")).unwrap();
            // Where no idle one can make room yet, the client is told to come again.
            eventually("the file is downloaded", || {
                site.client(&["download", "x"]).try_success().is_ok()
            });
            assert_eq!(site.read("me", "x").unwrap(), bytes(1, LONG), "{doing:?} from {hosts}");
            eventually("the files are listed", || site.client(&["filelist"]).try_success().is_ok());
            drop(crowd);
        }
    }
    eventually("all threads and files are given back", || {
        let [threads, files] = held(server.id());
        threads <= before[0] && files <= before[1]
    });
}
