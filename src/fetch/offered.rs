//! The source of an upload: the peer that offered the file, over the connection the offer came on.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::framed::FramedSource;
use super::progress::Progress;
use super::source::{Dial, Source, SourceError};
use crate::connection::Framed;
use crate::topology::PeerId;
use crate::transport::Cancel;
use crate::wire::{Report, Response};

/// A peer whose offer was accepted. It can be used as a source once: when the connection is lost,
/// so is the offer.
pub struct Offerer<'a> {
    peer: PeerId,
    connection: &'a mut Framed,
    report: &'a (dyn Fn() -> Report + Sync),
}

impl<'a> Offerer<'a> {
    /// The other side of `connection` now answers requests for chunks of `manifest`, and is told
    /// `report` now and then.
    pub fn new(
        peer: PeerId,
        connection: &'a mut Framed,
        report: &'a (dyn Fn() -> Report + Sync),
    ) -> Self {
        Self { peer, connection, report }
    }
}

impl Dial for Offerer<'_> {
    fn peer(&self) -> &PeerId {
        &self.peer
    }

    fn can_redial(&self) -> bool {
        false
    }

    fn dial(&mut self, _cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError> {
        Ok(Box::new(FramedSource::turned(self.connection, self.report)))
    }
}

/// A peer that offers what is being received already: one more source of a transfer that runs. Its
/// offer is answered when the transfer lets it in.
pub struct Joiner {
    peer: PeerId,
    /// There until this is dropped.
    connection: Option<Framed>,
    progress: Arc<Progress>,
    report: Box<dyn Fn() -> Report + Send + Sync>,
    was_let_in: bool,
    back: Sender<Returned>,
}

/// The connection of a [`Joiner`], after its transfer has no more use for it.
pub struct Returned {
    /// The connection.
    pub connection: Framed,
    /// Whether the offer was accepted.
    pub was_let_in: bool,
}

impl Joiner {
    /// Will fetch chunks of `manifest` over a connection that an offer of it came on. The
    /// connection comes `back` at the end.
    pub fn new(
        (peer, connection): (PeerId, Framed),
        progress: Arc<Progress>,
        back: Sender<Returned>,
    ) -> Self {
        let (told, offerer) = (progress.clone(), peer.clone());
        let report = Box::new(move || progress_report(&told, &offerer));
        Self { peer, connection: Some(connection), progress, report, was_let_in: false, back }
    }
}

impl Dial for Joiner {
    fn peer(&self) -> &PeerId {
        &self.peer
    }

    fn can_redial(&self) -> bool {
        false
    }

    fn dial(&mut self, _cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError> {
        let Some(connection) = &mut self.connection else { return Err(SourceError::NotServing) };
        let have = self.progress.snapshot().resumed;
        self.was_let_in = true;
        connection.send(&Response::Accepted { have }, &[])?;
        Ok(Box::new(FramedSource::turned(connection, &self.report)))
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // The session waits for it.
            let _ = self.back.send(Returned { connection, was_let_in: self.was_let_in });
        }
    }
}

/// How far the transfer is, for the peer that offered the file.
pub fn progress_report(progress: &Progress, offerer: &PeerId) -> Report {
    Report::Progress { done: progress.done(), from_others: progress.from_others(offerer) }
}
