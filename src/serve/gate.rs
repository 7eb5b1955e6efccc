//! How many chunks are sent at once to the members of a swarm.
//!
//! Many sends at once over one uplink make all of them late, and nobody can pass on a part of a
//! chunk. And TCP shares an uplink unevenly: some members would get chunks faster than they can
//! pass them on while the others run dry. So few sends go at a time, the peer that was sent least
//! comes first, and a send that takes long does not count any more, because a slow peer must not
//! hold up the others.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::config;
use crate::locks::{lock, wait_timeout};

/// Lets few sends go at once. Shared by all connections of a server, or of an uploader.
#[derive(Default)]
pub struct Gate {
    turns: Mutex<Turns>,
    changed: Condvar,
}

/// The right to send one chunk, until it is dropped.
pub struct Turn<'a> {
    gate: &'a Gate,
    ticket: Ticket,
}

/// Which send: bytes that its peer was sent before, and its number. The least one goes first.
// Public for `benches/` alone, as `Turns` is.
#[doc(hidden)]
pub type Ticket = (u64, u64);

/// Who sends and who waits: pure, told `now`.
#[doc(hidden)]
#[derive(Default)]
pub struct Turns {
    /// Sends so far.
    count: u64,
    /// Sends under way, and since when.
    going: HashMap<Ticket, Instant>,
    waiting: Vec<Ticket>,
    /// Bytes that each peer was sent, or will be.
    sent: HashMap<String, u64>,
}

impl Gate {
    /// Waits until `len` bytes may be sent to `peer`.
    pub fn turn(&self, peer: &str, len: usize) -> Turn<'_> {
        let mut turns = self.turns();
        let ticket = turns.enter(peer, len as u64);
        while let Err(wait) = turns.begin(ticket, Instant::now()) {
            turns = wait_timeout(&self.changed, turns, wait);
        }
        drop(turns);
        // The next in line may go as well.
        self.changed.notify_all();
        Turn { gate: self, ticket }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        lock(&self.turns)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.gate.turns().end(self.ticket);
        self.gate.changed.notify_all();
    }
}

impl Turns {
    /// One more send waits, of `len` bytes to `peer`.
    pub fn enter(&mut self, peer: &str, len: u64) -> Ticket {
        // One that comes late, or back, is not owed all that the others had meanwhile.
        let least = self.waiting.iter().map(|(before, _)| *before).min().unwrap_or(0);
        if self.sent.len() >= config::GATE_PEERS {
            // Whoever greets chooses its id: what is remembered of them must end somewhere.
            self.sent.clear();
        }
        let before = self.sent.entry(peer.to_owned()).or_default();
        *before = least.saturating_sub(config::CATCH_UP).max(*before);
        let ticket = (*before, self.count);
        *before = before.saturating_add(len);
        self.count += 1;
        self.waiting.push(ticket);
        ticket
    }

    /// Begins that send, or says how long to wait at most before asking again.
    ///
    /// # Errors
    ///
    /// With that time, when it is another's turn or enough sends go.
    pub fn begin(&mut self, ticket: Ticket, now: Instant) -> Result<(), Duration> {
        let age = |since: &Instant| now.saturating_duration_since(*since);
        let ages = || self.going.values().map(age).filter(|age| *age < config::LONG_SEND);
        if self.waiting.iter().min() == Some(&ticket) && ages().count() < config::SENDS_AT_ONCE {
            self.waiting.retain(|other| *other != ticket);
            self.going.insert(ticket, now);
            return Ok(());
        }
        Err(ages().max().map_or(config::LONG_SEND, |oldest| config::LONG_SEND - oldest))
    }

    /// That send is over, or will not be.
    pub fn end(&mut self, ticket: Ticket) {
        self.going.remove(&ticket);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_sends_go_at_once_and_the_peer_that_was_sent_least_comes_first() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let first: Vec<Ticket> = (0..config::SENDS_AT_ONCE).map(|_| turns.enter("a", 10)).collect();
        first.iter().for_each(|ticket| turns.begin(*ticket, now).unwrap());
        let (again, other) = (turns.enter("a", 10), turns.enter("b", 10));
        assert!(turns.begin(other, now).is_err(), "too many at once");
        turns.end(first[0]);
        assert!(turns.begin(again, now).is_err(), "b was sent less");
        turns.begin(other, now).unwrap();
    }

