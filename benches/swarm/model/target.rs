//! A target: its workers, one a connection. What they do is decided by [`Plan`] and [`Course`],
//! which the engine runs as well; here is only what its threads do with that.

use std::collections::{BTreeMap, HashMap};

use peershare::config;
use peershare::content::{ChunkIndex, ChunkLayout, ChunkSet};
use peershare::fetch::course::{Advice, Course, Facts, Next, Want};
use peershare::fetch::ledger::{NewUnit, SourceId, Unit};
use peershare::fetch::plan::{Errand, Plan, Together};
use peershare::fetch::source::Handed;
use peershare::store::deliveries::Deliveries;

use super::network::LATENCY;
use super::{Answer, Happens, ORIGIN, Request, Simulation, nanos};

/// Round trips until a connection is open: TCP's, and that of the greetings.
const DIALLING: u64 = 2;

/// One target.
pub(super) struct Target {
    pub(super) name: String,
    plan: Plan,
    have: ChunkSet,
    pub(super) deliveries: Deliveries,
    /// Its connections, by whom they lead to.
    connections: BTreeMap<usize, usize>,
    /// Connections whose session waits for a chunk.
    waiting: HashMap<ChunkIndex, Vec<usize>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fetches,
    Complete,
    Lost,
}

/// The worker of one connection.
#[derive(Default)]
pub(super) struct Worker {
    course: Option<Course>,
    doing: Doing,
    /// A unit that was handed to us and whose bytes follow.
    handed: Option<Unit>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Doing {
    #[default]
    Dials,
    /// Awaits the answer to its oldest request.
    Awaits,
    /// Has nothing to do.
    Idles,
    Over,
}

impl Target {
    pub(super) fn new(number: usize, layout: &ChunkLayout) -> Self {
        let units = layout
            .indices()
            .map(|index| NewUnit::of(index.get(), layout.chunk_len(index)))
            .collect();
        Self {
            name: number.to_string(),
            plan: Plan::new(units, Some(*layout), Together::Given),
            have: ChunkSet::none(layout),
            deliveries: Deliveries::default(),
            connections: BTreeMap::new(),
            waiting: HashMap::new(),
            state: State::Fetches,
        }
    }

