//! Progress on stderr: one bar a transfer on a terminal, plain lines elsewhere.
//!
//! Everything that is written while bars stand goes through [`Bars`], which takes them away for
//! that moment, so that no line is torn.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::jobs::Lines;
use super::output::{print_to, report};
use super::progress::{Rate, in_words, message};
use super::said::Said;
use super::text::{self, clipped, shown};
use super::{ExitStatus, Layout};
use crate::config;
use crate::fetch::{Event, Snapshot};

/// All bars of this process, and what is said beside them. Clones are the same bars.
#[derive(Clone, Debug)]
pub struct Bars {
    multi: MultiProgress,
    drawn: bool,
    quiet: bool,
    /// Whether programs listen: then all is said in objects on `out`.
    json: bool,
    layout: Layout,
    out: Sink,
    err: Sink,
    /// Where it is noted how far transfers are, instead of saying it.
    board: Option<Board>,
}

/// How far each transfer of a job is, in words, by its label.
pub(super) type Board = Arc<Mutex<BTreeMap<String, String>>>;

/// Prints lines without tearing one that is being typed.
pub(super) type Printer = Arc<Mutex<dyn FnMut(String) + Send>>;

/// Where lines go.
#[derive(Clone)]
struct Sink(Arc<Mutex<dyn Write + Send>>);

impl Sink {
    fn of(write: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(write)))
    }

    fn with<R>(&self, write: impl FnOnce(&mut (dyn Write + Send)) -> R) -> R {
        write(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Bars {
    /// Bars on stderr when that is a terminal. When quiet, no bars and no notes; with `json`, all
    /// is said to a program.
    pub fn new(quiet: bool, json: bool) -> Self {
        let drawn = !quiet && !json && io::stderr().is_terminal();
        let target =
            if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let multi = MultiProgress::with_draw_target(target);
        let (out, err) = (Sink::of(io::stdout()), Sink::of(io::stderr()));
        let layout = if json { Layout::Json } else { Layout::of_stdout() };
        Self { multi, drawn, quiet, json, layout, out, err, board: None }
    }

    /// No bars, but all that is said, to whoever runs commands within this process: results to
    /// `out`, everything else to `err`.
    pub fn told_to(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let (out, err) = (Sink::of(out), Sink::of(err));
        Self {
            multi,
            drawn: false,
            quiet: false,
            json: false,
            layout: Layout::Tabs,
            out,
            err,
            board: None,
        }
    }

    /// The same for a command that runs beside the prompt.
    pub(super) fn of_job(&self, board: Board, printer: Option<Printer>) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut bars = Self { multi, drawn: false, board: Some(board), ..self.clone() };
        if let Some(printer) = printer {
            (bars.out, bars.err) =
                (Sink::of(Lines::to(printer.clone())), Sink::of(Lines::to(printer)));
        }
        bars
    }

    /// For whom tables are made: whoever reads the results.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Writes a result; see [`print_to`].
    pub fn print(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ExitStatus {
        self.aside(|| self.out.with(|out| self.err.with(|err| print_to(out, err, write))))
    }

    /// Writes a part of a long result. Whatever makes it must not be done in here: other threads
    /// that have something to say wait meanwhile. Says whether anybody still reads.
    pub fn print_part(&self, bytes: &[u8]) -> Result<bool, ExitStatus> {
        let written =
            self.aside(|| self.out.with(|out| out.write_all(bytes).and_then(|()| out.flush())));
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                self.error(&format!("cannot write the result: {error}"));
                Err(ExitStatus::Failed)
            }
        }
    }

    /// Writes the line that says how a command went, unless quiet; to a program, `said` instead.
    pub fn say(&self, line: &str, said: &Said<'_>) -> ExitStatus {
        match (self.json, self.quiet) {
            (true, _) => self.emit(said),
            (false, true) => ExitStatus::Success,
            (false, false) => self.print(|out| writeln!(out, "{line}")),
        }
    }

    /// Writes a result, whether quiet or not; to a program, `said` instead.
    pub fn result(&self, line: &str, said: &Said<'_>) -> ExitStatus {
        match self.json {
            true => self.emit(said),
            false => self.print(|out| writeln!(out, "{line}")),
        }
    }

    /// How wide a line of a result may be for eyes.
    pub fn columns(&self) -> usize {
        text::columns_of_stdout()
    }

    /// Says something that only programs are told.
    pub fn emit(&self, said: &Said<'_>) -> ExitStatus {
        match self.json {
            true => self.print(|out| out.write_all(said.line().as_bytes())),
            false => ExitStatus::Success,
        }
    }

    /// A bar for one transfer; nothing is drawn before [`config::BAR_DELAY`].
    pub fn transfer(&self, label: &str) -> Bar {
        Bar { bars: self.clone(), label: shown(label).into_owned(), state: Mutex::default() }
    }

    /// Says something that is worth knowing, unless quiet.
    pub fn note(&self, text: &str) {
        if self.json {
            self.emit(&Said::Note { text });
        } else if !self.quiet {
            // Nobody is left to be told when stderr is gone.
            let _ = self.aside(|| self.err.with(|err| writeln!(err, "{text}")));
        }
    }

    /// Says what went wrong, always.
    pub fn error(&self, text: &str) {
        match self.json {
            true => drop(self.emit(&Said::Error { text })),
            false => self.aside(|| self.err.with(|err| report(err, text))),
        }
    }

    /// Says what was wrong with a command that was not done, and to programs how it ended.
    pub fn fail(&self, command: &str, text: &str) -> ExitStatus {
        self.error(text);
        let status = ExitStatus::Usage;
        let (exit, meaning) = (status.code(), status.meaning());
        status.then(self.emit(&Said::Summary { command, exit, meaning }))
    }

    /// Does something that writes to the terminal while no bar is in the way.
    pub fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.multi.suspend(write)
    }

    /// Stderr beside the bars, for the log.
    pub fn stderr(&self) -> impl Write + Send + 'static {
        BesideBars(self.clone())
    }
}

