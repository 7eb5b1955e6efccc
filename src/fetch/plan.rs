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
    /// what came from elsewhere it need not hand out, and should somebody be lost, it knows who has
    /// what that one was handed. That everything is on its way does not say that it can be had from
    /// us.
    pub(super) fn to_tell(&self) -> Option<ChunkSet> {
        self.begun().filter(|begun| !begun.is_empty() && !begun.is_full())
    }

    fn begun(&self) -> Option<ChunkSet> {
        let (layout, begin) = self.numbers.as_ref()?;
        let mut begun = ChunkSet::none(layout);
        for unit in self.ledger.begun(*begin) {
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
                // Whoever hands out says what it likes: what is remembered must end somewhere.
                if self.heard_of.len() < config::HANDOUT_NAMES {
                    self.heard_of.insert(peer.clone());
                }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::course::{Advice, Course, Facts, Next, Want};
    use super::super::source::SourceError;
    use super::*;
    use crate::wire::WireError;

    const UNIT: u32 = 16 << 10;

    /// What happens to one source, or to all of them.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        /// It does what its course says, up to where that waits.
        Works,
        /// Its oldest request is answered well; as advice, by the next unit, told to everybody.
        Answers,
        /// … by bytes that are not what they should be.
        Lies,
        /// … by "not yet".
        HasNotYet,
        /// Its connection breaks, and is made anew.
        Breaks,
        /// It is lost.
        Ends,
        /// Another source comes.
        Comes,
        /// So many milliseconds pass.
        Passes(u16),
    }

    /// All sources of a transfer, played by hand.
    struct World {
        plan: Plan,
        courses: Vec<Option<Course>>,
        now: Instant,
        /// What nobody was handed yet.
        unhanded: Vec<u32>,
        /// Units whose bytes are looked at, and how many copies of each.
        looked_at: HashMap<Unit, u8>,
    }

    impl World {
        fn new(units: u32, sources: usize) -> Self {
            let layout = layout(units);
            let all = (0..units).map(|name| NewUnit::of(name, UNIT as usize)).collect();
            let plan = Plan::new(all, Some(layout), Together::Given);
            let (courses, now) = (Vec::new(), Instant::now());
            let unhanded = (0..units).rev().collect();
            let mut world = Self { plan, courses, now, unhanded, looked_at: HashMap::new() };
            (0..sources).for_each(|number| world.comes(number));
            world
        }

        /// Every second one hands out.
        fn comes(&mut self, number: usize) {
            let id = self.plan.join(number > 1);
            let advice = if number.is_multiple_of(2) { Advice::Cutting } else { Advice::Never };
            self.begin(Course::new(id, true, advice, Duration::from_secs(1), self.now));
        }

        fn begin(&mut self, mut course: Course) {
            course.connected(&mut self.plan, None, 0, self.now);
            self.courses.push(Some(course));
        }

        fn next(&mut self, at: usize) -> Option<Next> {
            let facts = Facts { keeps_up: &|_| true, talks: false, over: false };
            let next = self.courses[at].as_mut()?.next(&mut self.plan, &facts, self.now);
            Some(next)
        }

        fn works(&mut self, at: usize) {
            for _ in 0..100 {
                match self.next(at) {
                    Some(Next::Ask(Want::Cut)) => {
                        self.courses[at].as_mut().unwrap().unsent(&mut self.plan);
                    }
                    Some(Next::Ask(_)) => {}
                    _ => return,
                }
            }
            panic!("it asks without an end");
        }

        /// The members that were told of become sources.
        fn run_errands(&mut self) {
            for errand in self.plan.take_errands() {
                if let Errand::Meet { id, .. } = errand {
                    let member =
                        Course::new(id, false, Advice::Never, Duration::from_secs(1), self.now);
                    self.begin(member);
                }
            }
        }

        fn answers(&mut self, at: usize, well: bool, peer: &str) {
            let Some(Next::Read(want)) = self.next(at) else { return };
            let (plan, now) = (&mut self.plan, self.now);
            let Some(course) = &mut self.courses[at] else { return };
            match want {
                Want::Unit(unit) => {
                    if course.came(plan, now) {
                        *self.looked_at.entry(unit).or_default() += 1;
                        self.proves(unit, well);
                    }
                }
                Want::Advice { unit, .. } => {
                    let numbers = layout(plan.ledger.lacks().1 as u32);
                    let mut handed = Handed::default();
                    if unit {
                        handed.unit = self.unhanded.pop().and_then(|own| numbers.index(own));
                    }
                    let another = self.unhanded.pop().and_then(|other| numbers.index(other));
                    handed.others.extend(another.map(|other| (peer.parse().unwrap(), vec![other])));
                    handed.all = self.unhanded.is_empty();
                    // One that gets on with nothing is lost; that is tried elsewhere.
                    let own = course.handed(plan, &handed, 0, now).ok().flatten();
                    if let Some(own) = own
                        && course.claimed(plan, own, now)
                    {
                        *self.looked_at.entry(own).or_default() += 1;
                        self.proves(own, well);
                    }
                }
                Want::Has => {
                    let numbers = layout(plan.ledger.lacks().1 as u32);
                    let _ = course.has(plan, &ChunkSet::none(&numbers), now);
                }
                Want::Cut | Want::Talk => {}
            }
            self.run_errands();
        }

        fn proves(&mut self, unit: Unit, well: bool) {
            *self.looked_at.entry(unit).or_insert(1) -= 1;
            match well {
                true => {
                    self.plan.ledger.complete(unit);
                }
                false => self.plan.ledger.give_back(unit),
            }
        }

        fn happens(&mut self, number: usize, what: Happens) {
            let at = number % self.courses.len();
            let broken = SourceError::Lost(WireError::Closed);
            match what {
                Happens::Works => self.works(at),
                Happens::Answers => self.answers(at, true, &format!("m{}", number % 3)),
                Happens::Lies => self.answers(at, false, "m0"),
                Happens::HasNotYet => {
                    if let Some(Next::Read(Want::Unit(_))) = self.next(at)
                        && let Some(course) = &mut self.courses[at]
                    {
                        let _ = course.not_yet(&mut self.plan, 0, self.now);
                    }
                }
                Happens::Breaks => {
                    if let Some(course) = &mut self.courses[at] {
                        course.failed(&mut self.plan, &broken);
                        course.connected(&mut self.plan, None, 0, self.now);
                    }
                }
                Happens::Ends => {
                    if let Some(mut course) = self.courses[at].take() {
                        course.failed(&mut self.plan, &broken);
                        course.lost(&mut self.plan, &broken);
                        self.plan.lost(course.is_whole());
                    }
                }
                Happens::Comes => self.comes(number),
                Happens::Passes(time) => self.now += Duration::from_millis(time.into()),
            }
            self.plan.ledger.check(&self.looked_at);
        }
    }

    fn layout(units: u32) -> ChunkLayout {
        ChunkLayout::new(u64::from(units) * u64::from(UNIT), UNIT).unwrap()
    }

    fn any_event() -> impl Strategy<Value = Happens> {
        prop_oneof![
            6 => Just(Happens::Works),
            6 => Just(Happens::Answers),
            1 => Just(Happens::Lies),
            1 => Just(Happens::HasNotYet),
            1 => Just(Happens::Breaks),
            1 => Just(Happens::Ends),
            1 => Just(Happens::Comes),
            2 => (0..4000_u16).prop_map(Happens::Passes),
        ]
    }

    proptest! {
        /// Whatever happens, a unit is in exactly one state and nowhere asked of a third; and one
        /// source that then gives everything ends the transfer.
        #[test]
        fn every_unit_is_in_one_state_and_the_transfer_ends(
            units in 1..40_u32,
            sources in 1..4_usize,
            events in proptest::collection::vec((0..16_usize, any_event()), 0..200),
        ) {
            let mut world = World::new(units, sources);
            for (number, what) in events {
                world.happens(number, what);
            }
            let honest = world.courses.len();
            world.comes(1);
            (0..honest).for_each(|other| world.happens(other, Happens::Ends));
            for _ in 0..10 * units {
                world.now += config::AHEAD_PATIENCE + Duration::from_secs(4);
                world.happens(honest, Happens::Works);
                world.happens(honest, Happens::Answers);
                if world.plan.ledger.is_complete() {
                    return Ok(());
                }
            }
            prop_assert!(world.plan.ledger.is_complete(), "{:?} are left", world.plan.ledger.lacks());
        }
    }
}
