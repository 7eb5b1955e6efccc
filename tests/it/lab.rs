//! A few peers in a temporary folder, connected by the in-memory network, and clients that use
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use peershare::client::prompt::{self, Shell};
use peershare::client::{ExitStatus, Surroundings, Terminal, Transfers};
use peershare::config;
use peershare::connection::Identity;
use peershare::content::{ChunkLayout, ChunkSet, FileName, Manifest, merkle};
use peershare::fetch::Waits;
use peershare::serve::Rights;
use peershare::server::{Host, Limits, Neighbours, Server};
use peershare::store::{Bounds, Reception, Store};
use peershare::topology::{Peer, TopologyFile};
use peershare::transport::memory::MemoryNetwork;
use peershare::transport::tcp::Listener;
use peershare::transport::{Cancel, Closer, Network, Stream};
use tempfile::TempDir;

use super::rogue::Rogue;

/// Length of a chunk of all files in these tests.
pub const CHUNK: usize = 256 << 10;

/// Twenty chunks, the last one short.
pub const LONG: usize = 20 * CHUNK - 7;

/// Bytes of messages beside the chunks of a long file, at most.
pub const MESSAGES: u64 = 32 << 10;

/// No wait is longer than this; a test that reaches it has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes that differ with every seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len).collect()
}

/// What a file of these bytes is.
pub fn manifest(name: &str, data: &[u8]) -> Manifest {
    manifest_cut(name, data, ChunkLayout::usual(data.len() as u64).unwrap())
}

/// The same, cut as `layout` says.
pub fn manifest_cut(name: &str, data: &[u8], layout: ChunkLayout) -> Manifest {
    let chunks = data.chunks(layout.chunk_size() as usize);
    let digests = chunks.map(|chunk| merkle::chunk_digest(&layout, chunk)).collect();
    Manifest::from_digests(name.parse::<FileName>().unwrap(), layout, digests).unwrap()
}

