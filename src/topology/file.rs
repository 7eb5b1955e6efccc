//! Finding and reading the settings, and noticing that they were edited.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use super::{BadLine, KeptApart, Topology};
use crate::config;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// None of the places that are looked at has the file.
    #[error(
        "no peer_settings.txt in . or ..; write one (a line a peer: peerID address port), or name it with --peer-settings FILE"
    )]
    NotFound,
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line of the file is wrong.
    #[error("{}, {bad}", path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// Line and reason.
        bad: BadLine,
    },
}

/// A topology together with the file it came from, so that an edit is noticed.
#[derive(Debug)]
pub struct TopologyFile {
    path: PathBuf,
    seen: Seen,
    current: Topology,
}

/// What the settings and the file beside them looked like; a change of either is an edit.
type Seen = [Option<Stamp>; 2];

/// Length and modification time.
type Stamp = (u64, Option<SystemTime>);

impl TopologyFile {
    /// Finds and reads the settings: `named` (from the command line), else the file that
    /// `$PEERSHARE_PEER_SETTINGS` names, else `./peer_settings.txt`, else `../peer_settings.txt`.
    pub fn find(named: Option<&Path>) -> Result<Self, SettingsError> {
        let from_environment =
            || std::env::var_os(config::PEER_SETTINGS_VARIABLE).map(PathBuf::from);
        if let Some(path) = named.map(Path::to_owned).or_else(from_environment) {
            return Self::read(&path);
        }
        let usual = [".", ".."].map(|folder| Path::new(folder).join(config::PEER_SETTINGS_FILE));
        match usual.iter().find(|path| path.exists()) {
            Some(path) => Self::read(path),
            None => Err(SettingsError::NotFound),
        }
    }

    /// Reads the settings from that file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let seen = seen(path);
        let current = load(path)?;
        Ok(Self { path: path.to_owned(), seen, current })
    }

    /// Where the settings came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The topology that is in force.
    pub fn current(&self) -> &Topology {
        &self.current
    }

    /// Looks whether the file was edited and reads it again if so. Says whether the topology is
    /// another one now. A file that has become bad, or is gone, is an error once; the old topology
    /// stays in force.
    pub fn reload(&mut self) -> Result<bool, SettingsError> {
        let seen = seen(&self.path);
        if seen == self.seen {
            return Ok(false);
        }
        self.seen = seen;
        self.read_again()
    }

    /// Reads the file again, even if it seems the same. Says whether the topology is another one
    /// now; after an error the old one stays in force.
    pub fn read_again(&mut self) -> Result<bool, SettingsError> {
        let fresh = load(&self.path)?;
        let changed = fresh != self.current;
        self.current = fresh;
        Ok(changed)
    }
}

fn seen(path: &Path) -> Seen {
    let stamp = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    };
    [stamp(path), stamp(&beside(path))]
}

/// Where more is said of the peers of these settings.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(config::PEER_KEYS_FILE)
}

fn load(path: &Path) -> Result<Topology, SettingsError> {
    let mut topology: Topology = parse(path, read(path)?)?;
    let beside = beside(path);
    match read_regular(&beside) {
        Ok(text) => {
            let apart: KeptApart = parse(&beside, text)?;
            topology.add(&apart).map_err(|bad| SettingsError::Bad { path: beside, bad })?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SettingsError::Unreadable { path: beside, error }),
    }
    Ok(topology)
}

fn read(path: &Path) -> Result<String, SettingsError> {
    read_regular(path).map_err(|error| SettingsError::Unreadable { path: path.to_owned(), error })
}

