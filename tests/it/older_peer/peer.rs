//! A peer of the earlier release: says what that one said, and notes what it would have misread.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use peershare::content::{ChunkLayout, ChunkSet, Digest};
use peershare::topology::Peer;
use peershare::transport::{Cancel, Network, Stream};
use peershare::wire::MAGIC;
use serde_json::{Value, json};

use super::recorded::{Frame, digests, has_all, recorded};
use crate::it::lab::{DEADLINE, Lab};

/// What all files of the recordings have.
pub const TIME: i64 = 1_700_000_000_000_000_000;

/// It gives files of up to this together, unless they are asked for by themselves.
const SMALL: usize = 4 << 20;

/// Clones are the same peer.
#[derive(Clone)]
pub struct Older(Arc<Inner>);

struct Inner {
    id: &'static str,
    network: Arc<dyn Network>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: BTreeSet<String>,
    /// Whose roots it knows.
    hashed: BTreeSet<String>,
    /// What came of a file that others fetch from here meanwhile, by its root.
    parts: BTreeMap<String, BTreeMap<u64, Vec<u8>>>,
    /// Who was handed which chunk of what it gives to several.
    handed: Vec<(String, u64)>,
    /// What it was sent and could not have taken for what it was.
    faults: Vec<String>,
    /// Types of requests that it was sent.
    asked: BTreeSet<String>,
}

/// A connection of an older peer.
pub struct Side {
    older: Older,
    stream: Box<dyn Stream>,
    opener: bool,
    /// Whether the other side asks.
    answers: bool,
}

impl Older {
    /// One that has these files of the recordings.
    pub fn with(lab: &Lab, id: &'static str, files: &[&str]) -> Self {
        let files = files.iter().map(|name| (*name).to_owned()).collect();
        let state = Mutex::new(State { files, ..State::default() });
        let changed = Condvar::new();
        Self(Arc::new(Inner { id, network: lab.network.clone(), state, changed }))
    }

    /// Takes the place of that peer of the lab.
    pub fn stand_in(&self, lab: &mut Lab) {
        lab.kill(self.0.id);
        let older = self.clone();
        lab.network.attach(self.0.id.parse().unwrap(), move |stream| {
            let mut side = Side::new(&older, Box::new(stream), false);
            thread::Builder::new()
                .name("older".into())
                .spawn(move || side.serve().is_ok())
                .unwrap();
        });
    }

    /// Connects to a peer.
    pub fn connect(&self, to: &str) -> Side {
        let peer = Peer::at(to.parse().unwrap(), "127.0.0.1", 1);
        let stream = self.0.network.dial(&peer, DEADLINE, &Cancel::new()).unwrap();
        let mut side = Side::new(self, stream, true);
        side.greet().unwrap();
        side
    }

    /// Nothing came that it would have misread.
    #[track_caller]
    pub fn check(&self) {
        let state = self.0.state.lock().unwrap();
        assert!(state.faults.is_empty(), "{:#?}", state.faults);
    }

    /// Which requests it was sent.
    pub fn was_asked(&self) -> BTreeSet<String> {
        self.0.state.lock().unwrap().asked.clone()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.state.lock().unwrap().files.contains(name)
    }

    fn fault(&self, what: String) {
        self.0.state.lock().unwrap().faults.push(what);
    }

    /// Its answer; none to a report.
    pub fn answer(&self, request: &Value, payload: &[u8], from: &str) -> Option<(Value, Vec<u8>)> {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let number = |name: &str| request[name].as_u64().unwrap_or(0);
        let plain = |answer| Some((answer, Vec::new()));
        match text("type") {
            "hello" => plain(json!({"type": "hello", "peer": self.0.id,
                "agent": "peershare/0.1.0", "read_only": false})),
            "list" => Some(self.list(request)),
            "left_out" => Some((json!({"type": "left_out", "count": 0}), b"[]".to_vec())),
            "describe" => Some(self.describe(text("name"), text("id"), number("digests_up_to"))),
            "read" => Some(self.read(text("root"), number("chunk"), number("chunk_size"), {
                Duration::from_millis(number("wait_ms").min(2000))
            })),
            "next" => Some(self.next(from, text("root"), number("chunk_size"), request)),
            "gather" => Some(self.gather(payload)),
            "have" => Some(self.have(text("root"), number("chunk_size"))),
            "ping" => plain(json!({"type": "pong", "files": 1})),
            "report" => None,
            _ => plain(json!({"type": "error", "code": "unsupported",
                "message": "this peer does not know that request"})),
        }
    }

