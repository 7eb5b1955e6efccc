//! Taking part in a swarm: the origin hands every chunk to one of several peers, which fetch the
//! rest from one another.
//!
//! The worker of the origin asks for the next chunk as long as this peer keeps up with passing its
//! own on (*balance*: else a slow uplink would sit on chunks that everybody waits for), and reads
//! from the answers who was handed what. Each of those peers becomes a source of its own. When
//! everything is handed out, the origin is an ordinary source again, for whatever does not come.
//!
//! The targets of an upload do so from the start. A download does so once its one source says that
//! others read the same, and if our own server really gives away what we receive: who only takes would
//! be handed chunks that the others wait for in vain.

use std::thread::Scope;
use std::time::Instant;

use super::asked::Asked;
use super::engine::lock;
use super::source::{Caller, Dial, Handed, Next, Source, SourceError};
use super::worker::{Role, Worker};
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Root};
use crate::topology::{Peer, PeerId};
use crate::transport::Cancel;
use crate::wire::{Request, Response};

/// Finds the way to a member of a swarm: a source for that peer id, unless it is unknown here.
pub type Meet<'a> = dyn Fn(&PeerId) -> Option<Box<dyn Dial + 'a>> + Sync + 'a;

/// When the first source hands its chunks out to several peers, which fetch the rest from one another.
#[derive(Clone, Copy)]
pub enum Swarm<'a> {
    /// From the start.
    Given(&'a Meet<'a>),
    /// Once it says that others fetch from it too.
    Joined {
        /// The way to the others.
        meet: &'a Meet<'a>,
        /// Our own server, from which the others would fetch.
        own: &'a Peer,
        /// How it is asked whether it serves what we receive.
        caller: &'a Caller,
        /// What we receive.
        root: Root,
    },
}

impl<'a> Swarm<'a> {
    fn meet(self) -> &'a Meet<'a> {
        match self {
            Self::Given(meet) | Self::Joined { meet, .. } => meet,
        }
    }
}

/// How far a download is with joining the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Joining {
    /// It does not.
    Never,
    /// It has not heard of others.
    Alone,
    /// It is being found out whether others could fetch from us.
    Asking,
    /// It has joined.
    Together,
}

