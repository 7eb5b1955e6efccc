//! The system calls that open files and change what is on the disk, all in one place.
//!
//! Two things hold because of that. Names are opened here without following a link, relative to a
//! folder that is open already, so no other code of this room needs to think of it. And tests can
//! have the n-th call on a folder fail as a full, broken or read-only disk would
//! (`tests/failing.rs`), which is how it is known what becomes of a transfer then.

use std::ffi::OsStr;
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, RenameFlags, fallocate, linkat, mkdirat, openat,
    renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

/// Permission bits of new folders and files, of which the umask takes away.
const FOLDER_MODE: u32 = 0o777;

/// What a call does, as far as disks differ in what they refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// Opens what is there, or opens it once more.
    Open,
    /// Makes a file, a folder or a name, or gives one away.
    Make,
    /// Takes a name away.
    Remove,
    /// Writes, or makes a file longer or shorter.
    Write,
    /// Waits until it is on the disk.
    Sync,
}

/// Opens one part of a path in a folder; a link is not followed.
pub(super) fn open(
    folder: &File,
    part: impl AsRef<OsStr>,
    flags: OFlags,
    mode: u32,
) -> io::Result<File> {
    let makes = flags.contains(OFlags::CREATE);
    permit(if makes { Deed::Make } else { Deed::Open }, folder)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, part.as_ref(), flags, Mode::from_raw_mode(mode))?))
}

/// Whether a path may go from one mount to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mounts {
    Stay,
    Cross,
}

/// Opens what a path in a folder leads to, if no link is on the way and it stays beneath.
#[cfg(target_os = "linux")]
pub(super) fn open_beneath(
    folder: &File,
    path: &Path,
    flags: OFlags,
    mounts: Mounts,
) -> Result<File, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    permit(Deed::Open, folder)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if mounts == Mounts::Stay {
        how |= ResolveFlags::NO_XDEV;
    }
    openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), how).map(File::from)
}

/// Systems without that call have every path walked part by part.
#[cfg(not(target_os = "linux"))]
pub(super) fn open_beneath(_: &File, _: &Path, _: OFlags, _: Mounts) -> Result<File, Errno> {
    Err(Errno::NOSYS)
}

/// The same open file or folder once more.
pub(super) fn again(file: &File) -> io::Result<File> {
    permit(Deed::Open, file)?;
    file.try_clone()
}

/// Makes a folder.
pub(super) fn make_folder(folder: &File, part: impl AsRef<OsStr>) -> io::Result<()> {
    permit(Deed::Make, folder)?;
    Ok(mkdirat(folder, part.as_ref(), Mode::from_raw_mode(FOLDER_MODE))?)
}

/// A file by its folder and its name there.
pub(super) type At<'a> = (&'a File, &'a str);

/// Renames a file, over another if need be.
pub(super) fn rename(from: At<'_>, to: At<'_>) -> io::Result<()> {
    permit(Deed::Make, to.0)?;
    Ok(renameat(from.0, from.1, to.0, to.1)?)
}

/// Renames a file to a name that nothing has.
pub(super) fn rename_to_free(from: At<'_>, to: At<'_>) -> io::Result<()> {
    permit(Deed::Make, to.0)?;
    Ok(renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE)?)
}

/// Gives a file one more name, which nothing has.
pub(super) fn link(from: At<'_>, to: At<'_>) -> io::Result<()> {
    permit(Deed::Make, to.0)?;
    Ok(linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?)
}

/// Removes a file.
pub(super) fn remove(folder: &File, part: impl AsRef<OsStr>) -> io::Result<()> {
    permit(Deed::Remove, folder)?;
    Ok(unlinkat(folder, part.as_ref(), AtFlags::empty())?)
}

/// Removes an empty folder.
pub(super) fn remove_folder(folder: &File, part: impl AsRef<OsStr>) -> io::Result<()> {
    permit(Deed::Remove, folder)?;
    Ok(unlinkat(folder, part.as_ref(), AtFlags::REMOVEDIR)?)
}

/// Writes all bytes to their place.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    permit(Deed::Write, file)?;
    file.write_all_at(bytes, offset)
}

/// Writes all bytes where the file stands, or at its end where it was opened so.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    permit(Deed::Write, file)?;
    file.write_all(bytes)
}

/// The same for who writes piece by piece.
pub(super) struct Writer<'a>(pub(super) &'a File);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        permit(Deed::Write, self.0)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a file as long as that.
pub(super) fn set_len(file: &File, length: u64) -> io::Result<()> {
    permit(Deed::Write, file)?;
    file.set_len(length)
}

/// Makes a part of a file a hole.
#[cfg(target_os = "linux")]
pub(super) fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    permit(Deed::Write, file)?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::io::retry_on_intr(|| fallocate(file, flags, offset, len))?)
}

/// Not every system can.
#[cfg(not(target_os = "linux"))]
pub(super) fn punch(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(Errno::NOTSUP.into())
}

/// Brings the bytes of a file to the disk.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    permit(Deed::Sync, file)?;
    file.sync_data()
}

/// Brings a file with its attributes, or the names in a folder, to the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    permit(Deed::Sync, file)?;
    file.sync_all()
}

/// Brings to the disk whatever was written to the file system of that folder.
pub(super) fn sync_all(folder: &File) -> io::Result<()> {
    permit(Deed::Sync, folder)?;
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::syncfs(folder)?);
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        Ok(())
    }
}

/// Gives a file or a folder a modification time.
pub(super) fn set_times(file: &File, times: FileTimes) -> io::Result<()> {
    permit(Deed::Write, file)?;
    file.set_times(times)
}

/// Gives a file or a folder permission bits.
pub(super) fn set_permissions(file: &File, permissions: Permissions) -> io::Result<()> {
    permit(Deed::Write, file)?;
    file.set_permissions(permissions)
}

/// Nothing fails but what the system has fail.
#[cfg(not(test))]
#[inline(always)]
fn permit(_: Deed, _: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use super::tests::failing::permit;
