//! A disk that fails: the n-th call that opens or changes something beneath a folder, and those
//! after it where that is how such disks are.
//!
//! Whole transfers are tried, with the peers and clients of the integration tests, so that it is
//! seen what the user is told, that others live on, and that the same command continues.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};

use rustix::io::Errno;

use super::super::calls::Deed;
use super::*;
use crate::client::ExitStatus;
use crate::locks::lock;
use lab::{Lab, Outcome, bytes};

// The peers and clients of the integration tests.
#[allow(dead_code)]
#[path = "../../../tests/it/lab.rs"]
mod lab;
#[allow(dead_code)]
#[path = "../../../tests/it/rogue.rs"]
mod rogue;

/// How a disk fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    error: Errno,
    /// What it refuses.
    refuses: &'static [Deed],
    /// Whether it does so from then on, or once.
    stays: bool,
}

const FAULTS: [Fault; 6] = [
    Fault { error: Errno::NOSPC, refuses: &[Deed::Make, Deed::Write, Deed::Sync], stays: true },
    Fault {
        error: Errno::IO,
        refuses: &[Deed::Open, Deed::Make, Deed::Remove, Deed::Write, Deed::Sync],
        stays: false,
    },
    Fault { error: Errno::DQUOT, refuses: &[Deed::Make, Deed::Write], stays: true },
    Fault { error: Errno::ROFS, refuses: &[Deed::Make, Deed::Remove, Deed::Write], stays: true },
    Fault { error: Errno::MFILE, refuses: &[Deed::Open, Deed::Make], stays: false },
    Fault { error: Errno::NOSPC, refuses: &[Deed::Make, Deed::Write, Deed::Sync], stays: false },
];

/// A folder whose disk is going to fail.
struct Plan {
    beneath: PathBuf,
    fault: Fault,
    /// Calls that it would have refused, and from which on it does.
    seen: u64,
    from: u64,
}

static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());
static PLANNED: AtomicUsize = AtomicUsize::new(0);

fn plans() -> MutexGuard<'static, Vec<Plan>> {
    lock(&PLANS)
}

/// Whether a call may be made, as the system would answer it.
pub(in super::super) fn permit(deed: Deed, file: &File) -> io::Result<()> {
    if PLANNED.load(SeqCst) == 0 {
        return Ok(());
    }
    let Ok(path) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return Ok(());
    };
    record(deed, &path);
    for plan in plans().iter_mut().filter(|plan| path.starts_with(&plan.beneath)) {
        // A name that somebody makes has a folder that is asked for, too.
        if !plan.fault.refuses.contains(&deed) {
            continue;
        }
        plan.seen += 1;
        if plan.seen == plan.from || plan.fault.stays && plan.seen > plan.from {
            return Err(plan.fault.error.into());
        }
    }
    Ok(())
}

/// What is asked of the disk of a folder while somebody wants to know.
static RECORDS: Mutex<Vec<(PathBuf, Vec<Asked>)>> = Mutex::new(Vec::new());

/// A call, and the path beneath the folder of what it is about.
type Asked = (Deed, String);

fn record(deed: Deed, path: &Path) {
    for (beneath, asked) in RECORDS.lock().unwrap().iter_mut() {
        if let Ok(path) = path.strip_prefix(beneath) {
            asked.push((deed, path.display().to_string()));
        }
    }
}

/// Gives all that is asked of the disk of a folder by what is done.
fn asked_of(folder: &Path, act: impl FnOnce()) -> Vec<Asked> {
    let beneath = folder.canonicalize().unwrap();
    RECORDS.lock().unwrap().push((beneath.clone(), Vec::new()));
    PLANNED.fetch_add(1, SeqCst);
    act();
    PLANNED.fetch_sub(1, SeqCst);
    let mut records = RECORDS.lock().unwrap();
    let ours = records.iter().position(|(folder, _)| *folder == beneath).unwrap();
    records.remove(ours).1
}

