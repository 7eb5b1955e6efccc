//! One line for all peers of which the same is to be said.

use std::sync::Mutex;
use std::time::Duration;

use super::said::{Said, Transferred};
use super::text::{self, shown, size, span};
use super::work::Work;
use super::{Audience, ExitStatus, Layout, select};
use crate::config;
use crate::locks::lock;
use crate::topology::Peer;

/// Puts together the peers with the same text, in the order in which the texts come.
pub(super) fn by_text<'a>(
    said: impl IntoIterator<Item = (&'a Peer, String)>,
) -> Vec<(Vec<&'a Peer>, String)> {
    let mut texts: Vec<(Vec<&Peer>, String)> = Vec::new();
    for (peer, text) in said {
        match texts.iter_mut().find(|(_, known)| *known == text) {
            Some((peers, _)) => peers.push(peer),
            None => texts.push((vec![peer], text)),
        }
    }
    texts
}

/// A few peers with their addresses, many as `peer[1-7]`.
pub(super) fn who(peers: &[&Peer]) -> String {
    match peers {
        [] | [_] | [_, _] => peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        _ => ids(peers),
    }
}

/// Peers as `peer[1-7]`.
pub(super) fn ids(peers: &[&Peer]) -> String {
    let ids: Vec<&str> = peers.iter().map(|peer| peer.id.as_str()).collect();
    select::folded(&ids).join(", ")
}

/// A line for each reason why peers did not do something, as an error or as a note.
pub(super) fn reasons<'a, E: ToString + 'a>(
    failures: impl IntoIterator<Item = (&'a Peer, E)>,
    mut say: impl FnMut(&str),
) {
    let failures = failures.into_iter().map(|(peer, error)| (peer, error.to_string()));
    for (peers, reason) in by_text(failures) {
        say(&format!("{}: {}", who(&peers), shown(&reason)));
    }
}

/// What is said of each target of an upload: of a few at once, of many by people when all are done,
/// so that one line does for those that fared alike.
pub(super) struct Targets<'a> {
    audience: &'a dyn Audience,
    /// What is said later, if so; in the order of the targets at last.
    later: Option<Mutex<Vec<(Peer, Ended)>>>,
}

/// How the upload to one target ended.
pub(super) enum Ended {
    /// The target has it, which is told so.
    Well(Got),
    /// It has it not, because of this.
    Badly(String),
}

/// What one target got.
#[derive(Default)]
pub(super) struct Got {
    /// What happened, in words that hold for others as well.
    pub(super) text: String,
    /// How long it took; nothing where nothing was sent.
    pub(super) time: Duration,
    /// Bytes that it got, from us …
    pub(super) ours: u64,
    /// … and from other targets.
    pub(super) from_others: u64,
    /// Bytes that it had from an earlier attempt.
    pub(super) before: u64,
}

impl Got {
    /// Bytes that it got. They are what it says, and need not be true.
    fn all(&self) -> u64 {
        self.ours.saturating_add(self.from_others)
    }

    /// What is different at each target: how fast it was, and from where.
    fn details(&self) -> String {
        let mut words = text::rate(self.all(), self.time);
        if self.from_others > 0 {
            let (here, others) = (size(self.ours), size(self.from_others));
            words.push_str(&format!("; {here} from here, {others} from other peers"));
        }
        if self.before > 0 {
            words.push_str(&format!("; {} needed no sending", size(self.before)));
        }
        words
    }
}

impl<'a> Targets<'a> {
    pub(super) fn of(work: &'a Work<'_>) -> Self {
        let audience = work.transfers.surroundings.audience.as_ref();
        let many = work.peers.len() > config::TARGETS_APART && audience.layout() != Layout::Json;
        Self { audience, later: many.then(Mutex::default) }
    }

