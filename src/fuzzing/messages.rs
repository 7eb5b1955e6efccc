//! The framed dialect: greeting, frames, messages, and a connection of each side over them.

use std::fmt::Debug;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::config::{MAX_HEADER, MAX_PAYLOAD};
use crate::connection::{Framed, Identity, buffered};
use crate::transport::{Closer, Stream};
use crate::wire::{self, MAGIC, Message, Request, Response, VERSION, WireError};

/// How long a read may take; a script never lets one wait.
pub(super) const READ: Duration = Duration::from_secs(20);

pub(super) fn greetings() -> Vec<Vec<u8>> {
    let of = |version| [&MAGIC[..], &[version], b"rest"].concat();
    vec![of(1), of(9), of(0), b"#FILELIST".to_vec(), vec![0x16, 3, 1]]
}

pub(super) fn greeting(bytes: &[u8]) {
    let mut input = bytes;
    let read = wire::read_greeting(&mut input);
    match (bytes.split_first_chunk::<5>(), read) {
        (Some(([magic @ .., version], rest)), Ok(spoken)) => {
            assert_eq!(*magic, MAGIC);
            assert!((1..=VERSION).contains(&spoken) && spoken <= *version);
            assert_eq!(input, rest, "more than the greeting was read");
        }
        (None, Ok(_)) => assert!(bytes.len() >= 5, "a greeting of {} bytes", bytes.len()),
        (_, Err(error)) => assert!(
            matches!(error, WireError::NotPeershare | WireError::Closed),
            "{error} where there is no device to fail"
        ),
    }
}

/// The frames of `tests/data/messages.txt`.
pub(super) fn golden() -> Vec<Vec<u8>> {
    blocks().map(|(_, frame)| frame).collect()
}

/// Titles and frames of that table.
fn blocks() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let table = include_str!("../../tests/data/messages.txt");
    table.split("\n\n").filter_map(|block| {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let (title, lengths, header) = (lines.next()?, lines.next()?, lines.next()?);
        let payload = lines.flat_map(|line| match line.strip_prefix('"') {
            Some(text) => text.as_bytes().to_vec(),
            None => from_hex(line),
        });
        let frame = [&from_hex(lengths), header.as_bytes(), &payload.collect::<Vec<_>>()].concat();
        Some((title.get(2..)?, frame))
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(16)).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect()
}

/// The frames of one side.
pub(super) fn frames_of(side: &str) -> Vec<Vec<u8>> {
    blocks().filter(|(title, _)| title.starts_with(side)).map(|(_, frame)| frame).collect()
}

fn headers_of(side: &str) -> Vec<Vec<u8>> {
    let header = |frame: &Vec<u8>| {
        let length = frame.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        frame.get(8..8 + length).map(<[u8]>::to_vec)
    };
    frames_of(side).iter().filter_map(header).collect()
}

pub(super) fn request_headers() -> Vec<Vec<u8>> {
    headers_of("request")
}

pub(super) fn response_headers() -> Vec<Vec<u8>> {
    headers_of("response")
}

/// Frames one behind the other, as either side reads them; and as one whose lengths are right.
pub(super) fn frames(bytes: &[u8]) {
    for bytes in [bytes, &repaired(bytes)] {
        frames_as::<Request>(bytes);
        frames_as::<Response>(bytes);
    }
}

/// A frame whose lengths say that the header goes on to the end, or to the last brace.
pub(super) fn repaired(bytes: &[u8]) -> Vec<u8> {
    let rest = bytes.get(8..).unwrap_or_default();
    let end = rest.iter().rposition(|byte| *byte == b'}').map_or(rest.len(), |at| at + 1);
    let lengths = [end, rest.len() - end].map(|length| (length as u32).to_be_bytes());
    [lengths.as_flattened(), rest].concat()
}

fn frames_as<M: Serialize + Message + PartialEq + Debug>(bytes: &[u8]) {
    let mut input = Measured { rest: bytes };
    while let Ok(head) = wire::read_head::<M>(&mut input) {
        assert!(head.payload <= MAX_PAYLOAD, "a payload of {} bytes", head.payload);
        again(&head.message);
        let payload = input.rest.len().min(head.payload as usize);
        input.rest = input.rest.get(payload..).unwrap_or_default();
    }
}

