//! Answers requests for listings, manifests and chunks from a store, over any connection.
//!
//! * [`Responder`]: answers one request after the other (`describe`, `many`: about one file, about
//!   many)
//! * `open`: what is kept open between two requests, and its chunks; `cuts`: folders cut into units
//! * [`Account`]: what one session gave, for the log
//! * [`Budget`]: memory for payloads, of all connections together
//! * `company`: what all connections know together: who reads what, and the handouts
//! * [`gate`]: how many chunks are sent at once to peers that fetch together
//! * [`handout`]: who was handed which chunk, when several peers fetch the same at once; `handing`
//!   answers them
//! * `routes`: by way of whom, when they are many
//! * [`refusal_of`]: how a failure of our own disk is told
//! * [`rights`]: the one place that may refuse a request
//! * [`offer`](mod@offer): offers a file to a peer and answers its requests until it has it

mod account;
mod budget;
mod company;
mod cuts;
mod describe;
pub mod gate;
mod handing;
pub mod handout;
mod many;
pub mod offer;
mod open;
mod refusals;
pub mod responder;
pub mod rights;
mod routes;
#[cfg(test)]
mod tests;

pub use account::Account;
pub use budget::{Budget, Grant};
pub use company::{Company, Transferring};
pub use refusals::refusal_of;
pub use responder::Responder;
pub use rights::Rights;
