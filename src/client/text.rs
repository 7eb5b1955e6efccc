//! Text for people: names made harmless, sizes, durations and widths on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A name that came from somebody else, safe to print: control characters, escapes, and characters
/// that hide or turn the text around them are written as `\u{…}`. Where that is done, or where the
/// text looks like it, a backslash is doubled, so that different texts never look the same that
/// way.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(must_be_escaped) && !text.contains(r"\u{") {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\\' => safe.push_str(r"\\"),
            _ if must_be_escaped(letter) => safe.extend(letter.escape_unicode()),
            _ => safe.push(letter),
        }
    }
    Cow::Owned(safe)
}

/// Lines on their way to a terminal, without anything that could do harm there, whoever forgot what
/// about the names in them. What was made harmless already stays as it is.
pub fn harmless(lines: &str) -> Cow<'_, str> {
    let is_bad = |letter: char| must_be_escaped(letter) && !matches!(letter, '\n' | '\t');
    if !lines.contains(is_bad) {
        return Cow::Borrowed(lines);
    }
    let mut safe = String::with_capacity(lines.len() + 16);
    for letter in lines.chars() {
        if is_bad(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}

fn must_be_escaped(letter: char) -> bool {
    match letter {
        ' '..='~' => false,
        // Soft hyphen, Arabic mark, zero-width and direction marks (but not the joiners that some
        // scripts need), line and paragraph separators, embeddings and overrides.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        // Byte order mark, annotations, tags.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => letter.is_control(),
    }
}

/// A name in a form that every command takes for that name, from a shell or at the prompt: as it
/// is, or where it has characters that must not be printed, in the form that bash calls ANSI-C
/// quoting, `$'a\u202eb'`.
pub fn quoted(name: &str) -> Cow<'_, str> {
    if !name.contains(must_be_escaped) && !name.starts_with("$'") {
        return Cow::Borrowed(name);
    }
    let mut quoted = String::from("$'");
    for letter in name.chars() {
        // Writing to a string cannot fail.
        let _ = match letter {
            '\\' | '\'' => write!(quoted, "\\{letter}"),
            _ if must_be_escaped(letter) && letter <= '\u{ffff}' => {
                write!(quoted, "\\u{:04x}", letter as u32)
            }
            _ if must_be_escaped(letter) => write!(quoted, "\\U{:08x}", letter as u32),
            _ => write!(quoted, "{letter}"),
        };
    }
    quoted.push('\'');
    Cow::Owned(quoted)
}

/// A number of bytes in 1024-based units with one decimal, or as it is below 1 KiB.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let tenths = |power: u32| ((u128::from(bytes) * 10) + (1 << (10 * power - 1))) >> (10 * power);
    let mut found = (tenths(1), "KiB");
    for (power, unit) in (1..).zip(units) {
        found = (tenths(power), unit);
        if found.0 < 10_240 {
            break;
        }
    }
    format!("{}.{} {}", found.0 / 10, found.0 % 10, found.1)
}

/// A number of files in words.
pub fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// A span of time in its two largest units.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How long it took and how fast that was, to go after an amount: ` in 2.5 s (400.0 MiB/s)`;
/// nothing where nothing moved.
pub fn rate(bytes: u64, time: Duration) -> String {
    if bytes == 0 {
        return String::new();
    }
    let seconds = time.as_secs_f64().max(0.001);
    format!(" in {seconds:.1} s ({}/s)", size((bytes as f64 / seconds) as u64))
}

/// How much there is of something, and how much of that had to be fetched: `1.2 GiB, 12.0 MiB of it
/// fetched`.
pub fn fetched(total: u64, came: u64) -> String {
    match came {
        _ if came >= total => size(total),
        0 => format!("{}, nothing of it fetched", size(total)),
        _ => format!("{}, {} of it fetched", size(total), size(came)),
    }
}

/// The share of each amount in percent; together they are 100, as the rest goes to those that were
/// rounded down most.
pub fn percents(amounts: &[u64]) -> Vec<u64> {
    let sum: u128 = amounts.iter().map(|amount| u128::from(*amount)).sum();
    if sum == 0 {
        return vec![0; amounts.len()];
    }
    let scaled = |amount: &u64| u128::from(*amount) * 100;
    let mut shares: Vec<u64> = amounts.iter().map(|amount| (scaled(amount) / sum) as u64).collect();
    let mut by_rest: Vec<usize> = (0..amounts.len()).collect();
    by_rest.sort_by_key(|place| {
        std::cmp::Reverse(amounts.get(*place).map_or(0, |amount| scaled(amount) % sum))
    });
    let rest = 100_u64.saturating_sub(shares.iter().sum());
    for place in by_rest.into_iter().take(usize::try_from(rest).unwrap_or_default()) {
        if let Some(share) = shares.get_mut(place) {
            *share += 1;
        }
    }
    shares
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    // Most names are plain, and for those the bytes are the columns.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) { text.len() } else { text.width() }
}

/// Appends blanks after a text of which `taken` columns are used, up to `columns`.
pub fn pad(line: &mut String, taken: usize, columns: usize) {
    let missing = columns.saturating_sub(taken);
    // Writing to a string cannot fail.
    let _ = write!(line, "{:missing$}", "");
}

