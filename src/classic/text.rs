//! A file as the dialect sees it: text, counted in characters, in chunks that cut none.

use std::sync::{Arc, Mutex};

use super::message::{CHUNK, characters, is_continued};
use crate::config;
use crate::content::Root;
use crate::locks::lock;
use crate::store::{Content, StoreError};

/// Bytes read at once to count the characters of a file.
const PIECE: usize = 64 << 10;

/// Characters from one mark to the next.
const STRIDE: u64 = 64 * CHUNK as u64;

/// Files whose marks are kept.
const KEPT: usize = 64;

/// Where the characters of a file are: the position in bytes of every [`STRIDE`]th one.
#[derive(Debug)]
struct Marks {
    characters: u64,
    positions: Vec<u64>,
}

/// What was found out about files, by their content: B asks for every chunk on another connection.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Vec<(Root, Option<Arc<Marks>>)>>);

/// An open file that is UTF-8 text.
#[derive(Debug)]
pub struct Text {
    content: Content,
    marks: Arc<Marks>,
    /// The bytes from one mark to the next, and which mark that is.
    block: Vec<u8>,
    loaded: Option<usize>,
}

impl Texts {
    /// The file as text; `None` when it is none, or longer than the dialect is good for.
    pub(super) fn open(&self, content: Content) -> Result<Option<Text>, StoreError> {
        if content.manifest().length() > config::CLASSIC_LONGEST {
            return Ok(None);
        }
        let root = content.manifest().root();
        let known = {
            let kept = lock(&self.0);
            kept.iter().find(|(known, _)| *known == root).map(|(_, marks)| marks.clone())
        };
        let marks = match known {
            Some(marks) => marks,
            None => self.keep(root, Marks::of(&content)?.map(Arc::new)),
        };
        Ok(marks.map(|marks| Text { content, marks, block: Vec::new(), loaded: None }))
    }

    fn keep(&self, root: Root, marks: Option<Arc<Marks>>) -> Option<Arc<Marks>> {
        let mut kept = lock(&self.0);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((root, marks.clone()));
        marks
    }
}

impl Text {
    /// The file as text; `None` when it is none, or longer than the dialect is good for.
    pub fn open(content: Content) -> Result<Option<Self>, StoreError> {
        Texts::default().open(content)
    }

    /// Characters of the file.
    pub fn characters(&self) -> u64 {
        self.marks.characters
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.content.manifest().length()
    }

    /// A chunk; `None` past the end.
    pub(super) fn chunk(&mut self, index: u32) -> Result<Option<&[u8]>, StoreError> {
        let first = u64::from(index) * CHUNK as u64;
        if first >= self.marks.characters {
            return Ok(None);
        }
        self.load((first / STRIDE) as usize)?;
        let from = position(&self.block, (first % STRIDE) as usize);
        let rest = self.block.get(from..).unwrap_or_default();
        Ok(rest.get(..position(rest, CHUNK)))
    }

    fn load(&mut self, mark: usize) -> Result<(), StoreError> {
        if self.loaded == Some(mark) {
            return Ok(());
        }
        let position =
            |mark: usize| self.marks.positions.get(mark).copied().unwrap_or(self.length());
        let (from, to) = (position(mark), position(mark + 1));
        self.loaded = None;
        self.block.resize(to.saturating_sub(from) as usize, 0);
        self.content.read_at(&mut self.block, from)?;
        self.loaded = Some(mark);
        Ok(())
    }
}

/// Where in a text that many characters end.
fn position(text: &[u8], count: usize) -> usize {
    if text.get(..count).is_some_and(<[u8]>::is_ascii) {
        return count;
    }
    let mut begun = text.iter().enumerate().filter(|(_, byte)| !is_continued(**byte));
    begun.nth(count).map_or(text.len(), |(position, _)| position)
}

impl Marks {
    /// Reads the whole file; `None` when it is no UTF-8 text.
    fn of(content: &Content) -> Result<Option<Self>, StoreError> {
        let length = content.manifest().length();
        let mut marks = Self { characters: 0, positions: Vec::new() };
        let (mut offset, mut buffer) = (0, vec![0; PIECE]);
        while offset < length {
            let len = (length - offset).min(PIECE as u64) as usize;
            let piece = buffer.get_mut(..len).unwrap_or_default();
            content.read_at(piece, offset)?;
            let valid = match str::from_utf8(piece) {
                Ok(_) => len,
                // Cut in the middle of a character, which the next piece begins with.
                Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
                    error.valid_up_to()
                }
                Err(_) => return Ok(None),
            };
            marks.add(piece.get(..valid).unwrap_or_default(), offset);
            offset += valid as u64;
        }
        Ok(Some(marks))
    }

    fn add(&mut self, text: &[u8], offset: u64) {
        let mut rest = text;
        while !rest.is_empty() {
            let missing = (STRIDE - self.characters % STRIDE) as usize;
            if missing as u64 == STRIDE {
                self.positions.push(offset + (text.len() - rest.len()) as u64);
            }
            let (taken, after) = rest.split_at(position(rest, missing));
            self.characters += characters(taken) as u64;
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::store::Store;

    fn open(bytes: &[u8]) -> (tempfile::TempDir, Option<Text>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), bytes).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let manifest = store.manifest(&"f".parse().unwrap(), &mut |_, _| true).unwrap();
        let text = Text::open(store.open_content(&manifest.root()).unwrap()).unwrap();
        (folder, text)
    }

    fn chunks(text: &mut Text) -> Vec<String> {
        let chunk = |index| {
            text.chunk(index).unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        (0..).map_while(chunk).collect()
    }

    #[test]
    fn what_is_no_text_is_not_opened() {
        assert!(open(b"abc\xff").1.is_none());
        assert!(open(b"abc\xc3").1.is_none(), "ends within a character");
        assert_eq!(open(b"").1.unwrap().characters(), 0);
    }

    /// A file of nothing but a hole costs its sender nothing, and is text.
    #[test]
    fn what_is_too_long_to_be_counted_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("f")).unwrap();
        file.set_len(config::CLASSIC_LONGEST + 1).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let manifest = store.manifest(&"f".parse().unwrap(), &mut |_, _| true).unwrap();
        let content = store.open_content(&manifest.root()).unwrap();
        assert!(Text::open(content).unwrap().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn chunks_are_the_text_in_hundreds_of_characters(seed in "[a-c\né€😀]{1,80}", times in 1_usize..3000) {
            let expected = seed.repeat(times);
            let mut text = open(expected.as_bytes()).1.unwrap();
            prop_assert_eq!(text.characters(), expected.chars().count() as u64);
            let found = chunks(&mut text);
            prop_assert!(found.iter().rev().skip(1).all(|chunk| chunk.chars().count() == CHUNK));
            prop_assert_eq!(found.concat(), expected);
        }
    }
}
