//! What is given to clients of the dialect, told in the log: a line a file.
//!
//! A download is a chunk a request, for most clients each over a connection of its own, and a
//! client with several servers asks each for some of the chunks. So they are counted by address and
//! name, and told when all are given, or when no more were asked for in a while.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::config;
use crate::content::FileName;
use crate::locks::lock;
use crate::logging::{Tally, named};

/// Downloads that are not told yet, by the client's address without its port, and name.
#[derive(Debug, Default)]
pub(super) struct Downloads(Mutex<HashMap<(String, FileName), Download>>);

#[derive(Debug)]
struct Download {
    /// Chunks of the file.
    of: u64,
    /// Those that were given, each once.
    chunks: HashSet<u32>,
    tally: Tally,
}

impl Downloads {
    /// A chunk of so many bytes was given; the file has `of` of them.
    pub(super) fn gave(&self, remote: &str, name: &FileName, of: u64, (chunk, bytes): (u32, u64)) {
        let (key, now) = ((address(remote).to_owned(), name.clone()), Instant::now());
        let mut downloads = self.lock();
        let too_many =
            downloads.len() >= config::CLASSIC_DOWNLOADS && !downloads.contains_key(&key);
        let mut over: Vec<_> = if too_many { downloads.drain().collect() } else { Vec::new() };
        let begun = || Download { of, chunks: HashSet::new(), tally: Tally::since(now) };
        let download = downloads.entry(key.clone()).or_insert_with(begun);
        if download.chunks.insert(chunk) {
            download.tally.add(bytes, now);
        }
        if download.chunks.len() as u64 >= download.of {
            over.extend(downloads.remove_entry(&key));
        }
        // Nobody waits for this while a log is slow to be written.
        drop(downloads);
        over.iter().for_each(|(key, download)| tell(key, download));
    }

    /// Tells those of which nothing was asked for in a while.
    pub(super) fn tell_idle(&self, now: Instant) {
        let is_idle = |download: &Download| download.tally.is_idle(now, config::CLASSIC_GRACE);
        let over: Vec<_> = self.lock().extract_if(|_, download| is_idle(download)).collect();
        over.iter().for_each(|(key, download)| tell(key, download));
    }

    /// Tells all of them.
    pub(super) fn tell_all(&self) {
        let over = std::mem::take(&mut *self.lock());
        over.iter().for_each(|(key, download)| tell(key, download));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, FileName), Download>> {
        lock(&self.0)
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.tell_all();
    }
}

fn tell((address, name): &(String, FileName), download: &Download) {
    let Download { of, chunks, tally } = download;
    let (given, name) = (chunks.len() as u64, named(name.as_str()));
    let what = if given < *of { format!("{given} of {of} chunks of {name}") } else { name };
    log::info!("gave {what} to a client ({address}, classic): {tally}");
}

/// An address with a port, without the port.
fn address(remote: &str) -> &str {
    remote.rsplit_once(':').map_or(remote, |(address, _)| address)
}
