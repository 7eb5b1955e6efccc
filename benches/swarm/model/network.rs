//! Links and what travels over them: no threads, no sockets, an invented clock.
//!
//! Every peer has an uplink and a downlink. An uplink sends one *piece* after the other and gives
//! every connection with something to send its turn; a downlink takes pieces in the order in which
//! they come. In front of a downlink is room for [`QUEUE`]; who finds it full waits, first come
//! first served, so nothing is ever lost. Messages without bytes take no time but the latency.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Nanoseconds since the upload began.
pub type Time = u64;

/// Bytes that an uplink sends of one connection before it is another's turn: a leaf.
const PIECE: u64 = 16 << 10;

/// What fits in front of a downlink, in nanoseconds of its rate.
const QUEUE: Time = 50_000_000;

/// Way from one peer to another, in nanoseconds.
pub const LATENCY: Time = 1_000_000;

/// Rates of one peer's link, in bytes a second.
#[derive(Clone, Copy)]
pub struct Link {
    pub up: u64,
    pub down: u64,
}

/// What happens next, somewhere.
#[derive(Clone, Copy)]
pub enum Event<E> {
    /// A piece of this connection has left its sender.
    Sent(usize),
    /// A piece of this connection is at its receiver.
    Delivered(usize),
    /// For those who use the network.
    Other(E),
}

/// Events in the order of their times, and of their making.
pub struct Clock<E> {
    pub now: Time,
    made: u64,
    due: BinaryHeap<Reverse<Due<E>>>,
}

struct Due<E> {
    at: (Time, u64),
    event: Event<E>,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl<E> Clock<E> {
    pub fn new() -> Self {
        Self { now: 0, made: 0, due: BinaryHeap::new() }
    }

    pub fn at(&mut self, time: Time, event: Event<E>) {
        self.made += 1;
        self.due.push(Reverse(Due { at: (time, self.made), event }));
    }

    /// So many nanoseconds from now.
    pub fn after(&mut self, time: Time, event: E) {
        self.at(self.now + time, Event::Other(event));
    }

    pub fn next(&mut self) -> Option<Event<E>> {
        let Reverse(due) = self.due.pop()?;
        self.now = due.at.0;
        Some(due.event)
    }
}

/// One peer's end of the network.
struct End {
    link: Link,
    /// Its uplink carries a piece.
    sending: bool,
    /// Connections that wait for its uplink.
    ready: VecDeque<usize>,
    /// When its downlink has taken all that was sent so far.
    taken_at: Time,
    /// Bytes on their way to it, and how many may be.
    coming: u64,
    room: u64,
    /// Connections that wait for that room.
    held: VecDeque<usize>,
    /// Neither sends nor takes anything any more.
    silent: bool,
}

/// What one connection carries from the side that serves to the side that fetches.
struct Flow<M> {
    from: usize,
    to: usize,
    /// Bytes left of each message that has not left yet.
    out: VecDeque<(u64, M)>,
    unsent: u64,
    /// Bytes and ended messages of each piece under way.
    under_way: VecDeque<(u64, Vec<M>)>,
    /// Waits for the uplink or for room.
    queued: bool,
    /// Room in front of the downlink that is kept for its next piece.
    reserved: u64,
    closed: bool,
}

/// All links, and all connections over them; `M` is what is sent.
pub struct Network<M> {
    ends: Vec<End>,
    flows: Vec<Flow<M>>,
}

impl<M> Network<M> {
    pub fn new(links: &[Link]) -> Self {
        let end = |link: &Link| End {
            link: *link,
            sending: false,
            ready: VecDeque::new(),
            taken_at: 0,
            coming: 0,
            room: (link.down * QUEUE / 1_000_000_000).max(4 * PIECE),
            held: VecDeque::new(),
            silent: false,
        };
        Self { ends: links.iter().map(end).collect(), flows: Vec::new() }
    }

    /// A new connection over which `from` answers `to`.
    pub fn open(&mut self, from: usize, to: usize) -> usize {
        let (out, under_way) = (VecDeque::new(), VecDeque::new());
        let flow =
            Flow { from, to, out, unsent: 0, under_way, queued: false, reserved: 0, closed: false };
        self.flows.push(flow);
        self.flows.len() - 1
    }

    /// What has not left yet never does.
    pub fn close<E>(&mut self, clock: &mut Clock<E>, at: usize) {
        let flow = &mut self.flows[at];
        (flow.closed, flow.unsent) = (true, 0);
        flow.out.clear();
        let to = flow.to;
        self.ends[to].coming -= std::mem::take(&mut flow.reserved);
        self.make_room(clock, to);
    }

