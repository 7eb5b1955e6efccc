//! `#DOWNLOAD`: find out who has what, settle on one content, fetch it from all who have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::done::{say_already_here, say_downloaded};
use super::meaning::Tried;
use super::text::{quoted, size};
use super::work::Work;
use super::{Bar, ExitStatus, classic, folding, planned, shown};
use crate::config;
use crate::content::{FileName, Manifest, Root, RootPrefix};
use crate::fetch::find::{Answer, Find, Holder};
use crate::fetch::{
    Dial, Event, Fetch, FramedPeer, Progress, Snapshot, SourceError, Swarm, TransferError,
};
use crate::store::{self, PartFile, Reception, Store, StoreError};
use crate::threads;
use crate::topology::{Peer, PeerId};
use crate::wire::Subject;

/// Those that have the file and those that may have it.
struct Found {
    holders: Vec<Holder>,
    late: Vec<Peer>,
    /// Classic peers that have it.
    classic: Vec<classic::Holder>,
    /// What went wrong at the others.
    failures: Vec<(Peer, SourceError)>,
}

/// Fetches a file of that very name, or one with that id, if anybody has it.
pub(super) fn run(work: &Work<'_>, wanted: &FileName, replace: bool) -> Tried {
    let audience = &work.transfers.surroundings.audience;
    if work.peers.is_empty() {
        return Tried::Nobody(Vec::new());
    }
    let refuse = |error: &StoreError| {
        audience.error(&format!(
            "cannot download {}: {}",
            quoted(wanted.as_str()),
            shown(&error.to_string())
        ));
        Tried::Done(ExitStatus::from(error))
    };
    let way = check_way(work, wanted, replace);
    match &way {
        // It may be the folder that is meant.
        Err(StoreError::Blocked { by: store::FOLDER, .. }) | Ok(()) => {}
        Err(error) => return refuse(error),
    }
    let found = find(work, wanted);
    if work.cancel.is_cancelled() {
        audience.error("interrupted; the same command continues");
        return Tried::Done(ExitStatus::Interrupted);
    }
    if found.is_empty() {
        return Tried::Nobody(found.failures);
    }
    if let Err(error) = &way {
        return refuse(error);
    }
    let (has_not, failed): (Vec<_>, Vec<_>) = found
        .failures
        .iter()
        .map(|(peer, error)| (peer, error))
        .partition(|(_, error)| matches!(error, SourceError::NotServing));
    has_not.iter().for_each(|(peer, _)| log::info!("{} does not serve {wanted}", peer.id));
    folding::reasons(failed, |line| audience.note(line));
    Tried::Done(take(work, wanted, found, replace))
}

/// Settles on one content, and fetches that.
fn take(work: &Work<'_>, wanted: &FileName, found: Found, replace: bool) -> ExitStatus {
    if found.holders.is_empty() {
        return classic::receive_unproven(work, wanted.as_str(), found.classic, replace);
    }
    if let Some(conflict) = conflict(&found.holders) {
        let audience = &work.transfers.surroundings.audience;
        audience.error(&format!(
            "{} is not the same file at all peers; choose one by its id:{conflict}",
            quoted(wanted.as_str())
        ));
        return ExitStatus::Refused;
    }
    receive(work, found, replace)
}

/// Fails when nothing can be put under that name here; an id will have a name that is not known
/// yet.
fn check_way(work: &Work<'_>, wanted: &FileName, replace: bool) -> Result<(), StoreError> {
    match wanted.as_str().parse::<RootPrefix>() {
        Ok(_) if work.name.is_none() => Ok(()),
        _ => work.store()?.check_way(work.name.as_ref().unwrap_or(wanted), replace),
    }
}

/// Asks all peers for the name, and if nobody has that and it may be an id, for the id.
fn find(work: &Work<'_>, name: &FileName) -> Found {
    let id = name.as_str().parse::<RootPrefix>().ok();
    let (known, peers): (Vec<Peer>, Vec<Peer>) =
        work.peers.iter().cloned().partition(|peer| work.is_classic(peer));
    let bar = work.transfers.surroundings.audience.transfer(name.as_str());
    let observer = |event| bar.tell(&event);
    let ask = |subject, peers: &[Peer]| {
        let (caller, cancel, waits) = (&work.caller, &work.cancel, work.waits);
        let subject = &subject;
        sort(Find { peers, subject, caller, cancel, observer: &observer, waits }.run())
    };
    if let Some(file) = work.described {
        // Nobody is asked by a name: a peer may call something else so.
        let Ok(id) = file.root.to_string().parse() else { return sort(Vec::new()) };
        let mut found = ask(Subject::Id(id), &peers);
        found.holders.retain(|Holder { outline, .. }| {
            outline.root == file.root && outline.layout.length() == file.length
        });
        return found;
    }
    let (mut by_name, probed) = thread::scope(|scope| {
        // Those of the other dialect are asked at the same time, where there is a thread for that.
        let probe = || work.probe(&known, name);
        let probing = (!known.is_empty()).then(|| threads::start_in(scope, "probe", probe));
        let answers = ask(Subject::Name(name.clone()), &peers);
        let probed = match probing {
            Some(Ok(probing)) => probing.join().unwrap_or_default(),
            _ => probe(),
        };
        (answers, probed)
    });
    by_name.add_classic(probed);
    let busy = by_name.look_again(work, name);
    if !busy.is_empty() && !work.cancel.wait(config::RETRY_PAUSE) {
        let again = ask(Subject::Name(name.clone()), &busy);
        by_name.add(again);
    }
    match id {
        Some(id) if by_name.is_empty() && !work.cancel.is_cancelled() => {
            ask(Subject::Id(id), &peers)
        }
        _ => by_name,
    }
}

