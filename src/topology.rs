//! Who takes part: `peer_settings.txt`, its peers, and noticing that it was edited.
//!
//! A line is `peerID address port`, with any run of blanks between the words; `#` starts a comment.
//! A word `classic` behind that says that the peer speaks the classic text dialect, and
//! `group=lab,render` which groups it belongs to. Any other word is an error, so that a typing
//! mistake never goes unseen.
//!
//! Older programs read the same file, and take a comment, a blank line or a fourth word badly. So
//! what is said of a peer beyond the three words may also stand in `peer_keys.txt` beside it, of
//! which they know nothing: `peerID classic group=lab`.
//!
//! * [`Topology`]: the peers, and what a line may say
//! * `traits`: what is said of a peer beyond its address
//! * [`TopologyFile`]: where the peers are listed, and that it was edited

mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod traits;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config;

pub use file::{SettingsError, TopologyFile};
pub use traits::{BadGroup, GroupName};
use traits::{KeptApart, Traits};

/// What a peer is called: 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or
/// digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(String);

/// The text is not a peer id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a peer id: expected 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
)]
pub struct BadPeerId(String);

impl PeerId {
    /// Letters of the longest.
    const LONGEST: usize = 64;

    /// Stands for a machine that is no peer of the topology, such as a client that only asks.
    pub fn nobody() -> Self {
        Self("nobody".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PeerId {
    type Err = BadPeerId;

    fn from_str(text: &str) -> Result<Self, BadPeerId> {
        let fits = (1..=Self::LONGEST).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits { Ok(Self(text.to_owned())) } else { Err(BadPeerId(text.to_owned())) }
    }
}

impl TryFrom<String> for PeerId {
    type Error = BadPeerId;

    fn try_from(text: String) -> Result<Self, BadPeerId> {
        text.parse()
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        id.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of `peer_settings.txt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// What the peer is called.
    pub id: PeerId,
    /// IPv4 or IPv6 address or host name, without brackets.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Whether it is known to speak the classic text dialect, which spares the attempt to greet it.
    pub classic: bool,
    /// Groups that it belongs to, by which several peers are named at once.
    pub groups: Arc<Vec<GroupName>>,
    /// Whether the address is all that is known of it: then its id is a name of our own for it, and
    /// whoever answers there is meant.
    pub is_anybody: bool,
}

impl Peer {
    /// A peer of that id at that address, of which no more is said.
    pub fn at(id: PeerId, address: &str, port: u16) -> Self {
        let address = address.to_owned();
        Self { id, address, port, classic: false, groups: Arc::default(), is_anybody: false }
    }

    /// Whoever answers at an address such as `192.168.1.5:7001`, `[::1]:7001` or `nas.local:7001`;
    /// called `id`, or else after the address. An error says what is wrong with the text.
    pub fn anybody_at(place: &str, id: Option<PeerId>) -> Result<Self, String> {
        let Some((address, port)) = place.rsplit_once(':') else {
            return Err(format!("{place:?} is no address with a port; expected ADDRESS:PORT"));
        };
        if address.contains(':') && !address.starts_with('[') {
            return Err(format!("{place:?} needs brackets around the address, as in [::1]:7001"));
        }
        let (address, port) = (parse_address(address)?, parse_port(port)?);
        let own_name = || {
            let fits = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
            let text: String =
                address.chars().map(fits).chain(format!("-{port}").chars()).collect();
            let text = text.trim_start_matches('-');
            let from = text.len().saturating_sub(PeerId::LONGEST);
            text.get(from..).and_then(|text| text.trim_start_matches('-').parse().ok())
        };
        let id = id.or_else(own_name).unwrap_or_else(PeerId::nobody);
        Ok(Self { is_anybody: true, ..Self::at(id, &address, port) })
    }

    /// All socket addresses of the peer; a host name is looked up now.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.address.as_str(), self.port).to_socket_addrs()?.collect())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, address, port, .. } = self;
        if address.contains(':') {
            write!(f, "{id} at [{address}]:{port}")
        } else {
            write!(f, "{id} at {address}:{port}")
        }
    }
}

/// All peers of one `peer_settings.txt`, in its order. Ids are unique, and so are addresses with
/// ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    peers: Vec<Peer>,
    /// In which line of the file each stands.
    lines: HashMap<PeerId, usize>,
}

/// What is wrong in `peer_settings.txt` or `peer_keys.txt`, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Line number, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub what: String,
}

impl Topology {
    /// Makes a topology of peers that are already known; the caller vouches that ids are unique.
    pub fn of(peers: Vec<Peer>) -> Self {
        Self { peers, lines: HashMap::new() }
    }

    /// The peers in the file's order.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Adds what is said of the peers in a place apart. A peer that is not listed is told in the
    /// log: it may be in other settings of the same folder, or have been taken out.
    fn add(&mut self, apart: &KeptApart) -> Result<(), BadLine> {
        for (line, id, traits) in apart.lines() {
            let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == *id) else {
                let file = config::PEER_KEYS_FILE;
                log::warn!("{file}, line {line}: no peer {id} is listed in the settings beside it");
                continue;
            };
            let twice = |earlier: usize| BadLine {
                line,
                what: format!(
                    "the groups of {id} are other ones in line {earlier} of the settings beside this file; say them once"
                ),
            };
            match &traits.groups {
                Some(groups) if !peer.groups.is_empty() && *peer.groups != *groups => {
                    return Err(twice(self.lines.get(id).copied().unwrap_or_default()));
                }
                Some(groups) => peer.groups = Arc::new(groups.clone()),
                None => {}
            }
            peer.classic |= traits.classic;
        }
        Ok(())
    }

    /// The same with further peers, of which none may have an id that is known.
    #[must_use]
    pub fn with(&self, more: &[Peer]) -> Self {
        let mut all = self.clone();
        let unknown = more.iter().filter(|peer| self.find(&peer.id).is_none());
        all.peers.extend(unknown.cloned());
        all
    }

    /// The peer of that id.
    pub fn find(&self, id: &PeerId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == *id)
    }
}

impl FromStr for Topology {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        let mut peers: Vec<Peer> = Vec::new();
        let (mut lines, mut places) = (HashMap::new(), HashSet::new());
        for (number, line) in numbered_lines(text) {
            let at = |what| BadLine { line: number, what };
            let Some(peer) = parse_line(line).map_err(at)? else { continue };
            if let Some(earlier) = lines.insert(peer.id.clone(), number) {
                return Err(at(format!("peer id {} is already taken by line {earlier}", peer.id)));
            }
            if !places.insert((peer.address.clone(), peer.port)) {
                let what = format!(
                    "{} port {} is already taken by an earlier line",
                    peer.address, peer.port
                );
                return Err(at(what));
            }
            peers.push(peer);
        }
        Ok(Self { peers, lines })
    }
}

/// Reads one line; `None` when it is blank or only a comment.
fn parse_line(line: &str) -> Result<Option<Peer>, String> {
    let words = words_of(line);
    let (id, address, port, said) = match words[..] {
        [] => return Ok(None),
        [id, address, port, ref said @ ..] => (id, address, port, said),
        _ => return Err(format!("found {:?}; expected: peerID address port", words.join(" "))),
    };
    let traits = Traits::parse(said).map_err(|bad| {
        format!("{bad} after the port; expected: peerID address port {}", Traits::USAGE)
    })?;
    let id = id.parse().map_err(|bad: BadPeerId| bad.to_string())?;
    let peer = Peer::at(id, &parse_address(address)?, parse_port(port)?);
    Ok(Some(Peer {
        classic: traits.classic,
        groups: Arc::new(traits.groups.unwrap_or_default()),
        ..peer
    }))
}

/// Reads an IPv4 or IPv6 address or a host name; what is wrong with it is an error.
fn parse_address(text: &str) -> Result<String, String> {
    let address = plain_address(text);
    if !is_address(&address) {
        return Err(format!("{address:?} is not an IPv4 or IPv6 address or a host name"));
    }
    if let Ok(group) = address.parse::<IpAddr>()
        && (group.is_multicast() || group == IpAddr::V4(Ipv4Addr::BROADCAST))
    {
        return Err(format!("{address} is the address of many machines; write that of one"));
    }
    Ok(address)
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("{text:?} is not a port; expected a number from 1 to 65535")),
    }
}

/// The words of a line before its comment.
fn words_of(line: &str) -> Vec<&str> {
    line.split('#').next().unwrap_or_default().split_whitespace().collect()
}

/// The lines of a file with their numbers, without the mark that some editors put before the first.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.trim_start_matches('\u{feff}').lines())
}

/// The address without brackets, in lower case but for the zone, which is the name of an interface.
fn plain_address(text: &str) -> String {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.split_once('%') {
        Some((address, zone)) => format!("{}%{zone}", address.to_ascii_lowercase()),
        None => bare.to_ascii_lowercase(),
    }
}

fn is_address(text: &str) -> bool {
    if text.contains(':') {
        // An IPv6 address may name its zone, as in fe80::1%eth0.
        let (bare, zone) = text.split_once('%').unwrap_or((text, "none"));
        return !zone.is_empty() && bare.parse::<std::net::Ipv6Addr>().is_ok();
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    let part_fits = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(part_fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        text.parse::<Topology>().unwrap_err().to_string()
    }

    #[test]
    fn peers_comments_and_blank_lines_are_read() {
        let text = "# lab\n\n peer1  10.0.0.1\t7001 # desk\r\npeer2 ::1 7002\npeer3 host-3.lab 7003\npeer4 [::1] 1\n";
        let topology: Topology = text.parse().unwrap();
        let shown: Vec<String> = topology.peers().iter().map(Peer::to_string).collect();
        let expected = [
            "peer1 at 10.0.0.1:7001",
            "peer2 at [::1]:7002",
            "peer3 at host-3.lab:7003",
            "peer4 at [::1]:1",
        ];
        assert_eq!(shown, expected);
        assert_eq!(topology.find(&"peer2".parse().unwrap()).map(|peer| peer.port), Some(7002));
    }

    #[test]
    fn a_fourth_word_says_that_a_peer_is_classic() {
        let topology: Topology = "a 1.2.3.4 1 classic # old\nb 1.2.3.4 2\n".parse().unwrap();
        let classic: Vec<bool> = topology.peers().iter().map(|peer| peer.classic).collect();
        assert_eq!(classic, [true, false]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert_eq!(
            error_of("a 1.2.3.4 1\n\nb 1.2.3.4"),
            "line 3: found \"b 1.2.3.4\"; expected: peerID address port"
        );
        assert!(error_of("a 1.2.3.4 0").contains("is not a port"));
        assert!(error_of("a 1.2.3.4 x").contains("is not a port"));
        assert!(error_of("a 1.2.3.400 1").contains("is not an IPv4"));
        assert!(error_of("a 1::2::3 1").contains("is not an IPv4"));
        assert!(error_of("a ho/st 1").contains("is not an IPv4"));
        assert!(error_of("-a 1.2.3.4 1").contains("is not a peer id"));
        assert!(error_of("a 1.2.3.4 1 quick").contains("unexpected \"quick\""));
        assert!(error_of("a 1.2.3.4 1 classic x").contains("unexpected \"x\""));
    }

    #[test]
    fn a_zone_keeps_its_case_and_a_host_name_does_not() {
        let text = "a FE80::1%enP4p1 1\nb [fe80::2%Eth0] 2\nc NAS.Local 3\n";
        let topology: Topology = text.parse().unwrap();
        let addresses: Vec<&str> =
            topology.peers().iter().map(|peer| peer.address.as_str()).collect();
        assert_eq!(addresses, ["fe80::1%enP4p1", "fe80::2%Eth0", "nas.local"]);
        assert!(error_of("a fe80::1% 1").contains("is not an IPv4"));
    }

    #[test]
    fn an_address_of_many_machines_is_no_peer() {
        for address in ["224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert!(error_of(&format!("a {address} 1")).contains("of many machines"), "{address}");
        }
    }

    #[test]
    fn ids_and_addresses_are_unique() {
        assert_eq!(
            error_of("a 1.1.1.1 1\na 1.1.1.1 2"),
            "line 2: peer id a is already taken by line 1"
        );
        assert!(
            error_of("a 1.1.1.1 1\nb 1.1.1.1 1")
                .starts_with("line 2: 1.1.1.1 port 1 is already taken")
        );
    }
}
