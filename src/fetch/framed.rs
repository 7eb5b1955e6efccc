//! Sources of the framed dialect: one connection, whoever opened it.
//!
//! A peer that we connect to can be connected to again. One that offered something is reached over
//! the connection that its offer came on, once, and is told now and then how far we are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outage::Waits;
use super::source::{Answer, Ask, Dial, Handed, Source, SourceError, misbehaved};
use crate::config;
use crate::connection::{Framed, Identity};
use crate::content::{ChunkLayout, ChunkSet, Digest, Root};
use crate::topology::{Peer, PeerId};
use crate::transport::{Cancel, Closer, Network};
use crate::wire::{ErrorCode, Refusal, Report, Request, Response};

/// Tells how far a transfer is.
pub(super) type Tell<'a> = &'a (dyn Fn() -> Report + Sync);

/// A peer of the framed dialect that we connect to.
pub struct FramedPeer {
    peer: Peer,
    caller: Caller,
    /// The connection in use, or one to begin with.
    connection: Option<Framed>,
    /// Whether it was used before.
    again: bool,
}

impl FramedPeer {
    /// Will fetch from `peer`; `connection` is used first where one is open already.
    pub fn new(peer: Peer, caller: Caller, connection: Option<Framed>) -> Self {
        Self { peer, caller, connection, again: false }
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
        let again = std::mem::replace(&mut self.again, true);
        let mut connection = match self.connection.take().filter(|_| !again) {
            Some(connection) => connection,
            None => self.caller.connect(&self.peer, cancel)?,
        };
        if again {
            // Back it is when it has greeted, not when it has turned us away.
            let _registration = cancel.closes(connection.closer());
            connection.introduce()?;
        }
        let closer = Some(connection.closer());
        let connection = self.connection.insert(connection);
        Ok(Box::new(FramedSource { connection, closer, reporter: None }))
    }
}

/// A peer that is asked over a connection.
pub(super) struct FramedSource<'a> {
    connection: &'a mut Framed,
    closer: Option<Closer>,
    reporter: Option<Reporter<'a>>,
}

/// Tells the other side now and then how far we are.
struct Reporter<'a> {
    tell: Tell<'a>,
    told: Instant,
}

impl<'a> FramedSource<'a> {
    /// The other side of a connection that goes on afterwards, and is told how far we are.
    pub(super) fn turned(connection: &'a mut Framed, tell: Tell<'a>) -> Self {
        let reporter = Some(Reporter { tell, told: Instant::now() });
        Self { connection, closer: None, reporter }
    }

    fn send(&mut self, request: &Request, payload: &[u8]) -> Result<(), SourceError> {
        Ok(self.connection.send(request, payload)?)
    }

    fn handed(
        &self,
        response: Response,
        len: usize,
        to: &ChunkLayout,
    ) -> Result<Handed, SourceError> {
        let Response::Handed { chunk, handed, whole, seen, all } = response else {
            return Err(misbehaved(format!("{response:?} in answer to next")));
        };
        let index = |number: u32| {
            let wrong = || misbehaved(format!("chunk {number} of {}", to.count()));
            to.index(number).ok_or_else(wrong)
        };
        let named = |id: String| -> Result<PeerId, SourceError> { id.parse().map_err(misbehaved) };
        let other = |(peer, chunks): (String, Vec<u32>)| {
            Ok((named(peer)?, chunks.into_iter().map(index).collect::<Result<_, SourceError>>()?))
        };
        Ok(Handed {
            unit: chunk.map(index).transpose()?,
            len,
            others: handed.into_iter().map(other).collect::<Result<_, SourceError>>()?,
            whole: whole.into_iter().map(named).collect::<Result<_, SourceError>>()?,
            seen,
            all,
        })
    }
}

