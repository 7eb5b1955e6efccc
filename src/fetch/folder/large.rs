//! One large file of a folder: its manifest from all who have it, and then the engine of single
//! files.

use std::sync::Arc;

use super::plan::Large;
use super::supply::{Link, Supply, report_of};
use super::{FileError, FolderFetch, Record, Version};
use crate::content::{Attributes, Manifest, Root, RootPrefix};
use crate::fetch::engine::{Fetch, TransferError};
use crate::fetch::find::{Answer, Find, Holder, manifest_over};
use crate::fetch::framed::FramedPeer;
use crate::fetch::offered::Offerer;
use crate::fetch::progress::{Event, Progress};
use crate::fetch::source::{Dial, SourceError};
use crate::store::{PartFile, Reception};
use crate::topology::PeerId;
use crate::wire::Subject;

/// A source of one file, in whatever way it is reached.
type Sources<'s> = Vec<Box<dyn Dial + 's>>;

/// Fetches the file; how that ended goes into the record.
pub(super) fn fetch(fetch: &mut FolderFetch<'_>, file: &Large, record: &Record) {
    let mut supplies = std::mem::take(&mut fetch.supplies);
    let result = File { fetch, file, record }.run(&mut supplies);
    fetch.supplies = supplies;
    match result {
        Ok(()) => fetch.progress.completed(1),
        Err(error) => record.fail(&file.name, error),
    }
}

struct File<'f, 'a> {
    fetch: &'f FolderFetch<'a>,
    file: &'f Large,
    record: &'f Record,
}

