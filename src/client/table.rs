//! The table of `#FILELIST`: one line for each name and content, with all peers that have it.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use super::text::{pad, shown, size, width};
use crate::config;
use crate::content::{FileName, Root};
use crate::topology::PeerId;

/// One file, or one folded folder, as one peer listed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// How many files are beneath it, when it stands for a whole folder.
    pub files: Option<u64>,
    /// Who has it.
    pub peer: PeerId,
    /// What it is called there.
    pub name: FileName,
    /// Its length in bytes; a classic peer does not say it.
    pub length: Option<u64>,
    /// Its content id, unless the peer still hashes it, or is a classic one.
    pub root: Option<Root>,
}

impl Listed {
    /// What it is, as far as that is known; an empty file needs no hashing.
    fn content(&self) -> (Option<u64>, Option<Root>) {
        let empty = self.length == Some(0) && self.files.is_none();
        (self.length, self.root.or_else(|| empty.then(Root::of_nothing)))
    }
}

/// For whom the table is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// For eyes: a header, aligned columns, rounded sizes.
    Aligned,
    /// For scripts: tabs between the columns, no header, sizes in bytes, `-` for an unknown id.
    Tabs,
}

impl Layout {
    /// Aligned when stdout is a terminal.
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Aligned } else { Self::Tabs }
    }
}

/// Folds a peer's files, which come in the order of their names, into the files and folders that lie
/// directly in `within` (empty, or a folder with a `/` behind).
pub struct Fold {
    within: String,
    rows: Vec<Listed>,
}

impl Fold {
    /// Nothing folded yet.
    pub fn new(within: &str) -> Self {
        Self { within: within.to_owned(), rows: Vec::new() }
    }

    /// Adds one file.
    pub fn add(&mut self, file: Listed) {
        let rest = file.name.as_str().strip_prefix(&self.within);
        let folder = rest.and_then(|rest| Some(self.within.len() + rest.find('/')?));
        let folder = folder.and_then(|end| file.name.as_str().get(..end)?.parse::<FileName>().ok());
        let Some(name) = folder else { return self.rows.push(file) };
        match self.rows.last_mut() {
            // What lies in one folder comes together.
            Some(row) if row.files.is_some() && row.name == name => {
                row.length = row.length.zip(file.length).map(|(sum, more)| sum.saturating_add(more));
                row.files = row.files.map(|files| files + 1);
            }
            _ => self.rows.push(Listed { name, files: Some(1), root: None, ..file }),
        }
    }

    /// The rows, in the order of their names.
    pub fn rows(self) -> Vec<Listed> {
        self.rows
    }
}

/// Writes the table, sorted by name. The peers of one line keep the order in which they were given.
pub fn write(listed: &[Listed], layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    let mut sorted: Vec<&Listed> = listed.iter().collect();
    sorted.sort_by(|a, b| by_name_and_content(a, b));
    match layout {
        Layout::Tabs => rows(&sorted).try_for_each(|row| out.write_all(row.tabs().as_bytes())),
        Layout::Aligned if sorted.is_empty() => writeln!(out, "no files"),
        Layout::Aligned => write_aligned(&sorted, out),
    }
}

fn by_name_and_content(a: &Listed, b: &Listed) -> Ordering {
    a.name.cmp(&b.name).then_with(|| a.content().cmp(&b.content()))
}

/// One line: everything of one name and one content.
struct Row<'a> {
    /// Never empty; all equal but for the peer.
    copies: &'a [&'a Listed],
    first: &'a Listed,
    /// Another line has the same name and certainly other content.
    differs: bool,
}

