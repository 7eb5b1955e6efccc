//! Where chunks come from: the seam between the engine and the dialects.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::{Framed, Identity, nothing_came};
use crate::content::{ChunkIndex, Manifest, Root};
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
    /// It sent a chunk that is not what it was said to be.
    #[error("it sent a chunk that does not verify")]
    BadChunk,
    /// It broke the protocol.
    #[error("it broke the protocol ({0})")]
    Misbehaved(WireError),
}

impl SourceError {
    /// Whether it sent, or had, other bytes than it said.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::BadChunk | Self::Changed)
    }

    /// Whether the source may work again after a pause.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Stalled => true,
            Self::Refused(refusal) => refusal.code == ErrorCode::Busy,
            Self::Changed | Self::NotServing | Self::BadChunk | Self::Misbehaved(_) => false,
        }
    }
}

impl From<WireError> for SourceError {
    fn from(error: WireError) -> Self {
        match error {
            error if nothing_came(&error) => Self::Stalled,
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
            _ => Self::Refused(refusal),
        }
    }
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

    /// Reads the answer to the oldest request, which was for `index`, into `buffer`, which is as
    /// long as that chunk. No wait for further bytes is longer than `stall`.
    fn receive(&mut self, index: ChunkIndex, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError>;

    /// Why a chunk may not have verified, asked of the source itself: `Changed` when it says so,
    /// else it sent a bad chunk.
    fn excuse(&mut self) -> SourceError;

    /// Ends the connection from another thread; `None` where it must outlive the transfer.
    fn closer(&self) -> Option<Closer>;
}

/// A peer of the framed dialect that we connect to.
pub struct FramedPeer {
    peer: Peer,
    caller: Caller,
    root: Root,
    layout: ChunkLayout,
    /// A connection that is already open.
    connection: Option<Framed>,
}

impl FramedPeer {
    /// Will fetch the content of `manifest` from `peer`; `connection` is used first where one is
    /// open already.
    pub fn new(peer: Peer, caller: Caller, manifest: &Manifest, connection: Option<Framed>) -> Self {
        Self { peer, caller, root: manifest.root(), layout: *manifest.layout(), connection }
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
        Ok(Box::new(FramedSource { connection, root: self.root, layout: self.layout, closer }))
    }
}

/// A source over a connection of its own.
struct FramedSource {
    connection: Framed,
    root: Root,
    layout: ChunkLayout,
    closer: Option<Closer>,
}

impl Source for FramedSource {
    fn request(&mut self, index: ChunkIndex) -> Result<(), SourceError> {
        request_chunk(&mut self.connection, self.root, &self.layout, index)
    }

    fn receive(&mut self, index: ChunkIndex, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError> {
        receive_chunk(&mut self.connection, &self.layout, index, buffer, stall)
    }

    fn excuse(&mut self) -> SourceError {
        ask_excuse(&mut self.connection, self.root)
    }

    fn closer(&self) -> Option<Closer> {
        self.closer.clone()
    }
}

/// Sends the request for one chunk.
pub(super) fn request_chunk(
    connection: &mut Framed,
    root: Root,
    layout: &ChunkLayout,
    index: ChunkIndex,
) -> Result<(), SourceError> {
    let request = Request::Read { root, chunk: index.get(), chunk_size: layout.chunk_size() };
    Ok(connection.send(&request, &[])?)
}

/// Reads the answer to the oldest such request.
pub(super) fn receive_chunk(
    connection: &mut Framed,
    layout: &ChunkLayout,
    index: ChunkIndex,
    buffer: &mut [u8],
    stall: Duration,
) -> Result<(), SourceError> {
    debug_assert_eq!(buffer.len(), layout.chunk_len(index));
    match connection.answer(stall)?.message {
        Response::Chunk { chunk } if chunk == index.get() => Ok(connection.read_payload(buffer, stall)?),
        Response::Error(refusal) => Err(refusal.into()),
        other => Err(misbehaved(format!("{other:?} in answer to a read of chunk {}", index.get()))),
    }
}

/// Asks what the source has, behind the answers that are still to come.
pub(super) fn ask_excuse(connection: &mut Framed, root: Root) -> SourceError {
    if connection.send(&Request::Have { root }, &[]).is_err() {
        return SourceError::BadChunk;
    }
    loop {
        match connection.answer(config::ANSWER_TIMEOUT).map(|head| head.message) {
            Ok(Response::Chunk { .. }) => {}
            Ok(Response::Error(Refusal { code: ErrorCode::Changed | ErrorCode::NotFound, .. })) => {
                return SourceError::Changed;
            }
            _ => return SourceError::BadChunk,
        }
    }
}
