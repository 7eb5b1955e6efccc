//! From the words of a command to names, and to the peers that are asked.

use std::collections::HashSet;

use super::grammar::Choice;
use super::select::{Selector, unknown};
use super::usage::UsageError;
use crate::topology::{Peer, PeerId, Topology};

/// What the words of a command mean.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chosen {
    /// Names of files and folders, and patterns, in their order.
    pub names: Vec<String>,
    /// Whom the command is about: never oneself, each once.
    pub peers: Vec<Peer>,
    /// Patterns that leave something out.
    pub except: Vec<String>,
}

/// Where names may stand among the words.
#[derive(Clone, Copy)]
pub enum Names<'a> {
    /// Everywhere: what names no known peer is a name.
    Anywhere,
    /// In front; the first word is one, and those at the end are peers. A later word that could be
    /// either is a name if this says so.
    InFront(&'a dyn Fn(&str) -> bool),
    /// Nowhere.
    Nowhere,
}

/// Tells names from peers, and finds the peers: those that are named, or all where none is.
pub fn choose(
    words: &[String],
    choice: &Choice,
    names: Names<'_>,
    (topology, own): (&Topology, Option<&PeerId>),
) -> Result<Chosen, UsageError> {
    let mut chosen = Chosen::default();
    let mut named = Vec::new();
    if choice.peers.is_empty() {
        sort(words, names, topology, (&mut chosen.names, &mut named))?;
    } else {
        chosen.names = words.to_vec();
        for word in &choice.peers {
            named.push(selector(word)?);
        }
    }
    let mut left_out = HashSet::new();
    for word in &choice.exclude {
        match Selector::parse(word) {
            Some(Ok(selector)) if selector.is_known(topology) => {
                left_out.extend(selector.peers(topology)?.into_iter().map(|peer| peer.id));
            }
            Some(Err(error)) => return Err(error),
            _ => chosen.except.push(word.clone()),
        }
    }
    chosen.peers = find(&named, &left_out, topology, own)?;
    Ok(chosen)
}

fn selector(word: &str) -> Result<Selector, UsageError> {
    Selector::parse(word).unwrap_or_else(|| {
        Err(UsageError::NoPeer(format!(
            "{word:?} names no peer; expected an id, peer[1-8], @group, ADDRESS:PORT or all"
        )))
    })
}

fn sort(
    words: &[String],
    names: Names<'_>,
    topology: &Topology,
    (to_names, to_peers): (&mut Vec<String>, &mut Vec<Selector>),
) -> Result<(), UsageError> {
    match names {
        Names::Nowhere => words.iter().try_for_each(|word| {
            to_peers.push(selector(word)?);
            Ok(())
        }),
        Names::Anywhere => words.iter().try_for_each(|word| {
            match Selector::parse(word) {
                Some(Ok(selector)) if selector.is_known(topology) => to_peers.push(selector),
                Some(Err(error)) => return Err(error),
                _ => to_names.push(word.clone()),
            }
            Ok(())
        }),
        Names::InFront(is_name) => {
            let mut end = words.len();
            while let Some((word, [_, ..])) = words.get(..end).and_then(<[String]>::split_last) {
                match Selector::parse(word).transpose()? {
                    Some(selector) if selector.is_known(topology) => to_peers.push(selector),
                    // A plain word at the end is rather a mistyped peer than a file; before a
                    // peer it is a name.
                    Some(Selector::Id(id))
                        if to_peers.is_empty() && !word.contains('.') && !is_name(word) =>
                    {
                        let unknown = unknown(&id, topology);
                        let hint = "where it is a file, say with --peers which words are peers";
                        return Err(UsageError::NoPeer(format!("{unknown}; {hint}")));
                    }
                    _ => break,
                }
                end -= 1;
            }
            to_peers.reverse();
            to_names.extend_from_slice(words.get(..end).unwrap_or_default());
            Ok(())
        }
    }
}

