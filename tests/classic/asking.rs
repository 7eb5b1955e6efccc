//! Our asking side against servers A to E.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use peershare::classic::{Asker, Gather, Text, Upload};
use peershare::content::FileName;
use peershare::fetch::{Progress, SourceError};
use peershare::store::Arrival;
use peershare::transport::tcp::{Accepted, Listener};
use peershare::transport::{Cancel, Network, Stream, memory};

use super::*;

/// Connects to a scripted server; what arrives here is cut.
pub(super) struct Wires {
    most: usize,
    /// `None`: within this process.
    listener: Option<Listener>,
    accepted: crossbeam_channel::Sender<Box<dyn Stream>>,
}

impl Network for Wires {
    fn dial(&self, _: &Peer, timeout: Duration, cancel: &Cancel) -> io::Result<Box<dyn Stream>> {
        let (near, far): (Box<dyn Stream>, Box<dyn Stream>) = match &self.listener {
            None => {
                let (near, far) = memory::pair();
                (Box::new(cut(near, self.most)), Box::new(far))
            }
            Some(listener) => {
                let near =
                    peershare::transport::dial::dial(&[listener.address()?], timeout, cancel)?;
                let Accepted::Link(far) = listener.accept(DEADLINE)? else { panic!("nobody came") };
                (Box::new(cut(near, self.most)), Box::new(far))
            }
        };
        self.accepted.send(far).map_err(|_| io::Error::other("the script is over"))?;
        Ok(near)
    }
}

/// Plays the server's side of a transcript. Connections have their numbers in the order in which
/// they are made.
fn play(steps: &[Step], accepted: &Receiver<Box<dyn Stream>>) {
    let mut connections: HashMap<usize, Box<dyn Stream>> = HashMap::new();
    for step in steps {
        let what = format!("{step:?}");
        match step {
            Step::Request(number, text) => {
                let stream = connections.entry(*number);
                let stream =
                    stream.or_insert_with(|| accepted.recv_timeout(DEADLINE).expect(&what));
                expect(&mut **stream, text, &what);
            }
            Step::Answer(number, text) => {
                connections.get_mut(number).unwrap().write_all(text).unwrap()
            }
            Step::ClientLeaves(number) => {
                expect_end(&mut **connections.get_mut(number).unwrap(), &what)
            }
            Step::ServerLeaves(number) => drop(connections.remove(number)),
        }
    }
    assert!(accepted.is_empty(), "one more connection was made");
}

/// Has `ask` done against a server that plays a transcript, in all ways.
fn against<T: PartialEq + std::fmt::Debug + Send + Sync>(
    lines: &str,
    text: &str,
    expected: T,
    ask: impl Fn(&Asker) -> T + Sync,
) {
    let steps = transcript(lines, text);
    thread::scope(|scope| {
        for most in CUTS {
            for over_tcp in [false, true] {
                let (steps, ask, expected) = (&steps, &ask, &expected);
                scope.spawn(move || {
                    let (sender, accepted) = unbounded();
                    let listener = over_tcp
                        .then(|| Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap());
                    let wires = Wires { most, listener, accepted: sender };
                    let asker = asker(Arc::new(wires));
                    thread::scope(|scope| {
                        let server = scope.spawn(|| play(steps, &accepted));
                        assert_eq!(&ask(&asker), expected, "cut to {most}, tcp {over_tcp}");
                        server.join().unwrap();
                    });
                });
            }
        }
    });
}

fn asker(network: Arc<dyn Network>) -> Asker {
    Asker {
        peer: peer("p2"),
        network,
        cancel: Cancel::new(),
        heard: Arc::new(|_| {}),
        idling: DEADLINE,
    }
}

fn name() -> FileName {
    "f.txt".parse().unwrap()
}

