//! `#FILELIST`: asks all peers in parallel. On a terminal it shows one table with folders folded;
//! elsewhere one line a file, written while the lists come, so that the length of a list costs no memory.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::folder::LEFT_OUT;
use super::table::Fold;
use super::transfers::Work;
use super::{Bars, ExitStatus, Layout, Listed, classic, shown, table};
use crate::content::Entry;
use crate::content::pattern::{Selection, is_folder_name};
use crate::fetch::SourceError;
use crate::fetch::list::{ListRequest, list};
use crate::topology::Peer;

/// Pages of one peer that may wait to be shown.
const PAGES_AHEAD: usize = 4;

/// How many things one peer left out, or why nothing more is known of it.
type Ending = Result<u64, SourceError>;

pub(super) fn run(work: &Work<'_>, pattern: Option<&str>) -> ExitStatus {
    let bars = &work.transfers.surroundings.bars;
    if let Err(bad) = Selection::new(pattern, &[]) {
        bars.error(&shown(&bad.to_string()));
        return ExitStatus::Usage;
    }
    let mut printed = ExitStatus::Success;
    let endings: Vec<Ending> = thread::scope(|scope| {
        let (mut streams, mut asking) = (Vec::new(), Vec::new());
        for peer in &work.peers {
            let (send, pages) = bounded(PAGES_AHEAD);
            streams.push(Stream { pages, page: Vec::new().into_iter(), head: None });
            asking.push(scope.spawn(move || ask(work, peer, pattern, &send)));
        }
        printed = match bars.layout() {
            Layout::Tabs => stream(bars, &mut streams),
            Layout::Aligned => show(bars, &mut streams, pattern),
        };
        // Whoever still lists is told that nobody reads any more.
        drop(streams);
        asking.into_iter().map(|thread| thread.join().unwrap_or(Err(SourceError::Stalled))).collect()
    });
    if work.cancel.is_cancelled() {
        return ExitStatus::Interrupted;
    }
    let outcomes = work.peers.iter().zip(endings).map(|(peer, ending)| tell(work, peer, ending));
    ExitStatus::of_peers(outcomes.collect::<Vec<_>>()).then(printed)
}

fn ask(work: &Work<'_>, peer: &Peer, pattern: Option<&str>, pages: &Sender<Vec<Listed>>) -> Ending {
    if !work.is_classic(peer) {
        match ask_framed(work, peer, pattern, pages) {
            Err(SourceError::Foreign(_)) if work.turns_out_classic(peer) => {}
            ending => return ending,
        }
    }
    let (mut files, left_out) = classic::listed(peer, work.asker(peer).list()?);
    if let Ok(selection) = Selection::new(pattern, &[]) {
        files.retain(|file| selection.matches(&file.name));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    // Nobody reads any more when the other end is gone.
    let _ = pages.send(files);
    Ok(left_out)
}

fn ask_framed(work: &Work<'_>, peer: &Peer, pattern: Option<&str>, pages: &Sender<Vec<Listed>>) -> Ending {
    let request = ListRequest { pattern: pattern.map(str::to_owned), ..ListRequest::default() };
    let row = |Entry { name, length, root, .. }| Listed {
        files: None,
        peer: peer.id.clone(),
        name,
        length: Some(length),
        root,
    };
    let mut each = |page: Vec<Entry>| drop(pages.send(page.into_iter().map(row).collect()));
    list(peer, &request, &work.caller, &work.cancel, &mut each)
}

/// The list of one peer, file by file.
struct Stream {
    pages: Receiver<Vec<Listed>>,
    page: std::vec::IntoIter<Listed>,
    head: Option<Listed>,
}

impl Stream {
    /// The next file, which stays.
    fn peek(&mut self) -> Option<&Listed> {
        while self.head.is_none() {
            match self.page.next() {
                Some(file) => self.head = Some(file),
                None => self.page = self.pages.recv().ok()?.into_iter(),
            }
        }
        self.head.as_ref()
    }

    fn next(&mut self) -> Option<Listed> {
        self.peek()?;
        self.head.take()
    }
}

/// Writes one line a file while the lists come, merged by name.
fn stream(bars: &Bars, streams: &mut [Stream]) -> ExitStatus {
    bars.print(|out| {
        while let Some(first) =
            streams.iter_mut().filter_map(|stream| Some(stream.peek()?.name.clone())).min()
        {
            let namesake = |stream: &mut Stream| {
                let same = stream.peek().is_some_and(|head| head.name == first);
                same.then(|| stream.next()).flatten()
            };
            let namesakes: Vec<Listed> = streams.iter_mut().filter_map(namesake).collect();
            table::write_namesakes(&namesakes, out)?;
        }
        Ok(())
    })
}

/// Shows all lists as one table; without a pattern, or for a folder, what lies deeper is folded.
fn show(bars: &Bars, streams: &mut [Stream], pattern: Option<&str>) -> ExitStatus {
    let within = match pattern {
        None => Some(""),
        Some(folder) => is_folder_name(folder).then_some(folder),
    };
    let mut all = Vec::new();
    for stream in streams {
        let mut fold = within.map(Fold::new);
        while let Some(file) = stream.next() {
            match &mut fold {
                Some(fold) => fold.add(file),
                None => all.push(file),
            }
        }
        all.extend(fold.map(Fold::rows).unwrap_or_default());
    }
    bars.print(|out| table::write(&all, Layout::Aligned, out))
}

/// Says what a peer left out, or why it is not known.
fn tell(work: &Work<'_>, peer: &Peer, ending: Ending) -> ExitStatus {
    let bars = &work.transfers.surroundings.bars;
    match ending {
        Ok(left_out) => {
            if left_out > 0 {
                bars.note(&format!("{}: left out {left_out} that cannot be served ({LEFT_OUT})", peer.id));
            }
            ExitStatus::Success
        }
        Err(error) => {
            bars.error(&format!("{peer}: {}", shown(&error.to_string())));
            ExitStatus::from(&error)
        }
    }
}
