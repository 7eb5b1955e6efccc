//! What can be typed: one definition, from which the command line, the prompt, lines from a pipe,
//! the help, completions and manual pages come.
//!
//! The texts behind `///` in here are what users read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::usage::{self, UsageError};
use super::{seconds, words};
use crate::config;
use crate::logging::Logging;
use crate::topology::PeerId;
use crate::transport::shaping::Limits;

/// List, upload and download files among machines that know one another
#[derive(Parser, Clone, Debug)]
#[command(
    name = "client",
    version,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    after_help = usage::below_options(),
)]
pub struct Typed {
    /// What is said once, when the program starts.
    #[command(flatten)]
    pub program: Program,
    /// How the command, or all commands, are done.
    #[command(flatten)]
    pub manner: Manner,
    /// What to do; without it a prompt, or the commands of a pipe.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is said once, when the program starts; the same before and behind a command.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The peers: a line each, peerID address port [default: peer_settings.txt in . or ..]
    #[arg(long, value_name = "FILE", global = true)]
    pub peer_settings: Option<PathBuf>,
    /// The own files: uploads come from here, downloads go here
    #[arg(long, value_name = "DIR", global = true, default_value = config::SERVED_FOLDER)]
    pub served_files: PathBuf,
    /// Which peer this is [default: the working folder's name, if that is a peer]
    #[arg(long, value_name = "ID", global = true)]
    pub peer: Option<PeerId>,
    /// Serve the own files as well, while this runs
    #[arg(long, conflicts_with = "demo")]
    pub serve: bool,
    /// Show everything at work, with three peers in a temporary folder
    #[arg(long, exclusive = true)]
    pub demo: bool,
    /// Print what the shell needs to complete commands and flags
    #[arg(long, value_name = "SHELL")]
    pub completions: Option<clap_complete::Shell>,
    /// Send and receive no faster than so many bytes a second, as in 2M:10M, 500K: or :20mbit
    #[arg(long, value_name = "UP:DOWN", global = true)]
    pub bwlimit: Option<Limits>,
    /// Print the manual page
    #[arg(long)]
    pub man: bool,
    /// Say everything in objects, one a line on stdout, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// How much is said.
    #[command(flatten)]
    pub logging: Logging,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            peer_settings: None,
            served_files: config::SERVED_FOLDER.into(),
            peer: None,
            serve: false,
            demo: false,
            completions: None,
            bwlimit: None,
            man: false,
            json: false,
            logging: Logging::default(),
        }
    }
}

/// How commands are done; the same before and behind a command.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Manner {
    /// How long a peer may be away that a transfer is using, such as 90, 90s or 5m; 0 gives up soon
    /// [default: 2m]
    #[arg(long, value_name = "TIME", global = true, value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Try a transfer again so many times when peers cannot be reached [default: 0]
    #[arg(long, value_name = "N", global = true)]
    pub retries: Option<u32>,
}