/// The lines of a sorted list.
fn rows<'a>(sorted: &'a [&'a Listed]) -> impl Iterator<Item = Row<'a>> {
    sorted.chunk_by(|a, b| a.name == b.name).flat_map(|namesakes| {
        let differs = differ(namesakes);
        let alike = namesakes.chunk_by(|a, b| a.content() == b.content());
        alike.filter_map(move |copies| Some(Row { copies, first: copies.first()?, differs }))
    })
}

/// Writes the lines of one name, for who reads them before all names are known.
pub fn write_namesakes(listed: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    write(listed, Layout::Tabs, out)
}

/// Whether some of these, sorted, certainly are not the same file; one still being hashed may be.
fn differ(namesakes: &[&Listed]) -> bool {
    let mut lengths = namesakes.iter().filter_map(|listed| listed.length);
    let length = lengths.next();
    let mut roots = namesakes.iter().filter_map(|listed| listed.content().1);
    let root = roots.next();
    lengths.any(|other| Some(other) != length) || roots.any(|other| Some(other) != root)
}

impl Row<'_> {
    fn tabs(&self) -> String {
        let (length, root) = self.first.content();
        let id = root.map_or("-".to_owned(), |root| root.short());
        let length = length.map_or("-".to_owned(), |length| length.to_string());
        format!("{}\t{length}\t{id}\t{}\n", shown(self.first.name.as_str()), self.peers(","))
    }

    fn aligned(&self, columns: &Columns) -> String {
        let (length, root) = self.first.content();
        let unknown = if length.is_some() { "not hashed" } else { "classic" };
        let id = root.map_or(unknown.to_owned(), |root| root.short());
        let id = self.first.files.map_or(id, |files| format!("{files} files"));
        let mark = if self.differs { "≠ " } else { "  " };
        let rest = (shown_size(length), id, format!("{mark}{}", self.peers(", ")));
        let slash = if self.first.files.is_some() { "/" } else { "" };
        columns.line(&format!("{}{slash}", shown(self.first.name.as_str())), rest)
    }

    fn peers(&self, separator: &str) -> String {
        let mut ids: Vec<&str> = self.copies.iter().map(|listed| listed.peer.as_str()).collect();
        // A peer that lists a name twice is still one peer.
        ids.dedup();
        ids.join(separator)
    }
}

fn shown_size(length: Option<u64>) -> String {
    length.map_or("-".to_owned(), size)
}

/// Widths of the aligned columns.
struct Columns {
    name: usize,
    size: usize,
}

impl Columns {
    const ID: usize = 12;

    /// Wide enough for the longest name and size, but see [`config::NAME_COLUMNS`].
    fn for_all(sorted: &[&Listed]) -> Self {
        let mut columns = Self { name: "name".len(), size: "size".len() };
        for row in rows(sorted) {
            let slash = usize::from(row.first.files.is_some());
            columns.name = columns.name.max(width(&shown(row.first.name.as_str())) + slash);
            columns.size = columns.size.max(shown_size(row.first.length).len());
        }
        columns.name = columns.name.min(config::NAME_COLUMNS);
        columns
    }

