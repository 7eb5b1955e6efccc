//! BitTorrent v2 metainfo (BEP 52): what a `.torrent` file says of files, whose roots are our
//! content ids.

use std::collections::BTreeMap;

use bt_bencode::{ByteString, Value};

use super::{BadName, Digest, FileName, Root};
use crate::config;

/// A file that a torrent describes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TorrentFile {
    /// Its name, beneath the torrent's own where that is a folder.
    pub name: FileName,
    /// Its length in bytes.
    pub length: u64,
    /// What it is; that of nothing where it is empty.
    pub root: Root,
    /// Whether it may be executed.
    pub executable: bool,
    /// The digests of its pieces, where it has several.
    pub layer: Vec<Digest>,
}

/// Files that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torrent {
    /// What all of it is called.
    pub name: FileName,
    /// Length of a piece in bytes.
    pub piece_length: u32,
    /// The files, in the order of their names.
    pub files: Vec<TorrentFile>,
    /// Names of links, which this program does not make (BEP 47).
    pub links: Vec<String>,
}

/// Why bytes are not a torrent that can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadTorrent {
    /// They are not bencode.
    #[error("it is no torrent file: {0}")]
    NotBencode(String),
    /// Only the older description is there, which knows no digest of a file.
    #[error(
        "it is a BitTorrent v1 torrent, which has digests of pieces across files and none of a file; ask for a v2 or hybrid one"
    )]
    OnlyV1,
    /// Something is missing or of the wrong kind.
    #[error("it is no BitTorrent v2 torrent: {0}")]
    Wrong(&'static str),
    /// A file in it has a name that cannot be received.
    #[error("a file in it is called {name:?}: {why}")]
    Name {
        /// As far as it is text.
        name: String,
        /// What is wrong with it.
        why: BadName,
    },
}

/// The lengths up to which libtorrent makes pieces of 16 KiB, 32 KiB and so on, so that both make
/// the same torrent of the same files (measured with libtorrent 2.0).
const PIECES: [u64; 11] = [
    2_684_355,
    10_737_418,
    42_949_673,
    171_798_692,
    687_194_767,
    2_748_779_069,
    10_995_116_278,
    43_980_465_111,
    175_921_860_444,
    703_687_441_777,
    2_814_749_767_107,
];

/// The usual length of a piece in bytes for so many bytes altogether.
pub fn piece_length(total: u64) -> u32 {
    let step = PIECES.iter().position(|most| total <= *most).unwrap_or(PIECES.len() - 1);
    (16 << 10) << step
}

