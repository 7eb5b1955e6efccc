//! What reads bytes that somebody else wrote, as functions of bytes: the targets of fuzzing.
//!
//! [`TARGETS`] is the one table of them. A run asserts more than that nothing panics: what was
//! read is written and read again to the same, no limit is passed, and so on for each. Two programs
//! run them: the tests, which change the seeds by chance for a moment on every `cargo test`, or
//! longer (see `mutation`), and libFuzzer by way of the crate in `fuzz/`.
//!
//! This room is compiled for tests and with the feature `fuzzing` alone, and names all others.
//! Where a parser is private, its room has a `fuzzing` of its own that hands it out to this one.

mod answering;
mod content;
mod messages;
#[cfg(test)]
mod mutation;
mod people;

use std::fs;
use std::path::Path;

/// One thing that reads bytes.
pub struct Target {
    /// What it is called, here and in `fuzz/`.
    pub name: &'static str,
    /// Reads the bytes, and panics where something about it is wrong.
    pub run: fn(&[u8]),
    /// Inputs that are right, to begin with; beside those in the folder of [`Target::kept`].
    made: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    // From the network.
    Target { name: "greeting", run: messages::greeting, made: messages::greetings },
    Target { name: "frame", run: messages::frames, made: messages::golden },
    Target { name: "request", run: messages::request, made: messages::request_headers },
    Target { name: "response", run: messages::response, made: messages::response_headers },
    Target { name: "acceptor", run: messages::acceptor, made: messages::openings },
    Target { name: "opener", run: messages::opener, made: messages::answers },
    Target { name: "answering", run: answering::answer, made: answering::requests },
    Target { name: "listing", run: content::listing, made: content::listings },
    Target { name: "manifest", run: content::manifest, made: content::manifests },
    Target { name: "chunk_set", run: content::chunk_set, made: content::chunk_sets },
    Target { name: "classic_request", run: classic::request, made: classic::requests },
    Target { name: "classic_answer", run: classic::answer, made: classic::answers },
    Target { name: "classic_upload", run: classic::upload, made: classic::uploads },
    // From files.
    Target { name: "settings", run: people::settings, made: people::some_settings },
    Target { name: "keys", run: topology::keys, made: topology::some_keys },
    Target { name: "journal", run: store::journal, made: store::journals },
    Target { name: "catalog", run: store::catalog, made: store::catalogs },
    Target { name: "live_file", run: store::live_file, made: store::live_files },
    Target { name: "torrent", run: content::torrent, made: content::torrents },
    // From anywhere.
    Target { name: "name", run: content::name, made: content::names },
    Target { name: "pattern", run: content::pattern, made: content::patterns },
    Target { name: "command", run: people::command, made: people::commands },
];

use crate::classic::fuzzing as classic;
use crate::store::fuzzing as store;
use crate::topology::fuzzing as topology;

impl Target {
    /// The one of that name.
    pub fn of(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Inputs to begin with: those that are made, and those that are kept.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.made)();
        seeds.extend(self.kept());
        seeds
    }

    /// Inputs that are kept in `fuzz/seeds/<name>`: what was found.
    pub fn kept(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(self.name);
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        entries.flatten().filter_map(|entry| fs::read(entry.path()).ok()).collect()
    }
}

/// The bytes as text, as far as they are.
fn text_of(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|valid| str::from_utf8(valid).ok())
            .unwrap_or_default(),
    }
}

/// These texts as inputs.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
