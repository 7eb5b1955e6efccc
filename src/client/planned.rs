//! What would be transferred: `--dry-run`.

use super::local::Several;
use super::said::{Said, Transferred};
use super::text::{files, quoted, size};
use super::upload::From;
use super::work::Work;
use super::{ExitStatus, select, shown};
use crate::content::Manifest;
use crate::fetch::find::Holder;
use crate::store::{self, ListQuery, Standing, Wanted};
use crate::wire::Share;

/// Says how much would come from whom; the exit code is that of the download.
pub(super) fn download(
    work: &Work<'_>,
    manifest: &Manifest,
    holders: &[Holder],
    replace: bool,
) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let (name, length, root) = (manifest.name(), manifest.length(), Some(manifest.root()));
    let standing = work.store().and_then(|store| {
        store.compare(&[Wanted { name, length, root }], false).pop().unwrap_or(Ok(Standing::Free))
    });
    let standing = match standing {
        Ok(standing) => standing,
        Err(error) => {
            audience.error(&format!("{}: {}", shown(name.as_str()), shown(&error.to_string())));
            return ExitStatus::from(&error);
        }
    };
    let holders = holders.iter().map(|holder| holder.peer.id.as_str());
    let from = select::folded(&holders.collect::<Vec<_>>()).join(", ");
    let (there, quoted) = (matches!(standing, Standing::Same), quoted(name.as_str()));
    let in_the_way = matches!(standing, Standing::Other) && !replace;
    let would = format!("would download {quoted}, {}, from {from}", size(length));
    let line = match standing {
        Standing::Same => format!("{quoted} is already here"),
        Standing::Free => would,
        Standing::Other if replace => format!("{would}, in place of another file"),
        Standing::Other => {
            format!("{would}, but another file of that name is here; --replace overwrites it")
        }
    };
    let said = Transferred {
        direction: "download",
        name: name.as_str(),
        bytes: if there { 0 } else { length },
        files: u64::from(!there),
        there: u64::from(there),
        ..Transferred::default()
    };
    let printed = audience.result(&line, &Said::Planned(said));
    if in_the_way { ExitStatus::Refused } else { printed }
}

/// Says to whom how much would be sent.
pub(super) fn upload(work: &Work<'_>, file: &From) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let length = match file {
        From::Served(name) => {
            work.transfers.store_to_read().and_then(|store| store.length_of(name))
        }
        From::Elsewhere(path) => store::length_at(path),
    };
    let length = match length {
        Ok(length) => length,
        Err(error) => {
            audience.error(&format!("cannot upload {file}: {}", shown(&error.to_string())));
            return ExitStatus::from(&error);
        }
    };
    let ids: Vec<&str> = work.peers.iter().map(|peer| peer.id.as_str()).collect();
    let name = file.to_string();
    let line =
        format!("would upload {name}, {}, to {}", size(length), select::folded(&ids).join(", "));
    let said = Transferred {
        direction: "upload",
        name: &name,
        bytes: length,
        files: 1,
        ..Transferred::default()
    };
    audience.result(&line, &Said::Planned(said))
}

/// Says to whom how many files would be offered.
pub(super) fn upload_of_folder(work: &Work<'_>, shared: &Several) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let Share { pattern, except, .. } = &shared.share;
    let query = ListQuery {
        pattern: pattern.clone(),
        except: except.clone(),
        limit: usize::MAX,
        ..ListQuery::default()
    };
    let page = match shared.store.list(&query) {
        Ok(page) => page,
        Err(error) => {
            audience.error(&format!(
                "cannot upload {}: {}",
                shared.label,
                shown(&error.to_string())
            ));
            return ExitStatus::from(&error);
        }
    };
    let (count, bytes) =
        (page.entries.len() as u64, page.entries.iter().map(|entry| entry.length).sum());
    let ids: Vec<&str> = work.peers.iter().map(|peer| peer.id.as_str()).collect();
    let (label, to) = (&shared.label, select::folded(&ids).join(", "));
    let line = format!(
        "would upload {label}: {}, {}, to {to}, less what is there",
        files(count),
        size(bytes)
    );
    let said = Transferred {
        direction: "upload",
        name: label,
        bytes,
        files: count,
        ..Transferred::default()
    };
    audience.result(&line, &Said::Planned(said))
}
