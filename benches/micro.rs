//! What the inner loops cost by themselves: hashing, framing, and the bookkeeping of a transfer.
//!
//! `cargo bench --bench micro`, or `cargo bench --bench micro -- ledger` for some of it. Whole
//! transfers are measured by the scripts beside this file, see `benches/README.md`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Bytes that no hash and no copy can take a short cut through.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

mod hashing {
    use peershare::content::leaf::{LEAF_SIZE, hash_leaves};
    use peershare::content::{ChunkLayout, Digest, merkle};

    use super::*;

    /// Leaves handed over at once: those of one usual chunk, and enough to fill every lane.
    const LEAVES: [usize; 2] = [16, 64];

    #[divan::bench(args = LEAVES)]
    fn leaves(bencher: Bencher, count: usize) {
        let data = bytes(count * LEAF_SIZE);
        let mut digests = Vec::with_capacity(count);
        bencher.counter(BytesCount::new(data.len())).bench_local(|| {
            digests.clear();
            hash_leaves(black_box(&data), &mut digests);
            digests.last().copied()
        });
    }

    /// The same leaves one by one with `sha2`: the fallback, and what the above is measured
    /// against.
    #[divan::bench(args = LEAVES)]
    fn leaves_by_sha2(bencher: Bencher, count: usize) {
        let data = bytes(count * LEAF_SIZE);
        let mut digests = Vec::with_capacity(count);
        bencher.counter(BytesCount::new(data.len())).bench_local(|| {
            digests.clear();
            digests.extend(black_box(&data).chunks(LEAF_SIZE).map(Digest::of));
            digests.last().copied()
        });
    }

    /// One chunk up to its digest: its leaves, and the tree above them.
    #[divan::bench(args = [256, 1024])]
    fn chunk_digest_kib(bencher: Bencher, kib: u32) {
        let data = bytes((kib as usize) << 10);
        // Of two chunks, so that the one that is hashed is a whole subtree.
        let layout = ChunkLayout::new(2 * data.len() as u64, kib << 10).unwrap();
        bencher
            .counter(BytesCount::new(data.len()))
            .bench(|| merkle::chunk_digest(&layout, black_box(&data)));
    }
}

mod framing {
    use peershare::content::{Digest, Entry, Root};
    use peershare::wire::{Request, Response, encode, read_head};

    use super::*;

    const CHUNK: usize = 256 << 10;

    fn read() -> Request {
        Request::Read {
            root: Root(Digest::of(b"a file")),
            chunk: 1234,
            chunk_size: CHUNK as u32,
            wait_ms: 0,
        }
    }

    #[divan::bench]
    fn encode_read() -> Vec<u8> {
        encode(black_box(&read()), 0).unwrap()
    }

    #[divan::bench]
    fn read_head_of_read(bencher: Bencher) {
        let frame = encode(&read(), 0).unwrap();
        bencher.bench(|| read_head::<Request>(&mut black_box(&frame[..])).unwrap());
    }

    #[divan::bench]
    fn encode_chunk() -> Vec<u8> {
        encode(black_box(&Response::Chunk { chunk: 1234, shared: false }), CHUNK).unwrap()
    }

    #[divan::bench]
    fn read_head_of_chunk(bencher: Bencher) {
        let frame = encode(&Response::Chunk { chunk: 1234, shared: false }, CHUNK).unwrap();
        bencher.bench(|| read_head::<Response>(&mut black_box(&frame[..])).unwrap());
    }

    const PAGE: u64 = 1000;

    fn page() -> Vec<Entry> {
        let entry = |number: u64| Entry {
            name: format!("holidays/2024/picture {number:04}.jpeg").parse().unwrap(),
            length: 3_000_000 + number,
            folder: false,
            stored: None,
            mtime_ns: Some(1_700_000_000_000_000_000 + number as i64),
            mode: Some(0o644),
            root: Some(Root(Digest::of(&number.to_be_bytes()))),
        };
        (0..PAGE).map(entry).collect()
    }

    #[divan::bench]
    fn write_list_page(bencher: Bencher) {
        let entries = page();
        let message = Response::Listing { next: None, left_out: 0, shared: false };
        bencher.counter(ItemsCount::new(PAGE)).bench(|| {
            let payload = serde_json::to_vec(black_box(&entries)).unwrap();
            let mut frame = encode(&message, payload.len()).unwrap();
            frame.extend_from_slice(&payload);
            frame
        });
    }

    #[divan::bench]
    fn read_list_page(bencher: Bencher) {
        let payload = serde_json::to_vec(&page()).unwrap();
        let mut frame =
            encode(&Response::Listing { next: None, left_out: 0, shared: false }, payload.len())
                .unwrap();
        frame.extend_from_slice(&payload);
        bencher.counter(ItemsCount::new(PAGE)).bench(|| {
            let mut rest = black_box(&frame[..]);
            read_head::<Response>(&mut rest).unwrap();
            serde_json::from_slice::<Vec<Entry>>(rest).unwrap()
        });
    }
}

mod ledger {
    use std::time::{Duration, Instant};

    use peershare::content::ChunkLayout;
    use peershare::fetch::ledger::{Grant, Ledger, NewUnit, SourceId};

    use super::*;

    const CHUNKS: u64 = 4096;
    const CHUNK_SIZE: u32 = 256 << 10;

    /// All that ledger and policy are asked in one transfer. On an invented clock every source
    /// answers one chunk a millisecond, and then asks until nothing more is useful to it.
    #[divan::bench(args = [1, 4, 64])]
    fn whole_transfer(bencher: Bencher, sources: usize) {
        let layout = ChunkLayout::new(CHUNKS * u64::from(CHUNK_SIZE), CHUNK_SIZE).unwrap();
        let units: Vec<NewUnit> = layout
            .indices()
            .map(|index| NewUnit::of(index.get(), layout.chunk_len(index)))
            .collect();
        let start = Instant::now();
        bencher.counter(ItemsCount::new(CHUNKS)).bench(|| {
            let mut ledger = Ledger::new(black_box(units.clone()));
            let ids: Vec<SourceId> = (0..sources).map(|_| ledger.join()).collect();
            let mut now = start;
            while !ledger.is_complete() {
                for id in &ids {
                    while let Grant::Unit(_) = ledger.lease(*id, now) {}
                }
                now += Duration::from_millis(1);
                for id in &ids {
                    if let Some(unit) = ledger.oldest(*id) {
                        ledger.arrived(*id, now);
                        ledger.complete(unit);
                    }
                }
            }
            ledger
        });
    }
}