    #[test]
    fn one_that_comes_late_takes_turns_with_those_that_were_sent_much() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        turns.enter("a", 10 * config::CATCH_UP);
        turns.waiting.clear();
        let (a, late) = (turns.enter("a", 10), turns.enter("b", config::CATCH_UP + 1));
        let again = turns.enter("b", 10);
        turns.begin(late, now).unwrap();
        assert!(turns.begin(again, now).is_err());
        turns.begin(a, now).unwrap();
    }

    #[test]
    fn a_send_that_takes_long_does_not_hold_up_the_others() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for _ in 0..config::SENDS_AT_ONCE {
            let ticket = turns.enter("slow", 10);
            turns.begin(ticket, now).unwrap();
        }
        let other = turns.enter("b", 10);
        let wait = turns.begin(other, now).unwrap_err();
        assert_eq!(wait, config::LONG_SEND);
        turns.begin(other, now + wait).unwrap();
    }

    #[test]
    fn a_dropped_turn_lets_the_next_one_go() {
        let gate = Gate::default();
        (0..3 * config::SENDS_AT_ONCE).for_each(|_| drop(gate.turn("a", 1)));
        assert!(gate.turns().going.is_empty() && gate.turns().waiting.is_empty());
    }

    /// What may happen at a gate; numbers say which of those there are, modulo how many.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter { peer: usize, len: u64 },
        Begin(usize),
        End(usize),
        Pass(Duration),
    }

    /// So many steps at most …
    const STEPS: usize = 64;

    /// … that nobody is owed so much that it would be forgotten.
    const LONGEST: u64 = config::CATCH_UP / STEPS as u64;

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..4_usize, 1..=LONGEST).prop_map(|(peer, len)| Step::Enter { peer, len }),
            4 => any::<usize>().prop_map(Step::Begin),
            1 => any::<usize>().prop_map(Step::End),
            1 => (0..=2 * config::LONG_SEND.as_millis() as u64)
                .prop_map(|time| Step::Pass(Duration::from_millis(time))),
        ]
    }

    /// A gate, and what its callers know.
    struct Watched {
        turns: Turns,
        now: Instant,
        /// Bytes for each peer so far.
        asked: [u64; 4],
        /// Those that its peer asked for before, how many sends there were before, and the ticket.
        waiting: Vec<(u64, usize, Ticket)>,
        entered: usize,
        going: Vec<(Instant, Ticket)>,
    }

    impl Watched {
        fn young(&self) -> usize {
            let is_young = |since: Instant| self.now - since < config::LONG_SEND;
            self.going.iter().filter(|(since, _)| is_young(*since)).count()
        }

        /// Tries to begin; says how long to wait, or nothing when it went.
        fn begin(&mut self, at: usize) -> Option<Duration> {
            let (waits, young) = (self.waiting[at], self.young());
            let is_least = self.waiting.iter().min() == Some(&waits);
            match self.turns.begin(waits.2, self.now) {
                Ok(()) => {
                    assert!(is_least, "another was served less");
                    self.waiting.remove(at);
                    self.going.push((self.now, waits.2));
                    assert!(self.young() <= config::SENDS_AT_ONCE, "too many at once");
                    None
                }
                Err(wait) => {
                    assert!(!is_least || young == config::SENDS_AT_ONCE, "waits for nothing");
                    assert!(!wait.is_zero() && wait <= config::LONG_SEND, "{wait:?}");
                    Some(wait)
                }
            }
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Enter { peer, len } => {
                    let ticket = self.turns.enter(&peer.to_string(), len);
                    self.waiting.push((self.asked[peer], self.entered, ticket));
                    self.asked[peer] += len;
                    self.entered += 1;
                }
                Step::Begin(at) if !self.waiting.is_empty() => {
                    self.begin(at % self.waiting.len());
                }
                Step::End(at) if !self.going.is_empty() => {
                    let (_, ticket) = self.going.swap_remove(at % self.going.len());
                    self.turns.end(ticket);
                }
                Step::Pass(time) => self.now += time,
                Step::Begin(_) | Step::End(_) => {}
            }
        }

        /// All that wait go, though nothing that goes ends.
        fn drain(&mut self) {
            while !self.waiting.is_empty() {
                let least = (0..self.waiting.len()).min_by_key(|at| self.waiting[*at]).unwrap();
                if let Some(wait) = self.begin(least) {
                    self.now += wait;
                    assert_eq!(self.begin(least), None, "one that was told when does not go");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn few_go_at_once_the_least_served_goes_first_and_all_go_in_the_end(
            steps in proptest::collection::vec(step(), 0..STEPS),
        ) {
            let mut watched = Watched {
                turns: Turns::default(),
                now: Instant::now(),
                asked: [0; 4],
                waiting: Vec::new(),
                entered: 0,
                going: Vec::new(),
            };
            steps.into_iter().for_each(|step| watched.step(step));
            watched.drain();
            for (_, ticket) in watched.going.drain(..) {
                watched.turns.end(ticket);
            }
            assert!(watched.turns.going.is_empty() && watched.turns.waiting.is_empty());
        }
    }
}
