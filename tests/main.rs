//! The integration tests, in one binary. Every row of the semantics table has its test here.
//!
//! The world they play in:
//!
//! * `it/lab.rs`: a [`Lab`](it::lab::Lab) of peers over the in-memory network, with clients whose
//!   words, exit codes and bytes are recorded
//! * `it/rogue.rs`: peers that answer by a script: corrupt, cut, stall, lie
//! * `it/speaker.rs`: the asking side by hand, for what no client of ours would say
//! * `it/programs.rs`: the real binaries, over TCP on ports that the system chose
//!
//! What they show:
//!
//! | file | is about |
//! |---|---|
//! | `it/downloads.rs` | grouping by content, files that are here, replacing, choosing by id |
//! | `it/failing_sources.rs` | sources that die, stall, lie or change; what the others do and the user is told |
//! | `it/liars.rs` | peers that keep one waiting without an end |
//! | `it/never_hashed.rs` | files that their holders have to hash before they are fetched |
//! | `it/resuming.rs` | nothing verified is fetched twice, whoever died |
//! | `it/confinement.rs` | served folders that change and mislead: nothing from outside, nothing to outside |
//! | `it/crashes.rs` | processes that are killed at random moments |
//! | `it/no_space.rs` | disks that become full in the middle |
//! | `it/older_peer.rs` | peers of an earlier release, by what was recorded of them |
//! | `it/one_folder.rs` | several programs on one folder |
//! | `it/outages.rs` | peers that go away in the middle and come back |
//! | `it/busy.rs` | peers without a place at the moment |
//! | `it/uploads.rs` | what targets answer, several targets, replacing, hostile targets |
//! | `it/folders.rs` | whole folders: round trips, patterns, several sources, conflicts, deltas, lies |
//! | `it/folder_swarms.rs` | folders that several peers fetch together |
//! | `it/incomplete.rs` | what cannot be copied or listed: named, with its reason and an exit code |
//! | `it/sparse.rs` | files with holes: neither read, nor sent, nor written out |
//! | `it/growing.rs` | files that are written to while they are given away |
//! | `it/swarms.rs` | uploads to several peers that fetch from one another |
//! | `it/routes.rs` | uploads to so many peers that each fetches from few |
//! | `it/simulation.rs` | the same on an invented clock, with the model of `benches/swarm` |
//! | `it/together.rs` | downloads of one file at the same time, which help one another |
//! | `it/torrents.rs` | BitTorrent v2 metainfo, made and read |
//! | `it/sizes_and_names.rs` | lengths around leaf and chunk; names that work and names that are refused |
//! | `it/names.rs` | what a typed name means: the very name, a pattern, nearly that name, nothing |
//! | `it/commands.rs` | commands as they are typed: several names, ways to name peers, flags, help |
//! | `it/content_ids.rs` | content ids are what other programs compute |
//! | `it/listings.rs` | who has what, peers that are down, pages that lie |
//! | `it/hostile_clients.rs` | garbage, lies and sudden ends against the answering side |
//! | `it/bounds.rs` | what a server takes at most: length, room that stays free, begun uploads |
//! | `it/shortage.rs` | what becomes of commands for which the system has no threads, or few files |
//! | `it/deadlines.rs` | connections without an end: a byte now and then, in either direction |
//! | `it/full_house.rs` | more connections than seats, threads or open files: nobody waits, and no address keeps others out |
//! | `it/readme.rs` | what the README tells people to type |
//! | `it/usage.rs` | mistakes of the user, settings that are edited |
//! | `it/scripts.rs` | what scripts are told with `--json` |
//! | `it/server_program.rs`, `it/client_program.rs`, `it/prompt.rs` | the binaries: start, signals, exit codes, terminal |
//! | `it/access_log.rs` | what a server writes about who took and gave what |
//! | `it/golden_bytes.rs` | what every message of the framed dialect is on the wire |
//! | `it/numbers_in_bytes.rs` | the largest numbers that a peer can say, added up and shown |
//! | `it/soak.rs` | what servers hold after much work |
//! | `it/architecture.rs` | the arrows between the rooms of `src/` |
//!
//! No test sleeps, knows a port in advance or needs the internet; every wait has a deadline.

// The bench uses what the tests do not.
#[allow(dead_code, unused_imports)]
#[path = "../benches/swarm/model/mod.rs"]
mod model;

mod it {
    pub mod lab;
    pub mod programs;
    pub mod rogue;
    pub mod speaker;

    mod access_log;
    mod architecture;
    mod bounds;
    mod busy;
    mod client_program;
    mod commands;
    mod confinement;
    mod content_ids;
    mod crashes;
    mod deadlines;
    mod downloads;
    mod failing_sources;
    mod folder_swarms;
    mod folders;
    mod full_house;
    mod golden_bytes;
    mod growing;
    mod hostile_clients;
    mod incomplete;
    mod liars;
    mod listings;
    mod names;
    mod never_hashed;
    mod no_space;
    mod numbers_in_bytes;
    mod older_peer;
    mod one_folder;
    mod outages;
    mod prompt;
    mod readme;
    mod resuming;
    mod routes;
    mod scripts;
    mod server_program;
    mod shortage;
    mod simulation;
    mod sizes_and_names;
    mod soak;
    mod sparse;
    mod swarms;
    mod together;
    mod torrents;
    mod uploads;
    mod usage;
}
