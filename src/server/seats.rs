//! Who may sit down: the connections under way, counted by where they come from.
//!
//! Nobody waits for a seat. A newcomer gets one, takes the one of a connection that idles, or is
//! turned away at once:
//!
//! | seats | newcomer |
//! |---|---|
//! | its address has less than its share, and the house is not full | sits down |
//! | its address has its share | takes the seat of the longest idle connection of that address |
//! | the house is full | takes the seat of the longest idle one of the address that has the most |
//! | none of these is idle, or not for long | is told `busy`, and when to try again |
//!
//! A connection idles while it waits for a request, from its last request on that was more than a
//! ping; one that has said nothing yet idles, too. IPv6 addresses are told apart by their first 64
//! bits, as whoever has one has all with the same beginning. Connections within this process have
//! no address, and no share.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::config;
use crate::locks::{lock, wait_timeout, wait_timeout_while};
use crate::transport::Closer;

/// The seats of one house.
pub(super) struct Seats {
    rule: Rule,
    /// Idle times are told from here on.
    opened: Instant,
    table: Mutex<Table>,
    /// A seat has become free.
    freed: Condvar,
}

/// How many may sit down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Connections in all.
    pub(super) most: usize,
    /// Connections of one address.
    pub(super) per_address: usize,
    /// One that is idle for less keeps its seat.
    pub(super) spared: Duration,
}

/// Why there is no seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    House,
    Address,
}

/// The seat of one session, given back on drop.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    idle: Arc<Idle>,
}

/// Since when a connection idles, in microseconds after the opening, plus one; 0 while it works.
/// Written with every request, so without a lock.
#[derive(Default)]
struct Idle(AtomicU64);

#[derive(Default)]
struct Table {
    next: u64,
    seats: HashMap<u64, Taken>,
    of_address: HashMap<IpAddr, usize>,
    /// Sessions that were closed for others, and have not ended yet.
    leaving: usize,
}

struct Taken {
    address: Option<IpAddr>,
    idle: Arc<Idle>,
    closer: Closer,
}

impl Seats {
    pub(super) fn new(rule: Rule) -> Arc<Self> {
        let (opened, table, freed) = (Instant::now(), Mutex::default(), Condvar::new());
        Arc::new(Self { rule, opened, table, freed })
    }

    pub(super) fn rule(&self) -> Rule {
        self.rule
    }

    /// A seat for a connection from that address, which `closer` ends; at once, or not at all.
    pub(super) fn take(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        closer: Closer,
    ) -> Result<Seat, Full> {
        let (address, now) = (address.map(counted), self.now());
        let mut table = self.table();
        let given_up = table.make_room(address, &self.rule, now)?;
        let (number, idle) = (table.next, Arc::new(Idle(AtomicU64::new(now))));
        table.next += 1;
        table.sit_down(number, Taken { address, idle: idle.clone(), closer });
        drop(table);
        given_up.iter().for_each(Closer::close);
        Ok(Seat { seats: self.clone(), number, idle })
    }

    /// Ends the longest idle connection, for something else than its seat is short; says whether
    /// there was one.
    pub(super) fn free_one(&self) -> bool {
        let mut table = self.table();
        let idle = table.longest_idle(|_| true, self.now(), self.rule.spared);
        let closer = idle.and_then(|number| table.give_up(number));
        drop(table);
        closer.inspect(Closer::close).is_some()
    }

    /// Waits until a session ends, but no longer than `time`.
    pub(super) fn wait_for_one(&self, time: Duration) {
        drop(wait_timeout(&self.freed, self.table(), time));
    }

