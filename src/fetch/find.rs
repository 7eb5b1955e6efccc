//! Which peers have a file, and what it is at each of them.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::busy::while_busy;
use super::framed::Caller;
use super::outage::{Outage, Verdict, Waits};
use super::progress::Event;
use super::source::{SourceError, misbehaved};
use crate::config;
use crate::connection::Framed;
use crate::content::{Attributes, ChunkLayout, Digest, FileName, Manifest, Root};
use crate::threads;
use crate::topology::Peer;
use crate::transport::{Cancel, Pace};
use crate::wire::{Head, Request, Response, Subject};

/// A peer that has the file, with the connection that it said so on.
pub struct Holder {
    /// Which peer.
    pub peer: Peer,
    /// What the file is there.
    pub outline: Outline,
    /// Open, with no request under way.
    pub connection: Framed,
}

/// What a peer says of a file, before its digests are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// Its name there.
    pub name: FileName,
    /// How it is cut there.
    pub layout: ChunkLayout,
    /// What it is.
    pub root: Root,
    /// What it has there beside its content.
    pub attributes: Attributes,
    /// Whether others fetch it from there at this moment.
    pub shared: bool,
    /// The digests where they came along, not proven yet.
    digests: Option<Vec<Digest>>,
}

impl Outline {
    /// Whether this is what was asked for; a peer must choose neither what is fetched nor where to.
    fn is_about(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Name(name) => self.name == *name,
            Subject::Id(prefix) => prefix.matches(&self.root),
        }
    }

    fn proven(&self, digests: Vec<Digest>) -> Result<Manifest, SourceError> {
        Manifest::new(self.name.clone(), self.layout, self.root, digests).map_err(misbehaved)
    }
}

impl Holder {
    /// The whole manifest, proven; asks for the digests where they did not come along.
    pub fn manifest(&mut self) -> Result<Manifest, SourceError> {
        let digests = match self.outline.digests.take() {
            Some(digests) => digests,
            None => self.ask_for_digests()?,
        };
        self.outline.proven(digests)
    }

    fn ask_for_digests(&mut self) -> Result<Vec<Digest>, SourceError> {
        let subject = Subject::Id(self.outline.root.into());
        let request = Request::Describe {
            subject,
            wait_ms: config::HASHING_WAIT_MS,
            digests_up_to: u32::MAX,
        };
        let head = self.connection.ask(&request, &[])??;
        let again = read_outline(&mut self.connection, head)?;
        again.digests.ok_or_else(|| misbehaved("a manifest without digests"))
    }
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
    /// How long a peer is waited for that goes away while it hashes.
    pub waits: Waits,
}

/// What is done while the other side hashes.
struct Meanwhile<'a> {
    /// Is called whenever it says so.
    hashes: &'a mut dyn FnMut(),
    /// Is told the bytes hashed and all bytes now and then, if it takes long.
    note: &'a dyn Fn(u64, u64),
    waits: Waits,
}

