//! The table of `#FILELIST`: one line for each name and content, with all peers that have it.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal};

use super::said::Said;
use super::text::{self, files, pad, quoted, size, width};
use crate::config;
use crate::content::{FileName, Root};
use crate::topology::PeerId;

/// One file, or one folded folder, as one peer listed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// What is beneath it, when it stands for a whole folder.
    pub folder: Option<Folded>,
    /// Who has it.
    pub peer: PeerId,
    /// What it is called there.
    pub name: FileName,
    /// Its length in bytes; a classic peer does not say it.
    pub length: Option<u64>,
    /// Its content id, unless the peer still hashes it, or is a classic one.
    pub root: Option<Root>,
}

/// The files of a folder, so that it can be told whether two peers have the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Folded(Vec<Beneath>);

/// A file of a folder; hashes of what it is called and of what it is stand for both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Beneath {
    name: u64,
    /// `None` while nobody knows.
    content: Option<u64>,
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Folded {
    fn add(&mut self, file: &Listed) {
        let content = file.content().1.map(|root| hash_of((file.length, root)));
        self.0.push(Beneath { name: hash_of(&file.name), content });
    }

    fn is_known(&self) -> bool {
        self.0.iter().all(|file| file.content.is_some())
    }

    /// How many files are not certainly the same in all of these folders, as far as they are known.
    fn differing(folders: &[&Self]) -> usize {
        let mut files: HashMap<u64, (usize, Option<u64>, bool)> = HashMap::new();
        for Beneath { name, content } in folders.iter().flat_map(|folder| &folder.0) {
            let (times, first, differs) = files.entry(*name).or_insert((0, *content, false));
            *times += 1;
            *differs |= content.is_some() && first.is_some() && content != first;
            *first = first.or(*content);
        }
        files.values().filter(|(times, _, differs)| *differs || *times < folders.len()).count()
    }
}

impl Listed {
    /// What it is, as far as that is known; an empty file needs no hashing.
    fn content(&self) -> (Option<u64>, Option<Root>, Option<&Folded>) {
        let empty = self.length == Some(0) && self.folder.is_none();
        let root = self.root.or_else(|| empty.then(Root::of_nothing));
        (self.length, root, self.folder.as_ref())
    }

    /// Whether both are certainly the same, or nothing speaks against it for single files, whose
    /// ids are shown as not known.
    fn is_like(&self, other: &Self) -> bool {
        self.content() == other.content() && self.folder.as_ref().is_none_or(Folded::is_known)
    }
}

/// For whom the table is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// For eyes: a header, aligned columns, rounded sizes.
    Aligned,
    /// For scripts: tabs between the columns, no header, sizes in bytes, `-` for an unknown id.
    Tabs,
    /// The same with names as they are, whatever they hold, and a NUL behind each line.
    Null,
    /// For programs: objects, see [`Said`].
    Json,
}

impl Layout {
    /// Aligned when stdout is a terminal.
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Aligned } else { Self::Tabs }
    }

    /// With a NUL behind each line, if so; objects stay objects.
    pub fn with_null(self, null: bool) -> Self {
        if null && self != Self::Json { Self::Null } else { self }
    }
}

/// Folds a peer's files, which come in the order of their names, into the files and folders that
/// lie directly in `within` (empty, or a folder with a `/` behind).
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
            Some(Listed { name: last, folder: Some(folder), length, .. }) if *last == name => {
                *length = length.zip(file.length).map(|(sum, more)| sum.saturating_add(more));
                folder.add(&file);
            }
            _ => {
                let mut folder = Folded::default();
                folder.add(&file);
                self.rows.push(Listed { name, folder: Some(folder), root: None, ..file });
            }
        }
    }

    /// The rows, in the order of their names.
    pub fn rows(self) -> Vec<Listed> {
        self.rows
    }
}

