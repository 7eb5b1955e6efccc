//! Which peers have a file, and what it is at each of them.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::progress::Event;
use super::source::{Caller, SourceError};
use crate::config;
use crate::connection::Framed;
use crate::content::{Attributes, ChunkLayout, Digest, Manifest};
use crate::topology::Peer;
use crate::transport::Cancel;
use crate::wire::{Head, Request, Response, Subject, WireError};

/// A peer that has the file, with the connection that it said so on.
pub struct Holder {
    /// Which peer.
    pub peer: Peer,
    /// What the file is there.
    pub manifest: Manifest,
    /// What it has there beside its content.
    pub attributes: Attributes,
    /// Open, with no request under way.
    pub connection: Framed,
}

/// What became of one peer that was asked.
pub enum Answer {
    /// It has the file.
    Has(Box<Holder>),
    /// It has not, or cannot be asked.
    HasNot(Peer, SourceError),
    /// It did not answer while the others did; it may still have the file.
    Late(Peer),
}

/// A question to several peers at once.
pub struct Find<'a> {
    /// Who is asked.
    pub peers: &'a [Peer],
    /// What for.
    pub subject: &'a Subject,
    /// Who asks.
    pub caller: &'a Caller,
    /// Ends the waiting early.
    pub cancel: &'a Cancel,
    /// Is told when a peer is hashing first.
    pub observer: &'a (dyn Fn(Event) + Sync),
}

impl Find<'_> {
    /// Asks all peers in parallel, and gives their answers in the peers' order. Once one has the
    /// file, the others have a moment left.
    pub fn run(&self) -> Vec<Answer> {
        let (cancel, _registration) = self.cancel.child();
        let (done, answers) = bounded(self.peers.len());
        let mut found: Vec<Option<Answer>> = self.peers.iter().map(|_| None).collect();
        thread::scope(|scope| {
            for (slot, peer) in self.peers.iter().enumerate() {
                let (done, cancel) = (done.clone(), &cancel);
                let work = move || self.ask(slot, peer, cancel, &done);
                let name = format!("find-{}", peer.id);
                if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, work) {
                    log::warn!("cannot start a thread: {error}");
                }
            }
            drop(done);
            let mut deadline: Option<Instant> = None;
            while let Ok((slot, answer)) = match deadline {
                Some(at) => answers.recv_deadline(at).map_err(|_| ()),
                None => answers.recv().map_err(|_| ()),
            } {
                if matches!(answer, Answer::Has(_)) {
                    deadline.get_or_insert(Instant::now() + config::LATE_ANSWERS);
                }
                if let Some(place) = found.get_mut(slot) {
                    *place = Some(answer);
                }
            }
            cancel.cancel();
        });
        let late =
            |(answer, peer): (Option<Answer>, &Peer)| answer.unwrap_or_else(|| Answer::Late(peer.clone()));
        found.into_iter().zip(self.peers).map(late).collect()
    }

    fn ask(&self, slot: usize, peer: &Peer, cancel: &Cancel, done: &Sender<(usize, Answer)>) {
        let answer = match self.describe(peer, cancel) {
            Ok(holder) => Answer::Has(Box::new(holder)),
            Err(error) => Answer::HasNot(peer.clone(), error),
        };
        // Nobody waits any more when the deadline has passed.
        let _ = done.send((slot, answer));
    }

    fn describe(&self, peer: &Peer, cancel: &Cancel) -> Result<Holder, SourceError> {
        let mut connection = self.caller.connect(peer, cancel)?;
        let _registration = cancel.closes(connection.closer());
        let (manifest, attributes) = describe(&mut connection, self.subject, &|done, total| {
            (self.observer)(Event::Hashing { peer: peer.id.clone(), done, total });
        })?;
        Ok(Holder { peer: peer.clone(), manifest, attributes, connection })
    }
}

/// Asks for a manifest, as often as the other side says that it is hashing.
pub(super) fn describe(
    connection: &mut Framed,
    subject: &Subject,
    hashing: &dyn Fn(u64, u64),
) -> Result<(Manifest, Attributes), SourceError> {
    let wait = Duration::from_millis(config::HASHING_WAIT_MS.into());
    let request = Request::Describe { subject: subject.clone(), wait_ms: config::HASHING_WAIT_MS };
    loop {
        let head = connection.ask_within(&request, &[], config::ANSWER_TIMEOUT + wait)??;
        match head.message {
            Response::Hashing { done, total } => hashing(done, total),
            _ => return read_manifest(connection, head),
        }
    }
}

/// Reads the rest of a manifest whose head came, and checks it.
fn read_manifest(
    connection: &mut Framed,
    head: Head<Response>,
) -> Result<(Manifest, Attributes), SourceError> {
    let misbehaved = |what: String| SourceError::Misbehaved(WireError::Unexpected(what));
    let Response::Manifest { name, length, chunk_size, root, attributes } = head.message else {
        return Err(misbehaved(format!("{:?} in answer to describe", head.message)));
    };
    let layout = ChunkLayout::new(length, chunk_size).map_err(|bad| misbehaved(bad.to_string()))?;
    let digests =
        Digest::split(&connection.take_payload()?).ok_or_else(|| misbehaved("odd digests".to_owned()))?;
    let manifest = Manifest::new(name, layout, root, digests).map_err(|bad| misbehaved(bad.to_string()))?;
    Ok((manifest, attributes))
}
