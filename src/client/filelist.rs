//! `#FILELIST`: asks all peers in parallel. On a terminal it shows one table with folders folded;
//! elsewhere one line a file, written while the lists come, so that the length of a list costs no
//! memory.

use std::io;
use std::thread::{self, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::meaning::{self, Meaning, Nobody};
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
    let layout = if null { Layout::Null } else { audience.layout() };
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
            ..ListRequest::default()
        };
        let request = &request;
        let audience = &work.transfers.surroundings.audience;
        let (mut written, mut all) = (Written::default(), Vec::new());
        let endings: Vec<Ending> = thread::scope(|scope| {
            let (mut streams, mut asking) = (Vec::new(), Vec::new());
            for peer in &work.peers {
                let (send, pages) = bounded(PAGES_AHEAD);
                streams.push(Stream { pages, page: Vec::new().into_iter(), head: None });
                let ask = move || ask(work, peer, request, &send);
                asking.push(threads::start_in(scope, format!("list-{}", peer.id), ask));
            }
            match self.layout {
                Layout::Tabs | Layout::Null | Layout::Json => {
                    written = stream(audience.as_ref(), &mut streams, self.layout)
                }
                Layout::Aligned => all = gather(&mut streams, self.within.as_deref()),
            }
            // Whoever still lists is told that nobody reads any more.
            drop(streams);
            let end = |thread: io::Result<ScopedJoinHandle<'_, Ending>>| {
                thread.map_err(SourceError::NoThread)?.join().unwrap_or(Err(SourceError::Stalled))
            };
            asking.into_iter().map(end).collect()
        });
        let answered = endings.iter().any(Result::is_ok);
        if self.layout == Layout::Aligned
            && (!all.is_empty() || (answered && self.pattern.is_none()))
        {
            let mut table = Vec::new();
            table::write(&all, self.layout, &mut table);
            written = Written { any: true, status: audience.table(&table) };
        }
        let left_out = endings.iter().flatten().any(|left_out| !left_out.is_empty());
        Shown { any: written.any || left_out, endings, printed: written.status }
    }
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
        ExitStatus::of_peers(outcomes.collect::<Vec<_>>()).then(self.printed)
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

/// Writes one line a file while the lists come, merged by name. What is waited for is never waited
/// for while the output is held.
fn stream(audience: &dyn Audience, streams: &mut [Stream], layout: Layout) -> Written {
    let (mut lines, mut any) = (Vec::new(), false);
    loop {
        let waits = !streams.iter_mut().all(Stream::is_ready);
        if lines.len() >= config::LISTING_AT_ONCE || (waits && !lines.is_empty()) {
            match audience.part(&std::mem::take(&mut lines)) {
                Ok(true) => {}
                Ok(false) => return Written { any, status: ExitStatus::Success },
                Err(status) => return Written { any, status },
            }
        }
        let Some(first) =
            streams.iter_mut().filter_map(|stream| Some(stream.peek()?.name.clone())).min()
        else {
            break;
        };
        let namesake = |stream: &mut Stream| {
            let same = stream.peek().is_some_and(|head| head.name == first);
            same.then(|| stream.next()).flatten()
        };
        let namesakes: Vec<Listed> = streams.iter_mut().filter_map(namesake).collect();
        table::write_namesakes(&namesakes, layout, &mut lines);
        any = true;
    }
    let status = audience.part(&lines).err().unwrap_or(ExitStatus::Success);
    Written { any, status }
}

/// All lists, for one table; what lies deeper than directly `within` a folder is folded.
fn gather(streams: &mut [Stream], within: Option<&str>) -> Vec<Listed> {
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
