//! The asking side by hand: says what it is told to say, right or wrong, and reads what comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use peershare::content::{Attributes, Manifest};
use peershare::topology::Peer;
use peershare::transport::{Cancel, Closer, Network, Stream};
use peershare::wire::{self, Head, Message, Request, Response};

use super::lab::{DEADLINE, Lab};

/// A connection over TCP.
pub struct TcpSide(pub TcpStream);

impl Read for TcpSide {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TcpSide {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for TcpSide {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    fn closer(&self) -> Closer {
        let stream = self.0.try_clone().unwrap();
        Closer::new(move || drop(stream.shutdown(Shutdown::Both)))
    }

    fn remote(&self) -> String {
        self.0.peer_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
    }
}

/// One connection to a peer of the lab.
pub struct Speaker(pub Box<dyn Stream>);

impl Speaker {
    /// Connects and says nothing.
    pub fn silent(lab: &Lab, peer: &str) -> Self {
        let peer = Peer::at(peer.parse().unwrap(), "127.0.0.1", 1);
        Self::over(lab.network.dial(&peer, DEADLINE, &Cancel::new()).unwrap())
    }

    /// Says nothing yet over that stream.
    pub fn over(mut stream: Box<dyn Stream>) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self(stream)
    }

    /// Connects and exchanges greetings.
    pub fn greeted(lab: &Lab, peer: &str) -> Self {
        Self::silent(lab, peer).greet()
    }

    /// Connects, exchanges greetings and says hello.
    pub fn introduced(lab: &Lab, peer: &str) -> Self {
        Self::silent(lab, peer).introduce()
    }

    /// Exchanges greetings.
    pub fn greet(mut self) -> Self {
        // Who is turned away at once hears of it all the same.
        let _ = wire::send_greeting(&mut self.0);
        wire::read_greeting(&mut self.0).unwrap();
        self
    }

    /// Exchanges greetings and says hello.
    pub fn introduce(self) -> Self {
        let mut speaker = self.greet();
        let hello = Request::Hello { peer: None, to: None, agent: "speaker".to_owned() };
        let answer = speaker.ask(&hello, &[]);
        assert!(matches!(answer, Response::Hello { .. }), "{answer:?}");
        speaker
    }

    /// Sends a request; gives the answer, whose payload is skipped.
    #[track_caller]
    pub fn ask(&mut self, request: &Request, payload: &[u8]) -> Response {
        self.send(request, payload);
        self.answer()
    }

    /// Sends a message.
    pub fn send(&mut self, message: &impl serde::Serialize, payload: &[u8]) {
        let head = wire::encode(message, payload.len()).unwrap();
        self.raw(&[&head, payload].concat());
    }

    /// Sends a header as it stands.
    pub fn send_header(&mut self, header: &str) {
        let lengths = [(header.len() as u32).to_be_bytes(), [0; 4]].concat();
        self.raw(&[&lengths, header.as_bytes()].concat());
    }

    /// Sends these bytes; the other side may have left.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> Response {
        self.next().expect("the other side left")
    }

    /// The next answer and its payload.
    #[track_caller]
    pub fn answer_with_payload(&mut self) -> (Response, Vec<u8>) {
        let Head { message, payload } = wire::read_head::<Response>(&mut self.0).unwrap();
        let mut bytes = vec![0; payload as usize];
        self.0.read_exact(&mut bytes).unwrap();
        (message, bytes)
    }

    /// The next request, from a side to which a file was offered.
    #[track_caller]
    pub fn request(&mut self) -> Request {
        self.next().expect("the other side left")
    }

    /// The next message, its payload skipped; `None` when the other side has left.
    pub fn next<M: Message>(&mut self) -> Option<M> {
        let Head { message, payload } = wire::read_head::<M>(&mut self.0).ok()?;
        let mut skipped = vec![0; payload as usize];
        self.0.read_exact(&mut skipped).ok()?;
        Some(message)
    }

    /// Reads to the end of the connection, which must come.
    #[track_caller]
    pub fn until_end(mut self) {
        let mut rest = Vec::new();
        let ended = self.0.read_to_end(&mut rest);
        assert!(
            !ended.as_ref().is_err_and(peershare::transport::timed_out),
            "the other side keeps the connection: {ended:?}"
        );
    }

    /// Offers a file and expects a yes.
    #[track_caller]
    pub fn offer(&mut self, manifest: &Manifest) {
        let answer = self.ask(
            &Request::offer(manifest, Attributes::default(), false, false),
            &Response::digests_of(manifest),
        );
        assert!(matches!(answer, Response::Accepted { .. }), "{answer:?}");
    }

    /// Answers the next `count` reads from `data` as a good offering peer does; gives their
    /// numbers.
    #[track_caller]
    pub fn serve(&mut self, data: &[u8], count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            match self.request() {
                Request::Read { chunk, chunk_size, .. } => {
                    let start = chunk as usize * chunk_size as usize;
                    let end = data.len().min(start + chunk_size as usize);
                    self.send(&Response::Chunk { chunk, shared: false }, &data[start..end]);
                    numbers.push(chunk);
                }
                Request::Report { .. } => {}
                other => panic!("{other:?} after an offer"),
            }
        }
        numbers
    }
}
