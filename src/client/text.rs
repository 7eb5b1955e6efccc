//! Text for people: names made harmless, sizes, durations and widths on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A name that came from somebody else, safe to print: control characters, escapes, and characters
/// that hide or turn the text around them are written as `\u{…}`, and a backslash is doubled, so
/// that different names never look the same that way.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(must_be_escaped) {
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

fn must_be_escaped(letter: char) -> bool {
    match letter {
        '\\' => true,
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

/// How long it took and how fast that was, to go after an amount: ` in 2.5 s (400.0 MiB/s)`.
pub fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(0.001);
    format!(" in {seconds:.1} s ({}/s)", size((bytes as f64 / seconds) as u64))
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
        assert_eq!(shown("invoice\u{202e}fdp.exe"), r"invoice\u{202e}fdp.exe");
        assert_eq!(shown("a\tb\nc\u{9b}"), r"a\u{9}b\u{a}c\u{9b}");
        assert_eq!(shown("a\u{200b}\u{2066}\u{e0041}"), r"a\u{200b}\u{2066}\u{e0041}");
        assert_eq!(shown(r"a\u{202e}"), r"a\\u{202e}");
    }

    #[test]
    fn sizes_are_exact_below_a_kibibyte_and_rounded_above() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 5_368_709_120, u64::MAX].map(size);
        let expected = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "5.0 GiB", "16.0 EiB"];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let spans = [0, 59, 61, 3_660, 90_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn long_texts_are_clipped_by_what_a_terminal_shows() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abcde…");
        assert_eq!(clipped("日本語日本語", 6), "日本…");
    }
}
