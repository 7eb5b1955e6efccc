//! Commands that run beside the prompt: `command &`, `#STATUS`, `#CANCEL`.
//!
//! A job is done like any command, with an audience of its own: what it says goes to the printer of
//! the prompt, which does not tear the line that is being typed, and how far it is goes to a board
//! that `#STATUS` reads.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::audience::{Audience, Gauge, Printer};
use super::grammar::{Command, Manner};
use super::progress::{Rate, in_one_line};
use super::said::Said;
use super::text::{span, wrapped};
use super::transfers::Transfers;
use super::{Execute, ExitStatus, Layout, Surroundings, shown};
use crate::fetch::Snapshot;
use crate::locks::lock;
use crate::threads;
use crate::topology::Topology;
use crate::transport::Cancel;

/// The jobs of a session.
#[derive(Default)]
pub(super) struct Jobs {
    last: u32,
    jobs: Vec<Job>,
    printer: Option<Printer>,
    watch: Option<Watch>,
    /// How those went that have ended; the first failure.
    ended: Option<ExitStatus>,
}

/// Looks in the background which peers are there.
struct Watch {
    topology: Topology,
    cancel: Cancel,
    thread: JoinHandle<()>,
}

struct Job {
    number: u32,
    line: String,
    cancel: Cancel,
    board: Board,
    began: Instant,
    thread: JoinHandle<ExitStatus>,
}

impl Jobs {
    /// From now on what jobs say goes there.
    pub(super) fn print_to(&mut self, printer: Printer) {
        self.printer = Some(printer);
    }

    /// Begins a job; says its number.
    pub(super) fn begin(
        &mut self,
        mut surroundings: Surroundings,
        (command, manner, line): (&Command, &Manner, &str),
        topology: &Topology,
    ) -> io::Result<u32> {
        self.forget_ended();
        let (board, cancel) = (Board::default(), Cancel::new());
        surroundings.audience = Beside::new(&surroundings.audience, self.printer.as_ref(), &board);
        let audience = surroundings.audience.clone();
        let mut transfers = Transfers::of_job(surroundings, cancel.clone());
        self.last += 1;
        let (number, shown_line) = (self.last, line.to_owned());
        let (command, manner, topology) = (command.clone(), *manner, topology.clone());
        let work = move || {
            let status = transfers.execute(&command, &manner, &topology);
            audience.note(&format!("[{number}] {}: {}", shown(&shown_line), status.meaning()));
            status
        };
        let thread = threads::start(format!("job-{number}"), work)?;
        let (line, began) = (line.to_owned(), Instant::now());
        self.jobs.push(Job { number, line, cancel, board, began, thread });
        Ok(number)
    }

    /// Says from now on when a peer comes or goes; once for the same peers.
    pub(super) fn watch(&mut self, mut surroundings: Surroundings, topology: &Topology) {
        if self.watch.as_ref().is_some_and(|watch| watch.topology == *topology) {
            return;
        }
        self.end_watch();
        let (board, cancel, topology) = (Board::default(), Cancel::new(), topology.clone());
        surroundings.audience = Beside::new(&surroundings.audience, self.printer.as_ref(), &board);
        let transfers = Transfers::of_job(surroundings, cancel.clone());
        let known = topology.clone();
        let work = move || transfers.tell_changes(&known);
        match threads::start("peers", work) {
            Ok(thread) => self.watch = Some(Watch { topology, cancel, thread }),
            Err(error) => log::warn!("cannot watch which peers are there: {error}"),
        }
    }

    fn end_watch(&mut self) {
        if let Some(Watch { cancel, thread, .. }) = self.watch.take() {
            cancel.cancel();
            if thread.join().is_err() {
                log::warn!("what watched the peers had failed");
            }
        }
    }

    /// Shows the jobs that run, with how far their transfers are.
    pub(super) fn show(&mut self, audience: &dyn Audience) -> ExitStatus {
        self.forget_ended();
        if self.jobs.is_empty() {
            audience.note("nothing runs beside the prompt");
        }
        let mut status = ExitStatus::Success;
        for job in &self.jobs {
            // Not held while the terminal is written to, which may take as long as somebody likes.
            let board = lock(&job.board).clone();
            let transfers: Vec<&str> = board.values().map(String::as_str).collect();
            let said = Said::Job {
                number: job.number,
                line: &job.line,
                seconds: job.began.elapsed().as_secs(),
                transfers: &transfers,
            };
            let mut lines = vec![format!(
                "[{}] {}  {}",
                job.number,
                shown(&job.line),
                span(job.began.elapsed())
            )];
            lines.extend(transfers.iter().map(|line| format!("    {line}")));
            let lines: Vec<_> =
                lines.iter().map(|line| wrapped(line, audience.columns())).collect();
            status = status.then(audience.result(&lines.join("\n"), &said));
        }
        status
    }

