//! The clients A to E against our server.

use std::collections::HashMap;
use std::thread;
use std::time::Instant;

use peershare::serve::Rights;
use peershare::transport::tcp::{Accepted, Listener};
use peershare::transport::{Cancel, Stream, memory};

use super::*;

/// How connections to a host are made.
enum Door<'a> {
    Memory(&'a Served, usize),
    Tcp(&'a Served, usize, Listener),
}

impl Door<'_> {
    fn open(&self) -> Box<dyn Stream> {
        match self {
            Self::Memory(served, most) => {
                let (near, far) = memory::pair();
                served.host.serve(cut(far, *most));
                Box::new(near)
            }
            Self::Tcp(served, most, listener) => {
                let near = peershare::transport::dial::dial(
                    &[listener.address().unwrap()],
                    DEADLINE,
                    &Cancel::new(),
                )
                .unwrap();
                match listener.accept(DEADLINE).unwrap() {
                    Accepted::Link(far) => served.host.serve(cut(far, *most)),
                    _ => panic!("nobody came"),
                }
                Box::new(near)
            }
        }
    }
}

/// Plays the client's side of a transcript.
pub(super) fn play(steps: &[Step], open: &dyn Fn() -> Box<dyn Stream>) {
    let mut connections: HashMap<usize, Box<dyn Stream>> = HashMap::new();
    for step in steps {
        let what = format!("{step:?}");
        match step {
            Step::Request(number, text) => {
                connections.entry(*number).or_insert_with(open).write_all(text).unwrap();
            }
            Step::Answer(number, text) => {
                expect(&mut **connections.get_mut(number).unwrap(), text, &what)
            }
            Step::ClientLeaves(number) => drop(connections.remove(number)),
            Step::ServerLeaves(number) => {
                expect_end(&mut **connections.get_mut(number).unwrap(), &what)
            }
        }
    }
}

/// Plays a transcript in all ways, each time with another server that serves `before`; afterwards
/// it must have `f.txt` as `expected`.
fn serve(lines: &str, text: &str, before: &[(&str, &[u8])], expected: Option<&[u8]>) {
    let steps = transcript(lines, text);
    thread::scope(|scope| {
        for most in CUTS {
            for over_tcp in [false, true] {
                let steps = &steps;
                scope.spawn(move || {
                    let served = Served::new();
                    before.iter().for_each(|(name, data)| served.write(name, data));
                    let door = match over_tcp {
                        false => Door::Memory(&served, most),
                        true => Door::Tcp(
                            &served,
                            most,
                            Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap(),
                        ),
                    };
                    play(steps, &|| door.open());
                    assert_eq!(
                        served.read("f.txt").as_deref(),
                        expected,
                        "cut to {most}, tcp {over_tcp}"
                    );
                    eventually("nothing is left", || served.parts().is_empty());
                });
            }
        }
    });
}

/// An upload must leave exactly the text.
fn upload(lines: &str, text: &str) {
    serve(lines, text, &[], Some(text.as_bytes()));
}

pub(super) const UPLOAD_A: &str = "
    1> #UPLOAD f.txt bytes 250
    1< 330 Ready to receive file f.txt
    1> #UPLOAD f.txt chunk 0 {0}
    1< 200 File f.txt chunk 0 received
    1> #UPLOAD f.txt chunk 1 {1}
    1< 200 File f.txt chunk 1 received
    1> #UPLOAD f.txt chunk 2 {2}
    1< 200 File f.txt chunk 2 received
    1< 200 File f.txt received
    1.";

#[test]
fn client_a_uploads_and_is_told_the_end_unasked() {
    upload(UPLOAD_A, &ascii());
    upload(UPLOAD_A, &unicode());
}

#[test]
fn the_unasked_end_comes_after_more_than_half_a_second() {
    let served = Served::new();
    let steps = transcript(UPLOAD_A, &ascii());
    let (near, far) = memory::pair();
    served.host.serve(far);
    let stream = std::cell::RefCell::new(Some(Box::new(near) as Box<dyn Stream>));
    let open = || stream.borrow_mut().take().unwrap();
    let (most, last) = steps.split_at(8);
    let mut connection = open();
    for step in most {
        match step {
            Step::Request(_, text) => connection.write_all(text).unwrap(),
            Step::Answer(_, text) => expect(&mut *connection, text, "answer"),
            _ => {}
        }
    }
    assert!(served.read("f.txt").is_some(), "complete on disk before the last ack");
    let since = Instant::now();
    let Step::Answer(_, text) = &last[0] else { panic!() };
    expect(&mut *connection, text, "unasked");
    assert!(since.elapsed() > Duration::from_millis(500));
}

