//! Peers of the classic dialect, as the commands meet them: who they are, and what a file is there.
//!
//! A peer counts as classic when the settings say so, or when it did not greet as a framed peer
//! does and then answered `#FILELIST`; that is remembered for the session.

use std::sync::{Arc, Mutex};

use super::done::say_downloaded;
use super::download::status_of;
use super::said::{Said, Transferred};
use super::text::size;
use super::work::Work;
use super::{Bar, ExitStatus, shown};
use crate::classic::{Asker, ClassicPeer, Gather, Served, Text, Upload};
use crate::config;
use crate::content::{FileName, Manifest};
use crate::fetch::{Dial, Event, Progress, Snapshot, SourceError, TransferError, while_busy};
use crate::locks::lock;
use crate::store::{Arrival, Incoming, Store};
use crate::threads;
use crate::topology::Peer;
use crate::wire::{ErrorCode, Refusal};

/// The peers that turned out to be classic.
#[derive(Default)]
pub(super) struct Known(Mutex<Vec<Peer>>);

impl Known {
    fn contains(&self, peer: &Peer) -> bool {
        peer.classic || lock(&self.0).contains(peer)
    }

    fn remember(&self, peer: &Peer) {
        lock(&self.0).push(peer.clone());
    }
}

/// A classic peer that has a file of some name.
pub(super) struct Holder {
    pub(super) asker: Asker,
    pub(super) name: FileName,
    /// What it says of the file's length, in bytes or in characters.
    pub(super) length: u64,
}

impl Work<'_> {
    /// Whether the peer is known to be classic.
    pub(super) fn is_classic(&self, peer: &Peer) -> bool {
        self.transfers.classic.contains(peer)
    }

    /// How a classic peer is asked; what it says is told at `-v`.
    pub(super) fn asker(&self, peer: &Peer) -> Asker {
        Asker {
            peer: peer.clone(),
            network: self.caller.network.clone(),
            cancel: self.cancel.clone(),
            heard: Arc::new(|line| log::info!("{}", shown(line))),
            idling: self.waits.idling,
        }
    }

    /// Asks a peer in the framed dialect, again while it is busy; `None` when it turns out to be a
    /// classic one.
    pub(super) fn ask_framed<T>(
        &self,
        peer: &Peer,
        mut ask: impl FnMut(&Peer) -> Result<T, SourceError>,
    ) -> Result<Option<T>, SourceError> {
        let tell = |reason: &str| {
            let line = format!("{}: {}; asking it again", peer.id, shown(reason));
            self.transfers.surroundings.audience.note(&line);
        };
        while_busy(self.waits, &self.cancel, &tell, || match ask(peer) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => self.classic_or(peer, error).map(|()| None),
        })
    }

    /// An error of a framed peer, unless that is that it did not greet, and it is a classic one.
    pub(super) fn classic_or(&self, peer: &Peer, error: SourceError) -> Result<(), SourceError> {
        let foreign = matches!(error, SourceError::Foreign(_));
        if foreign && self.turns_out_classic(peer)? { Ok(()) } else { Err(error) }
    }

    /// Whether a peer that did not greet is a classic one.
    ///
    /// A framed peer that has too much to do may stay silent or hang up as well, and answers text a
    /// moment later. So a peer counts as classic only if it answers text and then still does not
    /// greet. If it does, it was busy, which is the error.
    pub(super) fn turns_out_classic(&self, peer: &Peer) -> Result<bool, SourceError> {
        if self.asker(peer).list().is_err() {
            return Ok(false);
        }
        let greeted = self.caller.connect(peer, &self.cancel).and_then(|mut connection| {
            let _registration = self.cancel.closes(connection.closer());
            Ok(connection.introduce()?)
        });
        match greeted {
            Err(SourceError::Foreign(_)) => {}
            Ok(()) | Err(SourceError::Busy(_)) => {
                let message = "it did not greet at first; try again later".to_owned();
                return Err(SourceError::Busy(Refusal { code: ErrorCode::Busy, message }));
            }
            Err(error) => return Err(error),
        }
        log::info!(
            "{} speaks the classic dialect; \"classic\" behind its port in the settings says so at once",
            peer.id
        );
        self.transfers.classic.remember(peer);
        Ok(true)
    }

    /// Asks classic peers at once whether they have a file of that name.
    pub(super) fn probe(
        &self,
        peers: &[Peer],
        name: &FileName,
    ) -> Vec<Result<Holder, (Peer, SourceError)>> {
        let probe = |peer: &Peer| {
            let asker = self.asker(peer);
            match asker.probe(name) {
                Ok(length) => Ok(Holder { asker, name: name.clone(), length }),
                Err(error) => Err((peer.clone(), error)),
            }
        };
        let stalled = |peer: &Peer| Err((peer.clone(), SourceError::Stalled));
        threads::for_all(peers, |peer| format!("probe-{}", peer.id), probe)
            .into_iter()
            .zip(peers)
            .map(|(answer, peer)| answer.unwrap_or_else(|| stalled(peer)))
            .collect()
    }
}

/// What a classic peer serves, for the table: names are all that the dialect tells.
pub(super) fn listed(peer: &Peer, served: Served) -> (Vec<super::Listed>, u64) {
    let listed = |name| super::Listed {
        folder: None,
        peer: peer.id.clone(),
        name,
        length: None,
        root: None,
    };
    (served.names.into_iter().map(listed).collect(), served.left_out)
}

