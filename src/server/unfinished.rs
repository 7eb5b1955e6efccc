//! Uploads that ended before they were complete, by the address that they came from: what came of
//! them stays on our disk for a while, so that they can be continued, and one peer must not leave
//! many. Those that are under way do not count; they have their seats.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::seats::counted;
use crate::config;
use crate::content::Root;
use crate::locks::lock;
use crate::wire::{ErrorCode, Refusal};

/// What was left.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<Left>);

/// By address, and when. Pure: it is told `now`.
#[derive(Default)]
struct Left(HashMap<IpAddr, HashMap<Root, Instant>>);

impl Unfinished {
    /// An upload from there begins, or goes on. A refusal when too many others were left; who has
    /// no address may leave any number.
    pub(super) fn begin(&self, from: Option<IpAddr>, root: &Root) -> Result<(), Refusal> {
        let Some(address) = from.map(counted) else { return Ok(()) };
        let mut left = lock(&self.0);
        if left.begin(address, root, Instant::now()) {
            return Ok(());
        }
        let message = format!(
            "{} uploads from your address were left unfinished; finish one of them first, by the same command",
            config::UNFINISHED
        );
        Err(Refusal { code: ErrorCode::Busy, message })
    }

    /// It has ended, and what came of it is kept.
    pub(super) fn leave(&self, from: Option<IpAddr>, root: Root) {
        let Some(address) = from.map(counted) else { return };
        let mut left = lock(&self.0);
        left.leave(address, root, Instant::now());
    }
}

impl Left {
    fn begin(&mut self, address: IpAddr, root: &Root, now: Instant) -> bool {
        let is_fresh = |left: &Instant| now.saturating_duration_since(*left) < KEPT;
        self.0.retain(|_, roots| {
            roots.retain(|_, left| is_fresh(left));
            !roots.is_empty()
        });
        let Some(roots) = self.0.get_mut(&address) else { return true };
        roots.remove(root).is_some() || roots.len() < config::UNFINISHED
    }

    fn leave(&mut self, address: IpAddr, root: Root, now: Instant) {
        self.0.entry(address).or_default().insert(root, now);
    }
}

/// How long that is remembered.
const KEPT: Duration = config::PART_KEPT;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Digest;

    fn root(number: usize) -> Root {
        Root(Digest::of(&number.to_be_bytes()))
    }

    #[test]
    fn an_address_may_leave_so_many_and_go_on_with_each() {
        let unfinished = Unfinished::default();
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|address| Some(address.parse().unwrap()));
        let (most, new) = (config::UNFINISHED, root(config::UNFINISHED));
        (0..2 * most).for_each(|number| unfinished.begin(one, &root(number)).unwrap());
        (0..most).for_each(|number| unfinished.leave(one, root(number)));
        assert_eq!(unfinished.begin(one, &new).unwrap_err().code, ErrorCode::Busy);
        assert!(unfinished.begin(other, &new).is_ok());
        assert!(unfinished.begin(None, &new).is_ok());
        assert!(unfinished.begin(one, &root(0)).is_ok(), "that one goes on");
        assert!(unfinished.begin(one, &new).is_ok(), "and there is room for another");
    }

    #[test]
    fn what_has_expired_does_not_count() {
        let (mut left, now) = (Left::default(), Instant::now());
        let (address, new) = ("10.0.0.1".parse().unwrap(), root(config::UNFINISHED));
        (0..config::UNFINISHED).for_each(|number| left.leave(address, root(number), now));
        assert!(!left.begin(address, &new, now));
        assert!(left.begin(address, &new, now + KEPT));
        assert!(left.0.is_empty());
    }
}
