//! Three peers in one process, for the first minute: makes sample files in a temporary folder,
//! starts three servers on loopback, does every command once and checks the results.
//!
//! It is a room of its own because it is the only place that names both sides, client and server.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::client::{self, Command, ExitStatus, Manner, Program, Typed, output};
use crate::config;
use crate::connection::Identity;
use crate::logging::Logging;
use crate::serve::Rights;
use crate::server::{Host, Limits, Server};
use crate::store::Store;
use crate::topology::PeerId;
use crate::transport::tcp::Listener;

/// Length in bytes of the large sample; long enough that all three peers have their share in it.
const LARGE: usize = 64 << 20;

/// The peers of the demo.
const PEERS: [&str; 3] = ["peer1", "peer2", "peer3"];

/// Whose client the demo runs; not a peer of its own.
const YOU: &str = "you";

/// Runs the demo, and then the prompt where there is a terminal to type at.
pub fn run(logging: Logging) -> ExitStatus {
    match Demo::new(logging).and_then(|demo| demo.show()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: the demo failed: {error}");
            ExitStatus::Failed
        }
    }
}

/// The network of the demo; all of it goes when this is dropped.
struct Demo {
    logging: Logging,
    /// Ended before the folder goes.
    servers: Vec<Server>,
    folder: tempfile::TempDir,
}

impl Demo {
    fn new(logging: Logging) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("peershare-demo-").tempdir()?;
        Ok(Self { logging, servers: Vec::new(), folder })
    }

    fn show(mut self) -> Result<ExitStatus, Box<dyn Error>> {
        say(&format!("making sample files in {}", self.folder.path().display()))?;
        self.make_samples()?;
        self.start_peers()?;
        self.command(&["filelist"])?;
        self.command(&["download", "large.bin"])?;
        self.verify(&[self.own("large.bin")], &self.served("peer1", "large.bin"))?;
        self.command(&["upload", "holiday.bin"])?;
        let uploaded = PEERS.map(|peer| self.served(peer, "holiday.bin"));
        self.verify(&uploaded, &self.own("holiday.bin"))?;
        self.command(&["filelist"])?;
        say("all is well: what came is what was sent")?;
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(ExitStatus::Success);
        }
        say(
            "the three peers run until you leave; type #HELP, or #QUIT to end and delete everything",
        )?;
        Ok(client::run(&self.typed(None)))
    }

    fn make_samples(&self) -> io::Result<()> {
        let large = noise(1, LARGE);
        for peer in PEERS {
            let folder = self.folder_of(peer);
            fs::create_dir_all(folder.join("notes"))?;
            fs::write(folder.join("large.bin"), &large)?;
            fs::write(
                folder.join("notes").join(format!("{peer}.txt")),
                format!("greetings from {peer}\n"),
            )?;
        }
        fs::create_dir_all(self.folder_of(YOU))?;
        fs::write(self.own("holiday.bin"), noise(2, LARGE / 4))
    }

    fn start_peers(&mut self) -> Result<(), Box<dyn Error>> {
        let mut settings = String::from("# the peers of the demo: peerID address port\n");
        for peer in PEERS {
            let listener = Listener::bind(&[([127, 0, 0, 1], 0).into()])?;
            let address = listener.address()?;
            settings += &format!("{peer} {} {}\n", address.ip(), address.port());
            let id: PeerId = peer.parse()?;
            let store = Store::open(&self.folder_of(peer))?;
            store.hash_all();
            let identity = Identity { peer: Some(id), read_only: false };
            let host = Host::new(store, identity, Rights::default(), Limits::default());
            self.servers.push(Server::start(listener, host, None)?);
        }
        fs::write(self.settings(), settings)?;
        Ok(say(&format!(
            "three peers listen on loopback; they stand in {}",
            self.settings().display()
        ))?)
    }

    /// Shows a command as it would be typed, and does it.
    fn command(&self, words: &[&str]) -> Result<(), Box<dyn Error>> {
        let words_typed: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let typed = self.typed(Typed::parse(&words_typed)?.command);
        let settings = self.settings();
        let shown = format!(
            "\n$ client --peer-settings {} --served-files {} {}",
            settings.display(),
            typed.program.served_files.display(),
            words.join(" ")
        );
        say(&shown)?;
        match client::run(&typed) {
            ExitStatus::Success => Ok(()),
            status => Err(format!("that ended with exit code {}", status.code()).into()),
        }
    }

    /// Compares files byte by byte, by the SHA-256 of all of them.
    fn verify(&self, copies: &[PathBuf], original: &Path) -> Result<(), Box<dyn Error>> {
        let expected = sha256(original)?;
        for copy in copies {
            if sha256(copy)? != expected {
                return Err(
                    format!("{} differs from {}", copy.display(), original.display()).into()
                );
            }
            say(&format!("sha256 {expected}  {}", copy.display()))?;
        }
        Ok(())
    }

    fn typed(&self, command: Option<Command>) -> Typed {
        let (peer_settings, served_files) = (Some(self.settings()), self.folder_of(YOU));
        let program =
            Program { peer_settings, served_files, logging: self.logging, ..Program::default() };
        Typed { program, manner: Manner::default(), command }
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join(config::PEER_SETTINGS_FILE)
    }

    fn folder_of(&self, peer: &str) -> PathBuf {
        self.folder.path().join(peer).join(config::SERVED_FOLDER)
    }

    fn served(&self, peer: &str, name: &str) -> PathBuf {
        self.folder_of(peer).join(name)
    }

    fn own(&self, name: &str) -> PathBuf {
        self.served(YOU, name)
    }
}

fn say(line: &str) -> io::Result<()> {
    output::print(format!("{line}\n").as_bytes());
    io::stdout().flush()
}

/// Bytes that do not repeat, from a seed (xorshift64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| next()).collect()
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
