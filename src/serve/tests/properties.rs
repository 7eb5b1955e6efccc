//! Handouts under whatever their members do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use proptest::prelude::*;

use super::super::handout::Handout;
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};

const CHUNKS: u64 = 24;

/// What a member does.
#[derive(Clone, Debug)]
enum Act {
    Next,
    News,
    Leaves,
    /// Says what it has, which is what it was handed before and these.
    Brings(Vec<u32>),
    Whole,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Next),
        2 => Just(Act::News),
        1 => Just(Act::Leaves),
        2 => proptest::collection::vec(0..CHUNKS as u32, 0..6).prop_map(Act::Brings),
        1 => Just(Act::Whole),
    ]
}

fn layout() -> ChunkLayout {
    ChunkLayout::new(CHUNKS * 16384, 16384).unwrap()
}

/// What the members know, as the handout must see it.
#[derive(Default)]
struct Model {
    /// Who was handed what, and is not lost.
    holders: BTreeMap<u32, usize>,
    /// What each said that it has.
    has: BTreeMap<usize, BTreeSet<u32>>,
    whole: BTreeSet<usize>,
}

impl Model {
    fn handed(&mut self, index: ChunkIndex, member: usize) -> Result<(), TestCaseError> {
        let before = self.holders.insert(index.get(), member);
        prop_assert!(before.is_none(), "{before:?} was handed {} before {member}", index.get());
        let others_have = self.has.iter().find(|(_, has)| has.contains(&index.get()));
        prop_assert!(others_have.is_none(), "{:?} has {} already", others_have, index.get());
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_chunk_is_handed_to_one_live_member_and_in_the_end_all_are(
        start: u64,
        story in proptest::collection::vec((0..30_usize, acts()), 0..300),
    ) {
        // So many that the loss of one counts.
        let names: Vec<String> = (0..70).map(|number| number.to_string()).collect();
        let mut handout = Handout::among(layout(), &names).starting_at(start);
        let (mut model, now) = (Model::default(), Instant::now());
        for (member, act) in story {
            let name = &names[member];
            match act {
                Act::Leaves => {
                    handout.leave(name);
                    model.has.remove(&member);
                    // What it was handed is handed out again, unless somebody says so once more.
                    let lost = model.holders.extract_if(.., |_, holder| *holder == member);
                    for (chunk, _) in lost {
                        model.has.values_mut().for_each(|has| {
                            has.remove(&chunk);
                        });
                    }
                    model.whole.remove(&member);
                    continue;
                }
                Act::Next => {
                    if let Some(index) = handout.next(name, now) {
                        prop_assert!(!model.whole.contains(&member));
                        model.handed(index, member)?;
                    }
                }
                Act::News => {
                    let news = handout.news(name, 0, now);
                    prop_assert!(!news.handed.contains_key(name) && !news.whole.contains(name));
                    let whole: BTreeSet<usize> =
                        news.whole.iter().map(|name| name.parse().unwrap()).collect();
                    let mut expected = model.whole.clone();
                    expected.remove(&member);
                    prop_assert_eq!(whole, expected);
                }
                Act::Brings(chunks) => {
                    let mut have = ChunkSet::none(&layout());
                    let held = model.holders.iter().filter(|(_, holder)| **holder == member);
                    let all = held.map(|(chunk, _)| *chunk).chain(chunks);
                    all.filter_map(|chunk| layout().index(chunk)).for_each(|index| {
                        have.insert(index);
                    });
                    handout.brings(name, &have, now);
                    model.whole.remove(&member);
                    model.has.insert(member, have.iter().map(ChunkIndex::get).collect());
                    for chunk in have.iter().map(ChunkIndex::get) {
                        model.holders.entry(chunk).or_insert(member);
                    }
                }
                Act::Whole => {
                    handout.brings(name, &ChunkSet::all(&layout()), now);
                    model.whole.insert(member);
                }
            }
        }
        let last = "a stranger";
        while handout.next(last, now).is_some() {}
        let news = handout.news(last, 0, now);
        prop_assert!(news.all);
        prop_assert!(config::SWARM_MEMBERS + 1 < names.len());
    }
}
