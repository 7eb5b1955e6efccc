//! `#PING` and `#PEERS`: how peers are doing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::said::Said;
use super::table::Layout;
use super::text::{files, pad, size, width, wrapped};
use super::work::Work;
use super::{ExitStatus, folding, select, shown};
use crate::config;
use crate::connection::Framed;
use crate::fetch::SourceError;
use crate::locks::lock;
use crate::threads;
use crate::topology::{Peer, PeerId};
use crate::wire::{Request, Response, State, WireError};

/// How a peer stands.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It answers.
    Up {
        /// The time from a question to its answer.
        trip: Duration,
        state: State,
        read_only: bool,
    },
    /// It speaks the classic dialect, which tells nothing more.
    Classic,
    /// It answers and has no place for us.
    Busy(String),
    /// Another peer answers at its address.
    Another(String),
    /// It does not answer.
    Down(String),
}

impl Standing {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Up { state, .. } if state.hashing == Some(true) => "hashing",
            Self::Up { .. } => "up",
            Self::Classic => "classic",
            Self::Busy(_) => "busy",
            Self::Another(_) => "another",
            Self::Down(_) => "down",
        }
    }

    fn outcome(&self) -> ExitStatus {
        match self {
            Self::Up { .. } | Self::Classic => ExitStatus::Success,
            Self::Another(_) => ExitStatus::Refused,
            Self::Busy(_) | Self::Down(_) => ExitStatus::Unreachable,
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Up { .. } | Self::Classic => None,
            Self::Busy(why) | Self::Another(why) | Self::Down(why) => Some(why),
        }
    }
}

/// Asks all peers of the command at once, and shows each when it answers.
pub(super) fn run(work: &Work<'_>) -> ExitStatus {
    let columns = Columns::of(&work.peers);
    let standings = look_at_all(work, &mut |peer, standing| show(work, &columns, peer, standing));
    if work.cancel.is_cancelled() {
        return ExitStatus::Interrupted;
    }
    if work.transfers.surroundings.audience.layout() != Layout::Aligned {
        // For eyes it stands in the line of each.
        tell_why(work, &standings);
    }
    ExitStatus::of_peers(standings.iter().map(|(_, standing)| standing.outcome()))
}

/// The same, and then a line whenever a peer stands otherwise, until Ctrl-C.
pub(super) fn watch(work: &Work<'_>) -> ExitStatus {
    let columns = Columns::of(&work.peers);
    let mut before = BTreeMap::new();
    loop {
        let mut each = |peer: &Peer, standing: &Standing| {
            if before.insert(peer.id.clone(), standing.word()) != Some(standing.word()) {
                show(work, &columns, peer, standing);
            }
        };
        look_at_all(work, &mut each);
        if work.cancel.is_cancelled() || work.cancel.wait(config::WATCH_PEERS) {
            return ExitStatus::Success;
        }
    }
}

/// Says when a peer comes or goes, until it is cancelled; nothing of how they stand at first.
pub(super) fn tell_changes(work: &Work<'_>) {
    let mut before: BTreeMap<PeerId, bool> = BTreeMap::new();
    while !work.cancel.is_cancelled() {
        let mut each = |peer: &Peer, standing: &Standing| {
            let is_there = !matches!(standing, Standing::Down(_) | Standing::Another(_));
            let words = match (before.insert(peer.id.clone(), is_there), is_there) {
                (Some(false), true) => "is up",
                (Some(true), false) => "went away",
                _ => return,
            };
            if !work.cancel.is_cancelled() {
                work.transfers.surroundings.audience.note(&format!("{} {words}", peer.id));
            }
        };
        look_at_all(work, &mut each);
        if work.cancel.wait(config::BACKGROUND_PEERS) {
            break;
        }
    }
}

/// Waits until all peers of the command are up; says whether they are, and it was not interrupted.
pub(super) fn wait_for_all(work: &Work<'_>) -> bool {
    let mut told = false;
    loop {
        let standings = look_at_all(work, &mut |_, _| {});
        let is_up = |peer: &&Peer| {
            let of_it = standings.iter().find(|(looked, _)| looked == *peer);
            of_it.is_some_and(|(_, standing)| standing.outcome() == ExitStatus::Success)
        };
        let away = work.peers.iter().filter(|peer| !is_up(peer));
        let away: Vec<&str> = away.map(|peer| peer.id.as_str()).collect();
        if away.is_empty() {
            return true;
        }
        if !std::mem::replace(&mut told, true) {
            let who = select::folded(&away).join(", ");
            work.transfers
                .surroundings
                .audience
                .note(&format!("waiting until these are up: {who}"));
        }
        if work.cancel.wait(config::WATCH_PEERS) {
            return false;
        }
    }
}

/// Each peer with how it stands, in the order in which they are named; `each` hears of them as they
/// answer.
fn look_at_all(
    work: &Work<'_>,
    each: &mut (dyn FnMut(&Peer, &Standing) + Send),
) -> Vec<(Peer, Standing)> {
    let each = Mutex::new(each);
    let look = |peer: &Peer| {
        let standing = look(work, peer);
        // What was interrupted says nothing of the peer.
        if work.cancel.is_cancelled() {
            return standing;
        }
        lock(&each)(peer, &standing);
        standing
    };
    let standings = threads::for_all(&work.peers, |peer| format!("ping-{}", peer.id), look);
    let standing = |(peer, standing): (&Peer, Option<_>)| Some((peer.clone(), standing?));
    work.peers.iter().zip(standings).filter_map(standing).collect()
}

