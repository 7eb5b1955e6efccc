use std::time::{Duration, Instant};

use super::receiving::{begin, write};
use super::*;

const LENGTH: usize = 1_300_000;

fn live_path(served: &Served, manifest: &Manifest) -> PathBuf {
    served.folder.path().join(".peershare/parts").join(format!("{}.live", manifest.root()))
}

fn now() -> Instant {
    Instant::now()
}

fn numbers(partial: &Partial) -> Vec<u32> {
    partial.have(partial.layout()).iter().map(|index| index.get()).collect()
}

#[test]
fn another_process_reads_what_is_there_and_waits_for_the_rest() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let (other, manifest) = (served.other(), manifest_of("f", &data));
    let size = manifest.layout().chunk_size();
    assert!(other.partial(&manifest.root(), now()).is_none());
    let part = begin(&served.store, &manifest);
    write(&part, &data, 1..3);
    let partial = other.partial(&manifest.root(), now()).unwrap();
    assert_eq!(numbers(&partial), [1, 2]);
    assert!(partial.cut(1, size, now()).is_ok() && !partial.is_over());
    assert!(matches!(partial.cut(0, size, now()), Err(StoreError::NotYet { .. })));
    assert!(matches!(partial.cut(99, size, now()), Err(StoreError::NoSuchChunk { .. })));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| partial.cut(4, size, now() + Duration::from_secs(30)).is_ok());
        write(&part, &data, 0..5);
        assert!(late.join().unwrap());
    });
    part.complete().unwrap();
    assert!(
        partial.is_over() && partial.cut(3, size, now()).is_ok(),
        "an open part file loses nothing"
    );
    assert!(other.partial(&manifest.root(), now()).is_none());
    assert!(other.open_content(&manifest.root()).is_ok());
    assert!(!live_path(&served, &manifest).exists());
}

#[test]
fn what_is_passed_on_by_another_process_counts() {
    let (served, data) = (Served::new(), pattern(40 << 18));
    let (other, manifest) = (served.other(), manifest_of("f", &data));
    let part = begin(&served.store, &manifest);
    let partial = other.partial(&manifest.root(), now()).unwrap();
    manifest.layout().indices().for_each(|index| part.own(index));
    assert!(part.keeps_up(0), "as long as nobody reads");
    partial.sent("reader", 0);
    assert!(!part.keeps_up(0));
    (1..40).for_each(|number| partial.sent("reader", number));
    assert!(part.keeps_up(0));
    partial.sent("another reader", 0);
    partial.sent("a third", 0);
    assert!(!part.keeps_up(0));
    partial.forget("another reader");
    partial.forget("a third");
    assert!(part.keeps_up(0));
}

#[test]
fn the_live_file_of_a_dead_process_says_nothing() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let (other, manifest) = (served.other(), manifest_of("f", &data));
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..2);
    let stale = fs::read(live_path(&served, &manifest)).unwrap();
    let partial = other.partial(&manifest.root(), now()).unwrap();
    drop(part);
    assert!(partial.is_over());
    let size = manifest.layout().chunk_size();
    let waited = partial.cut(3, size, now() + Duration::from_secs(3600));
    assert!(waited.is_err(), "nobody waits for what will not come");
    fs::write(live_path(&served, &manifest), stale).unwrap();
    assert!(other.partial(&manifest.root(), now()).is_none());
    let part = begin(&served.store, &manifest);
    assert_eq!(numbers(&other.partial(&manifest.root(), now()).unwrap()), [0, 1]);
    drop(part);
}

#[test]
fn a_damaged_live_file_costs_no_more_than_what_it_says() {
    let (served, data) = (Served::new(), pattern(LENGTH));
    let (other, manifest) = (served.other(), manifest_of("f", &data));
    let part = begin(&served.store, &manifest);
    write(&part, &data, 0..2);
    let path = live_path(&served, &manifest);
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let before = other.partial(&manifest.root(), now()).unwrap();
    let wrong = [
        Vec::new(),
        good[..40].to_vec(),
        good[..good.len() - 1].to_vec(),
        text.replace("live 1", "live 2").into_bytes(),
        text.replace(&format!("\"length\":{LENGTH}"), "\"length\":18446744073709551615")
            .into_bytes(),
        text.replace("\"chunk_size\":262144", "\"chunk_size\":0").into_bytes(),
        text.replace("\"inode\":", "\"inode\":1").into_bytes(),
        text.replace('{', "[").into_bytes(),
    ];
    for bytes in wrong {
        assert_ne!(bytes, good);
        fs::write(&path, &bytes).unwrap();
        assert!(
            other.partial(&manifest.root(), now()).is_none(),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        let _ = (
            before.have(before.layout()),
            before.cut(4, manifest.layout().chunk_size(), now()).is_err(),
        );
    }
    part.complete().unwrap_err();
}
