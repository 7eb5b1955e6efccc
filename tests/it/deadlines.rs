//! Connections without an end: a test for each row of the table in the docs of `connection`. The
//! deadlines are short here, and what is sent in time is sent without a pause.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use peershare::config;
use peershare::connection::{Deadlines, Framed, Identity};
use peershare::content::Attributes;
use peershare::serve::Rights;
use peershare::server::Limits;
use peershare::transport::memory;
use peershare::wire::{self, MAGIC, Request, Response};

use super::lab::{CHUNK, DEADLINE, LONG, Lab, bytes, eventually, manifest};
use super::speaker::Speaker;

const SHORT: Duration = Duration::from_millis(60);

/// A lab whose peer `a` serves the long file `x` and waits no longer than that.
fn lab(deadlines: Deadlines) -> Lab {
    let mut lab = Lab::of(&["a"]);
    lab.put("a", "x", &bytes(1, LONG));
    lab.start_with("a", Rights::default(), Limits { deadlines, ..Limits::default() });
    lab
}

fn frames(frame: Duration) -> Lab {
    lab(Deadlines { frame, ..Deadlines::default() })
}

/// Says a byte now and then, until nobody listens any more.
#[track_caller]
fn drips(mut speaker: Speaker, bytes: &[u8]) {
    let until = Instant::now() + DEADLINE;
    for byte in bytes.iter().cycle() {
        assert!(Instant::now() < until, "it is listened to for ever");
        if speaker.0.write_all(&[*byte]).is_err() {
            return;
        }
        thread::park_timeout(SHORT / 6);
    }
}

#[test]
fn a_greeting_that_drips_ends() {
    let lab = frames(SHORT);
    let mut speaker = Speaker::silent(&lab, "a");
    speaker.raw(&MAGIC[..2]);
    speaker.until_end();
}

#[test]
fn a_header_that_stops_or_drips_ends() {
    let lab = frames(SHORT);
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.raw(&[0, 0, 0, 200, 0, 0, 0, 0, b'{']);
    speaker.until_end();
    let mut speaker = Speaker::introduced(&lab, "a");
    speaker.raw(&[0, 0, 200, 0, 0, 0, 0, 0]);
    drips(speaker, b" ");
}

#[test]
fn a_payload_that_stops_or_drips_ends() {
    let lab = frames(SHORT);
    let offer =
        Request::offer(&manifest("y", &bytes(2, LONG)), Attributes::default(), false, false);
    for request in [Request::Gather, Request::Ping, offer] {
        let frame = wire::encode(&request, 640).unwrap();
        let mut speaker = Speaker::introduced(&lab, "a");
        speaker.raw(&frame);
        speaker.raw(&[0; 10]);
        speaker.until_end();
        let mut speaker = Speaker::introduced(&lab, "a");
        speaker.raw(&wire::encode(&request, 60_000).unwrap());
        drips(speaker, &[0]);
    }
}

#[test]
fn a_connection_that_asks_for_nothing_ends() {
    let lab = lab(Deadlines { idle: SHORT, ..Deadlines::default() });
    Speaker::introduced(&lab, "a").until_end();
}

/// Asks for chunks, until nobody listens any more, and reads nothing but what `reads` does.
#[track_caller]
fn is_left_by_the_server(reads: impl Fn(&mut Speaker)) {
    let lab = lab(Deadlines { write: SHORT, ..Deadlines::default() });
    let root = manifest("x", &bytes(1, LONG)).root();
    lab.client().run("download x").succeeded();
    let mut speaker = Speaker::introduced(&lab, "a");
    let read = Request::Read { root, chunk: 0, chunk_size: CHUNK as u32, wait_ms: 0 };
    speaker.send(&read, &[]);
    eventually("the server has left", || {
        reads(&mut speaker);
        // A stream that was closed takes nothing more.
        speaker.0.write_all(&[0]).is_err()
    });
}

#[test]
fn a_reader_that_reads_nothing_is_left() {
    is_left_by_the_server(|_| {});
}

#[test]
fn a_reader_that_reads_a_little_now_and_then_is_left() {
    is_left_by_the_server(|speaker| {
        let _ = speaker.0.read(&mut [0]);
        thread::park_timeout(SHORT / 3);
    });
}

#[test]
fn an_upload_that_is_too_slow_gives_its_name_to_another_file() {
    let mut lab = Lab::of(&["a"]);
    lab.start_with("a", Rights::default(), Limits { slowest: u32::MAX, ..Limits::default() });
    let mut slow = Speaker::introduced(&lab, "a");
    slow.offer(&manifest("x", &bytes(1, LONG)));
    let data = bytes(2, LONG);
    lab.put("me", "x", &data);
    lab.client().run("upload x a").succeeded();
    lab.assert_has("a", "x", &data);
    slow.until_end();
}

#[test]
fn a_chunk_that_drips_ends_however_often_a_byte_of_it_comes() {
    let (near, mut far) = memory::pair();
    let mut asking = Framed::open(Box::new(near), &Identity::default(), None).unwrap();
    let answers = thread::spawn(move || {
        wire::send_greeting(&mut far).unwrap();
        let hello = Response::Hello { peer: None, agent: String::new(), read_only: false };
        far.write_all(&wire::encode(&hello, 0).unwrap()).unwrap();
        let chunk = Response::Chunk { chunk: 0, shared: false };
        far.write_all(&wire::encode(&chunk, CHUNK).unwrap()).unwrap();
        // Faster than it may stand still, and slower than it has to go.
        while far.write_all(&[7]).is_ok() {
            thread::park_timeout(SHORT / 6);
        }
    });
    assert!(matches!(asking.answer(DEADLINE).unwrap().message, Response::Chunk { .. }));
    let begun = Instant::now();
    let ended = asking.read_payload(&mut vec![0; CHUNK], SHORT);
    assert!(ended.is_err_and(|error| peershare::connection::nothing_came(&error)));
    assert!(begun.elapsed() >= SHORT * config::STALLS);
    drop(asking);
    answers.join().unwrap();
}
