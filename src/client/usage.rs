//! What is wrong with what was typed, in one line; and the help, made from the grammar and the exit
//! codes themselves.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::grammar::Typed;
use super::outcome::ExitStatus;
use super::text;
use super::words::Unclosed;
use crate::topology::PeerId;

/// What is wrong with what was typed; one line, which also says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A quote is not closed.
    #[error(transparent)]
    Unclosed(#[from] Unclosed),
    /// A word of the command line that is no text.
    #[error("{0:?} is not UTF-8; peers can only have files whose names are")]
    NotText(String),
    /// Nothing is wrong: a help was asked for, and this is it.
    #[error("{0}")]
    Asked(String),
    /// The first word is no command.
    #[error("unknown command {typed:?}; {}", suggestion(typed))]
    UnknownCommand {
        /// What was typed instead.
        typed: String,
    },
    /// The words do not fit the command.
    #[error("{what}; {expected}")]
    Misfit {
        /// What is wrong.
        what: String,
        /// What the command takes.
        expected: String,
    },
    /// A flag that is said when the program starts.
    #[error(
        "--peer-settings, --served-files, --peer, --demo and the like belong to the program; say them when you start the client"
    )]
    NotHere,
    /// Words that name no peer.
    #[error("{0}")]
    NoPeer(String),
    /// A peer that is not in the settings.
    #[error("unknown peer {typed}; known: {known}")]
    UnknownPeer {
        /// What was typed.
        typed: String,
        /// The ids in the settings.
        known: String,
    },
    /// Every peer that was named, or that is in the settings, is this peer itself.
    #[error("nobody to ask: {0} is this peer itself; name another peer")]
    OnlyOneself(PeerId),
    /// The settings name no peers, or all are left out.
    #[error("nobody to ask: {0}")]
    Nobody(&'static str),
}

impl UsageError {
    /// Flags without a command.
    pub(super) fn no_command() -> Self {
        Self::Misfit {
            what: "no command".to_owned(),
            expected: format!("expected {}", names_of_all()),
        }
    }

    /// What the grammar says of these words, in our form.
    pub(super) fn of(error: &clap::Error, words: &[String]) -> Self {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
            _ => None,
        };
        let command = words.iter().find_map(|word| Topic::named(word));
        match error.kind() {
            ErrorKind::DisplayVersion => Self::Asked(error.render().to_string()),
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Self::Asked(
                    command.map_or_else(|| error.render().to_string(), |command| command.help()),
                )
            }
            ErrorKind::InvalidSubcommand => Self::UnknownCommand {
                typed: text(ContextKind::InvalidSubcommand).unwrap_or_default(),
            },
            kind => {
                let what = match (kind, text(ContextKind::InvalidArg)) {
                    (ErrorKind::MissingRequiredArgument, Some(missing)) => {
                        format!("{missing} is missing")
                    }
                    (ErrorKind::UnknownArgument, Some(word)) if !word.starts_with('-') => {
                        format!("{word:?} is a word too many")
                    }
                    (ErrorKind::UnknownArgument, Some(flag)) => {
                        let near = text(ContextKind::SuggestedArg);
                        let near =
                            near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                        format!(
                            "unknown flag {flag:?}{near} (a name that begins with - goes after --)"
                        )
                    }
                    _ => told(error),
                };
                let expected = match command {
                    Some(command) => {
                        let name = command.0.get_name().to_owned();
                        format!("{}, see #HELP {name}", command.usage())
                    }
                    None => format!("put the command first: {}", names_of_all()),
                };
                Self::Misfit { what, expected: format!("expected: {expected}") }
            }
        }
    }
}

/// What the grammar says, in one line.
fn told(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let lines = rendered.trim_start_matches("error: ").lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A command, for its help.
pub(super) struct Topic(clap::Command);

impl Topic {
    /// The command of that name, in any case and with or without `#`.
    pub(super) fn named(typed: &str) -> Option<Self> {
        let bare = typed.strip_prefix('#').unwrap_or(typed).to_ascii_lowercase();
        let grammar = Typed::command();
        let found = grammar.get_subcommands().find(|command| {
            command.get_name() == bare || command.get_all_aliases().any(|alias| alias == bare)
        });
        let shown = format!("#{}", found?.get_name().to_ascii_uppercase());
        found.map(|command| Self(command.clone().bin_name(&shown).disable_help_flag(true)))
    }

    fn usage(mut self) -> String {
        let usage = self.0.render_usage().to_string();
        usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What it does, all flags, and examples.
    pub(super) fn help(mut self) -> String {
        self.0.render_help().to_string()
    }
}

/// All commands on one screen, or one command with its flags and examples.
pub fn about(topic: Option<&str>) -> Result<String, UsageError> {
    match topic {
        None => Ok(all_commands()),
        Some(typed) => match Topic::named(typed) {
            Some(topic) => Ok(topic.help()),
            None => Err(UsageError::UnknownCommand { typed: typed.to_owned() }),
        },
    }
}

/// What `client --help` adds below the options.
pub fn below_options() -> String {
    let mut lines = String::from("Exit codes:\n");
    for status in ExitStatus::ALL {
        lines.push_str(&format!("{:>5}  {}\n", status.code(), status.meaning()));
    }
    lines
}

fn all_commands() -> String {
    let mut lines = String::from("commands, in any case and with or without #:\n");
    let grammar = Typed::command();
    let name = |command: &clap::Command| format!("#{}", command.get_name().to_ascii_uppercase());
    let columns = grammar.get_subcommands().map(|command| name(command).len()).max().unwrap_or(0);
    for command in grammar.get_subcommands() {
        let (name, about) = (name(command), command.get_about().map(ToString::to_string));
        let mut line = format!("  {name}");
        text::pad(&mut line, name.len(), columns + 2);
        line.push_str(&about.unwrap_or_default());
        wrap(&mut lines, &line, columns + 4);
    }
    lines.push('\n');
    for line in [
        "#HELP <command> shows its flags and examples",
        "without a peer, all others are meant: peer1, peer[1-8], @group, ADDRESS:PORT",
        "photos/ is a folder, *.iso and photos/** are patterns; -x leaves out what fits",
        "names with blanks are quoted: \"a b\", 'a b' or a\\ b; after -- nothing is a flag",
        "a command that ends with & runs beside the prompt",
    ] {
        wrap(&mut lines, line, 0);
    }
    lines
}

/// Adds a line, broken between words where the terminal ends, with all but the first part indented.
fn wrap(lines: &mut String, line: &str, indent: usize) {
    let (most, mut taken) = (text::columns_of_stdout(), 0);
    for word in line.split_inclusive(' ') {
        if taken + text::width(word.trim_end()) > most && taken > indent {
            lines.truncate(lines.trim_end().len());
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            taken = indent;
        }
        lines.push_str(word);
        taken += text::width(word);
    }
    lines.push('\n');
}

/// `did you mean …?` when one command resembles what was typed, else all of them.
fn suggestion(typed: &str) -> String {
    let bare = typed.trim_start_matches('#').to_ascii_uppercase();
    let likeness = |name: &str| strsim::jaro_winkler(&bare, name.trim_start_matches('#'));
    let names = names();
    match names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(nearest) if likeness(nearest) > 0.75 => format!("did you mean {nearest}?"),
        _ => format!("expected {}", names_of_all()),
    }
}

/// The names of all commands, as they are shown.
pub(super) fn names() -> Vec<String> {
    Typed::command()
        .get_subcommands()
        .map(|command| format!("#{}", command.get_name().to_ascii_uppercase()))
        .collect()
}

fn names_of_all() -> String {
    let names = names();
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
