//! Who was handed which chunk of a file that several peers fetch at once: pure bookkeeping.
//!
//! Every chunk goes out once, to whichever peer asks next; all of them are told from whom to have
//! it: from that one, or when they are many, by way of others (`routes`). A peer that comes with
//! chunks of an earlier attempt counts as having been handed those.
//!
//! When one of many is lost, what it was handed is handed out once more, to one of the others,
//! which stands in for it; and those who would have had a chunk by way of it are told another way.
//! So not everybody has to turn to us for what it took along.
//!
//! Several peers that have the same may hand it out at once: each begins at another place, and learns
//! from the members what they had from the others, which it does not hand out once more. A member
//! that has everything is handed nothing; the others are told that they can turn to it as to us.
//!
//! **Invariant:** a chunk is handed to at most one peer that is not lost, and the log has a line
//! for each that was, and for each peer before it is handed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::routes::Members;
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
    /// The first one to be handed out.
    start: u32,
    /// So many from there on, and round to the beginning, were handed out.
    cursor: u32,
    /// Chunks whose holders are lost, to be handed out once more.
    lost: Vec<ChunkIndex>,
    /// Who is handed what a lost one held, if possible: or its readers would have many more
    /// sources.
    stand_ins: BTreeMap<usize, usize>,
    owners: BTreeMap<ChunkIndex, Owner>,
    /// Who came, and what was handed out or must be told anew, in the order in which that was.
    log: Vec<Line>,
    members: Members,
    /// Who has everything.
    whole: BTreeSet<usize>,
    /// Those of whom the log says so.
    told_whole: BTreeSet<usize>,
}

/// Whom a chunk was handed to.
#[derive(Clone, Copy)]
struct Owner {
    /// At first.
    root: usize,
    /// At last.
    holder: usize,
}

/// What the members are to know.
#[derive(Clone, Copy)]
enum Line {
    /// That member takes part.
    Came(usize),
    /// That one has everything.
    Whole(usize),
    /// That chunk is to be had. With `lost`, it matters to those alone who expected it from that
    /// one.
    Chunk { index: ChunkIndex, lost: Option<usize> },
}

/// What a peer has not been told yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Which chunks to have from whom, each in the order in which they went; none from who has only
    /// come.
    pub handed: BTreeMap<String, Vec<u32>>,
    /// Who has everything.
    pub whole: Vec<String>,
    /// Give this when asking again.
    pub seen: u64,
    /// Whether every chunk was handed out.
    pub all: bool,
}

impl Handout {
    /// Nothing was handed out yet, and few peers come.
    pub fn new(layout: ChunkLayout) -> Self {
        Self::among(layout, &[])
    }

    /// The same; these peers are expected.
    pub fn among(layout: ChunkLayout, expected: &[String]) -> Self {
        Self {
            layout,
            handed: ChunkSet::none(&layout),
            start: 0,
            cursor: 0,
            lost: Vec::new(),
            stand_ins: BTreeMap::new(),
            owners: BTreeMap::new(),
            log: Vec::new(),
            members: Members::new(expected),
            whole: BTreeSet::new(),
            told_whole: BTreeSet::new(),
        }
    }

    /// The same, in an order that begins at the chunk of that number, modulo all of them.
    #[must_use]
    pub fn starting_at(self, number: u64) -> Self {
        let start = (number % u64::from(self.layout.count()).max(1)) as u32;
        Self { start, ..self }
    }

    /// How the file is cut.
    pub fn layout(&self) -> &ChunkLayout {
        &self.layout
    }

    /// How many peers ever took part, or are expected.
    pub fn names(&self) -> usize {
        self.members.len()
    }

    /// A peer takes part; the others are told, so that they can turn to it should we die. Says its
    /// number.
    pub fn join(&mut self, peer: &str, now: Instant) -> usize {
        let (number, fresh) = self.members.join(peer, now);
        if fresh {
            self.log.push(Line::Came(number));
        }
        self.members.give_up(now).into_iter().for_each(|gone| self.lose(gone));
        number
    }

