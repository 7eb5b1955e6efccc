//! Small files outside the served folder that a command reads or writes whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::StoreError;

/// Reads a file of at most `most` bytes.
pub fn read_small(path: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
    let cannot = || StoreError::io(format!("cannot read {}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot())?.take(most + 1).read_to_end(&mut bytes).map_err(cannot())?;
    match bytes.len() as u64 > most {
        true => Err(cannot()(std::io::Error::other(format!("it is larger than {most} bytes")))),
        false => Ok(bytes),
    }
}

/// Writes a file that is not there yet.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let cannot = || StoreError::io(format!("cannot write {}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // A part of it is of no use; that it stays as well would be the lesser fault.
        let _ = std::fs::remove_file(path);
        cannot()(error)
    })
}

/// Whether its owner may execute a file.
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0)
}
