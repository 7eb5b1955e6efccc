//! How far our readers are with the chunks that we alone were given: pure bookkeeping.

use std::collections::{BTreeSet, HashMap};

use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};

/// How much of what we alone were given was passed on, and to whom.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Chunks that were handed to us first and are complete.
    own: Option<ChunkSet>,
    /// How many of them each reader has.
    sent: HashMap<String, u32>,
    /// Who asked what is here.
    askers: BTreeSet<String>,
}

impl Deliveries {
    /// A chunk of our own is complete.
    pub fn own(&mut self, layout: &ChunkLayout, index: ChunkIndex) {
        self.own.get_or_insert_with(|| ChunkSet::none(layout)).insert(index);
    }

    /// A chunk of our own can be had from somebody else as well: readers may never ask us for it, so
    /// it must not be waited for that they do.
    pub fn disown(&mut self, index: ChunkIndex) {
        self.own.as_mut().map(|own| own.remove(index));
    }

    /// That reader was sent a chunk, of our own or not.
    pub fn sent(&mut self, reader: &str, index: ChunkIndex) {
        let own = self.own.as_ref().is_some_and(|own| own.contains(index));
        *self.sent.entry(reader.to_owned()).or_default() += u32::from(own);
    }

    /// That reader will read no more.
    pub fn forget(&mut self, reader: &str) {
        self.sent.remove(reader);
    }

    /// Somebody asked what is here, who may have what we lack.
    pub fn asked(&mut self, peer: &str) {
        if self.askers.len() < config::SWARM_MEMBERS {
            self.askers.insert(peer.to_owned());
        }
    }

    /// Who did so since this was called last.
    pub fn take_askers(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.askers)
    }

    /// Whether half of the readers lack few chunks of our own: fewer than
    /// [`AHEAD`](config::AHEAD), or with few readers, fewer than makes [`BACKLOG`](config::BACKLOG)
    /// sends; and `slack` more, over a long way.
    pub fn keeps_up(&self, slack: u32) -> bool {
        let mut sent: Vec<u32> = self.sent.values().copied().collect();
        sent.sort_unstable();
        let own = self.own.as_ref().map_or(0, ChunkSet::len);
        let Some(median) = sent.get(sent.len() / 2) else { return true };
        let allowed = config::BACKLOG / (sent.len() as u32).max(1);
        own.saturating_sub(*median) < allowed.max(config::AHEAD) + slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_readers_decide_and_only_our_own_chunks_count() {
        let layout = ChunkLayout::new(40 * 16384, 16384).unwrap();
        let index = |number| layout.index(number).unwrap();
        let mut deliveries = Deliveries::default();
        let own = config::BACKLOG / 3 + config::AHEAD;
        (0..own).for_each(|number| deliveries.own(&layout, index(number)));
        assert!(deliveries.keeps_up(0), "nobody reads");
        ["a", "b", "c"].iter().for_each(|reader| deliveries.sent(reader, index(39)));
        assert!(!deliveries.keeps_up(0));
        for number in 0..own {
            deliveries.sent("a", index(number));
            deliveries.sent("b", index(number));
        }
        assert!(deliveries.keeps_up(0), "one of three may lag");
        deliveries.own(&layout, index(own));
        deliveries.own(&layout, index(own + 1));
        deliveries.forget("a");
        deliveries.sent("c", index(0));
        assert!(deliveries.keeps_up(0), "of two the better one decides, who lacks two");
    }
}