/// The text, its end replaced by `…` when it takes more than `columns`.
pub fn clipped(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut taken = 0;
    let fits = |letter: &char| {
        taken += letter.width().unwrap_or(0);
        taken < columns
    };
    let mut clipped: String = text.chars().take_while(fits).collect();
    clipped.push('…');
    Cow::Owned(clipped)
}

/// A line of fields with two blanks between them, on several lines where it takes more than
/// `columns`; those that follow are indented, and a field that is too long for any is clipped.
pub fn wrapped(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let indented = if line.starts_with("    ") { "    " } else { "" };
    let (mut lines, mut last) = (String::new(), String::new());
    for field in line.split("  ").filter(|field| !field.is_empty()) {
        let field = field.trim_start();
        if !last.is_empty() && width(&last) + 2 + width(field) > columns {
            lines.push_str(&clipped(&last, columns));
            lines.push('\n');
            last = format!("{indented}    {field}");
        } else if last.is_empty() {
            last = format!("{indented}{field}");
        } else {
            last = format!("{last}  {field}");
        }
    }
    lines.push_str(&clipped(&last, columns));
    lines
}

/// Columns of the terminal that stdout is; many where it is none.
pub fn columns_of_stdout() -> usize {
    columns_of(std::io::stdout())
}

/// The same of stderr.
pub fn columns_of_stderr() -> usize {
    columns_of(std::io::stderr())
}

fn columns_of(terminal: impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_shown_as_they_are() {
        for name in ["a b.txt", "žluťoučký/kůň.pdf", "日本語", "👩‍👩‍👧.png"] {
            assert!(matches!(shown(name), Cow::Borrowed(text) if text == name));
        }
    }

    #[test]
    fn what_could_fool_a_reader_or_a_terminal_is_escaped() {
        assert_eq!(shown("a\u{1b}[31mb"), r"a\u{1b}[31mb");
        for text in ["a\u{1b}[31mb", "a\u{202e}b", r"C:\u{1b}\x"] {
            assert_eq!(harmless(&shown(text)), shown(text), "once is enough");
        }
        assert_eq!(harmless("a\tb\nc\rd\u{9b}2J"), "a\tb\nc\\u{d}d\\u{9b}2J");
        assert_eq!(shown("invoice\u{202e}fdp.exe"), r"invoice\u{202e}fdp.exe");
        assert_eq!(shown("a\tb\nc\u{9b}"), r"a\u{9}b\u{a}c\u{9b}");
        assert_eq!(shown("a\u{200b}\u{2066}\u{e0041}"), r"a\u{200b}\u{2066}\u{e0041}");
        assert_eq!(shown(r"a\u{202e}"), r"a\\u{202e}");
        assert_eq!(shown(r"a\b"), r"a\b");
    }

    #[test]
    fn a_quoted_name_is_read_as_the_name_again() {
        use super::super::words::{split, unquoted};
        for name in
            ["plain", r"a\b", "a b", "a\u{202e}b", "\u{e0041}'x", r"$'x'", "$'", "it's", "a[b"]
        {
            let written = quoted(name);
            assert_eq!(unquoted(&written), name, "{written}");
            if written.starts_with("$'") {
                assert_eq!(split(&written).unwrap(), [name], "{written}");
            }
        }
        assert_eq!(quoted("a\u{202e}b"), r"$'a\u202eb'");
        assert_eq!(quoted(r"a\b"), r"a\b");
    }

    #[test]
    fn sizes_are_exact_below_a_kibibyte_and_rounded_above() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 5_368_709_120, u64::MAX].map(size);
        let expected =
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "5.0 GiB", "16.0 EiB"];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn percents_add_up_to_a_hundred() {
        assert_eq!(percents(&[1, 1, 1]), [34, 33, 33]);
        assert_eq!(percents(&[0, 0]), [0, 0]);
        assert_eq!(percents(&[5, 0, 995]), [1, 0, 99]);
        for amounts in [[7, 11, 13, 17], [1, 1, 1, 1_000_000], [u64::MAX, 1, u64::MAX, 3]] {
            assert_eq!(percents(&amounts).iter().sum::<u64>(), 100, "{amounts:?}");
        }
    }

    #[test]
    fn what_was_not_fetched_is_no_part_of_a_rate() {
        assert_eq!(fetched(2048, 2048), "2.0 KiB");
        assert_eq!(fetched(2048, 100), "2.0 KiB, 100 B of it fetched");
        assert_eq!(fetched(2048, 0), "2.0 KiB, nothing of it fetched");
        assert_eq!(rate(0, Duration::from_secs(1)), "");
        assert_eq!(rate(2048, Duration::from_secs(2)), " in 2.0 s (1.0 KiB/s)");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let spans = [0, 59, 61, 3_660, 90_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn a_line_of_fields_goes_on_below_where_it_is_too_long() {
        assert_eq!(wrapped("p1  up     2 ms", 80), "p1  up     2 ms");
        assert_eq!(
            wrapped("peer1  19.5 KiB  7d9c  photos/a b.jpg", 24),
            "peer1  19.5 KiB  7d9c\n    photos/a b.jpg"
        );
        assert_eq!(wrapped("peer1  photos/very long", 12), "peer1\n    photos/…");
    }

    #[test]
    fn long_texts_are_clipped_by_what_a_terminal_shows() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abcde…");
        assert_eq!(clipped("日本語日本語", 6), "日本…");
    }
}
