//! Whole folders: `#DOWNLOAD photos/`, `#DOWNLOAD '*.iso'`, `#UPLOAD photos`.

use std::time::Instant;

use super::done::{came, shares};
use super::download::{self, status_of, watched};
use super::folding::{Got, Targets};
use super::local::Several;
use super::meaning::Tried;
use super::omissions;
use super::said::{Said, Transferred};
use super::text::{self, files, quoted, size};
use super::upload::{Failure, INTERRUPTED, wait_out};
use super::work::Work;
use super::{Bar, ExitStatus, folding, planned, shown};
use crate::config;
use crate::content::{ChunkLayout, FileName};
use crate::content::{Selection, pattern};
use crate::fetch::{
    Dial, Event, FileError, FolderFetch, FolderOutcome, FramedPeer, Outage, Progress, Snapshot,
    SourceError, Swarm, TransferError,
};
use crate::serve::offer::{FolderOffer, FolderReport, offer_folder};
use crate::serve::{Company, Responder, handout};
use crate::store::Store;
use crate::threads;
use crate::topology::{Peer, PeerId};
use crate::wire::{Report, Share};

/// Fetches all that the pattern selects from all peers that have any of it. `typed` is what it is
/// called, and what goes behind that.
pub(super) fn download(
    work: &Work<'_>,
    pattern: &str,
    typed: (&str, &str),
    except: &[String],
    replace: bool,
) -> Tried {
    let audience = &work.transfers.surroundings.audience;
    let fail = |error: &dyn std::fmt::Display, status| {
        audience.error(&format!("{}{}: {}", quoted(typed.0), typed.1, shown(&error.to_string())));
        Tried::Done(status)
    };
    if work.peers.is_empty() {
        return Tried::Nobody(Vec::new());
    }
    if let Err(bad) = Selection::new(Some(pattern), except) {
        return fail(&bad, ExitStatus::Usage);
    }
    let share = Share { pattern: Some(pattern.to_owned()), except: except.to_vec(), beneath: None };
    let store = match work.store() {
        Ok(store) => store,
        Err(error) => return fail(&error, ExitStatus::from(&error)),
    };
    let label = format!("{}{}", quoted(typed.0), typed.1);
    let progress = Progress::new(0);
    let bar = audience.transfer(&label);
    let result = fetch(work, &store, (&share, replace), &progress, &bar);
    bar.finish();
    match result {
        Ok(outcome) if outcome.listed == 0 && outcome.left_out.is_empty() => {
            Tried::Nobody(work.named(outcome.lost))
        }
        Ok(outcome) => Tried::Done(tell_download(work, &label, &outcome, &progress.snapshot())),
        Err(TransferError::NoSource(lost)) => Tried::Nobody(work.named(lost)),
        Err(error) => fail(&error, status_of(&error)),
    }
}

fn fetch(
    work: &Work<'_>,
    store: &Store,
    (share, replace): (&Share, bool),
    progress: &Progress,
    bar: &Bar,
) -> Result<FolderOutcome, TransferError> {
    let observer = |event: Event| bar.tell(&event);
    let source = |peer: &Peer| -> Box<dyn Dial> {
        Box::new(FramedPeer::new(peer.clone(), work.caller.clone(), None))
    };
    let sources = work.peers.iter().map(source).collect();
    let meet = |id: &PeerId| download::meet(work, id);
    let caller = &work.caller;
    let own = download::own_server(work).filter(|_| work.to.is_none());
    let swarm = own.map(|own| Swarm::Joined { meet: &meet, own, caller, shared: false });
    let fetch = FolderFetch {
        store,
        share,
        replace,
        progress,
        cancel: &work.cancel,
        waits: work.waits,
        observer: &observer,
        renamed: renamed(work, share),
        dry_run: work.dry_run,
        swarm,
        unit_size: None,
    };
    watched(bar, progress, || fetch.run(sources))
}

/// The folder that is called otherwise here, and how.
fn renamed(work: &Work<'_>, share: &Share) -> Option<(FileName, FileName)> {
    let folder = pattern::folder_of(share.pattern.as_deref()?)?;
    Some((folder.parse().ok()?, work.name.clone()?))
}

fn tell_download(
    work: &Work<'_>,
    wanted: &str,
    outcome: &FolderOutcome,
    snapshot: &Snapshot,
) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let left_out: Vec<ExitStatus> = outcome
        .left_out
        .iter()
        .map(|(peer, omissions)| omissions::tell(audience.as_ref(), peer.as_str(), omissions))
        .collect();
    let peer = |id: &PeerId| work.peers.iter().find(|peer| peer.id == *id);
    let lost = outcome.lost.iter().filter_map(|(id, error)| Some((peer(id)?, error)));
    folding::reasons(lost, |line| audience.note(line));
    if outcome.listed == 0 {
        audience.error(&format!("nothing of {wanted} can be copied"));
        return ExitStatus::Incomplete;
    }
    let told = outcome.failures.iter().take(config::SHOWN_FAILURES);
    let failures: Vec<(FileName, String)> =
        told.map(|(name, error)| (name.clone(), error.to_string())).collect();
    tell_failures(work, "", &failures, outcome.failed);
    let printed = match work.dry_run {
        true => tell_planned(work, wanted, outcome),
        false => tell_done(work, wanted, outcome, snapshot),
    };
    let statuses = outcome.failures.iter().map(|(_, error)| ExitStatus::from(error));
    let succeeded = (outcome.received + outcome.here > 0).then_some(ExitStatus::Success);
    match ExitStatus::of_peers(statuses.chain(succeeded)) {
        ExitStatus::Success if !left_out.is_empty() => ExitStatus::Incomplete,
        status => status.then(printed),
    }
}

