//! `#FILELIST`: asks all peers in parallel. On a terminal it shows one table with folders folded;
//! elsewhere one line a file, written while the lists come, so that the length of a list costs no
//! memory.

use std::io;
use std::thread::{self, ScopedJoinHandle};

use crossbeam_channel::{Sender, bounded};

use super::meaning::{self, Meaning, Nobody};
use super::merging::{Lists, Next};
use super::omissions;
use super::table::Fold;
use super::work::Work;
use super::{Audience, ExitStatus, Layout, Listed, classic, folding, select, shown, table};
use crate::config;
use crate::content::pattern::{beneath, escaped};
use crate::content::{Entry, Omissions, Selection};
use crate::fetch::SourceError;
use crate::fetch::list::{ListRequest, list};
use crate::threads;
use crate::topology::{Peer, PeerId};

/// Pages of one peer that may wait to be shown.
const PAGES_AHEAD: usize = 4;

/// What one peer left out, or why nothing more is known of it.
type Ending = Result<Omissions, SourceError>;

/// Lists all files, or those that were meant by what was typed. With `null`, names are raw and
/// every line ends with a NUL, for programs that take any name. Names that fit `except` are left
/// out. What nobody has may be a mistyped peer where the words did not say what is one.
pub(super) fn run(
    work: &Work<'_>,
    typed: Option<&str>,
    except: &[String],
    (null, may_be_peer): (bool, bool),
) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let layout = audience.layout().with_null(null);
    let Some(typed) = typed else {
        let attempt = Attempt { work, pattern: None, except, within: Some(String::new()), layout };
        return attempt.run().end(work);
    };
    let meanings = match meaning::meanings(typed) {
        Ok(meanings) => meanings,
        Err(why) => {
            audience.error(&format!("cannot list {}: {}", shown(typed), shown(&why.to_string())));
            return ExitStatus::Usage;
        }
    };
    let mut nobody = Nobody::of(work);
    for meaning in meanings {
        let (pattern, within) = match meaning {
            Meaning::File(name) => (escaped(name.as_str()), None),
            Meaning::Folder(name) => (beneath(name.as_str()), Some(format!("{name}/"))),
            Meaning::Several(pattern) => (pattern, None),
        };
        let work = work.among(nobody.asked().to_vec());
        let listed = Attempt { work: &work, pattern: Some(pattern), except, within, layout }.run();
        if listed.any || work.cancel.is_cancelled() {
            return listed.end(&work);
        }
        let failed = |(peer, ending): (&Peer, Ending)| Some((peer.clone(), ending.err()?));
        nobody.hear(work.peers.iter().zip(listed.endings).filter_map(failed).collect());
        if nobody.asked().is_empty() {
            break;
        }
    }
    if may_be_peer && typed.parse::<PeerId>().is_ok() && !typed.contains('.') {
        // It stands where a peer may stand, too.
        let known = select::known_ids(work.topology);
        audience.error(&format!("unknown peer {typed}; known: {known}; and no file is called so"));
        return ExitStatus::Usage;
    }
    let near = meaning::near(work, nobody.asked(), typed);
    nobody.tell(work, typed, &near)
}

/// One question to all peers, and how it is shown.
struct Attempt<'a> {
    work: &'a Work<'a>,
    pattern: Option<String>,
    except: &'a [String],
    /// The folder of which what lies deeper is folded, on a terminal.
    within: Option<String>,
    layout: Layout,
}

/// What came of it.
struct Shown {
    /// Whether any peer has any of it.
    any: bool,
    endings: Vec<Ending>,
    printed: ExitStatus,
}

impl Attempt<'_> {
    fn run(&self) -> Shown {
        let work = self.work;
        let request = ListRequest {
            pattern: self.pattern.clone(),
            except: self.except.to_vec(),
            waits: work.waits,
            ..ListRequest::default()
        };
        let request = &request;
        let audience = &work.transfers.surroundings.audience;
        let mut written = Written::default();
        let endings: Vec<Ending> = thread::scope(|scope| {
            let (mut lists, mut asking) = (Vec::new(), Vec::new());
            for peer in &work.peers {
                let (send, pages) = bounded(PAGES_AHEAD);
                lists.push(pages);
                let ask = move || ask(work, peer, request, &send);
                asking.push(threads::start_in(scope, format!("list-{}", peer.id), ask));
            }
            let lists = Lists::new(lists, config::LIST_PATIENCE.min(work.waits.stall));
            // Whoever still lists is told that nobody reads any more when this is over.
            written = match self.layout {
                Layout::Aligned => self.tables(lists),
                layout => stream(audience.as_ref(), lists, layout),
            };
            let end = |thread: io::Result<ScopedJoinHandle<'_, Ending>>| {
                thread.map_err(SourceError::NoThread)?.join().unwrap_or(Err(SourceError::Stalled))
            };
            asking.into_iter().map(end).collect()
        });
        let answered = endings.iter().any(Result::is_ok);
        if self.layout == Layout::Aligned && !written.any && answered && self.pattern.is_none() {
            written = self.table(&[]);
        }
        let left_out = endings.iter().flatten().any(|left_out| !left_out.is_empty());
        Shown { any: written.any || left_out, endings, printed: written.status }
    }
}

