//! How peers are named: one by one, `peer[01-08]`, `@group`, `ADDRESS:PORT`, `all`; and how many
//! are named shortly.

use super::usage::UsageError;
use crate::config;
use crate::topology::{GroupName, Peer, PeerId, Topology};

/// A word that names peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// One, by its id.
    Id(PeerId),
    /// Several ids that differ in a number.
    Range(Vec<PeerId>),
    /// All that belong to a group.
    Group(GroupName),
    /// Whoever answers at an address.
    Address(Box<Peer>),
    /// All peers.
    All,
}

impl Selector {
    /// Reads a word. `None` where it cannot name any peer; an error where it is meant to and
    /// cannot.
    pub fn parse(word: &str) -> Option<Result<Self, UsageError>> {
        if let Some(group) = word.strip_prefix('@') {
            let group = group.parse().map(Self::Group);
            return Some(
                group.map_err(|bad: crate::topology::BadGroup| UsageError::NoPeer(bad.to_string())),
            );
        }
        if word == "all" {
            return Some(Ok(Self::All));
        }
        if let Ok(id) = word.parse() {
            return Some(Ok(Self::Id(id)));
        }
        if let Some(ids) = range(word) {
            return Some(Ok(Self::Range(ids)));
        }
        let (_, port) = word.rsplit_once(':')?;
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || word.contains('/')
        {
            return None;
        }
        let peer = Peer::anybody_at(word, None).map(Box::new);
        Some(peer.map(Self::Address).map_err(UsageError::NoPeer))
    }

    /// The peers that are meant. An id or a group that the settings do not know is an error.
    pub fn peers(&self, topology: &Topology) -> Result<Vec<Peer>, UsageError> {
        match self {
            Self::Id(id) => topology
                .find(id)
                .map(|peer| vec![peer.clone()])
                .ok_or_else(|| unknown(id, topology)),
            Self::Range(ids) => ids
                .iter()
                .map(|id| topology.find(id).cloned().ok_or_else(|| unknown(id, topology)))
                .collect(),
            Self::Group(group) => {
                let members = topology.peers().iter().filter(|peer| peer.groups.contains(group));
                let members: Vec<Peer> = members.cloned().collect();
                match members.is_empty() {
                    true => Err(UsageError::NoPeer(format!(
                        "no peer is in group {group}; {}",
                        groups(topology)
                    ))),
                    false => Ok(members),
                }
            }
            Self::Address(peer) => {
                let same =
                    |known: &&Peer| (known.address == peer.address) && known.port == peer.port;
                Ok(vec![topology.peers().iter().find(same).unwrap_or(peer).clone()])
            }
            Self::All => match topology.peers().iter().find(|peer| peer.id.as_str() == "all") {
                Some(peer) => Ok(vec![peer.clone()]),
                None => Ok(topology.peers().to_vec()),
            },
        }
    }

    /// Whether it names a peer that is known, so that a word which could be a name of a file as
    /// well is taken for it.
    pub fn is_known(&self, topology: &Topology) -> bool {
        match self {
            Self::Id(id) => topology.find(id).is_some(),
            Self::Range(ids) => ids.iter().any(|id| topology.find(id).is_some()),
            Self::Group(_) | Self::Address(_) | Self::All => true,
        }
    }
}

/// `peer[1-3,7]x` as ids. Numbers are as long as the shorter end of their range is written.
fn range(word: &str) -> Option<Vec<PeerId>> {
    let (before, rest) = word.split_once('[')?;
    let (inner, after) = rest.split_once(']')?;
    let mut ids = Vec::new();
    for part in inner.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?
        };
        let (from, to, width) = (number(first)?, number(last)?, first.len());
        if from > to
            || ids.len() + (to - from) as usize >= config::RANGE_PEERS
            || width > LONGEST_NUMBER
        {
            return None;
        }
        for number in from..=to {
            ids.push(format!("{before}{number:0width$}{after}").parse().ok()?);
        }
    }
    Some(ids)
}

/// Digits of a number in a range.
const LONGEST_NUMBER: usize = 9;

/// The error for an id that is not in the settings.
pub fn unknown(typed: &PeerId, topology: &Topology) -> UsageError {
    UsageError::UnknownPeer { typed: typed.to_string(), known: known_ids(topology) }
}

/// The ids that the settings know, shortly.
pub(super) fn known_ids(topology: &Topology) -> String {
    let ids: Vec<&str> = topology.peers().iter().map(|peer| peer.id.as_str()).collect();
    some(&ids)
}

/// The first of these ids, folded, and how many more there are; `none` where none is.
pub(super) fn some(ids: &[&str]) -> String {
    let folded = folded(ids);
    let (first, more) = folded.split_at(folded.len().min(config::SHOWN_PEERS));
    match (first.is_empty(), more.len()) {
        (true, _) => "none".to_owned(),
        (_, 0) => first.join(", "),
        (_, more) => format!("{} and {more} more", first.join(", ")),
    }
}

fn groups(topology: &Topology) -> String {
    let mut groups: Vec<String> = topology
        .peers()
        .iter()
        .flat_map(|peer| peer.groups.iter())
        .map(ToString::to_string)
        .collect();
    groups.sort();
    groups.dedup();
    match groups.is_empty() {
        true => {
            "the settings name none; write group=NAME behind the port of its members".to_owned()
        }
        false => format!("known: {}", groups.join(", ")),
    }
}