    /// One has it now, or had it before.
    pub(super) fn well(&self, peer: &Peer, got: Got, said: Transferred<'_>) -> ExitStatus {
        match &self.later {
            Some(later) => {
                let mut later = lock(later);
                later.push((peer.clone(), Ended::Well(got)));
                ExitStatus::Success
            }
            None => {
                let line = format!("{}: {}{}", peer.id, got.text, got.details());
                self.audience.say(&line, &Said::Transferred(said))
            }
        }
    }

    /// One has it not, because of this.
    pub(super) fn badly(&self, peer: &Peer, why: String) {
        match &self.later {
            Some(later) => {
                let mut later = lock(later);
                later.push((peer.clone(), Ended::Badly(why)));
            }
            None => self.audience.error(&format!("{peer}: {why}")),
        }
    }

    /// Says what was not said yet. `order` is that of the targets.
    pub(super) fn end(&self, order: &[Peer]) -> ExitStatus {
        let Some(later) = &self.later else { return ExitStatus::Success };
        let mut later = std::mem::take(&mut *lock(later));
        later.sort_by_key(|(peer, _)| order.iter().position(|one| one == peer));
        let (mut well, mut badly) = (Vec::new(), Vec::new());
        for (peer, ended) in later {
            match ended {
                Ended::Well(got) => well.push((peer, got)),
                Ended::Badly(why) => badly.push((peer, why)),
            }
        }
        let mut status = ExitStatus::Success;
        let texts = well.iter().map(|(peer, got)| (peer, got.text.clone()));
        for (peers, text) in by_text(texts) {
            let alike = well.iter().map(|(_, got)| got).filter(|got| got.text == text);
            let line = format!("{}: {text}{}", ids(&peers), together(alike));
            status = status.then(self.audience.say(&line, &Said::Note { text: &line }));
        }
        for (peers, why) in
            by_text(badly.iter().map(|(peer, why): &(Peer, String)| (peer, why.clone())))
        {
            self.audience.error(&format!("{}: {why}", who(&peers)));
        }
        status
    }
}

/// The details of several targets in one.
fn together<'a>(got: impl Iterator<Item = &'a Got>) -> String {
    let mut all = Got::default();
    for got in got {
        all.time = all.time.max(got.time);
        all.ours = all.ours.saturating_add(got.ours);
        all.from_others = all.from_others.saturating_add(got.from_others);
    }
    match (all.all(), all.from_others) {
        (0, _) => String::new(),
        (_, 0) => format!("; the last after {}", span(all.time)),
        _ => format!(
            "; the last after {}; {} from here, {} from one another",
            span(all.time),
            size(all.ours),
            size(all.from_others)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: u16) -> Vec<Peer> {
        let peer = |i: u16| format!("p{i} 127.0.0.1 {i}\n");
        let settings: String = (1..=count).map(peer).collect();
        settings.parse::<crate::topology::Topology>().unwrap().peers().to_vec()
    }

    #[test]
    fn the_same_of_many_peers_is_one_line() {
        let all = peers(9);
        let failures = all.iter().map(|peer| match peer.port {
            3 => (peer, "timed out"),
            8 | 9 => (peer, "refused\u{1b}"),
            _ => (peer, "down"),
        });
        let mut lines = Vec::new();
        reasons(failures, |line| lines.push(line.to_owned()));
        let expected = [
            "p1, p2, p[4-7]: down",
            "p3 at 127.0.0.1:3: timed out",
            r"p8 at 127.0.0.1:8, p9 at 127.0.0.1:9: refused\u{1b}",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_several_got_is_added_up() {
        let got = |ours, from_others, seconds| Got {
            ours,
            from_others,
            time: Duration::from_secs(seconds),
            ..Got::default()
        };
        let two = [got(1 << 20, 3 << 20, 7), got(2 << 20, 2 << 20, 9)];
        let expected = "; the last after 9 s; 3.0 MiB from here, 5.0 MiB from one another";
        assert_eq!(together(two.iter()), expected);
        assert_eq!(together([got(5, 0, 2)].iter()), "; the last after 2 s");
        assert_eq!(together([got(0, 0, 0)].iter()), "");
    }
}