impl Source for FramedSource<'_> {
    fn ask(&mut self, ask: &Ask) -> Result<(), SourceError> {
        self.idle()?;
        match ask {
            Ask::Chunk { root, number, chunk_size, wait_ms, .. } => {
                let (root, chunk, chunk_size, wait_ms) = (*root, *number, *chunk_size, *wait_ms);
                self.send(&Request::Read { root, chunk, chunk_size, wait_ms }, &[])
            }
            Ask::Files(files) => {
                let roots: Vec<Digest> = files.iter().map(|file| file.root.0).collect();
                self.send(&Request::Gather, &Digest::join(&roots))
            }
            Ask::Advice { root, layout, seen, unit, have } => {
                let (root, chunk_size) = (*root, layout.chunk_size());
                let request = Request::Next { root, chunk_size, seen: *seen, want: *unit };
                self.send(&request, have.as_ref().map_or(&[], ChunkSet::as_bytes))
            }
            Ask::Small(request) => self.send(request, &[]),
        }
    }

    fn answer(&mut self, to: &Ask, waits: &Waits) -> Result<Answer, SourceError> {
        let head = self.connection.answer(patience(to, waits))?;
        let payload = head.payload as usize;
        match (to, head.message) {
            // What it is is for those to say who asked.
            (Ask::Small(_), message @ (Response::Manifest { .. } | Response::Listing { .. })) => {
                let payload = self.connection.take_payload()?;
                Ok(Answer::Small(Box::new(message), payload))
            }
            (_, Response::Error(Refusal { code: ErrorCode::NotYet, .. })) => Ok(Answer::NotYet),
            (Ask::Small(request), Response::Error(refusal)) if may_refuse(request) => {
                Ok(Answer::Small(Box::new(Response::Error(refusal)), Vec::new()))
            }
            (_, Response::Error(refusal)) => Err(refusal.into()),
            (Ask::Chunk { number, len, .. }, Response::Chunk { chunk, shared })
                if chunk == *number =>
            {
                if payload != *len {
                    let what = format!("{payload} bytes of chunk {chunk}, which has {len}");
                    return Err(misbehaved(what));
                }
                Ok(Answer::Bytes { len: payload, there: None, shared })
            }
            (Ask::Files(files), Response::Gathered { lengths, shared }) => {
                if lengths.len() != files.len() {
                    let what = format!("{} lengths for {} files", lengths.len(), files.len());
                    return Err(misbehaved(what));
                }
                let mut sum: u64 = 0;
                for (file, length) in files.iter().zip(&lengths) {
                    let Some(length) = length.map(u64::from) else { continue };
                    if length != file.length {
                        return Err(misbehaved("a file of another length than it was listed with"));
                    }
                    sum = sum.saturating_add(length);
                }
                if sum != payload as u64 {
                    let what = format!("{payload} bytes of files that are {sum} bytes long");
                    return Err(misbehaved(what));
                }
                let there = Some(lengths.iter().map(Option::is_some).collect());
                Ok(Answer::Bytes { len: payload, there, shared })
            }
            (Ask::Advice { layout, .. }, message) => {
                Ok(Answer::Handed(self.handed(message, payload, layout)?))
            }
            (Ask::Small(_), message) => {
                Ok(Answer::Small(Box::new(message), self.connection.take_payload()?))
            }
            (ask, message) => Err(misbehaved(format!("{message:?} in answer to {ask:?}"))),
        }
    }

    fn receive(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError> {
        Ok(self.connection.read_payload(buffer, stall)?)
    }

    /// Asks what the source has, behind the answers that are still to come.
    fn excuse(&mut self, root: Option<Root>) -> SourceError {
        let Some(root) = root else { return SourceError::BadChunk };
        if self.send(&Request::Have { root, chunk_size: 0 }, &[]).is_err() {
            return SourceError::BadChunk;
        }
        // Chunks without end are no excuse.
        let deadline = Instant::now() + config::ANSWER_TIMEOUT;
        loop {
            match self.connection.answer(config::ANSWER_TIMEOUT).map(|head| head.message) {
                Ok(Response::Chunk { .. } | Response::Gathered { .. })
                    if Instant::now() < deadline => {}
                Ok(Response::Error(Refusal {
                    code: ErrorCode::Changed | ErrorCode::NotFound,
                    ..
                })) => {
                    return SourceError::Changed;
                }
                _ => return SourceError::BadChunk,
            }
        }
    }

    fn idle(&mut self) -> Result<(), SourceError> {
        let Some(reporter) = &mut self.reporter else { return Ok(()) };
        if reporter.told.elapsed() < config::REPORT_INTERVAL {
            return Ok(());
        }
        reporter.told = Instant::now();
        let report = (reporter.tell)();
        self.send(&Request::Report { report }, &[])
    }

    fn round_trip(&self) -> Option<Duration> {
        self.connection.round_trip()
    }

    fn closer(&self) -> Option<Closer> {
        self.closer.clone()
    }
}

/// How long the answer may take to begin.
fn patience(ask: &Ask, waits: &Waits) -> Duration {
    match ask {
        Ask::Small(request) => match **request {
            Request::Describe { .. } => waits.answer,
            _ => waits.idling,
        },
        _ => waits.stall,
    }
}

/// Whether a refusal is an answer like others, and not the end of the source.
fn may_refuse(request: &Request) -> bool {
    matches!(request, Request::Cut { .. } | Request::LeftOut { .. } | Request::Describe { .. })
}
