//! Taking part in a swarm: the origin hands every chunk to one of several peers, which fetch the
//! rest from one another.
//!
//! The worker of the origin asks for the next chunk as long as this peer keeps up with passing its
//! own on (*balance*: else a slow uplink would sit on chunks that everybody waits for), and reads
//! from the answers who was handed what. Each of those peers becomes a source of its own. When
//! everything is handed out, the origin is an ordinary source again, for whatever does not come.

use std::thread::Scope;
use std::time::Instant;

use super::asked::Asked;
use super::engine::lock;
use super::source::{Handed, Next, Source, SourceError};
use super::worker::{Role, Worker};
use crate::content::ChunkIndex;
use crate::topology::PeerId;

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
        let have = self.engine.part.have();
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
            let dial = self.engine.swarm.and_then(|meet| meet(peer))?;
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
