//! From the peers that a command names to those that are asked.

use std::collections::HashSet;

use super::command::UsageError;
use crate::config;
use crate::topology::{Peer, PeerId, Topology};

/// Whom a command is about: the named peers without repetitions, or all when none is named; never
/// oneself. Naming oneself is worth a note, and an error when nobody else is left.
pub fn targets(named: &[PeerId], topology: &Topology, own: Option<&PeerId>) -> Result<Vec<Peer>, UsageError> {
    let asked = if named.is_empty() { topology.peers().to_vec() } else { find_all(named, topology)? };
    let others: Vec<Peer> = asked.iter().filter(|peer| Some(&peer.id) != own).cloned().collect();
    match own {
        Some(own) if others.is_empty() && !asked.is_empty() => Err(UsageError::OnlyOneself(own.clone())),
        _ if others.is_empty() => Err(UsageError::NoPeers),
        Some(own) if !named.is_empty() && others.len() < asked.len() => {
            log::warn!("{own} is this peer itself and is not asked");
            Ok(others)
        }
        _ => Ok(others),
    }
}

/// The peers of these ids, each once, in the order in which they are named.
fn find_all(named: &[PeerId], topology: &Topology) -> Result<Vec<Peer>, UsageError> {
    let mut seen = HashSet::new();
    let distinct = named.iter().filter(|id| seen.insert(*id));
    distinct.map(|id| topology.find(id).cloned().ok_or_else(|| unknown(id, topology))).collect()
}

/// The error for an id that is not in the settings.
pub fn unknown(typed: &PeerId, topology: &Topology) -> UsageError {
    UsageError::UnknownPeer { typed: typed.clone(), known: known_ids(topology) }
}

fn known_ids(topology: &Topology) -> String {
    let ids: Vec<&str> = topology.peers().iter().map(|peer| peer.id.as_str()).collect();
    let (first, more) = ids.split_at(ids.len().min(config::SHOWN_PEERS));
    match (first.is_empty(), more.len()) {
        (true, _) => "none".to_owned(),
        (_, 0) => first.join(", "),
        (_, more) => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(named: &[&str]) -> Vec<PeerId> {
        named.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn resolve(named: &[&str], own: Option<&str>) -> Result<Vec<String>, String> {
        let topology = "a 127.0.0.1 1\nb 127.0.0.1 2\nc 127.0.0.1 3\n".parse().unwrap();
        let own = own.map(|own| own.parse().unwrap());
        match targets(&ids(named), &topology, own.as_ref()) {
            Ok(peers) => Ok(peers.into_iter().map(|peer| peer.id.into()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn nobody_named_means_all_but_oneself() {
        assert_eq!(resolve(&[], None).unwrap(), ["a", "b", "c"]);
        assert_eq!(resolve(&[], Some("b")).unwrap(), ["a", "c"]);
    }

    #[test]
    fn named_peers_keep_their_order_and_are_asked_once() {
        assert_eq!(resolve(&["c", "a", "c"], Some("b")).unwrap(), ["c", "a"]);
    }

    #[test]
    fn an_unknown_peer_is_answered_with_the_known_ones() {
        assert_eq!(resolve(&["a", "x"], None).unwrap_err(), "unknown peer x; known: a, b, c");
        let many: String = (1..=30).map(|i| format!("p{i} 127.0.0.1 {i}\n")).collect();
        let error = targets(&ids(&["x"]), &many.parse().unwrap(), None).unwrap_err().to_string();
        assert!(error.ends_with("p20 and 10 more"), "{error}");
    }

    #[test]
    fn oneself_is_dropped_unless_nobody_is_left() {
        assert_eq!(resolve(&["a", "b"], Some("a")).unwrap(), ["b"]);
        let expected = "nobody to ask: a is this peer itself; name another peer";
        assert_eq!(resolve(&["a"], Some("a")).unwrap_err(), expected);
    }

    #[test]
    fn settings_without_peers_are_told_apart() {
        let error = targets(&[], &Topology::default(), None).unwrap_err();
        assert_eq!(error, UsageError::NoPeers);
    }
}
