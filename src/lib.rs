//! peershare: peer-to-peer file sharing for machines that know one another.
//!
//! `peer_settings.txt` lists the peers. Each runs a *server* for a folder; any of them runs a
//! *client* that lists, downloads and uploads files. There is no tracker, no coordinator and no
//! account. A download pulls verified chunks from several peers at once. An upload is an *offer*:
//! the receiving peer fetches, with the same engine.
//!
//! What the code is for, most important first, and what decides when two of these are at odds:
//!
//! 1. never keep an unverified byte as if it were good
//! 2. never touch anything outside the served folder
//! 3. survive any peer
//! 4. be as fast as the wires and the cores allow
//! 5. be a pleasure to read and to use
//!
//! # Words
//!
//! Each has one meaning, in code, messages and documentation alike.
//!
//! | word | meaning |
//! |---|---|
//! | peer | one line of `peer_settings.txt`: an id and an address |
//! | topology | all peers of one `peer_settings.txt` |
//! | group | several peers of a topology that are named at once, as `@lab` |
//! | stream | bytes in both directions between two peers: TCP, or memory in tests |
//! | connection | a stream that speaks a dialect |
//! | dialect | what the first byte of a stream decides: `framed`, or the `classic` text of older programs |
//! | session | the accepting side of a connection, one thread |
//! | frame | one message of the framed dialect: lengths, JSON header, raw payload |
//! | leaf | 16 KiB of a file, the unit of the hash tree |
//! | chunk | a power of two of leaves: what is requested, verified and written as one |
//! | root, content id | the top of the hash tree: what a file *is*, whatever its name |
//! | manifest | name, length, chunk size, root and one digest a chunk |
//! | store | the files that a peer serves |
//! | catalog | the manifests that a store remembers |
//! | part file | a file being received, invisible until it is complete |
//! | journal | which chunks of a part file are good on disk |
//! | unit | what a transfer fetches as one: a chunk, or what a folder is cut into |
//! | bundle | several small files that are one unit |
//! | job | what a transfer is about: units, how to ask for each, and how it is proven |
//! | ledger, lease | who fetches which unit; the right to fetch one |
//! | plan, course | what a transfer knows, for all its sources; what one source is to it, and what it is asked next |
//! | serve, fetch | answer requests for chunks; ask for them |
//! | upload, download | what the user does; each is a serve at one end and a fetch at the other |
//! | offer | "here is a manifest, fetch it from me": how an upload begins |
//! | source | a peer that a transfer fetches from |
//! | small file | one that travels as a whole among others, proven by its root alone |
//! | gather | a request for many small files |
//! | group | small files that are synced, named and entered in the catalog together |
//! | attributes | modification time and permission bits: what travels beside the content |
//! | swarm | peers that fetch a file or a folder together and pass its units on: targets of an upload, simultaneous downloads; who has all of it is an origin |
//! | handout | which unit of a swarm went to whom |
//! | adviser, advice | an origin that hands units out; what it says: a unit, and who has the others |
//! | orphan | a member of a swarm whose origins are lost |
//! | background command | a command that runs beside the prompt |
//! | selector | a word that names peers: an id, a range, a group, an address, `all` |
//! | omission | what was asked for and cannot be copied or listed: a name and its reason |
//! | hole | a part of a file that is zeros and takes no room on the disk |
//! | outage | the time in which a source that was in use is away, and is waited for |
//! | private folder | `.peershare` and what is in it; no name leads there |
//!
//! # Rooms
//!
//! | room | what is in it |
//! |---|---|
//! | `bin/client.rs`, `bin/server.rs` | the command lines, one library call each |
//! | [`topology`] | peers, `peer_settings.txt` and what stands beside it, noticing an edit |
//! | [`config`] | every default and every limit |
//! | [`threads`] | how a thread is started, and what becomes of work for which there is none |
//! | `locks` | how a lock is taken, and in which order several are |
//! | `sync` | the primitives of hand-overs whose every order is tried |
//! | [`logging`] | the log of both programs |
//! | [`content`] | what a file is: names, digests, layouts, manifests, verified chunks; pure |
//! | [`store`] | files on disk: listing, catalog, hashing, part files |
//! | [`wire`] | frames and messages; its page is the specification of the protocol |
//! | [`transport`] | byte streams: TCP, and memory for tests |
//! | [`connection`] | one stream speaking one dialect |
//! | [`serve`] | answers requests from a store; offers files |
//! | [`fetch`] | asks: one engine for every transfer |
//! | [`classic`] | the text dialect of older programs: both sides; its page says what is on the wire |
//! | [`server`] | accepts connections, holds sessions, receives offers |
//! | [`client`] | prompt, commands, tables, bars, exit codes |
//! | `fuzzing` | what reads foreign bytes, as targets of fuzzing; in no ordinary build |
//! | `demo` | three peers in one process, for the first minute |
//!
//! # Arrows
//!
//! Who may name whom; an arrow goes from the one that knows to the one that is known.
//!
//! ```text
//!                demo
//!               /    \
//!          client    server
//!            | \      / |
//!            |  \    /  |
//!            |   \  /   |
//!          serve      fetch        these two never name each other
//!            |  \    /  |
//!            |   \  /   |
//!          store  connection
//!            |     /       \
//!            |   wire    transport
//!            |   /           \
//!          content         topology
//! ```
//!
//! A room may name whatever lies below it, however far down: [`fetch`] names [`transport`] to
//! cancel what it began, [`client`] names [`content`] to print an id. Nothing points upwards.
//!
//! [`classic`] stands beside the middle row: [`client`] and [`server`] name it, it names what
//! [`serve`] and [`fetch`] name, and also [`fetch`], whose `Dial` and `Source` it implements so
//! that an older peer can take part in a download among others. It never names [`serve`]: its
//! session is given what may refuse a request, told as the request of the framed dialect that does
//! the same.
//!
//! `config`, `threads`, `locks` and `sync` stand below all of them. [`wire`] takes one thing from
//! [`transport`], how a system says that a time-out passed.
//!
//! # What is never there
//!
//! These hold because something is absent from `src/` (what is for tests and fuzzing apart), so that
//! a test can look for it:
//!
//! * `unsafe` anywhere, and an async runtime in the dependency tree
//! * `std::fs` outside [`store`], [`topology`] (which reads the settings) and `demo` (which
//!   makes its sample files)
//! * in [`store`], a call that opens, makes, changes or removes a file by its name outside
//!   `store/calls.rs`, but for paths that the user of this machine names
//! * `TcpStream`, `TcpListener` and other sockets outside [`transport`]
//! * disk, socket, thread or clock in [`content`]; a socket in [`wire`]; a clock in the ledger and
//!   its policy, which are told `now`
//! * [`fetch`] in [`serve`], [`serve`] in [`fetch`], and [`client`] or [`server`] in either
//! * `println!` or stdout outside [`client`] (the binaries and `demo` print through it, or to
//!   stderr)
//! * `unwrap` or `expect`
//! * a way to make a [`VerifiedChunk`](content::VerifiedChunk) but [`Manifest::verify`], or to
//!   write received bytes to a part file without one; and no way from received bytes to a
//!   [`Group`](store::Group) but [`content::whole::prove`]. What comes in the classic dialect alone
//!   has no proof and goes another way ([`store::Incoming`]), is never resumed, and the user is
//!   told
//! * a sleep that waits for another thread, and a thread that is started anywhere but in
//!   [`threads`]
//! * a question whether a lock is poisoned, anywhere but in `locks`
//!
//! [`Manifest::verify`]: content::Manifest::verify
//!
//! # How a byte travels
//!
//! ## Download
//!
//! 1. `client/words.rs` splits the line that was typed, `client/grammar.rs` says what it means, and
//!    `client/targets.rs` tells names from peers. Whether a name, a folder or a pattern is meant is
//!    tried in this order (`client/meaning.rs`).
//! 2. Of a *file*, `client/download.rs` has the store look what is in the way (`store/way.rs`), and
//!    `fetch/find.rs` ask all peers at once for its manifest. A peer whose digests do not lead to
//!    its root has no say. The answers are grouped by root: one group goes on, of several the user
//!    chooses one by its id. `store/reception.rs` locks name and content, opens the part file, and
//!    takes over what an earlier attempt left. That is the job (`fetch/job/file.rs`), its units are
//!    its chunks. A peer that still hashes the file says how far it is, and is asked again, until it
//!    has hashed it or another peer turns out to know it.
//! 3. A *folder* is a job that learns its units (`fetch/job/folder`). Its sources are listed over
//!    the connections that its files come over; the pages are merged by name as they come, compared
//!    with what is here, and become units at once: bundles of small files, the manifests of large
//!    ones, and then their chunks.
//! 4. `fetch/engine.rs` runs the job. All sources come in by one door (`fetch/door.rs`), which
//!    starts a worker for each. `fetch/course.rs` says what to do next with a source: pure, over
//!    the plan (`fetch/plan.rs`) of all. `fetch/policy.rs` chooses the unit, `fetch/ledger.rs` keeps
//!    the lease, `fetch/pace.rs` says how much may be under way; the job says how to ask for it, and
//!    `fetch/framed.rs` sends that. A source that goes away is waited for while there is no other
//!    (`fetch/outage.rs`).
//! 5. The payload goes from the socket into a buffer of a fixed set (`fetch/buffers.rs`), and
//!    through a bounded channel to a verify thread, which has the job prove it.
//! 6. `content/manifest.rs` compares the digest of a chunk, `content/whole.rs` the roots of all
//!    files of a bundle. What is bad goes back to the ledger, and its source is dropped; what is
//!    good becomes a [`VerifiedChunk`](content::VerifiedChunk) or a
//!    [`WholeFile`](content::WholeFile).
//! 7. `store/part.rs` writes a chunk where it belongs. Now and then it syncs the data, and
//!    `store/journal.rs` then says which chunks are good. `store/group.rs` writes small files, with
//!    their attributes, to the group's own folder; every thousand or so it syncs the file system
//!    once.
//! 8. With its last chunk, `store/part.rs` syncs a file and renames it to its name without
//!    overwriting, as `store/group.rs` does all files of a group, and both enter them in the
//!    catalog. At the end of a folder, its folders get their times, and one more sync makes the
//!    names certain. What a source could not give is asked for with `left_out`, told by name and
//!    reason, and part of the exit code (`client/omissions.rs`).
//!
//! Where several peers fetch the same from one, that says so with what it sends
//! (`serve/company.rs`). The course then has our own server asked whether it gives away what comes,
//! and takes advice, as in step 6 of an upload. What is missing of a folder is first cut anew, into
//! the [`Units`](content::Units) that all of them have (`fetch/job/folder/together.rs`). The server
//! reads what the client beside it has by its live file (`store/watched.rs`).
//!
//! ## Serving
//!
//! 1. `transport/tcp.rs` accepts, `server/seats.rs` finds a seat or says that there is none, and
//!    `server/mod.rs` starts a session.
//! 2. `server/session.rs` looks at the first byte for the dialect; `connection.rs` exchanges
//!    greetings, in which each side says who it is, and the opener whom it means.
//! 3. Every request passes `serve/rights.rs` before anything is done for it.
//! 4. `serve/responder.rs` answers a `describe` from the catalog (`store/catalog.rs`), or has the
//!    file hashed first (`store/hashing.rs`) and says how far that is.
//! 5. For a `read`, `store/folder.rs` opens the file without following a link out of the folder,
//!    and `store/content.rs` checks that it is still what was hashed, or begins with it.
//! 6. `connection.rs` sends the header, and `transport/tcp.rs` the file's bytes with `sendfile`, so
//!    that they never enter this process.
//! 7. `serve/account.rs` counts what was given, and tells the log when the session goes over to
//!    something else or ends.
//!
//! ## Upload
//!
//! 1. `client/local.rs` finds what is meant, in the served folder or where the user stands;
//!    `client/upload.rs` *lends* a file from elsewhere, and has it hashed where that is not done.
//!    Folders are `client/folder.rs`'s.
//! 2. One thread a target connects, and `serve/offer.rs` sends the manifest as an `offer`, or what
//!    to list as an `offer_folder`.
//! 3. The target's `server/session.rs` refuses what is meant for another peer, and
//!    `server/offers.rs` checks the manifest and asks its store: already here, being received, in
//!    the way, or a part file. An offer of a file that is being received joins that transfer:
//!    `server/running.rs` knows it, and the door lets the connection in as one more source.
//! 4. It answers `accepted`, and **the connection turns round**: `fetch/offered.rs` makes the
//!    uploader the one source of an ordinary transfer, and steps 3 to 8 of a download follow over
//!    there.
//! 5. Meanwhile `serve/offer.rs` answers with the same `serve/responder.rs` that serves downloads,
//!    and hears how many bytes are verified.
//! 6. With several targets they are a swarm: each asks the uploader for the `next` unit, and
//!    `serve/handout.rs` hands every one out once and tells from whom to have it (of many, by way
//!    of others: `serve/routes.rs`). The targets read the rest from one another, out of what is
//!    still being received (`store/live.rs`), a few units at a time (`serve/gate.rs`). A target
//!    that has everything already is named to the others, who take its advice, too. Orphaned by a
//!    dead uploader, they ask one another what they have until each has all there is.
//! 7. The target reports that all is complete, or why not, and the connection has its first
//!    direction again.
//!
//! # Where it differs from the first design
//!
//! * A `read` names the asking side's chunk size. Peers need not cut a file alike, as the root does
//!   not depend on the cut.
//! * Chunks begin at 256 KiB and double until there are at most 5120 of them, up to 16 MiB: large
//!   enough to hash many leaves at once, small enough that a receiver's memory and a manifest stay
//!   small.
//! * A file that was never hashed is hashed first and then fetched. Earlier versions fetch it by its
//!   name meanwhile, and are still answered (`read_named`), but nothing was gained by that that
//!   could be measured.
//! * The lines of a listing travel as payload, as chunks do; a header is always small.
//! * A part file is called after its content, and a lock stands for its name. So a transfer
//!   continues under another name, and two of one name cannot meet.
//! * `fs` is not the store's alone: `topology` reads its files itself, as a room that knows files
//!   but not served ones would say no more than that.
//! * The demo is a room of its own, because nothing else may name client and server both.
//! * Files of up to 4 MiB need no manifest: whoever has all bytes can compute the root. So most
//!   files of most folders travel in batches, and only larger ones by themselves.
//! * A folder has no identity but where several peers fetch it together. Then it is that of its
//!   units, which follow from what it contains: whoever lists the same has the same units, and
//!   nobody needs to be told them. A peer that lists something else, or is of an earlier version,
//!   is asked by content like any other source.
//! * All of a folder has to be listed, and all of its large files described, before it is cut into
//!   such units; a transfer by itself begins with the first page.
//! * A second run leaves the time and mode of a *file* that is here by content alone; those of
//!   folders are set at the end of every run, because files that are put into them move them.
//! * An offer does not name the members of its swarm. They learn of one another from who was handed
//!   which chunk, so a member that never takes part is never waited for.
//! * Beyond [`SWARM_MEMBERS`](config::SWARM_MEMBERS) + 1 targets of an upload, a chunk goes by way
//!   of others, so that each fetches from few (`serve/routes.rs`). Of more simultaneous downloads
//!   than that some form another swarm, as nobody knows in advance who comes.
//! * Simultaneous downloads do not look for one another. Their source, which knows them all, says
//!   that there are others, and hands its chunks out as an uploader does.
//! * What a client receives, its server gives away. The two share a folder and no more: a live file
//!   says what is there, its lock that somebody is at it, and its end what was passed on.
//! * Several origins need not know of one another. Each begins to hand out at another place, and is
//!   told by everybody what came from elsewhere.
//! * What is to be asked next is decided without threads, sockets or a clock (`fetch/plan.rs`,
//!   `fetch/course.rs`), so that tests and the simulation in `benches/swarm` run the same code.
//! * All that can be typed is one definition (`client/grammar.rs`), and what commands say goes
//!   to an audience (`client/audience.rs`) that they know nothing of: somebody at a terminal or
//!   behind a pipe, a program, or whoever types the next command beside a job.
//! * There is no tracker to ask, so `search`, `peers` and `ping` ask the peers, all at once, and
//!   show answers as they come. A pong tells how a peer is doing in fields that may be absent.
//! * How fast a process sends and receives is one account for all its connections
//!   (`transport/shaping.rs`), a static, because it is about the process.
//! * A store has a folder in force, and looks again by its path where it matters: a disk may be
//!   mounted there while a server runs, or the private folder be removed. What is under way goes on
//!   with the folder that it began with.
//! * An error while a folder is read never ends its listing: the entry is an omission, counted with
//!   the pages and told by a request of its own.
//! * A file that only grows, such as a log, is served as it was when it was hashed. Its manifest's
//!   digests, and nothing else, say whether it still begins so.
//! * The time that a source may be away is a value that is told `now` (`fetch/outage.rs`), and the
//!   same for files, folders, offers and files that are hashed first.
//! * What the dialects cannot say is not guessed: without a proof of who answers, an upload is
//!   refused as soon as the other side says that it is somebody else.
//! * The classic dialect has a session and a state of uploads of its own instead of [`serve`]'s:
//!   its chunks are no chunks of a manifest.
//! * Nobody waits for a seat: who idles makes room, and where nobody does a newcomer is told so.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

// Unit tests of whole transfers share the peers of the integration tests, which name this crate.
#[cfg(test)]
extern crate self as peershare;

pub mod classic;
pub mod client;
pub mod config;
pub mod connection;
pub mod content;
pub mod demo;
pub mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod locks;
pub mod logging;
pub mod serve;
pub mod server;
pub mod store;
mod sync;
pub mod threads;
pub mod topology;
pub mod transport;
pub mod wire;
