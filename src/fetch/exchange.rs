//! What members of a swarm that lost their origin know of one another.

use std::time::Instant;

/// What one orphan knows of another.
pub(super) struct Exchange {
    /// When it was asked last what it has.
    pub(super) looked: Option<Instant>,
    /// How many chunks it had then.
    pub(super) known: u32,
    /// When it had something new last.
    pub(super) news: Instant,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { looked: None, known: 0, news: Instant::now() }
    }
}

impl Exchange {
    /// A chunk came.
    pub(super) fn came(&mut self) {
        self.news = Instant::now();
    }
}
