//! The lists of all sources, merged name by name while they come.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::plan::{Plan, Planner};
use super::supply::Supply;
use super::{FolderFetch, Record};
use crate::config;
use crate::content::{Entry, FileName};
use crate::fetch::busy::while_busy;
use crate::fetch::engine::TransferError;
use crate::fetch::list::{ListRequest, list_over};
use crate::fetch::outage::Waits;
use crate::fetch::progress::Event;
use crate::fetch::source::SourceError;
use crate::threads;
use crate::transport::Cancel;

/// Pages of one source that may wait to be merged.
const PAGES_AHEAD: usize = 4;

/// Lists all sources and makes the plan. An error when not one source could be listed.
pub(super) fn plan(fetch: &mut FolderFetch<'_>, record: &Record) -> Result<Plan, TransferError> {
    let mut supplies = std::mem::take(&mut fetch.supplies);
    let peers = supplies.iter().map(|supply| supply.peer().clone()).collect();
    let share = fetch.share;
    let (pattern, except) = (share.pattern.clone(), share.except.clone());
    let waits = fetch.waits;
    let request = ListRequest { pattern, except, folders: true, hashed: true, waits };
    let (cancel, _registration) = fetch.cancel.child();
    let observer = fetch.observer;
    let plan = thread::scope(|scope| {
        let mut streams = Vec::new();
        for supply in &mut supplies {
            let (send, pages) = bounded(PAGES_AHEAD);
            let (request, cancel) = (&request, &cancel);
            streams.push(Stream::new(pages));
            let peer = supply.peer().clone();
            let work = move || list(supply, request, (waits, cancel, observer), record, &send);
            if let Err(error) = threads::start_in(scope, format!("list-{peer}"), work) {
                record.lose(&peer, SourceError::NoThread(error));
            }
        }
        let mut planner = Planner::new(fetch, record, peers);
        while let Some((name, versions)) = next(&mut streams) {
            planner.add(name, versions);
        }
        planner.finish()
    });
    let all = supplies.len();
    fetch.supplies = supplies;
    let mut outcome = record.outcome();
    if outcome.lost.len() >= all && !fetch.cancel.is_cancelled() {
        return Err(TransferError::NoSource(std::mem::take(&mut outcome.lost)));
    }
    Ok(plan)
}

fn list(
    supply: &mut Supply<'_>,
    request: &ListRequest,
    (waits, cancel, observer): (Waits, &Cancel, &(dyn Fn(Event) + Sync)),
    record: &Record,
    pages: &Sender<Vec<Entry>>,
) {
    let peer = supply.peer().clone();
    let tell = |reason: &str| {
        let (peer, reason) = (peer.clone(), reason.to_owned());
        observer(Event::Waiting { peer, reason });
    };
    let result = while_busy(waits, cancel, &tell, || {
        // One that turned us away is connected to anew.
        supply.hang_up();
        let _registration = supply.connect(cancel)?;
        // The merge waits for exactly these, until it ends early.
        let mut each = |page| drop(pages.send(page));
        list_over(supply.connection()?, request, &mut each)
    });
    match result {
        Ok(omissions) if omissions.is_empty() => {}
        Ok(omissions) => record.outcome().left_out.push((peer, omissions)),
        Err(error) => {
            supply.hang_up();
            record.lose(&peer, error);
        }
    }
}

/// The list of one source, entry by entry.
struct Stream {
    pages: Receiver<Vec<Entry>>,
    page: std::vec::IntoIter<Entry>,
    head: Option<Entry>,
}

impl Stream {
    fn new(pages: Receiver<Vec<Entry>>) -> Self {
        Self { pages, page: Vec::new().into_iter(), head: None }
    }

    /// The next entry, which stays.
    fn peek(&mut self) -> Option<&Entry> {
        while self.head.is_none() {
            match self.page.next() {
                Some(entry) => self.head = Some(entry),
                None => self.page = self.pages.recv().ok()?.into_iter(),
            }
        }
        self.head.as_ref()
    }
}

/// The first name that is left, with what it is at every source that has it.
fn next(streams: &mut [Stream]) -> Option<(FileName, Vec<(usize, Entry)>)> {
    let first = streams.iter_mut().filter_map(|stream| Some(stream.peek()?.name.clone())).min()?;
    let mut versions = Vec::new();
    for (source, stream) in streams.iter_mut().enumerate() {
        if stream.peek().is_some_and(|entry| entry.name == first)
            && let Some(entry) = stream.head.take()
        {
            versions.push((source, entry));
        }
    }
    Some((first, versions))
}

/// Entries that are compared with what is here at once.
pub(super) const COMPARED_AT_ONCE: usize = config::LIST_PAGE;
