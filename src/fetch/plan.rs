//! What one transfer knows, for all its sources together: pure, told `now`.
//!
//! [`Ledger`] knows who fetches which unit. Beside it stands what is known of *taking part*: which
//! other peers fetch the same, who hands units out, and whether others could fetch from us. Each
//! source's own part in it is its [`Course`](super::course::Course). What is to be done in the
//! world because of it, as connecting to somebody, comes out as an [`Errand`].

use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, NewUnit, SourceId, Unit};
use super::source::Handed;
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet};
use crate::topology::PeerId;

/// All that is known of one transfer.
pub struct Plan {
    /// Who fetches which unit.
    pub ledger: Ledger,
    /// How units are numbered among those who fetch together, and where these numbers begin here.
    numbers: Option<(ChunkLayout, u32)>,
    /// The peers that somebody told us of, and what they are here.
    known: HashMap<PeerId, SourceId>,
    /// Members that have nothing for us yet, as far as we know.
    heard_of: HashSet<PeerId>,
    /// Sources that have everything and are not lost.
    wholes: usize,
    /// Whether others fetch the same together with us.
    pub(super) together: Together,
    errands: Vec<Errand>,
}

/// Whether several peers fetch the same together, as far as it is up to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Together {
    /// We do not: nobody could find the way to us, or back.
    Never,
    /// From the start: the source says so.
    Given,
    /// It depends on whether others do, too.
    Perhaps,
    /// Others do; it is being found out whether they could fetch from us.
    Asked,
    /// They could.
    Served,
}

/// What is to be done for a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Errand {
    /// Connect to that peer, which becomes this source.
    Meet {
        /// Which peer.
        peer: PeerId,
        /// What it is in the ledger.
        id: SourceId,
        /// Whether it has everything, and may hand it out.
        whole: bool,
    },
    /// Ask our own server whether it gives away what we receive.
    AskOwnServer,
    /// Somebody else has a unit that is here, by its name: others may have it from there.
    Disown(u32),
}

impl Plan {
    /// More units may come; where others fetch them together with us, they wait until they are cut as
    /// all have them.
    pub(super) fn grow(&mut self, now: Instant) {
        self.ledger.grow();
        if self.together == Together::Given {
            self.ledger.hold(Some(now + config::CUT_WAIT));
        }
    }

    /// Nothing is known yet but these units, which have the numbers of `layout` among all who fetch
    /// together.
    pub fn new(units: Vec<NewUnit>, layout: Option<ChunkLayout>, together: Together) -> Self {
        Self {
            ledger: Ledger::new(units),
            numbers: layout.map(|layout| (layout, 0)),
            known: HashMap::new(),
            heard_of: HashSet::new(),
            wholes: 0,
            together,
            errands: Vec::new(),
        }
    }

    /// A source that has everything.
    pub fn join(&mut self, late: bool) -> SourceId {
        self.wholes += 1;
        if late { self.ledger.join_late() } else { self.ledger.join() }
    }

    /// Cuts what is missing anew, into units that have the numbers of `layout` for all who fetch
    /// together.
    pub(super) fn cut(&mut self, units: Vec<NewUnit>, layout: ChunkLayout, now: Instant) {
        self.ledger.withdraw();
        let begin = self.ledger.add(units);
        self.numbers = Some((layout, begin));
        self.ledger.hold(None);
        self.ask_own_server(now);
    }

    /// What is missing cannot be cut as others cut it.
    pub(super) fn stays_alone(&mut self) {
        self.together = Together::Never;
        self.ledger.hold(None);
    }

    /// Whether it may be of use to cut what is missing as others cut it.
    pub(super) fn may_cut(&self) -> bool {
        let others = matches!(self.together, Together::Given | Together::Asked | Together::Served);
        others && !self.is_numbered()
    }

    /// Whether units have numbers that others know.
    pub(super) fn is_numbered(&self) -> bool {
        self.numbers.is_some()
    }

    /// What an adviser is told of what is here or on its way to us, by the numbers that others know:
    /// at first, and as long as others hand out as well. That everything is on its way does not say
    /// that it can be had from us.
    pub(super) fn to_tell(&self, first: bool) -> Option<ChunkSet> {
        let tells = first || self.wholes > 1;
        let begun = tells.then(|| self.begun()).flatten();
        begun.filter(|begun| !begun.is_empty() && !begun.is_full())
    }

