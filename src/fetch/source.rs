//! Where chunks come from: the seam between the engine and the dialects.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::{Framed, Identity, nothing_came};
use crate::content::{ChunkIndex, ChunkSet, FileName, Manifest, Root};
use crate::topology::{Peer, PeerId};
use crate::transport::{Cancel, Closer, Network};
use crate::wire::{ErrorCode, Refusal, Request, Response, WireError};
use crate::{config, content::ChunkLayout};

/// Why one source is of no use, for now or for this file. Never the end of a transfer by itself.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No connection could be made.
    #[error("unreachable ({0})")]
    Unreachable(io::Error),
    /// The connection ended or broke.
    #[error("the connection was lost ({0})")]
    Lost(WireError),
    /// Nothing came for too long.
    #[error("it stopped answering")]
    Stalled,
    /// It answered with an error.
    #[error("it refused: {}", .0.message)]
    Refused(Refusal),
    /// Its file is not any more what it was.
    #[error("its file changed while reading")]
    Changed,
    /// It does not have the content (any more).
    #[error("it does not serve that file")]
    NotServing,
    /// It does not have that chunk yet.
    #[error("it does not have that chunk yet")]
    NotYet,
    /// It sent a chunk that is not what it was said to be.
    #[error("it sent a chunk that does not verify")]
    BadChunk,
    /// It broke the protocol.
    #[error("it broke the protocol ({0})")]
    Misbehaved(WireError),
    /// It did not greet as a framed peer does; it may speak the classic dialect.
    #[error("no framed peer answers there ({0})")]
    Foreign(WireError),
}

impl SourceError {
    /// Whether it sent, or had, other bytes than it said.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::BadChunk | Self::Changed)
    }

    /// Whether the source may work again after a pause.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Stalled | Self::NotYet => true,
            // A server that was ending, perhaps.
            Self::Foreign(error) => matches!(error, WireError::NoGreeting(_)),
            Self::Refused(refusal) => refusal.code == ErrorCode::Busy,
            Self::Changed | Self::NotServing | Self::BadChunk | Self::Misbehaved(_) => false,
        }
    }
}

impl From<WireError> for SourceError {
    fn from(error: WireError) -> Self {
        match error {
            error if nothing_came(&error) => Self::Stalled,
            WireError::NotPeershare | WireError::NoGreeting(_) => Self::Foreign(error),
            WireError::Io(_) | WireError::Closed => Self::Lost(error),
            WireError::Refused(refusal) => Self::Refused(refusal),
            _ => Self::Misbehaved(error),
        }
    }
}

/// A message that does not fit what was asked.
pub(super) fn misbehaved(what: impl ToString) -> SourceError {
    SourceError::Misbehaved(WireError::Unexpected(what.to_string()))
}

impl From<Refusal> for SourceError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            ErrorCode::Changed => Self::Changed,
            ErrorCode::NotFound => Self::NotServing,
            ErrorCode::NotYet => Self::NotYet,
            _ => Self::Refused(refusal),
        }
    }
}

/// A request for what a swarm's source has handed to nobody yet.
#[derive(Clone, Copy, Debug)]
pub struct Next<'a> {
    /// How much of the log is known.
    pub seen: u64,
    /// Whether a chunk is wanted, or only the news.
    pub want: bool,
    /// With the first request: the chunks that are here already.
    pub have: Option<&'a ChunkSet>,
}

/// What a swarm's source handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handed {
    /// What we are handed; its bytes follow.
    pub chunk: Option<ChunkIndex>,
    /// What others were handed.
    pub others: Vec<(PeerId, Vec<ChunkIndex>)>,
    /// How much of the log that makes.
    pub seen: u64,
    /// Whether everything was handed out, and told.
    pub all: bool,
}

/// A peer that may become a source: knows how to reach it, again after a failure.
pub trait Dial: Send {
    /// Which peer.
    fn peer(&self) -> &PeerId;

    /// Whether it can be reached again after its connection is lost.
    fn can_redial(&self) -> bool {
        true
    }

    /// Reaches it.
    fn dial(&mut self, cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError>;
}

/// A peer that answers requests for chunks of one content, in their order.
pub trait Source {
    /// Asks for a chunk; the answer is read later.
    fn request(&mut self, index: ChunkIndex) -> Result<(), SourceError>;

