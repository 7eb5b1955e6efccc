//! From a typed line to its words: blanks separate, quotes and backslashes keep together.
//!
//! `"double"` and `'single'` quotes may stand anywhere in a word. A backslash keeps the blank,
//! quote or backslash that follows it, outside quotes and within double ones; before anything else
//! it stands for itself, and within single quotes always. `$'…'` is read as bash does: `\n`, `\t`,
//! `\\`, `\'`, `\xHH`, `\uHHHH` and `\UHHHHHHHH` stand for one character each.

use std::iter::Peekable;
use std::str::Chars;

/// A quote was opened and never closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {quote} in column {column} is not closed; expected another {quote} before the end of the line"
)]
pub struct Unclosed {
    quote: char,
    column: usize,
}

/// Splits a line into words.
///
/// ```
/// use peershare::client::words::split;
/// assert_eq!(split(r#"upload "my file.txt" peer1"#).unwrap(), ["upload", "my file.txt", "peer1"]);
/// ```
pub fn split(line: &str) -> Result<Vec<String>, Unclosed> {
    let mut letters = Letters { rest: line.chars().peekable(), column: 0 };
    let mut words = Vec::new();
    while letters.skip_blanks() {
        words.push(letters.word()?);
    }
    Ok(words)
}

/// A word that a shell handed over, where `$'…'` was not read by the shell: what listings print for
/// names that cannot be printed as they are.
pub fn unquoted(word: &str) -> String {
    let is_quoted = word.len() > 2 && word.starts_with("$'") && word.ends_with('\'');
    match split(word) {
        Ok(words) if is_quoted && words.len() == 1 => words.into_iter().collect(),
        _ => word.to_owned(),
    }
}

/// Whether a line asks for nothing: blank, or a comment. `#` begins a comment only where no
/// command can follow, that is at the end or before a blank, another `#` or a `!`.
pub fn is_idle(line: &str) -> bool {
    match line.trim().strip_prefix('#') {
        Some(rest) => {
            rest.chars().next().is_none_or(|next| next.is_whitespace() || "#!".contains(next))
        }
        None => line.trim().is_empty(),
    }
}

/// What is left of the line, and the column (from 1) of the letter read last.
struct Letters<'a> {
    rest: Peekable<Chars<'a>>,
    column: usize,
}

impl Letters<'_> {
    fn next(&mut self) -> Option<char> {
        self.column += 1;
        self.rest.next()
    }

    /// Says whether anything follows the blanks.
    fn skip_blanks(&mut self) -> bool {
        while self.rest.peek().is_some_and(|letter| letter.is_whitespace()) {
            self.next();
        }
        self.rest.peek().is_some()
    }

    fn word(&mut self) -> Result<String, Unclosed> {
        let mut word = String::new();
        while self.rest.peek().is_some_and(|letter| !letter.is_whitespace()) {
            match self.next() {
                Some('$') if word.is_empty() && self.rest.peek() == Some(&'\'') => {
                    self.next();
                    self.ansi_quoted(&mut word)?;
                }
                Some(quote @ ('"' | '\'')) => self.quoted(quote, &mut word)?,
                Some('\\') => {
                    word.push(self.escaped(|next| next.is_whitespace() || "\"'\\".contains(next)));
                }
                Some(letter) => word.push(letter),
                None => break,
            }
        }
        Ok(word)
    }

    /// Takes all up to the closing quote.
    fn quoted(&mut self, quote: char, word: &mut String) -> Result<(), Unclosed> {
        let column = self.column;
        while let Some(letter) = self.next() {
            match letter {
                _ if letter == quote => return Ok(()),
                '\\' if quote == '"' => word.push(self.escaped(|next| "\"\\".contains(next))),
                _ => word.push(letter),
            }
        }
        Err(Unclosed { quote, column })
    }

    /// Takes all up to the closing quote, as bash reads `$'…'`.
    fn ansi_quoted(&mut self, word: &mut String) -> Result<(), Unclosed> {
        let column = self.column;
        while let Some(letter) = self.next() {
            match letter {
                '\'' => return Ok(()),
                '\\' => {
                    let Some(kind) = self.next() else { break };
                    self.ansi_escape(kind, word);
                }
                _ => word.push(letter),
            }
        }
        Err(Unclosed { quote: '\'', column })
    }

    fn ansi_escape(&mut self, kind: char, word: &mut String) {
        let digits = match kind {
            'n' => return word.push('\n'),
            't' => return word.push('\t'),
            'r' => return word.push('\r'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '\\' | '\'' | '"' => return word.push(kind),
            _ => {
                word.push('\\');
                return word.push(kind);
            }
        };
        let mut code = 0;
        for _ in 0..digits {
            let Some(digit) = self.rest.peek().and_then(|letter| letter.to_digit(16)) else {
                break;
            };
            self.next();
            code = code << 4 | digit;
        }
        word.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
    }

    /// What a backslash means: the next letter if that is one it can keep, else itself.
    fn escaped(&mut self, keeps: impl Fn(char) -> bool) -> char {
        match self.rest.peek() {
            Some(&next) if keeps(next) => self.next().unwrap_or(next),
            _ => '\\',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_separate_words() {
        assert_eq!(split("  upload\ta.txt \r").unwrap(), ["upload", "a.txt"]);
        assert!(split(" \t ").unwrap().is_empty());
    }

    #[test]
    fn quotes_and_backslashes_keep_blanks() {
        for line in [r#"up "my file""#, "up 'my file'", r"up my\ file", r#"up m"y f"ile"#] {
            assert_eq!(split(line).unwrap(), ["up", "my file"], "{line}");
        }
        assert_eq!(split(r#"'' "" "#).unwrap(), ["", ""]);
    }

    #[test]
    fn a_backslash_before_anything_else_stands_for_itself() {
        assert_eq!(split(r"a\b \\ \' \").unwrap(), [r"a\b", r"\", "'", r"\"]);
        assert_eq!(split(r#""\" \\ \n" '\ "'"#).unwrap(), [r#"" \ \n"#, r#"\ ""#]);
    }

    #[test]
    fn an_unclosed_quote_is_named_with_its_column() {
        assert_eq!(split("žlu 'ť").unwrap_err(), Unclosed { quote: '\'', column: 5 });
        assert!(split(r#"a "b\""#).unwrap_err().to_string().contains("\" in column 3"));
    }

    #[test]
    fn comments_and_blank_lines_are_idle_but_commands_are_not() {
        for line in ["", "  ", "#", " # FILELIST", "## all", "#!/usr/bin/client", "#\t"] {
            assert!(is_idle(line), "{line:?}");
        }
        for line in ["#FILELIST", "filelist", " #x"] {
            assert!(!is_idle(line), "{line:?}");
        }
    }
}
