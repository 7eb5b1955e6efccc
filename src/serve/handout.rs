//! Who was handed which chunk of a file that several peers fetch at once: pure bookkeeping.
//!
//! Every chunk goes out once, to whichever peer asks next; all of them are told who got which, and
//! fetch the rest from one another. A peer that comes with chunks of an earlier attempt counts as
//! having been handed those.
//!
//! **Invariant:** a chunk is handed to at most one peer, and the log has one line for each that was, and
//! one for each peer before it is handed anything.

use std::collections::BTreeMap;

use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};

/// Size in bytes of chunks so small that passing them on costs little time after the last one is
/// handed out: a two-hundredth of the file for each target, but no larger than they are in `usual`.
pub fn chunk_size(usual: &ChunkLayout, targets: usize) -> u32 {
    let wanted = usual.length() / (200 * targets as u64).max(1);
    let mut chunk_size = config::SMALLEST_UNIT;
    while u64::from(chunk_size) * 2 <= wanted && chunk_size < usual.chunk_size() {
        chunk_size *= 2;
    }
    chunk_size.min(usual.chunk_size())
}

/// The chunks of one file and whom they were handed to.
pub struct Handout {
    layout: ChunkLayout,
    handed: ChunkSet,
    /// Every chunk before this one was handed out.
    cursor: u32,
    /// Who came, and who was handed what, in the order in which that was.
    log: Vec<(Option<ChunkIndex>, String)>,
}

/// What a peer has not been told yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Which chunks went to whom, each in the order in which they went; none to who has only come.
    pub handed: BTreeMap<String, Vec<u32>>,
    /// Give this when asking again.
    pub seen: u64,
    /// Whether every chunk was handed out.
    pub all: bool,
}

impl Handout {
    /// Nothing was handed out yet.
    pub fn new(layout: ChunkLayout) -> Self {
        Self { layout, handed: ChunkSet::none(&layout), cursor: 0, log: Vec::new() }
    }

    /// How the file is cut.
    pub fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// A peer takes part; the others are told, so that they can turn to it should we die.
    pub fn join(&mut self, peer: &str) {
        if !self.log.iter().any(|(_, known)| known == peer) {
            self.log.push((None, peer.to_owned()));
        }
    }

    /// A peer has these chunks already.
    pub fn brings(&mut self, peer: &str, have: &ChunkSet) {
        for index in have.iter() {
            self.hand(peer, index);
        }
    }

    /// The next chunk that nobody was handed, for this peer; `None` when all were.
    pub fn next(&mut self, peer: &str) -> Option<ChunkIndex> {
        while let Some(index) = self.layout.index(self.cursor) {
            self.cursor += 1;
            if self.hand(peer, index) {
                return Some(index);
            }
        }
        None
    }

    fn hand(&mut self, peer: &str, index: ChunkIndex) -> bool {
        let fresh = self.handed.insert(index);
        if fresh {
            self.log.push((Some(index), peer.to_owned()));
        }
        fresh
    }

    /// What went to others than `peer` since it had `seen` so much, at most so much that it fits a
    /// message.
    pub fn news(&self, peer: &str, seen: u64) -> News {
        /// Lines of the log that one message tells.
        const MOST: usize = 2000;
        let from = usize::try_from(seen).unwrap_or(usize::MAX).min(self.log.len());
        let fresh = self.log.get(from..).unwrap_or_default();
        let told = fresh.get(..MOST).unwrap_or(fresh);
        let mut handed: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (index, owner) in told.iter().filter(|(_, owner)| owner != peer) {
            handed.entry(owner.clone()).or_default().extend(index.map(ChunkIndex::get));
        }
        let seen = (from + told.len()) as u64;
        News { handed, seen, all: self.handed.is_full() && seen == self.log.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(chunks: u64) -> ChunkLayout {
        ChunkLayout::new(chunks * 16384, 16384).unwrap()
    }

    #[test]
    fn every_chunk_goes_out_once_and_everybody_is_told() {
        let mut handout = Handout::new(layout(3));
        let got: Vec<_> =
            ["a", "b", "a", "b"].iter().map(|peer| handout.next(peer).map(|i| i.get())).collect();
        assert_eq!(got, [Some(0), Some(1), Some(2), None]);
        let news = handout.news("b", 0);
        assert_eq!(news.handed, BTreeMap::from([("a".to_owned(), vec![0, 2])]));
        assert!(news.all);
        assert_eq!(handout.news("b", news.seen), News { seen: 3, all: true, ..News::default() });
    }

    #[test]
    fn chunks_are_the_smaller_the_more_targets_there_are() {
        let usual = ChunkLayout::usual(128 << 20).unwrap();
        let sizes = [1, 4, 8, 1000].map(|targets| chunk_size(&usual, targets) >> 10);
        assert_eq!(sizes, [256, 256, 128, 64]);
        assert_eq!(chunk_size(&ChunkLayout::new(1 << 30, 16384).unwrap(), 2), 16384);
    }

    #[test]
    fn what_a_peer_brings_is_not_handed_out_again() {
        let layout = layout(3);
        let mut handout = Handout::new(layout);
        let mut have = ChunkSet::none(&layout);
        have.insert(layout.index(0).unwrap());
        handout.brings("a", &have);
        assert_eq!(handout.next("b").map(|index| index.get()), Some(1));
        assert_eq!(handout.news("b", 0).handed["a"], [0]);
        assert!(!handout.news("b", 0).all);
    }

    #[test]
    fn everybody_is_told_who_takes_part() {
        let mut handout = Handout::new(layout(3));
        ["a", "b", "a"].iter().for_each(|peer| handout.join(peer));
        let news = handout.news("b", 0);
        assert_eq!((news.handed, news.seen), (BTreeMap::from([("a".to_owned(), vec![])]), 2));
    }

    #[test]
    fn a_count_from_the_future_is_no_news() {
        assert_eq!(Handout::new(layout(1)).news("a", u64::MAX).handed.len(), 0);
    }
}
