//! What would be transferred: `--dry-run`.

use std::collections::BTreeMap;

use super::local::Several;
use super::said::{Said, Transferred};
use super::text::{files, quoted, size};
use super::upload::From;
use super::work::Work;
use super::{ExitStatus, Layout, folding, select, shown};
use crate::content::pattern::{self, escaped};
use crate::content::{Entry, FileName, Manifest, Root};
use crate::fetch::SourceError;
use crate::fetch::find::Holder;
use crate::fetch::list::{ListRequest, list};
use crate::store::{self, ListQuery, Standing, StoreError, Wanted};
use crate::threads;
use crate::topology::Peer;
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

/// Says to whom a file would be sent. Nothing is hashed for it.
pub(super) fn upload(work: &Work<'_>, file: &From, replace: bool) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let known = match file {
        From::Served(name) => work.transfers.store_to_read().and_then(|store| {
            let (length, pattern) = (store.length_of(name)?, Some(escaped(name.as_str())));
            let listed = store.list(&ListQuery { pattern, limit: 1, ..ListQuery::default() })?;
            let root = listed.entries.into_iter().next().and_then(|entry| entry.root);
            Ok((name.clone(), length, root))
        }),
        From::Elsewhere(path) => store::length_at(path).and_then(|length| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            Ok((name.parse().map_err(StoreError::BadName)?, length, None))
        }),
    };
    let (name, length, root) = match known {
        Ok(known) => known,
        Err(error) => {
            audience.error(&format!("cannot upload {file}: {}", shown(&error.to_string())));
            return ExitStatus::from(&error);
        }
    };
    let there = work.name.clone().unwrap_or(name);
    let from = match file.to_string() == quoted(there.as_str()) {
        true => String::new(),
        false => format!(" (from {file})"),
    };
    Plan {
        label: format!("{}{from}", quoted(there.as_str())),
        pattern: Some(escaped(there.as_str())),
        files: BTreeMap::from([(there, (length, root))]),
        one: true,
        replace,
    }
    .tell(work)
}

/// Says to whom how many files of a folder would be sent.
pub(super) fn upload_of_folder(work: &Work<'_>, shared: &Several, replace: bool) -> ExitStatus {
    let Share { pattern, except, beneath } = &shared.share;
    let query = ListQuery {
        pattern: pattern.clone(),
        except: except.clone(),
        limit: usize::MAX,
        ..ListQuery::default()
    };
    let named = |entry: Entry| {
        let there = match beneath {
            Some(above) => {
                format!("{above}/{}", entry.name).parse().map_err(StoreError::BadName)?
            }
            None => entry.name,
        };
        Ok((there, (entry.length, entry.root)))
    };
    let listed = shared.store.list(&query);
    let files = match listed.and_then(|page| page.entries.into_iter().map(named).collect()) {
        Ok(files) => files,
        Err(error) => {
            let audience = &work.transfers.surroundings.audience;
            let why = shown(&error.to_string()).into_owned();
            audience.error(&format!("cannot upload {}: {why}", shared.label));
            return ExitStatus::from(&error);
        }
    };
    let pattern = match beneath {
        Some(above) => Some(pattern::beneath(above.as_str())),
        None => pattern.clone(),
    };
    Plan { label: shared.label.clone(), pattern, files, one: false, replace }.tell(work)
}

/// What would be uploaded.
struct Plan {
    label: String,
    /// What peers are asked for, to compare.
    pattern: Option<String>,
    /// By their names there, how long they are and what, as far as that is known.
    files: BTreeMap<FileName, (u64, Option<Root>)>,
    /// Whether it is a file, not a folder that may have one.
    one: bool,
    replace: bool,
}

/// What would become of it at one peer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct AtPeer {
    /// Files that would be sent, and their bytes.
    sent: u64,
    bytes: u64,
    /// Files that are there.
    there: u64,
    /// Files of that name and length that are there; whether they are the same would be found out.
    perhaps: u64,
    /// Other files of that name.
    in_the_way: u64,
}

