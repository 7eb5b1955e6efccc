//! How long the payload of each message may be: as much as it can need, so that nothing of what is
//! longer is ever kept.

use serde::de::DeserializeOwned;

use super::message::{Request, Response};
use super::report::Report;
use crate::config::{
    FOLDER_REPORT, GATHER_BYTES, GATHER_FILES, MAX_PAYLOAD, SMALL_FILE, STRAY_PAYLOAD,
};
use crate::content::{ChunkLayout, Digest};

/// What stands in the header of a frame.
pub trait Message: DeserializeOwned {
    /// The longest payload that may follow, in bytes.
    fn longest_payload(&self) -> u32;
}

/// One bit for each chunk of the largest file.
const CHUNK_SET: u32 = ChunkLayout::MAX_CHUNKS.div_ceil(8);

impl Message for Request {
    fn longest_payload(&self) -> u32 {
        match self {
            Self::Gather => (GATHER_FILES * Digest::LEN) as u32,
            Self::Next { .. } => CHUNK_SET,
            Self::Offer { length, chunk_size, .. } => digests(*length, *chunk_size),
            Self::Report { report: Report::FolderFinished { .. } } => FOLDER_REPORT,
            // It is skipped, and nothing of it kept.
            Self::Unknown => MAX_PAYLOAD,
            _ => STRAY_PAYLOAD,
        }
    }
}

impl Message for Response {
    fn longest_payload(&self) -> u32 {
        match self {
            Self::Manifest { length, chunk_size, .. } => digests(*length, *chunk_size),
            Self::Chunk { .. } | Self::Handed { .. } => ChunkLayout::MAX_CHUNK,
            Self::Gathered { .. } => GATHER_BYTES.max(SMALL_FILE) as u32,
            Self::Have => CHUNK_SET,
            Self::Listing { .. } | Self::LeftOut { .. } | Self::Unknown => MAX_PAYLOAD,
            _ => STRAY_PAYLOAD,
        }
    }
}

/// The digests of such a file. Where its chunks are of no size, what is wrong is told later.
fn digests(length: u64, chunk_size: u32) -> u32 {
    let bytes = length.div_ceil(u64::from(chunk_size).max(1)).saturating_mul(Digest::LEN as u64);
    u32::try_from(bytes).unwrap_or(MAX_PAYLOAD).clamp(STRAY_PAYLOAD, MAX_PAYLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Attributes, Root};

    fn offer(length: u64, chunk_size: u32) -> u32 {
        let (name, root) = ("f".parse().unwrap(), Root::of_nothing());
        let attributes = Attributes::default();
        let (replace, swarm) = (false, false);
        Request::Offer { name, length, chunk_size, root, attributes, replace, swarm }
            .longest_payload()
    }

    #[test]
    fn an_offer_may_have_the_digests_of_its_file_and_no_more() {
        assert_eq!(offer(1 << 30, 16 << 10), 32 << 16);
        assert_eq!(offer(1, 16 << 10), STRAY_PAYLOAD);
        for (length, chunk_size) in [(u64::MAX, 16 << 10), (u64::MAX, 0), (1 << 63, 1)] {
            assert_eq!(offer(length, chunk_size), MAX_PAYLOAD);
        }
        assert_eq!(offer(0, 0), STRAY_PAYLOAD);
    }

    #[test]
    fn what_needs_little_may_have_little() {
        assert_eq!(Request::Gather.longest_payload(), 8 << 10);
        let (root, chunk_size) = (Root::of_nothing(), 1);
        let next = Request::Next { root, chunk_size, seen: 0, want: true };
        assert_eq!(next.longest_payload(), 128 << 10);
        assert_eq!(Request::Ping.longest_payload(), STRAY_PAYLOAD);
    }
}
