//! One large file of a folder: what is known of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::content::{Attributes, FileName, Manifest, Root, RootPrefix};
use crate::fetch::source::SourceError;
use crate::store::PartFile;
use crate::topology::PeerId;
use crate::wire::Subject;

/// A file that is fetched chunk by chunk.
pub(super) struct Large {
    pub(super) name: FileName,
    /// What it is called at the sources.
    pub(super) there: FileName,
    pub(super) root: Option<Root>,
    pub(super) length: u64,
    pub(super) sources: Vec<usize>,
    /// Whether any of the sources may say what it is.
    pub(super) single: bool,
    /// What the sources said, so far.
    pub(super) answers: Vec<(usize, Manifest, Attributes)>,
    pub(super) reasons: Vec<(PeerId, SourceError)>,
    /// How many of them are still to say it.
    pub(super) awaited: usize,
    /// Bytes of it that each source had hashed when it said so last.
    pub(super) hashed: BTreeMap<usize, u64>,
    pub(super) phase: Phase,
}

/// How far a large file is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Not begun, or it is being found out what it is.
    Missing,
    /// Being received.
    Part { part: Arc<PartFile>, missing: u32 },
    /// Here, or its failure was told.
    Settled,
}

impl Large {
    pub(super) fn new(
        (name, there): (FileName, FileName),
        root: Option<Root>,
        length: u64,
        (sources, single): (Vec<usize>, bool),
    ) -> Self {
        Self {
            name,
            there,
            root,
            length,
            sources,
            single,
            answers: Vec::new(),
            reasons: Vec::new(),
            awaited: 0,
            hashed: BTreeMap::new(),
            phase: Phase::Missing,
        }
    }

    pub(super) fn name(&self) -> &FileName {
        &self.name
    }

    pub(super) fn is_missing(&self) -> bool {
        !matches!(self.phase, Phase::Settled)
    }

    /// The part file and how it is cut, while it is received.
    pub(super) fn part(&self) -> Option<&Arc<PartFile>> {
        match &self.phase {
            Phase::Part { part, .. } => Some(part),
            _ => None,
        }
    }

    /// One more of its chunks is written. Whether that was the last one.
    pub(super) fn lacks_nothing_more(&mut self) -> bool {
        let Phase::Part { missing, .. } = &mut self.phase else { return false };
        *missing = missing.saturating_sub(1);
        *missing == 0
    }

    /// Asks for the content where it is known, so that nothing else can come.
    pub(super) fn subject(&self) -> Subject {
        let id = self.root.and_then(|root| root.to_string().parse::<RootPrefix>().ok());
        id.map_or_else(|| Subject::Name(self.there.clone()), Subject::Id)
    }

    /// Whether that is the file that was listed. One of which only the length was known may have
    /// grown since.
    pub(super) fn is_meant(&self, root: Root, length: u64) -> bool {
        match self.root {
            Some(wanted) => wanted == root && length == self.length,
            None => length >= self.length,
        }
    }
}