/// What the user asks for.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// List the files that peers serve, and who has which
    #[command(after_help = "Examples:\n  #FILELIST\n  #FILELIST photos/ peer1 peer2")]
    Filelist(List),
    /// Give files or folders to peers, all at once
    #[command(
        after_help = "Examples:\n  #UPLOAD \"holiday photos.zip\" peer2 peer3\n  #UPLOAD photos/ *.iso @lab"
    )]
    Upload(Transfer),
    /// Fetch files or folders from all who have them
    #[command(
        after_help = "Examples:\n  #DOWNLOAD big.iso\n  #DOWNLOAD photos/ -x '*.tmp' peer1 peer2"
    )]
    Download(Transfer),
    /// Find out which peer has something that is called so, or has that id
    #[command(after_help = "Examples:\n  #SEARCH report\n  #SEARCH '*.iso' @lab")]
    Search(Search),
    /// Show which peers are up, and how they are doing
    #[command(after_help = "Examples:\n  #PEERS\n  #PEERS --watch @lab")]
    Peers(Peers),
    /// Ask peers whether they are there, and how long an answer takes
    #[command(after_help = "Examples:\n  #PING\n  #PING peer1 192.168.1.7:7001")]
    Ping {
        /// Whom [default: all others]
        #[arg(value_name = "PEER")]
        words: Vec<String>,
        /// Leave out a peer
        #[arg(short = 'x', long, value_name = "PEER")]
        exclude: Vec<String>,
    },
    /// Know a peer for this session that the settings do not list
    #[command(after_help = "Examples:\n  #CONNECT 192.168.1.7:7001\n  #CONNECT nas.local:7001 nas")]
    Connect(Connect),
    /// List what is served from here
    #[command(after_help = "Examples:\n  #FILES\n  #FILES photos/")]
    Files {
        /// Files, folders or patterns [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// End every line with a NUL and print names as they are
        #[arg(short = '0', long)]
        null: bool,
    },
    /// Show what is begun and not complete, or delete it
    #[command(after_help = "Examples:\n  #PARTS\n  #PARTS --clean --older 3h '*.iso'")]
    Parts(Parts),
    /// Put a file or folder from anywhere into the served folder
    #[command(after_help = "Examples:\n  #PUBLISH /data/big.iso\n  #PUBLISH ~/photos holiday")]
    Publish(Publish),
    /// Make a BitTorrent v2 torrent of a file or folder
    #[command(after_help = "Examples:\n  #CREATE big.iso\n  #CREATE photos holiday.torrent")]
    Create {
        /// A file or folder, of this machine or of the served folder
        #[arg(value_name = "PATH")]
        path: String,
        /// The torrent file to write [default: the name with .torrent]
        #[arg(value_name = "FILE")]
        out: Option<String>,
    },
    /// Hash files of the served folder again, and tell which are not what they were
    #[command(after_help = "Examples:\n  #VERIFY\n  #VERIFY big.iso photos/")]
    Verify {
        /// Files, folders or patterns [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Show what runs beside the prompt: commands that end with &
    #[command(after_help = "Examples:\n  #DOWNLOAD big.iso &\n  #STATUS")]
    Status,
    /// End what runs beside the prompt; what came is kept
    #[command(after_help = "Examples:\n  #CANCEL 1\n  #CANCEL 2")]
    Cancel {
        /// Its number, as #STATUS shows it
        #[arg(value_name = "NUMBER")]
        number: u32,
    },
    /// Explain a command, or show all
    #[command(after_help = "Examples:\n  #HELP\n  #HELP download")]
    Help {
        /// Which command
        #[arg(value_name = "COMMAND")]
        topic: Option<String>,
    },
    /// Leave (also #EXIT or Ctrl-D)
    #[command(alias = "exit", after_help = "Examples:\n  #QUIT\n  #EXIT")]
    Quit,
}

/// What is listed, and by whom.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// Files, folders or patterns to list [default: all], and peers to ask [default: all others]
    #[arg(value_name = "NAME|PEER")]
    pub words: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would stand in the help")]
    pub choice: Choice,
    /// End every line with a NUL and print names as they are, for programs that take any name
    #[arg(short = '0', long)]
    pub null: bool,
}

/// What is searched for, and where.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Search {
    /// A part of the name, a pattern, or an id or its first six digits
    #[arg(value_name = "TEXT")]
    pub wanted: String,
    /// Whom to ask [default: all others]
    #[arg(value_name = "PEER")]
    pub words: Vec<String>,
    /// Leave out what fits a pattern, or a peer
    #[arg(short = 'x', long, value_name = "PATTERN|PEER")]
    pub exclude: Vec<String>,
}

/// Who is looked at.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Peers {
    /// Whom [default: all others]
    #[arg(value_name = "PEER")]
    pub words: Vec<String>,
    /// Leave out a peer
    #[arg(short = 'x', long, value_name = "PEER")]
    pub exclude: Vec<String>,
    /// Go on, and say when one comes or goes, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// Whom to know.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    /// Where it listens
    #[arg(value_name = "ADDRESS:PORT")]
    pub place: String,
    /// What to call it [default: after its address]
    #[arg(value_name = "ID")]
    pub id: Option<PeerId>,
}

/// What is begun.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    /// Names or patterns [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Delete them; never what is in use
    #[arg(long)]
    pub clean: bool,
    /// Only what nobody has touched for so long, such as 90s, 5m or 3h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub older: Option<Duration>,
}

