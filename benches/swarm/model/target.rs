//! A target: its workers, one a connection, as `fetch/worker.rs` and `fetch/swarm.rs` have them.

use std::collections::{BTreeMap, HashMap};

use peershare::config;
use peershare::content::{ChunkIndex, ChunkLayout, ChunkSet};
use peershare::fetch::asked::Asked;
use peershare::fetch::ledger::{Grant, Ledger, SourceId};
use peershare::store::deliveries::Deliveries;

use super::network::LATENCY;
use super::{Answer, Happens, ORIGIN, Request, Simulation, nanos};

/// Round trips until a connection is open: TCP's, and that of the greetings.
const DIALLING: u64 = 2;

/// One target.
pub(super) struct Target {
    pub(super) name: String,
    ledger: Ledger,
    have: ChunkSet,
    pub(super) deliveries: Deliveries,
    asked: Asked,
    /// Everything is handed out, and told.
    all: bool,
    /// Its connections, by whom they lead to.
    members: BTreeMap<usize, usize>,
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
    source: Option<SourceId>,
    doing: Doing,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Doing {
    #[default]
    Dials,
    /// Asks the origin for chunks and news.
    TakesPart,
    /// Awaits the answer to its oldest request.
    Awaits,
    /// Has nothing to do.
    Idles,
    Over,
}

impl Target {
    pub(super) fn new(number: usize, layout: &ChunkLayout) -> Self {
        Self {
            name: number.to_string(),
            ledger: Ledger::new(layout, &ChunkSet::none(layout)),
            have: ChunkSet::none(layout),
            deliveries: Deliveries::default(),
            asked: Asked::default(),
            all: false,
            members: BTreeMap::new(),
            waiting: HashMap::new(),
            state: State::Fetches,
        }
    }

    /// How many peers it fetched from.
    pub(super) fn sources(&self) -> usize {
        self.members.len()
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
        self.connections[at].worker.source = Some(self.targets[target].ledger.join());
        self.targets[target].members.insert(ORIGIN, at);
        self.clock.after(0, Happens::Dialled(at));
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
        if let Some(source) = self.connections[at].worker.source {
            self.targets[client].ledger.rejoin(source);
        }
        if server == ORIGIN {
            self.connections[at].worker.doing = Doing::TakesPart;
            self.take_part(at);
        } else {
            self.work(at);
        }
    }

    /// The source cannot be reached, or not any more.
    pub(super) fn lost(&mut self, at: usize) {
        let client = self.connections[at].client;
        if self.targets[client].is_over() {
            return;
        }
        self.connections[at].worker.doing = Doing::Over;
        if let Some(source) = self.connections[at].worker.source {
            self.targets[client].ledger.leave(source);
        }
        self.hang_up(at);
    }

    /// As `Worker::take_part`, up to where that waits.
    fn take_part(&mut self, at: usize) {
        let (client, now) = (self.connections[at].client, self.now());
        let target = &self.targets[client];
        if target.all && target.asked.is_idle() {
            return self.work(at);
        }
        if target.all {
            return;
        }
        while self.targets[client]
            .asked
            .wants_chunk(self.targets[client].deliveries.keeps_up(), now)
        {
            self.ask_next(at, true);
        }
        if self.targets[client].asked.is_idle() {
            self.clock.after(nanos(config::IDLE_POLL), Happens::Polls(at));
        }
    }

    fn ask_next(&mut self, at: usize, want: bool) {
        let now = self.now();
        let asked = &mut self.targets[self.connections[at].client].asked;
        let seen = asked.seen();
        asked.sent(want, now);
        self.clock.after(LATENCY, Happens::Asked(at, Request::Next { seen, want }));
    }

    /// A worker that waited for news, or for something to do.
    pub(super) fn polls(&mut self, at: usize) {
        if self.targets[self.connections[at].client].is_over() {
            return;
        }
        match self.connections[at].worker.doing {
            Doing::TakesPart => self.ask_next(at, false),
            Doing::Idles => self.work(at),
            _ => {}
        }
    }

