//! What one session gave, told in the log: a line for every file, for small files that went together, and
//! for every listing.
//!
//! A transfer is many requests, and nobody says which one is its last. So a line is written when the
//! session goes over to something else, or ends.

use std::time::Instant;

use crate::content::FileName;
use crate::logging::Tally;

/// Counts what goes to the other side of one session.
#[derive(Debug)]
pub struct Account {
    /// To whom it goes.
    whom: String,
    /// The file that is being given, and its length.
    file: Option<(FileName, u64, Tally)>,
    /// How many small files went, and their bytes.
    small: Option<(u64, Tally)>,
    /// How many entries of a listing went.
    listed: Option<u64>,
}

impl Account {
    /// Nothing given yet to `whom`, which is what the log calls the other side.
    pub fn to(whom: String) -> Self {
        Self { whom, file: None, small: None, listed: None }
    }

    /// So many bytes of a file of that name and length were given, asked for at `asked`.
    pub(super) fn gave(&mut self, (name, length): (&FileName, u64), bytes: u64, asked: Instant) {
        if self.file.as_ref().is_none_or(|(other, ..)| other != name) {
            self.tell();
            self.file = Some((name.clone(), length, Tally::since(asked)));
        }
        if let Some((_, _, tally)) = &mut self.file {
            tally.add(bytes, Instant::now());
        }
    }

    /// Small files were given as a whole, asked for at `asked`.
    pub(super) fn gave_small(&mut self, files: u64, bytes: u64, asked: Instant) {
        if self.small.is_none() {
            self.tell();
        }
        let (count, tally) = self.small.get_or_insert_with(|| (0, Tally::since(asked)));
        *count += files;
        tally.add(bytes, Instant::now());
    }

    /// A page of a listing was given; `last` says that no more follow.
    pub(super) fn listed(&mut self, entries: u64, last: bool) {
        let so_far = self.listed.unwrap_or(0) + entries;
        self.listed = Some(so_far);
        if last {
            self.tell();
        }
    }

    /// A request was refused.
    pub(super) fn refused(&self, why: &str) {
        log::info!("refused a request of {}: {why}", self.whom);
    }

    /// Writes what was given and is not told yet.
    fn tell(&mut self) {
        let whom = &self.whom;
        if let Some(entries) = self.listed.take() {
            log::info!("listed {entries} entries to {whom}");
        }
        if let Some((files, tally)) = self.small.take() {
            log::info!("gave {files} small files to {whom}: {tally}");
        }
        match self.file.take() {
            Some((name, length, tally)) if tally.bytes() < length => {
                log::info!("gave a part of {name} ({length} bytes) to {whom}: {tally}");
            }
            Some((name, _, tally)) => log::info!("gave {name} to {whom}: {tally}"),
            None => {}
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.tell();
    }
}
