//! `#PUBLISH`: puts a file or folder from anywhere into the served folder.

use std::path::Path;
use std::time::Instant;

use super::grammar::Publish;
use super::said::Said;
use super::text::{files, quoted, size};
use super::transfers::Transfers;
use super::{ExitStatus, shown};
use crate::content::FileName;
use crate::fetch::Snapshot;
use crate::store::{self, Publication, Published, StoreError};
use crate::transport::Cancel;

pub(super) fn run(transfers: &Transfers, typed: &Publish, cancel: &Cancel) -> ExitStatus {
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
    match published {
        Ok(done) => tell(transfers, &name, &done),
        Err(StoreError::Interrupted) => {
            audience.error("interrupted; what is published stays, the same command continues");
            ExitStatus::Interrupted
        }
        Err(error) => {
            let why = error.to_string();
            audience.error(&format!("cannot publish {}: {}", shown(&typed.path), shown(&why)));
            ExitStatus::from(&error)
        }
    }
}

fn tell(transfers: &Transfers, name: &FileName, done: &Publication) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
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
    let much = format!("{}, {}", files(done.files), size(done.bytes));
    let line = format!("published {}: {much}, {how}{there}", quoted(name.as_str()));
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
