//! What concerns the own served folder alone: `#FILES`, `#PARTS`, `#VERIFY`.

use std::time::{Duration, Instant, SystemTime};

use super::grammar::Parts;
use super::meaning::Near;
use super::said::Said;
use super::table::{self, Layout, Listed};
use super::text::{clipped, files, quoted, size, span};
use super::transfers::Transfers;
use super::{Audience, ExitStatus, shown};
use crate::content::pattern::{beneath, escaped, is_pattern};
use crate::content::{FileName, Selection};
use crate::fetch::Snapshot;
use crate::store::{Begun, Checked, ListQuery, Store, StoreError};
use crate::topology::PeerId;
use crate::transport::Cancel;

/// `#FILES`: what is served from here.
pub(super) fn list(
    transfers: &Transfers,
    names: &[String],
    null: bool,
    cancel: &Cancel,
) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
    let (listed, found) = match listed(transfers, names, cancel) {
        Ok(listed) => listed,
        Err(error) => return fail(transfers, "list", &error),
    };
    let layout = audience.layout().with_null(null);
    let mut rows = Vec::new();
    table::write(&listed, layout, &mut rows);
    let printed = audience.table(&rows);
    if cancel.is_cancelled() { ExitStatus::Interrupted } else { found.then(printed) }
}

/// What of the served folder these names mean; all of it where there are none. Names that mean
/// nothing are told.
fn listed(
    transfers: &Transfers,
    names: &[String],
    cancel: &Cancel,
) -> Result<(Vec<Listed>, ExitStatus), StoreError> {
    let store = transfers.store_to_read()?;
    let own = transfers.surroundings.own.clone().unwrap_or_else(PeerId::nobody);
    let names: Vec<Option<&String>> = match names.is_empty() {
        true => vec![None],
        false => names.iter().map(Some).collect(),
    };
    let (mut listed, mut outcomes) = (Vec::new(), Vec::new());
    for name in names {
        let pattern = name.map(|name| pattern_of(&store, name));
        let mut query = ListQuery { pattern, limit: usize::MAX, ..ListQuery::default() };
        let before = listed.len();
        loop {
            let page = store.list(&query)?;
            listed.extend(page.entries.into_iter().map(|entry| Listed {
                folder: None,
                peer: own.clone(),
                name: entry.name,
                length: Some(entry.length),
                root: entry.root,
            }));
            query.after = page.next;
            if query.after.is_none() || cancel.is_cancelled() {
                break;
            }
        }
        outcomes.push(match name {
            Some(name) if listed.len() == before && !is_folder(&store, name) => {
                let names = store.list(&ListQuery { limit: usize::MAX, ..ListQuery::default() })?;
                let names = names.entries.iter().map(|entry| entry.name.as_str());
                let near = Near::among(name, names);
                let hint =
                    near.meant().map_or_else(String::new, |near| format!("; did you mean {near}?"));
                let text = format!("nothing here is called {}{hint}", shown(name));
                transfers.surroundings.audience.error(&text);
                ExitStatus::NoSuchFile
            }
            _ => ExitStatus::Success,
        });
    }
    Ok((listed, ExitStatus::of_peers(outcomes)))
}

/// Whether it is a folder that is served, if an empty one.
fn is_folder(store: &Store, typed: &str) -> bool {
    let name = typed.trim_end_matches('/').parse::<FileName>();
    name.is_ok_and(|name| store.folder().join(name.as_path()).is_dir())
}

/// A name that is there is that name, with or without its slash; only then it is a pattern.
fn pattern_of(store: &Store, typed: &str) -> String {
    let bare = typed.trim_end_matches('/');
    let path = store.folder().join(bare);
    match () {
        () if path.is_dir() => beneath(bare),
        () if is_pattern(typed) && !path.exists() => typed.to_owned(),
        () => escaped(bare),
    }
}

/// `#PARTS`: what is begun; with `--clean` it is deleted, but not what somebody is at.
pub(super) fn parts(transfers: &Transfers, typed: &Parts) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
    let selections: Result<Vec<Selection>, _> =
        typed.names.iter().map(|name| Selection::new(Some(name), &[])).collect();
    let selections = match selections {
        Ok(selections) => selections,
        Err(bad) => {
            audience.error(&bad.to_string());
            return ExitStatus::Usage;
        }
    };
    let store = match transfers.store_to_read() {
        Ok(store) => store,
        Err(error) => return fail(transfers, "look for what is begun", &error),
    };
    let now = SystemTime::now();
    let age = |begun: &Begun| now.duration_since(begun.touched).unwrap_or_default();
    let is_chosen = |begun: &Begun| {
        let named = selections.is_empty()
            || begun
                .name
                .as_ref()
                .is_some_and(|name| selections.iter().any(|wanted| wanted.matches(name)));
        named && typed.older.is_none_or(|older| age(begun) >= older)
    };
    let begun = match store.begun() {
        Ok(begun) => begun,
        Err(error) => return fail(transfers, "look for what is begun", &error),
    };
    let any = !begun.is_empty();
    let chosen: Vec<Begun> = begun.into_iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        audience.note(if any { "nothing that is begun fits" } else { "nothing is begun" });
    }
    let mut outcome = ExitStatus::Success;
    for begun in &chosen {
        let cleared = match typed.clean {
            true => store.clear(begun),
            false => Ok(false),
        };
        match &cleared {
            Ok(cleared) => {
                outcome = outcome.then(show_part(transfers, begun, age(begun), *cleared))
            }
            Err(error) => outcome = outcome.then(fail(transfers, "delete what is begun", error)),
        }
        if typed.clean && !matches!(cleared, Ok(true) | Err(_)) {
            audience.error(&format!("{} is in use and stays", label(begun)));
            outcome = outcome.then(ExitStatus::Refused);
        }
    }
    outcome
}

