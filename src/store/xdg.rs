//! Where programs of this user keep what they may (XDG base directories).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// What can be made again.
pub(super) fn cache_folder() -> Option<PathBuf> {
    set("XDG_CACHE_HOME").or_else(|| home(".cache"))
}

/// A file of our own that is kept between runs, such as a history; its folder is made, for this
/// user alone. `None` where that is not possible.
pub fn state_file(name: &str) -> Option<PathBuf> {
    let folder = set("XDG_STATE_HOME").or_else(|| home(".local/state"))?.join("peershare");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join(name))
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn home(below: &str) -> Option<PathBuf> {
    set("HOME").map(|home| home.join(below))
}
