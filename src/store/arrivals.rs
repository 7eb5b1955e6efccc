//! What is here of something that is being received, who waits for the rest, and how far those are
//! who are served from it meanwhile: the same for a part file and for the units of a folder.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::Instant;

use super::deliveries::Deliveries;
use super::waiting::Waiting;
use super::watched::LiveFile;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};
use crate::locks::lock;

/// Chunks, or units, as they come.
#[derive(Debug)]
pub(super) struct Arrivals {
    layout: ChunkLayout,
    have: Mutex<ChunkSet>,
    /// Who waits for which chunk.
    waiting: Waiting,
    deliveries: Mutex<Deliveries>,
}

impl Arrivals {
    /// `have` is here already.
    pub(super) fn new(layout: ChunkLayout, have: ChunkSet) -> Self {
        let (have, waiting, deliveries) = (Mutex::new(have), Waiting::default(), Mutex::default());
        Self { layout, have, waiting, deliveries }
    }

    /// How the receiving side cuts it.
    pub(super) fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// What is here.
    pub(super) fn have(&self) -> ChunkSet {
        lock(&self.have).clone()
    }

    /// Looks at what is here without taking a copy.
    pub(super) fn look<T>(&self, look: impl FnOnce(&ChunkSet) -> T) -> T {
        look(&lock(&self.have))
    }

    /// Whether that chunk is here.
    pub(super) fn has(&self, index: ChunkIndex) -> bool {
        lock(&self.have).contains(index)
    }

    /// That chunk is here as from now, and whoever waits for it is told; other processes by `live`.
    /// Says whether it is new.
    pub(super) fn came(
        &self,
        index: ChunkIndex,
        live: Option<&LiveFile>,
        what: impl Display,
    ) -> bool {
        let fresh = lock(&self.have).insert(index);
        self.waiting.wake(index);
        if let Some(live) = live
            && let Err(error) = live.mark(index)
        {
            log::debug!("cannot tell other processes of a chunk of {what}: {error}");
        }
        fresh
    }

    /// That chunk was given to us before anybody else.
    pub(super) fn own(&self, index: ChunkIndex) {
        lock(&self.deliveries).own(&self.layout, index);
    }

    /// That chunk of our own can be had from somebody else as well.
    pub(super) fn disown(&self, index: ChunkIndex) {
        lock(&self.deliveries).disown(index);
    }

    /// Whether the chunks of our own reach our readers about as fast as we receive them; those of
    /// other processes tell it in `live`.
    pub(super) fn keeps_up(&self, slack: u32, live: Option<&LiveFile>, what: impl Display) -> bool {
        let others = live.map(|live| live.sent(|reader, number| self.sent(&reader, number)));
        if let Some(Err(error)) = others {
            log::debug!("cannot see what was passed on of {what}: {error}");
        }
        lock(&self.deliveries).keeps_up(slack)
    }

    /// Counts that `reader` was sent a chunk; with none, that it will read no more.
    pub(super) fn sent(&self, reader: &str, number: Option<u32>) {
        let mut deliveries = lock(&self.deliveries);
        match number {
            None => deliveries.forget(reader),
            Some(number) => {
                let index = self.layout.index(number);
                index.into_iter().for_each(|index| deliveries.sent(reader, index));
            }
        }
    }

    /// Notes that `peer` asked what is here.
    pub(super) fn asked(&self, peer: &str) {
        lock(&self.deliveries).asked(peer);
    }

    /// Who did so since this was called last.
    pub(super) fn take_askers(&self) -> BTreeSet<String> {
        lock(&self.deliveries).take_askers()
    }

    /// Waits until the chunk is there; `false` when it did not come in time, or never will.
    pub(super) fn wait(&self, index: ChunkIndex, deadline: Instant) -> bool {
        self.waiting.wait(index, deadline, || self.has(index))
    }

    /// Whether readers may wait for what is not here.
    pub(super) fn expects_more(&self, more: bool) {
        self.waiting.allow(more);
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.waiting.end();
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_over()
    }
}
