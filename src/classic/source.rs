//! A classic peer as one source among others of a download whose manifest a framed peer supplied:
//! what it sends is verified as everybody's is.

use std::time::Duration;

use super::ask::{Asker, check};
use super::chunks::Chunks;
use super::message::CHUNK;
use crate::content::{ChunkIndex, ChunkLayout, FileName, Manifest};
use crate::fetch::source::{Answer, Ask};
use crate::fetch::{Dial, Source, SourceError, Waits};
use crate::topology::PeerId;
use crate::transport::Cancel;
use crate::wire::WireError;

/// A classic peer that has a file of the right name and length.
pub struct ClassicPeer {
    asker: Asker,
    name: FileName,
    layout: ChunkLayout,
}

impl ClassicPeer {
    /// The peer is asked for `name`, whose content should be that of `manifest`. `length` is what
    /// the peer said of it; another one than the manifest's is a reason not to use it.
    pub fn new(
        asker: Asker,
        name: &FileName,
        manifest: &Manifest,
        length: u64,
    ) -> Result<Self, SourceError> {
        check(name)?;
        if length != manifest.length() {
            let what = format!(
                "its file counts {length} instead of {}; it is another, or not plain ASCII",
                manifest.length()
            );
            return Err(SourceError::Misbehaved(WireError::Unexpected(what)));
        }
        Ok(Self { asker, name: name.clone(), layout: *manifest.layout() })
    }
}

impl Dial for ClassicPeer {
    fn peer(&self) -> &PeerId {
        &self.asker.peer.id
    }

    fn dial(&mut self, cancel: &Cancel) -> Result<Box<dyn Source + '_>, SourceError> {
        let asker = Asker { cancel: cancel.clone(), ..self.asker.clone() };
        let chunks = Chunks::new(asker, self.name.clone(), self.layout.length());
        Ok(Box::new(ClassicSource { chunks, layout: self.layout, due: None }))
    }
}

/// Its connections follow the transfer's cancel by themselves.
struct ClassicSource {
    chunks: Chunks,
    layout: ChunkLayout,
    /// The chunk that is received next.
    due: Option<ChunkIndex>,
}

impl Source for ClassicSource {
    /// The dialect has no requests that wait behind others.
    fn ask(&mut self, _: &Ask) -> Result<(), SourceError> {
        Ok(())
    }

    fn answer(&mut self, to: &Ask, _: &Waits) -> Result<Answer, SourceError> {
        let index = match to {
            Ask::Chunk { number, .. } => self.layout.index(*number),
            _ => None,
        };
        let Some(index) = index else {
            let what = format!("{to:?} cannot be asked in the classic dialect");
            return Err(SourceError::Misbehaved(WireError::Unexpected(what)));
        };
        self.due = Some(index);
        Ok(Answer::Bytes { len: self.layout.chunk_len(index), there: None, shared: false })
    }

    fn receive(&mut self, buffer: &mut [u8], _: Duration) -> Result<(), SourceError> {
        let Some(index) = self.due.take() else { return Ok(()) };
        let range = self.layout.range(index);
        let size = CHUNK as u64;
        let numbers = (range.start / size) as u32..range.end.div_ceil(size) as u32;
        let length = self.layout.length();
        self.chunks.read(numbers, |number, data| {
            let data = data.unwrap_or_default();
            let start = u64::from(number) * size;
            if data.len() as u64 != size.min(length - start) {
                let what =
                    format!("{} bytes in chunk {number}; its file is not plain ASCII", data.len());
                return Err(SourceError::Misbehaved(WireError::Unexpected(what)));
            }
            copy_overlap(data, start, buffer, range.start);
            Ok(true)
        })
    }
}

/// Copies what `data`, which begins at `from` in the file, has of the piece that `buffer` is and
/// that begins at `to`.
fn copy_overlap(data: &[u8], from: u64, buffer: &mut [u8], to: u64) {
    let skipped = to.saturating_sub(from) as usize;
    let place = from.saturating_sub(to) as usize;
    let data = data.get(skipped..).unwrap_or_default();
    let space = buffer.get_mut(place..).unwrap_or_default();
    let len = data.len().min(space.len());
    if let (Some(space), Some(data)) = (space.get_mut(..len), data.get(..len)) {
        space.copy_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_fill_pieces_that_they_do_not_divide() {
        let file: Vec<u8> = (0..1000_u32).map(|i| i as u8).collect();
        for (start, end) in [(0, 256), (256, 512), (768, 1000), (130, 140), (200, 300)] {
            let mut buffer = vec![0; end - start];
            for number in start / CHUNK..end.div_ceil(CHUNK) {
                let at = number * CHUNK;
                copy_overlap(&file[at..at + CHUNK], at as u64, &mut buffer, start as u64);
            }
            assert_eq!(buffer, file[start..end], "{start}..{end}");
        }
    }
}
