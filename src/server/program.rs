//! The program `server`: from its options to an exit code.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Host, Limits, Neighbours, Server};
use crate::config;
use crate::connection::Identity;
use crate::serve::Rights;
use crate::store::{Bounds, Held, Store, raise_open_files, survive_size_limit};
use crate::topology::{Peer, PeerId, TopologyFile};
use crate::transport::Tcp;
use crate::transport::shaping;
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
    /// What those who connect are given at most.
    pub limits: Limits,
    /// How fast it sends and receives.
    pub bwlimit: shaping::Limits,
    /// What is taken, and how much is left to others.
    pub bounds: Bounds,
    /// Takes no uploads.
    pub read_only: bool,
}

/// Serves until SIGTERM or Ctrl-C; SIGHUP makes it read the settings again. What cannot be started
/// is one line and exit code 2.
pub fn run(options: Options) -> ExitCode {
    // Before the first line is printed, so that whoever reads it may send a signal.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]);
    let started = signals
        .map_err(|error| format!("cannot watch for signals: {error}"))
        .and_then(|signals| Ok((signals, serve(options)?)));
    match started {
        Ok((mut signals, Serving { server, held: _held })) => {
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

/// A server that runs within this process, until it is dropped.
pub struct Serving {
    server: Server,
    /// Keeps other servers from the folder.
    held: Held,
}

/// Says whether a server could start so, and what it would do; what would keep it from starting is
/// an error. Nothing is served, and nothing is left in the folder.
pub fn check(options: &Options) -> Result<String, String> {
    let settings =
        TopologyFile::find(options.peer_settings.as_deref()).map_err(|error| error.to_string())?;
    let (peer, place, addresses) = own_place(options, &settings)?;
    let made = !options.served_files.exists();
    let store = Store::open(&options.served_files).map_err(|error| error.to_string())?;
    let who = format!("{} --check (process {})", options.peer, std::process::id());
    let held = store.hold_for_server(&who).map_err(|error| error.to_string())?;
    let listener = Listener::bind(&addresses)
        .map_err(|error| format!("cannot listen on {place}: {}", unbound(&error)))?;
    let address = listener.address().map_err(|error| error.to_string())?;
    let summary = store.summary().map_err(|error| error.to_string())?;
    let (folder, others) = (store.folder(), settings.current().peers().len().saturating_sub(1));
    drop((held, listener));
    if made {
        store.leave_nothing();
    }
    let groups: Vec<String> = peer.groups.iter().map(ToString::to_string).collect();
    let groups =
        if groups.is_empty() { String::new() } else { format!(", in {}", groups.join(", ")) };
    let limits = options.limits.within(raise_open_files());
    Ok(format!(
        "settings: {}, {others} other peers\npeer: {peer}{groups}\nlisten: {address}\n\
         folder: {}, {} files, {} bytes, {} bytes free\n\
         connections: {} at once, {} of one address\nuploads: {}\n",
        settings.path().display(),
        folder.display(),
        summary.files,
        summary.bytes,
        summary.free,
        limits.connections,
        limits.of_one_address(),
        uploads(options)
    ))
}

/// What is taken, in words.
fn uploads(options: &Options) -> String {
    if options.read_only {
        return "none, read-only".to_owned();
    }
    let Bounds { largest, reserve } = options.bounds;
    let largest = largest
        .map_or_else(|| "of any length".to_owned(), |largest| format!("up to {largest} bytes"));
    format!(
        "files {largest}; {reserve} bytes stay free; {} of one address may be unfinished",
        config::UNFINISHED
    )
}

/// Which peer this is, and where it is to listen.
fn own_place(
    options: &Options,
    topology: &TopologyFile,
) -> Result<(Peer, String, Vec<SocketAddr>), String> {
    let id = &options.peer;
    let Some(peer) = topology.current().find(id).cloned() else {
        let ids: Vec<&str> =
            topology.current().peers().iter().map(|peer| peer.id.as_str()).collect();
        return Err(format!(
            "no peer {id} in {}; it lists: {}",
            topology.path().display(),
            ids.join(", ")
        ));
    };
    match &options.listen {
        Some(text) => Ok((peer, text.clone(), resolve(text)?)),
        None => {
            let addresses =
                peer.resolve().map_err(|error| format!("cannot look up {peer}: {error}"))?;
            let place = peer.to_string();
            Ok((peer, place, addresses))
        }
    }
}

/// Starts a server and returns; what keeps it from starting is an error for people. Signals are the
/// caller's.
pub fn serve(options: Options) -> Result<Serving, String> {
    let topology =
        TopologyFile::find(options.peer_settings.as_deref()).map_err(|error| error.to_string())?;
    let (peer, place, addresses) = own_place(&options, &topology)?;
    let id = options.peer;
    let limits = seats(options.limits, raise_open_files());
    shaping::limit(options.bwlimit);
    survive_size_limit();
    let store = Store::open(&options.served_files).map_err(|error| error.to_string())?;
    let store = store.bounded(options.bounds);
    let who = format!("{id} (process {})", std::process::id());
    let held = store.hold_for_server(&who).map_err(|error| error.to_string())?;
    let folder = store.folder();
    let listener = Listener::bind(&addresses)
        .map_err(|error| format!("cannot listen on {place}: {}", unbound(&error)))?;
    let identity = Identity { peer: Some(id.clone()), read_only: options.read_only };
    let rights = Rights { read_only: options.read_only };
    let host = Host::new(store.clone(), identity, rights, limits);
    let current = Arc::new(Mutex::new(topology.current().clone()));
    let others: Vec<Peer> =
        topology.current().peers().iter().filter(|peer| peer.id != id).cloned().collect();
    let host = host.among(Neighbours { topology: current, network: Arc::new(Tcp::default()) });
    let server = Server::start(listener, host, Some(topology))
        .map_err(|error| format!("cannot start: {error}"))?;
    let read_only = if options.read_only { ", read-only" } else { "" };
    log::info!(
        "peer {id} listens on {} and serves {}{read_only}",
        server.address(),
        folder.display()
    );
    if options.listen.is_none() {
        warn_if_alone(server.address(), &peer, &others);
    }
    store.hash_all();
    Ok(Serving { server, held })
}

/// Why a port could not be bound, and what to do.
fn unbound(error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; end it, or choose another port",
        io::ErrorKind::AddrNotAvailable => {
            "that is no address of this machine; correct the line of this peer, or say with --listen where to listen, as in --listen 0.0.0.0:7001"
        }
        io::ErrorKind::PermissionDenied => {
            "only root may use ports below 1024; choose a higher one"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {what}")
}

/// Says so where the line of this peer leads nobody else here: many systems give a machine's own
/// name a loopback address. Where all peers are on loopback, they are meant to be on one machine.
fn warn_if_alone(bound: SocketAddr, own: &Peer, others: &[Peer]) {
    let Peer { id, address, port, .. } = own;
    if bound.ip().is_unspecified() {
        log::warn!(
            "the line of {id} says {address}, which leads other peers nowhere; write an address of this machine there, and start the server with --listen {bound}"
        );
    }
    let is_loopback = |peer: &Peer| {
        peer.address == "localhost"
            || peer.address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    };
    if bound.ip().is_loopback() && !(is_loopback(own) && others.iter().all(is_loopback)) {
        log::warn!(
            "only this machine can reach {bound}, which is what {address} means here; let other machines in with --listen 0.0.0.0:{port}, or correct {}",
            if is_loopback(own) { "the line of this peer" } else { "/etc/hosts" }
        );
    }
}

/// No more connections than there may be files for: so a transfer that was begun never fails for
/// want of one.
fn seats(wanted: Limits, open_files: u64) -> Limits {
    let limits = wanted.within(open_files);
    if limits.connections < wanted.connections {
        log::warn!(
            "this process may open {open_files} files, enough for {} connections at once instead \
             of {}; to have more, raise the limit (ulimit -n) before the start",
            limits.connections,
            wanted.connections
        );
    }
    limits
}

fn resolve(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = text.to_socket_addrs().map_err(|error| {
        format!("cannot listen on {text:?}: {error}; expected ADDR:PORT, as in 0.0.0.0:7001 or [::]:7001")
    })?;
    Ok(addresses.collect())
}
