//! Completing what is typed at the prompt: commands, flags, peers, groups, local paths, and names
//! that peers have offered. Nothing is asked of anybody for it.

use std::borrow::Cow;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::grammar::Typed;
use super::text::quoted;
use super::{shown, usage, words};
use crate::topology::Topology;

/// What can be completed to.
pub(super) struct Completion {
    peers: Vec<String>,
    /// Names that peers have offered.
    offered: Vec<String>,
    paths: FilenameCompleter,
}

/// What the words of a command may be, beside peers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Paths,
    Offered,
    Commands,
    Peers,
}

impl Completion {
    pub(super) fn of(topology: &Topology, offered: Vec<String>) -> Self {
        let mut peers: Vec<String> =
            topology.peers().iter().map(|peer| peer.id.to_string()).collect();
        let mut groups: Vec<String> = topology
            .peers()
            .iter()
            .flat_map(|peer| peer.groups.iter())
            .map(|group| format!("@{group}"))
            .collect();
        groups.sort();
        groups.dedup();
        peers.extend(groups);
        Self { peers, offered, paths: FilenameCompleter::new() }
    }

    /// Where the word before the cursor starts, and how it may go on.
    fn candidates(&self, before: &str) -> (usize, Vec<Pair>) {
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let (earlier, word) = before.split_at(start);
        let Some(command) = earlier.split_whitespace().next() else {
            let bare = word.trim_start_matches('#').to_ascii_uppercase();
            let names = usage::names();
            let fits = |name: &&String| name.trim_start_matches('#').starts_with(&bare);
            return (start, names.iter().filter(fits).map(|name| pair(name)).collect());
        };
        let command = command.trim_start_matches('#').to_ascii_lowercase();
        if word.starts_with('-') {
            let flags = flags_of(&command);
            return (
                start,
                flags.iter().filter(|flag| flag.starts_with(word)).map(|flag| pair(flag)).collect(),
            );
        }
        let peers = self.peers.iter().filter(|id| !word.is_empty() && id.starts_with(word));
        let mut found: Vec<Pair> = peers.map(|id| pair(id)).collect();
        match words_of(&command) {
            Words::Offered if !word.is_empty() => {
                let names = self.offered.iter().filter(|name| name.starts_with(word));
                found.extend(names.take(SHOWN).map(|name| name_pair(name)));
            }
            Words::Commands => {
                let names = usage::names();
                let bare = word.trim_start_matches('#').to_ascii_uppercase();
                let fits = |name: &&String| name.trim_start_matches('#').starts_with(&bare);
                found.extend(names.iter().filter(fits).map(|name| pair(name)));
            }
            Words::Offered | Words::Paths | Words::Peers => {}
        }
        (start, found)
    }
}

/// Names that are offered at once.
const SHOWN: usize = 200;

fn words_of(command: &str) -> Words {
    match command {
        "upload" | "publish" => Words::Paths,
        "download" | "filelist" => Words::Offered,
        "help" => Words::Commands,
        _ => Words::Peers,
    }
}

/// The long flags of a command.
fn flags_of(command: &str) -> Vec<String> {
    let grammar = Typed::grammar();
    let found = grammar.find_subcommand(command);
    let flags =
        found.into_iter().flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long);
    flags.map(|flag| format!("--{flag}")).collect()
}

fn pair(word: &str) -> Pair {
    Pair { display: word.to_owned(), replacement: format!("{word} ") }
}

/// A name as it is typed: in quotes where it has to be. Whatever it does to a terminal, it does
/// neither in the list nor in the line.
fn name_pair(name: &str) -> Pair {
    if let Cow::Owned(typed) = quoted(name) {
        return Pair { display: shown(name).into_owned(), replacement: format!("{typed} ") };
    }
    let plain = words::split(name)
        .is_ok_and(|words| words.len() == 1 && words.first().is_some_and(|word| word == name));
    let typed = if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) };
    Pair { display: name.to_owned(), replacement: format!("{typed} ") }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..pos).unwrap_or(line);
        let (start, mut found) = self.candidates(before);
        let command = before.split_whitespace().next().unwrap_or_default();
        let takes_paths =
            words_of(&command.trim_start_matches('#').to_ascii_lowercase()) == Words::Paths;
        if takes_paths
            && start > 0
            && found.is_empty()
            && !before.get(start..).is_some_and(|word| word.starts_with('-'))
        {
            let (start, mut paths) = self.paths.complete(line, pos, context)?;
            // They would be typed into the line as they are.
            paths.retain(|path| matches!(shown(&path.replacement), Cow::Borrowed(_)));
            return Ok((start, paths));
        }
        found.dedup_by(|one, other| one.replacement == other.replacement);
        Ok((start, found))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> (usize, Vec<String>) {
        let topology =
            "lab1 127.0.0.1 1 group=lab\nlab2 127.0.0.1 2 group=lab,x\nhome 127.0.0.1 3\n";
        let offered = ["big file.iso", "big.iso", "photos/a.jpg"].map(str::to_owned).to_vec();
        let (start, pairs) = Completion::of(&topology.parse().unwrap(), offered).candidates(before);
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    #[test]
    fn the_first_word_completes_to_commands() {
        assert_eq!(completed("#do"), (0, vec!["#DOWNLOAD ".to_owned()]));
        assert_eq!(completed(" Up"), (1, vec!["#UPLOAD ".to_owned()]));
        assert_eq!(completed("").1.len(), usage::names().len());
        assert_eq!(completed("help pe").1, ["#PEERS "]);
    }

    #[test]
    fn names_that_would_do_something_to_the_terminal_are_shown_and_typed_without() {
        let topology: Topology = "a 127.0.0.1 1\n".parse().unwrap();
        let name = "it's \u{202e}gpj.\u{1b}[2Jexe";
        let completion = Completion::of(&topology, vec![name.to_owned()]);
        let (_, pairs) = completion.candidates("download it");
        let [pair] = &pairs[..] else { panic!("{} candidates", pairs.len()) };
        for text in [&pair.display, &pair.replacement] {
            assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text:?}");
        }
        // It still stands for that very name.
        assert_eq!(words::split(&pair.replacement).unwrap(), [name]);
    }

    #[test]
    fn local_paths_that_would_are_not_completed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["good", "go\u{1b}[2J"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let line = format!("upload {}/go", folder.path().display());
        let completion = Completion::of(&Topology::default(), Vec::new());
        let history = rustyline::history::MemHistory::new();
        let (_, pairs) = completion.complete(&line, line.len(), &Context::new(&history)).unwrap();
        let shown: Vec<&str> = pairs.iter().map(|pair| pair.display.as_str()).collect();
        assert_eq!(shown, ["good"]);
    }

    #[test]
    fn later_words_complete_to_peers_groups_flags_and_names() {
        assert_eq!(completed("filelist la"), (9, vec!["lab1 ".to_owned(), "lab2 ".to_owned()]));
        assert_eq!(completed("peers @").1, ["@lab ", "@x "]);
        assert_eq!(completed("#DOWNLOAD --no").1, ["--no-swarm "]);
        assert_eq!(completed("download bi").1, ["'big file.iso' ", "big.iso "]);
        assert!(completed("upload x bi").1.is_empty() && completed("download x ").1.is_empty());
    }
}
