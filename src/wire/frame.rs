//! Frames as bytes: lengths first, then a JSON header, then the payload.

use std::io::{self, Read, Write};

use serde::Serialize;

use super::caps::Message;
use super::{MAGIC, Refusal, VERSION};
use crate::config::{MAX_HEADER, MAX_PAYLOAD};
use crate::topology::PeerId;

/// Why bytes from the other side are not frames, or could not be read. The connection is of no
/// more use after any of them.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Reading or writing failed, or took too long.
    #[error("{}", describe(.0))]
    Io(#[from] io::Error),
    /// The other side ended the connection where more was due.
    #[error("the connection was closed")]
    Closed,
    /// The other side is not a peershare peer.
    #[error("the other side does not speak peershare")]
    NotPeershare,
    /// The acceptor said nothing, or left, instead of its greeting; it may speak the classic
    /// dialect.
    #[error("it took the connection and said nothing: {0}")]
    NoGreeting(Box<Self>),
    /// A length above the limit was announced.
    #[error("a {what} of {length} bytes was announced, the limit is {limit}")]
    TooLong {
        /// Header or payload.
        what: &'static str,
        /// What was announced.
        length: u32,
        /// What is allowed.
        limit: u32,
    },
    /// The header is not the JSON of a message.
    #[error("a header cannot be read: {0}")]
    BadHeader(#[from] serde_json::Error),
    /// The other side ends the connection before it began, and says why.
    #[error("{0}")]
    Refused(Refusal),
    /// The address of one peer leads to another.
    #[error("{says} answers there, not {meant}; correct the line of {meant} in the peer settings")]
    AnotherPeer {
        /// Who answers.
        says: PeerId,
        /// Who was meant.
        meant: PeerId,
    },
    /// A message that does not fit what was asked.
    #[error("an unexpected message came: {0}")]
    Unexpected(String),
}

fn describe(error: &io::Error) -> String {
    if crate::transport::timed_out(error) {
        "no answer in time".to_owned()
    } else {
        error.to_string()
    }
}

/// The beginning of a frame: its message, and how many bytes of payload follow.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<M> {
    /// The message of the header.
    pub message: M,
    /// Length of the payload in bytes, at most [`MAX_PAYLOAD`].
    pub payload: u32,
}

/// The bytes of a frame up to its payload.
pub fn encode(message: &impl Serialize, payload: usize) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, message)?;
    let header = within("header", bytes.len() - 8, MAX_HEADER)?;
    let payload = within("payload", payload, MAX_PAYLOAD)?;
    bytes[..4].copy_from_slice(&header.to_be_bytes());
    bytes[4..8].copy_from_slice(&payload.to_be_bytes());
    Ok(bytes)
}

fn within(what: &'static str, length: usize, limit: u32) -> Result<u32, WireError> {
    match u32::try_from(length) {
        Ok(length) if length <= limit => Ok(length),
        other => Err(WireError::TooLong { what, length: other.unwrap_or(u32::MAX), limit }),
    }
}

/// Reads a frame up to its payload. The caller reads exactly [`Head::payload`] bytes next, which are
/// no more than the message can need.
pub fn read_head<M: Message>(input: &mut impl Read) -> Result<Head<M>, WireError> {
    let mut lengths = [0; 8];
    read_all(input, &mut lengths)?;
    let [a, b, c, d, e, f, g, h] = lengths;
    let header = within("header", u32::from_be_bytes([a, b, c, d]) as usize, MAX_HEADER)?;
    let payload = within("payload", u32::from_be_bytes([e, f, g, h]) as usize, MAX_PAYLOAD)?;
    let mut bytes = vec![0; header as usize];
    read_all(input, &mut bytes)?;
    let message: M = serde_json::from_slice(&bytes)?;
    within("payload", payload as usize, message.longest_payload())?;
    Ok(Head { message, payload })
}

