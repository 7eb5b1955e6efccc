//! Who speaks.

use crate::topology::PeerId;

/// Who we are to the other side.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Our own id; `None` when we are nobody of the topology.
    pub peer: Option<PeerId>,
    /// Whether we refuse offers.
    pub read_only: bool,
}

/// Program and version, as a peer says them.
pub fn agent() -> String {
    concat!("peershare/", env!("CARGO_PKG_VERSION")).to_owned()
}
