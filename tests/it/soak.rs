//! Servers that have worked for a while have no more threads and descriptors than before. The long
//! version, with memory and slopes, is `benches/soak.py`.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;

use super::lab::{CHUNK, DEADLINE, bytes, eventually};
use super::programs::{Running, Server, Site};

/// Threads and descriptors of a process.
fn held(server: &Server) -> (usize, usize) {
    let process = format!("/proc/{}", server.running.id());
    let count = |what: &str| fs::read_dir(format!("{process}/{what}")).map_or(0, Iterator::count);
    (count("task"), count("fd"))
}

/// One of everything that clients do, well and badly.
fn mixed_work(site: &Site, servers: &[&Server], round: u64) {
    let run = |words: &[&str]| {
        let mut client = assert_cmd::Command::from_std(site.client_command());
        client.args(words).timeout(DEADLINE).output().unwrap().status
    };
    for name in ["up/x", "up/y"] {
        site.put("me", name, &bytes(round, 3 * CHUNK));
    }
    for words in [
        &["download", "x"][..],
        &["download", "d/"],
        &["upload", "up/x", "all", "--replace"],
        &["upload", "up/", "a", "--replace"],
        &["filelist"],
        &["search", "x"],
        &["peers"],
    ] {
        assert!(run(words).success(), "{words:?}");
    }
    for server in servers {
        for said in [&b""[..], b"\xf0", b"#FILELIST\n", b"#UPLOAD t bytes 10\n", b"GET / \r\n\r\n"]
        {
            let mut link = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            link.write_all(said).unwrap();
        }
    }
    let mut killed =
        Running::start(site.client_command().args(["upload", "up/", "b", "--replace"]));
    killed.signal(Signal::KILL);
    killed.ends();
    for came in ["x", "d"] {
        let path = site.path("me").join(came);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
}

#[test]
fn servers_have_no_more_threads_and_descriptors_after_much_work() {
    let site = Site::new();
    for peer in ["a", "b"] {
        site.put(peer, "x", &bytes(1, 5 * CHUNK));
        (0..40).for_each(|n| site.put(peer, &format!("d/{n}"), &bytes(n, 2000)));
    }
    site.list_peers(&[("a", 1), ("b", 2)]);
    let (a, b) = (site.server("a"), site.server("b"));
    site.list_peers(&[("a", a.port), ("b", b.port)]);
    let servers = [&a, &b];
    // Threads that hash stay once they are there.
    mixed_work(&site, &servers, 0);
    let mut before = [(0, 0); 2];
    // Sessions take a moment to notice that the other side is gone.
    eventually("the servers are at rest", || {
        let now = servers.map(held);
        std::mem::replace(&mut before, now) == now && now.iter().all(|(_, files)| *files < 20)
    });
    let rounds = std::env::var("PEERSHARE_ROUNDS").ok().map_or(3, |text| text.parse().unwrap());
    for round in 1..=rounds {
        mixed_work(&site, &servers, round);
    }
    eventually(&format!("the servers are as before, {before:?}"), || {
        servers
            .map(held)
            .iter()
            .zip(before)
            .all(|(now, before)| now.0 <= before.0 && now.1 <= before.1)
    });
}
