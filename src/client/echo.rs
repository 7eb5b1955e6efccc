//! What is typed while a command runs waits for its turn, and is not shown among the bars
//! meanwhile.

use std::io;
use std::sync::Mutex;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::locks::lock;

/// The terminal as it was before the echo was turned off, for whoever ends the program meanwhile.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives, the terminal does not show what is typed.
pub(super) struct NoEcho(());

impl NoEcho {
    /// Turns the echo off, where stdin is a terminal.
    pub(super) fn begin() -> Self {
        let stdin = io::stdin();
        if let Ok(before) = tcgetattr(&stdin) {
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            if tcsetattr(&stdin, OptionalActions::Now, &silent).is_ok() {
                *lock(&BEFORE) = Some(before);
            }
        }
        Self(())
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was, if it is not.
pub(super) fn restore() {
    let before = lock(&BEFORE).take();
    if let Some(before) = before {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