    fn begun(&self) -> Option<ChunkSet> {
        let (layout, begin) = self.numbers.as_ref()?;
        let mut begun = ChunkSet::none(layout);
        for unit in self.ledger.begun() {
            let number = unit.get().checked_sub(*begin);
            number.and_then(|number| layout.index(number)).into_iter().for_each(|index| {
                begun.insert(index);
            });
        }
        Some(begun)
    }

    /// Our unit of a number that others know.
    fn unit(&self, index: ChunkIndex) -> Option<Unit> {
        let (_, begin) = self.numbers.as_ref()?;
        self.ledger.unit(begin.checked_add(index.get())?)
    }

    /// The member has just these, whatever was promised. Says whether any of them is of use.
    pub(super) fn has(&mut self, id: SourceId, set: &ChunkSet) -> bool {
        let units: Vec<Unit> = set.iter().filter_map(|index| self.unit(index)).collect();
        self.ledger.offers(id, units)
    }

    /// Somebody who hands units out said whom to have them from. Gives our own one.
    pub(super) fn handed(&mut self, handed: &Handed, now: Instant) -> Option<Unit> {
        for (peer, units) in &handed.others {
            if units.is_empty() {
                self.heard_of.insert(peer.clone());
                continue;
            }
            let Some(id) = self.meet(peer, false) else { continue };
            let units: Vec<Unit> = units.iter().filter_map(|index| self.unit(*index)).collect();
            for unit in units {
                self.ledger.promise(id, unit, now);
                if self.ledger.is_done(unit) {
                    self.errands.push(Errand::Disown(self.ledger.name(unit)));
                }
            }
        }
        for peer in &handed.whole {
            self.meet(peer, true);
        }
        handed.unit.and_then(|index| self.unit(index))
    }

    /// The source that a peer is, which it becomes when not too many are.
    pub(super) fn meet(&mut self, peer: &PeerId, whole: bool) -> Option<SourceId> {
        if let Some(known) = self.known.get(peer) {
            return Some(*known);
        }
        // Where units go by way of others, those who stand in for lost ones come on top.
        if self.known.len() >= 4 * config::SWARM_MEMBERS {
            return None;
        }
        let id = if whole { self.join(true) } else { self.ledger.join_member() };
        self.known.insert(peer.clone(), id);
        self.errands.push(Errand::Meet { peer: peer.clone(), id, whole });
        Some(id)
    }

    /// There is no way to a peer that was to be met.
    pub fn no_way(&mut self, id: SourceId, whole: bool) {
        self.ledger.gone(id);
        self.lost(whole);
    }

    /// A source is lost; says whether it was the last of those that have everything.
    pub(super) fn lost(&mut self, whole: bool) -> bool {
        if whole {
            self.wholes = self.wholes.saturating_sub(1);
        }
        whole && self.wholes == 0
    }

    /// A member that has nothing more may have again when somebody else hands out.
    pub(super) fn forget(&mut self, id: SourceId) {
        self.known.retain(|_, known| *known != id);
    }

    /// Those of whom it is known that they fetch the same, and no more.
    pub(super) fn take_heard_of(&mut self) -> HashSet<PeerId> {
        mem::take(&mut self.heard_of)
    }

    /// Whether nobody is left who has everything.
    pub fn is_orphaned(&self) -> bool {
        self.wholes == 0
    }

    /// A source said that others fetch the same from it.
    pub(super) fn noticed(&mut self, now: Instant) {
        if self.together == Together::Perhaps {
            self.together = Together::Asked;
            // What is asked for meanwhile is what all others ask for, too.
            self.ledger.hold(Some(now + config::CUT_WAIT));
            self.ask_own_server(now);
        }
    }

    /// Has it found out whether others could fetch from us, once it is known what to ask for.
    fn ask_own_server(&mut self, now: Instant) {
        if self.together == Together::Asked && self.is_numbered() {
            self.ledger.hold(Some(now + config::OWN_SERVER_WAIT));
            self.errands.push(Errand::AskOwnServer);
        }
    }

    /// Our own server has answered whether it gives away what we receive.
    pub fn is_served(&mut self, served: bool) {
        self.together = if served { Together::Served } else { Together::Never };
        self.ledger.hold(None);
    }

    /// What is to be done now; each is given once.
    pub fn take_errands(&mut self) -> Vec<Errand> {
        mem::take(&mut self.errands)
    }

    /// A round trip to a source takes so long.
    pub fn measured(&mut self, id: SourceId, round_trip: Duration) {
        if let Some(source) = self.ledger.source_mut(id) {
            source.measured(round_trip);
        }
    }
}