pub(super) const UPLOAD_B: &str = "
    1> #UPLOAD f.txt
    1< 330 Ready to receive file f.txt
    1> #UPLOAD f.txt chunk 0 {b0}
    1< 200 File f.txt chunk 0 received
    1> #UPLOAD f.txt chunk 1 {b1}
    1< 200 File f.txt chunk 1 received
    1> #UPLOAD f.txt chunk 2 {b2}
    1< 200 File f.txt chunk 2 received
    1> Transmission complete
    1< 200 File f.txt received
    1.";

#[test]
fn client_b_uploads_and_says_the_end() {
    upload(UPLOAD_B, &ascii());
}

#[test]
fn client_b_is_not_told_a_name_with_250_in_it() {
    let lines = "
        1> #UPLOAD f250.txt
        1< 330 Ready to receive file
        1.";
    serve(lines, "", &[], None);
}

pub(super) const UPLOAD_C: &str = "
    1> #UPLOAD f.txt bytes 250
    1< 330 Ready to receive file f.txt
    1> #UPLOAD f.txt chunk 0 {b0}
    1< 200 File f.txt chunk 0 received
    1> #UPLOAD f.txt chunk 1 {b1}
    1< 200 File f.txt chunk 1 received
    1> #UPLOAD f.txt chunk 2 {b2}
    1< 200 File f.txt chunk 2 received
    1> UPLOAD_COMPLETE
    1< 200 File f.txt received
    1.";

#[test]
fn client_c_uploads_and_says_the_end_in_its_own_way() {
    upload(UPLOAD_C, &ascii());
}

#[test]
fn client_c_cuts_at_bytes_within_characters() {
    let text = "é".repeat(125);
    upload(UPLOAD_C, &text);
}

pub(super) const UPLOAD_D: &str = "
    1> #UPLOAD f.txt bytes {length}
    1< 330 Ready to receive file f.txt
    1.
    2> #UPLOAD f.txt chunk 0 {0}
    2< 200 File f.txt chunk 0 received
    2.
    3> #UPLOAD f.txt chunk 1 {1}
    3< 200 File f.txt chunk 1 received
    3.
    4> #UPLOAD f.txt chunk 2 {2}
    4< 200 File f.txt received
    4.";

#[test]
fn client_d_uploads_over_a_connection_a_message() {
    for text in [ascii(), unicode()] {
        upload(&UPLOAD_D.replace("{length}", &text.len().to_string()), &text);
    }
}

#[test]
fn carriage_returns_that_client_d_read_away_are_put_back() {
    let text = ascii();
    let restored = text.replace('\n', "\r\n");
    let lines = UPLOAD_D.replace("{length}", &restored.len().to_string());
    serve(&lines, &text, &[], Some(restored.as_bytes()));
}

pub(super) const UPLOAD_E: &str = "
    1> #UPLOAD f.txt bytes {length}
    1< 330 Ready to receive file f.txt
    2> #UPLOAD f.txt chunk 0 {e0}
    2< 200 File f.txt chunk 0 received
    2.
    3> #UPLOAD f.txt chunk 1 {e1}
    3< 200 File f.txt chunk 1 received
    3.
    4> #UPLOAD f.txt chunk 2 {e2}
    4< 200 File f.txt chunk 2 received
    4.
    1.";

#[test]
fn client_e_uploads_base64_over_a_connection_a_chunk() {
    for text in [ascii(), unicode(), "Zm9v".repeat(62) + "ab"] {
        upload(&UPLOAD_E.replace("{length}", &text.len().to_string()), &text);
    }
}

#[test]
fn client_e_may_send_its_chunks_in_any_order() {
    let lines = "
        1> #UPLOAD f.txt bytes 250
        1< 330 Ready to receive file f.txt
        2> #UPLOAD f.txt chunk 1 {e1}
        2< 200 File f.txt chunk 1 received
        3> #UPLOAD f.txt chunk 0 {e0}
        3< 200 File f.txt chunk 0 received
        4> #UPLOAD f.txt chunk 2 {e2}
        4< 200 File f.txt chunk 2 received
        1.";
    upload(lines, &ascii());
}

#[test]
fn an_empty_file_is_complete_with_its_offer() {
    let lines = "
        1> #UPLOAD f.txt bytes 0
        1< 330 Ready to receive file f.txt
        1< 200 File f.txt received
        1.";
    upload(lines, "");
}

#[test]
fn a_wrong_size_is_refused_and_nothing_is_kept() {
    let lines = "
        1> #UPLOAD f.txt bytes 270
        1< 330 Ready to receive file f.txt
        1> #UPLOAD f.txt chunk 0 {0}
        1< 200 File f.txt chunk 0 received
        1> #UPLOAD f.txt chunk 1 {1}
        1< 200 File f.txt chunk 1 received
        1> #UPLOAD f.txt chunk 2 {2}
        1< 250 File f.txt incorrect size
        1.";
    serve(lines, &ascii(), &[], None);
}