    fn list(&self, request: &Value) -> (Value, Vec<u8>) {
        let pattern = request["pattern"].as_str().unwrap_or_default();
        let is_set = |name: &str| request[name] == Value::Bool(true);
        let mut state = self.0.state.lock().unwrap();
        let mut entries: BTreeMap<String, Value> = BTreeMap::new();
        let state = &mut *state;
        for name in state.files.iter().filter(|name| name.starts_with(pattern)) {
            let data = &recorded().files[name];
            if is_set("hashed") && data.len() <= SMALL {
                state.hashed.insert(name.clone());
            }
            let mut entry =
                json!({"name": name, "length": data.len(), "mtime_ns": TIME, "mode": 0o644});
            if state.hashed.contains(name) {
                entry["root"] = recorded().roots[name].to_string().into();
            }
            for (at, _) in name.match_indices('/').filter(|_| is_set("folders")) {
                let folder = &name[..at];
                let entry = json!({"name": folder, "folder": true, "length": 0,
                    "mtime_ns": TIME, "mode": 0o755});
                entries.insert(folder.to_owned(), entry);
            }
            entries.insert(name.clone(), entry);
        }
        let entries: Vec<Value> = entries.into_values().collect();
        (json!({"type": "listing", "left_out": 0}), serde_json::to_vec(&entries).unwrap())
    }

    fn describe(&self, name: &str, id: &str, digests_up_to: u64) -> (Value, Vec<u8>) {
        let mut state = self.0.state.lock().unwrap();
        let is_meant = |file: &&String| match id {
            "" => *file == name,
            id => recorded().roots[*file].to_string().starts_with(id),
        };
        let Some(name) = state.files.iter().find(is_meant).cloned() else {
            return not_found(format!("there is no file {name}"));
        };
        state.hashed.insert(name.clone());
        let (data, root) = (&recorded().files[&name], recorded().roots[&name].to_string());
        let digests = digests(data, 256 << 10);
        let few = digests.len() as u64 / Digest::LEN as u64 <= digests_up_to;
        let answer = json!({"type": "manifest", "name": name, "length": data.len(),
            "chunk_size": 256 << 10, "root": root, "mtime_ns": TIME, "mode": 0o644});
        (answer, if few { digests } else { Vec::new() })
    }

