//! What one source is to a transfer, and what to ask it next: pure, told `now`.
//!
//! A source that has everything answers requests for units. It may also be an *adviser*: one that
//! hands every unit out to one of several peers first, and says who has the others. A download does
//! not know at first:
//!
//! ```text
//!            others fetch the same         they can fetch from us     (a folder: it has the units)
//!   Alone ───────────────────────▶ Asking ──────────────────▶ Cutting ───────────▶ Taking
//!     ▲                               │ they cannot              │ other units       │ all is
//!     │ its connection                ▼                          ▼                   │ handed out
//!     └─────────────────────────── Never ◀───────────────────────┴───────────────────┤
//!       broke once                    ▲                     it fails at handing out  ▼
//!                                     └───────────────────────────────────────────  Over
//! ```
//!
//! In all of these but `Taking` it is asked for units as any other. Targets of an upload begin with
//! `Cutting`. A source that is a *member* has what it was handed; it is asked for that. When nobody
//! is left who has everything, members are *orphans*: nobody tells any more who has what, so they
//! are asked what they have, until that was nothing new for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::exchange::Exchange;
use super::ledger::{Grant, SourceId, Unit};
use super::plan::{Plan, Together};
use super::source::{Handed, SourceError};
use crate::config;
use crate::content::ChunkSet;

/// How far a source is with advice. See the drawing above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// It gives none, or we may not take it.
    Never,
    /// It has not said that others fetch the same.
    Alone,
    /// It is being found out whether others could fetch from us.
    Asking,
    /// It is being found out whether it has the same units.
    Cutting,
    /// It hands units out.
    Taking,
    /// All are handed out.
    Over,
}

/// A request to a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Want {
    /// A unit.
    Unit(Unit),
    /// Advice: who has what, and with `unit` one that was handed to nobody yet.
    Advice {
        /// How much of what it told is known.
        seen: u64,
        /// Whether a unit is wanted, or only the news.
        unit: bool,
    },
    /// Which units it has.
    Has,
    /// Which units it cuts the same files into.
    Cut,
    /// What the job wants to know of it.
    Talk,
}

/// What to do next with a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send this request.
    Ask(Want),
    /// Read the answer to the oldest one.
    Read(Want),
    /// Wait until something changed, or so long.
    Wait(Duration),
    /// Nothing is left to do.
    Complete,
}

/// What a course must know of the rest.
pub struct Facts<'f> {
    /// Whether our own units reach our readers about as fast as we receive them, where so many more
    /// than usual may be on their way.
    pub keeps_up: &'f dyn Fn(u32) -> bool,
    /// Whether the job wants to know something of this source.
    pub talks: bool,
    /// Nothing more is wanted; what is under way is still to be read.
    pub over: bool,
}

/// One source's part in a transfer.
pub struct Course {
    /// What it is in the ledger.
    pub id: SourceId,
    whole: bool,
    advice: Advice,
    asked: Asked,
    /// Requests without an answer, oldest first.
    queue: VecDeque<Want>,
    /// Whether its connection broke since it first gave advice.
    rejoined: bool,
    /// What is known of it while it is in use.
    exchange: Exchange,
    idling: Duration,
}

impl Course {
    /// A source that has everything, or only what it is handed. `advice` is `Cutting` for one that
    /// says that it hands out, `Alone` where that may turn out.
    pub fn new(id: SourceId, whole: bool, advice: Advice, idling: Duration, now: Instant) -> Self {
        let exchange = Exchange::new(idling, 0, now);
        let (asked, queue) = (Asked::default(), VecDeque::new());
        Self { id, whole, advice, asked, queue, rejoined: false, exchange, idling }
    }

    /// Whether it has everything.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether it is one of several that fetch together.
    pub fn is_together(&self) -> bool {
        !self.whole || matches!(self.advice, Advice::Taking | Advice::Over)
    }

    /// How far it is with advice.
    pub fn advice(&self) -> Advice {
        self.advice
    }

