//! Where transferred things go, and what they are called there: `--to` and `--as`.

use super::grammar::Transfer;
use super::local::{Given, NotGiven};
use super::shown;
use super::usage::UsageError;
use crate::content::{BadName, FileName};
use crate::store::StoreError;

/// Where transferred things go, and what they are called there.
pub(super) struct Place {
    to: Option<FileName>,
    pub(super) name: Option<FileName>,
}

impl Place {
    pub(super) fn of(typed: &Transfer, names: &[String]) -> Result<Self, UsageError> {
        if typed.name.is_some() && names.len() > 1 {
            return Err(UsageError::NoPeer("--as goes with one name; you gave several".to_owned()));
        }
        let name = typed.name.as_ref().map(|name| parse(name, "--as")).transpose()?;
        Ok(Self { to: None, name })
    }

    /// The same of an upload, whose `--to` is a folder at the peers; that of a download is one of
    /// this machine, which may be called anything.
    pub(super) fn at_peers(typed: &Transfer, names: &[String]) -> Result<Self, UsageError> {
        let to = typed.to.as_ref().map(|to| parse(to, "--to")).transpose()?;
        Ok(Self { to, ..Self::of(typed, names)? })
    }

    /// What is uploaded, with the name that it has at the peers if that is another.
    pub(super) fn of_upload(&self, given: Given) -> Result<(Given, Option<FileName>), NotGiven> {
        let placed = |name: &str| match &self.to {
            Some(to) => format!("{to}/{name}").parse::<FileName>().map_err(StoreError::BadName),
            None => name.parse::<FileName>().map_err(StoreError::BadName),
        };
        if self.to.is_none() && self.name.is_none() {
            return Ok((given, None));
        }
        match given {
            Given::Served(name) => {
                let there = self.name.as_ref().unwrap_or(&name);
                let there = placed(there.as_str())?;
                Ok((Given::Served(name), Some(there)))
            }
            Given::Elsewhere(path) => {
                let own = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let there = placed(self.name.as_ref().map_or(own, FileName::as_str))?;
                Ok((Given::Elsewhere(path), Some(there)))
            }
            Given::Several(mut several) => {
                several.place(self.to.as_ref(), self.name.as_ref())?;
                Ok((Given::Several(several), None))
            }
        }
    }
}

fn parse(text: &str, flag: &str) -> Result<FileName, UsageError> {
    let bare = text.trim_end_matches('/');
    bare.parse()
        .map_err(|bad: BadName| UsageError::NoPeer(format!("{flag} {}: {bad}", shown(text))))
}
