//! Sources of the framed dialect, and what is said to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source::{Dial, Handed, Next, Source, SourceError, misbehaved};
use crate::config;
use crate::connection::{Framed, Identity};
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, FileName, Manifest, Root};
use crate::topology::{Peer, PeerId};
use crate::transport::{Cancel, Closer, Network};
use crate::wire::{ErrorCode, Refusal, Request, Response, WireError};

/// A peer of the framed dialect that we connect to.
pub struct FramedPeer {
    peer: Peer,
    caller: Caller,
    wanted: Wanted,
    layout: ChunkLayout,
    /// A connection that is already open.
    connection: Option<Framed>,
    /// Whether it was connected to before.
    again: bool,
}

/// How chunks are asked for.
#[derive(Clone)]
enum Wanted {
    /// Those of a content; the answer may wait so many milliseconds.
    Content(Root, u32),
    /// Those of a file that is still being hashed.
    Named(FileName),
}

impl FramedPeer {
    /// Will fetch the content of `manifest` from `peer`; `connection` is used first where one is
    /// open already.
    pub fn new(
        peer: Peer,
        caller: Caller,
        manifest: &Manifest,
        connection: Option<Framed>,
    ) -> Self {
        let wanted = Wanted::Content(manifest.root(), 0);
        Self { peer, caller, wanted, layout: *manifest.layout(), connection, again: false }
    }

    /// Answers may wait for chunks that the peer is still receiving itself.
    pub fn member(peer: Peer, caller: Caller, manifest: &Manifest) -> Self {
        let wanted = Wanted::Content(manifest.root(), config::MEMBER_WAIT_MS);
        Self { wanted, ..Self::new(peer, caller, manifest, None) }
    }

    /// Will fetch a file that `peer` is still hashing.
    pub fn hashing(peer: Peer, caller: Caller, name: FileName, layout: ChunkLayout) -> Self {
        Self { peer, caller, wanted: Wanted::Named(name), layout, connection: None, again: false }
    }
}

/// Who asks, and over which network.
#[derive(Clone)]
pub struct Caller {
    /// Who we are to the others.
    pub identity: Identity,
    /// How they are reached.
    pub network: Arc<dyn Network>,
}

impl Caller {
    /// Connects to a peer and opens the framed dialect.
    pub fn connect(&self, peer: &Peer, cancel: &Cancel) -> Result<Framed, SourceError> {
        let dialled = self.network.dial(peer, config::CONNECT_TIMEOUT, cancel);
        let meant = Some(&peer.id).filter(|_| !peer.is_anybody);
        Ok(Framed::open(dialled.map_err(SourceError::Unreachable)?, &self.identity, meant)?)
    }
}

impl Dial for FramedPeer {
    fn peer(&self) -> &PeerId {
        &self.peer.id
    }

    fn dial(&mut self, cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.caller.connect(&self.peer, cancel)?,
        };
        let closer = Some(connection.closer());
        if std::mem::replace(&mut self.again, true) {
            // Back it is when it has greeted, not when it has turned us away.
            let _registration = cancel.closes(connection.closer());
            connection.introduce()?;
        }
        let (wanted, layout) = (self.wanted.clone(), self.layout);
        Ok(Box::new(FramedSource { connection, wanted, layout, closer, shared: false }))
    }
}

/// A source over a connection of its own.
struct FramedSource {
    connection: Framed,
    wanted: Wanted,
    layout: ChunkLayout,
    closer: Option<Closer>,
    shared: bool,
}

impl Source for FramedSource {
    fn request(&mut self, index: ChunkIndex) -> Result<(), SourceError> {
        match &self.wanted {
            Wanted::Content(root, wait_ms) => {
                request_chunk(&mut self.connection, *root, &self.layout, (index, *wait_ms))
            }
            Wanted::Named(name) => {
                let (chunk, chunk_size) = (index.get(), self.layout.chunk_size());
                let request = Request::ReadNamed { name: name.clone(), chunk, chunk_size };
                Ok(self.connection.send(&request, &[])?)
            }
        }
    }