    /// A peer takes part no more, or never will, and does not have the file.
    pub fn leave(&mut self, peer: &str) {
        if let Some(number) = self.members.find(peer) {
            self.whole.remove(&number);
        }
        if let Some(gone) = self.members.leave(peer) {
            self.lose(gone);
        }
    }

    fn lose(&mut self, gone: usize) {
        self.lost.retain(|index| self.owners.get(index).is_some_and(|owner| owner.holder != gone));
        let held = self.owners.iter().filter(|(_, owner)| owner.holder == gone);
        self.lost.extend(held.map(|(index, _)| *index));
        self.stand_ins.retain(|_, stand_in| *stand_in != gone);
        self.tell_another_way(gone);
    }

    fn tell_another_way(&mut self, gone: usize) {
        let by_way = |owner: &Owner| owner.holder != gone && self.members.relays(gone, owner.root);
        let lines = self.owners.iter().filter(|(_, owner)| by_way(owner));
        self.log.extend(lines.map(|(index, _)| Line::Chunk { index: *index, lost: Some(gone) }));
    }

    /// A peer has everything, whether it takes part or not; the others are told.
    pub fn whole(&mut self, peer: &str) {
        let number = self.members.settled(peer);
        self.whole.insert(number);
        // Once, however often a peer says that it has everything, and that it has not.
        if self.told_whole.insert(number) {
            self.log.push(Line::Whole(number));
        }
    }

    /// A peer has these chunks, wherever it had them from. Those that were handed to nobody, or lost,
    /// count as handed to it; not so when it has all of them, or all others would turn to it alone.
    pub fn brings(&mut self, peer: &str, have: &ChunkSet, now: Instant) {
        let number = self.join(peer, now);
        if have.is_full() {
            return self.whole(peer);
        }
        self.whole.remove(&number);
        let fresh: Vec<ChunkIndex> = have.without(&self.handed).collect();
        for index in fresh {
            self.hand(number, index);
        }
        let found: Vec<ChunkIndex> =
            self.lost.extract_if(.., |index| have.contains(*index)).collect();
        for index in found {
            if let Some(owner) = self.owners.get_mut(&index) {
                owner.holder = number;
                self.log.push(Line::Chunk { index, lost: Some(owner.root) });
            }
        }
    }

    /// The next chunk that nobody was handed, or has lost, for this peer; `None` when there is
    /// none.
    pub fn next(&mut self, peer: &str, now: Instant) -> Option<ChunkIndex> {
        let peer = self.join(peer, now);
        if self.whole.contains(&peer) {
            return None;
        }
        if let Some(index) = self.lost_by_another(peer) {
            return Some(index);
        }
        while let Some(index) = self.at_cursor() {
            self.cursor += 1;
            if self.hand(peer, index) {
                self.members.handed(peer).into_iter().for_each(|slow| self.tell_another_way(slow));
                return Some(index);
            }
        }
        // Now that nothing else is left, whoever asks stands in.
        self.lost_by_another(peer)
    }

    /// The chunk whose turn it is; none after all of them.
    fn at_cursor(&self) -> Option<ChunkIndex> {
        let (count, place) = (self.layout.count(), self.cursor);
        let number = (u64::from(self.start) + u64::from(place)) % u64::from(count).max(1);
        self.layout.index(number as u32).filter(|_| place < count)
    }

    fn hand(&mut self, holder: usize, index: ChunkIndex) -> bool {
        let fresh = self.handed.insert(index);
        if fresh {
            self.owners.insert(index, Owner { root: holder, holder });
            self.log.push(Line::Chunk { index, lost: None });
        }
        fresh
    }

    /// Hands a chunk out once more: the last one first, for those before it have probably got
    /// around. All keep the way that they were told, up to where it ends.
    fn lost_by_another(&mut self, peer: usize) -> Option<ChunkIndex> {
        let (owners, stand_ins) = (&self.owners, &self.stand_ins);
        let hurry = self.at_cursor().is_none();
        let stands_in = |index: &ChunkIndex| {
            let stand_in = owners.get(index).and_then(|owner| stand_ins.get(&owner.holder));
            hurry || stand_in.is_none_or(|stand_in| *stand_in == peer)
        };
        let at = self.lost.iter().rposition(stands_in)?;
        let index = self.lost.remove(at);
        let owner = self.owners.get_mut(&index)?;
        self.stand_ins.insert(owner.holder, peer);
        owner.holder = peer;
        self.log.push(Line::Chunk { index, lost: Some(owner.root) });
        Some(index)
    }