/// Uploads `text` as `f.txt`; gives the error in words.
fn upload(to: &Asker, text: &str) -> Result<(), String> {
    let ours = Served::new();
    ours.write("f.txt", text);
    let manifest = ours.store.manifest(&name(), &mut |_, _| true).unwrap();
    let mut opened =
        Text::open(ours.store.open_content(&manifest.root()).unwrap()).unwrap().unwrap();
    let progress = &mut |_| {};
    Upload { to, name: &name(), text: &mut opened, progress }
        .run()
        .map_err(|error| error.to_string())
}

/// Probes and downloads `f.txt` without proof.
fn download(from: &Asker) -> Result<String, String> {
    let length = from.probe(&name()).map_err(|error| error.to_string())?;
    let ours = Served::new();
    let Arrival::Ready(mut incoming) =
        ours.store.receive_unproven(name(), Some(length), false).unwrap()
    else {
        panic!("something is in the way")
    };
    let progress = Progress::new(length);
    let (cancel, name, observer) = (Cancel::new(), name(), |_| {});
    let from = vec![from.clone()];
    let gather = Gather {
        from,
        name: &name,
        length,
        progress: &progress,
        cancel: &cancel,
        observer: &observer,
    };
    gather.run(&mut incoming).map_err(|error| error.to_string())?;
    ours.store.complete(incoming).unwrap();
    Ok(String::from_utf8(ours.read("f.txt").unwrap()).unwrap())
}

/// An upload up to the last ack over one connection, to a server that shows files only when they
/// are whole.
const TO_ONE_CONNECTION: &str = "
    1> #FILELIST
    1< 200 Files served: other.txt
    1x
    2> #UPLOAD f.txt bytes 250
    2< 330 Ready to receive file f.txt
    2> #UPLOAD f.txt chunk 0 {0}
    2< 200 File f.txt chunk 0 received
    3> #DOWNLOAD f.txt
    3< 250 Not serving file f.txt
    3x
    2> #UPLOAD f.txt chunk 1 {1}
    2< 200 File f.txt chunk 1 received
    2> #UPLOAD f.txt chunk 2 {2}
    2< 200 File f.txt chunk 2 received
    4> #DOWNLOAD f.txt";

fn to_one_connection(rest: &str, text: &str) {
    against(&format!("{TO_ONE_CONNECTION}{rest}"), text, Ok(()), |to| upload(to, text));
}

#[test]
fn server_a_speaks_unasked() {
    let rest = "
        4< 250 Not serving file f.txt
        4x
        2< 200 File f.txt received
        5> #FILELIST
        5< 200 Files served: f.txt other.txt
        5x";
    to_one_connection(rest, &ascii());
    to_one_connection(rest, &unicode());
}

#[test]
fn server_b_wants_the_end_and_writes_later_than_it_says() {
    let rest = "
        4< 250 Not serving file f.txt
        4x
        2> Transmission complete
        2< 200 File f.txt received
        5> #FILELIST
        5< 200 Files served: other.txt
        5x
        6> #DOWNLOAD f.txt
        6< 250 Not serving file f.txt
        6x
        7> #FILELIST
        7< 200 Files served: other.txt f.txt
        7x";
    to_one_connection(rest, &ascii());
}

#[test]
fn server_c_wants_another_end() {
    let rest = "
        4x
        2> Transmission complete
        2> UPLOAD_COMPLETE
        2< 200 File f.txt received
        5> #FILELIST
        5< 200 Files served: other.txt f.txt
        5x";
    to_one_connection(rest, &ascii());
}

#[test]
fn a_server_that_serves_the_file_after_the_last_ack_needs_no_end() {
    let rest = "
        4< 330 Ready to send file f.txt bytes 250
        4x
        5> #FILELIST
        5< 200 Files served: f.txt
        5x
        2.";
    to_one_connection(rest, &ascii());
}

#[test]
fn a_file_that_is_shown_before_it_is_whole_proves_nothing() {
    let lines = TO_ONE_CONNECTION
        .replace("3< 250 Not serving file f.txt", "3< 330 Ready to send file f.txt bytes 100");
    let lines = lines.replace("4> #DOWNLOAD f.txt", "")
        + "
        2< 200 File f.txt received
        4> #FILELIST
        4< 200 Files served: f.txt
        4x";
    against(&lines, &ascii(), Ok(()), |to| upload(to, &ascii()));
}

