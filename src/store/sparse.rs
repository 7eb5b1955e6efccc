//! Holes: parts of a file that take no room on the disk and read as zeros.
//!
//! A disk image of many gigabytes may have a few megabytes in it. Its holes are found without
//! reading them, never sent to a peer that can tell zeros by their digest, and left as holes where
//! they arrive. So are long runs of zeros that the other side wrote out. Where a file system knows
//! no holes, everything is read and written as it is.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::calls;
use super::reception::written_chunks;
use crate::content::{ChunkSet, Manifest};

/// Zeros become a hole in pieces of so many bytes, which the blocks of common file systems divide.
pub(super) const PIECE: usize = 64 << 10;

static ZEROS: [u8; PIECE] = [0; PIECE];

/// Whether that part of a file is a hole from one end to the other.
pub(super) fn is_hole(file: &File, range: &Range<u64>) -> bool {
    match seek(file, SeekFrom::Data(range.start)) {
        Ok(data) => data >= range.end,
        // No data up to the end of the file, which may have become shorter.
        Err(Errno::NXIO) => file.metadata().is_ok_and(|metadata| metadata.len() >= range.end),
        Err(_) => false,
    }
}

/// Writes bytes to their place in a file that is as long as that already; long runs of zeros become
/// holes, whatever was there.
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let is_zeros = |piece: &[u8]| ZEROS.get(..piece.len()) == Some(piece);
    if bytes.len() <= PIECE || !bytes.chunks(PIECE).any(is_zeros) {
        return calls::write_at(file, bytes, offset);
    }
    let mut at = offset;
    for run in bytes.chunks(PIECE).collect::<Vec<_>>().chunk_by(|a, b| is_zeros(a) == is_zeros(b)) {
        let len: usize = run.iter().map(|piece| piece.len()).sum();
        let zeros = run.first().is_some_and(|piece| is_zeros(piece));
        if !zeros || calls::punch(file, at, len as u64).is_err() {
            let mut place = at;
            for piece in run {
                calls::write_at(file, piece, place)?;
                place += piece.len() as u64;
            }
        }
        at += len as u64;
    }
    Ok(())
}

/// Adds to `have` the chunks of zeros that are holes of a part file: they are there without being
/// fetched.
pub(super) fn add_zeros(have: &mut ChunkSet, file: &File, manifest: &Manifest) -> io::Result<()> {
    let zeros = manifest.zeros();
    if zeros.is_empty() {
        return Ok(());
    }
    let mut written = ChunkSet::none(manifest.layout());
    for index in written_chunks(file, manifest.layout())? {
        written.insert(index);
    }
    for index in zeros.iter().filter(|index| !written.contains(*index)) {
        have.insert(index);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn zeros_become_holes_and_read_as_zeros_whatever_was_there() {
        let file = tempfile::tempfile().unwrap();
        let old = vec![7; 4 * PIECE + 100];
        file.write_all_at(&old, 0).unwrap();
        let mut bytes = vec![0; 4 * PIECE + 100];
        bytes[PIECE] = 1;
        bytes[4 * PIECE + 99] = 2;
        write_all_at(&file, &bytes, 0).unwrap();
        let mut read = vec![9; bytes.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, bytes);
        if is_hole(&file, &(0..PIECE as u64)) {
            assert!(!is_hole(&file, &(0..PIECE as u64 + 1)));
            assert!(file.metadata().unwrap().blocks() * 512 < 3 * PIECE as u64);
        } else {
            eprintln!("the temporary folder's file system makes no holes");
        }
    }

    #[test]
    fn what_is_beyond_the_end_is_no_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1000).unwrap();
        assert!(!is_hole(&file, &(0..1001)));
        assert!(!is_hole(&file, &(2000..3000)));
    }
}