/// Sends a file to a classic peer.
pub(super) fn upload(
    to: &Asker,
    store: &Store,
    manifest: &Manifest,
    progress: &mut dyn FnMut(u64),
) -> Result<(), SourceError> {
    let text = store.open_content(&manifest.root()).and_then(Text::open);
    let refused = |code, message: String| SourceError::Refused(Refusal { code, message });
    match text {
        Ok(Some(mut text)) => Upload { to, name: manifest.name(), text: &mut text, progress }.run(),
        Ok(None) => {
            let longest = size(config::CLASSIC_LONGEST);
            let why = format!(
                "the file is not UTF-8 text of at most {longest}, and the classic dialect carries nothing else"
            );
            Err(refused(ErrorCode::Refused, why))
        }
        Err(error) => Err(refused(ErrorCode::Internal, error.to_string())),
    }
}

/// Classic peers as sources beside framed ones, verified against their manifest; those whose file
/// cannot be the same are left out with a word.
pub(super) fn sources(
    work: &Work<'_>,
    holders: Vec<Holder>,
    manifest: &Manifest,
) -> Vec<Box<dyn Dial>> {
    let mut sources: Vec<Box<dyn Dial>> = Vec::new();
    for Holder { asker, name, length } in holders {
        let id = asker.peer.id.clone();
        match ClassicPeer::new(asker, &name, manifest, length) {
            Ok(peer) => sources.push(Box::new(peer)),
            Err(error) => {
                let audience = &work.transfers.surroundings.audience;
                audience.note(&format!("{id} takes no part: {}", shown(&error.to_string())));
            }
        }
    }
    sources
}

/// Which peers say what of a file's length, when that is not one and the same.
pub(super) fn conflict(holders: &[Holder]) -> Option<String> {
    let first = holders.first()?.length;
    let line = |holder: &Holder| format!("\n  {} at {}", holder.length, holder.asker.peer.id);
    holders.iter().any(|holder| holder.length != first).then(|| holders.iter().map(line).collect())
}

/// Fetches from classic peers alone, and says that nothing could be verified.
pub(super) fn receive_unproven(
    work: &Work<'_>,
    wanted: &str,
    holders: Vec<Holder>,
    replace: bool,
) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let fail = |status, message: String| {
        audience.error(&format!("{}: {}", shown(wanted), shown(&message)));
        status
    };
    if let Some(conflict) = conflict(&holders) {
        audience.error(&format!(
            "{} is not the same file at all peers; name one of them:{conflict}",
            shown(wanted)
        ));
        return ExitStatus::Refused;
    }
    let Ok(there) = wanted.parse::<FileName>() else { return ExitStatus::Usage };
    let name = work.name.clone().unwrap_or_else(|| there.clone());
    let ids: Vec<&str> = holders.iter().map(|holder| holder.asker.peer.id.as_str()).collect();
    let unverified = format!(
        "{}: not verified, because the classic dialect has no checksums and no other peer has the file (it came from {})",
        shown(wanted),
        ids.join(", ")
    );
    let length = holders.first().map(|holder| holder.length);
    if work.dry_run {
        let line = format!("would download {}, unverified, from {}", shown(wanted), ids.join(", "));
        let said =
            Transferred { direction: "download", name: wanted, files: 1, ..Transferred::default() };
        return audience.result(&line, &Said::Planned(said));
    }
    match work.store().and_then(|store| store.receive_unproven(name.clone(), length, replace)) {
        Err(error) => fail(ExitStatus::from(&error), error.to_string()),
        Ok(Arrival::Exists) => {
            let what = "already exists; --replace overwrites it";
            fail(ExitStatus::Refused, what.to_owned())
        }
        Ok(Arrival::Busy) => fail(
            ExitStatus::Refused,
            "is being received already, by this peer's server or another client".to_owned(),
        ),
        Ok(Arrival::Ready(incoming)) => match fetch(work, holders, &there, incoming) {
            Ok(snapshot) => {
                audience.note(&unverified);
                say_downloaded(work, &name, &snapshot)
            }
            Err(TransferError::Interrupted) => {
                let what = "interrupted; what came is not kept, because nothing proves it";
                fail(ExitStatus::Interrupted, what.to_owned())
            }
            Err(error) => fail(status_of(&error), error.to_string()),
        },
    }
}

/// Downloads from classic peers alone, with a bar. What comes is not verified.
pub(super) fn fetch(
    work: &Work<'_>,
    holders: Vec<Holder>,
    name: &FileName,
    mut incoming: Incoming,
) -> Result<Snapshot, TransferError> {
    let length = holders.first().map_or(0, |holder| holder.length);
    let from: Vec<Asker> = holders.into_iter().map(|holder| holder.asker).collect();
    let progress = Progress::new(length);
    let bar: Bar = work.transfers.surroundings.audience.transfer(name.as_str());
    let store = work.store()?;
    let observer = |event: Event| bar.tell(&event);
    let (progress, observer) = (&progress, &observer);
    super::download::watched(&bar, progress, || {
        let gather = Gather { from, name, length, progress, cancel: &work.cancel, observer };
        gather.run(&mut incoming)?;
        Ok(store.complete(incoming)?)
    })?;
    Ok(progress.snapshot())
}
