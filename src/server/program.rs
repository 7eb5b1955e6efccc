//! The program `server`: from its options to an exit code.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Host, Neighbours, Server};
use crate::connection::Identity;
use crate::serve::Rights;
use crate::store::Store;
use crate::topology::{PeerId, TopologyFile};
use crate::transport::tcp::{Listener, Tcp};

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
    /// Takes no uploads.
    pub read_only: bool,
}

/// Serves until SIGTERM or Ctrl-C; SIGHUP makes it read the settings again. What cannot be started is one line and exit code 2.
pub fn run(options: Options) -> ExitCode {
    match start(options) {
        Ok((server, mut signals)) => {
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

fn start(options: Options) -> Result<(Server, Signals), String> {
    let topology = TopologyFile::find(options.peer_settings.as_deref()).map_err(|error| error.to_string())?;
    let id = options.peer;
    let Some(peer) = topology.current().find(&id) else {
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
    let store = Store::open(&options.served_files).map_err(|error| error.to_string())?;
    let listener = Listener::bind(&addresses)
        .map_err(|error| format!("cannot listen on {place}: {error}; is another server running there?"))?;
    // Before the first line is printed, so that whoever reads it may send a signal.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    let folder = options.served_files.canonicalize().unwrap_or(options.served_files);
    let identity = Identity { peer: Some(id.clone()), read_only: options.read_only };
    let rights = Rights { read_only: options.read_only };
    let host = Host::new(store.clone(), identity, rights, options.max_connections);
    let current = Arc::new(Mutex::new(topology.current().clone()));
    let host = host.among(Neighbours { topology: current, network: Arc::new(Tcp) });
    let server =
        Server::start(listener, host, Some(topology)).map_err(|error| format!("cannot start: {error}"))?;
    let read_only = if options.read_only { ", read-only" } else { "" };
    log::info!("peer {id} listens on {} and serves {}{read_only}", server.address(), folder.display());
    store.hash_all();
    Ok((server, signals))
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
