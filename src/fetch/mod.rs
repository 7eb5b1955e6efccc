//! Asks: one engine fetches a file's chunks from all sources at once, for downloads and uploads alike.

pub mod progress;

pub use progress::{Contribution, Event, Snapshot};
