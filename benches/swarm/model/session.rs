//! The serving end of a connection: one request after the other, as `serve/responder.rs` does.

use std::collections::VecDeque;

use peershare::config;
use peershare::content::ChunkIndex;
use peershare::serve::gate::Ticket;

use super::{Answer, Connection, Happens, ORIGIN, Request, Simulation};

/// One session.
#[derive(Default)]
pub(super) struct Session {
    requests: VecDeque<Request>,
    doing: Doing,
    /// Counts the reads that waited.
    waits: u64,
    /// The head of a chunk that is handed out; it goes with the chunk.
    head: Option<Answer>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Doing {
    #[default]
    Nothing,
    /// Until the chunk is there.
    Waits(ChunkIndex),
    /// Until it is its turn to send the chunk.
    Queues(ChunkIndex),
    /// Until the system has taken the chunk: all but [`UNSENT`](config::UNSENT) has left.
    Sends(ChunkIndex, Option<Ticket>),
    Ended,
}

impl Simulation {
    /// A request has come.
    pub(super) fn asked(&mut self, at: usize, request: Request) {
        if !self.targets[self.connections[at].server].is_lost() {
            self.connections[at].session.requests.push_back(request);
            self.serve(at);
        }
    }

    /// Answers what can be answered now.
    fn serve(&mut self, at: usize) {
        while self.connections[at].session.doing == Doing::Nothing {
            let Some(request) = self.connections[at].session.requests.pop_front() else { return };
            match request {
                Request::Next { seen, want } => self.hand_out(at, seen, want),
                Request::Read(index) => self.read(at, index),
            }
        }
    }

    fn hand_out(&mut self, at: usize, seen: u64, want: bool) {
        let (client, now) = (self.connections[at].client, self.now());
        let (handout, name) = (&mut self.handout, &self.targets[client].name);
        let chunk = if want { handout.next(name, now) } else { None };
        let news = handout.news(name, seen, now);
        if let Some(chunk) = chunk {
            self.report.handed[chunk.as_usize()] += 1;
        }
        let mut others: Vec<(usize, Vec<ChunkIndex>)> = Vec::new();
        for (from, chunks) in news.handed {
            let from = from.parse().unwrap();
            let chunks = chunks
                .into_iter()
                .filter_map(|number| self.scenario.layout.index(number))
                .collect();
            others.push((from, chunks));
        }
        let answer = Answer::Handed { chunk, others, seen: news.seen, all: news.all };
        let Some(index) = chunk else {
            return self.network.send(&mut self.clock, at, 0, answer);
        };
        self.connections[at].session.head = Some(answer);
        self.await_turn(at, index);
    }

    fn read(&mut self, at: usize, index: ChunkIndex) {
        let server = self.connections[at].server;
        if server == ORIGIN {
            // Turns are for what is handed out, and for members.
            return self.send(at, index, None);
        }
        if self.targets[server].has(index) {
            return self.await_turn(at, index);
        }
        let session = &mut self.connections[at].session;
        (session.doing, session.waits) = (Doing::Waits(index), session.waits + 1);
        let wait = u64::from(config::MEMBER_WAIT_MS) * 1_000_000;
        self.clock.after(wait, Happens::Expires(at, session.waits));
        self.targets[server].waits_for(index, at);
    }

    /// The chunk that a read waited for is there.
    pub(super) fn come(&mut self, at: usize, index: ChunkIndex) {
        if self.connections[at].session.doing == Doing::Waits(index) {
            self.await_turn(at, index);
        }
    }

    /// The chunk that a read waited for did not come in time.
    pub(super) fn expires(&mut self, at: usize, wait: u64) {
        let Connection { server, session, .. } = &mut self.connections[at];
        let waits = matches!(session.doing, Doing::Waits(_)) && session.waits == wait;
        if waits && !self.targets[*server].is_lost() {
            session.doing = Doing::Nothing;
            self.network.send(&mut self.clock, at, 0, Answer::NotYet);
            self.serve(at);
        }
    }

    /// The session sends the chunk as soon as it is its turn.
    fn await_turn(&mut self, at: usize, index: ChunkIndex) {
        self.connections[at].session.doing = Doing::Queues(index);
        self.queue(at, self.scenario.layout.chunk_len(index) as u64);
    }

    /// It is the turn of that session, which may have ended meanwhile.
    pub(super) fn may_send(&mut self, at: usize, ticket: Ticket) {
        let Connection { server, session, .. } = &self.connections[at];
        let Doing::Queues(index) = session.doing else { return self.end_turn(*server, ticket) };
        self.send(at, index, Some(ticket));
        self.serve(at);
    }

    fn send(&mut self, at: usize, index: ChunkIndex, turn: Option<Ticket>) {
        let Connection { server, session, .. } = &mut self.connections[at];
        session.doing = Doing::Sends(index, turn);
        let bytes = self.scenario.layout.chunk_len(index) as u64;
        if *server == ORIGIN {
            self.report.origin_sent += bytes;
        }
        match session.head.take() {
            Some(head) => {
                self.network.send(&mut self.clock, at, 0, head);
                self.network.send(&mut self.clock, at, bytes, Answer::Payload(index));
            }
            None => self.network.send(&mut self.clock, at, bytes, Answer::Chunk(index)),
        }
        self.taken(at);
    }

    /// A piece has left.
    pub(super) fn left(&mut self, at: usize) {
        if self.taken(at) {
            self.serve(at);
        }
    }

    /// Whether the system has taken what the session sends; then it is counted and done.
    fn taken(&mut self, at: usize) -> bool {
        let Connection { client, server, session, .. } = &mut self.connections[at];
        let Doing::Sends(index, turn) = session.doing else { return false };
        if self.network.unsent(at) > u64::from(config::UNSENT) {
            return false;
        }
        session.doing = Doing::Nothing;
        let (client, server) = (*client, *server);
        turn.into_iter().for_each(|ticket| self.end_turn(server, ticket));
        if server != ORIGIN {
            let reader = self.targets[client].name.clone();
            self.targets[server].deliveries.sent(&reader, index);
        }
        true
    }

    /// The connection ends.
    pub(super) fn hang_up(&mut self, at: usize) {
        let Connection { client, server, session, .. } = &mut self.connections[at];
        let (client, server) = (*client, *server);
        let doing = std::mem::replace(&mut session.doing, Doing::Ended);
        session.requests.clear();
        if let Doing::Sends(_, Some(ticket)) = doing {
            self.end_turn(server, ticket);
        }
        self.network.close(&mut self.clock, at);
        if server != ORIGIN {
            let reader = self.targets[client].name.clone();
            self.targets[server].deliveries.forget(&reader);
        }
    }
}
