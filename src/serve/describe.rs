//! Answers about one file: what it is, by its name or by its id.

use std::time::{Duration, Instant};

use super::refusals::{refusal, refusal_of};
use super::responder::Responder;
use crate::config;
use crate::content::{Digest, Manifest, Root, RootPrefix};
use crate::store::StoreError;
use crate::topology::PeerId;
use crate::wire::{ErrorCode, Refusal, Response, Subject};

impl Responder {
    /// The manifest of a file; one that is not hashed yet is hashed now, for `wait_ms` at most.
    pub(super) fn describe(
        &self,
        peer: Option<&PeerId>,
        subject: &Subject,
        wait_ms: u32,
    ) -> Result<(Response, Vec<u8>), Refusal> {
        let name = match subject {
            Subject::Name(name) => name.clone(),
            Subject::Id(prefix) => return self.describe_id(peer, prefix),
        };
        let deadline =
            Instant::now() + Duration::from_millis(wait_ms.min(config::HASHING_WAIT_MS).into());
        let mut state = (0, 0);
        let mut progress = |done, total| {
            state = (done, total);
            Instant::now() < deadline
        };
        match self.store.manifest(&name, &mut progress) {
            Ok(manifest) => Ok(self.manifest_answer(peer, &manifest)),
            Err(StoreError::Interrupted) => {
                Ok((Response::Hashing { done: state.0, total: state.1 }, Vec::new()))
            }
            Err(error) => Err(refusal_of(&error)),
        }
    }

    fn describe_id(
        &self,
        peer: Option<&PeerId>,
        prefix: &RootPrefix,
    ) -> Result<(Response, Vec<u8>), Refusal> {
        let look = || self.store.by_prefix(prefix).map_err(|error| refusal_of(&error));
        let mut found = look()?;
        let wait = Duration::from_millis(config::HASHING_WAIT_MS.into());
        // It may have been put there a moment ago.
        if found.is_empty() && self.store.hash_new(wait) {
            found = look()?;
        }
        let mut roots: Vec<Root> = found.into_iter().map(|(_, root)| root).collect();
        roots.sort();
        roots.dedup();
        match roots[..] {
            [root] => match self.store.by_root(&root).map_err(|error| refusal_of(&error))? {
                Some(manifest) => Ok(self.manifest_answer(peer, &manifest)),
                None => Err(refusal(
                    ErrorCode::NotFound,
                    format!("no file with id {prefix} is served here"),
                )),
            },
            [] => Err(refusal(
                ErrorCode::NotFound,
                format!("no file with id {prefix} is served here"),
            )),
            _ => {
                let what = format!("id {prefix} fits {} files here; type more digits", roots.len());
                Err(refusal(ErrorCode::Ambiguous, what))
            }
        }
    }

    fn manifest_answer(&self, peer: Option<&PeerId>, manifest: &Manifest) -> (Response, Vec<u8>) {
        let attributes = self.store.attributes_of(manifest.name(), &manifest.root());
        let chunk_size = manifest.layout().chunk_size();
        let shared = peer.is_some_and(|peer| self.company.reads(manifest.root(), chunk_size, peer));
        (Response::manifest(manifest, attributes, shared), Response::digests_of(manifest))
    }
}

/// Leaves the digests out when there are more than the asking side wants now.
pub(super) fn without_more(
    (response, payload): (Response, Vec<u8>),
    digests_up_to: u32,
) -> (Response, Vec<u8>) {
    let too_many = payload.len() / Digest::LEN > digests_up_to as usize;
    (response, if too_many { Vec::new() } else { payload })
}