impl File<'_, '_> {
    fn run(&self, supplies: &mut [Supply<'_>]) -> Result<(), FileError> {
        match supplies {
            [Supply { peer, link: Link::Turned { connection, .. } }] => {
                let note = |done, total| {
                    (self.fetch.observer)(Event::Hashing { peer: peer.clone(), done, total });
                };
                let waits = self.fetch.waits;
                let (manifest, attributes) =
                    manifest_over(connection, &self.subject(), (waits, &note))
                        .map_err(|error| lost(peer, error))?;
                let manifest = self.checked(manifest)?;
                let report = || report_of(self.fetch.progress);
                let offerer = Offerer::new(peer.clone(), connection, &manifest, &report);
                self.receive(manifest.clone(), attributes, vec![Box::new(offerer)])
            }
            _ => {
                let (manifest, attributes, sources) = self.find(supplies)?;
                self.receive(manifest, attributes, sources)
            }
        }
    }

    /// Asks for the content where it is known, so that nothing else can come.
    fn subject(&self) -> Subject {
        let id = self.file.root.and_then(|root| root.to_string().parse::<RootPrefix>().ok());
        id.map_or_else(|| Subject::Name(self.file.there.clone()), Subject::Id)
    }

    fn checked(&self, manifest: Manifest) -> Result<Manifest, FileError> {
        if !self.is_meant(manifest.root(), manifest.length()) {
            return Err(FileError::NoSource);
        }
        self.fetch.progress.announce(0, manifest.length().saturating_sub(self.file.length));
        Ok(manifest.renamed(self.file.name.clone()))
    }

    /// Whether that is the file that was listed. One of which only the length was known may have
    /// grown since.
    fn is_meant(&self, root: Root, length: u64) -> bool {
        match self.file.root {
            Some(wanted) => wanted == root && length == self.file.length,
            None => length >= self.file.length,
        }
    }

    /// All sources that have the file, if it is one and the same at all of them.
    fn find<'s>(
        &self,
        supplies: &[Supply<'_>],
    ) -> Result<(Manifest, Attributes, Sources<'s>), FileError> {
        let dialled =
            self.file.sources.iter().filter_map(|source| match &supplies.get(*source)?.link {
                Link::Dialled { peer, caller, .. } => Some((peer.clone(), caller.clone())),
                Link::Turned { .. } => None,
            });
        let (peers, callers): (Vec<_>, Vec<_>) = dialled.unzip();
        let Some(caller) = callers.first() else { return Err(FileError::NoSource) };
        let (cancel, observer) = (self.fetch.cancel, self.fetch.observer);
        let answers = Find {
            peers: &peers,
            subject: &self.subject(),
            caller,
            cancel,
            observer,
            waits: self.fetch.waits,
            early: None,
        }
        .run();
        let (mut holders, mut reasons): (Vec<Holder>, Vec<_>) = Default::default();
        for answer in answers {
            match answer {
                Answer::Has(holder) if self.fits(&holder) => holders.push(*holder),
                Answer::Has(holder) => reasons.push((holder.peer.id, SourceError::Changed)),
                Answer::HasNot(peer, error) => reasons.push((peer.id, error)),
                Answer::Late(peer) => reasons.push((peer.id, SourceError::Stalled)),
            }
        }
        if holders.iter().any(|holder| {
            Some(holder.outline.root) != holders.first().map(|first| first.outline.root)
        }) {
            let version = |holder: &Holder| {
                let file = Version::File(holder.outline.layout.length(), Some(holder.outline.root));
                (holder.peer.id.clone(), file)
            };
            return Err(FileError::Conflict(holders.iter().map(version).collect()));
        }
        let Some((manifest, attributes)) = first_manifest(&mut holders, &mut reasons) else {
            return Err(FileError::Transfer(TransferError::NoSource(reasons)));
        };
        let manifest = self.checked(manifest)?;
        let source = |holder: Holder| -> Box<dyn Dial> {
            Box::new(FramedPeer::new(
                holder.peer,
                caller.clone(),
                &manifest,
                Some(holder.connection),
            ))
        };
        let sources = holders.into_iter().map(source).collect();
        Ok((manifest, attributes, sources))
    }

    fn fits(&self, holder: &Holder) -> bool {
        self.is_meant(holder.outline.root, holder.outline.layout.length())
    }

    fn receive(
        &self,
        manifest: Manifest,
        attributes: Attributes,
        sources: Sources<'_>,
    ) -> Result<(), FileError> {
        let length = manifest.length();
        match self.fetch.store.receive(Arc::new(manifest), self.fetch.replace)? {
            Reception::AlreadyHere => {
                self.record.outcome().here += 1;
                self.fetch.progress.resume_more(length);
                Ok(())
            }
            Reception::InTheWay { .. } => Err(FileError::InTheWay),
            Reception::Busy => Err(FileError::Busy),
            Reception::Part(part) => self.transfer(part.with(attributes), sources),
        }
    }

    fn transfer(&self, part: PartFile, sources: Sources<'_>) -> Result<(), FileError> {
        let progress = Arc::new(Progress::new(part.manifest().length()));
        progress.resume(part.received());
        self.fetch.progress.begin(&progress);
        let (cancel, observer) = (self.fetch.cancel, self.fetch.observer);
        let waits = self.fetch.waits;
        let transfer = Fetch {
            part: &part,
            sources,
            progress: &progress,
            cancel,
            observer,
            waits,
            swarm: None,
        };
        let result = transfer.run();
        let bytes = self.fetch.progress.end();
        result.map_err(FileError::Transfer)?;
        part.complete()?;
        let mut outcome = self.record.outcome();
        outcome.received += 1;
        outcome.bytes = outcome.bytes.saturating_add(bytes);
        Ok(())
    }
}

fn lost(peer: &PeerId, error: SourceError) -> FileError {
    FileError::Transfer(TransferError::NoSource(vec![(peer.clone(), error)]))
}

/// The manifest from the first holder that gives it; those that do not are left out.
fn first_manifest(
    holders: &mut Vec<Holder>,
    reasons: &mut Vec<(PeerId, SourceError)>,
) -> Option<(Manifest, Attributes)> {
    while let Some(holder) = holders.first_mut() {
        match holder.manifest() {
            Ok(manifest) => return Some((manifest, holder.outline.attributes)),
            Err(error) => reasons.push((holders.remove(0).peer.id, error)),
        }
    }
    None
}