/// Writes the table, sorted by name. The peers of one line keep the order in which they were given.
pub fn write(listed: &[Listed], layout: Layout, out: &mut Vec<u8>) {
    let mut sorted: Vec<&Listed> = listed.iter().collect();
    sorted.sort_by(|a, b| by_name_and_content(a, b));
    match layout {
        Layout::Tabs => rows(&sorted).for_each(|row| out.extend(row.tabs().as_bytes())),
        Layout::Null => rows(&sorted).for_each(|row| out.extend(row.null().as_bytes())),
        Layout::Json => rows(&sorted).for_each(|row| out.extend(row.json().as_bytes())),
        Layout::Aligned if sorted.is_empty() => out.extend(b"no files\n"),
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
    /// Of a folder: how many files are not the same at all peers that have it.
    differing: usize,
}

/// The lines of a sorted list.
fn rows<'a>(sorted: &'a [&'a Listed]) -> impl Iterator<Item = Row<'a>> {
    sorted.chunk_by(|a, b| a.name == b.name).flat_map(|namesakes| {
        let folders: Vec<&Folded> =
            namesakes.iter().filter_map(|listed| listed.folder.as_ref()).collect();
        let differing = Folded::differing(&folders);
        let differs = differ(namesakes) || differing > 0;
        let alike = namesakes.chunk_by(|a, b| a.is_like(b));
        alike.filter_map(move |copies| {
            Some(Row { copies, first: copies.first()?, differs, differing })
        })
    })
}

/// Writes the lines of one name, for who reads them before all names are known.
pub fn write_namesakes(listed: &[Listed], layout: Layout, out: &mut Vec<u8>) {
    write(listed, layout, out);
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
        let (length, root, _) = self.first.content();
        let id = root.map_or("-".to_owned(), |root| root.short());
        let length = length.map_or("-".to_owned(), |length| length.to_string());
        format!("{}\t{length}\t{id}\t{}\n", quoted(self.first.name.as_str()), self.peers(","))
    }

    fn null(&self) -> String {
        let (length, root, _) = self.first.content();
        let id = root.map_or("-".to_owned(), |root| root.short());
        let length = length.map_or("-".to_owned(), |length| length.to_string());
        format!("{}\t{length}\t{id}\t{}\0", self.first.name, self.peers(","))
    }

    fn json(&self) -> String {
        let (size, root, _) = self.first.content();
        let peers = self.ids();
        Said::File {
            name: self.first.name.as_str(),
            size,
            id: root.map(|root| root.to_string()),
            peers,
        }
        .line()
    }

    fn aligned(&self, columns: &Columns) -> String {
        let (length, root, folder) = self.first.content();
        let unknown = if length.is_some() { "not hashed" } else { "classic" };
        let id = root.map_or(unknown.to_owned(), |root| root.short());
        let id = folder.map_or(id, |folder| files(folder.0.len() as u64));
        let mark = if self.differs { "≠ " } else { "  " };
        let mut peers = format!("{mark}{}", self.peers(", "));
        if self.differing > 0 {
            // Writing to a string cannot fail.
            let verb = if self.differing == 1 { "differs" } else { "differ" };
            let _ = write!(peers, " ({} {verb})", files(self.differing as u64));
        } else if folder.is_some_and(|folder| !folder.is_known()) {
            peers.push_str(" (not hashed yet)");
        }
        let rest = (shown_size(length), id, peers);
        let slash = if folder.is_some() { "/" } else { "" };
        columns.line(&format!("{}{slash}", quoted(self.first.name.as_str())), rest)
    }

    fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.copies.iter().map(|listed| listed.peer.as_str()).collect();
        // A peer that lists a name twice is still one peer.
        ids.dedup();
        ids
    }

    fn peers(&self, separator: &str) -> String {
        self.ids().join(separator)
    }
}

fn shown_size(length: Option<u64>) -> String {
    length.map_or("-".to_owned(), size)
}

/// Widths of the aligned columns.
struct Columns {
    name: usize,
    size: usize,
    /// What a line may take; a longer one is made two.
    terminal: usize,
}

impl Columns {
    const ID: usize = 12;

    /// Wide enough for the longest name and size, but see [`config::NAME_COLUMNS`].
    fn for_all(sorted: &[&Listed]) -> Self {
        let terminal = text::columns_of_stdout();
        let mut columns = Self { name: "name".len(), size: "size".len(), terminal };
        for row in rows(sorted) {
            let slash = usize::from(row.first.folder.is_some());
            columns.name = columns.name.max(width(&quoted(row.first.name.as_str())) + slash);
            columns.size = columns.size.max(shown_size(row.first.length).len());
        }
        columns.name = columns.name.min(config::NAME_COLUMNS);
        columns
    }

