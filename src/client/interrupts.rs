//! Ctrl-C: ends the command that runs; a second one ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{ExitStatus, echo};
use crate::locks::lock;
use crate::threads;
use crate::transport::Cancel;

/// Turns signals into the end of the command that runs. Its thread starts with the first command
/// and lasts as long as the program.
#[derive(Default)]
pub(super) struct Interrupts {
    current: Arc<Mutex<Option<Cancel>>>,
    started: AtomicBool,
}

/// While this lives, signals end the command.
pub(super) struct Watched(Arc<Mutex<Option<Cancel>>>);

impl Interrupts {
    /// Has a signal give `cancel`.
    pub(super) fn watch(&self, cancel: &Cancel) -> Watched {
        *lock(&self.current) = Some(cancel.clone());
        if !self.started.swap(true, Ordering::Relaxed) {
            self.start();
        }
        Watched(self.current.clone())
    }

    fn start(&self) {
        let current = self.current.clone();
        let started = Signals::new([SIGINT, SIGTERM]).and_then(|mut signals| {
            let work = move || {
                for _ in signals.forever() {
                    let command = lock(&current).clone();
                    match command {
                        Some(cancel) if !cancel.is_cancelled() => cancel.cancel(),
                        _ => {
                            echo::restore();
                            std::process::exit(ExitStatus::Interrupted.code().into())
                        }
                    }
                }
            };
            threads::start("signals", work)
        });
        if let Err(error) = started {
            log::warn!("Ctrl-C will not be handled gracefully: {error}");
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}
