//! What stands in payloads, names, patterns and torrents.

use std::fmt::Debug;
use std::path::Component;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{text_of, texts};
use crate::content::torrent::Torrent;
use crate::content::{
    ChunkLayout, ChunkSet, Digest, Entry, FileName, Manifest, Omission, Root, Selection, pattern,
};
use crate::wire::{self, Failed, Rows};

pub(super) fn listings() -> Vec<Vec<u8>> {
    let root = Root::of_nothing();
    texts(&[
        "[]",
        &format!(
            r#"[{{"name":"a","length":9,"stored":4,"mtime_ns":-1,"mode":384,"root":"{root}"}},
                {{"name":"b","folder":true,"length":0}},{{"name":"c"}}]"#
        ),
        r#"[{"name":"x\n","reason":"fifo"},{"name":"","reason":"tired"}]"#,
        r#"[{"name":"f","reason":{"code":"no_space","message":"m"}}]"#,
    ])
}

/// A page of a listing, omissions, and what a folder's transfer could not have.
pub(super) fn listing(bytes: &[u8]) {
    for entry in again::<Vec<Entry>>(bytes).unwrap_or_default() {
        is_a_name(&entry.name);
        assert!(entry.room() <= entry.length);
        assert!(entry.attributes().permissions().is_none_or(|mode| mode <= 0o777));
        assert!(!entry.folder || entry.root.is_some() || entry.content().is_none());
    }
    let all = serde_json::from_slice::<Vec<Entry>>(bytes).ok();
    if let Ok(Rows { first, more }) = wire::rows::<Entry>(bytes, 2) {
        let all = all.as_ref().map(|all| (all.get(..2).unwrap_or(all), all.len() > 2));
        assert!(all.is_none_or(|all| all == (&first[..], more)) && first.len() <= 2);
    } else {
        assert_eq!(all, None, "rows are told from an array");
    }
    again::<Vec<Omission>>(bytes);
    again::<Vec<Failed>>(bytes);
}

/// What these bytes are in JSON; it must be the same when it is written and read again.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).unwrap_or_default();
    let back = serde_json::from_slice::<T>(&written).ok();
    assert_eq!(back.as_ref(), Some(&read), "{}", String::from_utf8_lossy(&written));
    Some(read)
}

/// Length and size of a chunk, and what follows.
fn layout_of(bytes: &[u8]) -> Option<(ChunkLayout, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let layout = ChunkLayout::new(u64::from_be_bytes(*length), u32::from_be_bytes(*size)).ok()?;
    Some((layout, rest))
}

fn cut(length: u64, chunk_size: u32, rest: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &chunk_size.to_be_bytes(), rest].concat()
}

pub(super) fn manifests() -> Vec<Vec<u8>> {
    let digests = Digest::join(&[Digest([1; 32]), Digest::of(b""), Digest::ZERO]);
    let digest = |count: usize| digests.get(..32 * count).unwrap_or_default();
    vec![
        cut(0, 16384, b""),
        cut(5, 16384, digest(1)),
        cut(3 * 65536, 65536, digest(3)),
        cut(40_000, 16384, digest(3)),
        cut(u64::MAX, 16 << 20, digest(3)),
        cut(1 << 44, 16 << 20, digest(3)),
    ]
}

/// Length, size of a chunk and digests, as an offer and a manifest bring them.
pub(super) fn manifest(bytes: &[u8]) {
    let Some((layout, digests)) = layout_of(bytes) else { return };
    assert!(layout.count() <= ChunkLayout::MAX_CHUNKS);
    if layout.count() > 1000 {
        return;
    }
    let lengths = layout.indices().map(|index| layout.chunk_len(index) as u64);
    assert_eq!(lengths.sum::<u64>(), layout.length());
    let (Some(digests), Ok(name)) = (Digest::split(digests), "f".parse::<FileName>()) else {
        return;
    };
    // Nobody finds digests that lead to this one.
    let other = Root(Digest::of(bytes));
    assert!(Manifest::new(name.clone(), layout, other, digests.clone()).is_err());
    let Ok(manifest) = Manifest::from_digests(name.clone(), layout, digests.clone()) else {
        return;
    };
    assert_eq!(digests.len(), layout.count() as usize);
    assert_eq!(Manifest::new(name, layout, manifest.root(), digests).as_ref(), Ok(&manifest));
    if layout.chunk_size() <= 1 << 16 {
        assert!(manifest.zeros().len() <= layout.count());
    }
    for index in layout.indices().take(2).filter(|index| layout.chunk_len(*index) <= 1 << 16) {
        let chunk = vec![1; layout.chunk_len(index)];
        if let Ok(verified) = manifest.verify(index, &chunk) {
            assert_eq!(verified.offset(), layout.range(index).start);
        }
        assert!(manifest.verify(index, &[]).is_err(), "an empty chunk is verified");
    }
}

pub(super) fn chunk_sets() -> Vec<Vec<u8>> {
    vec![
        cut(0, 16384, b""),
        cut(11 * 16384, 16384, &[0x09, 0x04]),
        cut(8 * 16384, 16384, &[0xff]),
        cut(8 * 16384 + 1, 16384, &[0xff, 0x01]),
    ]
}

/// A set of chunks, as in `have` and `next`.
pub(super) fn chunk_set(bytes: &[u8]) {
    let Some((layout, bits)) = layout_of(bytes) else { return };
    let Some(mut set) = ChunkSet::from_bytes(&layout, bits) else { return };
    assert_eq!(set.as_bytes(), bits);
    assert_eq!(set.len() as usize, set.iter().count());
    assert!(set.iter().all(|index| index.get() < layout.count()));
    layout.indices().for_each(|index| {
        assert!(set.contains(index) != set.insert(index));
    });
    assert!(set.is_full() && set == ChunkSet::all(&layout));
}

