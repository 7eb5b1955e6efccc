//! The arrows between the rooms of `src/`, told as absences and looked for in the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file without its tests.
struct Source {
    /// Relative to `src/`.
    path: String,
    /// Its lines with their numbers, comments cut off.
    lines: Vec<(usize, String)>,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                found.push(path)
            }
            false => {}
        }
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of `src/`, without what is compiled for tests and fuzzing only.
fn sources() -> Vec<Source> {
    let (root, mut paths) = (project().join("src"), Vec::new());
    files(&root, &mut paths);
    let apart = |path: &PathBuf| {
        let mut parts = path.components().map(|part| part.as_os_str());
        parts.any(|part| ["tests", "fuzzing", "fuzzing.rs"].iter().any(|apart| part == *apart))
    };
    let paths = paths.into_iter().filter(|path| !apart(path));
    paths
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            // Tests stand at the bottom.
            let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
            let lines = text[..tests].lines().enumerate();
            let lines = lines.map(|(i, line)| (i + 1, code(line))).collect();
            Source { path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), lines }
        })
        .collect()
}

/// Nobody but those whose path begins so says any of these words.
#[track_caller]
fn only(allowed: &[&str], words: &[&str]) {
    forbidden(|path| !allowed.iter().any(|allowed| path.starts_with(allowed)), words);
}

/// Nobody whose path begins so says any of these words.
#[track_caller]
fn never(room: &str, words: &[&str]) {
    forbidden(|path| path.starts_with(room), words);
}

#[track_caller]
fn forbidden(concerns: impl Fn(&str) -> bool, words: &[&str]) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| concerns(&source.path)) {
        for (number, line) in &source.lines {
            if words.iter().any(|word| has_word(line, word)) {
                found.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{words:?} must not be said here:\n{}", found.join("\n"));
}

/// Whether `word` stands in the line and is not the end of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        !word.starts_with(is_name) || !line[..at].chars().next_back().is_some_and(is_name)
    })
}

#[test]
fn only_the_store_opens_files() {
    let words = ["std::fs", "fs::File", "File::open", "File::create", "OpenOptions"];
    only(&["store/", "topology", "demo.rs"], &words);
}

#[test]
fn the_store_asks_the_system_in_one_place() {
    // A name becomes an open file, and anything changes, through these calls alone, which follow
    // no link; `folder` decides which links count.
    let opening = ["openat(", "openat2(", "rustix::fs::open(", "File::open(", "File::create("];
    let changing =
        ["mkdirat(", "renameat(", "renameat_with(", "linkat(", "unlinkat(", "fallocate("];
    let syncing = [".sync_all()", ".sync_data()", "syncfs(", ".set_len(", ".write_all_at("];
    let setting = [".set_times(", ".set_permissions(", ".try_clone()"];
    // Paths that the user of this machine names, and those that the system keeps for us.
    let own = [
        "store/calls.rs",
        "store/elsewhere.rs",
        "store/lent.rs",
        "store/publish.rs",
        "store/xdg.rs",
    ];
    let is_store = |path: &str| path.starts_with("store/");
    let concerns = |path: &str| is_store(path) && !own.contains(&path);
    forbidden(
        |path| concerns(path) && path != "store/attributes.rs" && path != "store/folder.rs",
        &opening,
    );
    for words in [&changing[..], &syncing, &setting] {
        forbidden(concerns, words);
    }
    // By path, and so through links, only the served folder itself is reached, and those.
    let by_path = ["fs::read", "fs::metadata", "read_dir", "canonicalize", "CWD", "create_dir"];
    let own = [&own[1..], &["store/disk.rs", "store/folder.rs"]].concat();
    forbidden(|path| is_store(path) && !own.contains(&path), &by_path);
}

#[test]
fn only_the_transport_knows_sockets() {
    only(&["transport/"], &["TcpStream", "TcpListener", "UnixStream", "UdpSocket", "socket2"]);
    only(&["transport/", "topology", "server/", "demo.rs"], &["std::net", "SocketAddr"]);
}

