//! The grammar: from words to a [`Command`].
//!
//! [`super::forms`] is what can be typed; [`Command`] is what it means. A new flag is a field of
//! `Flags` with its line in `Flags::set`, and its name in the forms that take it.

use super::forms::{EXCEPT, FORMS, Form, NO_SWARM, NULL, REPLACE, Verb};
use super::words::Unclosed;
use crate::content::pattern::is_pattern;
use crate::topology::{BadPeerId, PeerId};

/// What the user asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Which files do these peers (none named: all others) serve?
    FileList {
        /// Whom to ask.
        peers: Vec<PeerId>,
        /// Only these: a folder with a `/` behind, or a pattern.
        pattern: Option<String>,
        /// Whether every line ends with a NUL.
        null: bool,
    },
    /// Offer a file or a folder to these peers.
    Upload {
        /// A name in the own served folder, a pattern, or a path.
        file: String,
        /// To whom.
        peers: Vec<PeerId>,
        /// Another file of that name may be replaced.
        replace: bool,
        /// What is left out of a folder.
        except: Vec<String>,
        /// Several targets fetch from one another.
        swarm: bool,
    },
    /// Fetch a file from these peers.
    Download {
        /// A name, a folder with a `/` behind, a pattern, or a content id or the beginning of one.
        wanted: String,
        /// From whom.
        peers: Vec<PeerId>,
        /// Another file of that name may be replaced.
        replace: bool,
        /// What is left out of a folder.
        except: Vec<String>,
        /// Peers that fetch the same at the same time help one another.
        swarm: bool,
    },
    /// Explain one command, or all.
    Help {
        /// Which one.
        topic: Option<Verb>,
    },
    /// Leave.
    Quit,
}

/// What is wrong with what was typed; one line, which also says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A quote is not closed.
    #[error(transparent)]
    Unclosed(#[from] Unclosed),
    /// No words at all.
    #[error("no command; expected {}", names_of_all())]
    NoCommand,
    /// The first word is no command.
    #[error("unknown command {typed:?}; {}", suggestion(typed))]
    UnknownCommand {
        /// What was typed instead.
        typed: String,
    },
    /// A flag where the command should be.
    #[error("unknown option {typed:?}; see --help, or put the command first: {}", names_of_all())]
    UnknownOption {
        /// What was typed.
        typed: String,
    },
    /// An argument that the command needs is not there, or is empty.
    #[error("the {what} is missing; expected: {usage}")]
    Missing {
        /// What it would be.
        what: &'static str,
        /// How the command is typed.
        usage: &'static str,
    },
    /// More arguments than the command takes.
    #[error("unexpected {typed:?}; expected: {usage}")]
    Unexpected {
        /// The first one too many.
        typed: String,
        /// How the command is typed.
        usage: &'static str,
    },
    /// A word that begins with `-` and is no flag of this command.
    #[error("unknown flag {typed:?}; expected: {usage} (a name that begins with - goes after --)")]
    UnknownFlag {
        /// What was typed.
        typed: String,
        /// How the command is typed.
        usage: &'static str,
    },
    /// A word that cannot name any peer.
    #[error(transparent)]
    BadPeer(#[from] BadPeerId),
    /// A peer that is not in the settings.
    #[error("unknown peer {typed}; known: {known}")]
    UnknownPeer {
        /// What was typed.
        typed: PeerId,
        /// The ids in the settings.
        known: String,
    },
    /// A flag whose value is not there.
    #[error("what {flag} leaves out is missing; expected: {usage}")]
    NoValue {
        /// Which flag.
        flag: &'static str,
        /// How the command is typed.
        usage: &'static str,
    },
    /// Every peer that was named, or that is in the settings, is this peer itself.
    #[error("nobody to ask: {0} is this peer itself; name another peer")]
    OnlyOneself(PeerId),
    /// The settings name no peers.
    #[error("nobody to ask: the peer settings name no peer")]
    NoPeers,
}

impl Command {
    /// Reads a command from its words. Names of commands may be in any case and without their `#`;
    /// flags may stand anywhere after the command, up to a word `--`.
    pub fn parse_words(words: &[String]) -> Result<Self, UsageError> {
        let (name, rest) = words.split_first().ok_or(UsageError::NoCommand)?;
        let form = named(name)?;
        let mut given = Arguments::sort(form, rest)?;
        let Flags { replace, no_swarm, null, except } = std::mem::take(&mut given.flags);
        let command = match form.verb {
            Verb::FileList => {
                let pattern = given.pattern();
                Self::FileList { peers: given.peers()?, pattern, null }
            }
            Verb::Upload => {
                let (file, peers) = (given.required("file")?, given.peers()?);
                Self::Upload { file, peers, replace, except, swarm: !no_swarm }
            }
            Verb::Download => {
                let wanted = given.required("file or id")?;
                Self::Download { wanted, peers: given.peers()?, replace, except, swarm: !no_swarm }
            }
            Verb::Help => Self::Help { topic: given.topic()? },
            Verb::Quit => Self::Quit,
        };
        given.end()?;
        Ok(command)
    }
}

/// The form of the command of that name.
fn named(typed: &str) -> Result<&'static Form, UsageError> {
    Form::named(typed).ok_or_else(|| match typed.to_owned() {
        typed if typed.starts_with('-') => UsageError::UnknownOption { typed },
        typed => UsageError::UnknownCommand { typed },
    })
}

