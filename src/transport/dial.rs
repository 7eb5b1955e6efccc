//! Connecting to a peer that may have several addresses, of which some may be dead ("Happy
//! Eyeballs", RFC 8305).
//!
//! The addresses of the two families take turns. The next one is tried a quarter of a second after
//! the last, or at once when that failed, and the first that answers wins. All of it happens in the
//! calling thread, with connections that the system makes meanwhile.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use super::lookup::Names;
use super::tcp::{TcpLink, is_short_of_files};
use super::{Cancel, Network, Stream};
use crate::config;
use crate::locks::lock;
use crate::topology::Peer;

/// The network that peers' addresses lead to. Clones share what was learnt of names and addresses.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    names: Names,
    /// The address that answered last, of peers that have several.
    best: Arc<Mutex<HashMap<(String, u16), SocketAddr>>>,
}

impl Network for Tcp {
    /// Where this process may open no further file, it waits until there is room: so it has fewer
    /// connections at once.
    fn dial(&self, peer: &Peer, timeout: Duration, cancel: &Cancel) -> io::Result<Box<dyn Stream>> {
        let (until, mut pause) = (Instant::now() + config::FILES_PATIENCE, FIRST_PAUSE);
        loop {
            match self.dial_once(peer, timeout, cancel) {
                Err(error) if is_short_of_files(&error) && Instant::now() < until => {
                    if cancel.wait(pause) {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    pause = (pause * 2).min(config::RETRY_PAUSE);
                }
                dialled => return dialled,
            }
        }
    }
}

impl Tcp {
    fn dial_once(
        &self,
        peer: &Peer,
        timeout: Duration,
        cancel: &Cancel,
    ) -> io::Result<Box<dyn Stream>> {
        let deadline = Instant::now() + timeout;
        let mut addresses = self.names.addresses(&peer.address, peer.port, deadline, cancel)?;
        if let Some(everywhere) = addresses.iter().find(|address| address.ip().is_unspecified()) {
            // The system would connect to this very machine.
            let what =
                format!("{} is no machine's address; write that of {}", everywhere.ip(), peer.id);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        take_turns(&mut addresses);
        let key = (peer.address.clone(), peer.port);
        if let Some(best) = self.best().get(&key) {
            // Stable: the others keep their turns.
            addresses.sort_by_key(|address| address != best);
        }
        let several = addresses.len() > 1;
        let dialled = dial_before(&addresses, deadline, cancel);
        match &dialled {
            Ok((_, answered)) if several => {
                self.best().insert(key, *answered);
            }
            Ok(_) => {}
            // A cancel says nothing of the name.
            Err(_) if cancel.is_cancelled() => {}
            Err(_) => self.names.forget(&peer.address),
        }
        Ok(Box::new(dialled?.0))
    }

    fn best(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u16), SocketAddr>> {
        lock(&self.best)
    }
}

/// Connects to the first of `addresses` that answers, within `timeout` for all of them together.
pub fn dial(addresses: &[SocketAddr], timeout: Duration, cancel: &Cancel) -> io::Result<TcpLink> {
    dial_before(addresses, Instant::now() + timeout, cancel).map(|(link, _)| link)
}

/// Puts addresses of the two families in turns, beginning with that of the first.
fn take_turns(addresses: &mut Vec<SocketAddr>) {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.drain(..).partition(|address| address.is_ipv6() == first);
    one.reverse();
    other.reverse();
    while let Some(next) = one.pop().or_else(|| other.pop()) {
        addresses.push(next);
        std::mem::swap(&mut one, &mut other);
    }
}

/// The pause before it is looked again whether there is room for one more connection.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// How often a wait for a connection looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// Connections that are being made, and what became of the others.
#[derive(Default)]
struct Race {
    running: Vec<(Socket, SocketAddr)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// One has failed since the last was begun, so that the next need not wait.
    has_lost: bool,
}

fn dial_before(
    addresses: &[SocketAddr],
    deadline: Instant,
    cancel: &Cancel,
) -> io::Result<(TcpLink, SocketAddr)> {
    let (mut race, mut next_at) = (Race::default(), Instant::now());
    let mut ahead = addresses.iter();
    loop {
        if (race.running.is_empty() || race.has_lost || Instant::now() >= next_at)
            && let Some(address) = ahead.next()
        {
            next_at = Instant::now() + config::NEXT_ADDRESS_AFTER;
            race.begin(*address)?;
        } else if race.running.is_empty() {
            return Err(race.lost());
        }
        // Looked at before the clock: this process may have been stopped meanwhile.
        if let Some((socket, address)) = race.finished(CANCEL_POLL)? {
            socket.set_nonblocking(false)?;
            return Ok((TcpLink::new(TcpStream::from(socket), address)?, address));
        }
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if Instant::now() >= deadline {
            for (_, address) in std::mem::take(&mut race.running) {
                race.failed.push((address, io::Error::new(io::ErrorKind::TimedOut, "no answer")));
            }
            return Err(race.lost());
        }
    }
}

impl Race {
    fn begin(&mut self, address: SocketAddr) -> io::Result<()> {
        self.has_lost = false;
        match begin(address) {
            Ok(socket) => self.running.push((socket, address)),
            Err(error) if is_short_of_files(&error) => return Err(error),
            Err(error) => self.failed.push((address, error)),
        }
        Ok(())
    }