impl Found {
    fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.classic.is_empty()
    }

    /// What others said that were asked later.
    fn add(&mut self, later: Self) {
        self.holders.extend(later.holders);
        self.late.extend(later.late);
        self.failures.extend(later.failures);
    }

    fn add_classic(&mut self, probed: Vec<Result<classic::Holder, (Peer, SourceError)>>) {
        for answer in probed {
            match answer {
                Ok(holder) => self.classic.push(holder),
                Err(failure) => self.failures.push(failure),
            }
        }
    }

    /// Asks those that did not greet whether they are classic peers; gives those that were only
    /// busy.
    fn look_again(&mut self, work: &Work<'_>, name: &FileName) -> Vec<Peer> {
        let is_foreign =
            |(_, error): &(Peer, SourceError)| matches!(error, SourceError::Foreign(_));
        let foreign: Vec<_> = self.failures.extract_if(.., |failure| is_foreign(failure)).collect();
        let look = |(peer, _): &(Peer, SourceError)| work.turns_out_classic(peer);
        let looks = threads::for_all(&foreign, |(peer, _)| format!("look-{}", peer.id), look);
        let (mut classic, mut busy) = (Vec::new(), Vec::new());
        for ((peer, error), look) in foreign.into_iter().zip(looks) {
            match look {
                Some(Ok(true)) => classic.push(peer),
                Some(Err(SourceError::Busy(_))) => busy.push(peer),
                _ => self.failures.push((peer, error)),
            }
        }
        self.add_classic(work.probe(&classic, name));
        busy
    }
}

fn sort(answers: Vec<Answer>) -> Found {
    let (holders, late, classic, failures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut found = Found { holders, late, classic, failures };
    for answer in answers {
        match answer {
            Answer::Has(holder) => found.holders.push(*holder),
            Answer::HasNot(peer, error) => found.failures.push((peer, error)),
            Answer::Late(peer) => found.late.push(peer),
        }
    }
    found
}

/// Which peers hold which content, when that is not one and the same.
fn conflict(holders: &[Holder]) -> Option<String> {
    let mut groups: BTreeMap<Root, (u64, Vec<&str>)> = BTreeMap::new();
    for holder in holders {
        let group = groups
            .entry(holder.outline.root)
            .or_insert((holder.outline.layout.length(), Vec::new()));
        group.1.push(holder.peer.id.as_str());
    }
    let line = |(root, (length, peers)): (&Root, &(u64, Vec<&str>))| {
        format!(
            "\n  #DOWNLOAD {}  {} ({length} bytes) at {}",
            root.short(),
            size(*length),
            peers.join(", ")
        )
    };
    (groups.len() > 1).then(|| groups.iter().map(line).collect())
}

/// The manifest from the first holder that gives it; those that do not are told about and left out.
fn manifest(work: &Work<'_>, found: &mut Found) -> Option<Manifest> {
    while let Some(mut holder) = (!found.holders.is_empty()).then(|| found.holders.remove(0)) {
        let _registration = work.cancel.closes(holder.connection.closer());
        match holder.manifest() {
            Ok(manifest) => {
                found.holders.insert(0, holder);
                return Some(manifest);
            }
            Err(error) => {
                let audience = &work.transfers.surroundings.audience;
                audience.error(&format!("{}: {}", holder.peer, shown(&error.to_string())));
                found.failures.push((holder.peer, error));
            }
        }
    }
    None
}

/// Opens the part file and fetches into it.
fn receive(work: &Work<'_>, mut found: Found, replace: bool) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let Some(manifest) = manifest(work, &mut found) else {
        return ExitStatus::of_peers(
            found.failures.iter().map(|(_, error)| ExitStatus::from(error)),
        );
    };
    let manifest = Arc::new(match &work.name {
        Some(name) => manifest.renamed(name.clone()),
        None => manifest,
    });
    if work.dry_run {
        return planned::download(work, &manifest, &found.holders, replace);
    }
    let attributes =
        found.holders.first().map(|holder| holder.outline.attributes).unwrap_or_default();
    let name = manifest.name().clone();
    let fail = |status, message: String| {
        audience.error(&format!("{}: {}", shown(name.as_str()), shown(&message)));
        status
    };
    let received = |store: Store| store.receive(manifest.clone(), replace);
    match work.store().and_then(received) {
        Err(error) => fail(ExitStatus::from(&error), error.to_string()),
        Ok(Reception::AlreadyHere) => say_already_here(work, &name),
        Ok(Reception::Busy) => fail(
            ExitStatus::Refused,
            "is being received already, by this peer's server or another client".to_owned(),
        ),
        Ok(Reception::InTheWay { length, .. }) => {
            let what = format!(
                "another file of that name is here ({length} bytes); --replace overwrites it"
            );
            fail(ExitStatus::Refused, what)
        }
        Ok(Reception::Part(part)) => match fetch(work, found, part.with(attributes)) {
            Ok(snapshot) => say_downloaded(work, &name, &snapshot),
            Err(error) => fail(status_of(&error), error.to_string()),
        },
    }
}