/// Whether these were asked in this order, whatever was asked between them. A `*` at the end of a
/// path stands for any end.
#[track_caller]
fn in_order(asked: &[Asked], expected: &[(Deed, &str)]) {
    let mut rest = asked.iter();
    for (deed, path) in expected {
        let fits = |(other, name): &Asked| {
            let same = match path.strip_suffix('*') {
                Some(begin) => name.starts_with(begin),
                None => name == path,
            };
            other == deed && same
        };
        assert!(rest.any(fits), "no {deed:?} of {path:?} in its place: {asked:#?}");
    }
}

/// Has the disk of a folder fail while this lives.
struct Failing(PathBuf);

impl Failing {
    fn at(folder: &Path, fault: Fault, from: u64) -> Self {
        let beneath = folder.canonicalize().unwrap();
        plans().push(Plan { beneath: beneath.clone(), fault, seen: 0, from });
        PLANNED.fetch_add(1, SeqCst);
        Self(beneath)
    }

    /// Whether it has failed.
    fn struck(&self) -> bool {
        plans().iter().any(|plan| plan.beneath == self.0 && plan.seen >= plan.from)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        plans().retain(|plan| plan.beneath != self.0);
        PLANNED.fetch_sub(1, SeqCst);
    }
}

/// Has every call of some work fail in turn, with all faults when there is time. The work says
/// whether the disk failed at all; when it does not any more, all calls were tried.
fn play(kind: &str, mut work: impl FnMut(Fault, u64) -> bool) {
    let thorough = std::env::var_os("PEERSHARE_ROUNDS").is_some();
    let mut tried = 0;
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let (first, step) = if thorough { (1, 1) } else { (1 + number as u64, FAULTS.len()) };
        for from in (first..).step_by(step) {
            if !work(fault, from) {
                break;
            }
            tried += 1;
        }
    }
    eprintln!("{kind}: {tried} failures of the disk");
    assert!(tried > 5, "the disk was never asked for anything");
}

/// What becomes of a command while the disk of a folder fails, and after that.
#[track_caller]
fn command(lab: &Lab, folder: &str, line: &str, (fault, from): (Fault, u64)) -> Option<Outcome> {
    let mut client = lab.client();
    let failing = Failing::at(&lab.folder(folder), fault, from);
    let outcome = client.run(line);
    let struck = failing.struck();
    drop(failing);
    if !struck {
        assert_eq!(outcome.status, ExitStatus::Success, "{fault:?} {from}: {outcome:?}");
        return None;
    }
    Some(outcome)
}

/// Nothing that can be seen is wrong.
#[track_caller]
fn all_whole(lab: &Lab, peer: &str, files: &[(&str, Vec<u8>)]) -> bool {
    let found = files.iter().filter(|(name, data)| match lab.read(peer, name) {
        Some(found) => {
            assert!(found == *data, "{peer} shows a wrong {name}");
            true
        }
        None => false,
    });
    found.count() == files.len()
}

/// The same command again, with a disk that does not fail, completes and leaves nothing.
#[track_caller]
fn completes(lab: &Lab, peer: &str, line: &str, files: &[(&str, Vec<u8>)]) {
    lab.client().run_when_free(line).succeeded();
    assert!(all_whole(lab, peer, files), "{peer} lacks files");
    drop(Store::open(&lab.folder(peer)).unwrap());
    let parts = fs::read_dir(lab.folder(peer).join(".peershare/parts")).unwrap();
    let left: Vec<_> = parts.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?} is left");
}

fn file() -> Vec<(&'static str, Vec<u8>)> {
    vec![("x", bytes(1, 3 * lab::CHUNK - 5))]
}

fn folder() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("d/1", bytes(1, 5000)),
        ("d/empty", Vec::new()),
        ("d/e/2", bytes(2, 70_000)),
        ("d/e/3", bytes(3, 10)),
    ]
}

fn put_all(lab: &Lab, peer: &str, files: &[(&str, Vec<u8>)]) {
    files.iter().for_each(|(name, data)| lab.put(peer, name, data));
}

