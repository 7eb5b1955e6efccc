//! One file: its units are its chunks.

use std::collections::BTreeSet;

use super::{Came, Job, Put};
use crate::config;
use crate::content::{ChunkIndex, ChunkLayout, Root};
use crate::fetch::ledger::NewUnit;
use crate::fetch::source::Ask;
use crate::store::{PartFile, StoreError};

impl Job for PartFile {
    fn units(&self) -> Vec<NewUnit> {
        let (layout, have) = (self.manifest().layout(), self.have());
        let unit = |index| NewUnit {
            done: have.contains(index),
            ..NewUnit::of(index.get(), layout.chunk_len(index))
        };
        layout.indices().map(unit).collect()
    }

    fn called(&self) -> Option<(Root, ChunkLayout)> {
        Some((self.manifest().root(), *self.manifest().layout()))
    }

    fn ask(&self, unit: u32, member: bool) -> Option<Ask> {
        let (root, layout) = (self.manifest().root(), self.manifest().layout());
        let len = layout.chunk_len(layout.index(unit)?);
        let wait_ms = if member { config::MEMBER_WAIT_MS } else { 0 };
        let (number, chunk_size) = (unit, layout.chunk_size());
        Some(Ask::Chunk { root, number, chunk_size, len, wait_ms })
    }

    fn put(&self, came: &Came<'_>) -> Result<Put, StoreError> {
        let Some(index) = index(self.manifest().layout(), came.unit) else { return Ok(Put::Bad) };
        match self.manifest().verify(index, came.bytes) {
            Ok(chunk) => {
                let fresh = self.write(&chunk)?;
                Ok(Put::kept(if fresh { came.bytes.len() } else { 0 }))
            }
            Err(_) => Ok(Put::Bad),
        }
    }

    fn own(&self, unit: u32) {
        if let Some(index) = index(self.manifest().layout(), unit) {
            PartFile::own(self, index);
        }
    }

    fn disown(&self, unit: u32) {
        if let Some(index) = index(self.manifest().layout(), unit) {
            PartFile::disown(self, index);
        }
    }

    fn keeps_up(&self, slack: u32) -> bool {
        PartFile::keeps_up(self, slack)
    }

    fn expects_more(&self, more: bool) {
        PartFile::expects_more(self, more);
    }

    fn take_askers(&self) -> BTreeSet<String> {
        PartFile::take_askers(self)
    }
}

fn index(layout: &ChunkLayout, unit: u32) -> Option<ChunkIndex> {
    layout.index(unit)
}
