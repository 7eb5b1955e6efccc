//! What the user meets: command line, prompt, tables, bars, exit codes.
//!
//! This is the only room that writes to stdout. A command takes this way:
//!
//! 1. [`run`] finds the settings and who we are, and decides where commands come from: the command
//!    line, a pipe ([`prompt`]) or a terminal ([`editor`])
//! 2. [`words`] splits a line, [`grammar`] says what it means; a mistake ends here in one line
//!    ([`usage`])
//! 3. [`Execute`] does it ([`transfers`], `commands`): [`targets`] tells names from peers ([`select`]),
//!    what it says goes to its [`audience`]: `terminal` with `bars`, or `objects`; [`table`] and
//!    [`text`] make it readable
//! 4. [`outcome`] turns what happened at each peer into one exit code
//!
//! Results go to stdout, everything else to stderr.

pub mod audience;
mod bars;
mod classic;
mod commands;
mod completion;
mod done;
mod download;
mod echo;
pub mod editor;
mod filelist;
mod folder;
mod folding;
pub mod grammar;
mod interrupts;
mod jobs;
mod local;
mod manual;
mod meaning;
mod merging;
mod objects;
mod omissions;
pub mod outcome;
pub mod output;
mod own;
mod ping;
mod place;
mod planned;
mod progress;
pub mod prompt;
mod publish;
pub mod said;
mod search;
pub mod select;
mod statuses;
pub mod table;
pub mod targets;
mod terminal;
pub mod text;
mod torrent;
pub mod transfers;
mod upload;
pub mod usage;
pub mod words;
mod work;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::Waits;
use crate::logging;
use crate::store::{raise_open_files, survive_size_limit};
use crate::topology::{PeerId, SettingsError, Topology, TopologyFile};
use crate::transport::{Network, Tcp, shaping};

pub use audience::{Audience, Bar};
pub use grammar::{Command, Manner, Program, Typed};
pub use objects::Objects;
pub use outcome::ExitStatus;
pub use table::{Layout, Listed};
pub use terminal::Terminal;
pub use text::shown;
pub use transfers::Transfers;
pub use usage::UsageError;

use prompt::Shell;

/// What the commands do; the prompt and the one-shot mode only speak to this.
pub trait Execute {
    /// Performs a listing, an upload or a download, and says how it ended. It has told the user by
    /// then; help and leaving never come here.
    fn execute(&mut self, command: &Command, manner: &Manner, topology: &Topology) -> ExitStatus;

    /// Begins a command beside the prompt, where that is possible; has told the user.
    fn begin_beside(&mut self, _: (&Command, &Manner, &str), _: &Topology) -> ExitStatus {
        ExitStatus::Usage
    }

    /// Says from now on, beside the prompt, when one of these peers comes or goes.
    fn watch(&mut self, _: &Topology) {}

    /// Commands that run beside the prompt.
    fn running(&mut self) -> usize {
        0
    }

    /// Waits for them, or ends them `now`; the first failure.
    fn end(&mut self, _now: bool) -> ExitStatus {
        ExitStatus::Success
    }

    /// From now on what they say goes there.
    fn print_to(&mut self, _print: Box<dyn FnMut(String) + Send>) {}

    /// Names that peers offered in their last answers, for completing what is typed.
    fn offered(&self) -> Vec<String> {
        Vec::new()
    }

    /// The peers that can be named, of which the settings list `topology`.
    fn known(&self, topology: &Topology) -> Topology {
        topology.clone()
    }
}

/// What every command is executed with.
#[derive(Clone)]
pub struct Surroundings {
    /// Which peer we are, if any.
    pub own: Option<PeerId>,
    /// The own served folder.
    pub served_files: PathBuf,
    /// Whom commands speak to.
    pub audience: Arc<dyn Audience>,
    /// How peers are reached.
    pub network: Arc<dyn Network>,
    /// How long is waited for what.
    pub waits: Waits,
}

/// Why nothing could begin.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Usage(#[from] UsageError),
}

/// Reads a span of time as people write it: seconds, or with `s`, `m` or `h` behind.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, text.get(digits.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3600,
        _ => 1,
    };
    let seconds = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
    let seconds = seconds
        .ok_or_else(|| format!("{text:?} is no time; write seconds, as in 90, or 5m or 1h"))?;
    Ok(Duration::from_secs(seconds.into()))
}

/// Reads the words behind the program's name. Where that is all that is to be done, it has told the
/// user, and how it ended is the error.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Typed, ExitStatus> {
    let not_text = |word: OsString| UsageError::NotText(word.to_string_lossy().into_owned());
    let words: Vec<OsString> = words.collect();
    // The words are no command yet, and whoever typed this one reads nothing else.
    let json = words.iter().any(|word| word == "--json");
    let words: Result<Vec<String>, _> =
        words.into_iter().map(|word| word.into_string().map_err(not_text)).collect();
    words.and_then(|words| Typed::parse(&words)).map_err(|error| match error {
        UsageError::Asked(text) => audience(false, json).0.explain(&text),
        error => audience(false, json).0.refuse("", &error.to_string()),
    })
}