fn told_well(fault: Fault, from: u64, outcome: &Outcome) {
    let Outcome { status, err, .. } = outcome;
    if status.is_success() {
        return;
    }
    assert!(!err.is_empty(), "{fault:?} {from}: {outcome:?}");
    if matches!(fault.error, Errno::NOSPC | Errno::DQUOT) && fault.stays {
        // Some files of a folder may have their names already.
        let full = matches!(status, ExitStatus::NoSpace | ExitStatus::SomePeersFailed);
        assert!(full, "{fault:?} {from}: {outcome:?}");
        assert!(err.contains("make room"), "{fault:?} {from}: {outcome:?}");
    }
}

fn download(kind: &str, line: &str, files: &[(&str, Vec<u8>)]) {
    play(kind, |fault, from| {
        let lab = Lab::of(&["a"]);
        put_all(&lab, "a", files);
        fs::create_dir_all(lab.folder("me")).unwrap();
        let Some(outcome) = command(&lab, "me", line, (fault, from)) else { return false };
        let complete = all_whole(&lab, "me", files);
        assert!(complete || !outcome.status.is_success(), "{fault:?} {from}: {outcome:?}");
        told_well(fault, from, &outcome);
        completes(&lab, "me", line, files);
        true
    });
}

fn upload(kind: &str, line: &str, files: &[(&str, Vec<u8>)]) {
    play(kind, |fault, from| {
        let lab = Lab::of(&["a", "b"]);
        put_all(&lab, "me", files);
        let Some(outcome) = command(&lab, "a", line, (fault, from)) else { return false };
        let complete = all_whole(&lab, "a", files);
        assert!(complete || !outcome.status.is_success(), "{fault:?} {from}: {outcome:?}");
        assert!(all_whole(&lab, "b", files), "{fault:?} {from}: {outcome:?}");
        if !complete && fault.stays && matches!(fault.error, Errno::NOSPC | Errno::DQUOT) {
            let said = format!("{}{}", outcome.err, outcome.out);
            assert!(said.contains("make room"), "{fault:?} {from}: {outcome:?}");
        }
        completes(&lab, "a", line, files);
        true
    });
}

#[test]
fn a_download_of_a_file_survives_a_failing_disk() {
    download("a file downloaded", "download x", &file());
}

#[test]
fn a_download_of_a_folder_survives_a_failing_disk() {
    download("a folder downloaded", "download d/", &folder());
}

#[test]
fn an_upload_of_a_file_survives_a_failing_disk() {
    upload("a file uploaded", "upload x a b", &file());
}

#[test]
fn an_upload_of_a_folder_survives_a_failing_disk() {
    upload("a folder uploaded", "upload d/ a b", &folder());
}

const LENGTH: usize = 600_000;

/// Has the disk of a fresh folder fail while `work` is done with a store of it, and then has it done
/// with a good disk: `work` must succeed then. What `seen` says must be true all the time.
fn store(
    kind: &str,
    prepare: impl Fn(&Path),
    work: impl Fn(&Store) -> Result<(), StoreError>,
    seen: impl Fn(&Path, bool),
) {
    play(kind, |fault, from| {
        let served = tempfile::tempdir().unwrap();
        prepare(served.path());
        let failing = Failing::at(served.path(), fault, from);
        let done = Store::open(served.path()).and_then(|store| work(&store));
        let struck = failing.struck();
        drop(failing);
        seen(served.path(), done.is_ok());
        if let Err(error) = &done {
            assert!(struck, "{fault:?} {from}: {error}");
            let full = matches!(fault.error, Errno::NOSPC | Errno::DQUOT) && fault.stays;
            assert!(!full || error.is_no_space(), "{fault:?} {from}: {error:?}");
        }
        if struck && done.is_err() {
            let store = Store::open(served.path()).unwrap();
            work(&store).unwrap_or_else(|error| panic!("{fault:?} {from}, and then: {error}"));
            seen(served.path(), true);
        }
        drop(Store::open(served.path()).unwrap());
        let parts = fs::read_dir(private(served.path(), "parts")).unwrap();
        let left: Vec<_> = parts.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{fault:?} {from}: {left:?} is left");
        struck
    });
}

/// The file is there as it should be, or not at all, or as it was before.
fn whole<'a>(file: &'a str, data: &'a [u8], before: Option<&'a [u8]>) -> impl Fn(&Path, bool) + 'a {
    move |folder, done| {
        let found = fs::read(folder.join(file)).ok();
        let old = !done && found.as_deref() == before;
        assert!(old || found.as_deref() == Some(data), "{file} is wrong");
    }
}

