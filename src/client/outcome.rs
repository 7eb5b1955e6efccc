//! How it went, for scripts: exit codes, and how the outcomes of several peers or commands add up.

use std::process::ExitCode;

/// How a command, or the whole run of a program, ended. The number is the exit code.
///
/// The variants are in the order in which they win over one another when peers fail in several
/// ways; see [`ExitStatus::of_peers`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ExitStatus {
    /// All that was asked for was done.
    Success = 0,
    /// Something failed that has no code of its own; the message says what.
    Failed = 1,
    /// The command line, the command or the settings are wrong; nothing was done.
    Usage = 2,
    /// A peer could not be reached.
    Unreachable = 3,
    /// No peer has such a file, or there is none here to upload.
    NoSuchFile = 4,
    /// Another file of that name is in the way, or the sources disagree about what the name means.
    Refused = 5,
    /// What was received is not what the file's id promises, or the file changed while being read.
    Integrity = 6,
    /// Some peers did what was asked and others failed.
    SomePeersFailed = 7,
    /// All that could be copied or listed was, but something that was asked for was left out.
    Incomplete = 8,
    /// No space is left where the file should go.
    NoSpace = 9,
    /// Ctrl-C; verified chunks stay, and the same command continues.
    Interrupted = 130,
}

impl ExitStatus {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::NoSuchFile,
        Self::Refused,
        Self::Integrity,
        Self::SomePeersFailed,
        Self::Incomplete,
        Self::NoSpace,
        Self::Interrupted,
    ];

    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What the code means: a line of the tables in `--help` and in the README.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all well",
            Self::Failed => "anything not listed here",
            Self::Usage => "wrong usage or settings; nothing was done",
            Self::Unreachable => "a peer is unreachable, or too busy",
            Self::NoSuchFile => "no such file, here or at any peer that could be asked",
            Self::Refused => {
                "refused: something is in the way or being received, sources disagree, or a peer says no"
            }
            Self::Integrity => {
                "integrity: bytes do not match the id, or the file changed while it was read"
            }
            Self::SomePeersFailed => {
                "some peers, or some files of a folder, failed; others succeeded"
            }
            Self::Incomplete => {
                "incomplete: some of what was asked for cannot be copied or listed; the rest was"
            }
            Self::NoSpace => "no space left, or a file is too large for the disk",
            Self::Interrupted => "interrupted; the same command continues",
        }
    }

    /// Whether all went well.
    pub fn is_success(self) -> bool {
        self == Self::Success
    }

    /// The outcome of one command from those of its peers. An interruption wins. All alike: that
    /// one. Some successes and some failures: [`Self::SomePeersFailed`]. Only failures, of several
    /// kinds: the one with the highest code, which says most. No failure, but something was left
    /// out: [`Self::Incomplete`]. No peers at all: success.
    pub fn of_peers(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let (mut worst, mut succeeded, mut incomplete) = (Self::Success, false, false);
        for outcome in outcomes {
            succeeded |=
                matches!(outcome, Self::Success | Self::SomePeersFailed | Self::Incomplete);
            match outcome {
                Self::Incomplete => incomplete = true,
                other => worst = worst.max(other),
            }
        }
        match worst {
            Self::Success if incomplete => Self::Incomplete,
            Self::Success | Self::Interrupted => worst,
            _ if succeeded => Self::SomePeersFailed,
            _ => worst,
        }
    }

    /// The outcome of several commands, one after the other: the first failure stays, and an
    /// interruption, which ends the run, wins.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Success, _) | (_, Self::Interrupted) => next,
            _ => self,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::ExitStatus::*;
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_rely_on() {
        let codes: Vec<u8> = ExitStatus::ALL.into_iter().map(ExitStatus::code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
    }

    #[test]
    fn peers_that_all_end_alike_give_that_outcome() {
        assert_eq!(ExitStatus::of_peers([]), Success);
        assert_eq!(ExitStatus::of_peers([Success, Success]), Success);
        assert_eq!(ExitStatus::of_peers([Unreachable, Unreachable]), Unreachable);
    }

    #[test]
    fn some_failures_among_successes_are_told_apart_from_failure() {
        assert_eq!(ExitStatus::of_peers([Success, Unreachable, Refused]), SomePeersFailed);
        assert_eq!(ExitStatus::of_peers([SomePeersFailed, Unreachable]), SomePeersFailed);
    }

    #[test]
    fn failures_of_several_kinds_give_the_one_that_says_most() {
        assert_eq!(ExitStatus::of_peers([Failed, Unreachable]), Unreachable);
        assert_eq!(ExitStatus::of_peers([NoSpace, Integrity, Unreachable]), NoSpace);
    }

    #[test]
    fn what_was_left_out_counts_where_nothing_failed() {
        assert_eq!(ExitStatus::of_peers([Success, Incomplete]), Incomplete);
        assert_eq!(ExitStatus::of_peers([Incomplete, Unreachable]), SomePeersFailed);
        assert_eq!(ExitStatus::of_peers([Incomplete, Interrupted]), Interrupted);
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../../README.md");
        for status in ExitStatus::ALL {
            let line = format!("| {} | {} |", status.code(), status.meaning());
            assert!(readme.contains(&line), "README.md lacks {line:?}");
        }
    }

    #[test]
    fn an_interruption_wins() {
        assert_eq!(ExitStatus::of_peers([Success, Interrupted, Failed]), Interrupted);
        assert_eq!(Unreachable.then(Interrupted), Interrupted);
    }

    #[test]
    fn the_first_failure_of_several_commands_stays() {
        let all = [Success, NoSuchFile, Success, Unreachable];
        assert_eq!(all.into_iter().fold(Success, ExitStatus::then), NoSuchFile);
    }
}
