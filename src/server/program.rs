//! The program `server`: from its options to an exit code.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Host, Neighbours, Server};
use crate::connection::Identity;
use crate::serve::Rights;
use crate::store::{Held, Store, survive_size_limit};
use crate::topology::{Peer, PeerId, TopologyFile};
use crate::transport::Tcp;
use crate::transport::shaping::{self, Limits};
use crate::transport::tcp::Listener;

/// What the command line says.
pub struct Options {
    /// Which peer of the settings this is.
    pub peer: PeerId,
    /// File with the peers, where one is named.
    pub peer_settings: Option<PathBuf>,
    /// The folder that is served; created when missing.
    pub served_files: PathBuf,
    /// Where to listen, as `ADDR:PORT`, where that is not the published address.
    pub listen: Option<String>,
    /// Connections kept at once.
    pub max_connections: usize,
    /// How fast it sends and receives.
    pub bwlimit: Limits,
    /// Takes no uploads.
    pub read_only: bool,
}

/// Serves until SIGTERM or Ctrl-C; SIGHUP makes it read the settings again. What cannot be started is one
/// line and exit code 2.
pub fn run(options: Options) -> ExitCode {
    match start(options) {
        Ok(Started { server, mut signals, held: _held }) => {
            for _hangup in signals.forever().take_while(|signal| *signal == SIGHUP) {
                server.read_settings_again();
            }
            log::info!("ending");
            if !server.stop() {
                log::warn!("some sessions did not end in time");
            }
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("server: {message}");
            ExitCode::from(2)
        }
    }
}

/// A server that runs.
struct Started {
    server: Server,
    signals: Signals,
    /// Keeps other servers from the folder.
    held: Held,
}

fn start(options: Options) -> Result<Started, String> {
    let topology = TopologyFile::find(options.peer_settings.as_deref()).map_err(|error| error.to_string())?;
    let id = options.peer;
    let Some(peer) = topology.current().find(&id).cloned() else {
        let ids: Vec<&str> = topology.current().peers().iter().map(|peer| peer.id.as_str()).collect();
        return Err(format!("no peer {id} in {}; it lists: {}", topology.path().display(), ids.join(", ")));
    };
    let (place, addresses) = match &options.listen {
        Some(text) => (text.clone(), resolve(text)?),
        None => {
            let addresses = peer.resolve().map_err(|error| format!("cannot look up {peer}: {error}"))?;
            (peer.to_string(), addresses)
        }
    };
    raise_open_files();
    shaping::limit(options.bwlimit);
    survive_size_limit();
    let store = Store::open(&options.served_files).map_err(|error| error.to_string())?;
    let who = format!("{id} (process {})", std::process::id());
    let held = store.hold_for_server(&who).map_err(|error| error.to_string())?;
    let folder = store.folder();
    let listener = Listener::bind(&addresses)
        .map_err(|error| format!("cannot listen on {place}: {}", unbound(&error)))?;
    // Before the first line is printed, so that whoever reads it may send a signal.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    let identity = Identity { peer: Some(id.clone()), read_only: options.read_only };
    let rights = Rights { read_only: options.read_only };
    let host = Host::new(store.clone(), identity, rights, options.max_connections);
    let current = Arc::new(Mutex::new(topology.current().clone()));
    let others: Vec<Peer> = topology.current().peers().iter().filter(|peer| peer.id != id).cloned().collect();
    let host = host.among(Neighbours { topology: current, network: Arc::new(Tcp::default()) });
    let server =
        Server::start(listener, host, Some(topology)).map_err(|error| format!("cannot start: {error}"))?;
    let read_only = if options.read_only { ", read-only" } else { "" };
    log::info!("peer {id} listens on {} and serves {}{read_only}", server.address(), folder.display());
    if options.listen.is_none() {
        warn_if_alone(server.address(), &peer, &others);
    }
    store.hash_all();
    Ok(Started { server, signals, held })
}

/// Why a port could not be bound, and what to do.
fn unbound(error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; end it, or choose another port",
        io::ErrorKind::AddrNotAvailable => {
            "that is no address of this machine; correct the line of this peer, or say with --listen where to listen, as in --listen 0.0.0.0:7001"
        }
        io::ErrorKind::PermissionDenied => "only root may use ports below 1024; choose a higher one",
        _ => return error.to_string(),
    };
    format!("{error}; {what}")
}

/// Says so where the line of this peer leads nobody else here: many systems give a machine's own name a
/// loopback address. Where all peers are on loopback, they are meant to be on one machine.
fn warn_if_alone(bound: SocketAddr, own: &Peer, others: &[Peer]) {
    let Peer { id, address, port, .. } = own;
    if bound.ip().is_unspecified() {
        log::warn!(
            "the line of {id} says {address}, which leads other peers nowhere; write an address of this machine there, and start the server with --listen {bound}"
        );
    }
    let is_loopback = |peer: &Peer| {
        peer.address == "localhost" || peer.address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    };
    if bound.ip().is_loopback() && !(is_loopback(own) && others.iter().all(is_loopback)) {
        log::warn!(
            "only this machine can reach {bound}, which is what {address} means here; let other machines in with --listen 0.0.0.0:{port}, or correct {}",
            if is_loopback(own) { "the line of this peer" } else { "/etc/hosts" }
        );
    }
}

/// Lets the process open as many files as the system allows: every session has a connection and a
/// file, and many systems begin with fewer than sessions may be.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::debug!("the limit of open files stays as it is: {error}");
    }
}

fn resolve(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = text.to_socket_addrs().map_err(|error| {
        format!("cannot listen on {text:?}: {error}; expected ADDR:PORT, as in 0.0.0.0:7001 or [::]:7001")
    })?;
    Ok(addresses.collect())
}
