//! Programs that read: with `--json`, an object a line on stdout.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::audience::{Audience, Gauge, Printer};
use super::jobs::Lines;
use super::output::{self, report};
use super::progress::Rate;
use super::said::Said;
use super::{ExitStatus, Layout};
use crate::config;
use crate::fetch::Snapshot;
use crate::locks::lock;

/// A program that reads. Clones are the same.
#[derive(Clone)]
pub struct Objects {
    out: Arc<Mutex<dyn Write + Send>>,
    /// Whether it was told that nothing can be written.
    broken: Arc<AtomicBool>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}

impl Objects {
    /// Whoever reads stdout.
    pub fn new() -> Self {
        Self { out: Arc::new(Mutex::new(io::stdout())), broken: Arc::default() }
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self::new()
    }
}

impl Audience for Objects {
    fn layout(&self) -> Layout {
        Layout::Json
    }

    fn note(&self, text: &str) {
        self.emit(&Said::Note { text });
    }

    fn error(&self, text: &str) {
        self.emit(&Said::Error { text });
    }

    fn say(&self, _: &str, said: &Said<'_>) -> ExitStatus {
        self.emit(said)
    }

    fn result(&self, _: &str, said: &Said<'_>) -> ExitStatus {
        self.emit(said)
    }

    fn emit(&self, said: &Said<'_>) -> ExitStatus {
        self.part(said.line().as_bytes()).err().unwrap_or(ExitStatus::Success)
    }

    fn part(&self, rows: &[u8]) -> Result<bool, ExitStatus> {
        let mut out = lock(&self.out);
        output::write(&mut *out, rows).map_err(|error| {
            // Whoever reads the objects cannot be told; others are, once.
            if !self.broken.swap(true, Relaxed) {
                report(&mut io::stderr(), &error);
            }
            ExitStatus::Failed
        })
    }

    fn begins(&self, label: &str) -> Box<dyn Gauge> {
        let (out, label) = (self.clone(), label.to_owned());
        Box::new(Progress { out, label, told_at: Duration::ZERO, rate: Rate::default() })
    }

    fn beside(&self, printer: Printer) -> Arc<dyn Audience> {
        let out = Arc::new(Mutex::new(Lines::to(printer)));
        Arc::new(Self { out, broken: self.broken.clone() })
    }
}

/// Tells now and then where a transfer stands.
struct Progress {
    out: Objects,
    label: String,
    /// From the beginning of the transfer.
    told_at: Duration,
    rate: Rate,
}

impl Gauge for Progress {
    fn update(&mut self, snapshot: &Snapshot) {
        if snapshot.elapsed < self.told_at + config::PROGRESS_EVENT {
            return;
        }
        self.told_at = snapshot.elapsed;
        self.out.emit(&Said::Progress {
            transfer: &self.label,
            done: snapshot.done,
            total: snapshot.total,
            files: snapshot.files,
            of_files: snapshot.of_files,
            rate: self.rate.update(snapshot),
            sources: &snapshot.sources,
        });
    }
}
