//! A listing as one message of the dialect.

use std::fmt;

use crate::config;
use crate::store::{ListQuery, Store, StoreError};

/// What went into a listing, and what did not.
pub(super) struct Listed {
    names: usize,
    /// Names with blanks, which the dialect cannot tell.
    blanks: usize,
    /// More than fits in a message.
    more: bool,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.names)?;
        if self.blanks > 0 {
            write!(f, ", without {} that have blanks", self.blanks)?;
        }
        if self.more {
            f.write_str(", and no more, as a message of the dialect ends there")?;
        }
        Ok(())
    }
}

/// The files' names as far as they fit in one message, how many that are, and how many are left
/// out. One with a blank would be taken for two.
pub(super) fn list(store: &Store) -> Result<(String, Listed), StoreError> {
    let query = ListQuery { limit: config::CLASSIC_MESSAGE, ..ListQuery::default() };
    let mut answer = "200 Files served:".to_owned();
    let page = store.list(&query)?;
    let mut listed = Listed { names: 0, blanks: 0, more: page.next.is_some() };
    for entry in page.entries {
        let name = entry.name.as_str();
        if name.contains(char::is_whitespace) {
            listed.blanks += 1;
            continue;
        }
        if answer.len() + 1 + name.len() > config::CLASSIC_MESSAGE {
            listed.more = true;
            break;
        }
        answer.push(' ');
        answer.push_str(name);
        listed.names += 1;
    }
    Ok((answer, listed))
}