/// Fetches what is missing, with a bar, and makes the file visible.
fn fetch(work: &Work<'_>, found: Found, part: PartFile) -> Result<Snapshot, TransferError> {
    let manifest = part.manifest().clone();
    let (own, shared) = (
        own_server(work).filter(|_| found.classic.is_empty()),
        found.holders.iter().any(|holder| holder.outline.shared),
    );
    let sources = sources(work, found, &manifest);
    let bar = work.transfers.surroundings.audience.transfer(manifest.name().as_str());
    let progress = Progress::new(manifest.length());
    progress.resume(part.received());
    // Zeros are known without having been here.
    let kept = part.received().saturating_sub(part.zeros());
    if kept > 0 {
        bar.tell(&Event::Resumed { bytes: kept });
    }
    let observer = |event: Event| bar.tell(&event);
    watched(&bar, &progress, || {
        let (progress, observer, cancel) = (&progress, &observer, &work.cancel);
        let waits = work.waits;
        let meet = |id: &PeerId| meet(work, id);
        let caller = &work.caller;
        let swarm = own.map(|own| Swarm::Joined { meet: &meet, own, caller, shared });
        let transfer = Fetch { job: &part, sources, progress, cancel, waits, observer, swarm };
        transfer.run()?;
        Ok(part.complete()?)
    })?;
    Ok(progress.snapshot())
}

/// Our own server, when others might and may fetch from it while we download: the settings know us.
pub(super) fn own_server<'a>(work: &Work<'a>) -> Option<&'a Peer> {
    work.topology.find(work.caller.identity.peer.as_ref()?).filter(|_| work.swarm)
}

/// The way to another peer that downloads the same, by our own settings.
pub(super) fn meet(work: &Work<'_>, id: &PeerId) -> Option<Box<dyn Dial>> {
    let other =
        work.topology.find(id).filter(|_| work.caller.identity.peer.as_ref() != Some(id))?;
    Some(Box::new(FramedPeer::new(other.clone(), work.caller.clone(), None)))
}

/// Does the work and shows meanwhile how far it is; unseen where there is no thread to show it.
pub(super) fn watched<T>(
    bar: &Bar,
    progress: &Progress,
    work: impl FnOnce() -> Result<T, TransferError>,
) -> Result<T, TransferError> {
    let (ends, ended) = bounded::<()>(0);
    thread::scope(|scope| {
        let show = move || {
            while ended.recv_timeout(config::BAR_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                bar.update(&progress.snapshot());
            }
        };
        if let Err(error) = threads::start_in(scope, "bar", show) {
            log::info!("how far it is cannot be shown: {error}");
        }
        // The thread ends with this.
        let _ends = ends;
        work()
    })
}

/// All that may have the content: those that said so over the connection they said it on, and
/// those that have not answered yet.
fn sources(work: &Work<'_>, found: Found, manifest: &Manifest) -> Vec<Box<dyn Dial>> {
    let classic = classic::sources(work, found.classic, manifest);
    let holders = found.holders.into_iter().map(|holder| (holder.peer, Some(holder.connection)));
    let late = found.late.into_iter().map(|peer| (peer, None));
    let framed = |(peer, connection)| -> Box<dyn Dial> {
        Box::new(FramedPeer::new(peer, work.caller.clone(), connection))
    };
    holders.chain(late).map(framed).chain(classic).collect()
}

pub(super) fn status_of(error: &TransferError) -> ExitStatus {
    match error {
        TransferError::Interrupted => ExitStatus::Interrupted,
        TransferError::Store(error) => error.into(),
        TransferError::NoSource(reasons) | TransferError::Incomplete { reasons, .. } => {
            let statuses = reasons.iter().map(|(_, reason)| ExitStatus::from(reason));
            // What failed has failed, also where nobody is there to be blamed.
            match ExitStatus::of_peers(statuses) {
                ExitStatus::Success => ExitStatus::Failed,
                status => status,
            }
        }
    }
}