impl Find<'_> {
    /// Asks all peers in parallel, and gives their answers in the peers' order. Once one has the
    /// file, the others have as long again twice, and at least a moment.
    pub fn run(&self) -> Vec<Answer> {
        let (cancel, _registration) = self.cancel.child();
        let (done, answers) = bounded(self.peers.len());
        let mut found: Vec<Option<Answer>> = self.peers.iter().map(|_| None).collect();
        thread::scope(|scope| {
            for (slot, peer) in self.peers.iter().enumerate() {
                let (done, cancel) = (done.clone(), &cancel);
                let work = move || self.ask(slot, peer, cancel, &done);
                let name = format!("find-{}", peer.id);
                if let Err(error) = threads::start_in(scope, name, work)
                    && let Some(place) = found.get_mut(slot)
                {
                    *place = Some(Answer::HasNot(peer.clone(), SourceError::NoThread(error)));
                }
            }
            drop(done);
            let (started, mut deadline) = (Instant::now(), None);
            while let Ok((slot, answer)) = match deadline {
                Some(at) => answers.recv_deadline(at).map_err(|_| ()),
                None => answers.recv().map_err(|_| ()),
            } {
                if matches!(answer, Answer::Has(_)) {
                    deadline.get_or_insert(
                        Instant::now() + config::LATE_ANSWERS.max(2 * started.elapsed()),
                    );
                }
                if let Some(place) = found.get_mut(slot) {
                    *place = Some(answer);
                }
            }
            cancel.cancel();
        });
        let late = |(answer, peer): (Option<Answer>, &Peer)| {
            answer.unwrap_or_else(|| Answer::Late(peer.clone()))
        };
        found.into_iter().zip(self.peers).map(late).collect()
    }

    fn ask(&self, slot: usize, peer: &Peer, cancel: &Cancel, done: &Sender<(usize, Answer)>) {
        let tell = |reason: &str| {
            let (peer, reason) = (peer.id.clone(), reason.to_owned());
            (self.observer)(Event::Waiting { peer, reason });
        };
        let answer = match while_busy(self.waits, cancel, &tell, || self.describe(peer, cancel)) {
            Ok(holder) => Answer::Has(Box::new(holder)),
            Err(error) => Answer::HasNot(peer.clone(), error),
        };
        // Nobody waits any more when the deadline has passed.
        let _ = done.send((slot, answer));
    }

    /// Asks one peer; one that goes away while it hashes is asked again when it is back.
    fn describe(&self, peer: &Peer, cancel: &Cancel) -> Result<Holder, SourceError> {
        let mut outage = Outage::new(self.waits, Instant::now());
        loop {
            let mut hashes = || {
                outage.reached(Instant::now());
            };
            let error = match self.describe_once(peer, cancel, &mut hashes) {
                Ok(holder) => return Ok(holder),
                Err(error) => error,
            };
            if !outage.has_begun() {
                return Err(error);
            }
            let pause = match outage.failed(error, true, Instant::now()) {
                Verdict::Lost(error) => return Err(error),
                Verdict::Again(pause, _) => pause,
                Verdict::Wait(pause, reason) => {
                    (self.observer)(Event::Waiting { peer: peer.id.clone(), reason });
                    pause
                }
            };
            if cancel.wait(pause) {
                return Err(SourceError::Stalled);
            }
        }
    }

    fn describe_once(
        &self,
        peer: &Peer,
        cancel: &Cancel,
        hashes: &mut dyn FnMut(),
    ) -> Result<Holder, SourceError> {
        let mut connection = self.caller.connect(peer, cancel)?;
        let _registration = cancel.closes(connection.closer());
        let note =
            |done, total| (self.observer)(Event::Hashing { peer: peer.id.clone(), done, total });
        let mut meanwhile = Meanwhile { hashes, note: &note, waits: self.waits };
        let outline =
            describe(&mut connection, self.subject, config::DIGESTS_AT_ONCE, &mut meanwhile)?;
        Ok(Holder { peer: peer.clone(), outline, connection })
    }
}

/// Asks what a file is, as often as the other side says that it is hashing.
fn describe(
    connection: &mut Framed,
    subject: &Subject,
    digests_up_to: u32,
    meanwhile: &mut Meanwhile<'_>,
) -> Result<Outline, SourceError> {
    let (mut most, mut noted) = (0, None::<Instant>);
    let idling = meanwhile.waits.idling;
    let mut pace = Pace::new(config::SLOWEST_RATE, idling);
    let wait_ms = config::HASHING_WAIT_MS;
    loop {
        let asked = Instant::now();
        let request = Request::Describe { subject: subject.clone(), wait_ms, digests_up_to };
        let wait = meanwhile.waits.answer + Duration::from_millis(wait_ms.into());
        let head = connection.ask_within(&request, &[], wait)??;
        let Response::Hashing { done, total } = head.message else {
            let outline = read_outline(connection, head)?;
            if !outline.is_about(subject) {
                return Err(misbehaved(format!("a manifest of another file, {}", outline.name)));
            }
            return Ok(outline);
        };
        let more = usize::try_from(done.saturating_sub(most)).unwrap_or(usize::MAX);
        most = most.max(done);
        pace.moved(more, asked.elapsed(), wait);
        // A file that is never hashed is not waited for.
        if pace.check().is_err() {
            return Err(SourceError::Idles { what: "hashing the file", after: idling });
        }
        (meanwhile.hashes)();
        if noted.is_none_or(|at| at.elapsed() >= config::HASHING_NOTES) {
            noted = Some(Instant::now());
            (meanwhile.note)(done, total);
        }
    }
}

/// Reads the rest of a manifest whose head came.
fn read_outline(connection: &mut Framed, head: Head<Response>) -> Result<Outline, SourceError> {
    let Response::Manifest { name, length, chunk_size, root, attributes, shared } = head.message
    else {
        return Err(misbehaved(format!("{:?} in answer to describe", head.message)));
    };
    let layout = ChunkLayout::new(length, chunk_size).map_err(misbehaved)?;
    let digests =
        Digest::split(&connection.take_payload()?).ok_or_else(|| misbehaved("odd digests"))?;
    let digests = (digests.len() == layout.count() as usize).then_some(digests);
    Ok(Outline { name, layout, root, attributes, shared, digests })
}