    fn named(&self, state: &State, root: &str) -> Option<&'static Vec<u8>> {
        let is_meant = |name: &&String| recorded().roots[*name].to_string() == root;
        state.files.iter().find(is_meant).map(|name| &recorded().files[name])
    }

    fn read(&self, root: &str, chunk: u64, size: u64, wait: Duration) -> (Value, Vec<u8>) {
        let state = self.0.state.lock().unwrap();
        let header = json!({"type": "chunk", "chunk": chunk});
        if let Some(data) = self.named(&state, root) {
            return match data.chunks(size as usize).nth(chunk as usize) {
                Some(bytes) => (header, bytes.to_vec()),
                None => not_found("no such chunk".to_owned()),
            };
        }
        let part = |state: &State| state.parts.get(root).and_then(|part| part.get(&chunk)).cloned();
        let waits = |state: &mut State| part(state).is_none();
        let (state, _) = self.0.changed.wait_timeout_while(state, wait, waits).unwrap();
        match (part(&state), state.parts.contains_key(root)) {
            (Some(bytes), _) => (header, bytes),
            (None, true) => (
                json!({"type": "error", "code": "not_yet",
                "message": "that is not here yet"}),
                Vec::new(),
            ),
            (None, false) => {
                let short: String = root.chars().take(12).collect();
                not_found(format!("no file here has the content {short}"))
            }
        }
    }

    fn gather(&self, roots: &[u8]) -> (Value, Vec<u8>) {
        let state = self.0.state.lock().unwrap();
        let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
        for root in roots.chunks(Digest::LEN) {
            let is_meant = |name: &&String| recorded().roots[*name].0.0 == root;
            let data = state.files.iter().find(is_meant).map(|name| &recorded().files[name]);
            lengths.push(data.map(Vec::len));
            bytes.extend(data.into_iter().flatten());
        }
        (json!({"type": "gathered", "lengths": lengths}), bytes)
    }

    fn have(&self, root: &str, size: u64) -> (Value, Vec<u8>) {
        let state = self.0.state.lock().unwrap();
        let header = json!({"type": "have"});
        if let Some(data) = self.named(&state, root) {
            let size = if size == 0 { 256 << 10 } else { size as u32 };
            let layout = ChunkLayout::new(data.len() as u64, size).unwrap();
            return (header, ChunkSet::all(&layout).as_bytes().to_vec());
        }
        match state.parts.get(root) {
            Some(part) => {
                let last = part.keys().max().map_or(0, |last| *last as usize);
                let mut bits = vec![0; last / 8 + 1];
                part.keys().for_each(|chunk| bits[*chunk as usize / 8] |= 1 << (chunk % 8));
                (header, bits)
            }
            None => not_found("no file here has that content".to_owned()),
        }
    }

    /// Hands out one chunk after the other, and tells who has the others.
    fn next(&self, from: &str, root: &str, size: u64, request: &Value) -> (Value, Vec<u8>) {
        let mut state = self.0.state.lock().unwrap();
        let Some(data) = self.named(&state, root) else {
            return not_found("no file here has that content".to_owned());
        };
        let mut answer = json!({"type": "handed", "handed": {}});
        let (count, mut bytes) = (data.len().div_ceil(size as usize), Vec::new());
        if request["want"] == Value::Bool(true) && state.handed.len() < count {
            let chunk = state.handed.len();
            state.handed.push((from.to_owned(), chunk as u64));
            bytes = data.chunks(size as usize).nth(chunk).unwrap().to_vec();
            answer["chunk"] = chunk.into();
        }
        let seen = request["seen"].as_u64().unwrap() as usize;
        for (to, chunk) in state.handed.iter().skip(seen).filter(|(to, _)| to != from) {
            let mut chunks = answer["handed"][to].as_array().cloned().unwrap_or_default();
            chunks.push((*chunk).into());
            answer["handed"][to] = chunks.into();
        }
        answer["seen"] = state.handed.len().into();
        answer["all"] = (state.handed.len() == count).into();
        (answer, bytes)
    }

    /// Takes part in a swarm: has chunks from the origin, and the others from who was handed them.
    fn take_part(&self, origin: &mut Side, offer: &Value) -> io::Result<()> {
        let (root, size) = (offer["root"].clone(), offer["chunk_size"].clone());
        let key = root.as_str().unwrap().to_owned();
        let count = offer["length"].as_u64().unwrap().div_ceil(size.as_u64().unwrap()) as usize;
        self.0.state.lock().unwrap().parts.insert(key.clone(), BTreeMap::new());
        let (mut seen, mut all, mut from_others) = (json!(0), false, 0);
        let mut others: BTreeMap<String, Side> = BTreeMap::new();
        while !all {
            let next = json!({"type": "next", "root": root, "chunk_size": size, "seen": seen,
                "want": true});
            let (answer, bytes) = origin.ask(next)?;
            if let Some(chunk) = answer["chunk"].as_u64() {
                self.came(&key, chunk, bytes);
            }
            (seen, all) = (answer["seen"].clone(), answer["all"] == Value::Bool(true));
            let handed = answer["handed"].as_object().cloned().unwrap_or_default();
            for (peer, chunks) in handed {
                let other = others.entry(peer.clone()).or_insert_with(|| {
                    let mut other = self.connect(&peer);
                    other.hello(Some(self.0.id), &peer);
                    other
                });
                for chunk in chunks.as_array().unwrap() {
                    let read = json!({"type": "read", "root": root, "chunk": chunk,
                        "chunk_size": size, "wait_ms": 2000});
                    let (answer, bytes) = other.ask(read)?;
                    if answer["type"] == "chunk" {
                        from_others += bytes.len();
                        self.came(&key, chunk.as_u64().unwrap(), bytes);
                    }
                }
            }
        }
        let came = self.0.state.lock().unwrap().parts[&key].clone();
        for chunk in (0..count as u64).filter(|chunk| !came.contains_key(chunk)) {
            let read = json!({"type": "read", "root": root, "chunk": chunk, "chunk_size": size});
            let (_, bytes) = origin.ask(read)?;
            self.came(&key, chunk, bytes);
        }
        self.end_part(&key, offer);
        origin.send(
            &json!({"type": "report", "report": "progress", "done": offer["length"],
            "from_others": from_others}),
            &[],
        )?;
        origin.send(&json!({"type": "report", "report": "finished"}), &[])
    }

    fn came(&self, root: &str, chunk: u64, bytes: Vec<u8>) {
        self.0.state.lock().unwrap().parts.get_mut(root).unwrap().insert(chunk, bytes);
        self.0.changed.notify_all();
    }

    /// All came: it is a file now if it is the one that was offered.
    fn end_part(&self, root: &str, offer: &Value) {
        let name = offer["name"].as_str().unwrap();
        let mut state = self.0.state.lock().unwrap();
        let bytes: Vec<u8> = state.parts.remove(root).unwrap().into_values().flatten().collect();
        if bytes == recorded().files[name] {
            state.files.insert(name.to_owned());
        }
    }
}

