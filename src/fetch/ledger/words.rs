//! What a ledger speaks of.

use std::sync::Arc;

/// The number of a unit in one transfer: a chunk of a file, or whatever a folder is cut into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Unit(pub(super) u32);

impl Unit {
    /// The number, from 0.
    pub fn get(self) -> u32 {
        self.0
    }

    pub(in crate::fetch) fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A source's place in one ledger: the first ones have the order in which they were given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceId(pub(in crate::fetch) usize);

impl SourceId {
    /// The place, from 0.
    pub fn slot(self) -> usize {
        self.0
    }
}

/// A unit that a transfer learns of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUnit {
    /// What the job calls it.
    pub name: u32,
    /// Its length in bytes.
    pub len: u32,
    /// The places of those of the first sources that may have it; all of them when absent. Sources
    /// that come later may have everything.
    pub sources: Option<Arc<[usize]>>,
    /// It may be had from others than these, too, and does not fail with them.
    pub lasting: bool,
    /// It is here already, or not wanted.
    pub done: bool,
    /// What must be known before anything can be handed out: it is fetched at once, and stays when
    /// everything is cut anew.
    pub first: bool,
}

impl NewUnit {
    /// A unit that is missing, and that every source has.
    pub fn of(name: u32, len: usize) -> Self {
        Self { name, len: len as u32, sources: None, lasting: false, done: false, first: false }
    }
}

/// What a source that asks for work is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// Fetch this unit.
    Unit(Unit),
    /// There is nothing useful for you now; ask again when something changed or time has passed.
    Nothing,
    /// Every unit is done or failed, and no more will come.
    Complete,
}