    /// Waits for the answer to the oldest request, which was for `index`, at most `stall`.
    fn await_chunk(&mut self, index: ChunkIndex, stall: Duration) -> Result<(), SourceError>;

    /// Whether others fetch the same content from it, as it said with the last chunk.
    fn is_shared(&self) -> bool {
        false
    }

    /// Reads the chunk whose answer has come into `buffer`, which is as long as that chunk. No wait
    /// for further bytes is longer than `stall`.
    fn receive(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError>;

    /// Asks for a chunk that was handed to nobody yet, and for the news; see [`Next`].
    fn request_next(&mut self, next: &Next<'_>) -> Result<(), SourceError> {
        Err(SourceError::Misbehaved(WireError::Unexpected(format!("no swarm here: {next:?}"))))
    }

    /// Waits for the answer to the oldest such request; when it brings a chunk, that is received next.
    fn await_next(&mut self, stall: Duration) -> Result<Handed, SourceError> {
        Err(SourceError::Misbehaved(WireError::Unexpected(format!("no swarm here for {stall:?}"))))
    }

    /// Asks which chunks the source has now, when no other request is under way; `None` where it cannot
    /// be asked.
    fn has(&mut self, _stall: Duration) -> Result<Option<ChunkSet>, SourceError> {
        Ok(None)
    }

    /// Why a chunk may not have verified, asked of the source itself: `Changed` when it says so,
    /// else it sent a bad chunk.
    fn excuse(&mut self) -> SourceError;

    /// Is called now and then while there is nothing to ask.
    fn idle(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Ends the connection from another thread; `None` where it must outlive the transfer.
    fn closer(&self) -> Option<Closer>;
}

/// A peer of the framed dialect that we connect to.
pub struct FramedPeer {
    peer: Peer,
    caller: Caller,
    wanted: Wanted,
    layout: ChunkLayout,
    /// A connection that is already open.
    connection: Option<Framed>,
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
    pub fn new(peer: Peer, caller: Caller, manifest: &Manifest, connection: Option<Framed>) -> Self {
        let wanted = Wanted::Content(manifest.root(), 0);
        Self { peer, caller, wanted, layout: *manifest.layout(), connection }
    }

    /// Answers may wait for chunks that the peer is still receiving itself.
    pub fn member(peer: Peer, caller: Caller, manifest: &Manifest) -> Self {
        let wanted = Wanted::Content(manifest.root(), config::MEMBER_WAIT_MS);
        Self { wanted, ..Self::new(peer, caller, manifest, None) }
    }

    /// Will fetch a file that `peer` is still hashing.
    pub fn hashing(peer: Peer, caller: Caller, name: FileName, layout: ChunkLayout) -> Self {
        Self { peer, caller, wanted: Wanted::Named(name), layout, connection: None }
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
        Ok(Framed::open(dialled.map_err(SourceError::Unreachable)?, &self.identity)?)
    }
}

impl Dial for FramedPeer {
    fn peer(&self) -> &PeerId {
        &self.peer.id
    }

    fn dial(&mut self, cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.caller.connect(&self.peer, cancel)?,
        };
        let closer = Some(connection.closer());
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
            Wanted::Content(root, _) => request_next(&mut self.connection, *root, &self.layout, next),
            Wanted::Named(_) => Err(misbehaved("nothing is handed out of what is still being hashed")),
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
            Response::Have => Ok(ChunkSet::from_bytes(&self.layout, &self.connection.take_payload()?)),
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
    let request = Request::Read { root, chunk: index.get(), chunk_size: layout.chunk_size(), wait_ms };
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
    let request = Request::Next { root, chunk_size: layout.chunk_size(), seen: next.seen, want: next.want };
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
        Response::Handed { chunk, handed, seen, all } => {
            let index = |number: u32| {
                layout
                    .index(number)
                    .ok_or_else(|| misbehaved(format!("chunk {number} of {}", layout.count())))
            };
            let other = |(peer, chunks): (String, Vec<u32>)| {
                let peer =
                    peer.parse().map_err(|bad: crate::topology::BadPeerId| misbehaved(bad.to_string()))?;
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
            Ok(Response::Error(Refusal { code: ErrorCode::Changed | ErrorCode::NotFound, .. })) => {
                return SourceError::Changed;
            }
            _ => return SourceError::BadChunk,
        }
    }
}