/// Writes all chunks that are not there.
fn fill(part: &PartFile, data: &[u8], most: usize) -> Result<(), StoreError> {
    let (manifest, have) = (part.manifest(), part.have());
    let missing = manifest.layout().indices().filter(|index| !have.contains(*index));
    for index in missing.take(most) {
        let range = manifest.layout().range(index);
        let bytes = &data[range.start as usize..range.end as usize];
        part.write(&manifest.verify(index, bytes).unwrap())?;
    }
    Ok(())
}

#[test]
fn a_journal_never_vouches_for_what_a_failing_disk_lost() {
    let data = bytes(1, LENGTH);
    let work = |store: &Store| {
        let manifest = manifest_of("f", &data);
        // Twice in a row, so that there is a journal to be written over.
        for chunks in [1, 1, 3] {
            match store.receive(Arc::clone(&manifest), false)? {
                Reception::Part(part) => {
                    fill(&part, &data, chunks)?;
                    if part.have().is_full() {
                        part.complete()?;
                    }
                }
                Reception::AlreadyHere => {}
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    };
    store("a file continued", |_| {}, work, whole("f", &data, None));
}

#[test]
fn what_is_to_be_replaced_stays_when_the_disk_fails() {
    let (old, data) = (bytes(1, LENGTH), bytes(2, LENGTH));
    let work = |store: &Store| match store.receive(manifest_of("d/f", &data), true)? {
        Reception::Part(part) => fill(&part, &data, 3).and_then(|()| part.complete()).map(drop),
        Reception::AlreadyHere => Ok(()),
        other => panic!("{other:?}"),
    };
    let prepare = |folder: &Path| {
        fs::create_dir(folder.join("d")).unwrap();
        fs::write(folder.join("d/f"), &old).unwrap();
    };
    store("a file replaced", prepare, work, whole("d/f", &data, Some(&old)));
}

#[test]
fn what_comes_without_proof_survives_a_failing_disk() {
    let data = bytes(1, LENGTH);
    let work = |store: &Store| match store.receive_unproven(name("d/f"), None, false)? {
        Arrival::Ready(mut incoming) => {
            incoming.append(&data)?;
            store.complete(incoming)
        }
        Arrival::Exists => Ok(()),
        Arrival::Busy => panic!("nobody else is here"),
    };
    store("a file without proof", |_| {}, work, whole("d/f", &data, None));
}

#[test]
fn publishing_survives_a_failing_disk() {
    let (elsewhere, data) = (tempfile::tempdir().unwrap(), bytes(1, LENGTH));
    fs::write(elsewhere.path().join("f"), &data).unwrap();
    // On another file system, where there is one, so that it has to be copied.
    let ram = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    fs::write(ram.path().join("f"), &data).unwrap();
    for from in [&elsewhere, &ram] {
        let work = |store: &Store| match store.publish(
            &from.path().join("f"),
            &name("d/f"),
            &mut |_| true,
        ) {
            Err(StoreError::Blocked { .. }) => Ok(()),
            published => published.map(drop),
        };
        store("a file published", |_| {}, work, whole("d/f", &data, None));
    }
}

#[test]
fn hashing_survives_a_failing_disk_and_is_right() {
    let data = bytes(1, LENGTH);
    let work = |store: &Store| {
        for file in ["f", "g"] {
            let manifest = store.manifest(&name(file), &mut |_, _| true)?;
            assert_eq!(*manifest, *manifest_of(file, &data));
        }
        Ok(())
    };
    let prepare = |folder: &Path| {
        fs::write(folder.join("f"), &data).unwrap();
        fs::write(folder.join("g"), &data).unwrap();
    };
    store("files hashed", prepare, work, whole("f", &data, None));
}

#[test]
fn a_catalog_that_cannot_be_compacted_is_still_right() {
    let data = bytes(1, 1000);
    let prepare = |folder: &Path| {
        fs::write(folder.join("f"), &data).unwrap();
        hashed(&Store::open(folder).unwrap(), "f");
        bloat(folder);
    };
    let work = |store: &Store| {
        assert_eq!(
            store.manifest(&name("f"), &mut |_, _| true)?.root(),
            manifest_of("f", &data).root()
        );
        Ok(())
    };
    store("a catalog compacted", prepare, work, whole("f", &data, None));
}

#[test]
fn what_a_disk_could_not_keep_is_fetched_again() {
    let served = Served::new();
    let data = bytes(1, LENGTH);
    let manifest = manifest_of("f", &data);
    let begin = || match served.store.receive(Arc::clone(&manifest), false).unwrap() {
        Reception::Part(part) => part,
        other => panic!("{other:?}"),
    };
    fill(&begin(), &data, 1).unwrap();
    let fault = Fault { error: Errno::IO, refuses: &[Deed::Sync], stays: false };
    for most in [1, 2] {
        let part = begin();
        let failing = Failing::at(served.folder.path(), fault, 1);
        fill(&part, &data, most).unwrap();
        // The system says once that it could not write, and that all is well from then on.
        if part.have().is_full() {
            assert!(part.complete().is_err());
        } else {
            drop(part);
        }
        assert!(failing.struck());
        drop(failing);
        assert_eq!(begin().have().len(), 1, "only what was synced before");
    }
    let part = begin();
    fill(&part, &data, 2).unwrap();
    part.complete().unwrap();
    assert!(fs::read(served.path("f")).unwrap() == data);
}

#[test]
fn bytes_are_on_the_disk_before_their_names_and_names_before_it_is_said() {
    use Deed::{Make, Remove, Sync, Write};
    let (served, data) = (Served::new(), bytes(1, LENGTH));
    let store = &served.store;
    let manifest = manifest_of("d/f", &data);
    let root = manifest.root();
    let part = format!(".peershare/parts/{root}");
    let journal = format!("{part}.journal.new");
    let parts = ".peershare/parts";
    let begin = || match store.receive(Arc::clone(&manifest), false).unwrap() {
        Reception::Part(part) => part,
        other => panic!("{other:?}"),
    };
    let asked = asked_of(served.folder.path(), || fill(&begin(), &data, 1).unwrap());
    let written = [(Write, &*part), (Sync, &*part)];
    let vouched = [(Write, &*journal), (Sync, &*journal), (Make, parts)];
    in_order(&asked, &[&written[..], &vouched].concat());
    let asked = asked_of(served.folder.path(), || {
        let part = begin();
        fill(&part, &data, 3).unwrap();
        part.complete().unwrap();
    });
    let made = [(Make, ""), (Sync, "")];
    let named = [(Make, "d"), (Sync, "d"), (Remove, parts), (Sync, parts)];
    in_order(&asked, &[&written[..], &made, &named].concat());
    let last_write = asked.iter().rposition(|(deed, path)| (*deed, &**path) == (Write, &*part));
    let synced = asked.iter().rposition(|(deed, path)| (*deed, &**path) == (Sync, &*part));
    assert!(last_write < synced, "{asked:#?}");

    let whole = crate::content::whole::hash_all(&[b"small"]).pop().unwrap().unwrap();
    let attributes = crate::content::Attributes { mtime_ns: Some(1), mode: Some(0o600) };
    let asked = asked_of(served.folder.path(), || {
        let mut group = store.group(false).unwrap();
        group.put(&name("e/g"), &whole, &attributes).unwrap();
        assert!(group.settle().pop().unwrap().1.is_ok());
        store.sync().unwrap();
    });
    let group = ".peershare/parts/*";
    in_order(&asked, &[(Write, group), (Sync, parts), (Make, ""), (Make, "e"), (Sync, parts)]);

    let asked = asked_of(served.folder.path(), || {
        let arrival = store.receive_unproven(name("h/u"), None, false).unwrap();
        let Arrival::Ready(mut incoming) = arrival else { panic!() };
        incoming.append(b"text").unwrap();
        store.complete(incoming).unwrap();
    });
    in_order(
        &asked,
        &[(Write, group), (Sync, group), (Make, ""), (Sync, ""), (Make, "h"), (Sync, "h")],
    );
}
