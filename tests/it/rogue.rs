//! A peer that answers by a script. What the script leaves alone is answered as it should be.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peershare::connection::Framed;
use peershare::content::{Attributes, ChunkSet, Entry, Manifest};
use peershare::transport::Stream;
use peershare::transport::tcp::{Accepted, Listener};
use peershare::wire::{self, ErrorCode, MAGIC, Request, Response, Subject, VERSION, WireError};

use super::lab::{DEADLINE, manifest};

/// What a rogue does with one request.
pub enum Deed {
    /// What a good peer would.
    Honest,
    /// The answer of a good peer, with a wrong byte at the end of its payload.
    Corrupt,
    /// Half of that answer, then the end of the connection.
    Half,
    /// That answer, byte for byte in writes of their own.
    Dribble,
    /// That answer: its head at once, its payload at a byte in that time, as long as anybody reads.
    Trickle(Duration),
    /// Nothing, ever; the connection stays.
    Silence,
    /// These very bytes, and then it reads nothing any more; the connection stays.
    Deaf(Vec<u8>),
    /// The end of the connection.
    Cut,
    /// This.
    Say(Response, Vec<u8>),
    /// These very bytes.
    Raw(Vec<u8>),
}

/// A refusal with that code.
pub fn refuse(code: ErrorCode) -> Deed {
    Deed::Say(Response::error(code, "because"), Vec::new())
}

type Script = dyn Fn(&Request, u32) -> Deed + Send + Sync;

/// A peer that has one file, and a script. Clones are the same peer.
#[derive(Clone)]
pub struct Rogue(Arc<Inner>);

struct Inner {
    manifest: Manifest,
    data: Vec<u8>,
    greeting: Vec<u8>,
    script: Box<Script>,
    reads: AtomicU32,
    /// Who it says it is.
    id: Option<String>,
    /// Connections that it does not read from.
    unread: Mutex<Vec<Box<dyn Stream>>>,
}

impl Rogue {
    /// The script is given each request but hello, and how many reads came before it.
    pub fn new(
        name: &str,
        data: &[u8],
        script: impl Fn(&Request, u32) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::of(manifest(name, data), data, script)
    }

    /// The same, with a manifest that need not be the usual one.
    pub fn of(
        manifest: Manifest,
        data: &[u8],
        script: impl Fn(&Request, u32) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let greeting = [&MAGIC[..], &[VERSION]].concat();
        Self::greeting(greeting, manifest, data, script)
    }

    /// The same, with another greeting.
    pub fn greeting(
        greeting: Vec<u8>,
        manifest: Manifest,
        data: &[u8],
        script: impl Fn(&Request, u32) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let (data, script) = (data.to_vec(), Box::new(script));
        let (reads, id, unread) = Default::default();
        Self(Arc::new(Inner { manifest, data, greeting, script, reads, id, unread }))
    }

    /// The same, by the name of a peer.
    pub fn called(mut self, peer: &str) -> Self {
        Arc::get_mut(&mut self.0).unwrap().id = Some(peer.to_owned());
        self
    }

