//! People who read: results on stdout, everything else on stderr, with a bar a transfer where that
//! is a terminal, and a line now and then where it is none.
//!
//! Everything that is written while bars stand takes them away for that moment, so that no line is
//! torn.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::audience::{Audience, Gauge, Printer};
use super::bars::{Drawn, Spoken};
use super::jobs::Lines;
use super::output::report;
use super::said::Said;
use super::text::harmless;
use super::{ExitStatus, Layout, output, text};

use crate::locks::lock;

/// Somebody who reads. Clones are the same reader.
#[derive(Clone, Debug)]
pub struct Terminal {
    pub(super) multi: MultiProgress,
    drawn: bool,
    quiet: bool,
    layout: Layout,
    out: Sink,
    err: Sink,
}

/// Where lines go.
#[derive(Clone)]
struct Sink(Arc<Mutex<dyn Write + Send>>);

impl Sink {
    fn of(write: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(write)))
    }

    fn with<R>(&self, write: impl FnOnce(&mut (dyn Write + Send)) -> R) -> R {
        write(&mut *lock(&self.0))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Terminal {
    /// Whoever reads stdout and stderr. When quiet, results and errors only.
    pub fn new(quiet: bool) -> Self {
        let drawn = !quiet && io::stderr().is_terminal();
        let target =
            if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            multi: MultiProgress::with_draw_target(target),
            drawn,
            quiet,
            layout: Layout::of_stdout(),
            out: Sink::of(io::stdout()),
            err: Sink::of(io::stderr()),
        }
    }

    /// Whoever runs commands within this process: results go to `out`, everything else to `err`.
    pub fn told_to(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        let (multi, drawn) = Self::without_bars();
        let (out, err) = (Sink::of(out), Sink::of(err));
        Self { multi, drawn, quiet: false, layout: Layout::Tabs, out, err }
    }

    fn without_bars() -> (MultiProgress, bool) {
        (MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), false)
    }

    /// Does something that writes to the terminal while no bar is in the way.
    fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.multi.suspend(write)
    }

    /// Stderr beside the bars, for the log.
    pub fn stderr(&self) -> impl Write + Send + 'static {
        BesideBars(self.clone())
    }
}

impl Audience for Terminal {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn columns(&self) -> usize {
        text::columns_of_stdout()
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            // Nobody is left to be told when stderr is gone.
            let text = harmless(text);
            let _ = self.aside(|| self.err.with(|err| writeln!(err, "{text}")));
        }
    }

    fn error(&self, text: &str) {
        self.aside(|| self.err.with(|err| report(err, &harmless(text))));
    }

    fn say(&self, line: &str, said: &Said<'_>) -> ExitStatus {
        if self.quiet { ExitStatus::Success } else { self.result(line, said) }
    }

    fn result(&self, line: &str, _: &Said<'_>) -> ExitStatus {
        self.part(format!("{}\n", harmless(line)).as_bytes()).err().unwrap_or(ExitStatus::Success)
    }

    fn emit(&self, _: &Said<'_>) -> ExitStatus {
        ExitStatus::Success
    }

    fn part(&self, rows: &[u8]) -> Result<bool, ExitStatus> {
        let written = self.aside(|| self.out.with(|out| output::write(out, rows)));
        written.map_err(|error| {
            self.error(&error);
            ExitStatus::Failed
        })
    }

    fn begins(&self, label: &str) -> Box<dyn Gauge> {
        if self.drawn {
            Box::new(Drawn::new(self.multi.clone(), label))
        } else {
            Box::new(Spoken::new(self.clone(), label))
        }
    }

    fn beside(&self, printer: Printer) -> Arc<dyn Audience> {
        let (multi, drawn) = Self::without_bars();
        let (out, err) = (Sink::of(Lines::to(printer.clone())), Sink::of(Lines::to(printer)));
        Arc::new(Self { multi, drawn, out, err, ..self.clone() })
    }
}

struct BesideBars(Terminal);

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| self.0.err.with(|err| err.write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.err.with(|err| err.flush())
    }
}