    fn line(&self, name: &str, (size, id, peers): (String, String, String)) -> String {
        let mut line = String::from(name);
        // Writing to a string cannot fail.
        let mut rest = String::new();
        let _ = write!(rest, "  {size:>0$}  {id:<1$} {peers}", self.size, Self::ID);
        match self.name.max(width(name)) + width(rest.trim_end()) <= self.terminal {
            true => pad(&mut line, width(name), self.name),
            // The name is worth more than a table.
            false => line.push('\n'),
        }
        line.push_str(&rest);
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn write_aligned(sorted: &[&Listed], out: &mut Vec<u8>) {
    let columns = Columns::for_all(sorted);
    let heads = ("size".to_owned(), "id".to_owned(), "  peers".to_owned());
    out.extend(columns.line("name", heads).as_bytes());
    let (mut files_differ, mut folders_differ) = (false, false);
    for row in rows(sorted) {
        match row.first.folder {
            Some(_) => folders_differ |= row.differs,
            None => files_differ |= row.differs,
        }
        out.extend(row.aligned(&columns).as_bytes());
    }
    if files_differ {
        out.extend(
            "≠ same name, different content; #DOWNLOAD <id> fetches the one you mean\n".as_bytes(),
        );
    }
    if folders_differ {
        out.extend("≠ folders with different files; #FILELIST <folder/> shows them\n".as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Digest;

    fn listed(peer: &str, name: &str, length: u64, content: Option<&str>) -> Listed {
        let root = content.map(|content| Root(Digest::of(content.as_bytes())));
        let length = Some(length);
        Listed {
            folder: None,
            peer: peer.parse().unwrap(),
            name: name.parse().unwrap(),
            length,
            root,
        }
    }

    fn table(listed: &[Listed], layout: Layout) -> String {
        let mut out = Vec::new();
        write(listed, layout, &mut out);
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
    fn folders_are_the_same_only_if_their_files_are() {
        let beneath = |peer: &str, files: &[(&str, Option<&str>)]| {
            let mut fold = Fold::new("");
            for (name, content) in files {
                fold.add(listed(peer, name, 7, *content));
            }
            fold.rows()
        };
        let of = |rows: Vec<Vec<Listed>>| table(&rows.concat(), Layout::Aligned);
        let same = [("n/a", Some("a")), ("n/b", Some("b"))];
        let shown = of(vec![beneath("p1", &same), beneath("p2", &same)]);
        assert!(shown.contains("2 files        p1, p2\n") && !shown.contains('≠'), "{shown}");
        // As many bytes in as many files, of which one is another.
        let other = [("n/a", Some("a")), ("n/b", Some("c"))];
        let shown = of(vec![beneath("p1", &same), beneath("p2", &other), beneath("p3", &same)]);
        assert!(shown.contains("≠ p1, p3 (1 file differs)"), "{shown}");
        assert!(shown.ends_with("#FILELIST <folder/> shows them\n"), "{shown}");
        let elsewhere = [("n/c", Some("a")), ("n/d", Some("b"))];
        let shown = of(vec![beneath("p1", &same), beneath("p2", &elsewhere)]);
        assert!(shown.contains("≠ p1 (4 files differ)"), "{shown}");
        let unknown = [("n/a", Some("a")), ("n/b", None)];
        let shown = of(vec![beneath("p1", &unknown), beneath("p2", &unknown)]);
        assert_eq!(shown.matches("(not hashed yet)").count(), 2, "{shown}");
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
        assert!(table(&rows, Layout::Tabs).starts_with("$'a\\u202eb'\t1\t"));
        assert!(table(&rows, Layout::Aligned).contains("\n$'a\\u202eb'   1 B  ca97"));
    }

    #[test]
    fn what_a_classic_peer_does_not_say_differs_from_nothing() {
        let classic = Listed { length: None, ..listed("q", "a", 0, None) };
        let rows = [classic, listed("p", "a", 5, Some("a"))];
        assert_eq!(table(&rows, Layout::Tabs), "a\t-\t-\tq\na\t5\tca978112ca1b\tp\n");
        let expected = "name  size  id             peers\na        -  classic        q\na      5 B  ca978112ca1b   p\n";
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