pub(super) fn names() -> Vec<Vec<u8>> {
    texts(&[
        "a.txt",
        "a/b/c",
        "../x",
        "/x",
        "a//b",
        ".peershare",
        ".PEERSH~1/x",
        "ž\u{200c}",
        "x/.peershare-arriving-7",
        "．ＰＥＥＲＳＨＡＲＥ",
        "a\nb",
        "a\u{202e}b",
        "~",
        "-x",
        "$'a'",
    ])
}

/// A name, and all that is made of it: paths, patterns, words of a command.
pub(super) fn name(bytes: &[u8]) {
    let text = text_of(bytes);
    let Ok(name) = text.parse::<FileName>() else { return };
    assert_eq!(name.as_str(), text);
    is_a_name(&name);
    let quoted = crate::client::text::quoted(name.as_str());
    assert_eq!(crate::client::words::unquoted(&quoted), name.as_str(), "{quoted}");
    let only = Selection::new(Some(&pattern::escaped(text)), &[]);
    let beneath = pattern::beneath(text);
    assert_eq!(pattern::folder_of(&beneath).as_deref(), Some(text), "{beneath}");
    match (only, Selection::new(Some(&beneath), &[])) {
        (Ok(only), Ok(all)) => {
            assert!(only.matches(&name) && all.matches(&name), "{text:?}");
            assert!(all.selects(&format!("{text}/x")) && !all.selects(&format!("{text}x")));
        }
        // Only what is much longer as a pattern cannot be one.
        (only, all) => assert!(text.len() > 1000, "{text:?}: {only:?} {all:?}"),
    }
}

/// What every name keeps, wherever it came from.
fn is_a_name(name: &FileName) {
    let parts: Vec<Component> = name.as_path().components().collect();
    assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{name:?}");
    assert_eq!(parts.len(), name.as_str().split('/').count(), "{name:?}");
    assert!(name.as_str().len() <= FileName::MAX_LEN && !name.as_str().contains('\0'));
    let top = name.as_str().split('/').next().unwrap_or_default();
    assert!(!top.eq_ignore_ascii_case(crate::content::name::PRIVATE_FOLDER), "{name:?}");
    let joined = match name.folder() {
        Some(folder) => format!("{folder}/{}", name.last_part()),
        None => name.last_part().to_owned(),
    };
    assert_eq!(joined, name.as_str());
}

pub(super) fn patterns() -> Vec<Vec<u8>> {
    texts(&[
        "*.txt\np/q/b.txt\n\nq\n*.tmp",
        "p/\np/q",
        "{a,b/**}/c[0-9]*\na/c1",
        "**/x?\np/q/xy\n\np/*/x",
        "[!a-z]\\*{x,}\nX*x",
        "a[\na[",
        "{p [[]1[]],p [[]1[]]/**}\np [1]/x",
    ])
}

/// The pattern, then names; behind an empty line what is left out.
pub(super) fn pattern(bytes: &[u8]) {
    let text = text_of(bytes);
    let (wanted, except) = text.split_once("\n\n").unwrap_or((text, ""));
    let except: Vec<String> = except.lines().map(str::to_owned).collect();
    let mut lines = wanted.lines();
    let wanted = lines.next().unwrap_or_default();
    if let Some(folder) = pattern::folder_of(wanted) {
        let within =
            Selection::new(Some(wanted), &[]).map(|all| all.selects(&format!("{folder}/x")));
        assert_eq!(within, Ok(true), "{wanted:?} is the folder {folder:?}");
    }
    let Ok(selection) = Selection::new(Some(wanted), &except) else { return };
    for name in lines.filter_map(|line| line.parse::<FileName>().ok()) {
        if !selection.matches(&name) {
            continue;
        }
        let text = name.as_str();
        assert!(!except.iter().any(|left_out| left_out == text), "{text:?} was left out");
        assert!(text.starts_with(selection.beneath().trim_end_matches('/')), "{wanted:?} {text:?}");
        // Or the folders in which it lies would not be looked into.
        for (at, _) in text.match_indices('/') {
            let folder = text.get(..at).unwrap_or_default();
            assert!(
                selection.may_select_beneath(folder),
                "{wanted:?} {except:?} {text:?} {folder:?}"
            );
        }
    }
}

pub(super) fn torrents() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../../tests/data/torrents/one-v2.torrent").to_vec(),
        include_bytes!("../../tests/data/torrents/tree-64k.torrent").to_vec(),
        include_bytes!("../../tests/data/torrents/tree-hybrid.torrent").to_vec(),
        include_bytes!("../../tests/data/torrents/tree-v1.torrent").to_vec(),
        include_bytes!("../../tests/data/torrents/tree-v2.torrent").to_vec(),
        concat!(
            "d4:infod9:file treed1:ad0:d6:lengthi0eeee",
            "12:meta versioni2e4:name1:a12:piece lengthi16384eee"
        )
        .into(),
    ]
}

/// A torrent: what was read is written, and read again to the same.
pub(super) fn torrent(bytes: &[u8]) {
    let Ok(torrent) = Torrent::parse(bytes) else { return };
    is_a_name(&torrent.name);
    torrent.files.iter().for_each(|file| is_a_name(&file.name));
    // Links are told of and left out, so they are not written.
    let torrent = Torrent { links: Vec::new(), ..torrent };
    let written = torrent.encode().map(|(bytes, _)| bytes).unwrap_or_default();
    assert_eq!(Torrent::parse(&written).as_ref(), Ok(&torrent));
}
