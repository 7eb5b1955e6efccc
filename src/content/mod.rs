//! What a file *is*, whatever it is called and wherever it lies.
//!
//! Everything here is pure: no disk, no socket, no thread, no clock. A file is identified by its
//! [`Root`], the SHA-256 Merkle root over 16 KiB leaves that BitTorrent v2 calls `pieces root`
//! (BEP 52), so the id that we print is the id that other people's tools print. The root does not
//! depend on the chunk size; a chunk is any power of two of leaves, checked against one digest of
//! the tree's layer at that height.
//!
//! * [`name`]: [`FileName`], the only names that may cross the wire or reach the disk
//! * [`digest`]: [`Digest`] and [`Root`], how they are printed, parsed and shortened
//! * [`leaf`]: the one function that hashes leaves
//! * [`merkle`]: geometry of the tree: from leaves to chunk digests to the root
//! * [`layout`]: from a length to chunks: [`ChunkLayout`], [`ChunkIndex`], [`ChunkSet`]
//! * [`entry`]: [`Entry`], one line of a listing, and [`Attributes`], what travels beside the
//!   content
//! * [`omission`]: [`Omission`], what cannot be given of a folder, and why
//! * [`pattern`]: [`Selection`], which names somebody wants
//! * [`manifest`]: [`Manifest`], and [`VerifiedChunk`], which only a manifest can make
//! * [`whole`]: [`WholeFile`], a small file proven by its root alone
//! * [`units`]: [`Units`], a folder cut for several that fetch it together

pub mod digest;
pub mod entry;
pub mod layout;
pub mod leaf;
pub mod manifest;
pub mod merkle;
pub mod name;
pub mod omission;
pub mod pattern;
pub mod torrent;
pub mod units;
pub mod whole;

pub use digest::{Digest, Root, RootPrefix};
pub use entry::{Attributes, Entry};
pub use layout::{BadLayout, ChunkIndex, ChunkLayout, ChunkSet};
pub use manifest::{Manifest, VerifiedChunk};
pub use name::{BadName, FileName};
pub use omission::{Omission, Omissions, Reason};
pub use pattern::Selection;
pub use units::{Unit, UnitFile, Units};
pub use whole::WholeFile;
