//! What concerns the own served folder alone: `#FILES`, `#PARTS`, `#PUBLISH`, `#VERIFY`.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::grammar::{Parts, Publish};
use super::said::Said;
use super::table::{self, Layout, Listed};
use super::text::{clipped, files, quoted, size, span};
use super::transfers::Transfers;
use super::{ExitStatus, shown};
use crate::content::pattern::{beneath, escaped, is_pattern};
use crate::content::{FileName, Selection};
use crate::fetch::Snapshot;
use crate::store::{self, Begun, Checked, ListQuery, Published, Store, StoreError};
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
    let layout = if null { Layout::Null } else { audience.layout() };
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
                transfers
                    .surroundings
                    .audience
                    .error(&format!("nothing here is called {}", shown(name)));
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
    let chosen: Vec<Begun> = begun.into_iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        audience.note("nothing is begun");
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

/// `#PUBLISH`: puts a file or folder from anywhere into the served folder.
pub(super) fn publish(transfers: &Transfers, typed: &Publish, cancel: &Cancel) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
    let path = Path::new(&typed.path);
    let usual = || path.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
    let Some(name) = typed.name.clone().or_else(usual) else {
        audience.error(&format!("there is no file or folder {}", shown(&typed.path)));
        return ExitStatus::NoSuchFile;
    };
    let name: FileName = match name.trim_end_matches('/').parse() {
        Ok(name) => name,
        Err(bad) => {
            audience.error(&format!("it cannot be called {}: {bad}", shown(&name)));
            return ExitStatus::Usage;
        }
    };
    let bar = audience.transfer(&format!("publishing {name}"));
    let (started, total) = (Instant::now(), store::length_at(path).unwrap_or(0));
    let mut goes_on = |done| {
        let (total, elapsed) = (total.max(done), started.elapsed());
        bar.update(&Snapshot { done, total, elapsed, ..Snapshot::default() });
        !cancel.is_cancelled()
    };
    let published = transfers.store().and_then(|store| store.publish(path, &name, &mut goes_on));
    bar.finish();
    let done = match published {
        Ok(done) => done,
        Err(StoreError::Interrupted) => {
            audience.error("interrupted; what is published stays, the same command continues");
            return ExitStatus::Interrupted;
        }
        Err(error) => return fail(transfers, &format!("publish {}", typed.path), &error),
    };
    let how = match done.way {
        Some(Published::Reflink) => "sharing its bytes (reflink)",
        Some(Published::HardLink) => "as a hard link: what is written to it is written to both",
        Some(Published::Copy) => "as a copy",
        None => "nothing to copy",
    };
    let there = match done.there {
        0 => String::new(),
        there => format!("; {} there already", files(there)),
    };
    for (what, why) in &done.left_out {
        audience.error(&format!("  left out: {}: {}", shown(what), shown(why)));
    }
    let line = format!(
        "published {}: {}, {}, {how}{there}",
        quoted(name.as_str()),
        files(done.files),
        size(done.bytes)
    );
    let said = Said::Published {
        name: name.as_str(),
        files: done.files,
        bytes: done.bytes,
        how,
        there: done.there,
        left_out: done.left_out.len() as u64,
    };
    let printed = audience.say(&line, &said);
    if done.left_out.is_empty() { printed } else { ExitStatus::Incomplete }
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
    let (mut before, mut same, mut fresh, mut changed) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut damaged, mut outcome) = (false, ExitStatus::Success);
    for Listed { name, length, .. } in &listed {
        let mut progress = |done, _| {
            let elapsed = started.elapsed();
            bar.update(&Snapshot { total, done: before + done, elapsed, ..Snapshot::default() });
            !cancel.is_cancelled()
        };
        match store.verify(name, &mut progress) {
            Ok(Checked::Same) => same += 1,
            Ok(Checked::Fresh) => fresh += 1,
            Ok(Checked::Changed) => changed += 1,
            Ok(Checked::Damaged { was, is }) => {
                let (was_id, is_id) = (was.to_string(), is.to_string());
                let said = Said::Damaged { name: name.as_str(), was: &was_id, is: &is_id };
                let line = format!(
                    "{} is not what it was, though its time says so: id {}, was {}",
                    quoted(name.as_str()),
                    is.short(),
                    was.short()
                );
                audience.result(&line, &said);
                damaged = true;
            }
            Err(StoreError::Interrupted) => return ExitStatus::Interrupted,
            Err(error) => {
                outcome = outcome.then(fail(transfers, &format!("verify {name}"), &error))
            }
        }
        before += length.unwrap_or(0);
    }
    bar.finish();
    let mut others = String::new();
    for (count, what) in [(changed, "written to since"), (fresh, "hashed for the first time")] {
        if count > 0 {
            others.push_str(&format!("; {} {what}", files(count)));
        }
    }
    let are = if same == 1 { "is what it was" } else { "are what they were" };
    let line = format!("{} {are}, {}{others}", files(same), size(total));
    let failed = listed.len() as u64 - same - fresh - changed;
    let said = Said::Verified { same, changed, fresh, failed, bytes: total };
    let printed = audience.say(&line, &said);
    if damaged { ExitStatus::Integrity } else { outcome.then(found).then(printed) }
}

fn fail(transfers: &Transfers, what: &str, error: &StoreError) -> ExitStatus {
    transfers.surroundings.audience.error(&format!(
        "cannot {}: {}",
        shown(what),
        shown(&error.to_string())
    ));
    ExitStatus::from(error)
}
