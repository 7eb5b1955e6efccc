//! How several peers fetch together: how it begins, and whether others can fetch from us.
//!
//! An adviser hands every unit to one of several peers, which fetch the rest from one another. Each
//! asks it for the next unit as long as it keeps up with passing its own on, and reads from the
//! answers who was handed what; those peers become sources, of what they were handed. When
//! everything is handed out, the adviser is an ordinary source again, for whatever does not come.
//! Several advisers begin at different places, and are told what is here.
//!
//! The targets of an upload do so from the start. A download does so once a source says that others
//! fetch the same, and if our own server really gives away what we receive: who only takes would be
//! handed units that the others wait for in vain.

use super::framed::Caller;
use super::job::Job;
use super::plan::Together;
use super::source::Dial;
use crate::content::ChunkSet;
use crate::topology::{Peer, PeerId};
use crate::transport::Cancel;
use crate::wire::{Request, Response};

/// Finds the way to another peer that fetches the same: a source for that peer id, unless it is
/// unknown here, or we are it.
pub type Meet<'a> = dyn Fn(&PeerId) -> Option<Box<dyn Dial>> + Sync + 'a;

/// When sources hand units out to several peers, which fetch the rest from one another.
#[derive(Clone, Copy)]
pub enum Swarm<'a> {
    /// From the start.
    Given(&'a Meet<'a>),
    /// Once one says that others fetch from it too.
    Joined {
        /// The way to the others.
        meet: &'a Meet<'a>,
        /// Our own server, from which the others would fetch.
        own: &'a Peer,
        /// How it is asked whether it serves what we receive.
        caller: &'a Caller,
        /// Whether one said so already.
        shared: bool,
    },
}

impl<'a> Swarm<'a> {
    pub(super) fn meet(self) -> &'a Meet<'a> {
        match self {
            Self::Given(meet) | Self::Joined { meet, .. } => meet,
        }
    }

    pub(super) fn together(self) -> Together {
        match self {
            Self::Given(_) => Together::Given,
            Self::Joined { .. } => Together::Perhaps,
        }
    }

    /// Whether it is known from the start that others fetch the same.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Self::Joined { shared: true, .. })
    }
}

/// Whether that peer, which is to be our own server, answers, and serves what the job receives.
pub(super) fn serves(peer: &Peer, caller: &Caller, job: &dyn Job, cancel: &Cancel) -> bool {
    let Ok(mut connection) = caller.connect(peer, cancel) else { return false };
    let _registration = cancel.closes(connection.closer());
    let Some((root, layout)) = job.called() else { return false };
    let have: Vec<u32> =
        job.units().iter().zip(0..).filter(|(unit, _)| unit.done).map(|(_, at)| at).collect();
    let answer = connection.ask(&Request::Have { root, chunk_size: layout.chunk_size() }, &[]);
    let Ok(Ok(head)) = answer else { return false };
    if !matches!(head.message, Response::Have) {
        return false;
    }
    let Ok(payload) = connection.take_payload() else { return false };
    let Some(served) = ChunkSet::from_bytes(&layout, &payload) else { return false };
    have.into_iter().filter_map(|at| layout.index(at)).all(|index| served.contains(index))
}
