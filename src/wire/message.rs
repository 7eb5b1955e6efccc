//! The messages, as they stand in the JSON headers of frames.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::refusal::{ErrorCode, Refusal};
use super::report::Report;
use super::state::State;
use crate::content::{Attributes, Digest, FileName, Manifest, Root, RootPrefix};

/// What the asking side sends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Who asks. The first request of every connection.
    Hello {
        /// The id of the asking peer; absent when it is nobody of its topology.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// The id of the peer that is meant to answer; absent when the opener does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Program and version, for logs.
        agent: String,
    },
    /// One page of the files that are served, in the order of their names.
    List {
        /// Only names that this pattern selects.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// And of these none that one of these patterns fits.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<String>,
        /// Whether folders are listed too.
        #[serde(default, skip_serializing_if = "is_false")]
        folders: bool,
        /// Whether small files are to be hashed before they are listed.
        #[serde(default, skip_serializing_if = "is_false")]
        hashed: bool,
        /// Only names after this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<FileName>,
        /// At most this many; the answering side may send fewer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// What a listing left out, and why.
    LeftOut {
        /// The pattern of the listing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// What the listing was not to have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<String>,
    },
    /// The manifest of one file.
    Describe {
        /// Which file.
        #[serde(flatten)]
        subject: Subject,
        /// How long the answer may wait for hashing, in milliseconds.
        #[serde(default)]
        wait_ms: u32,
        /// The digests are wanted when there are no more than so many; a slow peer that only says
        /// what it has is then as quick as the others.
        #[serde(default = "any_number")]
        digests_up_to: u32,
    },
    /// One chunk.
    Read {
        /// Of which content.
        root: Root,
        /// Which chunk, from 0.
        chunk: u32,
        /// How large the asking side's chunks are, in bytes; the two sides need not cut alike.
        chunk_size: u32,
        /// How long the answer may wait for a chunk that is still being received, in milliseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        wait_ms: u32,
    },
    /// One chunk of a file that is still being hashed, for peers of earlier versions; nothing proves
    /// it before the manifest is there.
    ReadNamed {
        /// Which file.
        name: FileName,
        /// Which chunk, from 0.
        chunk: u32,
        /// How large the asking side's chunks are, in bytes.
        chunk_size: u32,
    },
    /// A chunk that was handed to nobody yet, and who was handed which. The payload,
    /// where there is one, is the set of chunks that the asking side has already.
    Next {
        /// Of which content.
        root: Root,
        /// How large chunks are, in bytes; the same for all that fetch together.
        chunk_size: u32,
        /// How much of the log of handed chunks is known already.
        seen: u64,
        /// Whether a chunk is wanted, or only the news.
        want: bool,
    },
    /// Small files as a whole. The payload is their roots.
    Gather,
    /// Cuts the files of a listing into units ([`Units`](crate::content::Units)), so that `next`,
    /// `read` and `have` can speak of them.
    Cut {
        /// The pattern of the listing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// What the listing was not to have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<String>,
        /// How large units are, in bytes.
        chunk_size: u32,
    },
    /// Which chunks of a content are here.
    Have {
        /// Of which content.
        root: Root,
        /// How large the asking side's chunks are, in bytes; 0 for the answering side's own.
        #[serde(default, skip_serializing_if = "is_zero")]
        chunk_size: u32,
    },
    /// Here is a file, fetch it from me. The payload is the manifest's digests.
    Offer {
        /// The name that the file is to have.
        name: FileName,
        /// Its length in bytes.
        length: u64,
        /// Size of its chunks in bytes.
        chunk_size: u32,
        /// What it is.
        root: Root,
        /// What it has beside its content.
        #[serde(flatten)]
        attributes: Attributes,
        /// Whether another file of that name is to be replaced.
        #[serde(default)]
        replace: bool,
        /// Whether it goes to several peers that are to fetch from one another (`next`).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        swarm: bool,
    },
    /// Here is a folder, fetch it from me.
    OfferFolder {
        /// Which of the names that the offering side lists.
        #[serde(flatten)]
        share: Share,
        /// Whether other files of their names are to be replaced.
        #[serde(default)]
        replace: bool,
        /// The size of units in bytes where it goes to several peers that are to fetch from one
        /// another (`cut`, `next`); 0 where it does not.
        #[serde(default, skip_serializing_if = "is_zero")]
        chunk_size: u32,
    },
    /// Is anybody there?
    Ping,
    /// How the fetching of an offer goes. Gets no answer.
    Report {
        /// What there is to tell.
        #[serde(flatten)]
        report: Report,
    },
    /// A request of a later version.
    #[serde(other)]
    Unknown,
}

fn any_number() -> u32 {
    u32::MAX
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What `describe` is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The file of that name.
    Name(FileName),
    /// A file with that content, whatever its name.
    Id(RootPrefix),
}

