//! The offer of a folder: we list, fetch what we lack, and tell at the end what we could not have.

use std::time::Instant;

use super::Shared;
use super::offers::{refusal_for, uploader};
use crate::config;
use crate::connection::Framed;
use crate::content::FileName;
use crate::fetch::offered::Offerer;
use crate::fetch::{
    Event, FileError, FolderFetch, FolderOutcome, Progress, Swarm, Waits, folder_report,
};
use crate::logging::{Tally, named};
use crate::serve::refusal_of;
use crate::topology::PeerId;
use crate::wire::{ErrorCode, Failed, Refusal, Report, Request, Response, Share, WireError};

/// Receives what is offered, over the connection that the offer came on.
pub(super) fn receive(
    shared: &Shared,
    connection: &mut Framed,
    share: &Share,
    (replace, unit_size): (bool, u32),
) -> Result<(), WireError> {
    let (peer, who) = (uploader(connection), connection.who());
    connection.send(&Response::Accepted { have: 0 }, &[])?;
    let (what, _transferring) = (what(share), shared.company.transferring());
    log::info!("receiving {what} from {who}");
    let mut tally = Tally::since(Instant::now());
    let progress = Progress::new(0);
    let observer = |event: Event| log::debug!("folder from {who}: {event:?}");
    let meet = |id: &PeerId| shared.meet(id);
    let fetch = FolderFetch {
        store: &shared.store,
        share,
        replace,
        progress: &progress,
        cancel: &shared.cancel,
        waits: Waits::usual(),
        observer: &observer,
        renamed: None,
        dry_run: false,
        swarm: (unit_size > 0).then_some(Swarm::Given(&meet)),
        unit_size: Some(unit_size),
    };
    let report = || folder_report(&progress);
    let offerer = Offerer::new(peer, connection, &report);
    match fetch.run(vec![Box::new(offerer)]) {
        Ok(outcome) => {
            tally.add(outcome.bytes, Instant::now());
            tell_received(&what, &who, &outcome, &tally);
            report_folder(connection, &outcome)
        }
        Err(error) => {
            log::warn!("did not receive {what} from {who}: {error}");
            let report = Report::Failed(refusal_for(&error));
            connection.send(&Request::Report { report }, &[])?;
            connection.closer().close();
            Ok(())
        }
    }
}

/// What the log calls an offered folder.
fn what(share: &Share) -> String {
    match (&share.beneath, &share.pattern) {
        (Some(folder), _) => format!("the folder {}", named(folder.as_str())),
        (None, Some(pattern)) => format!("the files {}", named(pattern)),
        (None, None) => "all files".to_owned(),
    }
}

fn tell_received(what: &str, who: &str, outcome: &FolderOutcome, tally: &Tally) {
    let FolderOutcome { received, here, failed, failures, .. } = outcome;
    let done = format!("{what} from {who}: {received} files, {tally}; {here} were here");
    match failures.first() {
        None => log::info!("received {done}"),
        Some((name, error)) => log::warn!(
            "received a part of {done}, {failed} failed; the first: {}: {error}",
            named(name.as_str())
        ),
    }
}

/// Tells the offering side how it ended. A connection on which answers may still be under way is of
/// no use afterwards.
fn report_folder(connection: &mut Framed, outcome: &FolderOutcome) -> Result<(), WireError> {
    let told = |(name, error): &(FileName, FileError)| Failed {
        name: name.clone(),
        reason: refusal_of_file(error),
    };
    let failures: Vec<Failed> =
        outcome.failures.iter().take(config::SHOWN_FAILURES).map(told).collect();
    let report = Report::FolderFinished {
        received: outcome.received,
        bytes: outcome.bytes,
        here: outcome.here,
        failed: outcome.failed,
    };
    connection.send(&Request::Report { report }, &serde_json::to_vec(&failures)?)?;
    if !outcome.lost.is_empty() {
        connection.closer().close();
    }
    Ok(())
}

fn refusal_of_file(error: &FileError) -> Refusal {
    let code = match error {
        FileError::Conflict(_) | FileError::InTheWay => ErrorCode::InTheWay,
        FileError::Busy => ErrorCode::Receiving,
        FileError::NoSource => ErrorCode::NotFound,
        FileError::Lost { integrity: true, .. } => ErrorCode::Integrity,
        FileError::Lost { .. } => ErrorCode::Busy,
        FileError::Transfer(error) => return refusal_for(error),
        FileError::Store(error) => return refusal_of(error),
    };
    Refusal { code, message: error.to_string() }
}