/// Ids that differ only in a number that follows the last one, as ranges: `peer[1-7]`, in the order
/// in which they come. Two that follow one another stay apart.
pub fn folded(ids: &[&str]) -> Vec<String> {
    let mut folded = Vec::new();
    let mut rest = ids;
    while let Some((first, _)) = rest.split_first() {
        let run = run_length(rest);
        let (run_ids, others) = rest.split_at(run.max(1));
        match (run_ids, numbered(first)) {
            ([_, _, .., last], Some((before, from))) if numbered(last).is_some() => {
                let to = numbered(last).map_or(from, |(_, to)| to);
                folded.push(format!("{before}[{from}-{to}]"));
            }
            _ => folded.extend(run_ids.iter().map(|id| (*id).to_owned())),
        }
        rest = others;
    }
    folded
}

/// How many ids from the first on differ only in a number that grows by one.
fn run_length(ids: &[&str]) -> usize {
    let follows = |pair: &&[&str]| {
        let [one, next] = pair else { return false };
        match (numbered(one), numbered(next)) {
            (Some((before, from)), Some((same, to))) => {
                let number = |text: &str| text.parse::<u32>().ok();
                // Numbers of another length would not be read back as written.
                before == same
                    && from.len() == to.len()
                    && number(from).and_then(|n| n.checked_add(1)) == number(to)
            }
            _ => false,
        }
    };
    1 + ids.windows(2).take_while(follows).count()
}

/// An id in front of the number at its end, and that number as it is written.
fn numbered(id: &str) -> Option<(&str, &str)> {
    let digits = id.len() - id.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    (digits > 0).then(|| id.split_at(id.len() - digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topology() -> Topology {
        let lines: String = (1..=12)
            .map(|i| format!("peer{i:02} 10.0.0.{i} 7001 group=lab,g{}\n", i % 2))
            .collect();
        lines.parse().unwrap()
    }

    fn ids(word: &str) -> Result<Vec<String>, String> {
        let selector =
            Selector::parse(word).expect("it names peers").map_err(|error| error.to_string())?;
        let peers = selector.peers(&topology()).map_err(|error| error.to_string())?;
        Ok(peers.into_iter().map(|peer| peer.id.to_string()).collect())
    }

    #[test]
    fn peers_are_named_in_many_ways() {
        assert_eq!(ids("peer03").unwrap(), ["peer03"]);
        assert_eq!(ids("peer[01-03,12]").unwrap(), ["peer01", "peer02", "peer03", "peer12"]);
        assert_eq!(ids("@g0").unwrap().len(), 6);
        assert_eq!(ids("all").unwrap().len(), 12);
        assert_eq!(ids("10.0.0.3:7001").unwrap(), ["peer03"], "a known address is that peer");
        assert_eq!(ids("[::1]:7009").unwrap(), ["1-7009"]);
        assert_eq!(ids("nas.local:80").unwrap(), ["nas-local-80"]);
    }

    #[test]
    fn what_names_nobody_is_told() {
        assert_eq!(ids("peer99").unwrap_err(), "unknown peer peer99; known: peer[01-12]");
        assert!(ids("peer[11-13]").unwrap_err().starts_with("unknown peer peer13"));
        assert_eq!(ids("@nobody").unwrap_err(), "no peer is in group nobody; known: g0, g1, lab");
        assert!(ids("1.2.3.4:99999").unwrap_err().contains("is not a port"));
        assert!(ids("::1:80").unwrap_err().contains("needs brackets"));
        for word in [
            "photos/",
            "a b",
            "*.iso",
            "peer[3-1]",
            "a:b",
            "x/y:80",
            "peer[1-99999999]",
            "peer[00000000001-2]",
            "p[1-9999,1-9999]",
        ] {
            assert_eq!(Selector::parse(word), None, "{word}");
        }
    }

    #[test]
    fn many_are_named_shortly() {
        let short = |ids: &[&str]| folded(ids).join(" ");
        assert_eq!(short(&["peer1", "peer2", "peer3", "nas"]), "peer[1-3] nas");
        assert_eq!(short(&["a8", "a9", "a10", "a11", "a12"]), "a8 a9 a[10-12]");
        assert_eq!(short(&["a1", "a2"]), "a1 a2");
        assert_eq!(short(&[]), "");
    }

    proptest! {
        #[test]
        fn what_is_named_shortly_is_read_back(
            numbers in prop::collection::btree_set(0_u32..300, 0..40),
            width in 1_usize..4,
        ) {
            let ids: Vec<String> =
                numbers.iter().map(|number| format!("p{number:0width$}")).collect();
            let texts: Vec<&str> = ids.iter().map(String::as_str).collect();
            let mut read = Vec::new();
            for word in folded(&texts) {
                match Selector::parse(&word) {
                    Some(Ok(Selector::Id(id))) => read.push(id.to_string()),
                    Some(Ok(Selector::Range(range))) => {
                        read.extend(range.iter().map(PeerId::to_string));
                    }
                    other => prop_assert!(false, "{word}: {other:?}"),
                }
            }
            prop_assert_eq!(read, ids);
        }

        #[test]
        fn no_word_makes_it_panic(word in "\\PC{0,20}") {
            if let Some(Ok(selector)) = Selector::parse(&word) {
                let _ = selector.peers(&topology());
            }
        }
    }
}