/// What flags say; each command looks at those that its form allows.
#[derive(Default)]
struct Flags {
    replace: bool,
    except: Vec<String>,
    no_swarm: bool,
    null: bool,
}

impl Flags {
    /// Says whether there is such a flag.
    fn set(&mut self, flag: &str) -> bool {
        match flag {
            REPLACE => self.replace = true,
            NO_SWARM => self.no_swarm = true,
            NULL => self.null = true,
            _ => return false,
        }
        true
    }
}

/// The words after the command: flags apart, the others in order.
struct Arguments<'a> {
    form: &'static Form,
    flags: Flags,
    others: std::vec::IntoIter<&'a str>,
}

impl<'a> Arguments<'a> {
    fn sort(form: &'static Form, words: &'a [String]) -> Result<Self, UsageError> {
        let mut flags = Flags::default();
        let mut others = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--" => others.extend(words.by_ref()),
                EXCEPT if form.flags.contains(&EXCEPT) => match words.next() {
                    Some(pattern) => flags.except.push(pattern.to_owned()),
                    None => return Err(UsageError::NoValue { flag: EXCEPT, usage: form.usage }),
                },
                flag if flag.len() > 1 && flag.starts_with('-') => {
                    if !form.flags.contains(&flag) || !flags.set(flag) {
                        return Err(UsageError::UnknownFlag { typed: flag.to_owned(), usage: form.usage });
                    }
                }
                other => others.push(other),
            }
        }
        Ok(Self { form, flags, others: others.into_iter() })
    }

    fn required(&mut self, what: &'static str) -> Result<String, UsageError> {
        match self.others.next() {
            None | Some("") => Err(UsageError::Missing { what, usage: self.form.usage }),
            Some(word) => Ok(word.to_owned()),
        }
    }

    /// Takes the first word that cannot be a peer out of what is left.
    fn pattern(&mut self) -> Option<String> {
        let mut words: Vec<&str> = self.others.by_ref().collect();
        let place = words.iter().position(|word| is_pattern(word) || word.parse::<PeerId>().is_err());
        let pattern = place.map(|place| words.remove(place).to_owned());
        self.others = words.into_iter();
        pattern
    }

    /// All that is left, as peer ids.
    fn peers(&mut self) -> Result<Vec<PeerId>, UsageError> {
        self.others.by_ref().map(|word| Ok(word.parse()?)).collect()
    }

    fn topic(&mut self) -> Result<Option<Verb>, UsageError> {
        self.others.next().map(|name| Ok(named(name)?.verb)).transpose()
    }

    fn end(mut self) -> Result<(), UsageError> {
        match self.others.next() {
            None => Ok(()),
            Some(word) => Err(UsageError::Unexpected { typed: word.to_owned(), usage: self.form.usage }),
        }
    }
}

/// `did you mean …?` when one command resembles what was typed, else all of them.
fn suggestion(typed: &str) -> String {
    let bare = typed.trim_start_matches('#').to_ascii_uppercase();
    let likeness = |name: &str| strsim::jaro_winkler(&bare, name.trim_start_matches('#'));
    let names = FORMS.iter().flat_map(|form| form.names);
    match names.max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(nearest) if likeness(nearest) > 0.75 => format!("did you mean {nearest}?"),
        _ => format!("expected {}", names_of_all()),
    }
}

