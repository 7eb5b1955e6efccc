//! The catalog in memory: from names to what their files were, and from content to names.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use super::identity::Identity;
use crate::content::{ChunkLayout, Digest, FileName, Manifest, Root, RootPrefix};

/// What a file was when it was hashed.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) layout: ChunkLayout,
    pub(super) root: Root,
    pub(super) digests: Digests,
    /// Its manifest, while somebody uses it.
    pub(super) loaded: Weak<Manifest>,
    /// Bytes of its record in the catalog.
    pub(super) size: u64,
    /// Whether a later write would have been noticed; if not, it is served as what it was, which
    /// receivers verify, and hashed again for anything else.
    pub(super) settled: bool,
}

/// Where the digests of a file's chunks are.
#[derive(Debug)]
pub(super) enum Digests {
    /// In the catalog, from that byte on.
    At(u64),
    /// Here, because the catalog could not be written.
    InMemory(Arc<Manifest>),
}

impl Known {
    /// The manifest, when it is at hand.
    pub(super) fn manifest(&self) -> Option<Arc<Manifest>> {
        match &self.digests {
            Digests::InMemory(manifest) => Some(Arc::clone(manifest)),
            Digests::At(_) => self.loaded.upgrade(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    by_name: HashMap<FileName, Known>,
    by_root: BTreeMap<Root, Vec<FileName>>,
    live_bytes: u64,
}

impl Index {
    /// What is known of a file, if it still is what it was.
    pub(super) fn known(&mut self, name: &FileName, identity: &Identity) -> Option<&mut Known> {
        self.by_name.get_mut(name).filter(|known| known.settled && known.identity == *identity)
    }

    /// What was known of a name last if the file may still be that, for serving it.
    pub(super) fn perhaps(&mut self, name: &FileName, identity: &Identity) -> Option<&mut Known> {
        self.by_name.get_mut(name).filter(|known| known.identity == *identity)
    }

    /// What was known of a name last, whatever has become of the file.
    pub(super) fn last(&self, name: &FileName) -> Option<&Known> {
        self.by_name.get(name)
    }

    /// Replaces what was known of a name.
    pub(super) fn insert(&mut self, name: FileName, known: Known) {
        self.forget(&name);
        self.live_bytes += known.size;
        self.by_root.entry(known.root).or_default().push(name.clone());
        self.by_name.insert(name, known);
    }

    /// Removes what was known of a name.
    pub(super) fn forget(&mut self, name: &FileName) {
        let Some(known) = self.by_name.remove(name) else { return };
        self.live_bytes = self.live_bytes.saturating_sub(known.size);
        if let Some(names) = self.by_root.get_mut(&known.root) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.by_root.remove(&known.root);
            }
        }
    }

    /// Bytes of the catalog that count.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Everything that is known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&FileName, &Known)> {
        self.by_name.iter()
    }

    /// Names of files with that content.
    pub(super) fn names_of(&self, root: &Root) -> Vec<FileName> {
        self.by_root.get(root).cloned().unwrap_or_default()
    }

    /// The same with what the files were when they were hashed.
    pub(super) fn places_of(&self, root: &Root) -> Vec<(FileName, Identity)> {
        let names = self.by_root.get(root).map_or(&[][..], Vec::as_slice);
        let place = |name: &FileName| Some((name.clone(), self.by_name.get(name)?.identity));
        names.iter().filter_map(place).collect()
    }

    /// Names of files whose content id begins with these digits, in the order of ids.
    pub(super) fn names_by_prefix(&self, prefix: &RootPrefix) -> Vec<(FileName, Root)> {
        // The lowest id that begins so.
        let first = format!("{:0<64}", prefix.to_string()).parse().map_or(Root(Digest::ZERO), Root);
        let matching = self.by_root.range(first..).take_while(|(root, _)| prefix.matches(root));
        matching.flat_map(|(root, names)| names.iter().map(|name| (name.clone(), *root))).collect()
    }
}
