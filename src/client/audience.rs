//! Whom a command speaks to.
//!
//! A command says what it finds, and knows nothing of who listens: a person at a terminal or behind
//! a pipe ([`Terminal`](super::Terminal)), a program ([`Objects`](super::Objects)), or a person who
//! types the next command meanwhile (`jobs`). Whoever runs commands for yet another listener
//! implements [`Audience`].

use std::fmt;
use std::sync::{Arc, Mutex};

use super::progress::in_words;
use super::said::Said;
use super::text::shown;
use super::{ExitStatus, Layout};
use crate::fetch::{Event, Snapshot};
use crate::locks::lock;

/// Whom commands speak to. All texts are for people and harmless at a terminal; each result comes
/// in words and as an object, and an audience takes the one that it is for.
pub trait Audience: fmt::Debug + Send + Sync {
    /// How whoever reads results wants their tables.
    fn layout(&self) -> Layout;

    /// How many columns a line of a result may take.
    fn columns(&self) -> usize {
        usize::MAX
    }

    /// Something is worth knowing.
    fn note(&self, text: &str);

    /// Something went wrong.
    fn error(&self, text: &str);

    /// How a command went: less than a result, for whoever wants no more than that goes without.
    fn say(&self, line: &str, said: &Said<'_>) -> ExitStatus;

    /// A result.
    fn result(&self, line: &str, said: &Said<'_>) -> ExitStatus;

    /// Something that people see by themselves, and only programs are told.
    fn emit(&self, said: &Said<'_>) -> ExitStatus;

    /// A part of a table that was made for [`Audience::layout`]. Says whether anybody still reads.
    fn part(&self, rows: &[u8]) -> Result<bool, ExitStatus>;

    /// A transfer begins that is called so.
    fn begins(&self, label: &str) -> Box<dyn Gauge>;

    /// The same audience while it types: what is said goes to a printer of whole lines.
    fn beside(&self, printer: Printer) -> Arc<dyn Audience>;
}

/// Shows how far one transfer is, until it is dropped.
pub trait Gauge: Send {
    /// Where the transfer stands. Comes often; what is shown of it is the audience's choice.
    fn update(&mut self, snapshot: &Snapshot);
}

/// Prints lines without tearing one that is being typed.
pub type Printer = Arc<Mutex<dyn FnMut(String) + Send>>;

impl dyn Audience {
    /// A whole table.
    pub fn table(&self, rows: &[u8]) -> ExitStatus {
        self.part(rows).err().unwrap_or(ExitStatus::Success)
    }

    /// What somebody asked to have explained; to programs, also how that ended.
    pub fn explain(&self, text: &str) -> ExitStatus {
        if self.layout() != Layout::Json {
            return self.table(text.as_bytes());
        }
        let status = ExitStatus::Success;
        let (exit, meaning) = (status.code(), status.meaning());
        let summary = Said::Summary { command: "help", exit, meaning };
        self.emit(&Said::Help { text }).then(self.emit(&summary))
    }

    /// What was wrong with a command that was not done, and, to programs, how it ended.
    pub fn refuse(&self, command: &str, text: &str) -> ExitStatus {
        self.error(text);
        let status = ExitStatus::Usage;
        let (exit, meaning) = (status.code(), status.meaning());
        status.then(self.emit(&Said::Summary { command, exit, meaning }))
    }

    /// Shows a transfer from now on.
    pub fn transfer(self: &Arc<Self>, label: &str) -> Bar {
        let label = shown(label).into_owned();
        let gauge = Mutex::new(Some(self.begins(&label)));
        Bar { audience: self.clone(), label, gauge }
    }
}

/// One transfer as its audience sees it; it goes away with [`Bar::finish`] or when it is dropped.
pub struct Bar {
    audience: Arc<dyn Audience>,
    label: String,
    gauge: Mutex<Option<Box<dyn Gauge>>>,
}

impl Bar {
    /// Shows where the transfer stands. Cheap enough to be called often.
    pub fn update(&self, snapshot: &Snapshot) {
        let mut gauge = lock(&self.gauge);
        if let Some(gauge) = &mut *gauge {
            gauge.update(snapshot);
        }
    }

    /// Says something beside it.
    pub fn note(&self, text: &str) {
        self.audience.note(text);
    }

    /// Says what happened to this transfer.
    pub fn tell(&self, event: &Event) {
        self.note(&format!("{}: {}", self.label, in_words(event)));
    }

    /// Takes it away.
    pub fn finish(&self) {
        drop(lock(&self.gauge).take());
    }
}