fn tell_planned(work: &Work<'_>, wanted: &str, outcome: &FolderOutcome) -> ExitStatus {
    let failed = outcome.failed;
    let said = Transferred {
        direction: "download",
        name: wanted,
        bytes: outcome.bytes,
        files: outcome.received,
        there: outcome.here,
        failed,
        ..Transferred::default()
    };
    let much = format!("{}, {}", files(outcome.received), size(outcome.bytes));
    let line = format!("would download {wanted}: {much}{}", others(outcome.here, failed));
    work.transfers.surroundings.audience.result(&line, &Said::Planned(said))
}

fn tell_done(
    work: &Work<'_>,
    wanted: &str,
    outcome: &FolderOutcome,
    snapshot: &Snapshot,
) -> ExitStatus {
    let failed = outcome.failed;
    let line = format!(
        "downloaded {wanted}: {}, {}{}{}{}{}",
        files(outcome.received),
        size(outcome.bytes),
        text::rate(came(snapshot), snapshot.elapsed),
        shares(snapshot),
        others(outcome.here, failed),
        work.where_it_lies(""),
    );
    let said = Transferred {
        direction: "download",
        name: wanted,
        bytes: came(snapshot),
        seconds: snapshot.elapsed.as_secs_f64(),
        files: outcome.received,
        there: outcome.here,
        failed,
        sources: &snapshot.sources,
        ..Transferred::default()
    };
    work.transfers.surroundings.audience.say(&line, &Said::Transferred(said))
}

fn others(here: u64, failed: u64) -> String {
    let here = if here > 0 { format!("; {} there already", files(here)) } else { String::new() };
    let failed = if failed > 0 { format!("; {} failed", files(failed)) } else { String::new() };
    format!("{here}{failed}")
}

/// One line a file, up to some number of them.
fn tell_failures(work: &Work<'_>, before: &str, failures: &[(FileName, String)], all: u64) {
    let audience = &work.transfers.surroundings.audience;
    for (name, reason) in failures.iter().take(config::SHOWN_FAILURES) {
        audience.error(&format!("{before}{}: {}", shown(name.as_str()), shown(reason)));
    }
    let untold = all.saturating_sub(failures.len().min(config::SHOWN_FAILURES) as u64);
    if untold > 0 {
        audience.error(&format!("{before}and {} more failed", files(untold)));
    }
}

impl From<&FileError> for ExitStatus {
    fn from(error: &FileError) -> Self {
        match error {
            FileError::Conflict(_) | FileError::InTheWay | FileError::Busy => Self::Refused,
            FileError::NoSource => Self::NoSuchFile,
            FileError::Lost { integrity: true, .. } => Self::Integrity,
            FileError::Lost { passing: true, .. } => Self::Unreachable,
            FileError::Lost { .. } => Self::Failed,
            FileError::Transfer(error) => status_of(error),
            FileError::Store(error) => Self::from(error),
        }
    }
}

/// Offers a folder to all peers in parallel and serves each until it has it. What cannot be given
/// is told once, whatever the number of peers.
pub(super) fn upload(work: &Work<'_>, shared: &Several, replace: bool) -> ExitStatus {
    if work.dry_run {
        return planned::upload_of_folder(work, shared, replace).then(tell_left_out(work, shared));
    }
    let told = Targets::of(work);
    let company = Company::among(work.peers.iter().map(|peer| peer.id.to_string()).collect());
    let offer = FolderOffer { share: &shared.share, replace, chunk_size: unit_size(work, shared) };
    let give = |peer: &Peer| {
        Upload { work, peer, shared, company: company.clone(), offer, told: &told }.run()
    };
    let outcomes = threads::for_all(&work.peers, |peer| format!("upload-{}", peer.id), give);
    let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or(ExitStatus::Failed));
    let printed = told.end(&work.peers);
    if work.cancel.is_cancelled() {
        return ExitStatus::Interrupted;
    }
    // What failed says more than what was never there to be copied.
    match (ExitStatus::of_peers(outcomes), tell_left_out(work, shared)) {
        (ExitStatus::Success, left_out) => left_out.then(printed),
        (failed, _) => failed,
    }
}

