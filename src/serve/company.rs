//! What all connections of a peer know together: who reads which content at the moment, and what is
//! handed out to several peers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use super::budget::Budget;
use super::cuts::Cuts;
use super::gate::Gate;
use super::handout::Handout;
use crate::config;
use crate::content::{ChunkLayout, Digest, Root};
use crate::locks::lock;
use crate::topology::PeerId;

/// Who reads what, and what is handed out, by content and chunk size; shared by all connections
/// over which it is. Clones are the same.
#[derive(Clone, Default)]
pub struct Company {
    state: Arc<Mutex<State>>,
    /// What goes out to members of swarms.
    pub(super) gate: Arc<Gate>,
    /// Sessions in which something is being transferred.
    transfers: Arc<AtomicU64>,
    /// Memory for answers that are made as a whole.
    pub(super) answers: Answers,
    /// Folders as they were cut for those who fetch them together.
    cuts: Arc<Mutex<Cuts>>,
    /// Where our handouts begin; see [`Handout::starting_at`].
    start: u64,
}

/// See [`config::ANSWERS_HELD`].
#[derive(Clone)]
pub(super) struct Answers(pub(super) Budget);

impl Default for Answers {
    fn default() -> Self {
        Self(Budget::of(config::ANSWERS_HELD))
    }
}

/// Counts as a transfer while it is there.
#[derive(Debug)]
pub struct Transferring(Arc<AtomicU64>);

impl Drop for Transferring {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[derive(Default)]
struct State {
    readers: Readers,
    handouts: HashMap<Cut, Vec<Weak<Mutex<Handout>>>>,
    /// Who is expected to take part in all of them, and who of these will not.
    expected: Vec<String>,
    lost: Vec<String>,
    /// Who has all of what is handed out.
    whole: Vec<String>,
}

/// Content and chunk size in bytes.
pub(super) type Cut = (Root, u32);

/// Which peer read which content last when.
#[derive(Default)]
struct Readers {
    seen: HashMap<Cut, HashMap<PeerId, Instant>>,
    swept: Option<Instant>,
}

impl Company {
    /// These peers are expected to take part in whatever is handed out.
    pub fn among(expected: Vec<String>) -> Self {
        let state = Arc::new(Mutex::new(State { expected, ..State::default() }));
        Self { state, ..Self::default() }
    }

    /// The same of the peer of that id: each peer begins to hand out at another place, so that of
    /// several that have the same, two rarely hand out the same.
    #[must_use]
    pub fn of(self, me: &str) -> Self {
        let Digest([a, b, c, d, e, f, g, h, ..]) = Digest::of(me.as_bytes());
        Self { start: u64::from_be_bytes([a, b, c, d, e, f, g, h]), ..self }
    }

    /// Something is being transferred from now on.
    pub fn transferring(&self) -> Transferring {
        self.transfers.fetch_add(1, Relaxed);
        Transferring(self.transfers.clone())
    }

    /// How many transfers there are.
    pub(super) fn transfers(&self) -> u64 {
        self.transfers.load(Relaxed)
    }

    /// That peer does not have what is handed out, and will not have it.
    pub fn lost(&self, peer: &str) {
        let mut state = self.state();
        state.whole.retain(|whole| whole != peer);
        state.lost.push(peer.to_owned());
        state.each_handout(|handout| handout.leave(peer));
    }

    /// That peer has all of what is handed out, and can be asked as we are; all who take part are
    /// told.
    pub fn whole(&self, peer: &str) {
        let mut state = self.state();
        if !state.whole.iter().any(|whole| whole == peer) {
            state.whole.push(peer.to_owned());
        }
        state.each_handout(|handout| handout.whole(peer));
    }

    /// Notes that the peer reads that content; says whether others do so too, or have it handed
    /// out.
    pub(super) fn reads(&self, root: Root, chunk_size: u32, peer: &PeerId) -> bool {
        let mut state = self.state();
        let handed_out = state.hands_out(&(root, chunk_size));
        state.readers.note((root, chunk_size), peer, Instant::now()) || handed_out
    }

    /// The same of all files of a selection.
    pub(super) fn selects(&self, selection: Root, peer: &PeerId) -> bool {
        let cuts = self.cuts_of(&selection);
        let mut state = self.state();
        let handed_out = cuts.iter().any(|cut| state.hands_out(cut));
        state.readers.note((selection, 0), peer, Instant::now()) || handed_out
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn cuts(&self) -> MutexGuard<'_, Cuts> {
        lock(&self.cuts)
    }