/// Sends this side's greeting.
pub fn send_greeting(output: &mut impl Write) -> Result<(), WireError> {
    let [a, b, c, d] = MAGIC;
    Ok(output.write_all(&[a, b, c, d, VERSION])?)
}

/// Reads the other side's greeting; gives the version to speak.
pub fn read_greeting(input: &mut impl Read) -> Result<u8, WireError> {
    let mut magic = [0; 4];
    read_all(input, &mut magic[..1])?;
    // One foreign byte is enough to tell; a foreign program may never send a second one.
    if magic[0] == MAGIC[0] {
        read_all(input, &mut magic[1..])?;
    }
    let mut version = [0];
    match magic == MAGIC {
        true => read_all(input, &mut version)?,
        false => return Err(WireError::NotPeershare),
    }
    match version[0] {
        0 => Err(WireError::NotPeershare),
        theirs => Ok(theirs.min(VERSION)),
    }
}

fn read_all(input: &mut impl Read, buffer: &mut [u8]) -> Result<(), WireError> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Request, Response};
    use super::*;

    fn bytes_of(message: &impl Serialize, payload: &[u8]) -> Vec<u8> {
        let mut bytes = encode(message, payload.len()).unwrap();
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_frame_has_these_bytes() {
        let expected = [
            &[0, 0, 0, 26][..],               // length of the header
            &[0, 0, 0, 3],                    // length of the payload
            br#"{"type":"chunk","chunk":7}"#, // header
            b"abc",                           // payload
        ]
        .concat();
        assert_eq!(bytes_of(&Response::Chunk { chunk: 7, shared: false }, b"abc"), expected);
        let head = read_head::<Response>(&mut &expected[..]).unwrap();
        assert_eq!(head, Head { message: Response::Chunk { chunk: 7, shared: false }, payload: 3 });
    }

    #[test]
    fn bad_names_and_roots_are_refused_while_reading() {
        for header in [
            r#"{"type":"describe","name":"../x"}"#,
            r#"{"type":"describe","name":"/x"}"#,
            r#"{"type":"read","root":"12","chunk":0}"#,
            r#"{"type":"read","root":"12"}"#,
            r#"{"type":"describe"}"#,
            "[]",
            "",
        ] {
            assert!(serde_json::from_str::<Request>(header).is_err(), "{header}");
        }
    }

    #[test]
    fn lengths_above_the_limits_are_refused_before_anything_is_allocated() {
        let header = [&(MAX_HEADER + 1).to_be_bytes()[..], &[0; 4]].concat();
        assert!(matches!(
            read_head::<Request>(&mut &header[..]),
            Err(WireError::TooLong { what: "header", .. })
        ));
        let payload = [&[0; 4][..], &u32::MAX.to_be_bytes()].concat();
        assert!(matches!(
            read_head::<Request>(&mut &payload[..]),
            Err(WireError::TooLong { what: "payload", .. })
        ));
    }

    #[test]
    fn a_cut_frame_is_a_closed_connection() {
        let whole = bytes_of(&Request::Ping, b"");
        for cut in 0..whole.len() {
            assert!(
                matches!(read_head::<Request>(&mut &whole[..cut]), Err(WireError::Closed)),
                "{cut}"
            );
        }
    }

    #[test]
    fn greetings_are_told_from_anything_else() {
        let mut ours = Vec::new();
        send_greeting(&mut ours).unwrap();
        assert_eq!(ours, [0xF0, 0x9F, 0xA7, 0xA9, 1]);
        assert_eq!(read_greeting(&mut &ours[..]).unwrap(), 1);
        assert_eq!(read_greeting(&mut &[0xF0, 0x9F, 0xA7, 0xA9, 9][..]).unwrap(), 1);
        assert!(matches!(read_greeting(&mut &b"#FILELIST"[..]), Err(WireError::NotPeershare)));
        assert!(matches!(read_greeting(&mut &ours[..4]), Err(WireError::Closed)));
    }
}