    /// Ends a job; says whether there is one of that number.
    pub(super) fn cancel(&mut self, number: u32) -> bool {
        self.forget_ended();
        let job = self.jobs.iter().find(|job| job.number == number);
        job.inspect(|job| job.cancel.cancel()).is_some()
    }

    /// How many run.
    pub(super) fn running(&mut self) -> usize {
        self.forget_ended();
        self.jobs.len()
    }

    /// Waits for all; ends them first if `now`. The first failure counts. Nothing is printed after
    /// that.
    pub(super) fn end(&mut self, now: bool) -> ExitStatus {
        self.end_watch();
        if now {
            self.jobs.iter().for_each(|job| job.cancel.cancel());
        }
        let mut status = self.ended.take().unwrap_or(ExitStatus::Success);
        for job in self.jobs.drain(..) {
            status = status.then(job.thread.join().unwrap_or(ExitStatus::Failed));
        }
        self.printer = None;
        status
    }

    fn forget_ended(&mut self) {
        for job in self.jobs.extract_if(.., |job| job.thread.is_finished()) {
            let status = job.thread.join().unwrap_or(ExitStatus::Failed);
            self.ended = Some(self.ended.unwrap_or(ExitStatus::Success).then(status));
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// How far each transfer of a job is, in words, by its label.
type Board = Arc<Mutex<BTreeMap<String, String>>>;

/// Whoever types the next command: hears all that a command says, and looks at the board for how
/// far it is.
#[derive(Debug)]
struct Beside {
    audience: Arc<dyn Audience>,
    board: Board,
}

impl Beside {
    fn new(audience: &Arc<dyn Audience>, printer: Option<&Printer>, board: &Board) -> Arc<Self> {
        let audience =
            printer.map_or_else(|| audience.clone(), |printer| audience.beside(printer.clone()));
        Arc::new(Self { audience, board: board.clone() })
    }
}

impl Audience for Beside {
    fn layout(&self) -> Layout {
        self.audience.layout()
    }

    fn columns(&self) -> usize {
        self.audience.columns()
    }

    fn note(&self, text: &str) {
        self.audience.note(text);
    }

    fn error(&self, text: &str) {
        self.audience.error(text);
    }

    fn say(&self, line: &str, said: &Said<'_>) -> ExitStatus {
        self.audience.say(line, said)
    }

    fn result(&self, line: &str, said: &Said<'_>) -> ExitStatus {
        self.audience.result(line, said)
    }

    fn emit(&self, said: &Said<'_>) -> ExitStatus {
        self.audience.emit(said)
    }

    fn part(&self, rows: &[u8]) -> Result<bool, ExitStatus> {
        self.audience.part(rows)
    }

    fn begins(&self, label: &str) -> Box<dyn Gauge> {
        let (board, label) = (self.board.clone(), label.to_owned());
        Box::new(Noted { board, label, rate: Rate::default() })
    }

    fn beside(&self, printer: Printer) -> Arc<dyn Audience> {
        self.audience.beside(printer)
    }
}

/// One transfer on a board.
struct Noted {
    board: Board,
    label: String,
    rate: Rate,
}

impl Gauge for Noted {
    fn update(&mut self, snapshot: &Snapshot) {
        let line = in_one_line(snapshot, self.rate.update(snapshot));
        let mut board = lock(&self.board);
        board.insert(self.label.clone(), format!("{}  {line}", self.label));
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        lock(&self.board).remove(&self.label);
    }
}

/// Writes whole lines to a printer.
pub(super) struct Lines {
    printer: Printer,
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn to(printer: Printer) -> Self {
        Self { printer, rest: Vec::new() }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = self.rest.drain(..=end).collect();
            let mut print = lock(&self.printer);
            print(String::from_utf8_lossy(&lines).into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A printer from a function.
pub(super) fn printer(print: impl FnMut(String) + Send + 'static) -> Printer {
    Arc::new(Mutex::new(print))
}
