//! The dialect's words: what a text asks for, and what it says in answer. Pure.
//!
//! Nothing marks the end of a message, so every reader also judges how ripe a text is: whether it
//! can be all of a message. Where the words leave that open ([`Ripeness::Perhaps`]), a moment of
//! silence decides; where they do not, text that was cut into any segments is put together again.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use crate::config;

/// Characters, or bytes, of a file in one chunk.
pub(super) const CHUNK: usize = 100;

/// What B's client says behind an upload, and its server behind a file's last chunk.
pub(super) const END: &str = "Transmission complete";

/// What C's client says behind an upload.
pub(super) const END_OF_C: &str = "UPLOAD_COMPLETE";

const LIST: &str = "#FILELIST";

/// Whether a text is a whole message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ripeness {
    /// No: more must follow.
    Partial,
    /// It may be; it is when nothing follows for so long.
    Perhaps(Duration),
    /// Yes.
    Whole,
}

impl Ripeness {
    /// What a short silence decides.
    pub(super) const PERHAPS: Self = Self::Perhaps(config::CLASSIC_PAUSE);

    /// Whole if so, else perhaps.
    pub(super) fn whole_if(whole: bool) -> Self {
        if whole { Self::Whole } else { Self::PERHAPS }
    }
}

/// What a client asks for. Names are as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request<'a> {
    /// `#FILELIST`
    List,
    /// `#UPLOAD f bytes n`; B leaves `bytes n` out.
    Offer { name: &'a str, length: Option<u64> },
    /// `#UPLOAD f chunk i DATA`
    Data { name: &'a str, index: u32, data: &'a [u8] },
    /// `#DOWNLOAD f`
    Probe { name: &'a str },
    /// `#DOWNLOAD f chunk i`
    Read { name: &'a str, index: u32 },
    /// [`END`] or [`END_OF_C`]
    Finished,
}

/// Why a text is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoRequest {
    /// It is the beginning of one.
    Partial,
    /// It never becomes one.
    Foreign,
}

impl<'a> Request<'a> {
    /// Understands a text.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, NoRequest> {
        let line = text.trim_ascii_end();
        for (word, request) in
            [(LIST, Self::List), (END, Self::Finished), (END_OF_C, Self::Finished)]
        {
            match word.as_bytes() {
                word if word == line => return Ok(request),
                word if word.starts_with(text) => return Err(NoRequest::Partial),
                _ => {}
            }
        }
        let mut words = text.splitn(5, |byte| *byte == b' ');
        match words.next() {
            Some(b"#UPLOAD") => {
                Self::parse_upload([words.next(), words.next(), words.next(), words.next()])
            }
            Some(b"#DOWNLOAD") => Self::parse_download(line),
            Some(word) if b"#UPLOAD".starts_with(word) || b"#DOWNLOAD".starts_with(word) => {
                Err(NoRequest::Partial)
            }
            _ => Err(NoRequest::Foreign),
        }
    }

    /// The words after `#UPLOAD`; the data begins right after the fourth blank.
    fn parse_upload(words: [Option<&'a [u8]>; 4]) -> Result<Self, NoRequest> {
        match words {
            [Some(name), None, ..] => Ok(Self::Offer { name: text_of(name)?, length: None }),
            [Some(name), Some(b"bytes"), Some(length), None] => {
                Ok(Self::Offer { name: text_of(name)?, length: Some(number(length)?) })
            }
            [Some(name), Some(b"chunk"), Some(index), Some(data)] => {
                Ok(Self::Data { name: text_of(name)?, index: number(index)?, data })
            }
            [_, Some(word), None, _] => {
                Err(partial_if(b"bytes".starts_with(word) || b"chunk".starts_with(word)))
            }
            [_, Some(b"chunk"), Some(index), None] => {
                number::<u32>(index).and(Err(NoRequest::Partial))
            }
            [None, ..] => Err(NoRequest::Partial),
            _ => Err(NoRequest::Foreign),
        }
    }

    fn parse_download(line: &'a [u8]) -> Result<Self, NoRequest> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').skip(1).collect();
        match words[..] {
            [] => Err(NoRequest::Partial),
            [name] => Ok(Self::Probe { name: text_of(name)? }),
            [_, word] => Err(partial_if(b"chunk".starts_with(word))),
            [name, b"chunk", index] => {
                Ok(Self::Read { name: text_of(name)?, index: number(index)? })
            }
            _ => Err(NoRequest::Foreign),
        }
    }
}

fn partial_if(partial: bool) -> NoRequest {
    if partial { NoRequest::Partial } else { NoRequest::Foreign }
}

/// A name; one that was cut in the middle of a character goes on.
fn text_of(name: &[u8]) -> Result<&str, NoRequest> {
    match str::from_utf8(name) {
        Ok("") => Err(NoRequest::Partial),
        Ok(name) => Ok(name),
        Err(error) => Err(partial_if(error.error_len().is_none())),
    }
}

fn number<N: FromStr>(word: &[u8]) -> Result<N, NoRequest> {
    let digits = word.trim_ascii_end();
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(NoRequest::Foreign);
    }
    let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or(partial_if(digits.is_empty()))
}

/// Characters in a piece of UTF-8 text, which may begin or end within one.
pub(super) fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| !is_continued(**byte)).count()
}

