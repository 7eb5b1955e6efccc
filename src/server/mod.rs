//! The serving program: accepts connections, limits them, and receives what is offered.
//!
//! * [`Host`]: what every session needs; serves a connection from wherever it came
//! * [`Server`]: a bound port and its accept loop
//! * [`Limits`]: what those who connect are given at most; `seats`: who of them is let in
//! * `session`: one connection, one thread
//! * `offers`: an upload to us: the connection turns round and we fetch
//! * `folders`: the same of a whole folder
//! * `running`: a second offer of what is being received joins the first
//! * `unfinished`: how many uploads an address has begun
//! * `settings`: the peers, read again while it runs
//! * [`run`]: the program: settings, signals, exit code

mod folders;
mod limits;
mod offers;
mod program;
mod running;
mod seats;
mod session;
mod settings;
mod unfinished;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use limits::{Limits, length};
pub use program::{Options, Serving, check, run, serve};

use crate::classic;
use crate::config;
use crate::connection::{Framed, Identity};
use crate::locks::lock;
use crate::logging::Repeated;
use crate::serve::{Budget, Company, Rights};
use crate::store::Store;
use crate::threads::{self, Awaited};
use crate::topology::PeerId;
use crate::topology::{Topology, TopologyFile};
use crate::transport::tcp::{Accepted, Listener};
use crate::transport::{Cancel, Closer, Network, Stream};
use crate::wire::{ErrorCode, Refusal};
use seats::{Seat, Seats};
use settings::Settings;
use unfinished::Unfinished;

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    closer: Closer,
    host: Host,
    settings: Option<Arc<Mutex<Settings>>>,
    /// Gives the sweep that it started last.
    accepting: Option<JoinHandle<Option<Awaited>>>,
}

/// A peer that answers: what all its sessions share. Clones are the same peer.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    store: Store,
    identity: Identity,
    rights: Rights,
    classic: classic::Service,
    limits: Limits,
    seats: Arc<Seats>,
    /// Ends all sessions.
    cancel: Cancel,
    company: Company,
    /// Memory for the digests of what is offered.
    offered: Budget,
    running: running::Running,
    unfinished: Unfinished,
    turned_away: Repeated,
    unstarted: Repeated,
    neighbours: Option<Neighbours>,
}

/// The other peers, for passing chunks on.
pub struct Neighbours {
    /// The topology in force.
    pub topology: Arc<Mutex<Topology>>,
    /// How they are reached.
    pub network: Arc<dyn Network>,
}

impl Host {
    /// A peer that serves `store`; nobody is connected yet.
    pub fn new(store: Store, identity: Identity, rights: Rights, limits: Limits) -> Self {
        let classic = classic::Service::new(store.clone());
        let company = Company::default().of(identity.peer.as_ref().map_or("", PeerId::as_str));
        Self(Arc::new(Shared {
            store,
            identity,
            rights,
            classic,
            limits,
            seats: Seats::new(limits.rule()),
            cancel: Cancel::new(),
            company,
            offered: Budget::of(config::OFFERS_HELD),
            running: running::Running::default(),
            unfinished: Unfinished::default(),
            turned_away: Repeated::new(),
            unstarted: Repeated::new(),
            neighbours: None,
        }))
    }

    /// The same peer, before it serves anybody, knowing the others: it passes chunks on to them.
    pub fn among(mut self, neighbours: Neighbours) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.neighbours = Some(neighbours);
        }
        self
    }

    /// Serves a connection in a thread of its own; turns it away at once when there is no seat for
    /// it, or no thread.
    pub fn serve(&self, mut stream: impl Stream + 'static) {
        let shared = &self.0;
        let seat = match shared.seats.take(stream.address(), stream.closer()) {
            Ok(seat) => seat,
            Err(full) => {
                return shared.turn_away(&mut stream, full.message(&shared.seats.rule()));
            }
        };
        let visit = Arc::new(Mutex::new(Some((stream, seat))));
        let (host, taken) = (self.clone(), visit.clone());
        let work = move || {
            if let Some((stream, seat)) = take(&taken) {
                session::run(&host.0, stream, seat);
            }
        };
        if let Err(error) = threads::start("session", work)
            && let Some((mut stream, _seat)) = take(&visit)
        {
            if let Some(more) = shared.unstarted.due(Instant::now()) {
                log::warn!("cannot start a session: {error}{more}");
            }
            shared.lacks("threads", &mut stream);
        }
    }

    /// Ends all sessions; says whether they ended within the deadline.
    pub fn end_sessions(&self) -> bool {
        self.0.cancel.cancel();
        let ended = self.0.seats.wait_for_none(config::SHUTDOWN_DEADLINE);
        // Threads that have just ended may still hold what would tell it when it is dropped.
        self.0.classic.tell_all();
        ended
    }
}