/// How large units are where several targets fetch it together; 0 where they do not.
fn unit_size(work: &Work<'_>, shared: &Several) -> u32 {
    let members = work.peers.len();
    if !work.swarm || members < 2 {
        return 0;
    }
    let length = shared.length().inspect_err(|error| {
        log::info!("every peer gets {} from here alone: {error}", shared.label);
    });
    let layout = length.ok().and_then(|length| ChunkLayout::usual(length).ok());
    layout.map_or(0, |layout| handout::chunk_size(&layout, members))
}

/// Says what could not be given; after the upload, for which the folder was listed, so that it is
/// known.
fn tell_left_out(work: &Work<'_>, shared: &Several) -> ExitStatus {
    let Share { pattern, except, .. } = &shared.share;
    let audience = &work.transfers.surroundings.audience;
    match shared.store.omissions(pattern.as_deref(), except, config::OMISSIONS_TOLD) {
        Ok(left_out) => omissions::tell(
            audience.as_ref(),
            &format!("this upload of {}", shared.label),
            &left_out,
        ),
        Err(error) => {
            audience.error(&format!(
                "cannot see whether all of {} went: {}",
                shared.label,
                shown(&error.to_string())
            ));
            ExitStatus::from(&error)
        }
    }
}

/// The upload of a folder to one peer.
struct Upload<'a> {
    work: &'a Work<'a>,
    peer: &'a Peer,
    shared: &'a Several,
    /// What the targets have been handed.
    company: Company,
    offer: FolderOffer<'a>,
    told: &'a Targets<'a>,
}

impl Upload<'_> {
    fn run(&self) -> ExitStatus {
        let audience = &self.work.transfers.surroundings.audience;
        let (label, id) = (&self.shared.label, &self.peer.id);
        let bar = audience.transfer(&format!("{id} {label}"));
        let started = Instant::now();
        let result = self.offer(&bar, started);
        bar.finish();
        match result {
            Ok(report) => self.tell(&report, started),
            Err(_) if self.work.cancel.is_cancelled() => {
                self.told.badly(self.peer, INTERRUPTED.to_owned());
                ExitStatus::Interrupted
            }
            Err(failure) => {
                self.told.badly(self.peer, format!("{label}: {}", shown(&failure.message)));
                failure.status
            }
        }
    }

    /// Offers the folder, again when the connection is lost after the target had begun; what is
    /// there by then is not sent again.
    fn offer(&self, bar: &Bar, started: Instant) -> Result<FolderReport, Failure> {
        let mut outage = Outage::new(self.work.waits, Instant::now());
        let mut most = 0;
        loop {
            let mut progress = |report: &Report| {
                outage.reached(Instant::now());
                if let Report::Folder { files, of_files, done, total } = *report {
                    if done > most {
                        most = done;
                        outage.came(Instant::now());
                    }
                    let elapsed = started.elapsed();
                    bar.update(&Snapshot {
                        files,
                        of_files,
                        done,
                        total,
                        elapsed,
                        ..Snapshot::default()
                    });
                }
            };
            match self.offer_once(&mut progress) {
                Ok(report) => return Ok(report),
                Err(error) => {
                    self.company.lost(self.peer.id.as_str());
                    wait_out(self.work, self.peer, &mut outage, error)?;
                }
            }
        }
    }

    fn offer_once(&self, progress: &mut dyn FnMut(&Report)) -> Result<FolderReport, SourceError> {
        let cancel = &self.work.cancel;
        let mut connection = self.work.caller.connect(self.peer, cancel)?;
        let _registration = cancel.closes(connection.closer());
        let mut responder = Responder::new(self.shared.store.clone(), self.company.clone());
        let report = offer_folder(&mut connection, &mut responder, self.offer, progress)?;
        if report.failed == 0 && report.received == 0 {
            self.company.whole(self.peer.id.as_str());
        }
        Ok(report)
    }

    fn tell(&self, report: &FolderReport, started: Instant) -> ExitStatus {
        let FolderReport { received, bytes, here, failed, failures } = report;
        let told: Vec<(FileName, String)> = failures
            .iter()
            .map(|failed| (failed.name.clone(), failed.reason.message.clone()))
            .collect();
        tell_failures(self.work, &format!("{}: ", self.peer.id), &told, *failed);
        let (label, rest) = (&self.shared.label, others(*here, *failed));
        let got = Got {
            text: format!("uploaded {label}: {}, {}{rest}", files(*received), size(*bytes)),
            time: started.elapsed(),
            ours: *bytes,
            ..Got::default()
        };
        let said = Transferred {
            direction: "upload",
            name: label,
            peer: Some(self.peer.id.as_str()),
            bytes: *bytes,
            seconds: started.elapsed().as_secs_f64(),
            files: *received,
            there: *here,
            failed: *failed,
            ..Transferred::default()
        };
        let printed = self.told.well(self.peer, got, said);
        let statuses = failures.iter().map(|failed| ExitStatus::from(&failed.reason));
        let succeeded = (*received > 0 || *here > 0).then_some(ExitStatus::Success);
        ExitStatus::of_peers(statuses.chain(succeeded)).then(printed)
    }
}