fn names_of_all() -> String {
    let names: Vec<&str> = FORMS.iter().filter_map(|form| form.names.first().copied()).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;

    fn parse(line: &str) -> Result<Command, UsageError> {
        Command::parse_words(&words::split(line)?)
    }

    fn error_of(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    fn peers(ids: &[&str]) -> Vec<PeerId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    #[test]
    fn case_and_hash_do_not_matter() {
        for line in ["#FILELIST p1 p2", "filelist p1 p2", "#FileList p1 p2"] {
            assert_eq!(
                parse(line),
                Ok(Command::FileList { peers: peers(&["p1", "p2"]), pattern: None, null: false })
            );
        }
        assert_eq!(parse("#QUIT"), Ok(Command::Quit));
        assert_eq!(parse("exit"), Ok(Command::Quit));
    }

    #[test]
    fn files_come_first_and_peers_follow() {
        let file = "my file".to_owned();
        let expected =
            Command::Upload { file, peers: peers(&["p1"]), replace: false, except: vec![], swarm: true };
        assert_eq!(parse("upload 'my file' p1"), Ok(expected));
        let (wanted, peers, except) = ("4f2a9c".to_owned(), vec![], vec![]);
        let expected = Command::Download { wanted, peers, replace: false, except, swarm: false };
        assert_eq!(parse("#download 4f2a9c --no-swarm"), Ok(expected));
    }

    #[test]
    fn flags_may_stand_anywhere_up_to_two_dashes() {
        for line in ["download --replace a p1", "download a --replace p1", "download a p1 --replace"] {
            let expected = Command::Download {
                wanted: "a".to_owned(),
                peers: peers(&["p1"]),
                replace: true,
                except: vec![],
                swarm: true,
            };
            assert_eq!(parse(line), Ok(expected));
        }
        let file = "--replace".to_owned();
        let expected = Command::Upload { file, peers: vec![], replace: false, except: vec![], swarm: true };
        assert_eq!(parse("upload -- --replace"), Ok(expected));
    }

    #[test]
    fn folders_and_patterns_are_told_from_peers_and_may_leave_out() {
        let pattern = Some("photos/".to_owned());
        for line in ["filelist photos/ p1", "filelist p1 photos/"] {
            let expected = Command::FileList { peers: peers(&["p1"]), pattern: pattern.clone(), null: false };
            assert_eq!(parse(line), Ok(expected));
        }
        let (wanted, except) = ("photos/**".to_owned(), vec!["*.tmp".to_owned(), "old/".to_owned()]);
        let expected =
            Command::Download { wanted, peers: peers(&["p1"]), replace: false, except, swarm: true };
        assert_eq!(parse("download -x *.tmp 'photos/**' -x 'old/' p1"), Ok(expected));
        assert!(error_of("download a -x").starts_with("what -x leaves out is missing"));
        assert!(error_of("filelist -x a").starts_with("unknown flag \"-x\""));
        assert!(error_of("filelist a/ b/").contains("is not a peer id"));
        let expected =
            Command::FileList { peers: peers(&["p1"]), pattern: Some("./d/x y".to_owned()), null: false };
        assert_eq!(parse("filelist p1 './d/x y'"), Ok(expected));
    }

    #[test]
    fn help_takes_a_command() {
        assert_eq!(parse("help"), Ok(Command::Help { topic: None }));
        assert_eq!(parse("help #download"), Ok(Command::Help { topic: Some(Verb::Download) }));
    }

    #[test]
    fn every_form_has_an_example_that_parses() {
        for form in &FORMS {
            assert!(parse(form.example).is_ok(), "{}", form.example);
            assert!(Form::of(form.verb).is_some_and(|found| found.usage == form.usage));
        }
    }

    #[test]
    fn an_unknown_command_is_answered_with_the_nearest_one() {
        assert_eq!(error_of("#DOWNLAOD x"), "unknown command \"#DOWNLAOD\"; did you mean #DOWNLOAD?");
        assert!(error_of("up x").ends_with("did you mean #UPLOAD?"));
        let expected = "unknown command \"xyz\"; expected #FILELIST, #UPLOAD, #DOWNLOAD, #HELP or #QUIT";
        assert_eq!(error_of("xyz"), expected);
        assert!(error_of("--bogus filelist").starts_with("unknown option \"--bogus\"; see --help"));
        assert!(error_of("").starts_with("no command; expected #FILELIST"));
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        let usage = "expected: #UPLOAD <file|folder> [peer…] [--replace] [--no-swarm] [-x PATTERN]";
        assert_eq!(error_of("upload"), format!("the file is missing; {usage}"));
        assert_eq!(error_of("upload ''"), format!("the file is missing; {usage}"));
        assert_eq!(error_of("quit now"), "unexpected \"now\"; expected: #QUIT");
        assert!(
            error_of("upload a --force")
                .starts_with("unknown flag \"--force\"; expected: #UPLOAD <file|folder>")
        );
        assert!(
            error_of("filelist --replace").starts_with("unknown flag \"--replace\"; expected: #FILELIST")
        );
        assert!(error_of("upload a b/c").starts_with("\"b/c\" is not a peer id"));
        assert!(error_of("upload \"a").contains("column 8"));
    }
}
