//! How long the accepting side waits for what.
//!
//! | it waits for | no longer than | and at least |
//! |---|---|---|
//! | the first byte of a connection | [`first_word`](Deadlines::first_word) | |
//! | greeting, hello, the rest of a header | [`frame`](Deadlines::frame) | all of it |
//! | a payload that is not a chunk | `frame` without a byte | [`SLOWEST_RATE`] over `frame` |
//! | the next request | [`idle`](Deadlines::idle); less when seats are short | a request that is no ping |
//! | the other side to read | [`write`](Deadlines::write) without a byte | [`LEAST_RATE`] over `write` |
//! | a chunk that it asked for | [`STALL_TIMEOUT`] without a byte | [`LEAST_RATE`] over [`STALLS`] of them |
//! | the next chunk of an upload whose name another file is to have | | [`SLOWEST_RATE`] from its beginning on |
//! | the next message of an upload in the classic dialect | [`upload`](Deadlines::upload) | [`CLASSIC_LEAST`] over `upload` |
//! | the rest of a message of that dialect | [`CLASSIC_REST`] without a byte | all of it within `frame` |
//!
//! Where a connection waits for something else, its own side sees to the end: a request that waits
//! for a file to be hashed ([`HASHING_WAIT_MS`]), a member of a swarm for a chunk
//! ([`MEMBER_WAIT_MS`]), an upload that joined another for the end of that one.
//!
//! [`SLOWEST_RATE`]: config::SLOWEST_RATE
//! [`LEAST_RATE`]: config::LEAST_RATE
//! [`STALL_TIMEOUT`]: config::STALL_TIMEOUT
//! [`STALLS`]: config::STALLS
//! [`CLASSIC_LEAST`]: config::CLASSIC_LEAST
//! [`CLASSIC_REST`]: config::CLASSIC_REST
//! [`HASHING_WAIT_MS`]: config::HASHING_WAIT_MS
//! [`MEMBER_WAIT_MS`]: config::MEMBER_WAIT_MS

use std::time::Duration;

use crate::config;

/// The deadlines of a connection; see the table above. The default is what the programs use, tests
/// have shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// How long a new connection may say nothing.
    pub first_word: Duration,
    /// How long the rest of a frame may take that has begun.
    pub frame: Duration,
    /// How long it may take until the next request.
    pub idle: Duration,
    /// How long the other side may read nothing, or too little.
    pub write: Duration,
    /// The same for the sender of an upload in the classic dialect.
    pub upload: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_word: config::FIRST_WORD,
            frame: config::FRAME_TIMEOUT,
            idle: config::IDLE_TIMEOUT,
            write: config::WRITE_TIMEOUT,
            upload: config::CLASSIC_SILENCE,
        }
    }
}