    /// How many peers it fetched from.
    pub(super) fn sources(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn has(&self, index: ChunkIndex) -> bool {
        self.have.contains(index)
    }

    pub(super) fn waits_for(&mut self, index: ChunkIndex, at: usize) {
        self.waiting.entry(index).or_default().push(at);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    pub(super) fn is_over(&self) -> bool {
        self.state != State::Fetches
    }

    pub(super) fn give_up(&mut self) {
        self.state = State::Lost;
    }
}

impl Simulation {
    /// The origin connects to a target, which accepts.
    pub(super) fn offer_to(&mut self, target: usize) {
        let at = self.connect(target, ORIGIN);
        let id = self.targets[target].plan.join(false);
        self.employ(at, (id, true));
        self.clock.after(0, Happens::Dialled(at));
    }

    fn employ(&mut self, at: usize, (id, whole): (SourceId, bool)) {
        let (client, server) = (self.connections[at].client, self.connections[at].server);
        let advice = if whole { Advice::Cutting } else { Advice::Never };
        let course = Course::new(id, whole, advice, config::IDLING, self.now());
        self.connections[at].worker.course = Some(course);
        self.targets[client].connections.insert(server, at);
    }

    /// A worker may begin.
    pub(super) fn dialled(&mut self, at: usize) {
        let (client, server) = (self.connections[at].client, self.connections[at].server);
        if self.targets[client].is_over() {
            return;
        }
        if self.targets[server].is_lost() {
            return self.lost(at);
        }
        let (now, plan) = (self.now(), &mut self.targets[client].plan);
        let way = std::time::Duration::from_nanos(2 * LATENCY);
        if let Some(course) = &mut self.connections[at].worker.course {
            course.connected(plan, Some(way), 0, now);
        }
        self.work(at);
    }

    /// The source cannot be reached, or not any more.
    pub(super) fn lost(&mut self, at: usize) {
        let client = self.connections[at].client;
        if self.targets[client].is_over() {
            return;
        }
        let worker = &mut self.connections[at].worker;
        worker.doing = Doing::Over;
        if let Some(course) = &worker.course {
            self.targets[client].plan.no_way(course.id, course.is_whole());
        }
        self.hang_up(at);
        self.wake_all(client);
    }

    /// Does what the course says, up to where that waits.
    fn work(&mut self, at: usize) {
        let (client, now) = (self.connections[at].client, self.now());
        loop {
            let target = &mut self.targets[client];
            let worker = &mut self.connections[at].worker;
            let Some(course) = &mut worker.course else { return };
            let keeps_up = |slack| target.deliveries.keeps_up(slack);
            let facts = Facts { keeps_up: &keeps_up, talks: false, over: false };
            match course.next(&mut target.plan, &facts, now) {
                Next::Ask(want) => {
                    let request = match want {
                        Want::Unit(unit) => index(&self.scenario.layout, unit).map(Request::Read),
                        Want::Advice { seen, unit } => Some(Request::Next { seen, want: unit }),
                        _ => None,
                    };
                    match request {
                        Some(request) => self.clock.after(LATENCY, Happens::Asked(at, request)),
                        None => course.unsent(&mut target.plan),
                    }
                }
                Next::Read(_) => return worker.doing = Doing::Awaits,
                Next::Wait(time) => {
                    worker.doing = Doing::Idles;
                    // A member's worker is woken by what others are handed; time alone makes work
                    // for none but this.
                    if self.connections[at].server == ORIGIN {
                        self.clock.after(nanos(time), Happens::Polls(at));
                    }
                    return;
                }
                Next::Complete => return worker.doing = Doing::Over,
            }
        }
    }

    /// A worker that waited for news, or for something to do.
    pub(super) fn polls(&mut self, at: usize) {
        let client = self.connections[at].client;
        if !self.targets[client].is_over() && self.connections[at].worker.doing == Doing::Idles {
            self.work(at);
        }
    }

    fn wake_all(&mut self, client: usize) {
        let all: Vec<usize> = self.targets[client].connections.values().copied().collect();
        all.into_iter().for_each(|at| self.polls(at));
    }

    /// The answer to the oldest request of a connection has come.
    pub(super) fn answered(&mut self, at: usize, answer: Answer) {
        let (client, now) = (self.connections[at].client, self.now());
        if self.targets[client].is_over() {
            return;
        }
        let (target, worker) = (&mut self.targets[client], &mut self.connections[at].worker);
        let Some(course) = &mut worker.course else { return };
        match answer {
            Answer::Handed { chunk, others, seen, all } => {
                let told: Vec<usize> = others.iter().map(|(member, _)| *member).collect();
                let name = |member: usize| member.to_string().parse().unwrap();
                let others =
                    others.into_iter().map(|(member, chunks)| (name(member), chunks)).collect();
                let handed = Handed { unit: chunk, others, seen, all, ..Handed::default() };
                worker.handed = course.handed(&mut target.plan, &handed, 0, now).unwrap();
                let waits = worker.handed.is_some();
                self.run_errands(client);
                for member in told {
                    let known = self.targets[client].connections.get(&member).copied();
                    known.into_iter().for_each(|member| self.polls(member));
                }
                if !waits {
                    self.work(at);
                }
            }
            Answer::Payload(index) => {
                let unit = worker.handed.take();
                let wanted = unit.is_some_and(|unit| course.claimed(&mut target.plan, unit, now));
                self.keep(client, index, unit, (wanted, true));
                self.work(at);
            }
            Answer::Chunk(index) => {
                let unit = target.plan.ledger.oldest(course.id);
                let wanted = course.came(&mut target.plan, now);
                self.keep(client, index, unit, (wanted, false));
                self.work(at);
            }
            Answer::NotYet => {
                course.not_yet(&mut target.plan, 0, now).unwrap();
                self.work(at);
            }
        }
    }

    fn run_errands(&mut self, client: usize) {
        for errand in self.targets[client].plan.take_errands() {
            let Errand::Meet { peer, id, whole } = errand else { continue };
            let member: usize = peer.as_str().parse().unwrap();
            let at = self.connect(client, member);
            self.employ(at, (id, whole));
            match (self.scenario.reach)(client, member) {
                true => self.clock.after(2 * LATENCY * DIALLING, Happens::Dialled(at)),
                false => self.clock.after(nanos(config::CONNECT_TIMEOUT), Happens::Lost(at)),
            }
        }
    }

    /// A chunk is here. Verifying and writing take no time.
    fn keep(
        &mut self,
        client: usize,
        index: ChunkIndex,
        unit: Option<Unit>,
        (wanted, own): (bool, bool),
    ) {
        let target = &mut self.targets[client];
        let Some(unit) = unit.filter(|_| wanted) else {
            self.report.twice += 1;
            return;
        };
        if own {
            target.deliveries.own(&self.scenario.layout, index);
        }
        target.have.insert(index);
        self.report.twice += u64::from(!target.plan.ledger.complete(unit));
        let complete = target.plan.ledger.is_complete();
        for reader in target.waiting.remove(&index).unwrap_or_default() {
            self.come(reader, index);
        }
        if complete {
            self.complete(client);
        }
    }

    /// A target has the file, and fetches no more.
    fn complete(&mut self, client: usize) {
        self.targets[client].state = State::Complete;
        self.report.done[client] = Some(self.clock.now);
        self.unfinished -= 1;
        let connections: Vec<usize> = self.targets[client].connections.values().copied().collect();
        for at in connections {
            self.connections[at].worker.doing = Doing::Over;
            self.hang_up(at);
        }
    }
}

fn index(layout: &ChunkLayout, unit: Unit) -> Option<ChunkIndex> {
    layout.index(unit.get())
}
