//! Peers that fetch together.

use std::time::Duration;

/// How long a member of a swarm lets a read wait for a chunk that it is still receiving, at most,
/// in milliseconds.
pub const MEMBER_WAIT_MS: u32 = 2000;

/// Members of a swarm that one of them fetches from, at most. Where there are more others than
/// that, chunks go by way of some of them: that takes fewer threads, but a slow or lost member then
/// holds up those behind it. Simulated with 64 of which half have a quarter of the uplink, that was
/// 2.3 times the bound, and 1.3 with all of them direct.
pub const SWARM_MEMBERS: usize = 63;

/// Peers that one handout ever knows, or those that were expected: whoever comes later begins
/// another one. Members come back, but one that comes under ever new names must not make it grow
/// for as long as somebody keeps it.
pub const HANDOUT_NAMES: usize = 1024;

/// The base to which the ways of such chunks are reckoned. With 4, each of 64 members fetches from
/// 9 others and each of 1000 from 15; a larger base makes the ways shorter and their number
/// greater.
pub const ROUTE_BASE: usize = 4;

/// How long after the last one has come further members are expected to come, and asked already.
pub const MEMBERS_COME: Duration = Duration::from_millis(500);

/// How long a member of such a swarm may say nothing to the origin before others are told to do
/// without it, at least. One that has nothing to ask for asks for the news much more often.
pub const MEMBER_SILENCE: Duration = Duration::from_secs(1);

/// How often the origin looks who of them says nothing.
pub const MEMBERS_LOOK: Duration = Duration::from_millis(100);

/// How long members that have nothing more for one another wait after their source was lost.
pub const ORPHANED: Duration = Duration::from_secs(5);

/// How often they ask one another then what they have.
pub const ORPHANS_LOOK: Duration = Duration::from_millis(50);

/// Units that a member asks an origin for before it knows how fast it passes them on.
pub const HANDED_AT_ONCE: usize = 4;

/// One more for each so much of the round trip, as long as they are answered in time.
pub const HANDED_EVERY: Duration = Duration::from_millis(5);

/// Smallest chunk of an upload to several peers, in bytes.
pub const SMALLEST_UNIT: u32 = 64 << 10;

/// A member asks for no further chunk of its own while half of its readers lack so many.
pub const AHEAD: u32 = 2;

/// Bytes that may lie unsent in the system's buffers of a connection between members of a swarm.
pub const UNSENT: u32 = 64 << 10;

/// With few readers, it may have so many sends of its own chunks still to do.
pub const BACKLOG: u32 = 28;

/// … unless its readers have made no use of it for so long.
pub const AHEAD_PATIENCE: Duration = Duration::from_secs(2);

/// Chunks that a peer sends at once to members of swarms. To eight targets two at once were quicker
/// than one, three or any number, to four one or two.
pub const SENDS_AT_ONCE: usize = 2;

/// Peers of which it is remembered how much they were sent; beyond that, it begins anew.
pub const GATE_PEERS: usize = 4096;

/// Bytes that a peer which was sent less than the others may be sent before them.
pub const CATCH_UP: u64 = 1 << 20;

/// A send that has taken so long does not count any more.
pub const LONG_SEND: Duration = Duration::from_millis(150);

/// How often a chunk that another process receives is looked for while a read waits for it.
pub const LIVE_POLL: Duration = Duration::from_millis(4);

/// How long is waited, with what several peers fetch together, until all of a folder is listed.
pub const CUT_WAIT: Duration = Duration::from_secs(2);

/// How long a download waits, before its next request, to hear from its own server whether others
/// could fetch from there.
pub const OWN_SERVER_WAIT: Duration = Duration::from_millis(200);

/// How long somebody who has read a content counts as still reading it.
pub const READER_KEPT: Duration = Duration::from_secs(2);

/// Large files of a folder that are received at once.
pub const LARGE_FILES_AT_ONCE: usize = 8;

/// The same where several peers fetch the folder together: all of its large files have to be begun
/// before any is handed out. With more of them each peer fetches for itself.
pub const SHARED_LARGE_FILES: usize = 256;
