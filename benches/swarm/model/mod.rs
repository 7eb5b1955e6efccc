//! A swarm upload without threads and sockets, on an invented clock.
//!
//! What decides is the code of `src/`: [`Handout`] at the origin; [`Turns`] at all who serve;
//! [`Plan`], [`Course`] and [`Deliveries`] at every target. What is written anew here is only what threads and sockets do
//! with their decisions: workers that send requests and await the answers in order (`target`),
//! sessions that answer one request after the other (`session`) and await their turn to send
//! (`turns`), links that take their
//! time (`network`). `benches/README.md` says what is left out.

mod network;
mod session;
mod target;
mod turns;

use std::time::{Duration, Instant};

use peershare::config;
use peershare::content::{ChunkIndex, ChunkLayout};
use peershare::serve::handout::Handout;

use network::{Clock, Event, LATENCY, Network};
pub use network::{Link, Time};
use session::Session;
use target::Target;
use turns::Queue;

/// The peer that uploads. Targets are numbered from 1.
pub const ORIGIN: usize = 0;

/// What is to be simulated.
#[derive(Clone)]
pub struct Scenario {
    /// How the file is cut.
    pub layout: ChunkLayout,
    /// The link of the origin, then those of the targets.
    pub links: Vec<Link>,
    /// Which targets reach which others.
    pub reach: fn(usize, usize) -> bool,
    /// A target that ends, and when.
    pub end: Option<(usize, Time, End)>,
}

/// How a target ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its connections break.
    Killed,
    /// Nobody is told.
    Silent,
}

/// How it went.
pub struct Report {
    /// When each target had the file, if it ever had.
    pub done: Vec<Option<Time>>,
    /// Bytes that the origin sent.
    pub origin_sent: u64,
    /// Chunks that targets got twice.
    pub twice: u64,
    /// How often each chunk was handed out.
    pub handed: Vec<usize>,
    /// Most peers that one target fetched from, the origin included.
    pub sources: usize,
}

/// A request on its way.
#[derive(Clone, Copy)]
enum Request {
    Next { seen: u64, want: bool },
    Read(ChunkIndex),
}

/// An answer on its way.
enum Answer {
    /// The head of an answer to `Next`; its chunk follows.
    Handed {
        chunk: Option<ChunkIndex>,
        others: Vec<(usize, Vec<ChunkIndex>)>,
        seen: u64,
        all: bool,
    },
    /// The bytes that were announced last.
    Payload(ChunkIndex),
    Chunk(ChunkIndex),
    NotYet,
}

/// What happens beside what the network does.
#[derive(Clone, Copy)]
enum Happens {
    /// A request is at the session.
    Asked(usize, Request),
    /// A worker is connected.
    Dialled(usize),
    /// A worker could not connect, or its source ended.
    Lost(usize),
    /// A worker with nothing to do looks again.
    Polls(usize),
    /// A read has waited as long as it may.
    Expires(usize, u64),
    /// A send of that peer may have taken so long that another one may go.
    Turns(usize),
    Ends(End),
    /// The origin notices that.
    Missed(usize),
}

/// One connection: the worker at the one end and the session at the other.
struct Connection {
    client: usize,
    server: usize,
    worker: target::Worker,
    session: Session,
}

pub struct Simulation {
    scenario: Scenario,
    clock: Clock<Happens>,
    /// What the clock's zero is for those who want an `Instant`.
    start: Instant,
    network: Network<Answer>,
    connections: Vec<Connection>,
    /// The origin's place is taken by one that never asks.
    targets: Vec<Target>,
    /// Who waits to be sent something, by whom.
    queues: Vec<Queue>,
    handout: Handout,
    report: Report,
    unfinished: usize,
}

impl Simulation {
    /// Simulates an upload to its end.
    pub fn run(scenario: Scenario) -> Report {
        let targets = scenario.links.len() - 1;
        let names: Vec<String> = (1..=targets).map(|target| target.to_string()).collect();
        let mut simulation = Self {
            clock: Clock::new(),
            start: Instant::now(),
            network: Network::new(&scenario.links),
            connections: Vec::new(),
            targets: (0..=targets).map(|number| Target::new(number, &scenario.layout)).collect(),
            queues: (0..=targets).map(|_| Queue::default()).collect(),
            handout: Handout::among(scenario.layout, &names),
            report: Report {
                done: vec![None; targets + 1],
                origin_sent: 0,
                twice: 0,
                handed: vec![0; scenario.layout.count() as usize],
                sources: 0,
            },
            unfinished: targets,
            scenario,
        };
        if let Some((_, time, end)) = simulation.scenario.end {
            simulation.clock.after(time, Happens::Ends(end));
        }
        (1..=targets).for_each(|target| simulation.offer_to(target));
        simulation.go_on();
        let sources = simulation.targets.iter().map(|target| target.sources()).max();
        Report { sources: sources.unwrap_or(0), ..simulation.report }
    }

    fn go_on(&mut self) {
        /// No upload here takes so long, in nanoseconds.
        const NEVER: Time = 100_000_000_000_000;
        while self.unfinished > 0 {
            let Some(event) = self.clock.next() else { return };
            if self.clock.now > NEVER {
                return;
            }
            match event {
                Event::Sent(at) => {
                    self.network.sent(&mut self.clock, at);
                    self.left(at);
                }
                Event::Delivered(at) => {
                    for answer in self.network.delivered(&mut self.clock, at) {
                        self.answered(at, answer);
                    }
                }
                Event::Other(Happens::Asked(at, request)) => self.asked(at, request),
                Event::Other(Happens::Dialled(at)) => self.dialled(at),
                Event::Other(Happens::Lost(at)) => self.lost(at),
                Event::Other(Happens::Polls(at)) => self.polls(at),
                Event::Other(Happens::Expires(at, wait)) => self.expires(at, wait),
                Event::Other(Happens::Turns(server)) => self.take_turns(server),
                Event::Other(Happens::Ends(end)) => self.ends(end),
                Event::Other(Happens::Missed(target)) => {
                    self.handout.leave(&self.targets[target].name)
                }
            }
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.clock.now)
    }

    /// Opens a connection over which `client` fetches from `server`.
    fn connect(&mut self, client: usize, server: usize) -> usize {
        let (worker, session) = (target::Worker::default(), Session::default());
        self.connections.push(Connection { client, server, worker, session });
        self.network.open(server, client)
    }

    /// A target ends before it has the file.
    fn ends(&mut self, end: End) {
        let Some((ended, ..)) = self.scenario.end else { return };
        if self.targets[ended].is_over() {
            return;
        }
        self.unfinished -= 1;
        self.targets[ended].give_up();
        match end {
            End::Killed => self.clock.after(LATENCY, Happens::Missed(ended)),
            End::Silent => self.network.silence(ended),
        }
        for at in 0..self.connections.len() {
            let Connection { client, server, .. } = self.connections[at];
            match end {
                End::Killed if server == ended => self.clock.after(LATENCY, Happens::Lost(at)),
                End::Killed if client == ended => self.hang_up(at),
                End::Silent if server == ended => {
                    self.clock.after(nanos(config::STALL_TIMEOUT), Happens::Lost(at));
                }
                _ => {}
            }
        }
    }
}

fn nanos(time: Duration) -> Time {
    time.as_nanos() as Time
}