    /// Waits until all sessions have ended, but no longer than `time`; says whether they have.
    pub(super) fn wait_for_none(&self, time: Duration) -> bool {
        let busy = |table: &mut Table| !table.seats.is_empty() || table.leaving > 0;
        !wait_timeout_while(&self.freed, self.table(), time, busy).1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Table {
    /// Sees to it that one more from that address may sit down; gives what is to be closed for it.
    fn make_room(
        &mut self,
        address: Option<IpAddr>,
        rule: &Rule,
        now: u64,
    ) -> Result<Option<Closer>, Full> {
        let of = |table: &Self, address: &IpAddr| table.of_address.get(address).copied();
        let own = address.and_then(|address| of(self, &address)).unwrap_or(0);
        let idle = if own >= rule.per_address {
            let own = |taken: &Taken| taken.address == address;
            self.longest_idle(own, now, rule.spared).ok_or(Full::Address)?
        } else if self.seats.len() >= rule.most {
            self.idle_of_most(now, rule.spared).ok_or(Full::House)?
        } else {
            return Ok(None);
        };
        Ok(self.give_up(idle))
    }

    /// The longest idle connection of the address that has the most of all that have idle ones.
    fn idle_of_most(&self, now: u64, spared: Duration) -> Option<u64> {
        let held = |taken: &Taken| {
            taken.address.and_then(|address| self.of_address.get(&address)).copied().unwrap_or(0)
        };
        self.idle(now, spared)
            .max_by_key(|(since, _, taken)| (held(taken), Reverse(*since)))
            .map(|(_, number, _)| number)
    }

    fn longest_idle(
        &self,
        among: impl Fn(&Taken) -> bool,
        now: u64,
        spared: Duration,
    ) -> Option<u64> {
        self.idle(now, spared)
            .filter(|(_, _, taken)| among(taken))
            .min_by_key(|(since, _, _)| *since)
            .map(|(_, number, _)| number)
    }

    /// Connections that have been idle for some time: since when, and which.
    fn idle(&self, now: u64, spared: Duration) -> impl Iterator<Item = (u64, u64, &Taken)> {
        let spared = u64::try_from(spared.as_micros()).unwrap_or(u64::MAX);
        self.seats.iter().filter_map(move |(number, taken)| {
            let since = taken.idle.0.load(Relaxed);
            let is_idle = since > 0 && now.saturating_sub(since) >= spared;
            is_idle.then_some((since, *number, taken))
        })
    }

    fn sit_down(&mut self, number: u64, taken: Taken) {
        if let Some(address) = taken.address {
            *self.of_address.entry(address).or_default() += 1;
        }
        self.seats.insert(number, taken);
    }

    fn stand_up(&mut self, number: u64) -> Option<Taken> {
        let taken = self.seats.remove(&number)?;
        if let Some(address) = taken.address
            && let Some(count) = self.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
        Some(taken)
    }

    /// Takes a seat away from its session, which ends when it is closed.
    fn give_up(&mut self, number: u64) -> Option<Closer> {
        let taken = self.stand_up(number)?;
        self.leaving += 1;
        Some(taken.closer)
    }
}

/// What an address counts as.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Seat {
    /// The connection waits for a request from now on.
    pub(super) fn rests(&self) {
        self.idle.0.store(self.seats.now(), Relaxed);
    }

    /// A request is being answered from now on.
    pub(super) fn works(&self) {
        self.idle.0.store(0, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.seats.table();
        if table.stand_up(self.number).is_none() {
            table.leaving = table.leaving.saturating_sub(1);
        }
        drop(table);
        self.seats.freed.notify_all();
    }
}

impl Full {
    /// What those who are turned away are told.
    pub(super) fn message(self, rule: &Rule) -> String {
        let again = config::TRY_AGAIN_SECONDS;
        match self {
            Self::House => {
                format!("all {} connections are taken; try again in {again} s", rule.most)
            }
            Self::Address => format!(
                "all {} connections that one address may have are taken; try again in {again} s",
                rule.per_address
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { most: 4, per_address: 2, spared: Duration::ZERO };

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Counts how often it was closed.
    fn counting(closed: &Arc<AtomicU64>) -> Closer {
        let closed = closed.clone();
        Closer::new(move || {
            closed.fetch_add(1, Relaxed);
        })
    }

    fn quiet() -> Closer {
        Closer::new(|| {})
    }

    fn working(seats: &Arc<Seats>, from: &str) -> Result<Seat, Full> {
        seats.take(address(from), quiet()).inspect(Seat::works)
    }

    #[test]
    fn an_address_has_its_share_and_the_rest_is_for_others() {
        let seats = Seats::new(RULE);
        let first = working(&seats, "10.0.0.1").ok().unwrap();
        let _second = working(&seats, "10.0.0.1").ok().unwrap();
        assert_eq!(working(&seats, "10.0.0.1").err(), Some(Full::Address));
        let _others = [working(&seats, "10.0.0.2"), working(&seats, "10.0.0.3")].map(Result::ok);
        assert_eq!(working(&seats, "10.0.0.4").err(), Some(Full::House));
        drop(first);
        assert!(working(&seats, "10.0.0.1").is_ok());
    }

    #[test]
    fn neighbours_of_one_ipv6_network_count_as_one_and_mapped_addresses_as_themselves() {
        let seats = Seats::new(RULE);
        let _both = [working(&seats, "2001:db8::1"), working(&seats, "2001:db8::2:3")];
        assert_eq!(working(&seats, "2001:db8::4").err(), Some(Full::Address));
        let _mapped = [working(&seats, "::ffff:10.0.0.1"), working(&seats, "10.0.0.1")];
        assert_eq!(working(&seats, "::ffff:10.0.0.1").err(), Some(Full::Address));
    }

    #[test]
    fn the_longest_idle_connection_of_the_address_makes_room() {
        let (seats, closed) = (Seats::new(RULE), Arc::default());
        let from = address("10.0.0.1");
        let early = seats.take(from, counting(&closed)).ok().unwrap();
        let busy = working(&seats, "10.0.0.1").ok().unwrap();
        early.idle.0.store(1, Relaxed);
        let late = seats.take(from, quiet()).ok().unwrap();
        assert_eq!(closed.load(Relaxed), 1);
        late.works();
        assert_eq!(working(&seats, "10.0.0.1").err(), Some(Full::Address), "nobody idles");
        busy.rests();
        assert!(working(&seats, "10.0.0.1").is_ok());
        assert!(!seats.wait_for_none(Duration::ZERO), "those that leave have not left yet");
        drop((early, busy, late));
        assert!(seats.wait_for_none(Duration::ZERO));
    }

    #[test]
    fn in_a_full_house_the_address_that_has_the_most_makes_room_for_others() {
        let (seats, closed) = (Seats::new(Rule { per_address: 3, ..RULE }), Arc::default());
        let alone = seats.take(address("10.0.0.2"), quiet()).ok().unwrap();
        alone.idle.0.store(1, Relaxed);
        let greedy: Vec<_> = (0..3)
            .map(|_| seats.take(address("10.0.0.1"), counting(&closed)).ok().unwrap())
            .collect();
        let third = seats.take(address("10.0.0.3"), quiet());
        assert!(third.is_ok() && closed.load(Relaxed) == 1, "and not the one that idles longest");
        drop(greedy);
    }

    #[test]
    fn one_that_has_hardly_begun_to_idle_keeps_its_seat() {
        let rule = Rule { most: 1, per_address: 1, spared: Duration::from_secs(60) };
        let seats = Seats::new(rule);
        let _first = seats.take(None, quiet()).ok().unwrap();
        assert_eq!(seats.take(None, quiet()).err(), Some(Full::House));
        assert!(!seats.free_one());
    }

    #[test]
    fn connections_within_the_process_have_no_share() {
        let seats = Seats::new(RULE);
        let all: Vec<_> = (0..4).map(|_| seats.take(None, quiet()).ok().unwrap()).collect();
        all.iter().for_each(Seat::works);
        assert_eq!(seats.take(None, quiet()).err(), Some(Full::House));
    }
}
