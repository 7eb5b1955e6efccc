//! Who takes part: `peer_settings.txt`, its peers, and noticing that it was edited.
//!
//! A line is `peerID address port`, with any run of blanks between the words; `#` starts a
//! comment. A fourth word `classic` says that the peer speaks the classic text dialect. Any other
//! word is an error, so that a typing mistake never goes unseen.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config;

/// What a peer is called: 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit.
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
        let fits = (1..=64).contains(&text.len())
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
}

impl Peer {
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

/// All peers of one `peer_settings.txt`, in its order. Ids are unique, and so are addresses with ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    peers: Vec<Peer>,
}

/// What is wrong in `peer_settings.txt`, and in which line.
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
        Self { peers }
    }

    /// The peers in the file's order.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
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
        let (mut ids, mut places) = (HashSet::new(), HashSet::new());
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let at = |what| BadLine { line: number + 1, what };
            let Some(peer) = parse_line(line).map_err(at)? else { continue };
            if !ids.insert(peer.id.clone()) {
                return Err(at(format!("peer id {} is already taken by an earlier line", peer.id)));
            }
            if !places.insert((peer.address.clone(), peer.port)) {
                let what = format!("{} port {} is already taken by an earlier line", peer.address, peer.port);
                return Err(at(what));
            }
            peers.push(peer);
        }
        Ok(Self { peers })
    }
}

/// Reads one line; `None` when it is blank or only a comment.
fn parse_line(line: &str) -> Result<Option<Peer>, String> {
    let text = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (id, address, port, classic) = match words[..] {
        [] => return Ok(None),
        [id, address, port] => (id, address, port, false),
        [id, address, port, "classic"] => (id, address, port, true),
        [_, _, _, "classic", other, ..] | [_, _, _, other, ..] => {
            return Err(format!(
                "unexpected {other:?} after the port; expected: peerID address port [classic]"
            ));
        }
        _ => return Err(format!("found {:?}; expected: peerID address port", text.trim())),
    };
    let id = id.parse().map_err(|bad: BadPeerId| bad.to_string())?;
    let address = plain_address(address);
    if !is_address(&address) {
        return Err(format!("{address:?} is not an IPv4 or IPv6 address or a host name"));
    }
    if let Ok(group) = address.parse::<IpAddr>()
        && (group.is_multicast() || group == IpAddr::V4(Ipv4Addr::BROADCAST))
    {
        return Err(format!("{address} is the address of many machines; write that of one"));
    }
    match port.parse() {
        Ok(port @ 1..) => Ok(Some(Peer { id, address, port, classic })),
        _ => Err(format!("{port:?} is not a port; expected a number from 1 to 65535")),
    }
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

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// None of the places that are looked at has the file.
    #[error(
        "no peer_settings.txt in . or ..; write one (a line a peer: peerID address port), or name it with --peer-settings FILE"
    )]
    NotFound,
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line of the file is wrong.
    #[error("{}, {bad}", path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// Line and reason.
        bad: BadLine,
    },
}

/// A topology together with the file it came from, so that an edit is noticed.
#[derive(Debug)]
pub struct TopologyFile {
    path: PathBuf,
    seen: Option<Stamp>,
    current: Topology,
}

/// Length and modification time; a change of either is taken for an edit.
type Stamp = (u64, Option<SystemTime>);

impl TopologyFile {
    /// Finds and reads the settings: `named` (from the command line), else the file that
    /// `$PEERSHARE_PEER_SETTINGS` names, else `./peer_settings.txt`, else `../peer_settings.txt`.
    pub fn find(named: Option<&Path>) -> Result<Self, SettingsError> {
        let from_environment = || std::env::var_os(config::PEER_SETTINGS_VARIABLE).map(PathBuf::from);
        if let Some(path) = named.map(Path::to_owned).or_else(from_environment) {
            return Self::read(&path);
        }
        let usual = [".", ".."].map(|folder| Path::new(folder).join(config::PEER_SETTINGS_FILE));
        match usual.iter().find(|path| path.exists()) {
            Some(path) => Self::read(path),
            None => Err(SettingsError::NotFound),
        }
    }

    /// Reads the settings from that file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let seen = stamp(path);
        let current = load(path)?;
        Ok(Self { path: path.to_owned(), seen, current })
    }

    /// Where the settings came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The topology that is in force.
    pub fn current(&self) -> &Topology {
        &self.current
    }

    /// Looks whether the file was edited and reads it again if so. Says whether the topology is
    /// another one now. A file that has become bad, or is gone, is an error once; the old topology stays in force.
    pub fn reload(&mut self) -> Result<bool, SettingsError> {
        let seen = stamp(&self.path);
        if seen == self.seen {
            return Ok(false);
        }
        self.seen = seen;
        self.read_again()
    }

    /// Reads the file again, even if it seems the same. Says whether the topology is another one now;
    /// after an error the old one stays in force.
    pub fn read_again(&mut self) -> Result<bool, SettingsError> {
        let fresh = load(&self.path)?;
        let changed = fresh != self.current;
        self.current = fresh;
        Ok(changed)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

fn load(path: &Path) -> Result<Topology, SettingsError> {
    let unreadable = |error| SettingsError::Unreadable { path: path.to_owned(), error };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    text.parse().map_err(|bad| SettingsError::Bad { path: path.to_owned(), bad })
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
        let expected =
            ["peer1 at 10.0.0.1:7001", "peer2 at [::1]:7002", "peer3 at host-3.lab:7003", "peer4 at [::1]:1"];
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
        let addresses: Vec<&str> = topology.peers().iter().map(|peer| peer.address.as_str()).collect();
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
            "line 2: peer id a is already taken by an earlier line"
        );
        assert!(error_of("a 1.1.1.1 1\nb 1.1.1.1 1").starts_with("line 2: 1.1.1.1 port 1 is already taken"));
    }

    #[test]
    fn an_edit_is_noticed_and_a_bad_one_leaves_the_old_topology_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        fs::write(&path, "a 127.0.0.1 1\n").unwrap();
        let mut file = TopologyFile::read(&path).unwrap();
        assert!(!file.reload().unwrap());
        fs::write(&path, "a 127.0.0.1 1\nb 127.0.0.1 2\n").unwrap();
        assert!(file.reload().unwrap());
        fs::write(&path, "nonsense").unwrap();
        let error = file.reload().unwrap_err().to_string();
        assert!(error.contains("peers, line 1: found \"nonsense\""), "{error}");
        assert_eq!(file.current().peers().len(), 2);
        assert!(!file.reload().unwrap(), "a bad file is reported once");
    }
}