/// Whether a byte goes on with the character that another one began.
pub(super) fn is_continued(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// How many chunks a file of that length has; `None` when that is more than can be numbered.
pub(super) fn count(length: u64) -> Option<u32> {
    u32::try_from(length.div_ceil(CHUNK as u64)).ok()
}

/// How long a chunk of a file of that length is, in whatever the length counts.
pub(super) fn chunk_len(length: u64, index: u32) -> usize {
    let rest = length.saturating_sub(u64::from(index) * CHUNK as u64);
    rest.min(CHUNK as u64) as usize
}

/// The status of an answer: the first of its first three words that is a number.
pub(super) fn status(answer: &[u8]) -> Option<u32> {
    let words = answer.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    words.take(3).find_map(|word| number(word).ok())
}

/// The last word of an answer, when it is a number.
pub(super) fn last_number(answer: &[u8]) -> Option<u64> {
    let word = answer.trim_ascii_end().rsplit(|byte| *byte == b' ').next()?;
    number(word).ok()
}

/// Where in a text some words first stand.
pub(super) fn find(text: &[u8], words: &str) -> Option<Range<usize>> {
    let at = text.windows(words.len().max(1)).position(|window| window == words.as_bytes())?;
    Some(at..at + words.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_of_all_kinds_are_understood() {
        let parse = |text: &'static str| Request::parse(text.as_bytes());
        let name = "a.txt";
        assert_eq!(parse("#FILELIST"), Ok(Request::List));
        assert_eq!(parse("#FILELIST\r\n"), Ok(Request::List));
        assert_eq!(parse("#UPLOAD a.txt"), Ok(Request::Offer { name, length: None }));
        assert_eq!(
            parse("#UPLOAD a.txt bytes 120"),
            Ok(Request::Offer { name, length: Some(120) })
        );
        let data = b"x  y\n".as_slice();
        assert_eq!(
            parse("#UPLOAD a.txt chunk 7 x  y\n"),
            Ok(Request::Data { name, index: 7, data })
        );
        assert_eq!(parse("#DOWNLOAD a.txt"), Ok(Request::Probe { name }));
        assert_eq!(parse("#DOWNLOAD a.txt chunk 0"), Ok(Request::Read { name, index: 0 }));
        assert_eq!(parse("Transmission complete"), Ok(Request::Finished));
        assert_eq!(parse("UPLOAD_COMPLETE"), Ok(Request::Finished));
    }

    #[test]
    fn what_can_become_a_request_is_told_from_what_cannot() {
        for text in [
            "#",
            "#FILE",
            "#UPLOAD ",
            "#UPLOAD f ",
            "#UPLOAD f by",
            "#UPLOAD f bytes ",
            "#UPLOAD f chunk 1",
        ] {
            assert_eq!(Request::parse(text.as_bytes()), Err(NoRequest::Partial), "{text}");
        }
        for text in ["#DOWNLOAD", "#DOWNLOAD ", "#DOWNLOAD f ch", "Trans", "#DOWNLOAD f\u{e9}"] {
            let cut = text
                .strip_suffix('\u{e9}')
                .map_or(text.as_bytes().to_vec(), |t| [t.as_bytes(), b"\xc3"].concat());
            assert_eq!(Request::parse(&cut), Err(NoRequest::Partial), "{text}");
        }
        for text in [
            "#HELLO",
            "#UPLOAD f bytes x",
            "#UPLOAD f bytes 1 2",
            "#DOWNLOAD f chunk 99999999999",
            "#UPLOAD f rest",
        ] {
            assert_eq!(Request::parse(text.as_bytes()), Err(NoRequest::Foreign), "{text}");
        }
    }

    #[test]
    fn answers_of_all_kinds_have_a_status() {
        assert_eq!(status(b"330 Ready to send file f bytes 9"), Some(330));
        assert_eq!(status(b"Server (p2): 200 Files served: a"), Some(200));
        assert_eq!(status(b"250"), Some(250));
        assert_eq!(status(b"Files served in 1999"), None);
        assert_eq!(last_number(b"330 Ready to send f bytes 12"), Some(12));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Request::parse(&bytes), status(&bytes), last_number(&bytes), find(&bytes, "chunk"));
            let _ = Request::parse(&[b"#UPLOAD ", &bytes[..]].concat());
            let _ = Request::parse(&[b"#DOWNLOAD ", &bytes[..]].concat());
        }

        #[test]
        fn whatever_a_request_is_cut_to_can_still_become_it(
            name in "[a-z0-9é.]{1,9}", index: u32, length: u64, data in proptest::collection::vec(any::<u8>(), 1..140),
            form in 0..5, at: prop::sample::Index,
        ) {
            let text = match form {
                0 => format!("#UPLOAD {name} bytes {length}").into_bytes(),
                1 => [format!("#UPLOAD {name} chunk {index} ").as_bytes(), &data].concat(),
                2 => format!("#DOWNLOAD {name} chunk {index}").into_bytes(),
                3 => format!("#DOWNLOAD {name}").into_bytes(),
                _ => b"#FILELIST".to_vec(),
            };
            let whole = Request::parse(&text);
            prop_assert!(whole.is_ok());
            if let Ok(Request::Data { data: found, .. }) = whole {
                prop_assert_eq!(found, &data[..]);
            }
            let cut = &text[..at.index(text.len())];
            prop_assert_ne!(Request::parse(cut), Err(NoRequest::Foreign), "{:?}", cut);
        }
    }
}
