//! What a session of the dialect is told by the one that runs it, which knows what this room does
//! not: rights, seats, and the end of the program.

use crate::connection::Deadlines;
use crate::transport::Cancel;
use crate::wire::{self, Refusal};

/// May refuse a request, told as the one of the framed dialect that does the same.
pub type Allow<'a> = dyn Fn(&wire::Request) -> Result<(), Refusal> + 'a;

/// What a session is told by the one that runs it.
pub struct Visit<'a> {
    /// Passes every request.
    pub allow: &'a Allow<'a>,
    /// Ends what may outlast the connection.
    pub cancel: &'a Cancel,
    /// How long is waited for what.
    pub deadlines: &'a Deadlines,
    /// Hears when the connection begins to wait for a request, and when it goes on.
    pub idles: &'a dyn Fn(bool),
}