    /// That peer is not heard of any more, and nobody is told.
    pub fn silence(&mut self, peer: usize) {
        self.ends[peer].silent = true;
    }

    /// Bytes of a connection that have not left yet.
    pub fn unsent(&self, flow: usize) -> u64 {
        self.flows[flow].unsent
    }

    /// Queues a message of so many bytes.
    pub fn send<E>(&mut self, clock: &mut Clock<E>, at: usize, bytes: u64, message: M) {
        let flow = &mut self.flows[at];
        if flow.closed {
            return;
        }
        flow.out.push_back((bytes, message));
        flow.unsent += bytes;
        if !std::mem::replace(&mut flow.queued, true) {
            let from = flow.from;
            self.ends[from].ready.push_back(at);
            self.turn(clock, from);
        }
    }

    /// Sends the next piece of that peer, if it can.
    fn turn<E>(&mut self, clock: &mut Clock<E>, peer: usize) {
        while !self.ends[peer].sending && !self.ends[peer].silent {
            let Some(at) = self.ends[peer].ready.pop_front() else { return };
            let flow = &mut self.flows[at];
            let piece = flow.next_piece();
            let to = &mut self.ends[flow.to];
            if piece > 0 && flow.reserved == 0 {
                if !to.held.is_empty() || to.coming + piece > to.room {
                    to.held.push_back(at);
                    continue;
                }
                to.coming += piece;
            }
            flow.reserved = 0;
            let ended = flow.take(piece);
            flow.under_way.push_back((piece, ended));
            if piece > 0 {
                let end = &mut self.ends[peer];
                end.sending = true;
                clock.at(clock.now + time(piece, end.link.up), Event::Sent(at));
            } else {
                flow.queued = false;
                clock.at(to.taken_at.max(clock.now + LATENCY), Event::Delivered(at));
            }
        }
    }

    /// A piece has left; the connection may have its next turn.
    pub fn sent<E>(&mut self, clock: &mut Clock<E>, at: usize) {
        let flow = &mut self.flows[at];
        let piece = flow.under_way.back().map_or(0, |(bytes, _)| *bytes);
        flow.unsent = flow.unsent.saturating_sub(piece);
        let to = &mut self.ends[flow.to];
        to.taken_at = to.taken_at.max(clock.now + LATENCY) + time(piece, to.link.down);
        if !to.silent {
            clock.at(to.taken_at, Event::Delivered(at));
        }
        flow.queued = !flow.out.is_empty();
        let (from, again) = (flow.from, flow.queued);
        self.ends[from].sending = false;
        if again {
            self.ends[from].ready.push_back(at);
        }
        self.turn(clock, from);
    }

    /// A piece is there: the messages that ended with it.
    pub fn delivered<E>(&mut self, clock: &mut Clock<E>, at: usize) -> Vec<M> {
        let flow = &mut self.flows[at];
        let (piece, ended) = flow.under_way.pop_front().unwrap_or_default();
        let (to, closed) = (flow.to, flow.closed);
        self.ends[to].coming -= piece;
        self.make_room(clock, to);
        if closed { Vec::new() } else { ended }
    }

    /// Lets those go on who waited for room in front of that peer's downlink.
    fn make_room<E>(&mut self, clock: &mut Clock<E>, peer: usize) {
        while let Some(at) = self.ends[peer].held.front().copied() {
            let (flow, end) = (&mut self.flows[at], &mut self.ends[peer]);
            let piece = flow.next_piece();
            if end.coming + piece > end.room {
                return;
            }
            end.held.pop_front();
            end.coming += piece;
            flow.reserved = piece;
            let from = flow.from;
            self.ends[from].ready.push_back(at);
            self.turn(clock, from);
        }
    }
}

impl<M> Flow<M> {
    /// Bytes that go at its next turn; none when only messages without bytes wait, or nothing.
    fn next_piece(&self) -> u64 {
        let first = self.out.iter().find(|(bytes, _)| *bytes > 0);
        first.map_or(0, |(bytes, _)| PIECE.min(*bytes))
    }

    /// Takes a piece off, and says which messages end with it: those without bytes before it go
    /// along.
    fn take(&mut self, piece: u64) -> Vec<M> {
        let mut ended = Vec::new();
        while let Some((bytes, _)) = self.out.front_mut() {
            let before = *bytes == 0;
            *bytes -= piece.min(*bytes);
            if *bytes == 0 {
                ended.extend(self.out.pop_front().map(|(_, message)| message));
            }
            if !before {
                break;
            }
        }
        ended
    }
}

/// How long a link of that rate, in bytes a second, takes for so many bytes.
fn time(bytes: u64, rate: u64) -> Time {
    bytes * 1_000_000_000 / rate
}