fn find(
    named: &[Selector],
    left_out: &HashSet<PeerId>,
    topology: &Topology,
    own: Option<&PeerId>,
) -> Result<Vec<Peer>, UsageError> {
    let mut asked = if named.is_empty() { topology.peers().to_vec() } else { Vec::new() };
    for selector in named {
        asked.extend(selector.peers(topology)?);
    }
    let (mut seen, all) = (HashSet::new(), !asked.is_empty());
    asked.retain(|peer| !left_out.contains(&peer.id) && seen.insert(peer.id.clone()));
    let others: Vec<Peer> = asked.iter().filter(|peer| Some(&peer.id) != own).cloned().collect();
    let names_own = |selector: &Selector| matches!(selector, Selector::Id(id) if Some(id) == own);
    match own {
        Some(own) if others.is_empty() && !asked.is_empty() => {
            Err(UsageError::OnlyOneself(own.clone()))
        }
        _ if others.is_empty() && all => Err(UsageError::Nobody("-x leaves out every peer")),
        _ if others.is_empty() => Err(UsageError::Nobody("the peer settings name no peer")),
        Some(own) if named.iter().any(names_own) => {
            log::warn!("{own} is this peer itself and is not asked");
            Ok(others)
        }
        _ => Ok(others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        "a 127.0.0.1 1 group=g\nb 127.0.0.1 2\nc 127.0.0.1 3 group=g\n".parse().unwrap()
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Names, then peers, then patterns, with semicolons between.
    fn chosen_by(
        line: &str,
        choice: &Choice,
        names: Names<'_>,
        own: Option<&str>,
    ) -> Result<String, String> {
        let own = own.map(|own| own.parse().unwrap());
        let chosen = choose(&words(line), choice, names, (&topology(), own.as_ref()));
        let Chosen { names, peers, except } = chosen.map_err(|error| error.to_string())?;
        let peers: Vec<&str> = peers.iter().map(|peer| peer.id.as_str()).collect();
        Ok(format!("{}; {}; {}", names.join(" "), peers.join(" "), except.join(" ")))
    }

    fn in_front(line: &str) -> Result<String, String> {
        chosen_by(line, &Choice::default(), Names::InFront(&|word| word == "notes"), None)
    }

    #[test]
    fn nobody_named_means_all_but_oneself() {
        let listed = |own| chosen_by("", &Choice::default(), Names::Anywhere, own);
        assert_eq!(listed(None).unwrap(), "; a b c; ");
        assert_eq!(listed(Some("b")).unwrap(), "; a c; ");
    }

    #[test]
    fn names_stand_in_front_of_peers() {
        assert_eq!(in_front("x").unwrap(), "x; a b c; ");
        assert_eq!(in_front("x y.txt notes c a c").unwrap(), "x y.txt notes; c a; ");
        assert_eq!(in_front("a").unwrap(), "a; a b c; ", "the first word is a name");
        assert_eq!(in_front("a b").unwrap(), "a; b; ");
        assert_eq!(in_front("*.iso @g").unwrap(), "*.iso; a c; ");
        assert_eq!(in_front("x all").unwrap(), "x; a b c; ");
        assert_eq!(in_front("x 10.1.1.1:80").unwrap(), "x; 10-1-1-1-80; ");
        assert_eq!(in_front("x d c").unwrap(), "x d; c; ", "what stands before a peer is a name");
        assert!(in_front("x d").unwrap_err().starts_with("unknown peer d; known: a, b, c; where"));
        assert_eq!(in_front("x @h").unwrap_err(), "no peer is in group h; known: g");
    }

    #[test]
    fn a_flag_says_who_the_peers_are() {
        let choice = Choice { peers: words("c"), exclude: vec![] };
        let chosen = chosen_by("x a", &choice, Names::InFront(&|_| false), None);
        assert_eq!(chosen.unwrap(), "x a; c; ");
        let choice = Choice { peers: words("x/"), exclude: vec![] };
        assert!(
            chosen_by("x", &choice, Names::Anywhere, None).unwrap_err().contains("names no peer")
        );
    }

    #[test]
    fn what_is_left_out_may_be_peers_or_patterns() {
        let choice = Choice { peers: vec![], exclude: words("b *.tmp old") };
        assert_eq!(chosen_by("", &choice, Names::Anywhere, None).unwrap(), "; a c; *.tmp old");
        let choice = Choice { peers: vec![], exclude: words("all") };
        assert!(
            chosen_by("", &choice, Names::Anywhere, None)
                .unwrap_err()
                .contains("leaves out every peer")
        );
    }

    #[test]
    fn in_a_listing_names_and_peers_are_mixed() {
        let listed = |line| chosen_by(line, &Choice::default(), Names::Anywhere, None);
        assert_eq!(listed("photos/ b x.txt").unwrap(), "photos/ x.txt; b; ");
        assert_eq!(listed("a nobody").unwrap(), "nobody; a; ");
    }

    #[test]
    fn an_unknown_peer_is_answered_with_the_known_ones() {
        let nowhere = |line| chosen_by(line, &Choice::default(), Names::Nowhere, None);
        assert_eq!(nowhere("a x").unwrap_err(), "unknown peer x; known: a, b, c");
    }

    #[test]
    fn oneself_is_dropped_unless_nobody_is_left() {
        let asked = |line, own| chosen_by(line, &Choice::default(), Names::Nowhere, own);
        assert_eq!(asked("a b", Some("a")).unwrap(), "; b; ");
        let expected = "nobody to ask: a is this peer itself; name another peer";
        assert_eq!(asked("a", Some("a")).unwrap_err(), expected);
    }

    #[test]
    fn settings_without_peers_are_told_apart() {
        let nobody = choose(&[], &Choice::default(), Names::Anywhere, (&Topology::default(), None));
        assert_eq!(nobody, Err(UsageError::Nobody("the peer settings name no peer")));
    }
}