impl Torrent {
    /// Reads a torrent. One that has the older description, too, is taken by the newer.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadTorrent> {
        check_depth(bytes)?;
        let value: Value = bt_bencode::from_slice(bytes)
            .map_err(|error| BadTorrent::NotBencode(error.to_string()))?;
        let top = dict(&value).ok_or(BadTorrent::Wrong("it is no dictionary"))?;
        let info = top
            .get(b"info".as_slice())
            .and_then(dict)
            .ok_or(BadTorrent::Wrong("it has no info"))?;
        let Some(tree) = info.get(b"file tree".as_slice()) else {
            let is_v1 = info.contains_key(b"pieces".as_slice());
            return Err(if is_v1 {
                BadTorrent::OnlyV1
            } else {
                BadTorrent::Wrong("it has no file tree")
            });
        };
        if number(info.get(b"meta version".as_slice())) != Some(2) {
            return Err(BadTorrent::Wrong("its meta version is not 2"));
        }
        let piece_length = number(info.get(b"piece length".as_slice()))
            .and_then(|length| u32::try_from(length).ok())
            .filter(|length| length.is_power_of_two() && *length >= 16 << 10)
            .ok_or(BadTorrent::Wrong("its piece length is no power of two from 16 KiB on"))?;
        let name = text(info.get(b"name".as_slice())).ok_or(BadTorrent::Wrong("it has no name"))?;
        let name = name_of(&name)?;
        let tree = dict(tree).ok_or(BadTorrent::Wrong("its file tree is no dictionary"))?;
        let (mut files, mut links) = (Vec::new(), Vec::new());
        // A single file is called as the torrent, and lies in no folder.
        let single = tree.len() == 1
            && tree
                .get(name.as_str().as_bytes())
                .and_then(dict)
                .is_some_and(|node| node.contains_key(b"".as_slice()));
        let above = if single { String::new() } else { format!("{name}/") };
        walk(tree, &above, &mut files, &mut links)?;
        let layers = top.get(b"piece layers".as_slice()).and_then(dict);
        for file in &mut files {
            let layer = layers.and_then(|layers| layers.get(file.root.0.0.as_slice()));
            file.layer = layer.and_then(bytes_of).and_then(Digest::split).unwrap_or_default();
        }
        Ok(Self { name, piece_length, files, links })
    }

    /// The torrent as bytes, and the SHA-256 of its info, by which others call it.
    pub fn encode(&self) -> Result<(Vec<u8>, Digest), BadTorrent> {
        let failed = |error: bt_bencode::Error| BadTorrent::NotBencode(error.to_string());
        let mut tree = BTreeMap::new();
        let prefix = format!("{}/", self.name);
        for file in &self.files {
            let within = file.name.as_str().strip_prefix(&prefix).unwrap_or(file.name.as_str());
            insert(&mut tree, &mut within.split('/'), leaf(file));
        }
        let info = Value::Dict(BTreeMap::from([
            ("file tree".into(), Value::Dict(tree)),
            ("meta version".into(), integer(2)),
            ("name".into(), string(self.name.last_part().as_bytes())),
            ("piece length".into(), integer(self.piece_length.into())),
        ]));
        let hash = Digest::of(&bt_bencode::to_vec(&info).map_err(failed)?);
        let layered = self.files.iter().filter(|file| !file.layer.is_empty());
        let layers = layered
            .map(|file| (file.root.0.0.as_slice().into(), string(&Digest::join(&file.layer))));
        let top = Value::Dict(BTreeMap::from([
            ("info".into(), info),
            ("piece layers".into(), Value::Dict(layers.collect())),
        ]));
        Ok((bt_bencode::to_vec(&top).map_err(failed)?, hash))
    }
}

/// Finds the files beneath a node of the tree.
fn walk(
    node: &BTreeMap<ByteString, Value>,
    above: &str,
    files: &mut Vec<TorrentFile>,
    links: &mut Vec<String>,
) -> Result<(), BadTorrent> {
    for (part, below) in node {
        let below = dict(below)
            .ok_or(BadTorrent::Wrong("its file tree has something that is no dictionary"))?;
        let part =
            str::from_utf8(part).map_err(|_| BadTorrent::Wrong("a name in it is not UTF-8"))?;
        if part.is_empty() || part.contains('/') {
            return Err(BadTorrent::Wrong("a name in it is empty or has a slash"));
        }
        let path = format!("{above}{part}");
        match below.get(b"".as_slice()) {
            Some(file) if attributes(file).contains('l') => links.push(path),
            Some(file) => files.push(read_leaf(file, &path)?),
            None => walk(below, &format!("{path}/"), files, links)?,
        }
    }
    Ok(())
}

/// What BEP 47 says of a file in letters: `x` for one that may be executed, `l` for a link.
fn attributes(leaf: &Value) -> String {
    dict(leaf).and_then(|leaf| text(leaf.get(b"attr".as_slice()))).unwrap_or_default()
}