    /// The handout of that content with the least members that has room for one more; a new one
    /// where there is none.
    pub(super) fn handout(&self, root: Root, layout: ChunkLayout) -> Arc<Mutex<Handout>> {
        let mut state = self.state();
        state.handouts.retain(|_, all| {
            all.retain(is_used);
            !all.is_empty()
        });
        let State { handouts, expected, lost, whole, .. } = &mut *state;
        let all = handouts.entry((root, layout.chunk_size())).or_default();
        let most = config::SWARM_MEMBERS.max(expected.len());
        let names = config::HANDOUT_NAMES.max(2 * expected.len());
        let is_worn = |handout: Arc<Mutex<Handout>>| lock(&handout).names() >= names;
        let has_room = |handout: &&Weak<Mutex<Handout>>| {
            handout.strong_count() <= most && !handout.upgrade().is_some_and(is_worn)
        };
        let known = all.iter().find(has_room).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let mut handout = Handout::among(layout, expected).starting_at(self.start);
            lost.iter().for_each(|peer| handout.leave(peer));
            whole.iter().for_each(|peer| handout.whole(peer));
            let handout = Arc::new(Mutex::new(handout));
            all.push(Arc::downgrade(&handout));
            handout
        })
    }
}

impl State {
    fn hands_out(&self, cut: &Cut) -> bool {
        self.handouts.get(cut).is_some_and(|all| all.iter().any(is_used))
    }

    fn each_handout(&self, act: impl Fn(&mut Handout)) {
        for handout in self.handouts.values().flatten().filter_map(Weak::upgrade) {
            act(&mut lock(&handout));
        }
    }
}

/// Every member holds the handout.
fn is_used(handout: &Weak<Mutex<Handout>>) -> bool {
    handout.strong_count() > 0
}

impl Readers {
    /// Notes a reader; says whether there is another one.
    fn note(&mut self, cut: Cut, peer: &PeerId, now: Instant) -> bool {
        let is_fresh = |seen: &Instant| now.saturating_duration_since(*seen) < config::READER_KEPT;
        if !self.swept.as_ref().is_some_and(is_fresh) {
            self.swept = Some(now);
            self.seen.retain(|_, readers| {
                readers.retain(|_, seen| is_fresh(seen));
                !readers.is_empty()
            });
        }
        let readers = self.seen.entry(cut).or_default();
        match readers.get_mut(peer) {
            Some(seen) => *seen = now,
            None => {
                readers.insert(peer.clone(), now);
            }
        }
        readers.iter().any(|(other, seen)| other != peer && is_fresh(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Digest;

    fn id(peer: &str) -> PeerId {
        peer.parse().unwrap()
    }

    #[test]
    fn others_are_company_for_a_while_and_for_the_same_content_and_cut_only() {
        let (mut readers, start) = (Readers::default(), Instant::now());
        let x = (Root(Digest::of(b"x")), 16384);
        assert!(!readers.note(x, &id("a"), start));
        assert!(!readers.note(x, &id("a"), start), "nobody is company to itself");
        assert!(readers.note(x, &id("b"), start));
        assert!(!readers.note((Root(Digest::of(b"y")), 16384), &id("c"), start));
        assert!(!readers.note((x.0, 32768), &id("c"), start));
        let later = start + config::READER_KEPT;
        assert!(!readers.note(x, &id("a"), later));
        assert_eq!(readers.seen.len(), 1, "what nobody reads any more is forgotten");
    }

    #[test]
    fn a_handout_has_so_many_members_and_then_another_one_begins() {
        let (company, root) = (Company::default(), Root(Digest::of(b"x")));
        let layout = ChunkLayout::new(1 << 20, 16384).unwrap();
        assert!(!company.reads(root, 16384, &id("a")));
        let mut members: Vec<_> =
            (0..=config::SWARM_MEMBERS).map(|_| company.handout(root, layout)).collect();
        assert!(members.iter().all(|handout| Arc::ptr_eq(handout, &members[0])));
        assert!(company.reads(root, 16384, &id("a")));
        assert!(!Arc::ptr_eq(&company.handout(root, layout), &members[0]));
        members.pop();
        assert!(Arc::ptr_eq(&company.handout(root, layout), &members[0]));
    }

    #[test]
    fn one_that_comes_under_ever_new_names_makes_no_handout_grow_for_ever() {
        let (company, root) = (Company::default(), Root(Digest::of(b"x")));
        let layout = ChunkLayout::new(1 << 20, 16384).unwrap();
        let kept = company.handout(root, layout);
        let mut worn = None;
        for number in 0..3 * config::HANDOUT_NAMES {
            let handout = company.handout(root, layout);
            handout.lock().unwrap().join(&format!("peer{number}"), Instant::now());
            if !Arc::ptr_eq(&handout, &kept) {
                worn.get_or_insert(number);
            }
        }
        assert_eq!(worn, Some(config::HANDOUT_NAMES));
        assert_eq!(kept.lock().unwrap().names(), config::HANDOUT_NAMES);
    }
}
