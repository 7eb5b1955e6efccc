//! What the store promises, asked through its public functions only.
//!
//! * `listing`: names, links, patterns, pages
//! * `hashing`: descriptions, changed files, lent files
//! * `catalog`: what is remembered, and what a damaged catalog costs
//! * `receiving`: part files, and how they are continued
//! * `live`: what other processes see of them
//! * `places`: other folders, file systems and permissions than usual
//! * `units`: folders while they are received
//! * `unproven`: files whose bytes nothing proves

mod catalog;
pub(super) mod failing;
mod hashing;
mod listing;
mod live;
mod places;
mod receiving;
mod units;
mod unproven;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::content::merkle;

/// A served folder that is deleted in the end.
struct Served {
    folder: TempDir,
    store: Store,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self { folder, store }
    }

    /// Another store on the same folder, as another process would have it.
    fn other(&self) -> Store {
        Store::open(self.folder.path()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, data: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
}

fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn manifest_of(text: &str, data: &[u8]) -> Arc<Manifest> {
    let layout = ChunkLayout::usual(data.len() as u64).unwrap();
    let chunks = data.chunks(layout.chunk_size() as usize);
    let digests = chunks.map(|chunk| merkle::chunk_digest(&layout, chunk)).collect();
    Arc::new(Manifest::from_digests(name(text), layout, digests).unwrap())
}

/// Hashes and waits.
fn hashed(store: &Store, text: &str) -> Arc<Manifest> {
    store.manifest(&name(text), &mut |_, _| true).unwrap()
}

/// Whether the file is known without hashing.
fn is_known(store: &Store, text: &str) -> bool {
    store
        .list(&ListQuery { pattern: Some(text.to_owned()), limit: 1, ..ListQuery::default() })
        .unwrap()
        .entries[0]
        .root
        .is_some()
}

fn private(served: &Path, entry: &str) -> PathBuf {
    served.join(".peershare").join(entry)
}

/// Has the catalog say everything so often that it is worth compacting; gives its length then.
fn bloat(served: &Path) -> u64 {
    let path = private(served, "catalog");
    let once = fs::read(&path).unwrap();
    let records = once.strip_prefix(record::MAGIC).unwrap();
    let times = 3 * config::CATALOG_COMPACTED as usize / records.len();
    fs::write(&path, [record::MAGIC, &records.repeat(times)].concat()).unwrap();
    fs::metadata(path).unwrap().len()
}
