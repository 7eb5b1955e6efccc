//! The classic text dialect, by transcripts: golden bytes of the clients and servers A to E.
//!
//! * `serving`: the clients of all kinds against our server
//! * `asking`: our asking side against the servers of all kinds
//! * `together`: who vanishes, a thousand at once, framed and classic peers in one download, the
//!   client
//!
//! A transcript is a list of lines: a connection's number, what happens on it, and the text. `>`
//! goes from the client to the server, `<` back; `.` the client leaves, `x` the server does. `{0}`
//! stands for chunk 0 in characters, `{b0}` in bytes, `{e0}` in base64. Every transcript is played
//! over the in-memory transport and over TCP, and each time with what arrives cut into other
//! segments.

mod asking;
mod serving;
mod together;

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use peershare::connection::Identity;
use peershare::serve::Rights;
use peershare::server::{Host, Limits};
use peershare::store::Store;
use peershare::topology::Peer;
use peershare::transport::{Closer, Stream};
use tempfile::TempDir;

/// No wait in these tests is longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// How much a cut stream gives at once.
const CUTS: [usize; 4] = [usize::MAX, 64, 7, 1];

/// A text of two and a half chunks, with blanks and line ends in them.
fn ascii() -> String {
    let lines: String = (0..20).map(|i| format!("line {i} of\n a text ")).collect();
    lines.chars().take(250).collect()
}

/// The same length in characters, more in bytes.
fn unicode() -> String {
    ascii().replace('i', "é").replace('x', "😀")
}

/// What happens on one connection.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Request(usize, Vec<u8>),
    Answer(usize, Vec<u8>),
    ClientLeaves(usize),
    ServerLeaves(usize),
}

/// Reads a transcript about that text.
fn transcript(lines: &str, text: &str) -> Vec<Step> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let at = line.find(|letter: char| !letter.is_ascii_digit()).unwrap();
            let connection = line[..at].parse().unwrap();
            let said = line.get(at + 2..).unwrap_or_default();
            match &line[at..at + 1] {
                ">" => Step::Request(connection, filled(said, text)),
                "<" => Step::Answer(connection, filled(said, text)),
                "." => Step::ClientLeaves(connection),
                "x" => Step::ServerLeaves(connection),
                other => panic!("{other:?} in {line:?}"),
            }
        })
        .collect()
}

/// Puts chunks in the place of `{…}`.
fn filled(said: &str, text: &str) -> Vec<u8> {
    let Some((before, rest)) = said.split_once('{') else { return said.into() };
    let (what, after) = rest.split_once('}').unwrap();
    let number: usize = what.trim_start_matches(['b', 'e']).parse().unwrap();
    let characters: String = text.chars().skip(number * 100).take(100).collect();
    let chunk = match what.as_bytes()[0] {
        b'b' => text.as_bytes().chunks(100).nth(number).unwrap().to_vec(),
        b'e' => base64(characters.as_bytes()).into_bytes(),
        _ => characters.into_bytes(),
    };
    [before.as_bytes(), &chunk, after.as_bytes()].concat()
}

/// Base64 as slowly as it can be told: bit by bit.
fn base64(bytes: &[u8]) -> String {
    let letters: Vec<char> =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bits: Vec<usize> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1)))
        .collect();
    let mut text: String = bits
        .chunks(6)
        .map(|six| {
            letters[(0..6).fold(0, |value, bit| value * 2 + six.get(bit).copied().unwrap_or(0))]
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Reads exactly so much as is expected, and compares.
fn expect(stream: &mut dyn Stream, expected: &[u8], what: &str) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut found = vec![0; expected.len()];
    let mut filled = 0;
    while filled < found.len() {
        match stream.read(&mut found[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) => {
                panic!("{what}: {error} after {:?}", String::from_utf8_lossy(&found[..filled]))
            }
        }
    }
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(shown(&found[..filled]), shown(expected), "{what}");
}

/// The other side must have left without another word.
fn expect_end(stream: &mut dyn Stream, what: &str) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        other => panic!("{what}: {other:?} instead of the end"),
    }
}

/// Waits until something is so.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A stream that gives little at once, as if the network had cut what the other side wrote.
struct Cut<S> {
    stream: S,
    most: usize,
    /// What somebody has read already.
    before: Vec<u8>,
}

fn cut<S: Stream>(stream: S, most: usize) -> Cut<S> {
    Cut { stream, most, before: Vec::new() }
}

impl<S: Read> Read for Cut<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.before.is_empty() {
            return Read::read(&mut std::mem::take(&mut self.before).as_slice(), buffer);
        }
        let len = buffer.len().min(self.most);
        self.stream.read(&mut buffer[..len])
    }
}

impl<S: Write> Write for Cut<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Stream> Stream for Cut<S> {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<()> {
        self.stream.send_file(file, offset, len)
    }

    fn closer(&self) -> Closer {
        self.stream.closer()
    }

    fn remote(&self) -> String {
        self.stream.remote()
    }
}

/// A peer with a folder of its own.
struct Served {
    folder: TempDir,
    store: Store,
    host: Host,
}

impl Served {
    fn new() -> Self {
        Self::with(Rights::default(), Limits::default())
    }

    fn with(rights: Rights, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let host = Host::new(store.clone(), Identity::default(), rights, limits);
        Self { folder, store, host }
    }

    fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), data).unwrap();
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(name)).ok()
    }

    /// What is in `.peershare/parts`.
    fn parts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join(".peershare/parts")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.host.end_sessions();
    }
}

fn peer(id: &str) -> Peer {
    Peer::at(id.parse().unwrap(), "127.0.0.1", 1)
}
