//! What a peer of an earlier release said and understood: `tests/data/older_peer.txt`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use peershare::content::{ChunkLayout, Digest, Root};
use serde_json::{Map, Value};

use crate::it::lab::{bytes, manifest, manifest_cut};

const TEXT: &str = include_str!("../../data/older_peer.txt");

/// All of it.
pub struct Recorded {
    pub files: BTreeMap<String, Vec<u8>>,
    pub roots: BTreeMap<String, Root>,
    /// What it understood, by direction and type.
    messages: BTreeMap<(bool, String), Known>,
    pub scenes: Vec<Scene>,
}

/// One connection.
pub struct Scene {
    pub title: String,
    pub frames: Vec<Frame>,
}

/// One frame of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Whether the side that connected sent it.
    pub opener: bool,
    pub header: Value,
    pub payload: Vec<u8>,
}

/// A message that it knew.
struct Known {
    /// None where it depends on the file.
    longest_payload: Option<usize>,
    /// Kind of value, and whether it has to be there.
    fields: BTreeMap<String, (String, bool)>,
}

/// All of it, read once.
pub fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(Recorded::read)
}

impl Recorded {
    fn read() -> Self {
        let (files, roots, messages, scenes) = Default::default();
        let mut recorded = Self { files, roots, messages, scenes };
        for line in TEXT.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            recorded.add(line);
        }
        let mut scenes = std::mem::take(&mut recorded.scenes);
        scenes.iter_mut().flat_map(|scene| &mut scene.frames).for_each(|frame| {
            let text = String::from_utf8(std::mem::take(&mut frame.payload)).unwrap();
            frame.payload = recorded.payload(&frame.header, &text);
        });
        Self { scenes, ..recorded }
    }

    fn add(&mut self, line: &str) {
        let (kind, rest) = line.split_at(2);
        match (kind, self.scenes.last_mut()) {
            ("= ", _) => self.scenes.push(Scene { title: rest.to_owned(), frames: Vec::new() }),
            ("> " | "< ", Some(scene)) => {
                let header = serde_json::from_str(&with_roots(&self.roots, rest)).unwrap();
                scene.frames.push(Frame { opener: kind == "> ", header, payload: Vec::new() });
            }
            ("> " | "< ", None) => {
                let mut words = rest.split(' ');
                let name = words.next().unwrap().to_owned();
                let longest_payload = words.next().unwrap().parse().ok();
                let fields = words.map(field).collect();
                self.messages.insert((kind == "> ", name), Known { longest_payload, fields });
            }
            // A payload, which is made when all lines of it are there.
            ("  ", Some(scene)) => {
                scene.frames.last_mut().unwrap().payload.extend(rest.trim_start().bytes());
            }
            _ => {
                let words: Vec<&str> = line.split(' ').collect();
                let ["file", name, seed, length] = words[..] else { panic!("{line}") };
                let data = bytes(seed.parse().unwrap(), length.parse().unwrap());
                self.roots.insert(name.to_owned(), manifest(name, &data).root());
                self.files.insert(name.to_owned(), data);
            }
        }
    }

    #[track_caller]
    pub fn scene(&self, title: &str) -> &Scene {
        let mut named = self.scenes.iter().filter(|scene| scene.title == title);
        named.next().unwrap_or_else(|| panic!("nothing recorded is called {title}"))
    }

    /// The payload that a line tells of.
    fn payload(&self, header: &Value, text: &str) -> Vec<u8> {
        if text.starts_with('[') {
            return with_roots(&self.roots, text).into_bytes();
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => Vec::new(),
            ["digests", name] => digests(&self.files[name], header["chunk_size"].as_u64().unwrap()),
            ["bytes", name, range] => {
                let (from, to) = range.split_once("..").unwrap();
                self.files[name][from.parse().unwrap()..to.parse().unwrap()].to_vec()
            }
            ["hex", digits] => digits
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect(),
            ["files", ref names @ ..] => {
                names.iter().flat_map(|name| self.files[*name].iter().copied()).collect()
            }
            ["roots", ref names @ ..] => {
                names.iter().flat_map(|name| self.roots[*name].0.0).collect()
            }
            _ => panic!("no payload: {text}"),
        }
    }

    /// Whether a message is one that it knew; an error when it took it for something else, or could
    /// not read it.
    pub fn understands(
        &self,
        request: bool,
        header: &Value,
        payload: usize,
    ) -> Result<bool, String> {
        let misread = |why: String| Err(format!("it would misread {header}: {why}"));
        let Some(Value::String(name)) = header.get("type") else {
            return misread("no type".to_owned());
        };
        let name = match header.get("report") {
            Some(Value::String(report)) if request => format!("{name}/{report}"),
            _ => name.clone(),
        };
        let Some(known) = self.messages.get(&(request, name)) else {
            // A request is answered with `unsupported`; a response or report ends all.
            return match request && header.get("report").is_none() && payload <= 32 << 20 {
                true => Ok(false),
                false => misread("it is of no type that it knew".to_owned()),
            };
        };
        let whole = |name| header.get(name).and_then(Value::as_u64).unwrap_or(0);
        let digests = whole("length").div_ceil(whole("chunk_size").max(1)) as usize * Digest::LEN;
        if payload > known.longest_payload.unwrap_or(digests.max(64 << 10)) {
            return misread(format!("a payload of {payload} bytes"));
        }
        for (field, (kind, needed)) in &known.fields {
            match header.get(field) {
                Some(value) if kind_of(value) != kind => {
                    return misread(format!("{field} was a {kind}"));
                }
                None if *needed => return misread(format!("{field} is missing")),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// The digests of a file that is cut so.
pub fn digests(data: &[u8], chunk_size: u64) -> Vec<u8> {
    let layout = ChunkLayout::new(data.len() as u64, chunk_size as u32).unwrap();
    Digest::join(manifest_cut("f", data, layout).digests())
}

fn field(text: &str) -> (String, (String, bool)) {
    let (name, kind) = text.split_once('=').unwrap();
    (name.to_owned(), (kind.trim_end_matches('!').to_owned(), kind.ends_with('!')))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

fn with_roots(roots: &BTreeMap<String, Root>, text: &str) -> String {
    let said = |text: String, (name, root): (&String, &Root)| {
        text.replace(&format!("root({name})"), &root.to_string())
    };
    roots.iter().fold(text.to_owned(), said)
}

/// Whether `found` has all that `expected` has, and perhaps more: fields that are new, and entries
/// of a listing with such fields.
pub fn has_all(found: &Value, expected: &Value) -> bool {
    let all = |found: &Map<String, Value>, expected: &Map<String, Value>| {
        expected.iter().all(|(name, value)| {
            // Programs differ in what they call themselves.
            name == "agent" || found.get(name).is_some_and(|found| has_all(found, value))
        })
    };
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => all(found, expected),
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| has_all(found, expected))
        }
        _ => found == expected,
    }
}
