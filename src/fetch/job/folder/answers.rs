//! What is asked for as which unit, and what is learnt from what the sources say.

use std::time::{Duration, Instant};

use super::{FolderJob, Kind};
use crate::fetch::job::{Came, JobError, Learnt, Put};
use crate::fetch::ledger::SourceId;
use crate::fetch::source::Ask;
use crate::locks::lock;
use crate::store::StoreError;
use crate::wire::Response;

impl FolderJob<'_> {
    /// How to ask for a unit; none when nothing of it is missing.
    pub(super) fn ask_for(&self, unit: u32, member: bool) -> Option<Ask> {
        let state = lock(&self.state);
        match state.unit(unit)? {
            Kind::Bundle(places) => self.ask_for_files(&state, places),
            Kind::Manifest { large, .. } => self.ask_for_manifest(&state, *large),
            Kind::Chunk { large, number } => self.ask_for_chunk(&state, *large, *number),
            Kind::Shared(number) => self.ask_for_shared(&state, *number, member),
        }
    }

    /// Proves and keeps what came.
    pub(super) fn take(&self, came: &Came<'_>) -> Result<Put, StoreError> {
        let kind = lock(&self.state).unit(came.unit).cloned();
        let put = match kind {
            Some(Kind::Bundle(places)) => {
                let files = self.files_at(&places);
                self.take_files(came, &files)
            }
            Some(Kind::Chunk { large, number }) => self.take_chunk(came, (large, number)),
            Some(Kind::Shared(number)) => self.take_shared(came, number),
            Some(Kind::Manifest { .. }) | None => Ok(Put::Bad),
        }?;
        self.complete_those_due();
        Ok(put)
    }

    /// A source has given a page of its list, or said what it leaves out.
    pub(super) fn listed(
        &self,
        source: SourceId,
        response: Response,
        payload: &[u8],
    ) -> Result<Learnt, JobError> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let slot = source.slot();
        let Some(Some(list)) = state.lists.get_mut(slot) else { return Ok(Learnt::default()) };
        let named = list.has_all_names();
        let done = self.fetch.progress.done();
        let now = Instant::now();
        // Data of the same transfer comes in between, and takes the same way.
        let waited = match state.said.get(slot) {
            Some((said, had)) if *had == done => now.saturating_duration_since(*said),
            _ => Duration::ZERO,
        };
        let entries = list.heard(response, payload, waited)?;
        let (shared, ends) = (list.shared, !named && list.has_all_names());
        let over = list.next().is_none();
        if !entries.is_empty() {
            state.merge.add(slot, entries);
        }
        if ends {
            state.merge.end(slot);
        }
        if over {
            state.talking = state.talking.saturating_sub(1);
        }
        state.unsorted = true;
        if let Some(said) = state.said.get_mut(slot) {
            // What is done with the names here is not the peer's time.
            *said = (Instant::now(), done);
        }
        Ok(Learnt { shared, ..Learnt::default() })
    }

    /// A source is lost: what it did not list is not waited for.
    pub(super) fn source_lost(&self, source: SourceId) -> Learnt {
        let mut state = lock(&self.state);
        let slot = source.slot();
        let listed = match state.lists.get_mut(slot) {
            // Not one that lists.
            None => return Learnt::default(),
            Some(list) => list.as_ref().map(|list| (list.has_all_names(), list.next().is_none())),
        };
        let (listed, over) = listed.unwrap_or((false, false));
        state.merge.end(slot);
        if !over {
            state.talking = state.talking.saturating_sub(1);
        }
        state.unsorted = true;
        let units = self.without(&mut state, slot);
        Learnt { units, quiet: !listed, ..Learnt::default() }
    }
}