/// Some of the files that a peer lists, and where they go.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Share {
    /// Only names that this pattern selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// And of these none that one of these patterns fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// The folder that they go into; absent when their names stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<FileName>,
}

/// What the answering side sends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// Who answers.
    Hello {
        /// The id of the answering peer; absent when it is nobody of its topology.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// Program and version, for logs.
        agent: String,
        /// Whether offers are refused.
        #[serde(default)]
        read_only: bool,
    },
    /// A page of a listing; the payload is a JSON array of [`Entry`](crate::content::Entry).
    Listing {
        /// Where the next page begins, if there is one: after this name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<FileName>,
        /// How much of what was asked for cannot be served; `left_out` asks what.
        #[serde(default)]
        left_out: u64,
        /// Whether others fetch the same files from here; see `Chunk`.
        #[serde(default, skip_serializing_if = "is_false")]
        shared: bool,
    },
    /// What a listing left out; the payload is a JSON array of
    /// [`Omission`](crate::content::Omission).
    LeftOut {
        /// How many entries; the payload may have fewer.
        #[serde(default)]
        count: u64,
    },
    /// A manifest; the payload is its digests, or nothing when there are more than were wanted.
    Manifest {
        /// The file's name here.
        name: FileName,
        /// Its length in bytes.
        length: u64,
        /// Size of its chunks in bytes.
        chunk_size: u32,
        /// What it is.
        root: Root,
        /// What it has beside its content.
        #[serde(flatten)]
        attributes: Attributes,
        /// Whether others fetch the same content from here; see `Chunk`.
        #[serde(default, skip_serializing_if = "is_false")]
        shared: bool,
    },
    /// The file is being hashed; ask again.
    Hashing {
        /// Bytes hashed so far.
        done: u64,
        /// Length of the file in bytes.
        total: u64,
    },
    /// A chunk; the payload is its bytes.
    Chunk {
        /// Which chunk, from 0.
        chunk: u32,
        /// Whether others read the same content from here; they may fetch together (`next`).
        #[serde(default, skip_serializing_if = "is_false")]
        shared: bool,
    },
    /// Small files; the payload is their bytes, one file behind the other.
    Gathered {
        /// The length of each file that was asked for, in bytes; null where it is not here.
        lengths: Vec<Option<u32>>,
        /// Whether others fetch the files of the same listing from here; see `Chunk`.
        #[serde(default, skip_serializing_if = "is_false")]
        shared: bool,
    },
    /// What was handed out; the payload is the chunk, if there is one.
    Handed {
        /// Which chunk the asking side is handed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chunk: Option<u32>,
        /// Which chunks went to which peers, in the order in which they went.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        handed: BTreeMap<String, Vec<u32>>,
        /// Which peers have everything, and can be asked as the answering side is.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        whole: Vec<String>,
        /// How much of the log that makes.
        seen: u64,
        /// Whether every chunk was handed out, and told.
        all: bool,
    },
    /// What the files were cut into.
    Cut {
        /// The id of the units, which stands where the root of a content stands.
        id: Root,
        /// How many units there are.
        count: u32,
    },
    /// Which chunks are here; the payload is the set.
    Have,
    /// The offer is taken; the connection turns round.
    Accepted {
        /// Bytes that are here already from an earlier attempt.
        #[serde(default)]
        have: u64,
    },
    /// The offered content is here under that name.
    AlreadyHere,
    /// The answer to a ping.
    Pong(Box<State>),
    /// The request was not done.
    Error(Refusal),
    /// A response of a later version.
    #[serde(other)]
    Unknown,
}

impl Response {
    /// An error with that code and message.
    pub fn error(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self::Error(Refusal { code, message: message.to_string() })
    }

    /// A manifest's header; its digests are the payload, see [`digests_of`](Self::digests_of).
    pub fn manifest(manifest: &Manifest, attributes: Attributes, shared: bool) -> Self {
        Self::Manifest {
            name: manifest.name().clone(),
            length: manifest.length(),
            chunk_size: manifest.layout().chunk_size(),
            root: manifest.root(),
            attributes,
            shared,
        }
    }

    /// The payload of a manifest or an offer.
    pub fn digests_of(manifest: &Manifest) -> Vec<u8> {
        Digest::join(manifest.digests())
    }
}

impl Request {
    /// An offer's header; the manifest's digests are the payload.
    pub fn offer(manifest: &Manifest, attributes: Attributes, replace: bool, swarm: bool) -> Self {
        Self::Offer {
            name: manifest.name().clone(),
            length: manifest.length(),
            chunk_size: manifest.layout().chunk_size(),
            root: manifest.root(),
            attributes,
            replace,
            swarm,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
