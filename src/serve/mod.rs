//! Answers requests for listings, manifests and chunks from a store, over any connection.
//!
//! * [`Responder`]: answers one request after the other
//! * [`rights`]: the one place that may refuse a request
//! * [`offer`](mod@offer): offers a file to a peer and answers its requests until it has it

pub mod offer;
pub mod responder;
pub mod rights;

pub use responder::Responder;
pub use rights::Rights;