    /// Sends requests as long as the ledger grants them, as `Worker::drain` does.
    fn work(&mut self, at: usize) {
        let (client, server, now) =
            (self.connections[at].client, self.connections[at].server, self.now());
        let Some(source) = self.connections[at].worker.source else { return };
        let ledger = &mut self.targets[client].ledger;
        while let Grant::Chunk(index) = ledger.lease(source, now) {
            self.clock.after(LATENCY, Happens::Asked(at, Request::Read(index)));
        }
        let awaits = ledger.oldest(source).is_some();
        self.connections[at].worker.doing = if awaits { Doing::Awaits } else { Doing::Idles };
        // A member's worker is woken by what others are handed; time alone makes work for none but
        // this.
        if !awaits && server == ORIGIN {
            self.clock.after(nanos(config::IDLE_POLL), Happens::Polls(at));
        }
    }

    /// The answer to the oldest request of a connection has come.
    pub(super) fn answered(&mut self, at: usize, answer: Answer) {
        let (client, now) = (self.connections[at].client, self.now());
        let worker = &self.connections[at].worker;
        let (Some(source), false) = (worker.source, self.targets[client].is_over()) else { return };
        let target = &mut self.targets[client];
        match answer {
            Answer::Handed { chunk, others, seen, all } => {
                target.asked.answered(seen);
                target.all |= all;
                others
                    .into_iter()
                    .for_each(|(member, chunks)| self.promise(client, member, &chunks));
                if chunk.is_none() {
                    self.take_part(at);
                }
            }
            Answer::Payload(index) => {
                let wanted = target.ledger.claim(source, index, now);
                self.keep(client, index, (wanted, true));
                self.take_part(at);
            }
            Answer::Chunk(index) => {
                let wanted = target.ledger.arrived(source, now);
                self.keep(client, index, (wanted, false));
                self.work(at);
            }
            Answer::NotYet => {
                target.ledger.not_yet(source);
                self.work(at);
            }
        }
    }

    /// As `Worker::promise`.
    fn promise(&mut self, client: usize, member: usize, chunks: &[ChunkIndex]) {
        let at = match self.targets[client].members.get(&member) {
            Some(at) => *at,
            None => self.meet(client, member),
        };
        let (now, target) = (self.now(), &mut self.targets[client]);
        let Some(source) = self.connections[at].worker.source else { return };
        chunks.iter().for_each(|index| target.ledger.promise(source, *index, now));
        if self.connections[at].worker.doing == Doing::Idles {
            self.work(at);
        }
    }

    fn meet(&mut self, client: usize, member: usize) -> usize {
        let at = self.connect(client, member);
        let target = &mut self.targets[client];
        self.connections[at].worker.source = Some(target.ledger.join_member());
        target.members.insert(member, at);
        match (self.scenario.reach)(client, member) {
            true => self.clock.after(2 * LATENCY * DIALLING, Happens::Dialled(at)),
            false => self.clock.after(nanos(config::CONNECT_TIMEOUT), Happens::Lost(at)),
        }
        at
    }

    /// A chunk is here. Verifying and writing take no time.
    fn keep(&mut self, client: usize, index: ChunkIndex, (wanted, own): (bool, bool)) {
        let target = &mut self.targets[client];
        if !wanted {
            self.report.twice += 1;
            return;
        }
        if own {
            target.deliveries.own(&self.scenario.layout, index);
        }
        target.have.insert(index);
        self.report.twice += u64::from(!target.ledger.complete(index));
        let complete = target.ledger.is_complete();
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
        let connections: Vec<usize> = self.targets[client].members.values().copied().collect();
        for at in connections {
            self.connections[at].worker.doing = Doing::Over;
            self.hang_up(at);
        }
    }
}
