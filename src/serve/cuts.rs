//! Folders that were cut into units for those who fetch them together, remembered by the id of the
//! units, so that other requests can speak of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Serialize;

use super::company::Company;
use super::refusals::{refusal, refusal_of};
use crate::config;
use crate::content::layout::BadLayout;
use crate::content::{ChunkLayout, Digest, Entry, Root, Units};
use crate::locks::lock;
use crate::store::{ListQuery, Store};
use crate::wire::{ErrorCode, Refusal};

/// What was cut, the last used at the end.
#[derive(Default)]
pub(super) struct Cuts {
    known: VecDeque<Known>,
    /// What was made of which selection and size, and when; locked while it is made, so that many
    /// who ask at once cost one listing.
    made: HashMap<Root, Made>,
}

type Made = Arc<Mutex<Option<(Instant, Root)>>>;

struct Known {
    units: Arc<Units>,
    /// What they were made of.
    selections: Vec<Root>,
}

/// A pattern, and what it is not to have, as one thing to compare.
pub(super) fn selection(pattern: Option<&str>, except: &[String]) -> Root {
    digest(&(pattern, except))
}

fn digest(what: &impl Serialize) -> Root {
    Root(Digest::of(&serde_json::to_vec(what).unwrap_or_default()))
}

/// Cuts all files that are selected, as they are listed now. Large ones that are not hashed yet are
/// left out.
pub(super) fn cut(
    store: &Store,
    pattern: Option<String>,
    except: Vec<String>,
    chunk_size: u32,
) -> Result<Units, Refusal> {
    let bad = |error: BadLayout| refusal(ErrorCode::BadRequest, error.to_string());
    // Before anything is listed for it.
    ChunkLayout::new(0, chunk_size).map_err(bad)?;
    let (folders, hashed, limit) = (false, true, config::LIST_PAGE);
    let mut query = ListQuery { pattern, except, folders, hashed, after: None, limit };
    let mut files = Vec::new();
    loop {
        let page = store.list(&query).map_err(|error| refusal_of(&error))?;
        let file =
            |entry: &Entry| entry.root.filter(|_| !entry.folder).map(|root| (root, entry.length));
        files.extend(page.entries.iter().filter_map(file));
        if page.next.is_none() {
            break;
        }
        query.after = page.next;
    }
    Units::cut(files, chunk_size).map_err(bad)
}

impl Cuts {
    /// `None` when too many are being made.
    fn made(&mut self, key: Root) -> Option<Made> {
        self.made.retain(|_, made| {
            let is_fresh = |made: &Option<(Instant, Root)>| made.as_ref().is_some_and(is_fresh);
            Arc::strong_count(made) > 1 || made.try_lock().is_ok_and(|made| is_fresh(&made))
        });
        if self.made.len() >= config::CUT_SELECTIONS && !self.made.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(self.made.entry(key).or_default()))
    }

    fn get(&mut self, id: &Root) -> Option<Arc<Units>> {
        let place = self.known.iter().position(|known| known.units.id() == *id)?;
        let known = self.known.remove(place)?;
        let units = Arc::clone(&known.units);
        self.known.push_back(known);
        Some(units)
    }

    fn remember(&mut self, units: &Arc<Units>, selection: Root) {
        match self.known.iter_mut().find(|known| known.units.id() == units.id()) {
            Some(known) if known.selections.contains(&selection) => {}
            Some(known) => {
                if known.selections.len() >= config::CUT_SELECTIONS {
                    known.selections.remove(0);
                }
                known.selections.push(selection);
            }
            None => {
                let (units, selections) = (Arc::clone(units), vec![selection]);
                self.known.push_back(Known { units, selections });
            }
        }
        let files = |known: &VecDeque<Known>| -> usize {
            known.iter().map(|known| known.units.files().len()).sum()
        };
        while self.known.len() > 1
            && (self.known.len() > config::CUTS_KEPT || files(&self.known) > config::CUT_FILES_KEPT)
        {
            self.known.pop_front();
        }
    }

    fn of(&self, selection: &Root) -> Vec<(Root, u32)> {
        let known = self.known.iter().filter(|known| known.selections.contains(selection));
        known.map(|known| (known.units.id(), known.units.layout().chunk_size())).collect()
    }
}

fn is_fresh((since, _): &(Instant, Root)) -> bool {
    since.elapsed() < config::CUT_KEPT
}

impl Company {
    /// The units of that selection, cut by that size; made anew where nobody asked for them just
    /// now.
    pub(super) fn cut(
        &self,
        selection: Root,
        chunk_size: u32,
        make: impl FnOnce() -> Result<Units, Refusal>,
    ) -> Result<Arc<Units>, Refusal> {
        let key = digest(&(selection, chunk_size));
        let busy = || refusal(ErrorCode::Busy, "this peer cuts many other folders just now");
        let made = self.cuts().made(key).ok_or_else(busy)?;
        let mut made = lock(&made);
        if let Some((_, id)) = made.filter(is_fresh)
            && let Some(units) = self.units(&id)
        {
            return Ok(units);
        }
        let units = Arc::new(make()?);
        self.cuts().remember(&units, selection);
        *made = Some((Instant::now(), units.id()));
        Ok(units)
    }

    /// The units of that id, if they were cut here.
    pub(super) fn units(&self, id: &Root) -> Option<Arc<Units>> {
        self.cuts().get(id)
    }

    /// What was cut of that selection.
    pub(super) fn cuts_of(&self, selection: &Root) -> Vec<(Root, u32)> {
        self.cuts().of(selection)
    }
}
