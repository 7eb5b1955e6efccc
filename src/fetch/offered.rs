//! The source of an upload: the peer that offered the file, over the connection the offer came on.

use std::time::{Duration, Instant};

use super::source::{Dial, Source, SourceError, ask_excuse, receive_chunk, request_chunk};
use crate::config;
use crate::connection::Framed;
use crate::content::{ChunkIndex, Manifest};
use crate::topology::PeerId;
use crate::transport::{Cancel, Closer};
use crate::wire::{Report, Request};

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

struct OfferedSource<'a> {
    connection: &'a mut Framed,
    manifest: &'a Manifest,
    report: &'a (dyn Fn() -> Report + Sync),
    reported: Instant,
}

impl Source for OfferedSource<'_> {
    fn request(&mut self, index: ChunkIndex) -> Result<(), SourceError> {
        if self.reported.elapsed() >= config::REPORT_INTERVAL {
            self.reported = Instant::now();
            let report = (self.report)();
            self.connection.send(&Request::Report { report }, &[])?;
        }
        request_chunk(self.connection, self.manifest.root(), self.manifest.layout(), index)
    }

    fn receive(&mut self, index: ChunkIndex, buffer: &mut [u8], stall: Duration) -> Result<(), SourceError> {
        receive_chunk(self.connection, self.manifest.layout(), index, buffer, stall)
    }

    fn excuse(&mut self) -> SourceError {
        ask_excuse(self.connection, self.manifest.root())
    }

    /// The connection goes on after the transfer.
    fn closer(&self) -> Option<Closer> {
        None
    }
}
