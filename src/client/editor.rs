//! The prompt on a terminal: line editing, history in memory, completion.

use std::io::ErrorKind;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::Execute;
use super::echo::NoEcho;
use super::outcome::ExitStatus;
use super::prompt::{Shell, Step};
use super::usage;
use crate::topology::Topology;

const PROMPT: &str = "peershare> ";

/// Performs what is typed until the user leaves, which is no failure, whatever failed before.
pub fn converse<E: Execute>(shell: &mut Shell<'_, E>) -> ExitStatus {
    match converse_through(shell) {
        Ok(()) => ExitStatus::Success,
        Err(error) => {
            shell.report(&format!("cannot read from the terminal: {error}"));
            ExitStatus::Failed
        }
    }
}

fn converse_through<E: Execute>(shell: &mut Shell<'_, E>) -> Result<(), ReadlineError> {
    let config = Config::builder().auto_add_history(true).completion_type(CompletionType::List).build();
    let history = MemHistory::with_config(&config);
    let mut editor: Editor<Completion, MemHistory> = Editor::with_history(config, history)?;
    loop {
        editor.set_helper(Some(Completion::of(shell.topology())));
        match editor.readline(PROMPT) {
            Ok(typed) if perform_lines(shell, &typed) == Step::Leave => return Ok(()),
            Ok(_) => {}
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                // The editor stops at the bad byte, so what is typed now is a new line.
                shell.report("the line is not UTF-8; it is skipped");
            }
            Err(ReadlineError::Interrupted) => shell.say("#QUIT or Ctrl-D leaves"),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Performs what was typed or pasted, one command a line.
fn perform_lines<E: Execute>(shell: &mut Shell<'_, E>, typed: &str) -> Step {
    let mut step = Step::Done(ExitStatus::Success);
    for line in typed.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        let _silent = NoEcho::begin();
        step = shell.perform_line(line, "");
        if matches!(step, Step::Leave | Step::Done(ExitStatus::Interrupted)) {
            break;
        }
    }
    step
}

/// Completes names of commands in the first word, and ids of peers in the others.
struct Completion {
    peers: Vec<String>,
}

impl Completion {
    fn of(topology: &Topology) -> Self {
        Self { peers: topology.peers().iter().map(|peer| peer.id.to_string()).collect() }
    }

    /// Where the word before the cursor starts, and how it may go on.
    fn candidates(&self, before: &str) -> (usize, Vec<Pair>) {
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let (earlier, word) = before.split_at(start);
        let found = if earlier.trim().is_empty() {
            let bare = word.trim_start_matches('#').to_ascii_uppercase();
            let names = usage::names();
            let fits = |name: &&String| name.trim_start_matches('#').starts_with(&bare);
            names.iter().filter(fits).map(|name| pair(name)).collect()
        } else {
            let ids = self.peers.iter().map(String::as_str);
            ids.filter(|id| !word.is_empty() && id.starts_with(word)).map(pair).collect()
        };
        (start, found)
    }
}

fn pair(word: &str) -> Pair {
    Pair { display: word.to_owned(), replacement: format!("{word} ") }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.candidates(line.get(..pos).unwrap_or(line)))
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
        let topology = "lab1 127.0.0.1 1\nlab2 127.0.0.1 2\nhome 127.0.0.1 3\n".parse().unwrap();
        let (start, pairs) = Completion::of(&topology).candidates(before);
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    #[test]
    fn the_first_word_completes_to_commands() {
        assert_eq!(completed("#do"), (0, vec!["#DOWNLOAD ".to_owned()]));
        assert_eq!(completed(" Up"), (1, vec!["#UPLOAD ".to_owned()]));
        assert_eq!(completed("").1.len(), usage::names().len());
    }

    #[test]
    fn later_words_complete_to_peers() {
        assert_eq!(completed("filelist la"), (9, vec!["lab1 ".to_owned(), "lab2 ".to_owned()]));
        assert!(completed("download x ").1.is_empty());
    }
}