/// What is published.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Publish {
    /// A file or folder on this machine
    #[arg(value_name = "PATH")]
    pub path: String,
    /// What it is to be called [default: as it is]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// What is transferred, and among whom.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Transfer {
    /// Files, folders or patterns, and behind them the peers [default: all others]
    #[arg(value_name = "NAME|PEER", required = true)]
    pub words: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would stand in the help")]
    pub choice: Choice,
    /// Let another file of that name give way
    #[arg(long)]
    pub replace: bool,
    /// Have every peer fetch from the source alone, and not from one another
    #[arg(long)]
    pub no_swarm: bool,
    /// Put it into this folder: of this machine where you download, at the peers where you upload
    #[arg(long, value_name = "DIR")]
    pub to: Option<String>,
    /// Call it so where it arrives; goes with one file or folder
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Wait until all of the peers are up, and then begin
    #[arg(long)]
    pub wait: bool,
    /// Say what would be transferred, and transfer nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which peers, and what is left out.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// The peers, so that every other word is a name: ids, peer[01-08], @group, ADDRESS:PORT or all
    #[arg(long, value_name = "PEERS", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Leave out what fits a pattern, or a peer
    #[arg(short = 'x', long, value_name = "PATTERN|PEER")]
    pub exclude: Vec<String>,
}

impl Command {
    /// Whether it is of use beside the prompt.
    pub(super) fn may_run_beside(&self) -> bool {
        !matches!(
            self,
            Self::Quit | Self::Help { .. } | Self::Status | Self::Cancel { .. } | Self::Connect(_)
        )
    }

    /// What it is called, in lower case and without `#`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Filelist(_) => "filelist",
            Self::Upload(_) => "upload",
            Self::Download(_) => "download",
            Self::Search(_) => "search",
            Self::Peers(_) => "peers",
            Self::Ping { .. } => "ping",
            Self::Connect(_) => "connect",
            Self::Files { .. } => "files",
            Self::Parts(_) => "parts",
            Self::Publish(_) => "publish",
            Self::Create { .. } => "create",
            Self::Verify { .. } => "verify",
            Self::Status => "status",
            Self::Cancel { .. } => "cancel",
            Self::Help { .. } => "help",
            Self::Quit => "quit",
        }
    }
}

impl Typed {
    /// Reads a command with its flags from words; the name of a command may be in any case and
    /// begin with `#`. An error is one line that says what is wrong, or the text of a help that was
    /// asked for.
    pub fn parse(words: &[String]) -> Result<Self, UsageError> {
        // To make the grammar takes as long as half of a small transfer, so one is enough.
        let grammar = Self::grammar();
        let words = tidied(words, &grammar);
        let matches = grammar.no_binary_name(true).try_get_matches_from(&words);
        let matches = matches.map_err(|error| UsageError::of(&error, &words))?;
        Self::from_arg_matches(&matches).map_err(|error| UsageError::of(&error, &words))
    }

    /// The whole definition.
    pub fn grammar() -> clap::Command {
        Self::command()
    }

    /// Whether only the command and its manner are said.
    pub(super) fn is_of_a_line(&self) -> bool {
        self.program == Program::default()
    }
}

/// The words with the name of the command as the grammar has it. A single word may be a whole line,
/// as in `client '#FILELIST peer1'`.
fn tidied(typed: &[String], grammar: &clap::Command) -> Vec<String> {
    let mut words: Vec<String> = typed.iter().map(|word| words::unquoted(word)).collect();
    if let Some(line) = words.pop_if(|last| last.starts_with('#')) {
        match words::split(&line) {
            Ok(split) => words.extend(split),
            Err(_) => words.push(line),
        }
    }
    let takes_value = |word: &str| {
        let named = |argument: &&clap::Arg| {
            argument.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
        };
        let found = grammar.get_arguments().find(named);
        found.is_some_and(|argument| argument.get_action().takes_values())
    };
    let mut place = 0;
    while let Some(word) = words.get_mut(place) {
        if !word.starts_with('-') || word == "-" {
            *word = word.strip_prefix('#').unwrap_or(word).to_ascii_lowercase();
            break;
        }
        place += if takes_value(word) { 2 } else { 1 };
    }
    words
}
