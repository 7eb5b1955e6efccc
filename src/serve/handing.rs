//! Hands out the chunks of a file, or the units of a folder, to the members of its swarm.

use std::sync::Arc;
use std::time::Instant;

use super::handout::News;
use super::open::{Open, Place};
use super::refusals::{refusal, refusal_of};
use super::responder::Responder;
use crate::config;
use crate::connection::Framed;
use crate::content::{ChunkSet, Root};
use crate::locks::lock;
use crate::wire::{ErrorCode, Refusal, Response, WireError};

/// A request for what was handed to nobody yet.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub(super) root: Root,
    pub(super) chunk_size: u32,
    pub(super) seen: u64,
    pub(super) want: bool,
}

impl Responder {
    /// Hands out a chunk, and tells who was handed the others.
    pub(super) fn next(&mut self, connection: &mut Framed, next: Next) -> Result<(), WireError> {
        let have = connection.take_payload()?;
        let (gate, peer) = (Arc::clone(&self.company.gate), connection.peer().cloned());
        match self.hand_out(connection, &next, &have) {
            Ok((response, None)) => connection.send(&response, &[]),
            Ok((response, Some(chunk))) => {
                let (now, Next { root, chunk_size, .. }) = (Instant::now(), next);
                match self.piece(Place { root, chunk, chunk_size }, now) {
                    Ok(piece) => {
                        let bytes = piece.len();
                        let turn = peer.as_ref().map(|peer| gate.turn(peer.as_str(), bytes));
                        piece.send(connection, &response)?;
                        drop(turn);
                        self.gave(chunk, bytes, now);
                        Ok(())
                    }
                    Err(refusal) => {
                        self.give_back(root, chunk);
                        self.refuse(connection, refusal)
                    }
                }
            }
            Err(refusal) => self.refuse(connection, refusal),
        }
    }

    /// A chunk that was handed out cannot be given: nobody is to wait for it at the asking side.
    fn give_back(&self, root: Root, chunk: u32) {
        if let Some(((of, _), handout)) = &self.handout
            && *of == root
        {
            let mut handout = lock(handout);
            let index = handout.layout().index(chunk);
            index.into_iter().for_each(|index| handout.give_back(index));
        }
    }

    fn hand_out(
        &mut self,
        connection: &mut Framed,
        next: &Next,
        have: &[u8],
    ) -> Result<(Response, Option<u32>), Refusal> {
        let nobody = || refusal(ErrorCode::Refused, "only a peer with an id takes part in a swarm");
        let peer = connection.peer().cloned().ok_or_else(nobody)?;
        let open = self.open(next.root, Instant::now()).map_err(|error| refusal_of(&error))?;
        // Whoever has received all of a folder can hand it out.
        if matches!(open, Open::Part(part) if part.units().is_none() || !part.is_complete()) {
            return Err(refusal(ErrorCode::NotYet, "that is still being received here"));
        }
        let layout = open.cut(next.chunk_size)?;
        let cut = (next.root, next.chunk_size);
        if self.handout.as_ref().is_none_or(|(other, _)| *other != cut) {
            // One that is slow to take its chunks must not have many of them queued.
            let limited = connection.set_unsent_limit(config::UNSENT);
            limited.map_err(|error| refusal(ErrorCode::Internal, error.to_string()))?;
            self.handout = Some((cut, self.company.handout(next.root, layout)));
        }
        self.company.reads(next.root, next.chunk_size, &peer);
        let Some((_, handout)) = &self.handout else { return Err(nobody()) };
        let (mut handout, now) = (lock(handout), Instant::now());
        let peer = peer.as_str();
        if let (false, Some(have)) = (have.is_empty(), ChunkSet::from_bytes(handout.layout(), have))
        {
            handout.brings(peer, &have, now);
        }
        let chunk = if next.want { handout.next(peer, now).map(|index| index.get()) } else { None };
        let News { handed, whole, seen, all } = handout.news(peer, next.seen, now);
        Ok((Response::Handed { chunk, handed, whole, seen, all }, chunk))
    }
}