    fn line(&self, name: &str, (size, id, peers): (String, String, String)) -> String {
        let mut line = String::from(name);
        pad(&mut line, width(name), self.name);
        // Writing to a string cannot fail.
        let _ = write!(line, "  {size:>0$}  {id:<1$} {peers}", self.size, Self::ID);
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn write_aligned(sorted: &[&Listed], out: &mut dyn Write) -> io::Result<()> {
    let columns = Columns::for_all(sorted);
    let heads = ("size".to_owned(), "id".to_owned(), "  peers".to_owned());
    out.write_all(columns.line("name", heads).as_bytes())?;
    let mut some_differ = false;
    for row in rows(sorted) {
        some_differ |= row.differs;
        out.write_all(row.aligned(&columns).as_bytes())?;
    }
    if some_differ {
        writeln!(out, "≠ same name, different content; #DOWNLOAD <id> fetches the one you mean")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Digest;

    fn listed(peer: &str, name: &str, length: u64, content: Option<&str>) -> Listed {
        let root = content.map(|content| Root(Digest::of(content.as_bytes())));
        let length = Some(length);
        Listed { files: None, peer: peer.parse().unwrap(), name: name.parse().unwrap(), length, root }
    }

    fn table(listed: &[Listed], layout: Layout) -> String {
        let mut out = Vec::new();
        write(listed, layout, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn example() -> Vec<Listed> {
        vec![
            listed("peer1", "日本.txt", 5, Some("a")),
            listed("peer1", "big.iso", 5 << 30, Some("a")),
            listed("peer1", "notes", 2000, Some("a")),
            listed("peer2", "notes", 2000, Some("b")),
            listed("peer2", "big.iso", 5 << 30, Some("a")),
            listed("peer3", "big.iso", 5 << 30, None),
        ]
    }

    #[test]
    fn a_terminal_gets_aligned_columns_with_what_differs_marked() {
        let expected = "\
name         size  id             peers
big.iso   5.0 GiB  not hashed     peer3
big.iso   5.0 GiB  ca978112ca1b   peer1, peer2
notes     2.0 KiB  3e23e8160039 ≠ peer2
notes     2.0 KiB  ca978112ca1b ≠ peer1
日本.txt      5 B  ca978112ca1b   peer1
≠ same name, different content; #DOWNLOAD <id> fetches the one you mean
";
        assert_eq!(table(&example(), Layout::Aligned), expected);
    }

    #[test]
    fn folders_are_folded_with_count_and_size() {
        let names = ["a.txt", "p/a", "p/b", "p/q/c", "p/q/d", "z"];
        let folded = |within: &str| {
            let mut fold = Fold::new(within);
            let beneath = names.iter().filter(|name| name.starts_with(within));
            beneath.for_each(|name| fold.add(listed("peer1", name, 1000, Some("a"))));
            table(&fold.rows(), Layout::Aligned)
        };
        let expected = "\
name      size  id             peers
a.txt   1000 B  ca978112ca1b   peer1
p/     3.9 KiB  4 files        peer1
z       1000 B  ca978112ca1b   peer1
";
        assert_eq!(folded(""), expected);
        assert!(folded("p/").contains("p/q/  2.0 KiB  2 files"), "{}", folded("p/"));
    }

    #[test]
    fn a_pipe_gets_tabs_and_exact_bytes() {
        let expected = "\
big.iso\t5368709120\t-\tpeer3
big.iso\t5368709120\tca978112ca1b\tpeer1,peer2
notes\t2000\t3e23e8160039\tpeer2
notes\t2000\tca978112ca1b\tpeer1
日本.txt\t5\tca978112ca1b\tpeer1
";
        assert_eq!(table(&example(), Layout::Tabs), expected);
    }

    #[test]
    fn names_from_peers_are_escaped() {
        let rows = [listed("p", "a\u{202e}b", 1, Some("a"))];
        assert!(table(&rows, Layout::Tabs).starts_with("a\\u{202e}b\t1\t"));
        assert!(table(&rows, Layout::Aligned).contains("\na\\u{202e}b   1 B  ca97"));
    }

    #[test]
    fn what_a_classic_peer_does_not_say_differs_from_nothing() {
        let classic = Listed { length: None, ..listed("q", "a", 0, None) };
        let rows = [classic, listed("p", "a", 5, Some("a"))];
        assert_eq!(table(&rows, Layout::Tabs), "a\t-\t-\tq\na\t5\tca978112ca1b\tp\n");
        let expected =
            "name  size  id             peers\na        -  classic        q\na      5 B  ca978112ca1b   p\n";
        assert_eq!(table(&rows, Layout::Aligned), expected);
    }

    #[test]
    fn another_length_is_other_content_even_while_it_is_hashed() {
        let rows = [listed("p", "a", 1, None), listed("q", "a", 2, Some("a"))];
        assert_eq!(table(&rows, Layout::Aligned).matches("≠ ").count(), 3);
    }

    #[test]
    fn an_empty_file_is_known_without_hashing() {
        let rows = [listed("p", "a", 0, None), listed("q", "a", 0, Some(""))];
        assert_eq!(table(&rows, Layout::Tabs), "a\t0\te3b0c44298fc\tp,q\n");
    }

    #[test]
    fn a_very_long_name_does_not_push_the_others_away() {
        let rows = [listed("p", &"x".repeat(200), 1, None), listed("p", "a", 1, None)];
        let table = table(&rows, Layout::Aligned);
        assert!(table.lines().nth(1).is_some_and(|line| line.len() < 100), "{table}");
        assert!(table.contains(&"x".repeat(200)));
    }

    #[test]
    fn nothing_is_said_in_words_on_a_terminal_only() {
        assert_eq!(table(&[], Layout::Aligned), "no files\n");
        assert_eq!(table(&[], Layout::Tabs), "");
    }

    #[test]
    fn a_hundred_thousand_files_stay_sorted() {
        let rows: Vec<Listed> =
            (0..100_000).rev().map(|i| listed("p", &format!("f{i:06}"), i, None)).collect();
        let table = table(&rows, Layout::Aligned);
        assert_eq!(table.lines().count(), 100_001);
        assert!(table.lines().skip(1).is_sorted());
    }
}