/// How a peer stands at this moment.
pub(super) fn look(work: &Work<'_>, peer: &Peer) -> Standing {
    if work.is_classic(peer) {
        return match work.asker(peer).list() {
            Ok(_) => Standing::Classic,
            Err(error) => Standing::Down(error.to_string()),
        };
    }
    match ask(work, peer) {
        Ok(standing) => standing,
        Err(error) => match work.classic_or(peer, error) {
            Ok(()) => Standing::Classic,
            Err(SourceError::Busy(refusal)) => Standing::Busy(refusal.message),
            Err(error @ SourceError::AnotherPeer(_)) => Standing::Another(error.to_string()),
            Err(error) => Standing::Down(error.to_string()),
        },
    }
}

fn ask(work: &Work<'_>, peer: &Peer) -> Result<Standing, SourceError> {
    let mut connection = work.caller.connect(peer, &work.cancel)?;
    let _registration = work.cancel.closes(connection.closer());
    // The first answer comes with the greeting, so the second one is timed.
    let state = ping(&mut connection)?;
    let began = Instant::now();
    ping(&mut connection)?;
    Ok(Standing::Up { trip: began.elapsed(), state, read_only: connection.is_read_only() })
}

fn ping(connection: &mut Framed) -> Result<State, SourceError> {
    match connection.ask(&Request::Ping, &[])?.map(|head| head.message) {
        Ok(Response::Pong(state)) => Ok(*state),
        Ok(other) => Err(WireError::Unexpected(format!("{other:?} in answer to ping")).into()),
        Err(refusal) => Err(SourceError::refused(refusal)),
    }
}

/// Widths of the columns.
struct Columns {
    id: usize,
}

impl Columns {
    fn of(peers: &[Peer]) -> Self {
        Self { id: peers.iter().map(|peer| width(peer.id.as_str())).max().unwrap_or(0) }
    }
}

fn show(work: &Work<'_>, columns: &Columns, peer: &Peer, standing: &Standing) {
    let audience = &work.transfers.surroundings.audience;
    let nothing = State::default();
    let (trip, state, read_only) = match standing {
        Standing::Up { trip, state, read_only } => (Some(*trip), state, *read_only),
        _ => (None, &nothing, false),
    };
    let said = Said::Peer {
        id: peer.id.as_str(),
        address: &peer.address,
        port: peer.port,
        standing: standing.word(),
        trip_ms: trip.map(|trip| trip.as_secs_f64() * 1000.0),
        read_only,
        state,
        why: standing.why(),
    };
    let line = match audience.layout() {
        Layout::Aligned => wrapped(&in_words(columns, peer, standing), audience.columns()),
        _ => in_tabs(peer, standing, trip, state),
    };
    // A pipe that was closed ends with the command.
    let _ = audience.result(&line, &said);
}

fn in_words(columns: &Columns, peer: &Peer, standing: &Standing) -> String {
    let mut line = peer.id.to_string();
    pad(&mut line, width(peer.id.as_str()), columns.id + 2);
    // Writing to a string cannot fail.
    let _ = write!(line, "{:<8}", standing.word());
    let Standing::Up { trip, state, read_only } = standing else {
        let _ = write!(line, "{}", shown(standing.why().unwrap_or_default()));
        line.truncate(line.trim_end().len());
        return line;
    };
    let _ = write!(line, "{:>7.2} ms", trip.as_secs_f64() * 1000.0);
    let mut more = Vec::new();
    more.extend(state.files.map(files));
    more.extend(state.bytes.map(size));
    more.extend(state.free.map(|free| format!("{} free", size(free))));
    more.extend(state.transfers.filter(|count| *count > 0).map(|count| match count {
        1 => "1 transfer".to_owned(),
        count => format!("{count} transfers"),
    }));
    more.extend(read_only.then(|| "read-only".to_owned()));
    more.extend(state.version.as_deref().map(|version| shown(version).into_owned()));
    for text in more {
        let _ = write!(line, "  {text}");
    }
    line
}

fn in_tabs(peer: &Peer, standing: &Standing, trip: Option<Duration>, state: &State) -> String {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let trip = trip.map_or("-".to_owned(), |trip| format!("{:.3}", trip.as_secs_f64() * 1000.0));
    let version = state.version.as_deref().unwrap_or("-");
    format!(
        "{}\t{}\t{trip}\t{}\t{}\t{}\t{}\t{}",
        peer.id,
        standing.word(),
        number(state.files),
        number(state.bytes),
        number(state.free),
        number(state.transfers),
        shown(version)
    )
}

/// One line for all peers that do not answer for the same reason.
fn tell_why(work: &Work<'_>, standings: &[(Peer, Standing)]) {
    let away = standings.iter().filter_map(|(peer, standing)| Some((peer, standing.why()?)));
    folding::reasons(away, |line| work.transfers.surroundings.audience.error(line));
}
