//! What the user meets: command line, prompt, tables, bars, exit codes.
//!
//! This is the only room that writes to stdout. A command takes this way:
//!
//! 1. [`run`] finds the settings and who we are, and decides where commands come from: the command
//!    line, a pipe ([`prompt`]) or a terminal ([`editor`])
//! 2. [`words`] splits a line, [`command`] says what it means by the [`forms`] that commands have; a
//!    mistake ends here in one line
//! 3. [`Execute`] does it ([`transfers`]): [`targets()`] names whom to ask, [`bars`] shows how far it
//!    is, [`table`], [`text`] and [`output`] write the result
//! 4. [`outcome`] turns what happened at each peer into one exit code
//!
//! Results go to stdout, everything else to stderr.

pub mod bars;
mod classic;
pub mod command;
mod download;
mod echo;
pub mod editor;
mod filelist;
mod folder;
pub mod forms;
pub mod help;
mod interrupts;
mod local;
mod meaning;
mod omissions;
pub mod outcome;
pub mod output;
pub mod prompt;
pub mod table;
pub mod targets;
pub mod text;
pub mod transfers;
mod upload;
pub mod words;

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::Waits;
use crate::logging::{self, Logging};
use crate::store::survive_size_limit;
use crate::topology::{PeerId, SettingsError, Topology, TopologyFile};
use crate::transport::{Network, Tcp};

pub use bars::{Bar, Bars};
pub use command::{Command, UsageError};
pub use forms::Verb;
pub use outcome::ExitStatus;
pub use table::{Layout, Listed};
pub use targets::targets;
pub use text::shown;
pub use transfers::Transfers;

use prompt::Shell;

/// What the commands do; the prompt and the one-shot mode only speak to this.
pub trait Execute {
    /// Performs a listing, an upload or a download, and says how it ended. It has told the user by
    /// then; help and leaving never come here.
    fn execute(&mut self, command: &Command, topology: &Topology) -> ExitStatus;
}

/// What the command line of `client` says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The peer settings, when named.
    pub peer_settings: Option<PathBuf>,
    /// The own served folder.
    pub served_files: PathBuf,
    /// Which peer we are, when named.
    pub peer: Option<PeerId>,
    /// How long a peer may be away that a transfer is using.
    pub timeout: Duration,
    /// How much is said beside the results.
    pub logging: Logging,
    /// One command, or nothing for the prompt or a pipe.
    pub words: Vec<String>,
}

/// What every command is executed with.
pub struct Surroundings {
    /// Which peer we are, if any.
    pub own: Option<PeerId>,
    /// The own served folder.
    pub served_files: PathBuf,
    /// Progress and notes.
    pub bars: Bars,
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
    let seconds =
        seconds.ok_or_else(|| format!("{text:?} is no time; write seconds, as in 90, or 5m or 1h"))?;
    Ok(Duration::from_secs(seconds.into()))
}

/// Runs the client as the command line says: one command, a prompt, or the commands from a pipe.
pub fn run(options: &Options) -> ExitStatus {
    let bars = Bars::new(options.logging.quiet);
    logging::start_beside(bars.stderr(), options.logging, shown);
    start(options, bars.clone()).unwrap_or_else(|error| {
        bars.error(&error.to_string());
        ExitStatus::Usage
    })
}

fn start(options: &Options, bars: Bars) -> Result<ExitStatus, StartError> {
    // A mistake or a call for help needs no settings.
    let command = match options.words.is_empty() {
        true => None,
        false => {
            let words: Vec<String> = options.words.iter().map(|word| words::unquoted(word)).collect();
            Some(Command::parse_words(&words)?)
        }
    };
    if let Some(Command::Help { topic }) = command {
        return Ok(output::print(|out| out.write_all(help::about(topic).as_bytes())));
    }
    survive_size_limit();
    let mut settings = TopologyFile::find(options.peer_settings.as_deref())?;
    let own = own_id(options.peer.as_ref(), settings.current())?;
    let served_files = options.served_files.clone();
    let network = Arc::new(Tcp::default());
    let waits = Waits { outage: options.timeout, ..Waits::usual() };
    let mut transfers = Transfers::new(Surroundings { own: own.clone(), served_files, bars, network, waits });
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut shell = Shell::new(&mut settings, &mut transfers, &mut out, &mut err);
    Ok(match command {
        Some(command) => shell.perform(&command),
        None if io::stdin().is_terminal() && io::stdout().is_terminal() => {
            if !options.logging.quiet {
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
        Some(id) => Err(targets::unknown(id, topology)),
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
