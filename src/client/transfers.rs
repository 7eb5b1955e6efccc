//! The commands' work on the network.

use super::{Command, Execute, ExitStatus, Surroundings};
use crate::topology::Topology;

/// Executes commands over the network.
#[derive(Debug)]
pub struct Transfers {
    surroundings: Surroundings,
}

impl Transfers {
    /// For this peer and these folders.
    pub fn new(surroundings: Surroundings) -> Self {
        Self { surroundings }
    }
}

impl Execute for Transfers {
    fn execute(&mut self, _: &Command, _: &Topology) -> ExitStatus {
        self.surroundings.bars.error("not wired yet");
        ExitStatus::Failed
    }
}