    /// The first connection that is made within a moment.
    fn finished(&mut self, moment: Duration) -> io::Result<Option<(Socket, SocketAddr)>> {
        let moment = Timespec::try_from(moment).map_err(io::Error::other)?;
        let mut waiting: Vec<PollFd<'_>> =
            self.running.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::OUT)).collect();
        match poll(&mut waiting, Some(&moment)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> =
            waiting.iter().map(|waiting| !waiting.revents().is_empty()).collect();
        let mut winner = None;
        let running = std::mem::take(&mut self.running);
        for ((socket, address), ready) in running.into_iter().zip(ready) {
            match if ready { socket.take_error() } else { Ok(None) } {
                Ok(None) if ready && winner.is_none() => winner = Some((socket, address)),
                Ok(None) => self.running.push((socket, address)),
                Ok(Some(error)) | Err(error) => {
                    self.has_lost = true;
                    self.failed.push((address, error));
                }
            }
        }
        Ok(winner)
    }

    /// Why no address answered: the one reason, or that of each.
    fn lost(mut self) -> io::Error {
        match self.failed.len() {
            0 => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
            1 => self.failed.remove(0).1,
            _ => {
                let kind =
                    self.failed.last().map_or(io::ErrorKind::Other, |(_, error)| error.kind());
                let each: Vec<String> = self
                    .failed
                    .iter()
                    .map(|(address, error)| format!("{address}: {error}"))
                    .collect();
                io::Error::new(kind, each.join("; "))
            }
        }
    }
}

/// Begins to connect; the system goes on with it.
fn begin(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The system gives the lowest number that is free, so the last ones are left for files.
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = most.saturating_sub(socket.as_raw_fd().unsigned_abs().into());
    if left <= config::FILES_KEPT.min(most / 2) {
        return Err(Errno::MFILE.into());
    }
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tcp::Listener;
    use super::*;

    fn parsed(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns() {
        let mut addresses = parsed(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        take_turns(&mut addresses);
        assert_eq!(addresses, parsed(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
    }

    #[test]
    fn an_address_that_never_answers_does_not_keep_the_next_one_from_it() {
        // Its backlog is full, so the system leaves newcomers without an answer.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        silent.bind(&parsed(&["127.0.0.1:0"])[0].into()).unwrap();
        silent.listen(0).unwrap();
        let dead = silent.local_addr().unwrap().as_socket().unwrap();
        let mut filling: Vec<Socket> = Vec::new();
        for _ in 0..4 {
            filling.push(begin(dead).unwrap());
        }
        let listener = Listener::bind(&parsed(&["127.0.0.1:0"])).unwrap();
        let good = listener.address().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let (_, answered) = dial_before(&[dead, good], deadline, &Cancel::new()).unwrap();
        assert_eq!(answered, good);
        let begun = Instant::now() + Duration::from_millis(100);
        let error = dial_before(&[dead], begun, &Cancel::new()).err().unwrap();
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::TimedOut, "no answer".to_owned())
        );
    }

    #[test]
    fn when_nobody_answers_each_address_is_named_with_its_reason() {
        let gone: Vec<SocketAddr> = (0..2)
            .map(|_| Listener::bind(&parsed(&["127.0.0.1:0"])).unwrap().address().unwrap())
            .collect();
        let error = dial(&gone, Duration::from_secs(60), &Cancel::new()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(
            gone.iter().all(|address| error.to_string().contains(&address.to_string())),
            "{error}"
        );
        let error = dial(&gone[..1], Duration::from_secs(60), &Cancel::new()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_address_that_means_everywhere_leads_nowhere() {
        for address in ["0.0.0.0", "::"] {
            let peer = Peer::at("p".parse().unwrap(), address, 1);
            let error =
                Tcp::default().dial(&peer, Duration::from_secs(60), &Cancel::new()).err().unwrap();
            assert!(
                error.to_string().ends_with("is no machine's address; write that of p"),
                "{error}"
            );
        }
    }
}