/// The connections of D and E.
const TO_MANY_CONNECTIONS: &str = "
    2> #UPLOAD f.txt bytes 250
    2< 330 Ready to receive file f.txt
    2x
    3> #UPLOAD f.txt chunk 0 {0}
    3< 200 File f.txt chunk 0 received
    3x
    4> #UPLOAD f.txt chunk 1 {1}
    4< 200 File f.txt chunk 1 received
    4x
    5> #UPLOAD f.txt chunk 2 {2}
    5< {end}
    5x
    6> #FILELIST
    6< 200 Files served: f.txt
    6x";

#[test]
fn server_d_wants_a_connection_a_message() {
    let lines = "
        1> #FILELIST
        1< 200 Files served: other.txt
        1x"
    .to_owned()
        + &TO_MANY_CONNECTIONS.replace("{end}", "200 File f.txt received");
    for text in [ascii(), unicode()] {
        against(&lines, &text, Ok(()), |to| upload(to, &text));
    }
}

#[test]
fn server_e_wants_base64() {
    let lines = "
        1> #FILELIST
        1< Server (p2): 200 Files served: other.txt
        1x"
    .to_owned()
        + &TO_MANY_CONNECTIONS
            .replace("{end}", "200 File f.txt chunk 2 received")
            .replace("{0}", "{e0}")
            .replace("{1}", "{e1}")
            .replace("{2}", "{e2}");
    against(&lines, &ascii(), Ok(()), |to| upload(to, &ascii()));
}

#[test]
fn refusals_of_all_kinds_are_understood() {
    for (answer, expected) in [
        (
            "250 Already serving file f.txt",
            "it refused: already serving a file of that name; rename yours",
        ),
        ("250 Currently receiving file f.txt", "it refused: currently receiving that file"),
        ("250", "it refused: 250"),
    ] {
        let lines = format!(
            "
            1> #FILELIST
            1< 200 Files served: other.txt
            1x
            2> #UPLOAD f.txt bytes 250
            2< {answer}
            2x"
        );
        against(&lines, &ascii(), Err(expected.to_owned()), |to| upload(to, &ascii()));
    }
}

#[test]
fn a_server_that_lists_the_file_already_is_not_offered_it() {
    let lines = "
        1> #FILELIST
        1< 200 Files served: f.txt
        1x";
    let expected = Err("it refused: already serving a file of that name; rename yours".to_owned());
    against(lines, &ascii(), expected, |to| upload(to, &ascii()));
}

#[test]
fn listings_of_all_kinds_are_read() {
    for (answer, expected) in [
        ("200 Files served: a.txt b.txt", (2, 0)),
        ("Server (p2): 200 Files served: a.txt", (1, 0)),
        ("200 Files served:", (0, 0)),
        ("200 Files served: ../x .peershare/catalog a", (1, 2)),
    ] {
        let lines = format!("1> #FILELIST\n1< {answer}\n1x");
        against(&lines, "", expected, |from| {
            let served = from.list().unwrap();
            (served.names.len(), served.left_out)
        });
    }
}

#[test]
fn server_a_gives_all_chunks_over_one_connection() {
    let lines = "
        1> #DOWNLOAD f.txt
        1< 330 Ready to send file f.txt bytes 250
        2> #DOWNLOAD f.txt chunk 0
        2< 200 File f.txt chunk 0 {0}
        2> #DOWNLOAD f.txt chunk 1
        2< 200 File f.txt chunk 1 {1}
        2> #DOWNLOAD f.txt chunk 2
        2< 200 File f.txt chunk 2 {2}
        2.";
    for text in [ascii(), unicode()] {
        against(lines, &text, Ok(text.clone()), download);
    }
}

