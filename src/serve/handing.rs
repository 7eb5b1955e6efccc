//! Hands out the chunks of a file to the members of its swarm.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::handout::News;
use super::refusals::{refusal, refusal_of};
use super::responder::{Open, Responder};
use crate::config;
use crate::connection::Framed;
use crate::content::{ChunkLayout, ChunkSet, Root};
use crate::wire::{ErrorCode, Refusal, Response, WireError};

/// A request for what was handed to nobody yet.
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
                let now = Instant::now();
                let extent = self.open(next.root, now).and_then(|open| match open {
                    Open::Whole(content) => content.cut(chunk, next.chunk_size),
                    Open::Part(part) => part.cut(chunk, next.chunk_size, now),
                });
                match extent {
                    Ok(extent) => {
                        let bytes = extent.len;
                        let turn = peer.as_ref().map(|peer| gate.turn(peer.as_str(), bytes));
                        connection.send_file(
                            &response,
                            extent.file.as_fd(),
                            extent.offset,
                            bytes,
                        )?;
                        drop(turn);
                        self.gave(bytes, now);
                        Ok(())
                    }
                    Err(error) => self.refuse(connection, refusal_of(&error)),
                }
            }
            Err(refusal) => self.refuse(connection, refusal),
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
        let manifest = match self
            .open(next.root, Instant::now())
            .map_err(|error| refusal_of(&error))?
        {
            Open::Whole(content) => content.manifest().clone(),
            Open::Part(_) => {
                return Err(refusal(ErrorCode::NotYet, "the file is still being received here"));
            }
        };
        let bad = |error| refusal(ErrorCode::BadRequest, format!("{error}"));
        let layout = ChunkLayout::new(manifest.length(), next.chunk_size).map_err(bad)?;
        let cut = (next.root, next.chunk_size);
        if self.handout.as_ref().is_none_or(|(other, _)| *other != cut) {
            // One that is slow to take its chunks must not have many of them queued.
            let limited = connection.set_unsent_limit(config::UNSENT);
            limited.map_err(|error| refusal(ErrorCode::Internal, error.to_string()))?;
            self.handout = Some((cut, self.company.handout(next.root, layout)));
        }
        self.company.reads(next.root, next.chunk_size, &peer);
        let Some((_, handout)) = &self.handout else { return Err(nobody()) };
        let (mut handout, now) =
            (handout.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let peer = peer.as_str();
        if let (false, Some(have)) = (have.is_empty(), ChunkSet::from_bytes(handout.layout(), have))
        {
            handout.brings(peer, &have, now);
        }
        let chunk = if next.want { handout.next(peer, now).map(|index| index.get()) } else { None };
        let News { handed, seen, all } = handout.news(peer, next.seen, now);
        Ok((Response::Handed { chunk, handed, whole: Vec::new(), seen, all }, chunk))
    }
}