    /// It is connected to, with no request under way.
    pub fn connected(&mut self, plan: &mut Plan, way: Option<Duration>, done: u64, now: Instant) {
        plan.ledger.rejoin(self.id);
        if let Some(round_trip) = way {
            plan.measured(self.id, round_trip);
        }
        self.asked = Asked::over(way.unwrap_or_default());
        self.exchange = Exchange::new(self.idling, done, now);
        self.queue.clear();
        if matches!(self.advice, Advice::Taking | Advice::Over) {
            self.advice = Advice::Cutting;
        }
    }

    /// What to do next.
    pub fn next(&mut self, plan: &mut Plan, facts: &Facts<'_>, now: Instant) -> Next {
        if facts.over || plan.ledger.is_complete() {
            return self.read_or(Next::Complete);
        }
        if facts.talks && !self.queue.contains(&Want::Talk) {
            return self.ask(Want::Talk);
        }
        match (self.advice, plan.together) {
            (Advice::Asking, Together::Served) => self.advice = Advice::Cutting,
            (Advice::Asking, Together::Never) => self.advice = Advice::Never,
            _ => {}
        }
        if self.advice == Advice::Cutting && plan.is_numbered() && !self.queue.contains(&Want::Cut)
        {
            return self.ask(Want::Cut);
        }
        match self.advice {
            Advice::Taking => self.next_advice(facts, now),
            // What is asked for meanwhile is what all others ask for, too.
            Advice::Cutting if plan.is_numbered() => self.read_or(Next::Wait(config::IDLE_POLL)),
            _ => self.next_unit(plan, now),
        }
    }

    /// Keeps requests under way: for units while we are not too far ahead of our readers, else for
    /// the news now and then.
    fn next_advice(&mut self, facts: &Facts<'_>, now: Instant) -> Next {
        let unit = self.asked.wants_unit((facts.keeps_up)(self.asked.slack()), now);
        if unit || self.asked.wants_news(now) {
            let seen = self.asked.seen();
            self.asked.sent(unit, now);
            return self.ask(Want::Advice { seen, unit });
        }
        self.read_or(Next::Wait(config::IDLE_POLL))
    }

    fn next_unit(&mut self, plan: &mut Plan, now: Instant) -> Next {
        match plan.ledger.lease(self.id, now) {
            Grant::Unit(unit) => self.ask(Want::Unit(unit)),
            Grant::Complete => self.read_or(Next::Complete),
            Grant::Nothing if !self.queue.is_empty() => self.read_or(Next::Complete),
            Grant::Nothing if !self.whole && plan.is_orphaned() => match self.exchange.looked {
                Some(looked) if now.saturating_duration_since(looked) < config::ORPHANS_LOOK => {
                    Next::Wait(config::ORPHANS_LOOK)
                }
                _ => self.ask(Want::Has),
            },
            Grant::Nothing => Next::Wait(config::IDLE_POLL),
        }
    }

    fn ask(&mut self, want: Want) -> Next {
        self.queue.push_back(want.clone());
        Next::Ask(want)
    }

    fn read_or(&self, otherwise: Next) -> Next {
        self.queue.front().map_or(otherwise, |want| Next::Read(want.clone()))
    }

    /// The request that was asked for last turned out to be of no use, and was not sent.
    pub fn unsent(&mut self, plan: &mut Plan) {
        match self.queue.pop_back() {
            Some(Want::Unit(unit)) => plan.ledger.unlease(self.id, unit),
            // A file needs no cutting.
            Some(Want::Cut) => self.advice = Advice::Taking,
            _ => {}
        }
    }

    /// The oldest request is answered by a unit, not yet verified. Says whether it is still wanted.
    pub fn came(&mut self, plan: &mut Plan, now: Instant) -> bool {
        self.queue.pop_front();
        self.exchange.came(now);
        plan.ledger.arrived(self.id, now)
    }

