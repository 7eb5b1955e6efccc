//! What people write: settings, and commands at the prompt.

use super::{text_of, texts};
use crate::client::{Typed, text, words};
use crate::topology::{Peer, Topology};

pub(super) fn some_settings() -> Vec<Vec<u8>> {
    texts(&[
        "a 127.0.0.1 7001\nb 192.168.1.5 7002\n",
        "\u{feff}# lab\n a  [fe80::1%eth0]\t1 classic group=lab,x-1 # old\r\nb nas.local 65535\n",
        "a 1.2.3.4 0",
        "a ::1 1\na ::1 2",
        "a 224.0.0.1 1",
        "a 1.2.3.4 1 quick",
    ])
}

/// `peer_settings.txt`: what was read is written as lines, and read again to the same.
pub(super) fn settings(bytes: &[u8]) {
    let Ok(topology) = text_of(bytes).parse::<Topology>() else { return };
    let written: String = topology.peers().iter().map(line_of).collect();
    let again = written.parse::<Topology>();
    let again = again.as_ref().map(Topology::peers);
    assert_eq!(again, Ok(topology.peers()), "{written}");
    for peer in topology.peers() {
        assert_eq!(topology.find(&peer.id), Some(peer), "an id is there twice");
        let place = match peer.address.contains(':') {
            true => format!("[{}]:{}", peer.address, peer.port),
            false => format!("{}:{}", peer.address, peer.port),
        };
        let anybody = Peer::anybody_at(&place, None);
        let found = anybody.as_ref().map(|peer| (peer.address.as_str(), peer.port));
        assert_eq!(found, Ok((peer.address.as_str(), peer.port)), "{place}");
    }
}

fn line_of(peer: &Peer) -> String {
    let groups: Vec<String> = peer.groups.iter().map(ToString::to_string).collect();
    let groups =
        if groups.is_empty() { String::new() } else { format!(" group={}", groups.join(",")) };
    let classic = if peer.classic { " classic" } else { "" };
    format!("{} {} {}{classic}{groups}\n", peer.id, peer.address, peer.port)
}

pub(super) fn commands() -> Vec<Vec<u8>> {
    texts(&[
        "#FILELIST photos/ peer1",
        "#UPLOAD \"a b.zip\" 'c d' e\\ f peer[01-08] @lab -x '*.tmp'",
        "#DOWNLOAD $'a\\u202eb\\x41' --to d --as n --wait --replace peer1",
        "#SEARCH '*.iso' @lab",
        "#PEERS --watch",
        "#PING 192.168.1.7:7001",
        "#CONNECT [::1]:1 nas",
        "#PARTS --clean --older 3h",
        "#HELP download",
        "# a comment",
        "#DOWNLOAD x &",
        "exit",
        "--timeout 5m --retries 3 --json #FILES -0",
        "client --bwlimit 2M:10mbit #STATUS",
        "a \"b",
    ])
}

/// A line of the prompt: words, and what they mean.
pub(super) fn command(bytes: &[u8]) {
    let line = text_of(bytes);
    let idle = words::is_idle(line);
    let Ok(words) = words::split(line) else { return };
    assert!(!words.is_empty() || idle || line.trim().is_empty());
    // Words that are kept together come out as they were.
    let kept: Vec<String> = words.iter().map(|word| in_quotes(word)).collect();
    assert_eq!(words::split(&kept.join(" ")).as_ref(), Ok(&words), "{kept:?}");
    for word in &words {
        let shown = text::shown(word);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        let quoted = text::quoted(word);
        assert_eq!(&words::unquoted(&quoted), word, "{quoted:?}");
    }
    match Typed::parse(&words) {
        Ok(typed) => {
            let name = typed.command.as_ref().map(|command| command.name());
            assert!(name.is_none_or(|name| Typed::grammar().find_subcommand(name).is_some()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A word in single quotes, which keep everything; those within it in double ones.
fn in_quotes(word: &str) -> String {
    let parts: Vec<String> = word.split('\'').map(|part| format!("'{part}'")).collect();
    parts.join("\"'\"")
}