/// Whether a message is the same when it is written and read again.
fn again<M: Serialize + Message + PartialEq + Debug>(message: &M) {
    match wire::encode(message, 0) {
        Ok(written) => {
            let read = wire::read_head::<M>(&mut &written[..]);
            assert!(
                read.as_ref().is_ok_and(|head| head.message == *message),
                "{message:?} is read back as {read:?}"
            );
        }
        // With the fields that the other side left out, it may be too long to be written.
        Err(error) => {
            assert!(matches!(error, WireError::TooLong { .. }), "{message:?}: {error}");
        }
    }
}

pub(super) fn request(bytes: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<Request>(bytes) {
        again(&message);
    }
}

pub(super) fn response(bytes: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<Response>(bytes) {
        again(&message);
    }
}

/// What an opener says, and then all requests.
pub(super) fn openings() -> Vec<Vec<u8>> {
    let hello = frames_of("request hello").into_iter().next().unwrap_or_default();
    let begun = [&MAGIC[..], &[VERSION], &hello].concat();
    let mut openings = vec![[&begun, &frames_of("request").concat()[..]].concat()];
    openings.extend(frames_of("request").iter().map(|frame| [&begun[..], frame].concat()));
    openings
}

/// What an acceptor says, and then all responses.
pub(super) fn answers() -> Vec<Vec<u8>> {
    let hello = frames_of("response hello").into_iter().next().unwrap_or_default();
    let begun = [&MAGIC[..], &[VERSION], &hello].concat();
    let mut answers = vec![[&begun, &frames_of("response").concat()[..]].concat()];
    answers.extend(frames_of("response").iter().map(|frame| [&begun[..], frame].concat()));
    answers
}

/// The accepting side of a connection: takes every payload that may be one, skips the others.
pub(super) fn acceptor(bytes: &[u8]) {
    let stream = buffered(Box::new(Scripted::of(bytes)));
    let Ok(mut connection) = Framed::accept(stream, &Identity::default()) else { return };
    while let Ok(Some(head)) = connection.request(READ) {
        payload_of(&mut connection, head.payload, bytes.len());
        let answer = Response::error(wire::ErrorCode::Refused, "no");
        assert!(connection.send(&answer, &[]).is_ok(), "nothing can fail to be written");
    }
}

/// The opening side, which asks until there is no answer any more.
pub(super) fn opener(bytes: &[u8]) {
    let meant = "b".parse().ok();
    let opened = Framed::open(Box::new(Scripted::of(bytes)), &Identity::default(), meant.as_ref());
    let Ok(mut connection) = opened else { return };
    while let Ok(answer) = connection.ask(&Request::Ping, &[]) {
        assert!(
            connection.peer().is_none_or(|peer| Some(peer) == meant.as_ref()),
            "{:?} answers for {meant:?}",
            connection.peer()
        );
        if let Ok(head) = answer {
            payload_of(&mut connection, head.payload, bytes.len());
        }
    }
}

/// Takes a payload in one of three ways; it is never longer than what came.
fn payload_of(connection: &mut Framed, length: u32, came: usize) {
    match length % 3 {
        0 => {
            if let Ok(payload) = connection.take_payload() {
                assert!(payload.len() == length as usize && payload.len() <= came);
            }
        }
        1 if length < 1000 => {
            let mut buffer = vec![0; length as usize];
            if connection.read_payload(&mut buffer, READ).is_ok() {
                assert!(buffer.len() <= came);
            }
        }
        _ => {}
    }
}

/// Bytes that look how much is asked for at once.
struct Measured<'a> {
    rest: &'a [u8],
}

impl Read for Measured<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(buffer.len() <= MAX_HEADER as usize, "room for {} bytes at once", buffer.len());
        self.rest.read(buffer)
    }
}

/// A stream from which these bytes come, and into which anything can be written.
pub(super) struct Scripted {
    says: Cursor<Vec<u8>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { says: Cursor::new(bytes.to_vec()), written: Arc::default() }
    }

    /// What is written into it.
    pub(super) fn written(&self) -> Arc<Mutex<Vec<u8>>> {
        self.written.clone()
    }
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut written) = self.written.lock() {
            written.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Scripted {
    fn set_read_timeout(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn closer(&self) -> Closer {
        Closer::new(|| {})
    }

    fn remote(&self) -> String {
        "a script".to_owned()
    }
}
