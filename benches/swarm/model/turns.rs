//! Whose chunk a peer sends next: what `serve/gate.rs` does with its [`Turns`], without threads.

use std::collections::BTreeMap;

use peershare::serve::gate::{Ticket, Turns};

use super::{Happens, Simulation, Time, nanos};

/// The sends of one peer that wait or go.
#[derive(Default)]
pub(super) struct Queue {
    turns: Turns,
    /// The connections that wait, the next one first.
    waiting: BTreeMap<Ticket, usize>,
    /// When it is looked next whether one of them may go.
    looks: Option<Time>,
}

impl Simulation {
    /// A session waits for its turn to send so many bytes.
    pub(super) fn queue(&mut self, at: usize, bytes: u64) {
        let (client, server) = (self.connections[at].client, self.connections[at].server);
        let queue = &mut self.queues[server];
        let ticket = queue.turns.enter(&self.targets[client].name, bytes);
        queue.waiting.insert(ticket, at);
        self.look_after(server, 0);
    }

    /// A send of that peer is over.
    pub(super) fn end_turn(&mut self, server: usize, ticket: Ticket) {
        self.queues[server].turns.end(ticket);
        self.look_after(server, 0);
    }

    /// Looks so many nanoseconds from now, at the latest, who may go.
    fn look_after(&mut self, server: usize, wait: Time) {
        let (queue, time) = (&mut self.queues[server], self.clock.now + wait);
        if queue.looks.is_none_or(|looks| looks > time) {
            queue.looks = Some(time);
            self.clock.after(wait, Happens::Turns(server));
        }
    }

    /// Lets those go whose turn it is.
    pub(super) fn take_turns(&mut self, server: usize) {
        let now = self.now();
        // It may have been looked before, for a better cause.
        if self.queues[server].looks.take_if(|looks| *looks <= self.clock.now).is_none() {
            return;
        }
        while let Some((ticket, at)) = self.queues[server].waiting.pop_first() {
            let queue = &mut self.queues[server];
            if let Err(wait) = queue.turns.begin(ticket, now) {
                queue.waiting.insert(ticket, at);
                return self.look_after(server, nanos(wait));
            }
            self.may_send(at, ticket);
        }
    }
}