/// A connection and its seat, which either a new thread takes, or who could not start one.
fn take<S: Stream>(visit: &Mutex<Option<(S, Seat)>>) -> Option<(S, Seat)> {
    lock(visit).take()
}

impl Shared {
    /// Looks for what uploads left long ago; a slow disk keeps nobody waiting.
    fn sweep(&self) -> Option<Awaited> {
        let store = self.store.clone();
        let started = threads::start_awaited("sweep", move || store.sweep());
        started
            .inspect_err(|error| log::debug!("cannot look for what earlier uploads left: {error}"))
            .ok()
    }

    /// Turns a connection away because the system gives this process no more of something, and ends
    /// one that idles, so that the next one may find some.
    fn lacks(&self, what: &str, stream: &mut dyn Stream) {
        self.seats.free_one();
        let again = config::TRY_AGAIN_SECONDS;
        self.turn_away(stream, format!("this peer is short of {what}; try again in {again} s"));
    }

    /// Tells somebody that there is no place, without waiting for anything.
    fn turn_away(&self, stream: &mut dyn Stream, message: String) {
        if let Some(more) = self.turned_away.due(Instant::now()) {
            log::warn!("turned {} away: {message}{more}", stream.remote());
        }
        // Whoever does not read this is turned away all the same.
        let _ = Framed::turn_away(stream, Refusal { code: ErrorCode::Busy, message });
    }
}

impl Server {
    /// Has `host` serve whoever connects to a bound port; returns at once. `topology` is looked at
    /// now and then for edits.
    pub fn start(
        listener: Listener,
        host: Host,
        topology: Option<TopologyFile>,
    ) -> io::Result<Self> {
        let (address, closer) = (listener.address()?, listener.closer());
        let followed = host.0.neighbours.as_ref().map(|neighbours| neighbours.topology.clone());
        let settings = topology.map(|file| {
            Arc::new(Mutex::new(Settings::new(file, followed, host.0.identity.peer.as_ref())))
        });
        let accept = AcceptLoop { listener, host: host.clone(), settings: settings.clone() };
        let accepting = threads::start("accept", move || accept.run())?;
        Ok(Self { address, closer, host, settings, accepting: Some(accepting) })
    }

    /// Reads the settings again, whether they seem edited or not; what is wrong with them is
    /// logged, and the peers stay as they were.
    pub fn read_settings_again(&self) {
        if let Some(settings) = &self.settings {
            lock(settings).read_again();
        }
    }

    /// The address and port that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and ends all sessions; says whether all ended within the deadline.
    pub fn stop(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        let Some(accepting) = self.accepting.take() else { return true };
        self.closer.close();
        let sweep = accepting.join().unwrap_or_else(|_| {
            log::error!("the accept loop had failed");
            None
        });
        let began = Instant::now();
        let ended = self.host.end_sessions();
        let left = config::SHUTDOWN_DEADLINE.saturating_sub(began.elapsed());
        sweep.is_none_or(|sweep| sweep.join_within(left)) && ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

struct AcceptLoop {
    listener: Listener,
    host: Host,
    settings: Option<Arc<Mutex<Settings>>>,
}

impl AcceptLoop {
    /// Gives the sweep that was started last, for the caller to join.
    fn run(self) -> Option<Awaited> {
        let (mut looked, unaccepted) = (Instant::now(), Repeated::new());
        let mut swept = looked;
        let mut sweep: Option<Awaited> = None;
        loop {
            match self.listener.accept(config::SETTINGS_POLL) {
                Ok(Accepted::Link(link)) => self.host.serve(link),
                Ok(Accepted::Unserved(mut link)) => self.host.0.lacks("open files", &mut link),
                Ok(Accepted::Nobody) => {}
                Ok(Accepted::Closed) => return sweep,
                Err(error) => {
                    if let Some(more) = unaccepted.due(Instant::now()) {
                        log::warn!("cannot accept a connection: {error}{more}");
                    }
                    // Out of files or memory: until a session ends it will not be better.
                    self.host.0.seats.wait_for_one(config::ACCEPT_PAUSE);
                }
            }
            if looked.elapsed() >= config::SETTINGS_POLL {
                looked = Instant::now();
                self.look_at_settings();
                self.host.0.classic.tell_idle(looked);
            }
            if swept.elapsed() >= self.host.0.limits.sweep {
                swept = Instant::now();
                // While a disk keeps the last one waiting, another one would wait beside it.
                if sweep.as_ref().is_none_or(Awaited::has_ended) {
                    sweep.take().map(|ended| ended.join_within(Duration::ZERO));
                    sweep = self.host.0.sweep();
                }
            }
        }
    }

    fn look_at_settings(&self) {
        if let Some(settings) = &self.settings {
            lock(settings).look();
        }
    }
}
