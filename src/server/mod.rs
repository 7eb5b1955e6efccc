//! The serving program: accepts connections, limits them, and receives what is offered.
//!
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
use crate::serve::Rights;
use crate::store::Store;
use crate::topology::TopologyFile;
use crate::transport::tcp::{Accepted, Listener, TcpLink};
use crate::transport::{Cancel, Closer};
use crate::wire::{ErrorCode, Refusal};

/// What a server is started with.
pub struct Settings {
    /// Who we are.
    pub identity: Identity,
    /// What is given and taken.
    pub rights: Rights,
    /// Connections kept at once.
    pub max_connections: usize,
    /// Looked at now and then for edits, where there is such a file.
    pub topology: Option<TopologyFile>,
}

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    closer: Closer,
    sessions: Arc<Sessions>,
    accepting: Option<JoinHandle<()>>,
}

/// What all sessions share.
struct Shared {
    store: Store,
    identity: Identity,
    rights: Rights,
    sessions: Arc<Sessions>,
}

/// The sessions under way: how many, and a way to end them all.
struct Sessions {
    cancel: Cancel,
    count: Mutex<usize>,
    ended: Condvar,
}

/// One session's place among the allowed number, given back on drop.
struct Seat(Arc<Sessions>);

impl Server {
    /// Starts to serve `store` on a bound port; returns at once.
    pub fn start(listener: Listener, store: Store, settings: Settings) -> io::Result<Self> {
        let sessions =
            Arc::new(Sessions { cancel: Cancel::new(), count: Mutex::new(0), ended: Condvar::new() });
        let (address, closer) = (listener.address()?, listener.closer());
        let Settings { identity, rights, max_connections, topology } = settings;
        let shared = Arc::new(Shared { store, identity, rights, sessions: sessions.clone() });
        let accepting = thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || AcceptLoop { listener, shared, max_connections, topology }.run())?;
        Ok(Self { address, closer, sessions, accepting: Some(accepting) })
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
        self.sessions.cancel.cancel();
        self.sessions.wait_for_none(config::SHUTDOWN_DEADLINE)
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
    shared: Arc<Shared>,
    max_connections: usize,
    topology: Option<TopologyFile>,
}

impl AcceptLoop {
    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            match self.listener.accept(config::SETTINGS_POLL) {
                Ok(Accepted::Link(link)) => self.admit(link),
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

    fn admit(&self, link: TcpLink) {
        let Some(seat) = self.shared.sessions.seat(self.max_connections) else {
            let message = format!("all {} connections are taken; try again later", self.max_connections);
            log::warn!("turned a connection away: {message}");
            // Whoever does not read this is turned away all the same.
            let _ = Framed::turn_away(link, Refusal { code: ErrorCode::Busy, message });
            return;
        };
        let shared = self.shared.clone();
        let work = move || {
            session::run(&shared, link);
            drop(seat);
        };
        if let Err(error) = thread::Builder::new().name("session".to_owned()).spawn(work) {
            log::warn!("cannot start a session: {error}");
        }
    }

    fn look_at_settings(&mut self) {
        let Some(file) = &mut self.topology else { return };
        match file.reload() {
            Ok(false) => {}
            Ok(true) => {
                let peers: Vec<String> = file.current().peers().iter().map(|peer| peer.to_string()).collect();
                log::info!("{} was edited; peers are now: {}", file.path().display(), peers.join(", "));
            }
            Err(error) => log::error!("{error}; the peers stay as they were"),
        }
    }
}
