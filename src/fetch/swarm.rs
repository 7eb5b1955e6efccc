//! Taking part in a swarm: the origin hands every chunk to one of several peers, which fetch the
//! rest from one another.
//!
//! The worker of the origin asks for the next chunk as long as this peer keeps up with passing its
//! own on (*balance*: else a slow uplink would sit on chunks that everybody waits for), and reads
//! from the answers who was handed what. Each of those peers becomes a source of its own. When
//! everything is handed out, the origin is an ordinary source again, for whatever does not come.
//!
//! The targets of an upload do so from the start. A download does so once its one source says that
//! others read the same, and if our own server really gives away what we receive: who only takes
//! would be handed chunks that the others wait for in vain.
//!
//! When the origin is lost, and no other source has joined, the members are *orphaned*: nobody
//! tells them any more who has what, so they ask one another, until nobody has had anything new for
//! a while. Then each has all that there is among them.

use std::sync::atomic::Ordering;
use std::thread::Scope;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::engine::{Engine, lock};
use super::exchange::Exchange;
use super::framed::Caller;
use super::ledger::SourceId;
use super::source::{Dial, Handed, Next, Source, SourceError};
use super::worker::{Role, Worker};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Root};
use crate::threads;
use crate::topology::{Peer, PeerId};
use crate::transport::Cancel;
use crate::wire::{Request, Response};

/// Finds the way to a member of a swarm: a source for that peer id, unless it is unknown here.
pub type Meet<'a> = dyn Fn(&PeerId) -> Option<Box<dyn Dial + 'a>> + Sync + 'a;