/// Asks again and again until the answer is yes.
#[track_caller]
pub fn eventually(what: &str, mut question: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !question() {
        assert!(Instant::now() < until, "it never came true that {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// What was said so far, and a way to wait for words.
#[derive(Clone, Default)]
pub struct Said(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Said {
    /// Blocks until these words were said.
    #[track_caller]
    pub fn wait_for(&self, words: &str) {
        let heard = |said: &mut Vec<u8>| !String::from_utf8_lossy(said).contains(words);
        let said = self.0.0.lock().unwrap();
        let (said, waited) = self.0.1.wait_timeout_while(said, DEADLINE, heard).unwrap();
        let text = String::from_utf8_lossy(&said).into_owned();
        drop(said);
        assert!(!waited.timed_out(), "nobody said {words:?} but: {text}");
    }

    fn take(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut *self.0.0.lock().unwrap())).into_owned()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap().extend(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Peers, their folders, and the network between them.
pub struct Lab {
    root: TempDir,
    pub network: Arc<MemoryNetwork>,
    hosts: BTreeMap<String, Host>,
    /// Who dialled whom.
    dialled: Arc<Dialled>,
}

/// Whom each peer has dialled.
pub type Dialled = Mutex<BTreeMap<String, BTreeSet<String>>>;

impl Lab {
    /// These peers serve empty folders.
    pub fn of(peers: &[&str]) -> Self {
        let mut lab = Self {
            root: tempfile::tempdir().unwrap(),
            network: Arc::default(),
            hosts: BTreeMap::new(),
            dialled: Arc::default(),
        };
        lab.list_peers(peers);
        peers.iter().for_each(|peer| lab.start(peer));
        lab
    }

    /// Writes the settings; their ports lead nowhere.
    pub fn list_peers(&self, peers: &[&str]) {
        let lines = peers.iter().enumerate();
        let text: String = lines.map(|(i, peer)| format!("{peer} 127.0.0.1 {}\n", i + 1)).collect();
        fs::write(self.settings(), text).unwrap();
    }

    pub fn settings(&self) -> PathBuf {
        self.root.path().join("peer_settings.txt")
    }

    /// A folder beside those of the peers.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The served folder of a peer.
    pub fn folder(&self, peer: &str) -> PathBuf {
        self.root.path().join(peer).join("served_files")
    }

    /// Starts a peer, or starts it anew.
    pub fn start(&mut self, peer: &str) {
        self.start_with(peer, Rights::default(), Limits::default());
    }

    pub fn start_with(&mut self, peer: &str, rights: Rights, limits: Limits) {
        self.start_from(peer, (rights, limits), Bounds::default());
    }

    /// Starts a peer anew that takes no more than that.
    pub fn start_bounded(&mut self, peer: &str, bounds: Bounds) {
        self.start_from(peer, (Rights::default(), Limits::default()), bounds);
    }

    /// Has a peer listen on a port of loopback as well.
    pub fn listen(&mut self, peer: &str, limits: Limits) -> Server {
        self.start_with(peer, Rights::default(), limits);
        let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        Server::start(listener, self.host(peer), None).unwrap()
    }

    fn start_from(&mut self, peer: &str, (rights, limits): (Rights, Limits), bounds: Bounds) {
        let store = Store::open(&self.folder(peer)).unwrap().bounded(bounds);
        let identity = Identity { peer: Some(peer.parse().unwrap()), read_only: rights.read_only };
        let topology = TopologyFile::read(&self.settings()).unwrap().current().clone();
        let dialling = Dialling {
            inner: self.network.clone(),
            who: peer.to_owned(),
            dialled: self.dialled.clone(),
        };
        let neighbours =
            Neighbours { topology: Arc::new(Mutex::new(topology)), network: Arc::new(dialling) };
        let host = Host::new(store, identity, rights, limits).among(neighbours);
        let accepting = host.clone();
        self.network.attach(peer.parse().unwrap(), move |stream| accepting.serve(stream));
        self.hosts.insert(peer.to_owned(), host);
    }

    /// Ends all connections of a peer and refuses further ones.
    pub fn kill(&mut self, peer: &str) {
        self.network.detach(&peer.parse().unwrap());
        if let Some(host) = self.hosts.remove(peer) {
            assert!(host.end_sessions(), "the sessions of {peer} do not end");
        }
    }

    /// Has a file of a peer hashed, so that nothing of it is fetched while that is done.
    pub fn hash(&self, peer: &str, name: &str) {
        let store = Store::open(&self.folder(peer)).unwrap();
        store.manifest(&name.parse().unwrap(), &mut |_, _| true).unwrap();
    }

    /// The peers that this one has dialled.
    pub fn dialled(&self, peer: &str) -> BTreeSet<String> {
        self.dialled.lock().unwrap().get(peer).cloned().unwrap_or_default()
    }

    /// The same of all peers, also later.
    pub fn all_dialled(&self) -> Arc<Dialled> {
        self.dialled.clone()
    }

    /// The peer itself, to end its sessions in the middle of something.
    pub fn host(&self, peer: &str) -> Host {
        self.hosts[peer].clone()
    }

    /// From now on the last byte of every chunk that this peer sends is wrong; gives their number.
    pub fn lies(&self, peer: &str) -> Arc<AtomicU64> {
        let (host, chunks) = (self.host(peer), Arc::<AtomicU64>::default());
        let counted = chunks.clone();
        self.network.attach(peer.parse().unwrap(), move |inner| {
            host.serve(Lying { inner: Box::new(inner), chunks: counted.clone() });
        });
        chunks
    }

    /// Lets a rogue answer in the name of that peer.
    pub fn rogue(&mut self, peer: &str, rogue: &Rogue) {
        self.kill(peer);
        let rogue = rogue.clone();
        self.network.attach(peer.parse().unwrap(), move |stream| rogue.accept(stream));
    }

    /// Puts a file into the folder of a peer.
    pub fn put(&self, peer: &str, name: &str, data: &[u8]) {
        let path = self.folder(peer).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    /// The bytes of a file in the folder of a peer.
    pub fn read(&self, peer: &str, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder(peer).join(name)).ok()
    }

    /// Whether the peer has exactly these bytes under that name.
    #[track_caller]
    pub fn assert_has(&self, peer: &str, name: &str, data: &[u8]) {
        let found = self.read(peer, name).unwrap_or_else(|| panic!("{peer} has no {name}"));
        assert!(found == data, "{peer} has another {name} of {} bytes", found.len());
    }

    /// The chunks of a file that a peer has received, once nobody receives it there any more.
    pub fn kept(&self, peer: &str, manifest: &Manifest) -> ChunkSet {
        let (store, manifest) =
            (Store::open(&self.folder(peer)).unwrap(), Arc::new(manifest.clone()));
        let mut kept = None;
        eventually("nobody receives the file any more", || {
            match store.receive(manifest.clone(), false).unwrap() {
                Reception::Part(part) => kept = Some(part.have()),
                Reception::AlreadyHere => kept = Some(ChunkSet::all(manifest.layout())),
                Reception::Busy => {}
                other => panic!("{other:?} at {peer}"),
            }
            kept.is_some()
        });
        kept.unwrap()
    }

    /// Names of all that is visible in the folder of a peer.
    pub fn visible(&self, peer: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder(peer)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != ".peershare");
        names.sort();
        names
    }

    /// A client that is nobody of the topology; its folder is that of `me`.
    pub fn client(&self) -> Client {
        self.client_of("me", false)
    }

    /// A client at that peer.
    pub fn client_at(&self, peer: &str) -> Client {
        self.client_of(peer, true)
    }

    /// A client that is nobody, and loses its patience with silent sources at once.
    pub fn impatient_client(&self) -> Client {
        self.client_with("me", false, Waits::brief(Duration::from_millis(50)))
    }

    /// A client that is nobody; a source that is silent for so long counts as stalled.
    pub fn client_that_waits(&self, stall: Duration) -> Client {
        self.client_with("me", false, Waits::brief(stall))
    }

    /// A client that is nobody; a peer that it is using may be away for so long.
    pub fn client_that_endures(&self, outage: Duration) -> Client {
        self.client_with("me", false, Waits { outage, ..Waits::brief(Duration::from_millis(200)) })
    }

    /// A client that is nobody, and waits so long.
    pub fn client_with_waits(&self, waits: Waits) -> Client {
        self.client_with("me", false, waits)
    }

    fn client_of(&self, name: &str, is_peer: bool) -> Client {
        self.client_with(name, is_peer, Waits::brief(config::STALL_TIMEOUT))
    }

    fn client_with(&self, name: &str, is_peer: bool, waits: Waits) -> Client {
        let (out, err, traffic) = (Said::default(), Said::default(), Arc::<Traffic>::default());
        let network = Metered { inner: self.network.clone(), traffic: traffic.clone() };
        let surroundings = Surroundings {
            own: is_peer.then(|| name.parse().unwrap()),
            served_files: self.folder(name),
            audience: Arc::new(Terminal::told_to(out.clone(), err.clone())),
            network: Arc::new(network),
            waits,
        };
        let settings = TopologyFile::read(&self.settings()).unwrap();
        Client { transfers: Transfers::new(surroundings), settings, out, err, traffic }
    }
}

/// A client program, as far as that is possible within this process.
pub struct Client {
    transfers: Transfers,
    settings: TopologyFile,
    pub out: Said,
    pub err: Said,
    pub traffic: Arc<Traffic>,
}

/// How a command went.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
    /// Bytes that came over the network.
    pub received: u64,
    /// Bytes that went over it.
    pub sent: u64,
}

impl Client {
    /// Performs the commands, one a line.
    pub fn run(&mut self, lines: &str) -> Outcome {
        let before = (self.traffic.received.load(SeqCst), self.traffic.sent.load(SeqCst));
        let audience = Arc::new(Terminal::told_to(self.out.clone(), self.err.clone()));
        let mut shell = Shell::new(&mut self.settings, &mut self.transfers, audience);
        let status = prompt::run(&mut shell, lines.as_bytes());
        Outcome {
            status,
            out: self.out.take(),
            err: self.err.take(),
            received: self.traffic.received.load(SeqCst) - before.0,
            sent: self.traffic.sent.load(SeqCst) - before.1,
        }
    }
}

impl Client {
    /// The same, again as long as an earlier reception of the file still holds its locks. Other
    /// tests start processes, which inherit the locks of this one for the moment before they become
    /// another program.
    #[track_caller]
    pub fn run_when_free(&mut self, lines: &str) -> Outcome {
        let mut outcome = None;
        eventually("the file is received by nobody", || {
            let now = self.run(lines);
            let held = ["being received already", "currently receiving"];
            let free = !held.iter().any(|words| now.err.contains(words));
            outcome = Some(now);
            free
        });
        outcome.unwrap()
    }
}

impl Outcome {
    #[track_caller]
    pub fn is(self, status: ExitStatus) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.is(ExitStatus::Success)
    }

    #[track_caller]
    pub fn prints(self, words: &str) -> Self {
        assert!(self.out.contains(words), "no {words:?} on stdout: {self:?}");
        self
    }

    #[track_caller]
    pub fn tells(self, words: &str) -> Self {
        assert!(self.err.contains(words), "no {words:?} on stderr: {self:?}");
        self
    }
}

/// What crossed the network of one client, and what is to happen at some point of that.
pub struct Traffic {
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// Bytes that must never cross, and whether they have.
    pub secret: Mutex<Option<Vec<u8>>>,
    pub leaked: AtomicBool,
    trap: Mutex<Option<Trap>>,
    /// All connections; none any more when the client is dead.
    closers: Mutex<Option<Vec<Closer>>>,
}

impl Default for Traffic {
    fn default() -> Self {
        let (received, sent, secret, leaked, trap) = Default::default();
        Self { received, sent, secret, leaked, trap, closers: Mutex::new(Some(Vec::new())) }
    }
}

/// After so many bytes in both directions together, this happens once.
struct Trap {
    after: u64,
    act: Box<dyn FnOnce() + Send>,
}

impl Traffic {
    /// Once `after` bytes have crossed in both directions together, `act` happens before the next
    /// byte does.
    pub fn after(&self, after: u64, act: impl FnOnce() + Send + 'static) {
        *self.trap.lock().unwrap() = Some(Trap { after, act: Box::new(act) });
    }

    /// Ends all connections and refuses further ones, as if the client had died.
    pub fn cut(&self) {
        self.closers.lock().unwrap().take().iter().flatten().for_each(Closer::close);
    }

    /// Ends all connections; new ones can be made.
    pub fn interrupt(&self) {
        let closers: Vec<Closer> =
            self.closers.lock().unwrap().iter_mut().flat_map(std::mem::take).collect();
        closers.iter().for_each(Closer::close);
    }

    fn count(&self, counter: &AtomicU64, bytes: &[u8]) {
        if let Some(secret) = &*self.secret.lock().unwrap()
            && bytes.windows(secret.len()).any(|window| window == secret)
        {
            self.leaked.store(true, SeqCst);
        }
        self.count_only(counter, bytes.len());
    }

    fn count_only(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, SeqCst);
        let sum = self.received.load(SeqCst) + self.sent.load(SeqCst);
        let sprung = self.trap.lock().unwrap().take_if(|trap| trap.after <= sum);
        if let Some(trap) = sprung {
            (trap.act)();
        }
    }
}

/// A network that remembers whom a peer dialled.
struct Dialling {
    inner: Arc<MemoryNetwork>,
    who: String,
    dialled: Arc<Dialled>,
}

impl Network for Dialling {
    fn dial(&self, peer: &Peer, timeout: Duration, cancel: &Cancel) -> io::Result<Box<dyn Stream>> {
        self.dialled
            .lock()
            .unwrap()
            .entry(self.who.clone())
            .or_default()
            .insert(peer.id.to_string());
        self.inner.dial(peer, timeout, cancel)
    }
}

/// A network whose bytes are counted.
struct Metered {
    inner: Arc<MemoryNetwork>,
    traffic: Arc<Traffic>,
}

impl Network for Metered {
    fn dial(&self, peer: &Peer, timeout: Duration, cancel: &Cancel) -> io::Result<Box<dyn Stream>> {
        let inner = self.inner.dial(peer, timeout, cancel)?;
        let mut closers = self.traffic.closers.lock().unwrap();
        closers.as_mut().ok_or(io::ErrorKind::ConnectionReset)?.push(inner.closer());
        drop(closers);
        Ok(Box::new(MeteredStream { inner, traffic: self.traffic.clone() }))
    }
}

struct MeteredStream {
    inner: Box<dyn Stream>,
    traffic: Arc<Traffic>,
}

impl Read for MeteredStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.traffic.count(&self.traffic.received, &buffer[..got]);
        Ok(got)
    }
}

impl Write for MeteredStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.traffic.count(&self.traffic.sent, &bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A stream that gets the last byte of every part of a file wrong.
struct Lying {
    inner: Box<dyn Stream>,
    chunks: Arc<AtomicU64>,
}

impl Read for Lying {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Write for Lying {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Stream for Lying {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<()> {
        self.chunks.fetch_add(1, SeqCst);
        self.inner.send_file(file, offset, len - 1)?;
        // The files of these tests have no long runs of one byte.
        self.inner.write_all(b"!")
    }

    fn closer(&self) -> Closer {
        self.inner.closer()
    }

    fn remote(&self) -> String {
        self.inner.remote()
    }
}

impl Stream for MeteredStream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<()> {
        self.inner.send_file(file, offset, len)?;
        self.traffic.count_only(&self.traffic.sent, len);
        Ok(())
    }

    fn closer(&self) -> Closer {
        self.inner.closer()
    }

    fn remote(&self) -> String {
        self.inner.remote()
    }
}

/// Gives a file other bytes of the same length, at a time that no clock is too coarse to tell.
pub fn change(path: &Path) {
    let mut data = fs::read(path).unwrap();
    data.iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(path, data).unwrap();
    let later = SystemTime::now() + Duration::from_secs(10);
    fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}