    /// Does that with every read of a chunk from the one after `reads` on.
    pub fn after(
        name: &str,
        data: &[u8],
        reads: u32,
        deed: impl Fn() -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, data, move |request, before| match request {
            Request::Read { .. } if before >= reads => deed(),
            _ => Deed::Honest,
        })
    }

    /// Does that with the first read of a chunk of that number, and all later ones of it.
    pub fn at_chunk(
        name: &str,
        data: &[u8],
        number: u32,
        deed: impl Fn() -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, data, move |request, _| match request {
            Request::Read { chunk, .. } if *chunk == number => deed(),
            _ => Deed::Honest,
        })
    }

    /// A good peer that gives no chunk before `may` returns.
    pub fn good_after(name: &str, data: &[u8], may: impl Fn() + Send + Sync + 'static) -> Self {
        Self::new(name, data, move |request, _| {
            if let Request::Read { .. } = request {
                may();
            }
            Deed::Honest
        })
    }

    /// How many reads of chunks came so far.
    pub fn reads(&self) -> u32 {
        self.0.reads.load(SeqCst)
    }

    /// Serves a connection in a thread of its own, which ends with the connection.
    pub fn accept(&self, stream: impl Stream + 'static) {
        let rogue = self.clone();
        // Its errors are what rogues are for.
        thread::Builder::new()
            .name("rogue".into())
            .spawn(move || rogue.converse(stream).is_ok())
            .unwrap();
    }

    /// Serves whoever connects to a port that the system chooses; gives the port.
    pub fn listen(&self) -> u16 {
        let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let (port, rogue) = (listener.address().unwrap().port(), self.clone());
        let work = move || {
            while let Ok(Accepted::Link(link)) = listener.accept(DEADLINE) {
                rogue.accept(link);
            }
        };
        thread::Builder::new().name("rogues".into()).spawn(work).unwrap();
        port
    }

    fn converse(&self, mut stream: impl Stream + 'static) -> Result<(), WireError> {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        wire::read_greeting(&mut stream)?;
        stream.write_all(&self.0.greeting)?;
        loop {
            let head = wire::read_head::<Request>(&mut stream)?;
            let mut payload = vec![0; head.payload as usize];
            stream.read_exact(&mut payload)?;
            let deed = match head.message {
                Request::Hello { .. } => Deed::Honest,
                Request::Read { .. } => {
                    let before = self.0.reads.fetch_add(1, SeqCst);
                    (self.0.script)(&head.message, before)
                }
                _ => (self.0.script)(&head.message, self.reads()),
            };
            if let Deed::Deaf(last_words) = deed {
                stream.write_all(&last_words)?;
                self.0.unread.lock().unwrap().push(Box::new(stream));
                return Ok(());
            }
            if !self.perform(&mut stream, &head.message, deed)? {
                return Ok(());
            }
        }
    }

    /// Says whether the connection goes on.
    fn perform(
        &self,
        stream: &mut impl Stream,
        request: &Request,
        deed: Deed,
    ) -> Result<bool, WireError> {
        let frame = |response: &Response, payload: &[u8]| {
            Ok::<_, WireError>([wire::encode(response, payload.len())?, payload.to_vec()].concat())
        };
        let Some((response, payload)) = self.honest(request) else { return Ok(true) };
        let honest = frame(&response, &payload)?;
        match deed {
            Deed::Honest => stream.write_all(&honest)?,
            Deed::Corrupt => {
                let (last, rest) = honest.split_last().ok_or(WireError::Closed)?;
                stream.write_all(&[rest, &[!last]].concat())?;
            }
            Deed::Half => {
                stream.write_all(&honest[..honest.len() / 2])?;
                return Ok(false);
            }
            Deed::Dribble => honest.chunks(1).try_for_each(|byte| stream.write_all(byte))?,
            Deed::Trickle(pause) => {
                stream.write_all(&wire::encode(&response, payload.len())?)?;
                for byte in payload.chunks(1) {
                    stream.write_all(byte)?;
                    thread::park_timeout(pause);
                }
            }
            Deed::Silence | Deed::Deaf(_) => {}
            Deed::Cut => return Ok(false),
            Deed::Say(response, payload) => stream.write_all(&frame(&response, &payload)?)?,
            Deed::Raw(bytes) => stream.write_all(&bytes)?,
        }
        Ok(true)
    }

    /// The answer of a good peer that has that one file and takes no others.
    fn honest(&self, request: &Request) -> Option<(Response, Vec<u8>)> {
        let Inner { manifest, data, .. } = &*self.0;
        let plain = |response| Some((response, Vec::new()));
        let not_found = || plain(Response::error(ErrorCode::NotFound, "not here"));
        match request {
            Request::Hello { .. } => plain(Response::Hello {
                peer: self.0.id.clone(),
                agent: "rogue".to_owned(),
                read_only: false,
            }),
            Request::Describe { subject, .. } => {
                let meant = match subject {
                    Subject::Name(name) => name == manifest.name(),
                    Subject::Id(prefix) => {
                        manifest.root().to_string().starts_with(&prefix.to_string())
                    }
                };
                if !meant {
                    return not_found();
                }
                Some((
                    Response::manifest(manifest, Attributes::default(), false),
                    Response::digests_of(manifest),
                ))
            }
            Request::Read { root, chunk, chunk_size, .. } if *root == manifest.root() => {
                chunk_of(data, *chunk, *chunk_size)
            }
            Request::Have { root, .. } if *root == manifest.root() => {
                Some((Response::Have, ChunkSet::all(manifest.layout()).as_bytes().to_vec()))
            }
            Request::Read { .. }
            | Request::ReadNamed { .. }
            | Request::Have { .. }
            | Request::Next { .. } => not_found(),
            Request::List { .. } => {
                let (name, length) = (manifest.name().clone(), manifest.length());
                let entry = Entry {
                    name,
                    length,
                    folder: false,
                    stored: None,
                    mtime_ns: None,
                    mode: None,
                    root: Some(manifest.root()),
                };
                let payload = serde_json::to_vec(&[entry]).unwrap();
                Some((Response::Listing { next: None, left_out: 0, shared: false }, payload))
            }
            Request::Ping => plain(Response::Pong(Default::default())),
            Request::Gather => not_found(),
            Request::Offer { .. } | Request::OfferFolder { .. } => {
                plain(Response::error(ErrorCode::Refused, "no offers"))
            }
            Request::Report { .. } => None,
            Request::LeftOut { .. } | Request::Cut { .. } | Request::Unknown => {
                plain(Response::error(ErrorCode::Unsupported, "what?"))
            }
        }
    }
}

fn chunk_of(data: &[u8], chunk: u32, chunk_size: u32) -> Option<(Response, Vec<u8>)> {
    let start = (chunk as usize) * (chunk_size as usize);
    let end = data.len().min(start + chunk_size as usize);
    Some((Response::Chunk { chunk, shared: false }, data.get(start..end)?.to_vec()))
}

/// A peer that tells everybody to come back later.
pub fn busy(mut stream: impl Stream) {
    let refusal = wire::Refusal { code: ErrorCode::Busy, message: "busy".to_owned() };
    // Who has left already need not be told.
    let _ = Framed::turn_away(&mut stream, refusal);
}
