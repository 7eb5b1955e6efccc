//! `#FILELIST`: asks all peers in parallel. On a terminal it shows one table with folders folded;
//! elsewhere one line a file, written while the lists come, so that the length of a list costs no memory.

use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::omissions;
use super::table::Fold;
use super::transfers::Work;
use super::{Bars, ExitStatus, Layout, Listed, classic, shown, table};
use crate::config;
use crate::content::pattern::{Selection, is_folder_name};
use crate::content::{Entry, Omissions};
use crate::fetch::SourceError;
use crate::fetch::list::{ListRequest, list};
use crate::topology::Peer;

/// Pages of one peer that may wait to be shown.
const PAGES_AHEAD: usize = 4;

/// What one peer left out, or why nothing more is known of it.
type Ending = Result<Omissions, SourceError>;

/// With `null`, names are raw and every line ends with a NUL, for programs that take any name.
pub(super) fn run(work: &Work<'_>, pattern: Option<&str>, null: bool) -> ExitStatus {
    let bars = &work.transfers.surroundings.bars;
    if let Err(bad) = Selection::new(pattern, &[]) {
        bars.error(&shown(&bad.to_string()));
        return ExitStatus::Usage;
    }
    let layout = if null { Layout::Null } else { bars.layout() };
    let (mut printed, mut all) = (ExitStatus::Success, Vec::new());
    let endings: Vec<Ending> = thread::scope(|scope| {
        let (mut streams, mut asking) = (Vec::new(), Vec::new());
        for peer in &work.peers {
            let (send, pages) = bounded(PAGES_AHEAD);
            streams.push(Stream { pages, page: Vec::new().into_iter(), head: None });
            asking.push(scope.spawn(move || ask(work, peer, pattern, &send)));
        }
        match layout {
            Layout::Tabs | Layout::Null => printed = stream(bars, &mut streams, layout),
            Layout::Aligned => all = gather(&mut streams, pattern),
        }
        // Whoever still lists is told that nobody reads any more.
        drop(streams);
        asking.into_iter().map(|thread| thread.join().unwrap_or(Err(SourceError::Stalled))).collect()
    });
    if work.cancel.is_cancelled() {
        bars.error("interrupted");
        return ExitStatus::Interrupted;
    }
    let answered = endings.iter().any(Result::is_ok);
    if layout == Layout::Aligned && (answered || !all.is_empty()) {
        let mut table = Vec::new();
        table::write(&all, layout, &mut table);
        printed = bars.print(|out| out.write_all(&table));
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
    Ok(Omissions { count: left_out, told: Vec::new() })
}

fn ask_framed(work: &Work<'_>, peer: &Peer, pattern: Option<&str>, pages: &Sender<Vec<Listed>>) -> Ending {
    let request = ListRequest { pattern: pattern.map(str::to_owned), ..ListRequest::default() };
    let row = |Entry { name, length, root, .. }| Listed {
        folder: None,
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

    /// Whether the next file is here, or the end, so that nothing has to be waited for.
    fn is_ready(&mut self) -> bool {
        while self.head.is_none() {
            match self.page.next() {
                Some(file) => self.head = Some(file),
                None => match self.pages.try_recv() {
                    Ok(page) => self.page = page.into_iter(),
                    Err(error) => return error == TryRecvError::Disconnected,
                },
            }
        }
        true
    }

    fn next(&mut self) -> Option<Listed> {
        self.peek()?;
        self.head.take()
    }
}

/// Writes one line a file while the lists come, merged by name. What is waited for is never waited for
/// while the output is held.
fn stream(bars: &Bars, streams: &mut [Stream], layout: Layout) -> ExitStatus {
    let mut lines = Vec::new();
    loop {
        let waits = !streams.iter_mut().all(Stream::is_ready);
        if lines.len() >= config::LISTING_AT_ONCE || (waits && !lines.is_empty()) {
            match bars.print_part(&std::mem::take(&mut lines)) {
                Ok(true) => {}
                Ok(false) => return ExitStatus::Success,
                Err(status) => return status,
            }
        }
        let Some(first) = streams.iter_mut().filter_map(|stream| Some(stream.peek()?.name.clone())).min()
        else {
            break;
        };
        let namesake = |stream: &mut Stream| {
            let same = stream.peek().is_some_and(|head| head.name == first);
            same.then(|| stream.next()).flatten()
        };
        let namesakes: Vec<Listed> = streams.iter_mut().filter_map(namesake).collect();
        table::write_namesakes(&namesakes, layout, &mut lines);
    }
    match bars.print_part(&lines) {
        Ok(_) => ExitStatus::Success,
        Err(status) => status,
    }
}

/// All lists, for one table; without a pattern, or for a folder, what lies deeper is folded.
fn gather(streams: &mut [Stream], pattern: Option<&str>) -> Vec<Listed> {
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
    all
}

/// Says what a peer left out, or why it is not known.
fn tell(work: &Work<'_>, peer: &Peer, ending: Ending) -> ExitStatus {
    let bars = &work.transfers.surroundings.bars;
    match ending {
        Ok(left_out) => omissions::tell(work, peer.id.as_str(), &left_out),
        Err(error) => {
            bars.error(&format!("{peer}: {}", shown(&error.to_string())));
            ExitStatus::from(&error)
        }
    }
}
