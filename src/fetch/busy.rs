//! Questions to a peer that says that it is busy: asked again, with growing pauses.

use std::time::Instant;

use super::outage::{Outage, Verdict, Waits};
use super::source::SourceError;
use crate::config;
use crate::transport::Cancel;

/// Tries again while the peer is busy, as long as `waits` allows, but not longer than a question is
/// worth waiting for. `tell` hears why, once, when it takes more than a moment.
pub fn while_busy<T>(
    waits: Waits,
    cancel: &Cancel,
    tell: &dyn Fn(&str),
    mut attempt: impl FnMut() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let waits = Waits { outage: waits.outage.min(config::BUSY_PATIENCE), ..waits };
    let mut outage = Outage::new(waits, Instant::now());
    loop {
        let error = match attempt() {
            Err(error) if error.is_busy() => error,
            ended => return ended,
        };
        let pause = match outage.failed(error, true, Instant::now()) {
            Verdict::Lost(error) => return Err(error),
            Verdict::Again(pause, _) => pause,
            Verdict::Wait(pause, reason) => {
                tell(&reason);
                pause
            }
        };
        if cancel.wait(pause) {
            return Err(SourceError::Stalled);
        }
    }
}