fn read_leaf(value: &Value, path: &str) -> Result<TorrentFile, BadTorrent> {
    let leaf = dict(value).ok_or(BadTorrent::Wrong("a file in it is no dictionary"))?;
    let length = number(leaf.get(b"length".as_slice()))
        .ok_or(BadTorrent::Wrong("a file in it has no length"))?;
    let root = leaf.get(b"pieces root".as_slice()).and_then(bytes_of).and_then(Digest::split);
    let root = match root.as_deref() {
        Some([root]) if length > 0 => Root(*root),
        None if length == 0 => Root::of_nothing(),
        Some(_) if length == 0 => {
            return Err(BadTorrent::Wrong("a file in it is empty and has a root all the same"));
        }
        _ => return Err(BadTorrent::Wrong("a file in it has no root")),
    };
    let executable = attributes(value).contains('x');
    Ok(TorrentFile { name: name_of(path)?, length, root, executable, layer: Vec::new() })
}

fn name_of(path: &str) -> Result<FileName, BadTorrent> {
    path.parse().map_err(|why| BadTorrent::Name { name: path.to_owned(), why })
}

/// What the tree has for a file.
fn leaf(file: &TorrentFile) -> Value {
    let mut leaf = BTreeMap::from([("length".into(), integer(file.length))]);
    if file.executable {
        leaf.insert("attr".into(), string(b"x"));
    }
    if file.length > 0 {
        leaf.insert("pieces root".into(), string(&file.root.0.0));
    }
    Value::Dict(BTreeMap::from([("".into(), Value::Dict(leaf))]))
}

fn insert<'a>(
    node: &mut BTreeMap<ByteString, Value>,
    parts: &mut impl Iterator<Item = &'a str>,
    leaf: Value,
) {
    let Some(part) = parts.next() else { return };
    match parts.next() {
        None => {
            node.insert(part.into(), leaf);
        }
        Some(next) => {
            let below = node.entry(part.into()).or_insert_with(|| Value::Dict(BTreeMap::new()));
            if let Value::Dict(below) = below {
                insert(
                    below,
                    &mut std::iter::once(next)
                        .chain(parts.by_ref())
                        .collect::<Vec<_>>()
                        .into_iter(),
                    leaf,
                );
            }
        }
    }
}

/// The library goes as deep as the bytes say, so how deep that is is looked at first.
fn check_depth(bytes: &[u8]) -> Result<(), BadTorrent> {
    let cut = || BadTorrent::NotBencode("it ends in the middle".to_owned());
    let (mut rest, mut depth) = (bytes, 0_usize);
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'd' | b'l' => {
                depth += 1;
                rest = after;
            }
            b'e' => {
                depth = depth.saturating_sub(1);
                rest = after;
            }
            b'i' => {
                let end = after.iter().position(|byte| *byte == b'e').ok_or_else(cut)?;
                rest = after.get(end + 1..).unwrap_or_default();
            }
            b'0'..=b'9' => {
                let colon = rest.iter().position(|byte| *byte == b':').ok_or_else(cut)?;
                let digits = rest.get(..colon).and_then(|digits| str::from_utf8(digits).ok());
                let length: usize =
                    digits.and_then(|digits| digits.parse().ok()).ok_or_else(cut)?;
                let end = (colon + 1).checked_add(length).ok_or_else(cut)?;
                rest = rest.get(end..).ok_or_else(cut)?;
            }
            _ => return Err(BadTorrent::NotBencode("it has bytes that mean nothing".to_owned())),
        }
        if depth > config::TORRENT_DEPTH {
            return Err(BadTorrent::NotBencode("it goes too deep".to_owned()));
        }
    }
    Ok(())
}

fn dict(value: &Value) -> Option<&BTreeMap<ByteString, Value>> {
    match value {
        Value::Dict(dict) => Some(dict),
        _ => None,
    }
}

