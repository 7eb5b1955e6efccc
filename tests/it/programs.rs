//! The real binaries, on ports that the system chose.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::lab::{DEADLINE, eventually};

/// A folder with settings and the folders of peers, for processes.
pub struct Site {
    root: TempDir,
}

impl Site {
    pub fn new() -> Self {
        let site = Self { root: tempfile::tempdir().unwrap() };
        site.list_peers(&[("a", 1)]);
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes the settings.
    pub fn list_peers(&self, peers: &[(&str, u16)]) {
        let text: String =
            peers.iter().map(|(id, port)| format!("{id} 127.0.0.1 {port}\n")).collect();
        fs::write(self.path("peer_settings.txt"), text).unwrap();
    }

    /// Puts a file into the folder of a peer.
    pub fn put(&self, peer: &str, name: &str, data: &[u8]) {
        let path = self.path(peer).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    pub fn read(&self, peer: &str, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(peer).join(name)).ok()
    }

    /// The server of a peer, which serves its folder.
    pub fn server_command(&self, peer: &str) -> Command {
        let mut command = Command::new(program("server"));
        command.arg(peer).arg("--peer-settings").arg(self.path("peer_settings.txt"));
        command.arg("--served-files").arg(self.path(peer));
        command.env_remove("RUST_LOG").current_dir(self.root.path());
        command
    }

    /// Starts the server of a peer on a free port; returns after it said where it listens.
    pub fn server(&self, peer: &str) -> Server {
        self.server_by(self.server_command(peer))
    }

    /// The same; its log has a line when a connection ends.
    pub fn server_that_says_more(&self, peer: &str) -> Server {
        let mut command = self.server_command(peer);
        command.env("RUST_LOG", "peershare=debug");
        self.server_by(command)
    }

    fn server_by(&self, mut command: Command) -> Server {
        let running = Running::start(command.args(["--listen", "127.0.0.1:0"]));
        let line = running.wait_for(" listens on ");
        let port =
            line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        Server { port: port.unwrap_or_else(|| panic!("no port in {line:?}")), line, running }
    }

    /// The client, whose folder is that of `me`.
    pub fn client_command(&self) -> Command {
        self.client_command_of("me")
    }

    /// The client, whose folder is that of a peer.
    pub fn client_command_of(&self, peer: &str) -> Command {
        let mut command = Command::new(program("client"));
        command.arg("--peer-settings").arg(self.path("peer_settings.txt"));
        command.arg("--served-files").arg(self.path(peer));
        command
            .env_remove("RUST_LOG")
            .env_remove("PEERSHARE_PEER_SETTINGS")
            .current_dir(self.root.path());
        command
    }

    /// The client as a user that is not root, to whom all that is here belongs then; permissions
    /// mean nothing to root.
    pub fn ordinary_client_command(&self) -> Command {
        self.as_nobody(self.client_command())
    }

    /// The server of a peer as such a user.
    pub fn ordinary_server_command(&self, peer: &str) -> Command {
        self.as_nobody(self.server_command(peer))
    }

    fn as_nobody(&self, usual: Command) -> Command {
        if !rustix::process::geteuid().is_root() {
            return usual;
        }
        // The folder of the binaries may be closed to others.
        let built = Path::new(usual.get_program());
        let program = self.path(&format!("{}-of-nobody", built.file_name().unwrap().display()));
        if !program.exists() {
            fs::copy(built, &program).unwrap();
        }
        give_to_nobody(self.root.path());
        let mut command = Command::new(program);
        command.args(usual.get_args()).current_dir(self.root.path());
        command
            .env_remove("RUST_LOG")
            .env_remove("PEERSHARE_PEER_SETTINGS")
            .uid(NOBODY)
            .gid(NOBODY);
        command
    }

    /// One command of the client, which is awaited.
    pub fn client(&self, words: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = assert_cmd::Command::from_std(self.client_command());
        command.args(words).timeout(DEADLINE).assert()
    }
}

/// One of the binaries: as they were built for the tests, or those in the folder that
/// `PEERSHARE_BIN` names, such as optimised ones for long rounds.
pub fn program(name: &str) -> PathBuf {
    let built = match name {
        "server" => env!("CARGO_BIN_EXE_server"),
        _ => env!("CARGO_BIN_EXE_client"),
    };
    std::env::var_os("PEERSHARE_BIN").map_or(built.into(), |folder| Path::new(&folder).join(name))
}

/// A user that no files belong to on any machine.
const NOBODY: u32 = 65534;

fn give_to_nobody(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give_to_nobody(&entry.unwrap().path()));
    }
}

/// A server process; killed on drop.
pub struct Server {
    pub port: u16,
    /// What it said at the start.
    pub line: String,
    pub running: Running,
}

/// A process and the lines that it writes to stderr; killed on drop.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (heard, lines) = unbounded();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let listen = move || {
            stderr.lines().map_while(Result::ok).for_each(|line| heard.send(line).unwrap_or(()))
        };
        thread::spawn(listen);
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    /// The next line on stderr that has these words.
    #[track_caller]
    pub fn wait_for(&self, words: &str) -> String {
        self.wait_for_any(&[words])
    }

    /// The next line on stderr that has any of these words.
    #[track_caller]
    pub fn wait_for_any(&self, words: &[&str]) -> String {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) if words.iter().any(|words| line.contains(words)) => return line,
                Ok(line) => heard.push(line),
                Err(error) => panic!("no line with {words:?} ({error}) but {heard:#?}"),
            }
        }
    }

    /// The port that a server says it listens on.
    #[track_caller]
    pub fn port(&self) -> u16 {
        let line = self.wait_for(" listens on 127.0.0.1:");
        let port =
            line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {line:?}"))
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Returns after a stop signal took effect.
    pub fn wait_until_stopped(&self) {
        let status = format!("/proc/{}/stat", self.child.id());
        eventually("the program is stopped", || {
            fs::read_to_string(&status)
                .is_ok_and(|text| text.rsplit(") ").next().unwrap_or("").starts_with('T'))
        });
    }

    /// How it ended, after the end of its input; it must end by itself.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        drop(self.stdin.take());
        let mut status = None;
        eventually("the program ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// The lines on stderr that came so far and were not waited for.
    pub fn so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// The lines on stderr that were not waited for; it must have ended.
    pub fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    /// All that it wrote to stdout; it must have ended.
    pub fn stdout(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stands between a client and a server, and holds the answers back after so many bytes: then says
/// so, waits until `resume` is closed, and goes on. Gives the port to connect to.
pub fn relay(
    server: Arc<Mutex<u16>>,
    hold_after: u64,
    held: Sender<()>,
    resume: Receiver<()>,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move |near: TcpStream| -> io::Result<()> {
        let port = *server.lock().unwrap();
        let far = TcpStream::connect(("127.0.0.1", port))?;
        let (mut requests, mut onwards) = (near.try_clone()?, far.try_clone()?);
        thread::spawn(move || io::copy(&mut requests, &mut onwards).is_ok());
        io::copy(&mut (&far).take(hold_after), &mut &near)?;
        let _ = held.try_send(());
        // Never filled, only closed.
        let _ = resume.recv_timeout(DEADLINE);
        io::copy(&mut &far, &mut &near)?;
        near.shutdown(Shutdown::Both)
    };
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(near).is_ok());
        }
    });
    port
}