    /// With a unit, or before: others fetch the same from it.
    pub fn is_shared(&mut self, plan: &mut Plan, now: Instant) {
        if self.advice == Advice::Alone {
            plan.noticed(now);
            self.advice = Advice::Asking;
        }
    }

    /// The source does not have a unit that it was asked for, while the whole transfer has `done`
    /// bytes. An error when it never will.
    pub fn not_yet(&mut self, plan: &mut Plan, done: u64, now: Instant) -> Result<(), SourceError> {
        self.queue.pop_front();
        if self.whole || !plan.is_orphaned() {
            plan.ledger.not_yet(self.id);
            // As long as anything comes from anybody, it may be waiting for the same.
            return self.exchange.still_waits(done, now);
        }
        plan.ledger.never(self.id);
        // One that says what it has must not go back on it.
        if self.exchange.looked.is_some() { Err(SourceError::NotYet) } else { Ok(()) }
    }

    /// The source handed out. Gives the unit that is ours, whose bytes follow. An error when it
    /// gets on with nothing.
    pub fn handed(
        &mut self,
        plan: &mut Plan,
        handed: &Handed,
        done: u64,
        now: Instant,
    ) -> Result<Option<Unit>, SourceError> {
        self.queue.pop_front();
        self.asked.answered(handed.seen, handed.all, now);
        if handed.unit.is_none() {
            self.exchange.still_waits(done, now)?;
        }
        let unit = plan.handed(handed, now);
        if self.asked.is_over() {
            self.advice = Advice::Over;
        }
        Ok(unit)
    }

    /// The bytes of that unit are here. Says whether they are wanted.
    pub fn claimed(&mut self, plan: &mut Plan, unit: Unit, now: Instant) -> bool {
        plan.ledger.claim(self.id, unit, now)
    }

    /// It has cut the files, into the same units or not.
    pub fn has_cut(&mut self, same: bool) {
        self.queue.pop_front();
        self.advice = if same { Advice::Taking } else { Advice::Never };
    }

    /// The job has what it wanted to know.
    pub fn talked(&mut self) {
        self.queue.pop_front();
    }

    /// A fellow orphan said what it has. An error when that was nothing new for too long.
    pub fn has(
        &mut self,
        plan: &mut Plan,
        set: &ChunkSet,
        now: Instant,
    ) -> Result<(), SourceError> {
        self.queue.pop_front();
        self.exchange.looked = Some(now);
        let useful = plan.has(self.id, set);
        if useful || set.len() > self.exchange.known {
            self.exchange.came(now);
        }
        self.exchange.known = set.len();
        let quiet = now.saturating_duration_since(self.exchange.news);
        if quiet >= config::ORPHANED { Err(SourceError::NotServing) } else { Ok(()) }
    }

    /// Its connection is lost, or of no use. Says whether it failed only at handing out, and is
    /// worth asking at once as one that does not.
    pub fn failed(&mut self, plan: &mut Plan, error: &SourceError) -> bool {
        self.queue.clear();
        plan.ledger.leave(self.id);
        let advised = matches!(self.advice, Advice::Taking | Advice::Cutting);
        if !self.whole || !advised || error.is_integrity() || plan.together == Together::Given {
            return false;
        }
        let passing = error.is_passing()
            && !matches!(error, SourceError::Stalled | SourceError::Trickles | SourceError::NotYet);
        // One that was started anew may hand out again; one that always leaves when asked to does
        // not.
        let again = passing && !std::mem::replace(&mut self.rejoined, true);
        self.advice = if again { Advice::Alone } else { Advice::Never };
        !passing
    }

