//! The answering side as a whole: requests as they come, a store of a few files behind them.
//!
//! Names and contents of the seeds are those of the store, so that what is tried goes on behind
//! the first look whether something is there.

use std::fs;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::messages::{Scripted, frames_of};
use crate::config::MAX_PAYLOAD;
use crate::connection::{Framed, Identity, buffered};
use crate::content::Root;
use crate::serve::{Company, Responder};
use crate::store::Store;
use crate::wire::{self, MAGIC, Message, Request, Response, VERSION};

/// Files, and one of them by its content.
struct Served {
    _folder: TempDir,
    store: Store,
    root: Root,
}

/// The store of all runs, which only read from it.
fn served() -> Option<&'static Served> {
    static SERVED: OnceLock<Option<Served>> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().ok()?;
        fs::create_dir(folder.path().join("f")).ok()?;
        let long: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        for (name, bytes) in [("f/ž x", &long[..]), ("f/small", b"abc"), ("empty", b"")] {
            fs::write(folder.path().join(name), bytes).ok()?;
        }
        let store = Store::open(folder.path()).ok()?;
        let root = store.manifest(&"f/ž x".parse().ok()?, &mut |_, _| true).ok()?.root();
        store.manifest(&"f/small".parse().ok()?, &mut |_, _| true).ok()?;
        Some(Served { _folder: folder, store, root })
    };
    SERVED.get_or_init(make).as_ref()
}

/// The requests of the table, each and one behind the other, about what is there.
pub(super) fn requests() -> Vec<Vec<u8>> {
    let root = served().map(|served| served.root.to_string()).unwrap_or_default();
    let told = |frame: Vec<u8>| {
        let placeholder = "ab".repeat(Root::of_nothing().to_string().len() / 2);
        let at = frame.windows(placeholder.len()).position(|word| word == placeholder.as_bytes());
        let mut frame = frame;
        if let Some(at) = at {
            frame.splice(at..at + placeholder.len(), root.bytes());
        }
        frame
    };
    let mut requests: Vec<Vec<u8>> = frames_of("request").into_iter().map(told).collect();
    // `hello` is said already.
    requests.retain(|frame| !frame.windows(7).any(|word| word == b"\"hello\""));
    requests.push(requests.concat());
    requests
}

/// Requests, each of which must get exactly one whole answer.
pub(super) fn answer(bytes: &[u8]) {
    let Some(served) = served() else { return };
    let hello = Request::Hello { peer: Some("b".into()), to: None, agent: String::new() };
    let hello = wire::encode(&hello, 0).unwrap_or_default();
    let said = [&MAGIC[..], &[VERSION], &hello, bytes].concat();
    let script = Scripted::of(&said);
    let written = script.written();
    let Ok(mut connection) = Framed::accept(buffered(Box::new(script)), &Identity::default())
    else {
        return assert!(bytes.is_empty(), "hello was not taken");
    };
    let mut responder = Responder::new(served.store.clone(), Company::default());
    let mut due = 1;
    while let Ok(Some(head)) = connection.request(super::messages::READ) {
        let request = without_waiting(head.message);
        due += usize::from(!matches!(request, Request::Report { .. }));
        if responder.answer(&mut connection, request).is_err() {
            // The payload was cut off.
            return;
        }
    }
    drop((responder, connection));
    let written = written.lock().map(|written| written.clone()).unwrap_or_default();
    let (answers, whole) = answers_in(written.get(5..).unwrap_or_default());
    // Behind the last one, something that is no frame may have been complained of.
    assert!(whole && (due..=due + 1).contains(&answers), "{answers} answers where {due} are due");
}

/// A request that makes nobody wait.
fn without_waiting(mut request: Request) -> Request {
    match &mut request {
        Request::Read { wait_ms, .. } | Request::Describe { wait_ms, .. } => *wait_ms = 0,
        _ => {}
    }
    request
}

/// How many answers these bytes are, and whether the last one is whole.
fn answers_in(mut bytes: &[u8]) -> (usize, bool) {
    let mut answers = 0;
    while !bytes.is_empty() {
        let Ok(head) = wire::read_head::<Response>(&mut bytes) else { return (answers, false) };
        assert!(head.payload <= head.message.longest_payload().min(MAX_PAYLOAD));
        let Some(rest) = bytes.get(head.payload as usize..) else { return (answers, false) };
        (answers, bytes) = (answers + 1, rest);
    }
    (answers, true)
}