    fn await_chunk(&mut self, index: ChunkIndex, stall: Duration) -> Result<(), SourceError> {
        self.shared = await_chunk(&mut self.connection, index, stall)?;
        Ok(())
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    fn receive(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError> {
        Ok(self.connection.read_payload(buffer, stall)?)
    }

    fn request_next(&mut self, next: &Next<'_>) -> Result<(), SourceError> {
        match &self.wanted {
            Wanted::Content(root, _) => {
                request_next(&mut self.connection, *root, &self.layout, next)
            }
            Wanted::Named(_) => {
                Err(misbehaved("nothing is handed out of what is still being hashed"))
            }
        }
    }

    fn await_next(&mut self, stall: Duration) -> Result<Handed, SourceError> {
        await_next(&mut self.connection, &self.layout, stall)
    }

    fn has(&mut self, stall: Duration) -> Result<Option<ChunkSet>, SourceError> {
        let Wanted::Content(root, _) = self.wanted else { return Ok(None) };
        let request = Request::Have { root, chunk_size: self.layout.chunk_size() };
        self.connection.send(&request, &[])?;
        match self.connection.answer(stall)?.message {
            Response::Have => {
                Ok(ChunkSet::from_bytes(&self.layout, &self.connection.take_payload()?))
            }
            Response::Error(refusal) => Err(refusal.into()),
            other => Err(misbehaved(format!("{other:?} in answer to have"))),
        }
    }

    fn excuse(&mut self) -> SourceError {
        match &self.wanted {
            Wanted::Content(root, _) => ask_excuse(&mut self.connection, *root),
            Wanted::Named(_) => SourceError::BadChunk,
        }
    }

    fn closer(&self) -> Option<Closer> {
        self.closer.clone()
    }
}

/// Sends the request for one chunk, which may wait at the other side for so many milliseconds.
pub(super) fn request_chunk(
    connection: &mut Framed,
    root: Root,
    layout: &ChunkLayout,
    (index, wait_ms): (ChunkIndex, u32),
) -> Result<(), SourceError> {
    let request =
        Request::Read { root, chunk: index.get(), chunk_size: layout.chunk_size(), wait_ms };
    Ok(connection.send(&request, &[])?)
}

/// Waits for the answer to the oldest such request; its payload is the chunk. Says whether others
/// fetch the same content from there.
pub(super) fn await_chunk(
    connection: &mut Framed,
    index: ChunkIndex,
    stall: Duration,
) -> Result<bool, SourceError> {
    match connection.answer(stall)?.message {
        Response::Chunk { chunk, shared } if chunk == index.get() => Ok(shared),
        Response::Error(refusal) => Err(refusal.into()),
        other => Err(misbehaved(format!("{other:?} in answer to a read of chunk {}", index.get()))),
    }
}

/// Sends the request for what was handed to nobody yet.
pub(super) fn request_next(
    connection: &mut Framed,
    root: Root,
    layout: &ChunkLayout,
    next: &Next<'_>,
) -> Result<(), SourceError> {
    let request =
        Request::Next { root, chunk_size: layout.chunk_size(), seen: next.seen, want: next.want };
    Ok(connection.send(&request, next.have.map_or(&[], ChunkSet::as_bytes))?)
}

/// Waits for the answer to the oldest such request; its payload is the chunk, if it names one.
pub(super) fn await_next(
    connection: &mut Framed,
    layout: &ChunkLayout,
    stall: Duration,
) -> Result<Handed, SourceError> {
    let misbehaved = |what: String| SourceError::Misbehaved(WireError::Unexpected(what));
    match connection.answer(stall)?.message {
        Response::Handed { chunk, handed, seen, all, .. } => {
            let index = |number: u32| {
                layout
                    .index(number)
                    .ok_or_else(|| misbehaved(format!("chunk {number} of {}", layout.count())))
            };
            let other = |(peer, chunks): (String, Vec<u32>)| {
                let peer = peer
                    .parse()
                    .map_err(|bad: crate::topology::BadPeerId| misbehaved(bad.to_string()))?;
                Ok((peer, chunks.into_iter().map(index).collect::<Result<_, SourceError>>()?))
            };
            let others = handed.into_iter().map(other).collect::<Result<_, SourceError>>()?;
            Ok(Handed { chunk: chunk.map(index).transpose()?, others, seen, all })
        }
        Response::Error(refusal) => Err(refusal.into()),
        other => Err(misbehaved(format!("{other:?} in answer to next"))),
    }
}

/// Asks what the source has, behind the answers that are still to come.
pub(super) fn ask_excuse(connection: &mut Framed, root: Root) -> SourceError {
    if connection.send(&Request::Have { root, chunk_size: 0 }, &[]).is_err() {
        return SourceError::BadChunk;
    }
    // Chunks without end are no excuse.
    let deadline = Instant::now() + config::ANSWER_TIMEOUT;
    loop {
        match connection.answer(config::ANSWER_TIMEOUT).map(|head| head.message) {
            Ok(Response::Chunk { .. }) if Instant::now() < deadline => {}
            Ok(Response::Error(Refusal {
                code: ErrorCode::Changed | ErrorCode::NotFound, ..
            })) => {
                return SourceError::Changed;
            }
            _ => return SourceError::BadChunk,
        }
    }
}
