//! `peer_keys.txt`, for the room of the same name.

use super::{KeptApart, Topology};

/// Inputs that are right.
pub(crate) fn some_keys() -> Vec<Vec<u8>> {
    let texts = [
        "a classic\n\n# more\nb group=lab,x-1 classic\n",
        "a group=lab",
        "a",
        "a group=,",
        "nobody classic",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What is said of peers apart from their addresses.
pub(crate) fn keys(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(apart) = text.parse::<KeptApart>() else { return };
    let lines: Vec<_> = apart.lines().collect();
    let ids: std::collections::BTreeSet<_> = lines.iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), lines.len(), "an id is there twice");
    assert!(lines.is_sorted_by_key(|(line, ..)| *line));
    // A topology in which all of them are says of each what the file said.
    let settings: String =
        (1..).zip(&lines).map(|(port, (_, id, _))| format!("{id} 127.0.0.1 {port}\n")).collect();
    let Ok(mut topology) = settings.parse::<Topology>() else { return };
    assert!(topology.add(&apart).is_ok() && topology.add(&apart).is_ok());
    for (_, id, traits) in lines {
        let peer = topology.find(id);
        assert!(peer.is_some_and(|peer| {
            peer.classic == traits.classic
                && traits.groups.as_ref().is_none_or(|groups| *groups == *peer.groups)
        }));
    }
}
