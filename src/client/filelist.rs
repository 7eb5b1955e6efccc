//! `#FILELIST`: asks all peers in parallel and shows one table.

use std::thread;

use super::transfers::Work;
use super::{ExitStatus, Layout, Listed, output, shown, table};
use crate::fetch::SourceError;
use crate::fetch::list::{ListRequest, list};
use crate::topology::Peer;

/// What one peer serves, or why that is not known.
type Listing = Result<(Vec<Listed>, u64), SourceError>;

pub(super) fn run(work: &Work<'_>, pattern: Option<&str>) -> ExitStatus {
    let listings: Vec<Listing> = thread::scope(|scope| {
        let asking: Vec<_> = work.peers.iter().map(|peer| scope.spawn(move || ask(work, peer, pattern))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap_or(Err(SourceError::Stalled))).collect()
    });
    if work.cancel.is_cancelled() {
        return ExitStatus::Interrupted;
    }
    let (mut all, mut outcomes) = (Vec::new(), Vec::new());
    for (peer, listing) in work.peers.iter().zip(listings) {
        outcomes.push(tell(work, peer, listing, &mut all));
    }
    let printed = output::print(|out| table::write(&all, Layout::of_stdout(), out));
    ExitStatus::of_peers(outcomes).then(printed)
}

fn ask(work: &Work<'_>, peer: &Peer, pattern: Option<&str>) -> Listing {
    let request = ListRequest { pattern: pattern.map(str::to_owned), ..ListRequest::default() };
    let mut files = Vec::new();
    let mut take = |entries: Vec<crate::content::Entry>| {
        files.extend(entries.into_iter().map(|entry| Listed {
            peer: peer.id.clone(),
            name: entry.name,
            length: entry.length,
            root: entry.root,
        }));
    };
    let left_out = list(peer, &request, &work.caller, &work.cancel, &mut take)?;
    Ok((files, left_out))
}

/// Adds what a peer serves to `all`, or says why it is not known.
fn tell(work: &Work<'_>, peer: &Peer, listing: Listing, all: &mut Vec<Listed>) -> ExitStatus {
    let bars = &work.transfers.surroundings.bars;
    match listing {
        Ok((mut files, left_out)) => {
            all.append(&mut files);
            if left_out > 0 {
                let why = "links that lead out of the folder, names that are not UTF-8, or no ordinary files";
                bars.note(&format!("{}: {left_out} entries are left out ({why})", peer.id));
            }
            ExitStatus::Success
        }
        Err(error) => {
            bars.error(&format!("{peer}: {}", shown(&error.to_string())));
            ExitStatus::from(&error)
        }
    }
}