impl Attempt<'_> {
    /// One table of all lists, or one of those that came in time and another one of the rest. What
    /// lies deeper than directly within the folder is folded.
    fn tables(&self, mut lists: Lists) -> Written {
        let folder = self.within.as_deref();
        let mut parts: Vec<Part> = self.work.peers.iter().map(|_| Part::within(folder)).collect();
        let (mut written, mut told) = (Written::default(), false);
        loop {
            match lists.next_page(told) {
                Next::Page(place, files) => {
                    if let Some(part) = parts.get_mut(place) {
                        part.add(files);
                    }
                }
                Next::Late => {
                    let late: Vec<usize> = lists.open().collect();
                    let rows = rows(&mut parts, |place| !late.contains(&place));
                    let ids = late.iter().filter_map(|place| self.work.peers.get(*place));
                    let ids: Vec<&str> = ids.map(|peer| peer.id.as_str()).collect();
                    if !rows.is_empty() {
                        written = self.table(&rows);
                        let who = select::folded(&ids).join(", ");
                        let what = format!("still waiting for the files of {who}");
                        self.work.transfers.surroundings.audience.note(&what);
                    }
                    told = true;
                }
                Next::End => break,
            }
        }
        let rows = rows(&mut parts, |_| true);
        if rows.is_empty() { written } else { self.table(&rows) }
    }

    fn table(&self, rows: &[Listed]) -> Written {
        let mut table = Vec::new();
        table::write(rows, self.layout, &mut table);
        Written { any: true, status: self.work.transfers.surroundings.audience.table(&table) }
    }
}

/// What one peer has, for the table.
enum Part {
    Folded(Fold),
    Whole(Vec<Listed>),
}

impl Part {
    fn within(folder: Option<&str>) -> Self {
        folder.map_or(Self::Whole(Vec::new()), |folder| Self::Folded(Fold::new(folder)))
    }

    fn add(&mut self, files: Vec<Listed>) {
        match self {
            Self::Folded(fold) => files.into_iter().for_each(|file| fold.add(file)),
            Self::Whole(all) => all.extend(files),
        }
    }
}

/// The rows of those peers, which are done with then.
fn rows(parts: &mut [Part], of: impl Fn(usize) -> bool) -> Vec<Listed> {
    let (mut all, done) = (Vec::new(), || Part::Whole(Vec::new()));
    for (_, part) in parts.iter_mut().enumerate().filter(|(place, _)| of(*place)) {
        match std::mem::replace(part, done()) {
            Part::Folded(fold) => all.extend(fold.rows()),
            Part::Whole(rows) => all.extend(rows),
        }
    }
    all
}

impl Shown {
    /// Says what was left out, and who could not be asked.
    fn end(self, work: &Work<'_>) -> ExitStatus {
        if work.cancel.is_cancelled() {
            work.transfers.surroundings.audience.error("interrupted");
            return ExitStatus::Interrupted;
        }
        let audience = &work.transfers.surroundings.audience;
        let endings = work.peers.iter().zip(&self.endings);
        let failures =
            endings.clone().filter_map(|(peer, ending)| Some((peer, ending.as_ref().err()?)));
        folding::reasons(failures, |line| audience.error(line));
        let outcomes = endings.map(|(peer, ending)| match ending {
            Ok(left_out) => omissions::tell(audience.as_ref(), peer.id.as_str(), left_out),
            Err(error) => ExitStatus::from(error),
        });
        // What could not be written counts before what was not there to be written.
        self.printed.then(ExitStatus::of_peers(outcomes.collect::<Vec<_>>()))
    }
}

/// Whether anything was written, and how that went.
struct Written {
    any: bool,
    status: ExitStatus,
}

impl Default for Written {
    fn default() -> Self {
        Self { any: false, status: ExitStatus::Success }
    }
}

fn ask(work: &Work<'_>, peer: &Peer, request: &ListRequest, pages: &Sender<Vec<Listed>>) -> Ending {
    if !work.is_classic(peer) {
        let framed = |peer: &Peer| ask_framed(work, peer, request, pages);
        if let Some(left_out) = work.ask_framed(peer, framed)? {
            return Ok(left_out);
        }
    }
    let (mut files, left_out) = classic::listed(peer, work.asker(peer).list()?);
    if let Ok(selection) = Selection::new(request.pattern.as_deref(), &request.except) {
        files.retain(|file| selection.matches(&file.name));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    // Nobody reads any more when the other end is gone.
    let _ = pages.send(files);
    Ok(Omissions { count: left_out, told: Vec::new() })
}

fn ask_framed(
    work: &Work<'_>,
    peer: &Peer,
    request: &ListRequest,
    pages: &Sender<Vec<Listed>>,
) -> Ending {
    let row = |Entry { name, length, root, .. }| Listed {
        folder: None,
        peer: peer.id.clone(),
        name,
        length: Some(length),
        root,
    };
    let mut each = |page: Vec<Entry>| {
        work.transfers.note_offered(page.iter().map(|entry| entry.name.as_str()));
        drop(pages.send(page.into_iter().map(row).collect()));
    };
    list(peer, request, &work.caller, &work.cancel, &mut each)
}

/// Writes one line a file while the lists come, merged by name. What is waited for is never waited
/// for while the output is held.
fn stream(audience: &dyn Audience, mut lists: Lists, layout: Layout) -> Written {
    let (mut lines, mut any) = (Vec::new(), false);
    loop {
        if lines.len() >= config::LISTING_AT_ONCE || (!lines.is_empty() && !lists.is_ready()) {
            match audience.part(&std::mem::take(&mut lines)) {
                Ok(true) => {}
                Ok(false) => return Written { any, status: ExitStatus::Success },
                Err(status) => return Written { any, status },
            }
        }
        let Some(namesakes) = lists.next() else { break };
        table::write_namesakes(&namesakes, layout, &mut lines);
        any = true;
    }
    let status = audience.part(&lines).err().unwrap_or(ExitStatus::Success);
    Written { any, status }
}