/// Reads a file that is one: opening a FIFO waits for somebody who writes into it.
fn read_regular(path: &Path) -> io::Result<String> {
    match fs::metadata(path)?.is_file() {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn parse<T: FromStr<Err = BadLine>>(path: &Path, text: String) -> Result<T, SettingsError> {
    text.parse().map_err(|bad| SettingsError::Bad { path: path.to_owned(), bad })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::PeerId;

    #[test]
    fn an_edit_is_noticed_and_a_bad_one_leaves_the_old_topology_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        fs::write(&path, "a 127.0.0.1 1\n").unwrap();
        let mut file = TopologyFile::read(&path).unwrap();
        assert!(!file.reload().unwrap());
        fs::write(&path, "a 127.0.0.1 1\nb 127.0.0.1 2\n").unwrap();
        assert!(file.reload().unwrap());
        fs::write(&path, "nonsense").unwrap();
        let error = file.reload().unwrap_err().to_string();
        assert!(error.contains("peers, line 1: found \"nonsense\""), "{error}");
        assert_eq!(file.current().peers().len(), 2);
        assert!(!file.reload().unwrap(), "a bad file is reported once");
    }

    #[test]
    fn the_sample_is_read_as_older_programs_read_it() {
        // They split a line at its blanks, take the first three words, and know no comment.
        let sample = include_str!("../../peer_settings.txt");
        for line in sample.split_terminator('\n') {
            let [id, address, port] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not three words: {line:?}")
            };
            assert!(id.parse::<PeerId>().is_ok() && port.parse::<u16>().is_ok(), "{line:?}");
            assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "they know IPv4 only: {line:?}");
        }
        assert!(!sample.contains("\n\n") && !sample.contains('\r') && sample.is_ascii());
        assert_eq!(sample.parse::<Topology>().unwrap().peers().len(), 3);
    }

    /// Settings and what is said beside them.
    fn both(
        settings: &str,
        apart: &str,
    ) -> (tempfile::TempDir, Result<TopologyFile, SettingsError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        fs::write(&path, settings).unwrap();
        fs::write(folder.path().join(config::PEER_KEYS_FILE), apart).unwrap();
        (folder, TopologyFile::read(&path))
    }

    #[test]
    fn more_may_be_said_of_a_peer_in_a_file_beside() {
        let (folder, file) = both("a 127.0.0.1 1\nb 127.0.0.1 2\n", "# older ones\n\nb classic\n");
        let mut file = file.unwrap();
        let classic = |file: &TopologyFile| -> Vec<bool> {
            file.current().peers().iter().map(|peer| peer.classic).collect()
        };
        assert_eq!(classic(&file), [false, true]);
        fs::remove_file(folder.path().join(config::PEER_KEYS_FILE)).unwrap();
        assert!(file.reload().unwrap(), "that the file is gone was not noticed");
        assert_eq!(classic(&file), [false, false]);
        fs::write(folder.path().join(config::PEER_KEYS_FILE), "a classic\n").unwrap();
        assert!(file.reload().unwrap(), "that the file is there was not noticed");
        assert_eq!(classic(&file), [true, false]);
    }

    #[test]
    fn groups_may_stand_in_either_place_but_not_differ() {
        let groups = |file: &TopologyFile| -> Vec<String> {
            file.current()
                .peers()
                .iter()
                .flat_map(|peer| peer.groups.iter())
                .map(ToString::to_string)
                .collect()
        };
        let (_folder, file) = both("a 127.0.0.1 1 group=lab,old\nb 127.0.0.1 2\n", "b group=lab\n");
        assert_eq!(groups(&file.unwrap()), ["lab", "old", "lab"]);
        let (_folder, file) = both("# peers\na 127.0.0.1 1 group=lab\n", "\na group=render\n");
        let error = file.unwrap_err().to_string();
        assert!(
            error.contains("peer_keys.txt, line 2: the groups of a are other ones in line 2"),
            "{error}"
        );
        let (_folder, file) = both("a 127.0.0.1 1 group=lab classic\n", "a group=lab\n");
        assert!(file.is_ok());
    }

    #[test]
    fn mistakes_beside_are_named_with_their_file_and_line() {
        let error = |apart: &str| both("a 127.0.0.1 1\n", apart).1.unwrap_err().to_string();
        for (apart, words) in [
            ("a quick\n", "peer_keys.txt, line 1: unexpected \"quick\""),
            ("a\n", "peer_keys.txt, line 1: nothing is said of a; expected: peerID [classic]"),
            (
                "a classic\na classic\n",
                "peer_keys.txt, line 2: peer id a is already taken by line 1",
            ),
            ("a group=lab,\n", "peer_keys.txt, line 1: \"\" is not a group"),
            ("-a classic\n", "peer_keys.txt, line 1: \"-a\" is not a peer id"),
        ] {
            assert!(error(apart).contains(words), "{:?}", error(apart));
        }
    }
}
