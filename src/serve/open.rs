//! What is read from: files and units that are kept open between two requests, and their chunks.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::budget::Grant;
use super::company::Company;
use super::refusals::{refusal, refusal_of};
use super::responder::Responder;
use crate::config;
use crate::connection::Framed;
use crate::content::{BadLayout, ChunkIndex, ChunkLayout, FileName, Root, Unit, Units};
use crate::store::{Content, Extent, Partial, Store, StoreError};
use crate::wire::{ErrorCode, Refusal, Response, WireError};

/// What is read from.
pub(super) enum Open {
    /// A whole file.
    Whole(Content),
    /// A file, or the units of a folder, while it is received.
    Part(Partial),
    /// The units of a folder, all of which are here.
    Units(Arc<Units>),
}

/// The last one, with what it is.
pub(super) type Slot = Option<(Root, Open)>;

/// Which chunk of what is asked for.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) chunk: u32,
    pub(super) chunk_size: u32,
}

/// A chunk, or a unit, that is to be sent.
pub(super) enum Piece<'a> {
    /// It lies in a file.
    Lies(Extent<'a>),
    /// It was put together, and memory is held for it.
    Made(Vec<u8>, #[expect(dead_code, reason = "is given back when it goes")] Grant),
}

impl Piece<'_> {
    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Lies(extent) => extent.len,
            Self::Made(bytes, _) => bytes.len(),
        }
    }

    pub(super) fn send(&self, connection: &mut Framed, head: &Response) -> Result<(), WireError> {
        match self {
            Self::Lies(Extent { file, offset, len }) => {
                connection.send_file(head, file.as_fd(), *offset, *len)
            }
            Self::Made(bytes, _) => connection.send(head, bytes),
        }
    }
}

/// The content, kept open from the last request where it is the same. One that is not here at all
/// may take until `deadline` to be received.
pub(super) fn open_in<'a>(
    slot: &'a mut Slot,
    (store, company): (&Store, &Company),
    root: Root,
    deadline: Instant,
) -> Result<&'a Open, StoreError> {
    if slot.as_ref().is_none_or(|(open, what)| *open != root || what.is_over()) {
        *slot = None;
        let whole = || store.open_content(&root).map(Open::Whole);
        let open = match company.units(&root) {
            Some(units) => Open::Units(units),
            None => match whole() {
                Ok(whole) => whole,
                Err(_) => match store.partial(&root, deadline) {
                    Some(part) => Open::Part(part),
                    // It may have become complete between the two looks.
                    None => whole()?,
                },
            },
        };
        *slot = Some((root, open));
    }
    match slot {
        Some((_, open)) => Ok(open),
        None => Err(StoreError::NoSuchContent { root }),
    }
}

impl Responder {
    /// The content, as [`open_in`].
    pub(super) fn open(&mut self, root: Root, deadline: Instant) -> Result<&Open, StoreError> {
        open_in(&mut self.open, (&self.store, &self.company), root, deadline)
    }

