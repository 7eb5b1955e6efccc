//! What lies in the private folder, for the room of the same name: journal, catalog, live file.

use super::identity::Identity;
use super::{journal, record, watched};
use crate::content::{ChunkLayout, ChunkSet, Digest, FileName, Manifest, Root};

fn sample() -> Option<Manifest> {
    let layout = ChunkLayout::new(11 * 16384 - 5, 16384).ok()?;
    Manifest::from_digests("f/ž".parse().ok()?, layout, vec![Digest([3; 32]); 11]).ok()
}

fn some_chunks(layout: &ChunkLayout) -> ChunkSet {
    let mut have = ChunkSet::none(layout);
    layout.indices().step_by(3).for_each(|index| {
        have.insert(index);
    });
    have
}

/// Journals that are right.
pub(crate) fn journals() -> Vec<Vec<u8>> {
    let journal =
        |manifest: Manifest| journal::encode(&manifest, 7, &some_chunks(manifest.layout())).ok();
    sample().and_then(journal).into_iter().collect()
}

/// A journal as it is, and with the check that it should have, which chance never finds.
pub(crate) fn journal(bytes: &[u8]) {
    one_journal(bytes);
    if let Some((body, _)) = bytes.split_last_chunk::<{ Digest::LEN }>() {
        one_journal(&[body, &Digest::of(body).0].concat());
    }
}

fn one_journal(bytes: &[u8]) {
    let name = journal::name_of(bytes);
    let Some((head, chunks)) = journal::read(bytes) else { return };
    assert_eq!(name.as_ref(), Some(&head.name));
    let Ok(layout) = ChunkLayout::new(head.length, head.chunk_size) else { return };
    if layout.count() > 1000 {
        return;
    }
    // The manifest of that layout has another root, so the journal says nothing of it.
    let digests = vec![Digest([3; 32]); layout.count() as usize];
    let Ok(manifest) = Manifest::from_digests(head.name.clone(), layout, digests) else { return };
    let decoded = journal::decode(&manifest, head.inode, bytes);
    assert!(decoded.is_none() || manifest.root() == head.root, "a journal of another content");
    assert_eq!(journal::decode(&manifest, head.inode.wrapping_add(1), bytes), None);
    // One of ours for that content is read back.
    let have = ChunkSet::from_bytes(&layout, chunks).unwrap_or_else(|| some_chunks(&layout));
    let written = journal::encode(&manifest, head.inode, &have).unwrap_or_default();
    assert_eq!(journal::decode(&manifest, head.inode, &written), Some(have));
}

/// Catalogs that are right, without their first line.
pub(crate) fn catalogs() -> Vec<Vec<u8>> {
    let record = |name: &str, length: u64| {
        let identity = Identity { length, mtime_ns: -5, ctime_ns: 6, inode: 7 };
        let (name, root) = (name.parse().ok()?, Root(Digest([4; 32])));
        let head = record::Head { name, root, chunk_size: 16384, identity };
        let digests = vec![5; head.layout()?.count() as usize * Digest::LEN];
        record::encode(&head, &digests).ok().map(|(record, _)| record)
    };
    let (one, two) = (record("f/ž", 40_000), record("empty", 0));
    let both = [one.clone().unwrap_or_default(), two.unwrap_or_default()].concat();
    one.into_iter().chain([both]).collect()
}

/// Records one behind the other, as they are, and each with the check that it should have.
pub(crate) fn catalog(bytes: &[u8]) {
    records(bytes);
    let head_len = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let (Some(lengths), Some(head)) =
        (bytes.get(..8), head_len.checked_add(16).and_then(|end| bytes.get(16..end)))
    else {
        return;
    };
    let check = Digest::of(&[lengths, head].concat()).0;
    let (check, _) = check.split_at(8);
    let rest = bytes.get(16 + head_len..).unwrap_or_default();
    records(&[lengths, check, head, rest].concat());
}

fn records(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let mut input = rest;
        let found = match record::read_head(&mut input) {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return assert!(rest.is_empty(), "{error}"),
        };
        let read = rest.len() - input.len();
        assert_eq!(read as u64, found.digests_at());
        let Some(digests) =
            usize::try_from(found.digests_len).ok().and_then(|end| input.get(..end))
        else {
            return;
        };
        let (written, digests_at) = record::encode(&found.head, digests).unwrap_or_default();
        assert_eq!((digests_at, written.len() as u64), (found.digests_at(), found.len()));
        assert_eq!(Some(&written[..]), rest.get(..written.len()));
        rest = rest.get(written.len()..).unwrap_or_default();
    }
}

/// Live files that are right.
pub(crate) fn live_files() -> Vec<Vec<u8>> {
    let head = sample().map(|manifest| journal::Head::of(&manifest, 7));
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let units = watched::UnitsHead { id: Root(Digest([4; 32])), count: 3 };
    let units = serde_json::to_vec(&units).unwrap_or_default();
    vec![
        [b"peershare live 1\n", &head[..], b"\n", &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat(),
        [b"peershare units 1\n", &units[..], b"\n", &[1, 0, 1]].concat(),
    ]
}

/// The beginning of a live file, of a file or of units.
pub(crate) fn live_file(bytes: &[u8]) {
    if let Some((head, first)) = watched::parse_units(bytes) {
        assert!(first <= bytes.len() as u64, "units begin behind the end");
        let written = serde_json::to_vec(&head).unwrap_or_default();
        let again = [b"peershare units 1\n", &written[..], b"\n"].concat();
        assert_eq!(watched::parse_units(&again), Some((head, again.len() as u64)));
    }
    let Some((head, first)) = watched::parse(bytes) else { return };
    assert!(first <= bytes.len() as u64, "chunks begin behind the end");
    let _: &FileName = &head.name;
    let written = serde_json::to_vec(&head).unwrap_or_default();
    let again = [b"peershare live 1\n", &written[..], b"\n"].concat();
    let read = watched::parse(&again);
    assert_eq!(read, Some((head, again.len() as u64)));
}
