//! A source of a folder: a connection that is asked for many things, ours or a turned one.

use std::time::Instant;

use crate::config;
use crate::connection::Framed;
use crate::fetch::framed::Caller;
use crate::fetch::progress::Progress;
use crate::fetch::source::SourceError;
use crate::topology::{Peer, PeerId};
use crate::transport::{Cancel, cancel::Registration};
use crate::wire::{Report, Request};

/// A peer that a folder is fetched from.
pub struct Supply<'a> {
    pub(super) peer: PeerId,
    pub(super) link: Link<'a>,
}

/// How the peer is reached.
pub(super) enum Link<'a> {
    /// Over connections that we make.
    Dialled { peer: Peer, caller: Caller, connection: Option<Box<Framed>> },
    /// Over the connection that its offer came on, which is told how far we are.
    Turned { connection: &'a mut Framed, reported: Instant },
}

impl<'a> Supply<'a> {
    /// A peer that can be connected to.
    pub fn dialled(peer: Peer, caller: Caller) -> Self {
        Self { peer: peer.id.clone(), link: Link::Dialled { peer, caller, connection: None } }
    }

    /// The peer that offered a folder over `connection`, which was accepted.
    pub fn turned(peer: PeerId, connection: &'a mut Framed) -> Self {
        Self { peer, link: Link::Turned { connection, reported: Instant::now() } }
    }

    /// Which peer.
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    pub(super) fn can_redial(&self) -> bool {
        matches!(self.link, Link::Dialled { .. })
    }

    /// The open connection, made where there is none; the cancel closes one that we made.
    pub(super) fn connect(&mut self, cancel: &Cancel) -> Result<Registration, SourceError> {
        match &mut self.link {
            Link::Turned { .. } => Ok(Registration::default()),
            Link::Dialled { peer, caller, connection } => {
                let open = match connection.take() {
                    Some(open) => open,
                    None => Box::new(caller.connect(peer, cancel)?),
                };
                let registration = cancel.closes(open.closer());
                *connection = Some(open);
                Ok(registration)
            }
        }
    }

    /// The connection that [`Self::connect`] opened.
    pub(super) fn connection(&mut self) -> Result<&mut Framed, SourceError> {
        match &mut self.link {
            Link::Turned { connection, .. } => Ok(connection),
            Link::Dialled { connection: Some(connection), .. } => Ok(connection),
            Link::Dialled { connection: None, .. } => {
                Err(SourceError::Lost(crate::wire::WireError::Closed))
            }
        }
    }

    /// Makes no further use of the connection.
    pub(super) fn hang_up(&mut self) {
        if let Link::Dialled { connection, .. } = &mut self.link {
            *connection = None;
        }
    }

    /// Tells the offering side how far we are, now and then.
    pub(super) fn report(&mut self, progress: &Progress) -> Result<(), SourceError> {
        if let Link::Turned { connection, reported } = &mut self.link
            && reported.elapsed() >= config::REPORT_INTERVAL
        {
            *reported = Instant::now();
            connection.send(&Request::Report { report: report_of(progress) }, &[])?;
        }
        Ok(())
    }
}

/// How far a folder is, as it is reported.
pub(super) fn report_of(progress: &Progress) -> Report {
    let snapshot = progress.snapshot();
    let (files, of_files) = (snapshot.files, snapshot.of_files);
    Report::Folder { files, of_files, done: snapshot.done, total: snapshot.total }
}