struct BesideBars(Bars);

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| self.0.err.with(|err| err.write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.err.with(|err| err.flush())
    }
}

/// The bar of one transfer; it goes away with [`Bar::finish`] or when it is dropped.
#[derive(Debug)]
pub struct Bar {
    bars: Bars,
    label: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    drawn: Option<ProgressBar>,
    /// When it was shown last, from the beginning of the transfer.
    shown_at: Option<Duration>,
    rate: Rate,
}

impl Bar {
    /// Shows where the transfer stands. Cheap enough to be called often.
    pub fn update(&self, snapshot: &Snapshot) {
        if let Some(board) = &self.bars.board {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let message = message(snapshot, state.rate.update(snapshot));
            let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
            board.insert(self.label.clone(), format!("{}  {message}", self.label));
            return;
        }
        let (delay, interval) = match (self.bars.drawn, self.bars.json) {
            (true, _) => (config::BAR_DELAY, config::BAR_INTERVAL),
            (false, true) => (config::PROGRESS_EVENT, config::PROGRESS_EVENT),
            (false, false) => (config::PROGRESS_LINE, config::PROGRESS_LINE),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.shown_at;
        if snapshot.elapsed < before.map_or(delay, |before| before + interval) {
            return;
        }
        state.shown_at = Some(snapshot.elapsed);
        let rate = state.rate.update(snapshot);
        if !self.bars.drawn {
            drop(state);
            return self.say_progress(snapshot, rate);
        }
        let message = message(snapshot, rate);
        match &state.drawn {
            Some(bar) => {
                // The total of a folder grows while it is listed.
                bar.set_length(snapshot.total);
                bar.set_position(snapshot.done);
                bar.set_message(message);
            }
            None => state.drawn = Some(self.draw(snapshot, message)),
        }
    }

    /// Where there is no bar: a line, or an object.
    fn say_progress(&self, snapshot: &Snapshot, rate: u64) {
        let Snapshot { done, total, files, of_files, ref sources, .. } = *snapshot;
        if self.bars.json {
            let transfer = self.label.as_str();
            self.bars.emit(&Said::Progress {
                transfer,
                done,
                total,
                files,
                of_files,
                rate,
                sources,
            });
        } else {
            let message = message(snapshot, rate).replace("\n ", "");
            self.bars.note(&format!("{}: {message}", self.label));
        }
    }

    /// Says something beside the bars, unless quiet.
    pub fn note(&self, text: &str) {
        self.bars.note(text);
    }

    /// Says what happened to this transfer, unless quiet.
    pub fn tell(&self, event: &Event) {
        self.note(&format!("{}: {}", self.label, in_words(event)));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(board) = &self.bars.board {
            board.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.label);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.drawn.take() {
            bar.finish_and_clear();
            self.bars.multi.remove(&bar);
        }
    }

    /// Makes the whole bar before it is seen for the first time.
    fn draw(&self, snapshot: &Snapshot, message: String) -> ProgressBar {
        let hidden = ProgressDrawTarget::hidden();
        let label = clipped(&self.label, config::LABEL_COLUMNS).into_owned();
        let bar = ProgressBar::with_draw_target(Some(snapshot.total), hidden)
            .with_prefix(label)
            .with_message(message)
            .with_position(snapshot.done);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:20} {msg}") {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        let bar = self.bars.multi.add(bar);
        bar.tick();
        bar
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Snapshot {
        let elapsed = Duration::from_secs(seconds);
        Snapshot { total: 1000, done: 200, elapsed, ..Snapshot::default() }
    }

    #[test]
    fn nothing_is_drawn_without_a_terminal_or_before_the_delay() {
        let mut bars = Bars::new(true, false);
        let bar = bars.transfer("a");
        bar.update(&at(5));
        assert!(bar.state.lock().unwrap().drawn.is_none());
        bars.drawn = true;
        let bar = bars.transfer("a");
        bar.update(&Snapshot { elapsed: config::BAR_DELAY / 2, ..at(0) });
        assert!(bar.state.lock().unwrap().drawn.is_none());
        bar.update(&at(5));
        assert!(bar.state.lock().unwrap().drawn.is_some());
        bar.finish();
        assert!(bar.state.lock().unwrap().drawn.is_none());
    }
}