/// Which peer this is, by the command line, the settings and the working folder; an error for
/// people where that is none.
pub fn own_peer(program: &Program) -> Result<PeerId, String> {
    let settings =
        TopologyFile::find(program.peer_settings.as_deref()).map_err(|error| error.to_string())?;
    let own =
        own_id(program.peer.as_ref(), settings.current()).map_err(|error| error.to_string())?;
    own.ok_or_else(|| "say with --peer which peer of the settings this is".to_owned())
}

/// Runs the client as it was typed: one command, a prompt, or the commands from a pipe.
pub fn run(typed: &Typed) -> ExitStatus {
    if let Some(shell) = typed.program.completions {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Typed::grammar(), "client", &mut script);
        return output::print(&script);
    }
    if typed.program.man {
        let mut page = Vec::new();
        return match manual::write(&mut page) {
            Ok(()) => output::print(&page),
            Err(error) => audience(false, false).0.refuse("", &error.to_string()),
        };
    }
    let (audience, log) = audience(typed.program.logging.quiet, typed.program.json);
    logging::start_beside(log, typed.program.logging, shown);
    let command = typed.command.as_ref().map_or("", Command::name);
    start(typed, audience.clone())
        .unwrap_or_else(|error| audience.refuse(command, &error.to_string()))
}

/// Whoever reads what this program writes, and where the log goes beside that.
fn audience(quiet: bool, json: bool) -> (Arc<dyn Audience>, Box<dyn Write + Send>) {
    if json {
        return (Arc::new(Objects::new()), Box::new(io::stderr()));
    }
    let terminal = Terminal::new(quiet);
    let log = Box::new(terminal.stderr());
    (Arc::new(terminal), log)
}

fn start(typed: &Typed, audience: Arc<dyn Audience>) -> Result<ExitStatus, StartError> {
    let Typed { program, manner, command } = typed;
    // A call for help needs no settings.
    if let Some(Command::Help { topic }) = command {
        let help = usage::about(topic.as_deref())?;
        return Ok(audience.explain(&help));
    }
    survive_size_limit();
    raise_open_files();
    shaping::limit(program.bwlimit.unwrap_or_default());
    let mut settings = TopologyFile::find(program.peer_settings.as_deref())?;
    let own = own_id(program.peer.as_ref(), settings.current())?;
    let served_files = program.served_files.clone();
    let network = Arc::new(Tcp::default());
    let usual = Waits::usual();
    let waits = Waits { outage: manner.timeout.unwrap_or(usual.outage), ..usual };
    let mut transfers = Transfers::new(Surroundings {
        own: own.clone(),
        served_files,
        audience: audience.clone(),
        network,
        waits,
    });
    let mut shell = Shell::new(&mut settings, &mut transfers, audience);
    Ok(match command {
        Some(command) => shell.perform(command, manner),
        None if io::stdin().is_terminal() && io::stdout().is_terminal() => {
            if !program.logging.quiet {
                shell.say(&greeting(own.as_ref(), shell.topology()));
            }
            editor::converse(&mut shell)
        }
        None => prompt::run(&mut shell, io::stdin().lock()),
    })
}

/// Which peer we are: the one that was named, else the one that the working folder is called after,
/// else none.
fn own_id(named: Option<&PeerId>, topology: &Topology) -> Result<Option<PeerId>, UsageError> {
    match named {
        Some(id) if topology.find(id).is_some() => Ok(Some(id.clone())),
        Some(id) => Err(select::unknown(id, topology)),
        None => Ok(working_folder_id().filter(|id| topology.find(id).is_some())),
    }
}

fn working_folder_id() -> Option<PeerId> {
    env::current_dir().ok()?.file_name()?.to_str()?.parse().ok()
}

fn greeting(own: Option<&PeerId>, topology: &Topology) -> String {
    let others = topology.peers().iter().filter(|peer| Some(&peer.id) != own).count();
    let who = own.map_or(String::new(), |id| format!("this is {id}; "));
    let others = match others {
        1 => "1 other peer is known".to_owned(),
        _ => format!("{others} other peers are known"),
    };
    format!("{who}{others}; #HELP lists the commands")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let read = |text| seconds(text).map(|time| time.as_secs());
        assert_eq!(
            [read("90"), read("90s"), read("5m"), read("1h"), read("0")],
            [90, 90, 300, 3600, 0].map(Ok)
        );
        for bad in ["", "m", "-1", "1.5m", "5 minutes", "99999999999"] {
            assert!(read(bad).unwrap_err().contains("write seconds"), "{bad}");
        }
    }

    #[test]
    fn a_named_peer_must_be_in_the_settings() {
        let topology: Topology = "a 127.0.0.1 1\nb 127.0.0.1 2\n".parse().unwrap();
        let (a, x): (PeerId, PeerId) = ("a".parse().unwrap(), "x".parse().unwrap());
        assert_eq!(own_id(Some(&a), &topology), Ok(Some(a)));
        let error = own_id(Some(&x), &topology).unwrap_err().to_string();
        assert_eq!(error, "unknown peer x; known: a, b");
    }

    #[test]
    fn without_a_name_the_working_folder_counts_if_it_is_a_peer() {
        let folder = working_folder_id().unwrap();
        let topology: Topology = format!("{folder} 127.0.0.1 1\n").parse().unwrap();
        assert_eq!(own_id(None, &topology), Ok(Some(folder)));
        assert_eq!(own_id(None, &Topology::default()), Ok(None));
    }
}