impl Plan {
    /// Asks all peers what they have, and says what would be sent; the exit code is that of the
    /// upload.
    fn tell(&self, work: &Work<'_>) -> ExitStatus {
        let audience = &work.transfers.surroundings.audience;
        let ask = |peer: &Peer| self.at_peer(work, peer);
        let outcomes = threads::for_all(&work.peers, |peer| format!("plan-{}", peer.id), ask);
        let outcomes = outcomes.into_iter().map(|one| one.unwrap_or(Err(SourceError::Stalled)));
        let outcomes: Vec<_> = work.peers.iter().zip(outcomes).collect();
        if work.cancel.is_cancelled() {
            return ExitStatus::Interrupted;
        }
        let plans = outcomes.iter().filter_map(|(peer, plan)| Some((*peer, plan.as_ref().ok()?)));
        let mut printed = ExitStatus::Success;
        if audience.layout() == Layout::Json {
            for (peer, plan) in plans {
                printed = printed.then(audience.emit(&Said::Planned(self.object(peer, plan))));
            }
        } else {
            let texts = plans.map(|(peer, plan)| (peer, self.words(plan)));
            for (peers, text) in folding::by_text(texts) {
                let line = format!("{}: {text}\n", folding::ids(&peers));
                printed = printed.then(audience.table(line.as_bytes()));
            }
        }
        let away = outcomes.iter().filter_map(|(peer, plan)| Some((*peer, plan.as_ref().err()?)));
        folding::reasons(away, |line| audience.error(line));
        let outcome = |plan: &Result<AtPeer, SourceError>| match plan {
            Ok(plan) if plan.in_the_way > 0 && !self.replace => match plan.sent + plan.there {
                0 => ExitStatus::Refused,
                _ => ExitStatus::SomePeersFailed,
            },
            Ok(_) => ExitStatus::Success,
            Err(error) => ExitStatus::from(error),
        };
        ExitStatus::of_peers(outcomes.iter().map(|(_, plan)| outcome(plan))).then(printed)
    }

    fn at_peer(&self, work: &Work<'_>, peer: &Peer) -> Result<AtPeer, SourceError> {
        let mut there = BTreeMap::new();
        let request = ListRequest { pattern: self.pattern.clone(), ..ListRequest::default() };
        let mut each = |page: Vec<Entry>| {
            let ours = page.into_iter().filter(|entry| self.files.contains_key(&entry.name));
            there.extend(ours.map(|entry| (entry.name, (Some(entry.length), entry.root))));
        };
        match work.is_classic(peer) {
            // The dialect tells names alone.
            true => {
                let names = work.asker(peer).list()?.names;
                there.extend(names.into_iter().map(|name| (name, (None, None))));
            }
            false => {
                list(peer, &request, &work.caller, &work.cancel, &mut each)?;
            }
        }
        let mut plan = AtPeer::default();
        for (name, (length, root)) in &self.files {
            let (same_length, other_root) = match there.get(name) {
                None => (None, None),
                Some((other_length, other_root)) => {
                    (Some(other_length.is_none_or(|other| other == *length)), *other_root)
                }
            };
            match (same_length, root.zip(other_root)) {
                (Some(true), Some((ours, theirs))) if ours == theirs => plan.there += 1,
                (Some(true), None) => plan.perhaps += 1,
                (Some(_), _) if !self.replace => plan.in_the_way += 1,
                _ => {
                    plan.sent += 1;
                    plan.bytes += length;
                }
            }
        }
        Ok(plan)
    }

    fn object<'a>(&'a self, peer: &'a Peer, plan: &AtPeer) -> Transferred<'a> {
        Transferred {
            direction: "upload",
            name: &self.label,
            peer: Some(peer.id.as_str()),
            bytes: plan.bytes,
            files: plan.sent,
            there: plan.there,
            failed: plan.in_the_way,
            ..Transferred::default()
        }
    }

    fn words(&self, plan: &AtPeer) -> String {
        let AtPeer { sent, bytes, there, perhaps, in_the_way } = *plan;
        let label = &self.label;
        if self.one {
            return match plan {
                _ if there > 0 => format!("already serving {label}"),
                _ if perhaps > 0 => format!(
                    "has a file {label} of the same length; the upload would tell whether it is \
                     the same"
                ),
                _ if in_the_way > 0 => format!(
                    "would refuse {label}: another file of that name is there; --replace \
                     overwrites it"
                ),
                _ => format!("would upload {label}, {}", size(bytes)),
            };
        }
        let mut words = format!("would upload {label}: {}, {}", files(sent), size(bytes));
        for (count, what) in [
            (there, "there already"),
            (perhaps, "of the same name and length there; the upload would tell whether the same"),
            (in_the_way, "in the way; --replace overwrites"),
        ] {
            if count > 0 {
                words.push_str(&format!("; {} {what}", files(count)));
            }
        }
        words
    }
}
