//! What a server gives to those who connect, at most.

use std::time::Duration;

use super::seats::Rule;
use crate::config;
use crate::connection::Deadlines;

/// Limits of one server. The default is what the programs use; tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Of these, connections of one address; a share of them unless said otherwise.
    pub per_address: Option<usize>,
    /// How long a connection has to be idle before somebody else may have its seat.
    pub spared: Duration,
    /// How long is waited for what.
    pub deadlines: Deadlines,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: config::MAX_CONNECTIONS,
            per_address: None,
            spared: config::IDLE_SPARED,
            deadlines: Deadlines::default(),
        }
    }
}

impl Limits {
    /// Connections that one address may have.
    pub fn of_one_address(&self) -> usize {
        let share = self.connections.div_ceil(config::ADDRESS_SHARE);
        self.per_address.unwrap_or(share).min(self.connections)
    }

    /// These, of which open files allow so many connections.
    pub(super) fn within(self, open_files: u64) -> Self {
        let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let most = open_files.saturating_sub(config::FILES_BESIDE) / config::FILES_A_CONNECTION;
        Self { connections: self.connections.min(most.max(1)), ..self }
    }

    pub(super) fn rule(&self) -> Rule {
        let Self { connections: most, spared, .. } = *self;
        Rule { most, per_address: self.of_one_address(), spared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_unless_it_is_said_and_never_more_than_there_is() {
        let share = |connections, per_address| {
            Limits { connections, per_address, ..Limits::default() }.of_one_address()
        };
        assert_eq!(share(2048, None), 1024);
        assert_eq!([share(1, None), share(3, None)], [1, 2]);
        assert_eq!([share(10, Some(7)), share(10, Some(70))], [7, 10]);
    }

    #[test]
    fn seats_are_no_more_than_open_files_allow() {
        let within = |files| Limits::default().within(files).connections;
        assert_eq!(within(1024), 480);
        assert_eq!(within(10), 1, "somebody is served always");
        assert_eq!(within(u64::MAX), config::MAX_CONNECTIONS);
    }
}