impl<'e, 'a> Worker<'e, 'a> {
    /// Asks the origin for chunks until all are handed out, and starts to fetch the rest from the
    /// others.
    pub(super) fn take_part<'scope>(
        &self,
        source: &mut dyn Source,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), SourceError>
    where
        'e: 'scope,
        'a: 'scope,
    {
        let (mut asked, mut all) = (Asked::default(), false);
        log::debug!("fetching together with others; {} bytes are here", self.engine.progress.done());
        while !self.engine.is_over() && (!all || !asked.is_idle()) {
            if self.was_bad() {
                return Err(SourceError::BadChunk);
            }
            if !all {
                self.ask_next(source, &mut asked)?;
            }
            let handed = source.await_next(self.engine.stall)?;
            asked.answered(handed.seen);
            all |= handed.all;
            self.take(source, handed, scope)?;
        }
        log::debug!("everything is handed out; {} bytes are here", self.engine.progress.done());
        // The answers must be read before anything else can be asked.
        while !asked.is_idle() {
            let handed = source.await_next(self.engine.stall)?;
            asked.answered(handed.seen);
            self.take(source, handed, scope)?;
        }
        Ok(())
    }

    /// Looks, with a chunk that has come, whether others fetch from the same source; asks our own
    /// server at most once whether they could fetch from us, while this goes on as before.
    pub(super) fn notice<'scope>(&self, source: &dyn Source, scope: &'scope Scope<'scope, '_>)
    where
        'e: 'scope,
        'a: 'scope,
    {
        if self.joining.get() != Joining::Alone || !source.is_shared() {
            return;
        }
        self.joining.set(Joining::Asking);
        let engine = self.engine;
        let Some(Swarm::Joined { own, caller, root, .. }) = engine.swarm else { return };
        if engine.served.get().is_none() {
            let have = engine.part.have();
            engine.start(scope, "fetch-own".to_owned(), move || {
                let layout = engine.part.layout();
                let served = serves(own, caller, (root, layout, &have), &engine.cancel);
                log::debug!("whether others can fetch from {}: {served}", own.id);
                let _ = engine.served.set(served);
            });
        }
    }

    /// Whether this source is one to take part at now; from the answer of our own server on.
    pub(super) fn joins(&self) -> bool {
        let Some(served) = self.engine.served.get().filter(|_| self.joining.get() == Joining::Asking) else {
            return false;
        };
        self.joining.set(if *served { Joining::Together } else { Joining::Never });
        *served
    }

    /// Whether the source failed only at handing out, and is worth asking as one that does not.
    pub(super) fn parts(&self, error: &SourceError) -> bool {
        if self.joining.get() != Joining::Together || error.is_integrity() {
            return false;
        }
        let passing = error.is_passing() && !matches!(error, SourceError::Stalled | SourceError::NotYet);
        // One that was started anew may hand out again; one that always leaves when asked to does not.
        let again = passing && !self.rejoined.replace(true);
        self.joining.set(if again { Joining::Alone } else { Joining::Never });
        !passing
    }

    /// Keeps requests under way: for chunks while we are not too far ahead of our readers, else for
    /// the news now and then.
    fn ask_next(&self, source: &mut dyn Source, asked: &mut Asked) -> Result<(), SourceError> {
        while asked.wants_chunk(self.engine.part.keeps_up(), Instant::now()) {
            self.request_next(source, asked, true)?;
        }
        if asked.is_idle() {
            self.wait_for_news();
            self.request_next(source, asked, false)?;
        }
        Ok(())
    }

    fn request_next(
        &self,
        source: &mut dyn Source,
        asked: &mut Asked,
        want: bool,
    ) -> Result<(), SourceError> {
        let have = lock(&self.engine.ledger).begun();
        let greeting = (!asked.has_greeted() && !have.is_empty()).then_some(&have);
        source.request_next(&Next { seen: asked.seen(), want, have: greeting })?;
        asked.sent(want, Instant::now());
        Ok(())
    }

    /// Takes what an answer brings: a chunk of our own, and who has the others.
    fn take<'scope>(
        &self,
        source: &mut dyn Source,
        handed: Handed,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), SourceError>
    where
        'e: 'scope,
        'a: 'scope,
    {
        for (peer, chunks) in handed.others {
            self.promise(&peer, &chunks, scope);
        }
        let Some(index) = handed.chunk else { return Ok(()) };
        let buffer = self.read(source, index)?;
        let wanted = lock(&self.engine.ledger).claim(self.id, index, Instant::now());
        self.pass_on(index, buffer, wanted, true);
        Ok(())
    }

    /// Expects these chunks from that peer, which becomes a source where it is not one yet.
    fn promise<'scope>(&self, peer: &PeerId, chunks: &[ChunkIndex], scope: &'scope Scope<'scope, '_>)
    where
        'e: 'scope,
        'a: 'scope,
    {
        let Some(id) = *lock(&self.engine.members).entry(peer.clone()).or_insert_with(|| {
            let dial = (self.engine.swarm?.meet())(peer)?;
            let worker = Worker::new(self.engine, Role::Member, peer, self.filled.clone());
            let id = worker.id;
            self.engine.start(scope, format!("fetch-{peer}"), move || worker.run(dial, scope));
            Some(id)
        }) else {
            return;
        };
        let (mut ledger, now) = (lock(&self.engine.ledger), Instant::now());
        chunks.iter().for_each(|index| ledger.promise(id, *index, now));
        drop(ledger);
        self.engine.changed.notify_all();
    }
}

/// Whether that peer answers, and serves at least those chunks of the content.
fn serves(
    peer: &Peer,
    caller: &Caller,
    (root, layout, have): (Root, &ChunkLayout, &ChunkSet),
    cancel: &Cancel,
) -> bool {
    let Ok(mut connection) = caller.connect(peer, cancel) else { return false };
    let _registration = cancel.closes(connection.closer());
    let answer = connection.ask(&Request::Have { root }, &[]);
    let Ok(Ok(head)) = answer else { return false };
    if head.message != Response::Have || head.payload as usize != have.as_bytes().len() {
        return false;
    }
    let there = connection.take_payload().ok();
    let there = there.and_then(|bytes| ChunkSet::from_bytes(layout, &bytes));
    there.is_some_and(|there| have.iter().all(|index| there.contains(index)))
}
