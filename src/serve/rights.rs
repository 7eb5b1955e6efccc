//! Who may ask for what. Every request passes here before anything is done for it.

use crate::wire::{ErrorCode, Refusal, Request};

/// What this peer gives and takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rights {
    /// Offers are refused.
    pub read_only: bool,
}

impl Rights {
    /// Refuses what must not be done.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        match request {
            Request::Offer { .. } | Request::OfferFolder { .. } if self.read_only => Err(Refusal {
                code: ErrorCode::Refused,
                message: "this peer is read-only and takes no uploads".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}
