//! Frames ↔ messages. This page is the specification of the framed protocol, version 1.
//!
//! # Participants and goals
//!
//! Two peers that know one another hold a connection: the *opener* connected, the *acceptor* was
//! connected to. One of them *asks*, the other *answers*; the opener asks first, and an accepted
//! offer turns that round. The protocol carries listings, manifests and chunks with little more
//! than their own bytes, lets requests be pipelined, and lets versions differ. It does not encrypt,
//! it does not say who may do what, and it proves nothing by itself: a chunk is proven by the
//! receiver, against digests that lead to the content id.
//!
//! # Greeting
//!
//! Each side begins with five bytes, the opener first; it need not wait for the answer before it
//! goes on.
//!
//! ```text
//! F0 9F A7 A9   magic: never printable ASCII, never 16 (the first byte of TLS)
//! 01            the highest version that this side speaks; the lower of the two is spoken
//! ```
//!
//! A connection whose first byte is `#` speaks the classic text dialect instead.
//!
//! # Frames
//!
//! After the greeting both sides send frames. All numbers are big endian.
//!
//! ```text
//! +----------------+----------------+=============+===========+
//! | header length  | payload length | JSON header |  payload  |
//! |      u32       |      u32       |             |    raw    |
//! +----------------+----------------+=============+===========+
//! ```
//!
//! The header is one JSON object whose `type` names the message ([`Request`], [`Response`]); the
//! payload's meaning follows from it. A header is at most [`MAX_HEADER`](crate::config::MAX_HEADER)
//! bytes, a payload at most [`MAX_PAYLOAD`](crate::config::MAX_PAYLOAD) and at most what its
//! message can need ([`Message::longest_payload`]): a `gather` 8 KiB, an `offer` the digests of its
//! file, and what needs none [`STRAY_PAYLOAD`](crate::config::STRAY_PAYLOAD). Whoever receives a
//! longer announcement answers with an error if it can and closes; nothing is allocated for it.
//!
//! # Requests and responses
//!
//! Every request but `report` gets exactly one response, in the order of the requests; a peer may
//! send several before it reads a response. The first request is `hello`.
//!
//! | request | payload | answer | payload |
//! |---|---|---|---|
//! | `hello` peer, to, agent | | `hello` peer, agent, read_only | |
//! | `list` pattern, except, folders, hashed, after, limit | | `listing` next, left_out, shared | JSON array of entries |
//! | `left_out` pattern, except | | `left_out` count | JSON array of omissions |
//! | `describe` name or id, wait_ms, digests_up_to | | `manifest` name, length, chunk_size, root, mtime_ns, mode, shared | 32 bytes a chunk: the digests, or nothing if there are more than `digests_up_to` |
//! | | | or `hashing` done, total | |
//! | `read` root, chunk, chunk_size, wait_ms | | `chunk` chunk, shared | the chunk |
//! | `read_named` name, chunk, chunk_size | | `chunk` chunk | the chunk |
//! | `next` root, chunk_size, seen, want | now and then: what the asking side has, as in `have` | `handed` chunk, handed, whole, seen, all | the chunk |
//! | `cut` pattern, except, chunk_size | | `cut` id, count | |
//! | `gather` | 32 bytes a file: the roots | `gathered` lengths, shared | the files, one behind the other |
//! | `have` root, chunk_size | | `have` | one bit a chunk, the first in the lowest bit of the first byte |
//! | `offer` name, length, chunk_size, root, mtime_ns, mode, replace, swarm | digests | `accepted` have, or `already_here` | |
//! | `offer_folder` pattern, except, beneath, replace, chunk_size | | `accepted` | |
//! | `ping` | | `pong` files, bytes, free, hashing, transfers, version | |
//! | `report` … | | none | |
//!
//! Instead of any of these an answer may be `error` with a code ([`ErrorCode`]) and a message for
//! people. After an error the connection goes on, unless the frame itself could not be read.
//!
//! # Who is who
//!
//! Addresses change hands, so both sides say who they are in `hello`, and the opener also whom it
//! means (`to`). An opener that is answered by another peer than it meant uses nothing of it, and
//! offers it nothing; an acceptor that is taken for another peer refuses offers. Neither proves
//! anything.
//!
//! # Files that are still being hashed
//!
//! A peer need not have hashed what it serves. It answers `describe` with `hashing` until it has.
//! Whoever wants the file asks again until then. Peers of earlier versions fetch its chunks by name
//! meanwhile (`read_named`), and compare their digests with the `manifest` when that comes; they
//! are given them, but nobody has to ask so.
//!
//! # Folders
//!
//! A listing is in the order of its names, byte by byte, each once, and comes in pages: `next` of
//! one page is `after` of the request for the following one. An entry is an object with `name`,
//! `length`, `mtime_ns` (modification time in nanoseconds since 1970), `mode` (permission bits) and
//! `root`, which is absent while the file is not hashed, and `stored`, the bytes on disk of a file
//! with holes; with `folders` there are also entries with `folder: true`. `pattern` selects names:
//! a glob in which `*` stays within a folder and `**` does not, or `folder/` for the folder and
//! everything beneath it. `except` leaves out: a pattern without `/` is compared with every part of
//! a name, one with `/` with its beginning up to any part. Whoever asked looks itself whether what
//! came was asked for. With `hashed`, files of at most [`SMALL_FILE`](crate::config::SMALL_FILE)
//! bytes are hashed before they are listed, so that the root is there; a page may be short for it.
//! Times and modes say nothing about content, and of a mode the lowest nine bits count.
//!
//! What a peer cannot serve of what was asked for is counted in the listing (`left_out`), and the
//! request `left_out` asks what that is and why: an omission has a `name`, written as well as it
//! can be, and a `reason`. A peer that could not read all of its folder because it was short of
//! descriptors answers `busy`; no listing ends early because of an error.
//!
//! Small files need no manifest: the bytes lead to the root. `gather` asks for up to
//! [`GATHER_FILES`](crate::config::GATHER_FILES) of them, together at most
//! [`GATHER_BYTES`](crate::config::GATHER_BYTES) long; `lengths` has a number for each, or null for
//! one that is not there (any more) or does not fit, which is no reason to stop using the rest.
//!
//! # Offers
//!
//! After `accepted` **the connection turns round**: who was offered the file now asks (`read`), and
//! who offered it answers. Between its requests the asking side sends `report`s that get no answer:
//! `progress` now and then, and at the end `finished` or `failed`. After that the connection has
//! its first direction again.
//!
//! An offer of what is being received already, under the same name, is accepted too: its side
//! becomes one more source of the transfer that runs, and hears the same end. `accepted` may take
//! until the transfer lets it in.
//!
//! An `offer_folder` is accepted without looking: who accepted it lists what the pattern selects at
//! the other side, puts it `beneath` that folder, and fetches what it lacks. Its reports are
//! `folder` and at the end `folder_finished`, whose payload is a JSON array of files that it could
//! not have.
//!
//! # Swarms
//!
//! When one peer gives a file to several at once (an offer with `swarm`, or downloads that ask for
//! it), each of them asks it for the `next` chunk. It hands every chunk to one of them and tells
//! all of them who was handed which, by peer id; addresses never cross the wire, each side looks
//! the ids up in its own settings. They `read` the other chunks from one another, with a `wait_ms`,
//! because a chunk may be asked for before it is there, and even before its receiver has accepted
//! the offer. When everything is handed out (`all`), ordinary reads of chunks that did not come are
//! answered as ever, so a member that died or cannot be reached costs time, not the file.
//!
//! Whom `handed` names for a chunk is the one to read it from, and that need not be the one that
//! was handed it: when there are many members, they pass on to one another also what is not their
//! own, and each is named few others. A chunk may be named once more, from somebody else, when the
//! one that was named is lost, and may also be handed out once more; what was named last counts.
//! Members must not be made to wait for one another in a circle: whoever hands out sees to that.
//!
//! `handed` also names members that were handed nothing yet. When all who hand out are lost, the
//! members ask one another what they `have`, in their common `chunk_size`, and read that. None of
//! them lets a read wait any more then, and each ends when the others have had nothing new for a
//! while, or goes on with whoever offers the file next.
//!
//! A download begins with ordinary reads. While another peer has read the same content, in chunks
//! of the same size, or asked what it is, within the last two seconds, or has it handed out, the
//! answers to `read` and `describe` say `shared`; only peers that greeted with an id count. Whoever
//! is told so may ask for `next` from then on, if the others can read from it too: if its own
//! server, asked at its published address, answers `have` with what came so far. It brings the
//! chunks that it read before. That `shared` is said obliges nobody.
//!
//! Several peers that have the same may hand it out at once. Each begins at another place, and
//! whoever asks for `next` says now and then what it has, wherever that came from: what somebody has
//! is not handed out once more. `handed` names in `whole` those who have everything; each can be
//! asked for `next` and `read` as the one that names it. That somebody is named there obliges it to
//! nothing.
//!
//! # Folders that several fetch
//!
//! A folder travels in a swarm as a file does, but its chunks are **units**. They follow from a size,
//! which is one that chunks may have, and from the files in the order of their names, each content
//! once and without those that are empty:
//!
//! 1. every chunk of every file longer than [`SMALL_FILE`](crate::config::SMALL_FILE), cut into the
//!    chunks that are usual for its length (those of its manifest where nobody chose others);
//! 2. every other file that is longer than the size, one unit each;
//! 3. the rest, in bundles: as many files as come one behind the other and are together no longer
//!    than the size, nor than one `gather` is answered: [`GATHER_BYTES`](crate::config::GATHER_BYTES)
//!    and [`GATHER_FILES`](crate::config::GATHER_FILES).
//!
//! Units are numbered in that order, and there are no more of them than a file may have chunks. Their
//! id is the SHA-256 of the size (four bytes) and, for each file in the order of 1, 2 and 3, of its
//! root and its length (eight bytes). It stands where the root stands in `next`, `read` and `have`,
//! and the size where the chunks' size does; a unit takes the place of a chunk, and its payload is
//! the bytes of its files one behind the other. Nothing but the roots of the files proves them.
//!
//! Whoever is offered a folder with a `chunk_size` lists it, and asks what it is `cut` into, as the
//! offering side has to cut it before it can hand it out; so does a download when the answers to
//! `list` with `hashed`, to `gather` and to `read` say `shared`: another peer has listed the same
//! selection, or read from what it listed, in the last two seconds. `cut` leaves out large files that
//! are not hashed yet. The answer's `id` is that of the asking side's own units, or the two have
//! listed different things, and the folder is fetched as by one. A peer forgets after a while what it
//! has cut (`not_found`). Whoever receives a folder answers `read` and `have` of its units as of a
//! file's chunks, and once it has all of them, `next` as well.
//!
//! A content that is being received is there for `have` and `read`, but not for `describe`: until
//! it is complete, nobody needs to find it by name.
//!
//! # Versions
//!
//! `tests/data/messages.txt` has every message byte by byte. Unknown fields are ignored; an unknown
//! `type` of request is answered by `error` with the code `unsupported`; an unknown error code is
//! taken for a refusal. A change that older peers could misunderstand raises the version.

mod caps;
mod frame;
mod message;
mod refusal;
mod report;
mod rows;
mod state;

pub use caps::Message;
pub use frame::{Head, WireError, encode, read_greeting, read_head, send_greeting};
pub use message::{Request, Response, Share, Subject};
pub use refusal::{ErrorCode, Refusal};
pub use report::{Failed, Report};
pub use rows::{Rows, rows};
pub use state::State;

/// What every framed connection begins with.
pub const MAGIC: [u8; 4] = [0xF0, 0x9F, 0xA7, 0xA9];

/// The highest version of the protocol that this program speaks.
pub const VERSION: u8 = 1;