#[test]
fn files_are_listed_and_names_with_blanks_are_not() {
    let lines = "
        1> #FILELIST
        1< 200 Files served: a.txt b.txt
        1> #FILELIST
        1< 200 Files served: a.txt b.txt
        1.";
    serve(lines, "", &[("b.txt", b"x"), ("a.txt", b"y"), ("with blank.txt", b"z")], None);
}

#[test]
fn a_listing_is_no_longer_than_a_message() {
    let served = Served::new();
    for number in 0..200 {
        served.write(&format!("file-{number:03}.txt"), "");
    }
    let (mut near, far) = memory::pair();
    served.host.serve(far);
    near.write_all(b"#FILELIST").unwrap();
    near.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut listing = vec![0; 4096];
    let len = near.read(&mut listing).unwrap();
    let listing = String::from_utf8_lossy(&listing[..len]).into_owned();
    assert!(listing.len() <= 1024 && listing.ends_with(".txt"), "{listing}");
}

#[test]
fn client_a_downloads_over_one_connection() {
    for text in [ascii(), unicode()] {
        let lines = "
            1> #DOWNLOAD g.txt
            1< 330 Ready to send file g.txt bytes 250
            1.
            2> #DOWNLOAD g.txt chunk 0
            2< 200 File g.txt chunk 0 {0}
            2> #DOWNLOAD g.txt chunk 1
            2< 200 File g.txt chunk 1 {1}
            2> #DOWNLOAD g.txt chunk 2
            2< 200 File g.txt chunk 2 {2}
            2.";
        serve(lines, &text, &[("g.txt", text.as_bytes())], None);
    }
}

#[test]
fn clients_b_d_and_e_download_over_a_connection_a_chunk() {
    let lines = "
        1> #DOWNLOAD g.txt
        1< 330 Ready to send file g.txt bytes 250
        2> #DOWNLOAD g.txt chunk 2
        3> #DOWNLOAD g.txt chunk 0
        4> #DOWNLOAD g.txt chunk 1
        5> #DOWNLOAD g.txt chunk 3
        2< 200 File g.txt chunk 2 {2}
        3< 200 File g.txt chunk 0 {0}
        4< 200 File g.txt chunk 1 {1}
        5< Transmission complete
        1.
        2.
        3.
        4.
        5.";
    serve(lines, &ascii(), &[("g.txt", ascii().as_bytes())], None);
}

#[test]
fn what_must_not_or_cannot_be_is_answered_with_250() {
    let lines = "
        1> #UPLOAD g.txt bytes 7
        1< 250 Already serving file g.txt
        1> #UPLOAD ../x bytes 7
        1< 250 Not receiving file ../x
        1> #UPLOAD .peershare/x bytes 7
        1< 250 Not receiving file .peershare/x
        1> #UPLOAD h.txt chunk 0 data
        1< 250 Not receiving file h.txt
        1> #DOWNLOAD ../x
        1< 250 Not serving file ../x
        1> #DOWNLOAD /etc/passwd
        1< 250 Not serving file /etc/passwd
        1> #DOWNLOAD .peershare/catalog
        1< 250 Not serving file .peershare/catalog
        1> #DOWNLOAD none.txt
        1< 250 Not serving file none.txt
        1> #DOWNLOAD none.txt chunk 4
        1< 250 Not serving file none.txt
        1> #DOWNLOAD binary
        1< 250 Not serving file binary
        1> #WHAT
        1< 250 Unknown request
        1.";
    serve(lines, "", &[("g.txt", b"x"), ("binary", b"\xff\xfe\x00")], None);
}

#[test]
fn one_upload_of_a_name_at_a_time() {
    let lines = "
        1> #UPLOAD f.txt bytes 250
        1< 330 Ready to receive file f.txt
        2> #UPLOAD f.txt bytes 250
        2< 250 Currently receiving file f.txt
        1.
        2.";
    let served = Served::new();
    play(&transcript(lines, ""), &|| Door::Memory(&served, usize::MAX).open());
}

#[test]
fn a_read_only_server_takes_nothing_and_gives() {
    let served = Served::with(Rights { read_only: true }, Limits::default());
    served.write("g.txt", "x");
    let lines = "
        1> #UPLOAD f.txt bytes 250
        1< 250 Not receiving file f.txt
        1> #DOWNLOAD g.txt
        1< 330 Ready to send file g.txt bytes 1
        1.";
    play(&transcript(lines, ""), &|| Door::Memory(&served, usize::MAX).open());
}
