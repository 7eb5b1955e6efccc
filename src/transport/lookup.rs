//! From a peer's address to socket addresses, without waiting longer than the caller wants to.
//!
//! The system's name look-up can neither be cancelled nor given a deadline, and a silent name
//! server holds it up for half a minute. So it runs in a thread of its own, one for a name, and
//! whoever asked waits for it as long as it likes. What came is remembered.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::Cancel;
use crate::config;
use crate::locks::{lock, wait_timeout};
use crate::threads;

/// The names that were looked up. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<HashMap<String, Known>>,
    /// Something is known that was not before.
    changed: Condvar,
}

/// What is known of a name.
#[derive(Clone, Debug)]
enum Known {
    /// A thread asks the system.
    Asked,
    /// These are its addresses.
    Found { addresses: Vec<SocketAddr>, at: Instant },
    /// It has none, or nobody could say.
    Failed { error: String, at: Instant },
}

/// How the system looks a name up.
type Resolve = fn(&str) -> io::Result<Vec<SocketAddr>>;

fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

impl Names {
    /// The addresses of a host, with that port, before `deadline`; a cancel ends the waiting early.
    pub(super) fn addresses(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        cancel: &Cancel,
    ) -> io::Result<Vec<SocketAddr>> {
        self.addresses_by(resolve, host, port, (deadline, cancel))
    }

    /// Nothing is remembered of a name of which no address answers.
    pub(super) fn forget(&self, host: &str) {
        let mut known = self.0.lock();
        if matches!(known.get(host), Some(Known::Found { .. })) {
            known.remove(host);
        }
    }

    fn addresses_by(
        &self,
        resolve: Resolve,
        host: &str,
        port: u16,
        (deadline, cancel): (Instant, &Cancel),
    ) -> io::Result<Vec<SocketAddr>> {
        // What is an address needs no look-up; one with a zone is read by the system, which is
        // quick.
        if host.parse::<IpAddr>().is_ok() || host.contains(':') {
            return Ok((host, port).to_socket_addrs()?.collect());
        }
        let with_port = |address: &SocketAddr| SocketAddr::new(address.ip(), port);
        let mut known = self.0.lock();
        loop {
            match known.get(host) {
                Some(Known::Found { addresses, at }) if at.elapsed() < config::NAME_KEPT => {
                    return Ok(addresses.iter().map(with_port).collect());
                }
                Some(Known::Failed { error, at }) if at.elapsed() < config::NO_NAME_KEPT => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, error.clone()));
                }
                Some(Known::Asked) => {}
                _ => {
                    // Where too many are under way, one of them has to end first.
                    let under_way =
                        known.values().filter(|known| matches!(known, Known::Asked)).count();
                    if under_way < config::LOOKUPS {
                        self.ask(host, resolve)?;
                        known.insert(host.to_owned(), Known::Asked);
                    }
                }
            }
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = format!("the host name {host} is not looked up in time");
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            let moment = left.min(CANCEL_POLL);
            known = wait_timeout(&self.0.changed, known, moment);
        }
    }

    /// Starts the thread. Nobody joins it: it may take longer than anybody wants to wait, and holds
    /// nothing but the name.
    fn ask(&self, host: &str, resolve: Resolve) -> io::Result<()> {
        let (shared, host) = (Arc::clone(&self.0), host.to_owned());
        let work = move || {
            let answer = match resolve(&host) {
                Ok(addresses) if addresses.is_empty() => Err(io::Error::other("it has no address")),
                other => other,
            };
            let at = Instant::now();
            let known = match answer {
                Ok(addresses) => Known::Found { addresses, at },
                Err(error) => {
                    Known::Failed { error: format!("cannot look up {host}: {error}"), at }
                }
            };
            shared.lock().insert(host, known);
            shared.changed.notify_all();
        };
        threads::start("lookup", work).map(drop)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        lock(&self.known)
    }
}

/// How often a wait looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn an_address_is_no_name() {
        fn never(_: &str) -> io::Result<Vec<SocketAddr>> {
            panic!("looked up");
        }
        let names = Names::default();
        for (host, expected) in [("10.0.0.1", "10.0.0.1:7"), ("::1", "[::1]:7")] {
            let found = names.addresses_by(never, host, 7, (late(), &Cancel::new())).unwrap();
            assert_eq!(found, [expected.parse().unwrap()]);
        }
    }

    #[test]
    fn a_look_up_that_never_ends_holds_nobody_up_and_is_begun_once() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        fn silent(_: &str) -> io::Result<Vec<SocketAddr>> {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            loop {
                thread::park();
            }
        }
        let names = Names::default();
        for _ in 0..3 {
            let error =
                names.addresses_by(silent, "silent", 7, (soon(), &Cancel::new())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let cancel = Cancel::new();
        cancel.cancel();
        let error = names.addresses_by(silent, "silent", 7, (late(), &cancel)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        let quick = names.addresses_by(
            |_| Ok(vec![([10, 0, 0, 2], 0).into()]),
            "quick",
            7,
            (late(), &Cancel::new()),
        );
        assert_eq!(quick.unwrap(), [([10, 0, 0, 2], 7).into()]);
        assert_eq!(BEGUN.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_was_found_is_remembered_until_it_is_forgotten() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn counted(_: &str) -> io::Result<Vec<SocketAddr>> {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Ok(vec![([10, 0, 0, 1], 0).into()])
        }
        let names = Names::default();
        for port in [1, 2] {
            names.addresses_by(counted, "n", port, (late(), &Cancel::new())).unwrap();
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
        names.forget("n");
        names.addresses_by(counted, "n", 3, (late(), &Cancel::new())).unwrap();
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn names_beyond_the_limit_wait_for_room() {
        fn slow(host: &str) -> io::Result<Vec<SocketAddr>> {
            // Long enough for all to be asked for before the first has an answer.
            thread::park_timeout(Duration::from_millis(20));
            Ok(vec![([10, 0, 0, host.len() as u8], 0).into()])
        }
        let names = Names::default();
        thread::scope(|scope| {
            let names = &names;
            let ask = |number: usize| {
                let host = "n".repeat(number + 1);
                names.addresses_by(slow, &host, 7, (late(), &Cancel::new()))
            };
            let asking: Vec<_> =
                (0..2 * config::LOOKUPS).map(|number| scope.spawn(move || ask(number))).collect();
            assert!(asking.into_iter().all(|asked| asked.join().unwrap().is_ok()));
        });
    }

    #[test]
    fn a_name_without_addresses_is_an_error_that_names_it() {
        let error = Names::default()
            .addresses_by(|_| Ok(vec![]), "n", 7, (late(), &Cancel::new()))
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot look up n: it has no address");
    }
}