#[test]
fn servers_b_d_and_e_give_a_chunk_a_connection() {
    let lines = "
        1> #DOWNLOAD f.txt
        1< 330 Ready to send file f.txt bytes {length}
        1x
        2> #DOWNLOAD f.txt chunk 0
        2< 200 File f.txt chunk 0 {0}
        2x
        3> #DOWNLOAD f.txt chunk 1
        3< 200 File f.txt chunk 1 {1}
        3x
        4> #DOWNLOAD f.txt chunk 2
        4< 200 File f.txt chunk 2 {2}
        4x";
    let text = ascii();
    against(&lines.replace("{length}", "250"), &text, Ok(text.clone()), download);
}

#[test]
fn server_c_leaves_a_word_out_and_ends_in_bytes() {
    let lines = "
        1> #DOWNLOAD f.txt
        1< 330 Ready to send f.txt bytes 250
        1x
        2> #DOWNLOAD f.txt chunk 0
        2< 200 File f.txt chunk 0 {b0}
        2x
        3> #DOWNLOAD f.txt chunk 1
        3< 200 File f.txt chunk 1 {b1}
        3x
        4> #DOWNLOAD f.txt chunk 2
        4< 200 File f.txt chunk 2 {b2}
        4x";
    for text in [ascii(), "é".repeat(125)] {
        against(lines, &text, Ok(text.clone()), download);
    }
}

#[test]
fn a_file_that_is_shorter_than_was_said_is_not_kept() {
    let lines = "
        1> #DOWNLOAD f.txt
        1< 330 Ready to send file f.txt bytes 290
        2> #DOWNLOAD f.txt chunk 0
        2< 200 File f.txt chunk 0 {0}
        2> #DOWNLOAD f.txt chunk 1
        2< Transmission complete
        2.";
    let expected = Err("no source is left: p2: its file changed while reading".to_owned());
    against(lines, &ascii(), expected, download);
}

#[test]
fn a_server_that_does_not_serve_it_says_so() {
    for answer in ["250 Not serving file f.txt", "250"] {
        let lines = format!("1> #DOWNLOAD f.txt\n1< {answer}\n1x");
        against(&lines, "", Err("it does not serve that file".to_owned()), download);
    }
}

#[test]
fn a_server_that_vanishes_ends_the_waiting_at_once() {
    let network: Arc<dyn Network> = Arc::new(Gone(Mutex::default()));
    let asker = asker(network);
    assert!(matches!(asker.list(), Err(SourceError::Lost(_))));
    assert!(matches!(asker.probe(&name()), Err(SourceError::Lost(_))));
    assert!(upload(&asker, "x").is_err());
}

/// Everybody answers the telephone and hangs up.
struct Gone(Mutex<()>);

impl Network for Gone {
    fn dial(&self, _: &Peer, _: Duration, _: &Cancel) -> io::Result<Box<dyn Stream>> {
        let _one_at_a_time = self.0.lock();
        Ok(Box::new(memory::pair().0))
    }
}

/// A server that sends a byte of each chunk in so long.
struct Drips(Duration);

impl Network for Drips {
    fn dial(&self, _: &Peer, _: Duration, _: &Cancel) -> io::Result<Box<dyn Stream>> {
        let ((near, mut far), pause) = (memory::pair(), self.0);
        thread::spawn(move || {
            let mut asked = [0; 100];
            let got = far.read(&mut asked).unwrap_or(0);
            let request = String::from_utf8_lossy(&asked[..got]).into_owned();
            let Some((_, index)) = request.rsplit_once("chunk ") else {
                return far.write_all(b"330 Ready to send file f.txt bytes 1000000");
            };
            far.write_all(format!("200 File f.txt chunk {index} ").as_bytes())?;
            (0..100).try_for_each(|_| {
                thread::park_timeout(pause);
                far.write_all(b"x")
            })
        });
        Ok(Box::new(near))
    }
}

#[test]
fn a_server_that_drips_is_told_and_left() {
    let network = Arc::new(Drips(Duration::from_millis(25)));
    let dripping = Asker { idling: Duration::from_secs(2), ..asker(network) };
    let error = download(&dripping).unwrap_err();
    assert!(error.contains("it made no progress with the file in 2 s"), "{error}");
}
