//! Payloads that are JSON arrays: pages of listings, omissions, failures.
//!
//! A row of a dozen bytes can become a value of hundreds, so how many rows are kept is bounded
//! while they are read, and not when all of them are there.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};

use super::WireError;

/// The rows of a payload that were kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Rows<T> {
    /// The first ones.
    pub first: Vec<T>,
    /// Whether there were more.
    pub more: bool,
}

/// Reads the first `most` rows of a payload. What comes behind them must be JSON too.
pub fn rows<T: DeserializeOwned>(payload: &[u8], most: usize) -> Result<Rows<T>, WireError> {
    let mut input = serde_json::Deserializer::from_slice(payload);
    let rows = input.deserialize_seq(Most { most, of: PhantomData })?;
    input.end()?;
    Ok(rows)
}

struct Most<T> {
    most: usize,
    of: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Most<T> {
    type Value = Rows<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Rows<T>, A::Error> {
        let mut first = Vec::new();
        while first.len() < self.most {
            match input.next_element()? {
                Some(row) => first.push(row),
                None => return Ok(Rows { first, more: false }),
            }
        }
        let mut more = false;
        while input.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(Rows { first, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_rows_than_are_wanted_are_kept() {
        let read = |text: &str, most| rows::<u8>(text.as_bytes(), most).ok();
        let of = |first: &[u8], more| Some(Rows { first: first.to_vec(), more });
        assert_eq!(read("[1,2,3]", 4), of(&[1, 2, 3], false));
        assert_eq!(read("[1,2,3]", 3), of(&[1, 2, 3], false));
        assert_eq!(read(" [1,2,300,{\"a\":[]}]\n", 2), of(&[1, 2], true));
        assert_eq!(read("[]", 0), of(&[], false));
    }

    #[test]
    fn what_is_no_array_is_an_error() {
        for text in ["", "[1", "[1,]", "{}", "1", "[1]x", "[1,300]", "null"] {
            assert!(rows::<u8>(text.as_bytes(), 5).is_err(), "{text}");
        }
        assert!(rows::<u8>(b"[1,2,", 1).is_err(), "cut behind the rows that are wanted");
        let deep = format!("[1,{}", "[".repeat(100_000));
        assert!(rows::<u8>(deep.as_bytes(), 1).is_err());
    }
}