    /// A chunk or a unit, once all of it is here, which may take until `deadline`.
    pub(super) fn piece(&mut self, place: Place, deadline: Instant) -> Result<Piece<'_>, Refusal> {
        let Place { root, chunk, chunk_size } = place;
        let told = |error: StoreError| refusal_of(&error);
        let from = (&self.store, &self.company);
        let open = open_in(&mut self.open, from, root, deadline).map_err(told)?;
        let units = match (open, open.units()) {
            (Open::Whole(content), _) => {
                return content.cut(chunk, chunk_size).map(Piece::Lies).map_err(told);
            }
            (Open::Part(part), None) => {
                return part.cut(chunk, chunk_size, deadline).map(Piece::Lies).map_err(told);
            }
            (_, Some(units)) => Arc::clone(units),
            (Open::Units(units), None) => Arc::clone(units),
        };
        check_size(&units, chunk_size)?;
        let index = match open {
            Open::Part(part) => part.await_unit(chunk, deadline),
            _ => units.layout().index(chunk).ok_or(StoreError::NoSuchUnit { number: chunk }),
        };
        let index = index.map_err(told)?;
        match units.get(index) {
            Some(Unit::Chunk { file, chunk }) => {
                let size = file.layout().map_err(bad_cut)?.chunk_size();
                let now = Instant::now();
                let extent = match open_in(&mut self.beside, from, file.root, now) {
                    Ok(Open::Whole(content)) => content.cut(chunk, size),
                    Ok(Open::Part(part)) => part.cut(chunk, size, now),
                    Ok(Open::Units(_)) => Err(StoreError::NoSuchContent { root: file.root }),
                    Err(error) => Err(error),
                };
                extent.map(Piece::Lies).map_err(gone)
            }
            _ => make(from, &units, index),
        }
    }

    /// Counts what was given of what is open, asked for at `asked`.
    pub(super) fn gave(&mut self, chunk: u32, bytes: usize, asked: Instant) {
        self.transferring.get_or_insert_with(|| self.company.transferring());
        let (Some(account), Some((_, open))) = (&mut self.account, &self.open) else { return };
        let unit = open.units().and_then(|units| units.get(units.layout().index(chunk)?));
        match (unit, &self.beside) {
            (Some(Unit::Whole(files)), _) => {
                account.gave_small(files.len() as u64, bytes as u64, asked);
            }
            (Some(Unit::Chunk { .. }), Some((_, file))) => {
                file.file().into_iter().for_each(|file| account.gave(file, bytes as u64, asked));
            }
            _ => open.file().into_iter().for_each(|file| account.gave(file, bytes as u64, asked)),
        }
    }
}

/// A unit that is put together from small files.
fn make(
    (store, company): (&Store, &Company),
    units: &Units,
    index: ChunkIndex,
) -> Result<Piece<'static>, Refusal> {
    let grant = company.answers.0.wait(units.len(index), config::ANSWER_WAIT);
    let busy = || refusal(ErrorCode::Busy, "this peer gives to many others just now");
    let (grant, mut bytes) = (grant.ok_or_else(busy)?, Vec::new());
    store.unit(units, index, &mut bytes).map_err(gone)?;
    Ok(Piece::Made(bytes, grant))
}

/// What was here when it was said to be, and is not any more.
fn gone(error: StoreError) -> Refusal {
    match error {
        StoreError::NoSuchContent { .. } => {
            refusal(ErrorCode::Changed, "a file of that folder changed, or is gone")
        }
        error => refusal_of(&error),
    }
}

/// Units are cut in one way only.
pub(super) fn check_size(units: &Units, chunk_size: u32) -> Result<(), Refusal> {
    match units.layout().chunk_size() {
        own if own == chunk_size => Ok(()),
        own => Err(refusal(ErrorCode::BadRequest, format!("that folder is cut by {own} bytes"))),
    }
}

pub(super) fn bad_cut(error: BadLayout) -> Refusal {
    refusal(ErrorCode::BadRequest, error.to_string())
}

impl Open {
    /// What the units are, where it is the units of a folder.
    pub(super) fn units(&self) -> Option<&Arc<Units>> {
        match self {
            Self::Whole(_) => None,
            Self::Part(part) => part.units(),
            Self::Units(units) => Some(units),
        }
    }

    /// How it is cut here.
    pub(super) fn layout(&self) -> &ChunkLayout {
        match self {
            Self::Whole(content) => content.manifest().layout(),
            Self::Part(part) => part.layout(),
            Self::Units(units) => units.layout(),
        }
    }

    /// How it is cut by that size. Units cannot be cut by another one than theirs.
    pub(super) fn cut(&self, chunk_size: u32) -> Result<ChunkLayout, Refusal> {
        if let Some(units) = self.units() {
            check_size(units, chunk_size)?;
        }
        ChunkLayout::new(self.layout().length(), chunk_size).map_err(bad_cut)
    }

    /// Name and length, where it is a file.
    fn file(&self) -> Option<(&FileName, u64)> {
        match self {
            Self::Whole(content) => Some((content.manifest().name(), content.manifest().length())),
            Self::Part(part) => part.name().map(|name| (name, part.layout().length())),
            Self::Units(_) => None,
        }
    }

    /// Whether what was being received is not any more, and has to be looked for again.
    fn is_over(&self) -> bool {
        matches!(self, Self::Part(part) if part.is_over())
    }
}
