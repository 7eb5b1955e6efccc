//! What a transfer is about: numbered units, each with a length and a proof.
//!
//! The engine knows nothing of files and folders. A unit has a name, by which the job knows it. A
//! job says what to ask a source for, proves what
//! comes, and keeps it; it may learn of further units while it runs, as a folder does while it is
//! listed.
//!
//! * `file`: one file, whose units are its chunks
//! * [`folder`]: a folder

pub(super) mod file;
pub mod folder;

use std::collections::BTreeSet;

use super::ledger::{NewUnit, SourceId};
use super::progress::Event;
use super::source::{Ask, SourceError};
use crate::content::{ChunkLayout, Root};
use crate::store::StoreError;
use crate::wire::{Request, Response};

/// What is fetched. Many threads call it at once.
pub trait Job: Sync {
    /// The units that are known from the start.
    fn units(&self) -> Vec<NewUnit>;

    /// Whether more units come, until [`Learnt::whole`] says that none do.
    fn grows(&self) -> bool {
        false
    }

    /// What units are called among those who fetch together: an id, and how they are numbered; none
    /// as long as they are not.
    fn called(&self) -> Option<(Root, ChunkLayout)>;

    /// How to ask for a unit; none when nothing of it is missing. `member` says whether it is one
    /// that has what it was handed.
    fn ask(&self, unit: u32, member: bool) -> Option<Ask>;

    /// Proves and keeps what came: the only way in.
    fn put(&self, came: &Came<'_>) -> Result<Put, StoreError>;

    /// What the job wants to know of a source now.
    fn talk(&self, _source: SourceId) -> Option<Request> {
        None
    }

    /// The answer to that, or to a unit that is asked for by a message, which is named then.
    fn heard(
        &self,
        _source: SourceId,
        _unit: Option<u32>,
        response: Response,
        _payload: Vec<u8>,
    ) -> Result<Learnt, JobError> {
        Err(super::source::misbehaved(format!("{response:?} in answer to a chunk")).into())
    }

    /// How far sources have got with what they do for us beside sending bytes, as so many bytes: one
    /// that hashes is no idler.
    fn moved(&self) -> u64 {
        0
    }

    /// Does what has piled up of what was heard, and has `learn` told what follows from it; says
    /// whether anything had. It may ask the disk: the next request is under way meanwhile.
    fn work(&self, _learn: &dyn Fn(Learnt)) -> bool {
        false
    }

    /// A source is lost.
    fn lost(&self, _source: SourceId, _error: &SourceError) -> Learnt {
        Learnt::default()
    }

    /// Cuts what is missing into units that others have too, once it is known what that is. What
    /// is in flight as one of those units stays with it.
    fn cut(&self, _in_flight: &[u32]) -> Cut {
        Cut::Never
    }

    /// How a source is asked whether it has the same units; none where that needs no question.
    fn cut_request(&self) -> Option<Request> {
        None
    }

    /// Notes that a unit was given to us before anybody else, so that others wait for it at us.
    fn own(&self, _unit: u32) {}

    /// Notes that a unit of our own can be had from somebody else as well.
    fn disown(&self, _unit: u32) {}

    /// Whether the units of our own reach our readers about as fast as we receive them,
    /// where `slack` more than usual may be on their way.
    fn keeps_up(&self, _slack: u32) -> bool {
        true
    }

    /// Says whether readers may wait for units that are not here.
    fn expects_more(&self, _more: bool) {}

    /// Which peers asked what is here since this was called last.
    fn take_askers(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

/// A unit as it came.
pub struct Came<'a> {
    /// Which one.
    pub unit: u32,
    /// From whom.
    pub source: SourceId,
    /// Whether the bytes are those of the whole unit, though less was asked for.
    pub handed: bool,
    /// Of the files that were asked for, which ones these are; all where it says nothing.
    pub there: Option<&'a [bool]>,
    /// Their bytes.
    pub bytes: &'a [u8],
}

/// What became of a unit that came.
#[derive(Debug)]
pub enum Put {
    /// It is what it should be, as far as the source had it, and kept.
    Kept {
        /// Bytes that were not here before.
        fresh: u64,
        /// Units to be fetched because of it.
        further: Vec<NewUnit>,
    },
    /// It is not what it should be.
    Bad,
    /// It cannot be proven yet.
    TooEarly,
}

impl Put {
    /// It is kept, and nothing follows from it.
    pub fn kept(fresh: usize) -> Self {
        Self::Kept { fresh: fresh as u64, further: Vec::new() }
    }
}

/// What a job can be cut into, for several that fetch together.
#[derive(Debug)]
pub enum Cut {
    /// It is not known yet.
    NotYet,
    /// It cannot be, or is already.
    Never,
    /// It is not, before these are here.
    First(Vec<NewUnit>),
    /// These units, and how others number them.
    Into(Vec<NewUnit>, ChunkLayout),
}

/// What a job learnt from a message.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Further units.
    pub units: Vec<NewUnit>,
    /// No more units come.
    pub whole: bool,
    /// The source has not the answer yet, and is to be asked again.
    pub again: bool,
    /// Others fetch the same from it.
    pub shared: bool,
    /// What a user may want to be told.
    pub events: Vec<Event>,
    /// The loss of a source is told by the job itself.
    pub quiet: bool,
    /// The job cannot go on.
    pub fatal: Option<StoreError>,
}

/// Why a job cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// With this source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// At all.
    #[error(transparent)]
    Store(#[from] StoreError),
}
