//! What a server writes about who took and gave what.

use std::io::{Read, Write};
use std::net::TcpStream;

use peershare::topology::Peer;
use peershare::transport::{Cancel, Network, Tcp};
use peershare::wire::{Request, Response, Share};
use rustix::process::Signal;

use super::lab::{CHUNK, DEADLINE, bytes};
use super::programs::{Running, Server, Site};
use super::speaker::Speaker;

/// A server with a file, of which the client `me` is a peer.
fn served() -> (Site, Server) {
    let site = Site::new();
    site.put("a", "big.bin", &bytes(1, 3 * CHUNK));
    site.put("a", "many/1", b"one");
    site.put("a", "many/2", b"three");
    site.list_peers(&[("a", 1), ("me", 2)]);
    let server = site.server("a");
    site.list_peers(&[("a", server.port), ("me", 2)]);
    (site, server)
}

#[test]
fn what_is_given_is_told_with_whom_how_much_and_how_fast() {
    let (site, server) = served();
    site.client(&["--peer", "me", "filelist"]).success();
    let line = server.running.wait_for("listed");
    assert!(line.contains("listed 3 entries to me (127.0.0.1:"), "{line}");
    site.client(&["download", "big.bin"]).success();
    let line = server.running.wait_for("gave \"big.bin\" to a client without an id (127.0.0.1:");
    assert!(line.contains(", framed): 786432 bytes in ") && line.contains(" MB/s)"), "{line}");
    site.client(&["--peer", "me", "download", "many/"]).success();
    let line = server.running.wait_for("small files");
    assert!(
        line.contains("gave 2 small files to me (127.0.0.1:") && line.contains("8 bytes in"),
        "{line}"
    );
}

#[test]
fn what_is_received_is_told_with_from_whom() {
    let (site, server) = served();
    site.put("me", "up.bin", &bytes(2, CHUNK));
    site.put("me", "folder/x", b"x");
    site.client(&["--peer", "me", "upload", "up.bin"]).success();
    let line = server.running.wait_for("received \"up.bin\" from me (127.0.0.1:");
    assert!(line.contains(", framed): 262144 bytes in "), "{line}");
    site.client(&["--peer", "me", "upload", "up.bin"]).success();
    server.running.wait_for("uploads \"up.bin\", which is here already");
    site.client(&["--peer", "me", "upload", "folder"]).success();
    let line = server.running.wait_for("received the files \"folder/\" from me (127.0.0.1:");
    assert!(line.contains("1 files, 1 bytes in") && line.contains("0 were here"), "{line}");
}

#[test]
fn what_is_refused_is_told_with_the_reason() {
    let (site, server) = served();
    site.put("me", "big.bin", b"another");
    site.client(&["--peer", "me", "upload", "big.bin"]).code(5);
    let line = server.running.wait_for("refused the upload of \"big.bin\" from me (127.0.0.1:");
    assert!(line.contains("already serving another file of that name"), "{line}");
    drop(server);
    let mut command = site.server_command("a");
    let running = Running::start(command.args(["--listen", "127.0.0.1:0", "--read-only"]));
    site.list_peers(&[("a", running.port()), ("me", 2)]);
    site.client(&["--peer", "me", "upload", "big.bin"]).code(5);
    running.wait_for("read-only");
}

/// Says something in the classic dialect over a connection of its own, and gives the answer.
fn say(port: u16, text: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    let len = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[test]
fn who_asks_again_and_again_for_what_is_refused_fills_no_disk() {
    let site = Site::new();
    site.list_peers(&[("a", 1)]);
    let mut command = site.server_command("a");
    let mut running = Running::start(command.args(["--listen", "127.0.0.1:0", "--read-only"]));
    let server = Peer::at("a".parse().unwrap(), "127.0.0.1", running.port());
    let stream = Tcp::default().dial(&server, DEADLINE, &Cancel::new()).unwrap();
    let mut speaker = Speaker::over(stream).introduce();
    let share = Share { pattern: Some("n".repeat(2000)), except: vec![], beneath: None };
    for _ in 0..50 {
        let answer = speaker.ask(
            &Request::OfferFolder { share: share.clone(), replace: false, chunk_size: 0 },
            &[],
        );
        assert!(matches!(answer, Response::Error(_)), "{answer:?}");
    }
    drop(speaker);
    let line = running.wait_for("read-only and takes no uploads");
    assert!(line.contains("the upload of a folder"), "{line}");
    running.signal(Signal::TERM);
    running.ends();
    assert_eq!(running.rest().iter().filter(|line| line.contains("takes no uploads")).count(), 0);
}

#[test]
fn names_do_not_begin_lines_of_their_own() {
    let (_site, server) = served();
    assert!(say(server.port, "#UPLOAD a\nforged bytes 5").starts_with("250 "));
    let line = server.running.wait_for("forged");
    assert!(line.contains(r#"refused the upload of "a\u{a}forged" from"#), "{line}");
}

#[test]
fn clients_of_the_classic_dialect_are_told_alike() {
    let (site, server) = served();
    site.put("a", "poem.txt", "roses are red\n".repeat(15).as_bytes());
    site.put("a", "with blank.txt", b"x");
    assert!(say(server.port, "#FILELIST").contains("poem.txt"));
    let line = server.running.wait_for("listed");
    assert!(line.contains("names, without 1 that have blanks to a client (127.0.0.1:"), "{line}");
    for chunk in 0..3 {
        assert!(say(server.port, &format!("#DOWNLOAD poem.txt chunk {chunk}")).starts_with("200 "));
    }
    server.running.wait_for("gave \"poem.txt\" to a client (127.0.0.1, classic): 210 bytes in ");
    // Three requests, but for one chunk.
    for _ in 0..3 {
        say(server.port, "#DOWNLOAD poem.txt chunk 1");
    }
    assert!(say(server.port, "#UPLOAD poem.txt bytes 5").starts_with("250 "));
    server.running.wait_for("refused the upload of \"poem.txt\" from a client (127.0.0.1:");
    assert!(say(server.port, "#UPLOAD empty.txt bytes 0").starts_with("330 "));
    server.running.wait_for("received \"empty.txt\" from a client (127.0.0.1:");
    server.running.signal(Signal::TERM);
    server
        .running
        .wait_for("gave 1 of 3 chunks of \"poem.txt\" to a client (127.0.0.1, classic): 100 bytes");
}
