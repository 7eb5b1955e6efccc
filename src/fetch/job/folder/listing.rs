//! The lists of all sources, merged name by name while they come: pure.

use std::collections::VecDeque;

use crate::content::{Entry, FileName};

/// Entries of one source that may wait to be merged.
const AHEAD: usize = 4 * crate::config::LIST_PAGE;

/// What came of each source's list, and is not merged yet.
pub(super) struct Merge(Vec<Stream>);

#[derive(Default)]
struct Stream {
    waiting: VecDeque<Entry>,
    ended: bool,
}

/// A name, and what it is at every source that has it, by their places.
pub(super) type Merged = (FileName, Vec<(usize, Entry)>);

impl Merge {
    pub(super) fn new(sources: usize) -> Self {
        Self((0..sources).map(|_| Stream::default()).collect())
    }

    /// Whether the next page of that source may come.
    pub(super) fn has_room(&self, source: usize) -> bool {
        self.0.get(source).is_some_and(|stream| !stream.ended && stream.waiting.len() < AHEAD)
    }

    pub(super) fn add(&mut self, source: usize, page: Vec<Entry>) {
        if let Some(stream) = self.0.get_mut(source) {
            stream.waiting.extend(page);
        }
    }

    /// No more comes of that source.
    pub(super) fn end(&mut self, source: usize) {
        if let Some(stream) = self.0.get_mut(source) {
            stream.ended = true;
        }
    }

    /// Whether everything came, and was taken.
    pub(super) fn is_over(&self) -> bool {
        self.0.iter().all(|stream| stream.ended && stream.waiting.is_empty())
    }

    /// The next name, as soon as it is known what it is everywhere.
    pub(super) fn next(&mut self) -> Option<Merged> {
        if self.0.iter().any(|stream| !stream.ended && stream.waiting.is_empty()) {
            return None;
        }
        let first =
            self.0.iter().filter_map(|stream| stream.waiting.front()).map(|entry| &entry.name);
        let first = first.min()?.clone();
        let mut versions = Vec::new();
        for (source, stream) in self.0.iter_mut().enumerate() {
            if stream.waiting.front().is_some_and(|entry| entry.name == first) {
                versions.extend(stream.waiting.pop_front().map(|entry| (source, entry)));
            }
        }
        Some((first, versions))
    }
}
