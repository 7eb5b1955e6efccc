//! What can go wrong with files on disk, told so that a user knows what to try.

use std::io;

use rustix::io::Errno;

use crate::content::layout::BadLayout;
use crate::content::name::BadName;
use crate::content::pattern::BadPattern;
use crate::content::{FileName, Root};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No file has that name.
    #[error("there is no file {name}")]
    NotFound {
        /// What was asked for.
        name: FileName,
    },
    /// No file here has that content any more, or none ever had.
    #[error("no file here has the content {}", root.short())]
    NoSuchContent {
        /// What was asked for.
        root: Root,
    },
    /// The file was written to since, or while, it was read.
    #[error("{name} changed while it was read; try again when nobody writes to it")]
    Changed {
        /// Which file.
        name: FileName,
    },
    /// The text cannot name a file.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// A link on the way to the file leads out of the served folder.
    #[error(
        "{name} leads out of the served folder through a link, which is not followed; remove the link"
    )]
    Outside {
        /// Which name.
        name: FileName,
    },
    /// Something else has that name: a folder, a FIFO, a device.
    #[error("{name} is not a regular file")]
    NotAFile {
        /// Which name.
        name: FileName,
    },
    /// A link that leads to nothing has that name.
    #[error("{name} is a link that leads to nothing")]
    DeadLink {
        /// Which name.
        name: FileName,
    },
    /// Something that is no file has the name that a file is to get.
    #[error(
        "{by} has the name {name} already, and nothing replaces it; move it away and try again"
    )]
    Blocked {
        /// Which name.
        name: FileName,
        /// What has it, as in `a folder`.
        by: &'static str,
    },
    /// A part of the name before its last `/` is a file, so nothing can be put beneath it.
    #[error(
        "{name} cannot be put there, because {part} is a file and no folder; move it away and try again"
    )]
    NotAFolder {
        /// Which name.
        name: FileName,
        /// Which part of it is a file.
        part: String,
    },
    /// The disk is too full.
    #[error(
        "no space for {name}: {needed} bytes are needed and {free} are free; make room and try again"
    )]
    NoSpace {
        /// The file that does not fit.
        name: FileName,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk is too full for all files of a folder together.
    #[error(
        "no space for all of it: {needed} bytes are needed and {free} are free; make room and try again"
    )]
    NoRoom {
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk is too full for something else, such as one more name, or a quota is used up.
    #[error("{what}: {error}; make room, or remove some files, and try again")]
    Full {
        /// What failed, for which file.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file is larger than a file may be here.
    #[error(
        "{name} is larger than a file may be here; raise the limit of this program (ulimit -f), or use a disk whose file system takes such files"
    )]
    TooLarge {
        /// The file that is too large.
        name: FileName,
    },
    /// The file is larger than this peer takes.
    #[error("{name} has {length} bytes, and this peer takes no files of more than {largest}")]
    OverLimit {
        /// The file that is too large.
        name: FileName,
        /// Its length in bytes.
        length: u64,
        /// What is taken, in bytes.
        largest: u64,
    },
    /// Other content took the name while the file was received.
    #[error("{name} appeared while it was received; what was received is kept, try again")]
    InTheWay {
        /// Which name.
        name: FileName,
    },
    /// The file says that it is empty and is not, as those that the system makes up while they are
    /// read.
    #[error(
        "{name} says that it has 0 bytes and has more, as files in /proc do; copy it to an ordinary file first"
    )]
    NoSize {
        /// Which file.
        name: FileName,
    },
    /// What should be the served folder is none.
    #[error("{path} is no folder; name a folder with --served-files")]
    NoFolder {
        /// Which path.
        path: String,
    },
    /// The served folder is not where it was any more.
    #[error("the served folder {folder} is not there any more; mount it or make it again")]
    Gone {
        /// Which folder.
        folder: String,
    },
    /// Another folder took the place of the served one while a file was received into it.
    #[error("another folder came to {folder} while the file was received; try again")]
    Moved {
        /// Which folder.
        folder: String,
    },
    /// Nothing can be received into the served folder.
    #[error("nothing can be received into {folder} ({why})")]
    Closed {
        /// Which folder.
        folder: String,
        /// What the system said.
        why: String,
    },
    /// Another server serves the folder already.
    #[error(
        "{who} serves {folder} already; end that server, or serve another folder with --served-files"
    )]
    Held {
        /// Which folder.
        folder: String,
        /// Which server.
        who: String,
    },
    /// The file system cannot hold that name.
    #[error("the file system that {name} would go to cannot hold such a name; choose another one")]
    Unholdable {
        /// Which name.
        name: FileName,
    },
    /// The part file still lacks chunks.
    #[error("{name} lacks {missing} chunks")]
    Incomplete {
        /// Which file.
        name: FileName,
        /// How many chunks.
        missing: u32,
    },
    /// A chunk that was verified against another file's manifest.
    #[error("the chunk belongs to another file than {name}")]
    OtherFile {
        /// The file it was to become part of.
        name: FileName,
    },
    /// The file is being received, and the chunk is not here yet.
    #[error("that chunk of {name} is not here yet")]
    NotYet {
        /// Which file.
        name: FileName,
    },
    /// A chunk that the file does not have was asked for.
    #[error("{name} has no chunk {number} of {chunk_size} bytes")]
    NoSuchChunk {
        /// Which file.
        name: FileName,
        /// The number that was asked for.
        number: u32,
        /// The size in bytes that was asked for.
        chunk_size: u32,
    },
    /// The folder is being received, and the unit is not here yet.
    #[error("unit {number} of that folder is not here yet")]
    NoUnitYet {
        /// Which unit.
        number: u32,
    },
    /// A unit that the folder does not have was asked for.
    #[error("that folder has no unit {number}")]
    NoSuchUnit {
        /// The number that was asked for.
        number: u32,
    },
    /// The caller gave up, or the store was closed.
    #[error("interrupted")]
    Interrupted,
    /// The pattern of a listing is not a glob.
    #[error(transparent)]
    BadPattern(#[from] BadPattern),
    /// Whatever else the system refused.
    #[error("{what}: {error}")]
    Io {
        /// What failed, for which file.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Whether the system was short of descriptors or memory, which says nothing of a file.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// Whether a disk is full, or a quota used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

impl StoreError {
    /// Whether it helps to make room.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::NoRoom { .. } | Self::Full { .. })
    }

    /// Whether it may be gone in a moment: the system was short of descriptors or memory.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_shortage(error))
    }

    /// The system gave us no thread for the work.
    pub fn no_thread(error: io::Error) -> Self {
        Self::Io { what: "cannot go on".to_owned(), error }
    }

    /// An I/O error with what was attempted, such as `cannot read x`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| match is_full(&error) {
            true => Self::Full { what, error },
            false => Self::Io { what, error },
        }
    }

    /// A chunk size that does not fit the file.
    pub(super) fn layout(name: &FileName) -> impl FnOnce(BadLayout) -> Self {
        let what = format!("cannot cut {name}");
        move |bad| Self::Io { what, error: io::Error::new(io::ErrorKind::InvalidInput, bad) }
    }

    /// An error met on the way to `name` when a file is read, in the words of this enum.
    pub(super) fn reaching(name: &FileName) -> impl FnOnce(io::Error) -> Self {
        let name = name.clone();
        move |error| match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Self::NotFound { name },
            Some(Errno::XDEV | Errno::LOOP) => Self::Outside { name },
            _ => Self::io(format!("cannot open {name}"))(error),
        }
    }

    /// The same error once more, for another who waited for the same thing.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::NotFound { name } => Self::NotFound { name: name.clone() },
            Self::Changed { name } => Self::Changed { name: name.clone() },
            Self::Outside { name } => Self::Outside { name: name.clone() },
            Self::NotAFile { name } => Self::NotAFile { name: name.clone() },
            Self::DeadLink { name } => Self::DeadLink { name: name.clone() },
            Self::Interrupted => Self::Interrupted,
            Self::Moved { folder } => Self::Moved { folder: folder.clone() },
            Self::Io { what, error } | Self::Full { what, error } => {
                let same = error.raw_os_error().map(io::Error::from_raw_os_error);
                Self::io(what)(same.unwrap_or_else(|| error.kind().into()))
            }
            other => Self::Io { what: other.to_string(), error: io::ErrorKind::Other.into() },
        }
    }
}