#[test]
fn only_one_place_starts_threads() {
    only(&["threads.rs"], &["thread::Builder", "thread::spawn", ".spawn(", "spawn_scoped"]);
    let rooms = ["crate::store", "crate::wire", "crate::transport", "crate::config"];
    never("threads.rs", &rooms);
}

#[test]
fn only_one_place_knows_of_poisoned_locks() {
    let allowed = ["locks.rs"];
    only(&allowed, &["PoisonError", "poisoned", "is_poisoned", "clear_poison", "LockResult"]);
    only(&allowed, &[".wait_timeout(", ".wait_timeout_while(", ".wait_while("]);
    let rooms = ["crate::store", "crate::wire", "crate::transport", "crate::config"];
    never("locks.rs", &rooms);
}

#[test]
fn only_the_client_and_the_programs_print() {
    only(&["client/", "bin/", "demo.rs"], &["println!", "print!", "io::stdout", "stdout()"]);
    never("", &["dbg!", "todo!", "unimplemented!"]);
}

#[test]
fn content_is_pure() {
    never(
        "content/",
        &[
            "std::fs",
            "File::",
            "std::io",
            "std::thread",
            "thread::",
            "Instant",
            "SystemTime",
            "Mutex",
        ],
    );
    let rooms =
        ["crate::store", "crate::wire", "crate::transport", "crate::connection", "crate::fetch"];
    never("content/", &rooms);
    never("content/", &["crate::serve", "crate::server", "crate::client", "crate::topology"]);
}

#[test]
fn the_wire_knows_no_socket() {
    never(
        "wire/",
        &["std::net", "crate::connection", "crate::store", "crate::serve", "crate::fetch"],
    );
}

#[test]
fn the_store_knows_no_peer() {
    let rooms =
        ["crate::wire", "crate::transport", "crate::connection", "crate::fetch", "crate::serve"];
    never("store/", &rooms);
    never("store/", &["crate::server", "crate::client", "crate::topology"]);
}

#[test]
fn serving_and_fetching_do_not_know_each_other_nor_who_uses_them() {
    never("serve/", &["crate::fetch", "crate::server", "crate::client"]);
    never("fetch/", &["crate::serve", "crate::server", "crate::client"]);
    never("server/", &["crate::client"]);
    never("classic/", &["crate::serve", "crate::server", "crate::client"]);
    only(&["classic/", "server/", "client/"], &["crate::classic"]);
    never("client/", &["crate::server"]);
    for low in ["transport/", "connection.rs", "topology", "wire/"] {
        never(
            low,
            &["crate::serve", "crate::fetch", "crate::server", "crate::client", "crate::store"],
        );
    }
}

#[test]
fn nothing_is_unsafe_and_nothing_unwraps() {
    let lib = fs::read_to_string(project().join("src/lib.rs")).unwrap();
    assert!(lib.contains("#![forbid(unsafe_code)]"));
    never("", &["unsafe {", "unsafe fn", "unsafe impl"]);
    never("", &[".unwrap()", ".expect(", ".unwrap_err()", "panic!", "unreachable!"]);
}

#[test]
fn no_async_runtime_is_in_the_dependency_tree() {
    let lock = fs::read_to_string(project().join("Cargo.lock")).unwrap();
    for name in ["tokio", "async-std", "smol", "mio", "async-io", "futures-executor"] {
        assert!(!lock.contains(&format!("name = \"{name}\"")), "{name} is in Cargo.lock");
    }
}

#[test]
fn files_are_short() {
    for source in sources() {
        let lines = source.lines.len();
        assert!(lines < 400, "src/{} has {lines} lines without its tests", source.path);
    }
}

#[test]
fn no_test_sleeps_is_ignored_or_chooses_a_port() {
    let mut paths = Vec::new();
    files(&project().join("tests"), &mut paths);
    files(&project().join("src"), &mut paths);
    // Put together here, so that this file does not find itself.
    let words =
        [["thread::", "sleep"].concat(), ["sleep", "("].concat(), ["#[ign", "ore"].concat()];
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        for word in &words {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
}
