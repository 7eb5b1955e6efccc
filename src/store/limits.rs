//! What the system lets this process have: how many open files, and how long ones.

use std::sync::{Arc, OnceLock};

use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

use crate::config;

/// Makes a write beyond the size that this process may give a file (`ulimit -f`) an error; the
/// system would end the process without a word.
pub fn survive_size_limit() {
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        log::debug!("a file that grows beyond ulimit -f will end this program: {error}");
    }
}

/// Lets the process open as many files as the system allows; many systems begin with fewer than a
/// server has sessions. Says how many that are.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::debug!("the limit of open files stays as it is: {error}");
    }
    may_be_open()
}

/// Folders that a group keeps open for the files that go into them, at most: all groups of a
/// transfer together take no more than a quarter of the files that may be open.
pub(super) fn open_folders() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let groups = config::cores().min(config::MAX_VERIFIERS) as u64;
        let share = may_be_open() / 4 / groups.max(1);
        usize::try_from(share).unwrap_or(usize::MAX).clamp(1, config::OPEN_FOLDERS)
    })
}

fn may_be_open() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
