//! What a command says to a program: with `--json`, one object a line on stdout, and nothing else
//! there.
//!
//! Every object has `schema`, the number of this description (`docs/client-json.schema.json`),
//! which changes when a field changes its meaning or goes; new fields and events may come at any
//! time. Bytes are integers, times seconds, ids all 64 digits, and names as they are. What is not
//! UTF-8 has no name that could be asked for; it is told in omissions, its bytes escaped as `\xHH`.

use serde::Serialize;

use crate::fetch::Contribution;
use crate::wire::State;

/// The number of the description.
const SCHEMA: u32 = 1;

/// One thing that is said.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Said<'a> {
    /// Something worth knowing.
    Note {
        /// In words.
        text: &'a str,
    },
    /// Something went wrong.
    Error {
        /// In words.
        text: &'a str,
    },
    /// How to use the program, or one command.
    Help {
        /// In words, over many lines.
        text: &'a str,
    },
    /// Where a transfer stands.
    Progress {
        /// Which one.
        transfer: &'a str,
        /// Verified bytes, those of earlier attempts included.
        done: u64,
        /// All bytes; grows while a folder is listed.
        total: u64,
        /// Complete files of a folder.
        files: u64,
        /// All files of a folder; 0 for a single file.
        of_files: u64,
        /// Bytes a second, smoothed.
        rate: u64,
        /// What each source contributes.
        sources: &'a [Contribution],
    },
    /// A file that peers have, all of which have the same content, as far as that is known.
    File {
        /// Its name.
        name: &'a str,
        /// Bytes; null at peers of the classic dialect, which do not say.
        size: Option<u64>,
        /// Its content id; null while it is not hashed.
        id: Option<String>,
        /// Who has it.
        peers: Vec<&'a str>,
    },
    /// How a peer is doing.
    Peer {
        /// Its id.
        id: &'a str,
        /// Its address in the settings.
        address: &'a str,
        /// Its port.
        port: u16,
        /// `up`, `hashing`, `classic`, `busy`, `another` or `down`.
        standing: &'a str,
        /// From a question to its answer, in milliseconds.
        trip_ms: Option<f64>,
        /// Whether it refuses uploads.
        read_only: bool,
        /// What it says of itself.
        #[serde(flatten)]
        state: &'a State,
        /// Why it is not up.
        why: Option<&'a str>,
    },
    /// A file was found at a peer.
    Found {
        /// Its name there.
        name: &'a str,
        /// Bytes.
        size: Option<u64>,
        /// Its content id; null while it is not hashed.
        id: Option<String>,
        /// Who has it.
        peer: &'a str,
        /// How much of it.
        percent: u32,
    },
    /// Something is begun here and not complete.
    Part {
        /// What it is to be called.
        name: Option<&'a str>,
        /// What it is.
        id: Option<String>,
        /// Its length in bytes.
        size: Option<u64>,
        /// Bytes of it that are good for certain.
        good: u64,
        /// Bytes that it takes on the disk.
        stored: u64,
        /// Seconds since it was written to.
        age: u64,
        /// Whether somebody is at it.
        in_use: bool,
        /// Whether it was deleted.
        cleared: bool,
    },
    /// Something was put into the served folder.
    Published {
        /// What it is called there.
        name: &'a str,
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// How, in words.
        how: &'a str,
        /// Files that were there already.
        there: u64,
        /// What could not be published.
        left_out: u64,
    },
    /// A command that runs beside the prompt.
    Job {
        /// Its number, for `#CANCEL`.
        number: u32,
        /// As it was typed.
        line: &'a str,
        /// How long it runs.
        seconds: u64,
        /// How far its transfers are, in words.
        transfers: &'a [&'a str],
    },
    /// A torrent was made.
    Created {
        /// The file that describes it.
        file: &'a str,
        /// SHA-256 of its info.
        info_hash: &'a str,
        /// Files that it describes.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A file here is not what it was, though nothing says that it was written to.
    Damaged {
        /// Its name.
        name: &'a str,
        /// What it was.
        was: &'a str,
        /// What it is.
        is: &'a str,
    },
    /// A file here was written to since it was hashed last.
    Changed {
        /// Its name.
        name: &'a str,
        /// What it was.
        was: &'a str,
        /// What it is.
        is: &'a str,
    },
    /// Files were hashed again.
    Verified {
        /// Files that are what they were.
        same: u64,
        /// Files that were written to since.
        changed: u64,
        /// Files that were hashed for the first time.
        fresh: u64,
        /// Files that are damaged or cannot be read.
        failed: u64,
        /// Bytes of all.
        bytes: u64,
    },
    /// A file or folder was transferred, or is there already.
    Transferred(Transferred<'a>),
    /// What would be transferred, with `--dry-run`.
    Planned(Transferred<'a>),
    /// A command is done.
    Summary {
        /// Which command, in lower case and without `#`; empty where a line was none.
        command: &'a str,
        /// Its exit code.
        exit: u8,
        /// What that means.
        meaning: &'a str,
    },
}

/// How one transfer ended well.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Transferred<'a> {
    /// `download` or `upload`.
    pub direction: &'static str,
    /// The file, or what was typed of a folder.
    pub name: &'a str,
    /// To whom, of an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<&'a str>,
    /// Bytes that came in this transfer.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Files that came, of a folder 0 or more.
    pub files: u64,
    /// Files that were there already.
    pub there: u64,
    /// Files that failed.
    pub failed: u64,
    /// From whom, of a download.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub sources: &'a [Contribution],
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    #[serde(flatten)]
    said: &'a Said<'a>,
}

impl Said<'_> {
    /// The object as a line.
    pub fn line(&self) -> String {
        let line = serde_json::to_string(&Line { schema: SCHEMA, said: self });
        // Nothing in here can fail to be written.
        line.map(|line| line + "\n").unwrap_or_default()
    }
}
