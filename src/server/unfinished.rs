//! Uploads that were begun and not completed, by the address that they came from: what came of them
//! stays on our disk for a while, so that they can be continued, and one peer must not leave many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::seats::counted;
use crate::config;
use crate::content::Root;
use crate::wire::{ErrorCode, Refusal};

/// What was begun.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<Begun>);

/// By address, and when. Pure: it is told `now`.
#[derive(Default)]
struct Begun(HashMap<IpAddr, HashMap<Root, Instant>>);

impl Unfinished {
    /// An upload from there begins, or goes on. A refusal when there are too many others; who has
    /// no address may have any number.
    pub(super) fn begin(&self, from: Option<IpAddr>, root: Root) -> Result<(), Refusal> {
        let Some(address) = from.map(counted) else { return Ok(()) };
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.begin(address, root, Instant::now()) {
            return Ok(());
        }
        let message = format!(
            "{} uploads from your address are begun and not finished; finish one of them first, by the same command",
            config::UNFINISHED
        );
        Err(Refusal { code: ErrorCode::Busy, message })
    }

    /// It is complete, or nothing is left of it.
    pub(super) fn end(&self, from: Option<IpAddr>, root: &Root) {
        let Some(address) = from.map(counted) else { return };
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = begun.0.get_mut(&address) {
            roots.remove(root);
        }
    }
}

impl Begun {
    fn begin(&mut self, address: IpAddr, root: Root, now: Instant) -> bool {
        let is_fresh = |begun: &Instant| now.saturating_duration_since(*begun) < KEPT;
        self.0.retain(|_, roots| {
            roots.retain(|_, begun| is_fresh(begun));
            !roots.is_empty()
        });
        let roots = self.0.entry(address).or_default();
        let fits = roots.contains_key(&root) || roots.len() < config::UNFINISHED;
        if fits {
            roots.insert(root, now);
        }
        fits
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
        (0..config::UNFINISHED).for_each(|number| unfinished.begin(one, root(number)).unwrap());
        let refusal = unfinished.begin(one, root(config::UNFINISHED)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Busy);
        assert!(unfinished.begin(one, root(0)).is_ok(), "that one goes on");
        assert!(unfinished.begin(other, root(config::UNFINISHED)).is_ok());
        assert!(unfinished.begin(None, root(config::UNFINISHED)).is_ok());
        unfinished.end(one, &root(0));
        assert!(unfinished.begin(one, root(config::UNFINISHED)).is_ok());
    }

    #[test]
    fn what_has_expired_does_not_count() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        let address = "10.0.0.1".parse().unwrap();
        (0..config::UNFINISHED).for_each(|number| assert!(begun.begin(address, root(number), now)));
        assert!(!begun.begin(address, root(config::UNFINISHED), now));
        assert!(begun.begin(address, root(config::UNFINISHED), now + KEPT));
        assert_eq!(begun.0[&address].len(), 1);
    }
}