/// When the first source hands its chunks out to several peers, which fetch the rest from one
/// another.
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
        /// Whether it said so already.
        shared: bool,
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
        let mut exchange = self.nothing_known();
        log::debug!("fetching together with others; {} bytes are here", exchange.done());
        while !self.engine.is_over() && (!all || !asked.is_idle()) {
            if self.was_bad() {
                return Err(SourceError::BadChunk);
            }
            if !all {
                self.ask_next(source, &mut asked)?;
            }
            let handed = source.await_next(self.engine.waits.stall)?;
            asked.answered(handed.seen);
            all |= handed.all;
            if handed.chunk.is_none() {
                exchange.still_waits(self.engine.progress.done(), Instant::now())?;
            }
            self.take(source, handed, scope)?;
        }
        log::debug!("everything is handed out; {} bytes are here", self.engine.progress.done());
        // The answers must be read before anything else can be asked.
        while !asked.is_idle() {
            let handed = source.await_next(self.engine.waits.stall)?;
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
        if self.joining.get() == Joining::Alone && source.is_shared() {
            self.ask_own_server(scope);
        }
    }

    /// The same before the first chunk, where it was said before; then it is soon known.
    pub(super) fn notice_at_once<'scope>(&self, scope: &'scope Scope<'scope, '_>)
    where
        'e: 'scope,
        'a: 'scope,
    {
        let known = matches!(self.engine.swarm, Some(Swarm::Joined { shared: true, .. }));
        if self.joining.get() != Joining::Alone || !known {
            return;
        }
        self.ask_own_server(scope);
        let until = Instant::now() + config::OWN_SERVER_WAIT;
        while self.engine.served.get().is_none() && !self.engine.is_over() && Instant::now() < until
        {
            self.wait_for_news();
        }
        self.joins();
    }

    fn ask_own_server<'scope>(&self, scope: &'scope Scope<'scope, '_>)
    where
        'e: 'scope,
        'a: 'scope,
    {
        self.joining.set(Joining::Asking);
        let engine = self.engine;
        let Some(Swarm::Joined { own, caller, root, .. }) = engine.swarm else { return };
        if engine.served.get().is_none() {
            let have = engine.part.have();
            let work = move || {
                let layout = engine.part.layout();
                let served = serves(own, caller, (root, layout, &have), &engine.cancel);
                log::debug!("whether others can fetch from {}: {served}", own.id);
                let _ = engine.served.set(served);
                engine.changed.notify_all();
            };
            if let Err(error) = threads::start_in(scope, "fetch-own", work) {
                log::debug!("nobody is told that others may fetch from {}: {error}", own.id);
                let _ = engine.served.set(false);
            }
        }
    }

    /// Whether this source is one to take part at now; from the answer of our own server on.
    pub(super) fn joins(&self) -> bool {
        let Some(served) =
            self.engine.served.get().filter(|_| self.joining.get() == Joining::Asking)
        else {
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
        let passing = error.is_passing()
            && !matches!(error, SourceError::Stalled | SourceError::Trickles | SourceError::NotYet);
        // One that was started anew may hand out again; one that always leaves when asked to does
        // not.
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

    /// Expects these chunks from that peer, which becomes a source where it is not one yet. One
    /// without chunks is only remembered.
    fn promise<'scope>(
        &self,
        peer: &PeerId,
        chunks: &[ChunkIndex],
        scope: &'scope Scope<'scope, '_>,
    ) where
        'e: 'scope,
        'a: 'scope,
    {
        if chunks.is_empty() {
            if self.way_to(peer).is_some() {
                lock(&self.engine.heard_of).insert(peer.clone());
            }
            return;
        }
        let Some(id) = self.meet(peer, scope) else { return };
        let (mut ledger, now) = (lock(&self.engine.ledger), Instant::now());
        chunks.iter().for_each(|index| ledger.promise(id, *index, now));
        drop(ledger);
        self.engine.changed.notify_all();
    }

    /// A member, if it is known here.
    fn way_to(&self, peer: &PeerId) -> Option<Box<dyn Dial + 'a>> {
        self.engine.swarm.and_then(|swarm| (swarm.meet())(peer))
    }

    /// The source that a member is; it becomes one when it is known here and not too many are.
    fn meet<'scope>(&self, peer: &PeerId, scope: &'scope Scope<'scope, '_>) -> Option<SourceId>
    where
        'e: 'scope,
        'a: 'scope,
    {
        let mut members = lock(&self.engine.members);
        if let Some(known) = members.get(peer) {
            return *known;
        }
        let dial = self.way_to(peer)?;
        // Where chunks go by way of others, those who stand in for lost ones come on top.
        if members.len() >= 4 * config::SWARM_MEMBERS {
            return None;
        }
        // The lock is kept meanwhile: the member may take its leave at once.
        let id = Worker::start(self.engine, (Role::Member, dial), &self.filled, scope);
        members.insert(peer.clone(), id);
        id
    }

    /// The last source that was no member has gone: what there is can only come from members, also
    /// from those that had nothing for us so far, and from those that turn to us in the first
    /// moments.
    pub(super) fn orphaned<'scope>(&self, scope: &'scope Scope<'scope, '_>)
    where
        'e: 'scope,
        'a: 'scope,
    {
        if self.engine.is_over() || self.engine.swarm.is_none() {
            return;
        }
        self.engine.part.expects_more(false);
        let mut known: Vec<PeerId> = lock(&self.engine.heard_of).iter().cloned().collect();
        let until = Instant::now() + config::ORPHANED;
        while self.engine.has_no_origin() && !self.engine.is_over() && Instant::now() < until {
            known.drain(..).for_each(|peer| {
                self.meet(&peer, scope);
            });
            self.pause(config::ORPHANS_LOOK);
            known
                .extend(self.engine.part.take_askers().iter().filter_map(|peer| peer.parse().ok()));
        }
    }

    /// Whether this is a member, and nobody is left who hands anything out.
    pub(super) fn is_orphaned(&self) -> bool {
        self.role == Role::Member && self.engine.has_no_origin()
    }

    /// Asks a fellow orphan what it has. Fails when that was nothing new for too long.
    pub(super) fn look(
        &self,
        source: &mut dyn Source,
        exchange: &mut Exchange,
    ) -> Result<(), SourceError> {
        let pause = exchange
            .looked
            .map_or(Duration::ZERO, |looked| config::ORPHANS_LOOK.saturating_sub(looked.elapsed()));
        self.pause(pause);
        let Some(has) = source.has(self.engine.waits.stall)? else {
            return Err(SourceError::NotServing);
        };
        exchange.looked = Some(Instant::now());
        let useful = lock(&self.engine.ledger).offers(self.id, &has);
        if useful || has.len() > exchange.known {
            exchange.news = Instant::now();
        }
        exchange.known = has.len();
        if exchange.news.elapsed() >= config::ORPHANED {
            Err(SourceError::NotServing)
        } else {
            Ok(())
        }
    }

    /// The source does not have a chunk that it was asked for.
    pub(super) fn not_yet(&self, exchange: &mut Exchange) -> Result<(), SourceError> {
        if !self.is_orphaned() {
            lock(&self.engine.ledger).not_yet(self.id);
            // As long as anything comes from anybody, it may be waiting for the same.
            exchange.still_waits(self.engine.progress.done(), Instant::now())?;
            // Where it may not wait, it answers at once.
            self.wait_for_news();
            return Ok(());
        }
        lock(&self.engine.ledger).never(self.id);
        // One that says what it has must not go back on it.
        if exchange.looked.is_some() { Err(SourceError::NotYet) } else { Ok(()) }
    }

    /// A fellow orphan that has nothing more may have again when somebody else hands out.
    pub(super) fn take_leave(&self, peer: &PeerId, error: &SourceError) {
        if self.is_orphaned() && matches!(error, SourceError::NotServing) {
            lock(&self.engine.members).remove(peer);
        }
    }
}

impl Engine<'_> {
    /// Whether nobody is left who hands anything out or has everything.
    fn has_no_origin(&self) -> bool {
        self.origins.load(Ordering::Relaxed) == 0
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
    let answer = connection.ask(&Request::Have { root, chunk_size: layout.chunk_size() }, &[]);
    let Ok(Ok(head)) = answer else { return false };
    if head.message != Response::Have || head.payload as usize != have.as_bytes().len() {
        return false;
    }
    let there = connection.take_payload().ok();
    let there = there.and_then(|bytes| ChunkSet::from_bytes(layout, &bytes));
    there.is_some_and(|there| have.iter().all(|index| there.contains(index)))
}
