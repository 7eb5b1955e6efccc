//! The yardstick of `benches/single.py`: one process that moves a file over loopback and does
//! nothing that a verified transfer could leave out. Each stream is a sender that gives its half of
//! the file to `sendfile`, and a receiver that reads, hashes leaf by leaf with `sha2`, and writes.
//! There is no protocol, no scheduling and no tree; nothing is compared, but every byte is hashed.
//!
//! `probe FILE OUT [STREAMS]`, two streams unless said otherwise.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::thread;

use sha2::{Digest, Sha256};

/// Bytes that are received, hashed and written together: few enough to stay in a core's cache.
const PIECE: usize = 256 << 10;

/// Bytes that are hashed as one, as in peershare.
const LEAF: usize = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (file, out, streams) = match &arguments[..] {
        [file, out] => (file, out, 2),
        [file, out, streams] => (file, out, streams.parse()?),
        _ => return Err("usage: probe FILE OUT [STREAMS]".into()),
    };
    let (file, out) = (File::open(file)?, File::create(out)?);
    let length = file.metadata()?.len();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let mut jobs = Vec::new();
        for part in parts(length, streams) {
            let outgoing = TcpStream::connect(address)?;
            let (incoming, _) = listener.accept()?;
            let range = part.clone();
            let (file, out) = (&file, &out);
            jobs.push(scope.spawn(move || send(file, outgoing, range)));
            jobs.push(scope.spawn(move || receive(incoming, out, part)));
        }
        jobs.into_iter().try_for_each(|job| job.join().map_err(|_| "a thread panicked")?.map_err(Into::into))
    })
}

/// The file in as many parts as there are streams.
fn parts(length: u64, streams: u64) -> impl Iterator<Item = Range<u64>> {
    let at = move |number: u64| length / streams * number + length % streams * number / streams;
    (0..streams).map(move |number| at(number)..at(number + 1))
}

fn send(file: &File, stream: TcpStream, range: Range<u64>) -> io::Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
        if rustix::fs::sendfile(&stream, file, Some(&mut offset), left)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn receive(mut stream: TcpStream, out: &File, range: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut offset = range.start;
    while offset < range.end {
        let length = (range.end - offset).min(PIECE as u64) as usize;
        let piece = &mut buffer[..length];
        stream.read_exact(piece)?;
        for leaf in piece.chunks(LEAF) {
            std::hint::black_box(Sha256::digest(leaf));
        }
        out.write_all_at(piece, offset)?;
        offset += length as u64;
    }
    Ok(())
}
