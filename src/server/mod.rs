//! The serving program: accepts connections, limits them, and receives what is offered.
//!
//! * [`Host`]: what every session needs; serves a connection from wherever it came
//! * [`Server`]: a bound port and its accept loop
//! * `session`: one connection, one thread
//! * `offers`: an upload to us: the connection turns round and we fetch
//! * `running`: a second offer of what is being received joins the first
//! * `settings`: the peers, read again while it runs
//! * [`run`]: the program: settings, signals, exit code

mod offers;
mod program;
mod running;
mod session;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use program::{Options, Serving, check, run, serve};

use crate::classic;
use crate::config;
use crate::connection::{Framed, Identity};
use crate::logging::Repeated;
use crate::serve::{Company, Rights};
use crate::store::Store;
use crate::threads;
use crate::topology::{Topology, TopologyFile};
use crate::transport::tcp::{Accepted, Listener};
use crate::transport::{Cancel, Closer, Network, Stream};
use crate::wire::{ErrorCode, Refusal};
use settings::Settings;

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    closer: Closer,
    host: Host,
    settings: Option<Arc<Mutex<Settings>>>,
    accepting: Option<JoinHandle<()>>,
}

/// A peer that answers: what all its sessions share. Clones are the same peer.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    store: Store,
    identity: Identity,
    rights: Rights,
    classic: classic::Service,
    sessions: Arc<Sessions>,
    company: Company,
    running: running::Running,
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

/// The sessions under way: how many, and a way to end them all.
struct Sessions {
    cancel: Cancel,
    most: usize,
    count: Mutex<Count>,
    /// A session has ended, or its dialect is known.
    changed: Condvar,
}

/// How many sessions there are of each kind, each with the same limit: clients of the classic
/// dialect open a short connection a chunk, up to a thousand at once, and others are to find a
/// place then.
#[derive(Default)]
struct Count {
    /// Nothing has come yet.
    fresh: usize,
    framed: usize,
    classic: usize,
}

/// What a session speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Framed,
    Classic,
}

/// One session's place among the allowed number, given back on drop.
struct Seat {
    sessions: Arc<Sessions>,
    dialect: Option<Dialect>,
}

impl Host {
    /// A peer that serves `store`; nobody is connected yet.
    pub fn new(store: Store, identity: Identity, rights: Rights, max_connections: usize) -> Self {
        let (cancel, count, changed) = (Cancel::new(), Mutex::default(), Condvar::new());
        let sessions = Arc::new(Sessions { cancel, most: max_connections, count, changed });
        let classic = classic::Service::new(store.clone());
        Self(Arc::new(Shared {
            store,
            identity,
            rights,
            classic,
            sessions,
            company: Company::default(),
            running: running::Running::default(),
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

    /// Serves a connection in a thread of its own; turns it away when too many are served already.
    pub fn serve(&self, mut stream: impl Stream + 'static) {
        let Some(mut seat) = self.0.sessions.seat() else { return self.0.turn_away(&mut stream) };
        let host = self.clone();
        let work = move || {
            session::run(&host.0, stream, &mut seat);
            drop(seat);
        };
        if let Err(error) = threads::start("session", work)
            && let Some(more) = self.0.unstarted.due(Instant::now())
        {
            log::warn!("cannot start a session: {error}{more}");
        }
    }

    /// Ends all sessions; says whether they ended within the deadline.
    pub fn end_sessions(&self) -> bool {
        self.0.sessions.cancel.cancel();
        let ended = self.0.sessions.wait_for_none(config::SHUTDOWN_DEADLINE);
        // Threads that have just ended may still hold what would tell it when it is dropped.
        self.0.classic.tell_all();
        ended
    }
}

impl Shared {
    /// Tells somebody that there is no place.
    fn turn_away(&self, stream: &mut dyn Stream) {
        let message = format!("all {} connections are taken; try again later", self.sessions.most);
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
            settings.lock().unwrap_or_else(PoisonError::into_inner).read_again();
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
        if accepting.join().is_err() {
            log::error!("the accept loop had failed");
        }
        self.host.end_sessions()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Sessions {
    /// A place for a session that has not said yet what it speaks. When all are taken, a newcomer
    /// waits a moment, for most of them say it at once.
    fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut count = self.wait(config::SEAT_PATIENCE, |count| count.fresh >= self.most);
        if count.fresh >= self.most {
            return None;
        }
        count.fresh += 1;
        Some(Seat { sessions: self.clone(), dialect: None })
    }

    /// Waits for a session to end, but no longer than `time`.
    fn wait_for_change(&self, time: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout(count, time));
    }

    fn wait_for_none(&self, time: Duration) -> bool {
        let is_busy = |count: &Count| count.fresh + count.framed + count.classic > 0;
        !is_busy(&self.wait(time, is_busy))
    }

    /// Waits while `busy`, but no longer than `time`.
    fn wait(&self, time: Duration, busy: impl Fn(&Count) -> bool) -> MutexGuard<'_, Count> {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(count, time, |count| busy(count));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Count {
    fn of(&mut self, dialect: Option<Dialect>) -> &mut usize {
        match dialect {
            None => &mut self.fresh,
            Some(Dialect::Framed) => &mut self.framed,
            Some(Dialect::Classic) => &mut self.classic,
        }
    }
}

impl Seat {
    /// Moves over to the places of a dialect; says whether there was one.
    fn take(&mut self, dialect: Dialect) -> bool {
        let mut count = self.sessions.count.lock().unwrap_or_else(PoisonError::into_inner);
        if *count.of(Some(dialect)) >= self.sessions.most {
            return false;
        }
        *count.of(self.dialect) -= 1;
        *count.of(Some(dialect)) += 1;
        self.dialect = Some(dialect);
        drop(count);
        self.sessions.changed.notify_all();
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.sessions.count.lock().unwrap_or_else(PoisonError::into_inner).of(self.dialect) -= 1;
        self.sessions.changed.notify_all();
    }
}

struct AcceptLoop {
    listener: Listener,
    host: Host,
    settings: Option<Arc<Mutex<Settings>>>,
}

impl AcceptLoop {
    fn run(self) {
        let (mut looked, unaccepted) = (Instant::now(), Repeated::new());
        loop {
            match self.listener.accept(config::SETTINGS_POLL) {
                Ok(Accepted::Link(link)) => self.host.serve(link),
                Ok(Accepted::Nobody) => {}
                Ok(Accepted::Closed) => return,
                Err(error) => {
                    if let Some(more) = unaccepted.due(Instant::now()) {
                        log::warn!("cannot accept a connection: {error}{more}");
                    }
                    // Out of files or memory: until a session ends it will not be better.
                    self.host.0.sessions.wait_for_change(config::ACCEPT_PAUSE);
                }
            }
            if looked.elapsed() >= config::SETTINGS_POLL {
                looked = Instant::now();
                self.look_at_settings();
                self.host.0.classic.tell_idle(looked);
            }
        }
    }

    fn look_at_settings(&self) {
        if let Some(settings) = &self.settings {
            settings.lock().unwrap_or_else(PoisonError::into_inner).look();
        }
    }
}