fn not_found(message: String) -> (Value, Vec<u8>) {
    (json!({"type": "error", "code": "not_found", "message": message}), Vec::new())
}

impl Side {
    fn new(older: &Older, mut stream: Box<dyn Stream>, opener: bool) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { older: older.clone(), stream, opener, answers: !opener }
    }

    fn greet(&mut self) -> io::Result<()> {
        self.stream.write_all(&[&MAGIC[..], &[1]].concat())?;
        let mut greeting = [0; 5];
        self.stream.read_exact(&mut greeting)?;
        if greeting[..4] != MAGIC || greeting[4] < 1 {
            self.older.fault(format!("greeted with {greeting:02x?}"));
        }
        Ok(())
    }

    /// The connection turns round: the other side asks from now on.
    pub fn turn(&mut self) {
        self.answers = !self.answers;
    }

    pub fn hello(&mut self, peer: Option<&str>, to: &str) {
        let mut hello = json!({"type": "hello", "to": to, "agent": "peershare/0.1.0"});
        if let Some(peer) = peer {
            hello["peer"] = peer.into();
        }
        let (answer, _) = self.ask(hello).unwrap();
        assert_eq!(answer["peer"], to);
    }

    pub fn send(&mut self, header: &Value, payload: &[u8]) -> io::Result<()> {
        let header = serde_json::to_vec(header)?;
        let lengths = [header.len() as u32, payload.len() as u32].map(u32::to_be_bytes).concat();
        self.stream.write_all(&[&lengths, &header[..], payload].concat())
    }

    /// The next frame; one that it could not have read is noted.
    pub fn receive(&mut self) -> io::Result<Frame> {
        let mut lengths = [0; 8];
        self.stream.read_exact(&mut lengths)?;
        let length = |at: usize| u32::from_be_bytes(*lengths[at..].first_chunk().unwrap()) as usize;
        let (mut header, mut payload) = (vec![0; length(0)], vec![0; length(4)]);
        self.stream.read_exact(&mut header)?;
        self.stream.read_exact(&mut payload)?;
        let header: Value = serde_json::from_slice(&header)?;
        // Who asks is sent answers, but for what it does not answer.
        let request = self.answers || header["type"] == "report";
        if let Err(why) = recorded().understands(request, &header, payload.len()) {
            self.older.fault(why);
        }
        if request {
            let name = header["type"].as_str().unwrap_or_default().to_owned();
            self.older.0.state.lock().unwrap().asked.insert(name);
        }
        Ok(Frame { opener: !self.opener, header, payload })
    }

    pub fn ask(&mut self, request: Value) -> io::Result<(Value, Vec<u8>)> {
        self.send(&request, &[])?;
        self.receive().map(|Frame { header, payload, .. }| (header, payload))
    }

    /// The accepting side, to the end of the connection.
    fn serve(&mut self) -> io::Result<()> {
        self.greet()?;
        let mut from = String::new();
        loop {
            let Frame { header, payload, .. } = self.receive()?;
            match header["type"].as_str() {
                Some("hello") => {
                    header["peer"].as_str().unwrap_or_default().clone_into(&mut from);
                    self.answer(&header, &payload, &from)?;
                }
                Some("offer") if header["swarm"] == Value::Bool(true) => {
                    self.send(&json!({"type": "accepted", "have": 0}), &[])?;
                    self.answers = false;
                    let older = self.older.clone();
                    older.take_part(self, &header)?;
                    self.answers = true;
                }
                Some("offer") => self.take("upload of a file, me->p1", &header, &payload)?,
                Some("offer_folder") => {
                    self.take("upload of a folder, me->p1", &header, &payload)?;
                }
                _ => self.answer(&header, &payload, &from)?,
            }
        }
    }

    pub fn answer(&mut self, request: &Value, payload: &[u8], from: &str) -> io::Result<()> {
        match self.older.answer(request, payload, from) {
            Some((answer, payload)) => self.send(&answer, &payload),
            None => Ok(()),
        }
    }

    /// Takes an offer as it was taken when that was recorded.
    fn take(&mut self, title: &str, offer: &Value, payload: &[u8]) -> io::Result<()> {
        let frames = &recorded().scene(title).frames;
        let is_offer = |frame: &Frame| frame.opener && frame.header["type"] == offer["type"];
        let at = frames.iter().position(is_offer).unwrap();
        let expected = &frames[at];
        if !has_all(offer, &expected.header) || *payload != expected.payload {
            self.older.fault(format!("not {}, but {offer}", expected.header));
        }
        self.answers = false;
        self.play(&frames[at + 1..])?;
        self.answers = true;
        let mut state = self.older.0.state.lock().unwrap();
        let named = |pattern: &str| {
            let files = recorded().files.keys().filter(move |name| name.starts_with(pattern));
            files.cloned().collect::<Vec<_>>()
        };
        state.files.extend(named(offer["name"].as_str().or(offer["pattern"].as_str()).unwrap()));
        Ok(())
    }

    /// Says what this side said, and hears what the other one answered; it may say more than that.
    pub fn play(&mut self, frames: &[Frame]) -> io::Result<()> {
        for expected in frames {
            if expected.opener == self.opener {
                self.send(&expected.header, &expected.payload)?;
                continue;
            }
            let mut found = self.receive()?;
            while found.header["type"] == "hashing" {
                // It asked again, as long as it took.
                let before: Vec<_> = frames.iter().take_while(|frame| *frame != expected).collect();
                let asked =
                    before.iter().rfind(|frame| frame.header["type"] == "describe").unwrap();
                self.send(&asked.header, &[])?;
                found = self.receive()?;
            }
            let same = match expected.payload.first() {
                Some(b'[') => {
                    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
                    has_all(&json(&found.payload), &json(&expected.payload))
                }
                _ => found.payload == expected.payload,
            };
            if !same || !has_all(&found.header, &expected.header) {
                let (found, bytes) = (&found.header, found.payload.len());
                self.older.fault(format!("not {}, but {found} of {bytes}", expected.header));
            }
        }
        Ok(())
    }
}
