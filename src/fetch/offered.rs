//! The source of an upload: the peer that offered the file, over the connection the offer came on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::framed::{ask_excuse, await_chunk, await_next, request_chunk, request_next};
use super::progress::Progress;
use super::source::{Dial, Handed, Next, Source, SourceError};
use crate::config;
use crate::connection::Framed;
use crate::content::{ChunkIndex, Manifest};
use crate::topology::PeerId;
use crate::transport::{Cancel, Closer};
use crate::wire::{Report, Request, Response};

/// A peer whose offer was accepted. It can be used as a source once: when the connection is lost,
/// so is the offer.
pub struct Offerer<'a> {
    peer: PeerId,
    connection: &'a mut Framed,
    manifest: &'a Manifest,
    report: &'a (dyn Fn() -> Report + Sync),
}

impl<'a> Offerer<'a> {
    /// The other side of `connection` now answers requests for chunks of `manifest`, and is told
    /// `report` now and then.
    pub fn new(
        peer: PeerId,
        connection: &'a mut Framed,
        manifest: &'a Manifest,
        report: &'a (dyn Fn() -> Report + Sync),
    ) -> Self {
        Self { peer, connection, manifest, report }
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
        Ok(Box::new(OfferedSource {
            connection: self.connection,
            manifest: self.manifest,
            report: self.report,
            reported: Instant::now(),
        }))
    }
}

/// A peer that offers what is being received already: one more source of a transfer that runs. Its
/// offer is answered when the transfer lets it in.
pub struct Joiner {
    peer: PeerId,
    /// There until this is dropped.
    connection: Option<Framed>,
    manifest: Arc<Manifest>,
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
        manifest: Arc<Manifest>,
        progress: Arc<Progress>,
        back: Sender<Returned>,
    ) -> Self {
        let (told, offerer) = (progress.clone(), peer.clone());
        let report = Box::new(move || progress_report(&told, &offerer));
        Self {
            peer,
            connection: Some(connection),
            manifest,
            progress,
            report,
            was_let_in: false,
            back,
        }
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
        Ok(Box::new(OfferedSource {
            connection,
            manifest: &self.manifest,
            report: &self.report,
            reported: Instant::now(),
        }))
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

struct OfferedSource<'a> {
    connection: &'a mut Framed,
    manifest: &'a Manifest,
    report: &'a (dyn Fn() -> Report + Sync),
    reported: Instant,
}

impl OfferedSource<'_> {
    fn report_if_due(&mut self) -> Result<(), SourceError> {
        if self.reported.elapsed() < config::REPORT_INTERVAL {
            return Ok(());
        }
        self.reported = Instant::now();
        let report = (self.report)();
        Ok(self.connection.send(&Request::Report { report }, &[])?)
    }
}

/// How far the transfer is, for the peer that offered the file.
pub fn progress_report(progress: &Progress, offerer: &PeerId) -> Report {
    Report::Progress { done: progress.done(), from_others: progress.from_others(offerer) }
}

impl Source for OfferedSource<'_> {
    fn request(&mut self, index: ChunkIndex) -> Result<(), SourceError> {
        self.report_if_due()?;
        request_chunk(self.connection, self.manifest.root(), self.manifest.layout(), (index, 0))
    }

    fn await_chunk(&mut self, index: ChunkIndex, stall: Duration) -> Result<(), SourceError> {
        await_chunk(self.connection, index, stall)?;
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError> {
        Ok(self.connection.read_payload(buffer, stall)?)
    }

    fn request_next(&mut self, next: &Next<'_>) -> Result<(), SourceError> {
        self.report_if_due()?;
        request_next(self.connection, self.manifest.root(), self.manifest.layout(), next)
    }

    fn await_next(&mut self, stall: Duration) -> Result<Handed, SourceError> {
        await_next(self.connection, self.manifest.layout(), stall)
    }

    fn idle(&mut self) -> Result<(), SourceError> {
        self.report_if_due()
    }

    fn excuse(&mut self) -> SourceError {
        ask_excuse(self.connection, self.manifest.root())
    }

    /// The connection goes on after the transfer.
    fn closer(&self) -> Option<Closer> {
        None
    }
}
