//! What one session gave, told in the log: a line for every file, for small files that went
//! together, and for every listing.
//!
//! A transfer is many requests, and nobody says which one is its last. So a line is written when
//! nothing more of a file was asked for in a while, when the session goes over to many others, or
//! ends.

use std::time::Instant;

use crate::config;
use crate::content::FileName;
use crate::logging::{Repeated, Tally, named};

/// Counts what goes to the other side of one session.
#[derive(Debug)]
pub struct Account {
    /// To whom it goes.
    whom: String,
    /// Files that are being given, the one that was asked for last at the end.
    files: Vec<File>,
    /// How many small files went, and their bytes.
    small: Option<(u64, Tally)>,
    /// How many entries of a listing went.
    listed: u64,
    refused: Repeated,
}

#[derive(Debug)]
struct File {
    name: FileName,
    length: u64,
    tally: Tally,
}

impl Account {
    /// Nothing given yet to `whom`, which is what the log calls the other side.
    pub fn to(whom: String) -> Self {
        Self { whom, files: Vec::new(), small: None, listed: 0, refused: Repeated::new() }
    }

    /// So many bytes of a file of that name and length were given, asked for at `asked`.
    pub(super) fn gave(&mut self, (name, length): (&FileName, u64), bytes: u64, asked: Instant) {
        let place = self.files.iter().position(|file| file.name == *name);
        let known = place.map(|place| self.files.remove(place));
        let mut file = match known {
            Some(file) if !file.tally.is_idle(asked, config::TALLY_IDLE) => file,
            earlier => {
                earlier.into_iter().for_each(|file| file.tell(&self.whom));
                if self.files.len() >= config::TALLIES {
                    self.files.remove(0).tell(&self.whom);
                }
                File { name: name.clone(), length, tally: Tally::since(asked) }
            }
        };
        file.tally.add(bytes, Instant::now());
        self.files.push(file);
    }

    /// Small files were given as a whole, asked for at `asked`.
    pub(super) fn gave_small(&mut self, files: u64, bytes: u64, asked: Instant) {
        if files == 0 {
            return;
        }
        if self.small.as_ref().is_some_and(|(_, tally)| tally.is_idle(asked, config::TALLY_IDLE)) {
            self.tell_small();
        }
        let (count, tally) = self.small.get_or_insert_with(|| (0, Tally::since(asked)));
        *count += files;
        tally.add(bytes, Instant::now());
    }

    /// A page of a listing was given; `last` says that no more follow.
    pub(super) fn listed(&mut self, entries: u64, last: bool) {
        self.listed += entries;
        if last {
            log::info!("listed {} entries to {}", std::mem::take(&mut self.listed), self.whom);
        }
    }

    /// A request was refused. A session that asks again and again is told once, and then counted.
    pub fn refused(&self, what: &str, why: &str) {
        if let Some(more) = self.refused.due(Instant::now()) {
            log::info!("refused {what} from {}: {why}{more}", self.whom);
        }
    }

    fn tell_small(&mut self) {
        if let Some((files, tally)) = self.small.take() {
            log::info!("gave {files} small files to {}: {tally}", self.whom);
        }
    }
}

impl File {
    fn tell(self, whom: &str) {
        let Self { name, length, tally } = self;
        match tally.bytes() < length {
            true => log::info!(
                "gave a part of {} ({length} bytes) to {whom}: {tally}",
                named(name.as_str())
            ),
            false => log::info!("gave {} to {whom}: {tally}", named(name.as_str())),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.tell_small();
        self.files.drain(..).for_each(|file| file.tell(&self.whom));
    }
}
