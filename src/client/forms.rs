//! What can be typed: every command with its names, arguments and flags, and what the help says.

/// A command's name without its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `#FILELIST`
    FileList,
    /// `#UPLOAD`
    Upload,
    /// `#DOWNLOAD`
    Download,
    /// `#HELP`
    Help,
    /// `#QUIT`
    Quit,
}

/// How one command is typed, and what the help says about it.
#[derive(Debug)]
pub struct Form {
    /// What it stands for.
    pub verb: Verb,
    /// Its names in capitals, with `#`; the first one is shown.
    pub names: &'static [&'static str],
    /// The name with its arguments.
    pub usage: &'static str,
    /// What it does, in half a line.
    pub does: &'static str,
    /// A line to imitate.
    pub example: &'static str,
    /// Flags it takes.
    pub flags: &'static [&'static str],
}

/// Every command, in the order of the help.
pub const FORMS: [Form; 5] = [
    Form {
        verb: Verb::FileList,
        names: &["#FILELIST"],
        usage: "#FILELIST [folder/|pattern] [peer…] [-0]",
        does: "list the files that peers serve",
        example: "#FILELIST photos/ peer1",
        flags: &[NULL],
    },
    Form {
        verb: Verb::Upload,
        names: &["#UPLOAD"],
        usage: "#UPLOAD <file|folder> [peer…] [--replace] [--no-swarm] [-x PATTERN]",
        does: "give a file or a folder to peers, all at once",
        example: "#UPLOAD \"holiday photos.zip\" peer2 peer3",
        flags: &[REPLACE, NO_SWARM, EXCEPT],
    },
    Form {
        verb: Verb::Download,
        names: &["#DOWNLOAD"],
        usage: "#DOWNLOAD <file|id|folder/|pattern> [peer…] [--replace] [--no-swarm] [-x PATTERN]",
        does: "fetch files from all who have them",
        example: "#DOWNLOAD big.iso",
        flags: &[REPLACE, NO_SWARM, EXCEPT],
    },
    Form {
        verb: Verb::Help,
        names: &["#HELP"],
        usage: "#HELP [command]",
        does: "explain a command, or show this",
        example: "#HELP download",
        flags: &[],
    },
    Form {
        verb: Verb::Quit,
        names: &["#QUIT", "#EXIT"],
        usage: "#QUIT",
        does: "leave (also #EXIT or Ctrl-D)",
        example: "#QUIT",
        flags: &[],
    },
];

/// The flag that has a listing end every line with a NUL and write names as they are.
pub const NULL: &str = "-0";

/// The flag that lets another file of that name be replaced.
pub const REPLACE: &str = "--replace";

/// The flag that leaves out what the pattern behind it fits.
pub const EXCEPT: &str = "-x";

/// The flag that has every target of an upload fetch from the uploader alone, and a download from those
/// that have the whole file.
pub const NO_SWARM: &str = "--no-swarm";

impl Form {
    /// The form of the command of that name, in any case and with or without `#`.
    pub fn named(typed: &str) -> Option<&'static Self> {
        let bare = typed.strip_prefix('#').unwrap_or(typed);
        let is_meant = |name: &&str| name.trim_start_matches('#').eq_ignore_ascii_case(bare);
        FORMS.iter().find(|form| form.names.iter().any(is_meant))
    }

    /// The form of that command.
    pub fn of(verb: Verb) -> Option<&'static Self> {
        FORMS.iter().find(|form| form.verb == verb)
    }
}