    /// It is lost for good.
    pub fn lost(&mut self, plan: &mut Plan, error: &SourceError) {
        if !self.whole && plan.is_orphaned() && matches!(error, SourceError::NotServing) {
            plan.forget(self.id);
        }
        plan.ledger.gone(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::NewUnit;
    use super::super::plan::Errand;
    use super::*;
    use crate::content::ChunkLayout;
    use crate::topology::PeerId;

    const UNIT: u32 = 16 << 10;

    /// A plan of so many units and a course with that advice, connected to.
    fn begun(units: u32, together: Together, advice: Advice) -> (Plan, Course, Instant) {
        let layout = ChunkLayout::new(u64::from(units) * u64::from(UNIT), UNIT).unwrap();
        let all = (0..units).map(|name| NewUnit::of(name, UNIT as usize)).collect();
        let mut plan = Plan::new(all, Some(layout), together);
        let now = Instant::now();
        let id = plan.join(false);
        let mut course = Course::new(id, true, advice, Duration::from_secs(1), now);
        course.connected(&mut plan, None, 0, now);
        (plan, course, now)
    }

    fn next(course: &mut Course, plan: &mut Plan, now: Instant) -> Next {
        let facts = Facts { keeps_up: &|_| true, talks: false, over: false };
        course.next(plan, &facts, now)
    }

    /// Sends all that there is to send; says how many requests that were.
    fn send_all(course: &mut Course, plan: &mut Plan, now: Instant) -> usize {
        let mut sent = 0;
        while let Next::Ask(want) = next(course, plan, now) {
            if want == Want::Cut {
                course.unsent(plan);
            } else {
                sent += 1;
            }
        }
        sent
    }

    fn all_handed(seen: u64) -> Handed {
        Handed { seen, all: true, ..Handed::default() }
    }

    fn broken() -> SourceError {
        SourceError::Lost(crate::wire::WireError::Closed)
    }

    #[test]
    fn from_alone_to_asking_when_others_fetch_the_same_and_nothing_is_asked_meanwhile() {
        let (mut plan, mut course, now) = begun(9, Together::Perhaps, Advice::Alone);
        course.is_shared(&mut plan, now);
        assert_eq!(course.advice(), Advice::Asking);
        assert_eq!(plan.take_errands(), [Errand::AskOwnServer]);
        assert_eq!(send_all(&mut course, &mut plan, now), 0);
        let later = now + config::OWN_SERVER_WAIT;
        assert!(send_all(&mut course, &mut plan, later) > 0, "a server that says nothing");
    }

    #[test]
    fn from_asking_to_taking_when_others_can_fetch_from_us_and_to_never_when_they_cannot() {
        for served in [true, false] {
            let (mut plan, mut course, now) = begun(9, Together::Perhaps, Advice::Alone);
            course.is_shared(&mut plan, now);
            plan.is_served(served);
            assert!(send_all(&mut course, &mut plan, now) > 0);
            let after = if served { Advice::Taking } else { Advice::Never };
            assert_eq!(course.advice(), after);
            course.is_shared(&mut plan, now);
            assert_eq!(course.advice(), after, "it is found out once");
        }
    }

    #[test]
    fn from_cutting_to_taking_or_never_by_what_the_source_cuts() {
        for same in [true, false] {
            let (mut plan, mut course, now) = begun(9, Together::Given, Advice::Cutting);
            assert_eq!(next(&mut course, &mut plan, now), Next::Ask(Want::Cut));
            assert_eq!(next(&mut course, &mut plan, now), Next::Read(Want::Cut));
            course.has_cut(same);
            assert_eq!(course.advice(), if same { Advice::Taking } else { Advice::Never });
        }
    }

    #[test]
    fn from_taking_to_over_when_all_is_handed_out_and_then_it_is_asked_for_what_is_missing() {
        let (mut plan, mut course, now) = begun(9, Together::Given, Advice::Cutting);
        let asked = send_all(&mut course, &mut plan, now);
        assert_eq!(asked, config::HANDED_AT_ONCE);
        for _ in 0..asked {
            assert!(matches!(next(&mut course, &mut plan, now), Next::Read(Want::Advice { .. })));
            course.handed(&mut plan, &all_handed(3), 0, now).unwrap();
        }
        assert_eq!(course.advice(), Advice::Over);
        assert!(matches!(next(&mut course, &mut plan, now), Next::Ask(Want::Unit(_))));
    }

    #[test]
    fn one_that_fails_at_handing_out_is_asked_for_everything_at_once_and_given_up_is_nobody() {
        let refused = || SourceError::NotServing;
        let cases = [(Together::Served, true), (Together::Given, false)];
        for (together, parts) in cases {
            let (mut plan, mut course, now) = begun(9, together, Advice::Cutting);
            send_all(&mut course, &mut plan, now);
            assert_eq!(course.failed(&mut plan, &refused()), parts);
            if parts {
                assert_eq!(course.advice(), Advice::Never);
            }
        }
    }

    #[test]
    fn one_whose_connection_breaks_may_hand_out_again_once() {
        let (mut plan, mut course, now) = begun(9, Together::Served, Advice::Cutting);
        for after in [Advice::Alone, Advice::Never] {
            send_all(&mut course, &mut plan, now);
            assert!(!course.failed(&mut plan, &broken()));
            assert_eq!(course.advice(), after);
            course.connected(&mut plan, None, 0, now);
            course.is_shared(&mut plan, now);
            if after == Advice::Alone {
                assert_eq!(course.advice(), Advice::Asking);
            }
        }
    }

    #[test]
    fn a_connection_that_is_made_anew_takes_advice_from_the_beginning() {
        let (mut plan, mut course, now) = begun(9, Together::Given, Advice::Cutting);
        send_all(&mut course, &mut plan, now);
        assert_eq!(course.advice(), Advice::Taking);
        assert!(!course.failed(&mut plan, &broken()));
        course.connected(&mut plan, None, 0, now);
        assert_eq!(course.advice(), Advice::Cutting);
        assert!(send_all(&mut course, &mut plan, now) > 0);
    }

    #[test]
    fn an_orphan_is_asked_what_it_has_until_that_is_nothing_new_for_a_while() {
        let (mut plan, mut course, now) = begun(2, Together::Given, Advice::Cutting);
        let other: PeerId = "other".parse().unwrap();
        let id = plan.meet(&other, false).unwrap();
        let mut member = Course::new(id, false, Advice::Never, Duration::from_secs(1), now);
        member.connected(&mut plan, None, 0, now);
        assert!(matches!(next(&mut member, &mut plan, now), Next::Wait(_)));
        course.lost(&mut plan, &broken());
        plan.lost(true);
        let layout = ChunkLayout::new(2 * u64::from(UNIT), UNIT).unwrap();
        assert_eq!(next(&mut member, &mut plan, now), Next::Ask(Want::Has));
        let mut has = ChunkSet::none(&layout);
        has.insert(layout.index(1).unwrap());
        member.has(&mut plan, &has, now).unwrap();
        let Next::Ask(Want::Unit(unit)) = next(&mut member, &mut plan, now) else { panic!() };
        assert_eq!(unit.get(), 1);
        assert!(member.came(&mut plan, now) && plan.ledger.complete(unit));
        let late = now + config::ORPHANED;
        assert_eq!(next(&mut member, &mut plan, late), Next::Ask(Want::Has));
        assert!(matches!(member.has(&mut plan, &has, late), Err(SourceError::NotServing)));
    }

    #[test]
    fn what_is_under_way_is_read_to_the_end_when_all_is_over() {
        let (mut plan, mut course, now) = begun(9, Together::Never, Advice::Never);
        let asked = send_all(&mut course, &mut plan, now);
        let facts = Facts { keeps_up: &|_| true, talks: true, over: true };
        for _ in 0..asked {
            assert!(matches!(course.next(&mut plan, &facts, now), Next::Read(Want::Unit(_))));
            course.came(&mut plan, now);
        }
        assert_eq!(course.next(&mut plan, &facts, now), Next::Complete);
    }
}