fn bytes_of(value: &Value) -> Option<&[u8]> {
    value.as_byte_str().map(|bytes| bytes.as_ref())
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(bytes_of).and_then(|bytes| str::from_utf8(bytes).ok()).map(str::to_owned)
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value {
        Some(Value::Int(bt_bencode::value::Number::Unsigned(number))) => Some(*number),
        Some(Value::Int(bt_bencode::value::Number::Signed(number))) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn integer(number: u64) -> Value {
    Value::Int(bt_bencode::value::Number::Unsigned(number))
}

fn string(bytes: &[u8]) -> Value {
    Value::ByteStr(bytes.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, length: u64) -> TorrentFile {
        let root = if length == 0 { Root::of_nothing() } else { Root(Digest::of(name.as_bytes())) };
        let layer =
            if length > 16 << 10 { vec![Digest::of(b"1"), Digest::of(b"2")] } else { vec![] };
        TorrentFile { name: name.parse().unwrap(), length, root, executable: length == 3, layer }
    }

    fn folder() -> Torrent {
        let files = vec![file("t/a", 3), file("t/b/c/d", 40_000), file("t/b/e", 0)];
        Torrent { name: "t".parse().unwrap(), piece_length: 16 << 10, files, links: vec![] }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (bytes, _) = folder().encode().unwrap();
        assert_eq!(Torrent::parse(&bytes), Ok(folder()));
        let single = Torrent {
            files: vec![file("one.iso", 40_000)],
            name: "one.iso".parse().unwrap(),
            ..folder()
        };
        assert_eq!(Torrent::parse(&single.encode().unwrap().0), Ok(single));
    }

    #[test]
    fn links_are_no_files() {
        let torrent = Torrent::parse(
            b"d4:infod9:file treed1:ad0:d6:lengthi0eee1:ld0:d4:attr1:l6:lengthi0eeee12:meta versioni2e4:name1:t12:piece lengthi16384eee",
        );
        let torrent = torrent.unwrap();
        let files: Vec<&str> = torrent.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!((files, torrent.links), (vec!["t/a"], vec!["t/l".to_owned()]));
    }

    #[test]
    fn what_is_no_v2_torrent_is_told() {
        let told = |bytes: &[u8]| Torrent::parse(bytes).unwrap_err().to_string();
        assert!(told(b"d4:infod6:pieces20:aaaaaaaaaaaaaaaaaaaaee").contains("BitTorrent v1"));
        assert!(told(b"d4:infodee").contains("no file tree"));
        assert!(
            told(b"hello").contains("no torrent file") && told(b"").contains("no torrent file")
        );
        assert!(
            told(b"i1e").contains("no dictionary")
                && told(b"99999999999999999999:").contains("in the middle")
        );
        let deep = "l".repeat(1_000_000);
        assert!(told(deep.as_bytes()).contains("too deep"));
        let tree =
            b"d4:infod9:file treed2:..d0:d6:lengthi0eeee12:meta versioni2e4:name1:t12:piece lengthi16384eee";
        assert!(told(tree).contains("a file in it is called \"t/..\""), "{}", told(tree));
    }

    #[test]
    fn an_empty_file_has_no_root_of_something() {
        let (bytes, _) = folder().encode().unwrap();
        let with = |length: &str| {
            let at = bytes.windows(11).position(|word| word == b"6:lengthi3e").unwrap();
            Torrent::parse(&[&bytes[..at], length.as_bytes(), &bytes[at + 11..]].concat())
        };
        assert!(with("6:lengthi3e").is_ok());
        let told = with("6:lengthi0e").unwrap_err().to_string();
        assert!(told.contains("is empty and has a root"), "{told}");
    }

    #[test]
    fn pieces_grow_as_those_of_libtorrent_do() {
        for (total, kib) in
            [(1, 16), (2_684_355, 16), (2_684_356, 32), (42_949_674, 128), (1 << 40, 16384)]
        {
            assert_eq!(piece_length(total), kib << 10, "{total}");
        }
        assert_eq!(piece_length(u64::MAX), 16 << 20);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(place in 0_usize..400, byte: u8, cut in 0_usize..400) {
            let (mut bytes, _) = folder().encode().unwrap();
            if let Some(old) = bytes.get_mut(place) {
                *old = byte;
            }
            bytes.truncate(cut.max(1));
            let _ = Torrent::parse(&bytes);
        }
    }
}
