//! Byte streams between peers: the only room that knows sockets.
//!
//! Everything above speaks to a [`Stream`], so that an encrypted stream can be put in its place
//! later and tests can use [`memory::pair`] instead of ports. What a stream must offer beyond
//! reading and writing is small: time-outs, sending a part of a file without copying it through
//! this process where the stream is plain, and a [`Closer`] that ends it from another thread.

pub mod cancel;
pub mod dial;
mod lookup;
pub mod memory;
mod pace;
pub mod shaping;
pub mod tcp;

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

pub use cancel::Cancel;
pub use dial::Tcp;
pub use pace::Pace;

use crate::topology::Peer;

/// What a peer's connections have in common.
pub type Address = IpAddr;

/// One live stream to another peer.
pub trait Stream: Read + Write + Send {
    /// The longest that one read may wait for its first byte; `None` waits for ever.
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The longest that writes may stand still, or go slower than
    /// [`LEAST_RATE`](crate::config::LEAST_RATE); `None` waits for ever.
    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Writes bytes that more will follow at once, so that they need not travel alone.
    fn write_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    /// Sends `len` bytes of an open file from `offset`, without moving the file's own position.
    /// An end of the file before that is `UnexpectedEof`; the stream is then of no more use.
    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<()> {
        copy_file(self, file, offset, len)
    }

    /// Lets no more than `bytes` lie in the system's buffers unsent, where that can be said, so
    /// that what was written is soon sent; who passes chunks on must know how far its readers are.
    fn set_unsent_limit(&mut self, _bytes: u32) -> io::Result<()> {
        Ok(())
    }

    /// A handle that ends both directions from any thread; reads and writes under way return.
    fn closer(&self) -> Closer;

    /// Where the other side is, for messages.
    fn remote(&self) -> String;

    /// The address of the other side; none within this process.
    fn address(&self) -> Option<Address> {
        None
    }

    /// Sends these words, as far as that can be done without waiting, and says that no more follow.
    fn dismiss(&mut self, words: &[u8]) -> io::Result<()> {
        self.set_write_timeout(Some(Duration::ZERO))?;
        self.write_all(words)
    }
}

/// How peers are reached.
pub trait Network: Send + Sync {
    /// Connects to a peer, within `timeout`; a cancel ends the waiting early.
    fn dial(&self, peer: &Peer, timeout: Duration, cancel: &Cancel) -> io::Result<Box<dyn Stream>>;
}

/// Ends a stream from any thread. Closing twice does no harm.
#[derive(Clone)]
pub struct Closer(Arc<dyn Fn() + Send + Sync>);

impl Closer {
    /// A closer that does `close` when asked.
    pub fn new(close: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(close))
    }

    /// Ends the stream.
    pub fn close(&self) {
        (self.0)();
    }
}

/// Whether an error says that a time-out passed; systems differ in how they say it.
pub fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// [`Stream::send_file`] for streams that cannot do better: reads and writes by turns.
fn copy_file(
    stream: &mut (impl Write + ?Sized),
    file: BorrowedFd<'_>,
    mut offset: u64,
    mut len: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; len.min(256 << 10)];
    while len > 0 {
        let wanted = buffer.len().min(len);
        let got =
            rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer[..wanted], offset))?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&buffer[..got])?;
        offset += got as u64;
        len -= got;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_wait_ends_with_the_wish() {
        let cancel = Cancel::new();
        assert!(!cancel.wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| cancel.cancel());
            assert!(cancel.wait(Duration::from_secs(60)));
        });
        assert!(cancel.wait(Duration::from_secs(60)));
    }

    fn counting() -> (Closer, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let inner = count.clone();
        (
            Closer::new(move || {
                inner.fetch_add(1, Ordering::Relaxed);
            }),
            count,
        )
    }

    #[test]
    fn what_is_registered_before_or_after_is_closed_once() {
        let cancel = Cancel::new();
        let (first, first_count) = counting();
        let (gone, gone_count) = counting();
        let _kept = cancel.closes(first);
        drop(cancel.closes(gone));
        cancel.cancel();
        cancel.cancel();
        let (late, late_count) = counting();
        let _late = cancel.closes(late);
        let counts =
            [first_count, gone_count, late_count].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 0, 1]);
    }

    #[test]
    fn a_child_follows_its_parent_and_not_the_other_way() {
        let parent = Cancel::new();
        let (child, _registration) = parent.child();
        let (other, _other) = parent.child();
        other.cancel();
        assert!(!parent.is_cancelled() && !child.is_cancelled());
        parent.cancel();
        assert!(child.is_cancelled());
    }
}
