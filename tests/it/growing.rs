//! A log that is written to all the time is given away and fetched as it was when it was described.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use peershare::client::ExitStatus;

use super::lab::{LONG, Lab, bytes};

/// Appends to a file until this is dropped.
struct Writer {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn to(path: PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let work = move || {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            while !told.load(Relaxed) {
                file.write_all(b"one more line\n").unwrap();
                thread::yield_now();
            }
        };
        Self { over, thread: Some(thread::spawn(work)) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Whether what arrived is the beginning of what is there.
#[track_caller]
fn is_a_beginning(lab: &Lab, owner: &str, taker: &str, name: &str) {
    let (whole, came) = (lab.read(owner, name).unwrap(), lab.read(taker, name).unwrap());
    assert!(whole.starts_with(&came), "{} bytes of {}", came.len(), whole.len());
}

#[test]
fn a_log_is_fetched_while_it_grows() {
    let lab = Lab::of(&["a"]);
    for (name, length) in [("large", LONG), ("small", 1000), ("d/small", 1000), ("d/large", LONG)] {
        lab.put("a", name, &bytes(1, length));
        let writer = Writer::to(lab.folder("a").join(name));
        lab.client().run(&format!("download {name}")).succeeded();
        drop(writer);
        is_a_beginning(&lab, "a", "me", name);
        assert!(lab.read("me", name).unwrap().len() >= length);
    }
}

#[test]
fn a_log_is_given_away_while_it_grows() {
    let lab = Lab::of(&["a", "b"]);
    for (name, length) in [("large", LONG), ("small", 1000)] {
        lab.put("me", name, &bytes(1, length));
        let writer = Writer::to(lab.folder("me").join(name));
        lab.client().run(&format!("upload {name} a b")).succeeded();
        drop(writer);
        is_a_beginning(&lab, "me", "a", name);
        is_a_beginning(&lab, "me", "b", name);
    }
    // From anywhere on the machine, too.
    let path = lab.root().join("elsewhere.log");
    fs::write(&path, bytes(1, LONG)).unwrap();
    let writer = Writer::to(path.clone());
    lab.client().run(&format!("upload {} a", path.display())).succeeded();
    drop(writer);
    assert!(fs::read(path).unwrap().starts_with(&lab.read("a", "elsewhere.log").unwrap()));
}

#[test]
fn a_folder_with_logs_is_fetched_and_given_away_while_they_grow() {
    let lab = Lab::of(&["a", "b"]);
    for (name, length) in [("d/large", LONG), ("d/small", 1000), ("d/still", 5)] {
        lab.put("a", name, &bytes(1, length));
        lab.put("me", &format!("e{name}"), &bytes(2, length));
    }
    let writers = ["d/large", "d/small"].map(|name| {
        [
            Writer::to(lab.folder("a").join(name)),
            Writer::to(lab.folder("me").join(format!("e{name}"))),
        ]
    });
    lab.client().run("download d/").succeeded();
    lab.client().run("upload ed/ b").succeeded();
    drop(writers);
    for name in ["d/large", "d/small", "d/still"] {
        is_a_beginning(&lab, "a", "me", name);
        is_a_beginning(&lab, "me", "b", &format!("e{name}"));
    }
}

#[test]
fn a_file_that_is_written_anew_meanwhile_is_told_as_changed_and_the_next_attempt_is_about_the_new_one()
 {
    let lab = Lab::of(&["a"]);
    let (old, new) = (bytes(1, LONG), bytes(2, LONG + 1));
    lab.put("a", "x", &old);
    let client = lab.client();
    let path = lab.folder("a").join("x");
    let data = new.clone();
    client.traffic.after(5 * super::lab::CHUNK as u64, move || fs::write(&path, &data).unwrap());
    let mut client = client;
    let outcome = client.run("download x");
    assert_eq!(outcome.status, ExitStatus::Integrity, "{outcome:?}");
    outcome.tells("changed");
    assert!(lab.read("me", "x").is_none());
    lab.client().run_when_free("download x").succeeded();
    lab.assert_has("me", "x", &new);
}
