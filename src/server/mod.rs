//! The serving program: accepts connections, limits them, and receives what is offered.
//!
//! * [`Host`]: what every session needs; serves a connection from wherever it came
//! * [`Server`]: a bound port and its accept loop
//! * `session`: one connection, one thread
//! * `offers`: an upload to us: the connection turns round and we fetch
//! * [`run`]: the program: settings, signals, exit code

mod offers;
mod program;
mod session;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use program::{Options, run};

use crate::config;
use crate::connection::{Framed, Identity};
use crate::serve::{Handouts, Rights};
use crate::store::Store;
use crate::topology::{Topology, TopologyFile};
use crate::transport::tcp::{Accepted, Listener};
use crate::transport::{Cancel, Closer, Network, Stream};
use crate::wire::{ErrorCode, Refusal};

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    closer: Closer,
    host: Host,
    accepting: Option<JoinHandle<()>>,
}

/// A peer that answers: what all its sessions share. Clones are the same peer.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    store: Store,
    identity: Identity,
    rights: Rights,
    max_connections: usize,
    sessions: Arc<Sessions>,
    handouts: Handouts,
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
    count: Mutex<usize>,
    ended: Condvar,
}

/// One session's place among the allowed number, given back on drop.
struct Seat(Arc<Sessions>);

impl Host {
    /// A peer that serves `store`; nobody is connected yet.
    pub fn new(store: Store, identity: Identity, rights: Rights, max_connections: usize) -> Self {
        let sessions = Sessions { cancel: Cancel::new(), count: Mutex::new(0), ended: Condvar::new() };
        Self(Arc::new(Shared {
            store,
            identity,
            rights,
            max_connections,
            sessions: Arc::new(sessions),
            handouts: Handouts::default(),
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
    pub fn serve(&self, stream: impl Stream + 'static) {
        let Some(seat) = self.0.sessions.seat(self.0.max_connections) else {
            let message = format!("all {} connections are taken; try again later", self.0.max_connections);
            log::warn!("turned {} away: {message}", stream.remote());
            // Whoever does not read this is turned away all the same.
            let _ = Framed::turn_away(stream, Refusal { code: ErrorCode::Busy, message });
            return;
        };
        let host = self.clone();
        let work = move || {
            session::run(&host.0, stream);
            drop(seat);
        };
        if let Err(error) = thread::Builder::new().name("session".to_owned()).spawn(work) {
            log::warn!("cannot start a session: {error}");
        }
    }

    /// Ends all sessions; says whether they ended within the deadline.
    pub fn end_sessions(&self) -> bool {
        self.0.sessions.cancel.cancel();
        self.0.sessions.wait_for_none(config::SHUTDOWN_DEADLINE)
    }
}

impl Server {
    /// Has `host` serve whoever connects to a bound port; returns at once. `topology` is looked at
    /// now and then for edits.
    pub fn start(listener: Listener, host: Host, topology: Option<TopologyFile>) -> io::Result<Self> {
        let (address, closer) = (listener.address()?, listener.closer());
        let accept = AcceptLoop { listener, host: host.clone(), topology };
        let accepting = thread::Builder::new().name("accept".to_owned()).spawn(move || accept.run())?;
        Ok(Self { address, closer, host, accepting: Some(accepting) })
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
    /// A place for one more session, unless there are `most` already.
    fn seat(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat(self.clone()))
    }

    fn wait_for_none(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            count = self.ended.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_all();
    }
}

struct AcceptLoop {
    listener: Listener,
    host: Host,
    topology: Option<TopologyFile>,
}

impl AcceptLoop {
    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            match self.listener.accept(config::SETTINGS_POLL) {
                Ok(Accepted::Link(link)) => self.host.serve(link),
                Ok(Accepted::Nobody) => {}
                Ok(Accepted::Closed) => return,
                Err(error) => {
                    log::warn!("cannot accept a connection: {error}");
                    // Out of files or memory: give the sessions a moment to end.
                    thread::park_timeout(config::ACCEPT_PAUSE);
                }
            }
            if looked.elapsed() >= config::SETTINGS_POLL {
                looked = Instant::now();
                self.look_at_settings();
            }
        }
    }

    fn look_at_settings(&mut self) {
        let Some(file) = &mut self.topology else { return };
        match file.reload() {
            Ok(false) => {}
            Ok(true) => {
                let peers: Vec<String> = file.current().peers().iter().map(|peer| peer.to_string()).collect();
                if let Some(neighbours) = &self.host.0.neighbours {
                    *neighbours.topology.lock().unwrap_or_else(PoisonError::into_inner) =
                        file.current().clone();
                }
                log::info!("{} was edited; peers are now: {}", file.path().display(), peers.join(", "));
            }
            Err(error) => log::error!("{error}; the peers stay as they were"),
        }
    }
}