    /// What was handed to a peer could not be given: somebody else is to have it.
    pub fn give_back(&mut self, index: ChunkIndex) {
        if !self.lost.contains(&index) {
            self.lost.push(index);
        }
    }

    /// How many bytes of a message one line of the log comes to, at most.
    fn longest(&self, line: &Line) -> usize {
        /// A number, and what stands around it and a name.
        const AROUND: usize = 24;
        let name = |member: usize| self.members.name(member).len();
        AROUND
            + match *line {
                Line::Came(member) | Line::Whole(member) => name(member),
                // Most are told of a peer that was named before, but no one knows which.
                Line::Chunk { index, .. } => {
                    self.owners.get(&index).map_or(0, |owner| name(owner.holder))
                }
            }
    }

    /// From whom `peer` is to have what others were handed since it had `seen` so much, at most so
    /// much that it fits a message.
    pub fn news(&mut self, peer: &str, seen: u64, now: Instant) -> News {
        /// Lines of the log that one message tells, and bytes that they may come to: names are as
        /// long as the peers choose, and a header has its limit.
        const MOST: usize = 2000;
        const MOST_BYTES: usize = config::MAX_HEADER as usize / 2;
        let me = self.join(peer, now);
        let from = usize::try_from(seen).unwrap_or(usize::MAX).min(self.log.len());
        let fresh = self.log.get(from..).unwrap_or_default();
        let mut bytes = 0;
        let fits = |line: &&Line| {
            bytes += self.longest(line);
            bytes <= MOST_BYTES
        };
        let count = fresh.iter().take(MOST).take_while(fits).count();
        let told = fresh.get(..count).unwrap_or(fresh);
        let (mut handed, mut whole) = (BTreeMap::<String, Vec<u32>>::new(), Vec::new());
        for line in told {
            let (owner, index, lost) = match *line {
                Line::Came(member) => (Owner { root: member, holder: member }, None, None),
                Line::Whole(member) => {
                    if member != me && self.whole.contains(&member) {
                        whole.push(self.members.name(member).to_owned());
                    }
                    continue;
                }
                Line::Chunk { index, lost } => match self.owners.get(&index) {
                    Some(owner) => (*owner, Some(index), lost),
                    None => continue,
                },
            };
            if let Some(source) = self.members.source(me, (owner.root, owner.holder), lost) {
                let chunks = handed.entry(self.members.name(source).to_owned()).or_default();
                chunks.extend(index.map(ChunkIndex::get));
            }
        }
        let seen = (from + told.len()) as u64;
        let all = self.handed.is_full() && self.lost.is_empty() && seen == self.log.len() as u64;
        if all {
            self.members.knows_all(me);
        }
        News { handed, whole, seen, all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::now()
    }

    fn layout(chunks: u64) -> ChunkLayout {
        ChunkLayout::new(chunks * 16384, 16384).unwrap()
    }

    #[test]
    fn every_chunk_goes_out_once_and_everybody_is_told() {
        let mut handout = Handout::new(layout(3));
        let got: Vec<_> = ["a", "b", "a", "b"]
            .iter()
            .map(|peer| handout.next(peer, now()).map(|i| i.get()))
            .collect();
        assert_eq!(got, [Some(0), Some(1), Some(2), None]);
        let news = handout.news("b", 0, now());
        assert_eq!(news.handed, BTreeMap::from([("a".to_owned(), vec![0, 2])]));
        assert!(news.all);
        assert_eq!(
            handout.news("b", news.seen, now()),
            News { seen: 5, all: true, ..News::default() }
        );
    }

    #[test]
    fn chunks_are_the_smaller_the_more_targets_there_are() {
        let usual = ChunkLayout::usual(128 << 20).unwrap();
        let sizes = [1, 4, 8, 1000].map(|targets| chunk_size(&usual, targets) >> 10);
        assert_eq!(sizes, [256, 128, 64, 64]);
        assert_eq!(chunk_size(&ChunkLayout::new(1 << 30, 16384).unwrap(), 2), 16384);
    }

    #[test]
    fn one_that_has_everything_again_and_again_is_told_of_once_and_long_names_fit_a_message() {
        let layout = layout(3);
        let mut handout = Handout::new(layout);
        let mut some = ChunkSet::none(&layout);
        some.insert(layout.index(0).unwrap());
        for _ in 0..50 {
            handout.brings("liar", &ChunkSet::all(&layout), now());
            handout.brings("liar", &some, now());
        }
        handout.brings("liar", &ChunkSet::all(&layout), now());
        assert_eq!(handout.news("b", 0, now()).whole, ["liar"]);
        let names: Vec<String> = (0..1000).map(|number| format!("{number:064}")).collect();
        names.iter().for_each(|name| {
            handout.join(name, now());
        });
        let (mut seen, mut told) = (0, 0);
        while told < 1000 {
            let news = handout.news("b", seen, now());
            let bytes: usize = news.handed.keys().map(String::len).sum();
            assert!(bytes < config::MAX_HEADER as usize / 2 && news.seen > seen, "{bytes}");
            told += news.handed.len();
            seen = news.seen;
        }
    }

    #[test]
    fn what_could_not_be_given_is_handed_to_somebody_else() {
        let mut handout = Handout::new(layout(1));
        let index = handout.next("a", now()).unwrap();
        assert_eq!(handout.next("b", now()), None);
        handout.give_back(index);
        assert_eq!(handout.next("b", now()), Some(index));
        assert_eq!(handout.news("c", 0, now()).handed["b"], [0, 0]);
    }

    #[test]
    fn what_a_peer_brings_is_not_handed_out_again() {
        let layout = layout(3);
        let mut handout = Handout::new(layout);
        let mut have = ChunkSet::none(&layout);
        have.insert(layout.index(0).unwrap());
        handout.brings("a", &have, now());
        assert_eq!(handout.next("b", now()).map(|index| index.get()), Some(1));
        assert_eq!(handout.news("b", 0, now()).handed["a"], [0]);
        assert!(!handout.news("b", 0, now()).all);
    }

    #[test]
    fn everybody_is_told_who_takes_part() {
        let mut handout = Handout::new(layout(3));
        for peer in ["a", "b", "a"] {
            handout.join(peer, now());
        }
        let news = handout.news("b", 0, now());
        assert_eq!((news.handed, news.seen), (BTreeMap::from([("a".to_owned(), vec![])]), 2));
    }

    #[test]
    fn a_count_from_the_future_is_no_news() {
        assert_eq!(Handout::new(layout(1)).news("a", u64::MAX, now()).handed.len(), 0);
    }

    /// The chunks that `peer` is told to have from `source`.
    fn told(handout: &mut Handout, (peer, source): (&str, &str), seen: u64) -> Vec<u32> {
        handout.news(peer, seen, now()).handed.remove(source).unwrap_or_default()
    }

    #[test]
    fn what_a_lost_member_was_handed_is_handed_to_one_other_and_its_readers_are_told() {
        let names: Vec<String> = (0..72).map(|number| number.to_string()).collect();
        let mut handout = Handout::among(layout(3), &names);
        assert_eq!(handout.next("0", now()).map(|index| index.get()), Some(0));
        assert_eq!(handout.next("16", now()).map(|index| index.get()), Some(1));
        assert_eq!(told(&mut handout, ("21", "20"), 0), [0, 1]);
        let seen = handout.news("1", 0, now()).seen;
        handout.leave("0");
        handout.leave("20");
        handout.leave("20");
        assert_eq!(handout.next("5", now()).map(|index| index.get()), Some(0), "that comes first");
        assert_eq!(handout.next("5", now()).map(|index| index.get()), Some(2));
        assert_eq!(told(&mut handout, ("1", "5"), seen), [0]);
        assert_eq!(told(&mut handout, ("21", "16"), seen), [0, 1]);
        assert!(told(&mut handout, ("17", "16"), seen).is_empty(), "17 knows");
        assert!(handout.news("21", seen, now()).all);
    }
}
