//! One connection, one thread: the first byte decides the dialect, then requests are answered in
//! order until the peer leaves.

use super::seats::Seat;
use super::{Shared, offers};
use crate::classic::Visit;
use crate::connection::{self, Buffered, Framed, nothing_came};
use crate::logging::named;
use crate::serve::{Account, Responder};
use crate::transport::Stream;
use crate::wire::{ErrorCode, MAGIC, Refusal, Request, Response, WireError};

/// Serves one connection until it ends.
pub(super) fn run(shared: &Shared, stream: impl Stream + 'static, seat: Seat) {
    let (remote, closer) = (stream.remote(), stream.closer());
    let _registration = shared.cancel.closes(closer);
    match converse(shared, connection::buffered(Box::new(stream)), &seat) {
        Ok(()) => log::debug!("{remote} left"),
        Err(error) => log::debug!("{remote}: {error}"),
    }
}

fn converse(shared: &Shared, mut stream: Buffered, seat: &Seat) -> Result<(), WireError> {
    match connection::first_byte(&mut stream, shared.limits.deadlines.first_word)? {
        None => Ok(()),
        Some(byte) if byte == MAGIC[0] => converse_framed(shared, stream, seat),
        Some(b'#') => {
            let visit = Visit {
                allow: &|request| shared.rights.check(request),
                cancel: &shared.cancel,
                deadlines: &shared.limits.deadlines,
                idles: &|idles| if idles { seat.rests() } else { seat.works() },
            };
            Ok(shared.classic.converse(stream, &visit)?)
        }
        Some(_) => Err(WireError::NotPeershare),
    }
}

/// What the log calls a request that is refused.
fn what(request: &Request) -> String {
    match request {
        Request::Offer { name, length, .. } => {
            format!("the upload of {} ({length} bytes)", named(name.as_str()))
        }
        Request::OfferFolder { .. } => "the upload of a folder".to_owned(),
        _ => "a request".to_owned(),
    }
}

/// Refuses what is offered to another peer, whose address leads to us.
fn is_for_us(shared: &Shared, connection: &Framed, request: &Request) -> Result<(), Refusal> {
    let (Request::Offer { .. } | Request::OfferFolder { .. }) = request else { return Ok(()) };
    match (connection.meant(), &shared.identity.peer) {
        (Some(meant), Some(own)) if meant != own => {
            let message = format!(
                "this is {own}, not {meant}; correct the line of {meant} in the peer settings"
            );
            Err(Refusal { code: ErrorCode::Refused, message })
        }
        _ => Ok(()),
    }
}

fn converse_framed(shared: &Shared, stream: Buffered, seat: &Seat) -> Result<(), WireError> {
    let mut connection = Framed::accept_within(stream, &shared.identity, shared.limits.deadlines)?;
    let account = Account::to(connection.who());
    let mut responder = Responder::new(shared.store.clone(), shared.company.clone()).with(account);
    loop {
        let request = match connection.request(shared.limits.deadlines.idle) {
            Ok(Some(head)) => head.message,
            Ok(None) => return Ok(()),
            Err(error) if nothing_came(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if request == Request::Ping {
            // Whoever only pings idles all the same.
            responder.answer(&mut connection, request)?;
            continue;
        }
        seat.works();
        let allowed =
            shared.rights.check(&request).and_then(|()| is_for_us(shared, &connection, &request));
        if let Err(refusal) = allowed {
            responder.tell_refused(&what(&request), &refusal.message);
            connection.send(&Response::Error(refusal), &[])?;
        } else if let Request::Offer { .. } | Request::OfferFolder { .. } = request {
            connection = offers::receive(shared, connection, request)?;
        } else {
            responder.answer(&mut connection, request)?;
        }
        seat.rests();
    }
}