fn label(begun: &Begun) -> String {
    match (&begun.name, &begun.root) {
        (Some(name), _) => quoted(name.as_str()).into_owned(),
        (None, Some(root)) => format!("id {}", root.short()),
        (None, None) => "small files or a file without an id yet".to_owned(),
    }
}

fn show_part(transfers: &Transfers, begun: &Begun, age: Duration, cleared: bool) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
    let Begun { name, root, length, good, stored, in_use, .. } = begun;
    let said = Said::Part {
        name: name.as_ref().map(FileName::as_str),
        id: root.map(|root| root.to_string()),
        size: *length,
        good: *good,
        stored: *stored,
        age: age.as_secs(),
        in_use: *in_use,
        cleared,
    };
    let how = if cleared {
        "deleted"
    } else if *in_use {
        "in use"
    } else {
        "begun"
    };
    let line = match audience.layout() {
        Layout::Aligned => {
            let of = length.map_or(String::new(), |length| format!(" of {}", size(length)));
            let line = format!("{how:<8}{}{of}  {} ago  {}", size(*good), span(age), label(begun));
            clipped(&line, audience.columns()).into_owned()
        }
        _ => format!(
            "{}\t{}\t{good}\t{stored}\t{}\t{how}",
            name.as_ref().map_or("-".into(), |name| quoted(name.as_str())),
            root.map_or("-".to_owned(), |root| root.to_string()),
            age.as_secs()
        ),
    };
    audience.result(&line, &said)
}

/// `#VERIFY`: hashes files again and compares with what is known of them.
pub(super) fn verify(transfers: &Transfers, names: &[String], cancel: &Cancel) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
    let (listed, found) = match listed(transfers, names, cancel) {
        Ok(listed) => listed,
        Err(error) => return fail(transfers, "list", &error),
    };
    if listed.is_empty() && found != ExitStatus::Success {
        return found;
    }
    let store = match transfers.store_to_read() {
        Ok(store) => store,
        Err(error) => return fail(transfers, "verify", &error),
    };
    let (started, total) = (Instant::now(), listed.iter().filter_map(|file| file.length).sum());
    let bar = audience.transfer("verifying");
    let mut tally = Tally::new();
    let mut before = 0;
    for Listed { name, length, .. } in &listed {
        let mut progress = |done, _| {
            let elapsed = started.elapsed();
            bar.update(&Snapshot { total, done: before + done, elapsed, ..Snapshot::default() });
            !cancel.is_cancelled()
        };
        match store.verify(name, &mut progress) {
            Err(StoreError::Interrupted) => return ExitStatus::Interrupted,
            checked => tally.count(transfers, name, checked),
        }
        before += length.unwrap_or(0);
    }
    bar.finish();
    let printed = tally.tell(audience.as_ref(), total);
    tally.outcome.then(found).then(printed)
}

/// What became of the files that were hashed again.
struct Tally {
    same: u64,
    fresh: u64,
    changed: u64,
    failed: u64,
    outcome: ExitStatus,
}

impl Tally {
    fn new() -> Self {
        Self { same: 0, fresh: 0, changed: 0, failed: 0, outcome: ExitStatus::Success }
    }

    /// Counts a file, and tells what is wrong with it.
    fn count(
        &mut self,
        transfers: &Transfers,
        name: &FileName,
        checked: Result<Checked, StoreError>,
    ) {
        match checked {
            Ok(Checked::Same) => self.same += 1,
            Ok(Checked::Fresh) => self.fresh += 1,
            Ok(Checked::Changed { was, is }) => {
                let (was_id, is_id) = (was.to_string(), is.to_string());
                let said = Said::Changed { name: name.as_str(), was: &was_id, is: &is_id };
                let ids = format!("id {}, was {}", is.short(), was.short());
                let line = format!("{} was written to since: {ids}", quoted(name.as_str()));
                transfers.surroundings.audience.result(&line, &said);
                self.changed += 1;
            }
            Ok(Checked::Damaged { was, is }) => {
                let (was_id, is_id) = (was.to_string(), is.to_string());
                let said = Said::Damaged { name: name.as_str(), was: &was_id, is: &is_id };
                let ids = format!("id {}, was {}", is.short(), was.short());
                let name = quoted(name.as_str());
                let line = format!("{name} is not what it was, though its time says so: {ids}");
                transfers.surroundings.audience.result(&line, &said);
                self.failed += 1;
                // Damage counts for more than what cannot be read.
                self.outcome = ExitStatus::Integrity;
            }
            Err(error) => {
                self.failed += 1;
                let failed = fail(transfers, &format!("verify {name}"), &error);
                self.outcome = self.outcome.then(failed);
            }
        }
    }

    fn tell(&self, audience: &dyn Audience, bytes: u64) -> ExitStatus {
        let Self { same, fresh, changed, failed, .. } = *self;
        let mut others = String::new();
        for (count, what) in [(changed, "written to since"), (fresh, "hashed for the first time")] {
            if count > 0 {
                others.push_str(&format!("; {} {what}", files(count)));
            }
        }
        let are = if same == 1 { "is what it was" } else { "are what they were" };
        let line = format!("{} {are}, {}{others}", files(same), size(bytes));
        audience.say(&line, &Said::Verified { same, changed, fresh, failed, bytes })
    }
}

fn fail(transfers: &Transfers, what: &str, error: &StoreError) -> ExitStatus {
    transfers.surroundings.audience.error(&format!(
        "cannot {}: {}",
        shown(what),
        shown(&error.to_string())
    ));
    ExitStatus::from(error)
}
