//! TCP: links, listening with a way to stop, and sending files with `sendfile`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{Closer, Pace, Stream, shaping};
use crate::config;
use crate::locks::lock;

/// Connections that may wait to be accepted; a peer of the classic dialect opens one a chunk, all
/// at once.
const BACKLOG: i32 = 1024;

/// Keep-alive probes begin after this much silence, so that a peer whose machine vanished without
/// a word does not hold a session for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A TCP connection to another peer.
pub struct TcpLink {
    stream: Arc<TcpStream>,
    remote: SocketAddr,
    /// How quickly the other side has to read.
    pace: Option<Pace>,
}

/// Waits until one of `files` is ready or the time has passed; says which ones are.
fn ready<const N: usize>(
    files: &[BorrowedFd<'_>; N],
    flags: PollFlags,
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let mut polled = files.map(|file| PollFd::from_borrowed_fd(file, flags));
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(polled.map(|file| !file.revents().is_empty())),
        Err(error) => Err(error.into()),
    }
}

impl TcpLink {
    pub(super) fn new(stream: TcpStream, remote: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        Ok(Self { stream: Arc::new(stream), remote, pace: None })
    }

    /// Sends, again where nothing went for a moment only; gives the bytes that went.
    fn steadily(
        &mut self,
        mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let before = Instant::now();
            let sent = retried(|| send(&self.stream));
            let Some(pace) = &mut self.pace else { return sent };
            let bytes = match &sent {
                Ok(bytes) => *bytes,
                Err(error) if super::timed_out(error) => 0,
                Err(_) => return sent,
            };
            pace.moved(bytes, before.elapsed(), config::WRITE_LOOK);
            pace.check()?;
            if sent.is_ok() {
                return sent;
            }
        }
    }

    fn send_more(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        let flags = SendFlags::MORE | NO_SIGNAL;
        #[cfg(not(target_os = "linux"))]
        let flags = SendFlags::empty();
        Ok(rustix::net::send(stream, bytes, flags)?)
    }
}

impl Read for TcpLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(shaping::piece_down());
        let (piece, _) = buffer.split_at_mut(most);
        let got = retried(|| (&*self.stream).read(piece))?;
        shaping::received(got);
        Ok(got)
    }
}

impl Write for TcpLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (piece, _) = bytes.split_at(bytes.len().min(shaping::piece_up()));
        let sent = self.steadily(|mut stream| stream.write(piece))?;
        shaping::sent(sent);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for TcpLink {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout.map(at_least_a_moment))
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.pace = timeout.map(|timeout| Pace::new(config::LEAST_RATE, timeout));
        let look = timeout.map(|timeout| at_least_a_moment(timeout.min(config::WRITE_LOOK)));
        self.stream.set_write_timeout(look)
    }

    fn write_more(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (piece, _) = bytes.split_at(bytes.len().min(shaping::piece_up()));
            let sent = self.steadily(|stream| Self::send_more(stream, piece))?;
            shaping::sent(sent);
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        mut offset: u64,
        mut len: usize,
    ) -> io::Result<()> {
        while len > 0 {
            let piece = len.min(shaping::piece_up());
            let sent = self.steadily(|stream| {
                Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), piece)?)
            });
            match sent {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => {
                    len -= sent.min(len);
                    shaping::sent(sent);
                }
                // Nothing has been sent by this call then.
                Err(error) if cannot_send_files(&error) => {
                    return super::copy_file(self, file, offset, len);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn set_unsent_limit(&mut self, bytes: u32) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes)
    }

    fn closer(&self) -> Closer {
        let stream = Arc::downgrade(&self.stream);
        Closer::new(move || {
            if let Some(stream) = stream.upgrade() {
                // A stream that is not connected any more needs no closing.
                let _ = stream.shutdown(Shutdown::Both);
            }
        })
    }

    fn remote(&self) -> String {
        self.remote.to_string()
    }

    fn address(&self) -> Option<IpAddr> {
        Some(self.remote.ip())
    }

    fn dismiss(&mut self, words: &[u8]) -> io::Result<()> {
        // In the empty buffers of a new connection there is room for a few words.
        rustix::net::send(&self.stream, words, SendFlags::DONTWAIT | NO_SIGNAL)?;
        self.stream.shutdown(Shutdown::Write)?;
        // What came and was never read would make the system take the words back.
        let mut said = [0; 4 << 10];
        rustix::net::recv(&self.stream, &mut said, RecvFlags::DONTWAIT)?;
        Ok(())
    }
}

/// A write to somebody who has left is an error, and no signal.
#[cfg(target_os = "linux")]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// Does it again when a signal came meanwhile: a socket with a time-out reports even that this
/// process was stopped and continued (signal(7)), and nothing that waits here has to hear of
/// signals.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The system takes a zero time-out for "for ever".
fn at_least_a_moment(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

/// A bound port.
pub struct Listener {
    socket: TcpListener,
    /// A descriptor to give up when there is no other, so that a newcomer can be told so.
    reserve: Mutex<Option<OwnedFd>>,
    wake: UnixStream,
    waker: Arc<UnixStream>,
}

/// Whether it is the file system that cannot; some do not.
#[cfg(target_os = "linux")]
fn cannot_send_files(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS))
}

/// Whether this process, or the system, has as many files open as it may.
pub(super) fn is_short_of_files(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// What a wait for the next connection ended with.
pub enum Accepted {
    /// A peer connected.
    Link(TcpLink),
    /// A peer connected, and this process may open nothing more: all that can be done is to tell it
    /// so.
    Unserved(TcpLink),
    /// The time passed.
    Nobody,
    /// [`Listener::closer`] was used.
    Closed,
}

impl Listener {
    /// Binds the first of `addresses` that can be bound. Port 0 takes any free port.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match Self::bind_one(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_one(address: &SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&(*address).into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let (wake, waker) = UnixStream::pair()?;
        let reserve = Mutex::new(Some(wake.as_fd().try_clone_to_owned()?));
        Ok(Self { socket: socket.into(), reserve, wake, waker: Arc::new(waker) })
    }

    /// The address and port that were bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for the next connection, at most `timeout`. An error concerns one connection or a
    /// passing lack of resources; the listener stays usable.
    pub fn accept(&self, timeout: Duration) -> io::Result<Accepted> {
        let [incoming, closed] =
            ready(&[self.socket.as_fd(), self.wake.as_fd()], PollFlags::IN, timeout)?;
        if closed {
            return Ok(Accepted::Closed);
        }
        if !incoming {
            return Ok(Accepted::Nobody);
        }
        match self.link() {
            Ok(link) if self.has_reserve() => Ok(Accepted::Link(link)),
            Ok(link) => Ok(Accepted::Unserved(link)),
            Err(error) if super::timed_out(&error) => Ok(Accepted::Nobody),
            Err(error) if is_short_of_files(&error) => {
                drop(self.reserve().take());
                Ok(Accepted::Unserved(self.link()?))
            }
            Err(error) => Err(error),
        }
    }

    fn link(&self) -> io::Result<TcpLink> {
        let (stream, remote) = self.socket.accept()?;
        stream.set_nonblocking(false)?;
        TcpLink::new(stream, remote)
    }

    /// Whether the descriptor that was given up is there again, where it was.
    fn has_reserve(&self) -> bool {
        let mut reserve = self.reserve();
        if reserve.is_none() {
            *reserve = self.wake.as_fd().try_clone_to_owned().ok();
        }
        reserve.is_some()
    }

    fn reserve(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        lock(&self.reserve)
    }

    /// Ends the waiting from any thread.
    pub fn closer(&self) -> Closer {
        let waker = self.waker.clone();
        Closer::new(move || {
            // The other end lives as long as the listener; nobody waits any more when it is gone.
            let _ = waker.shutdown(Shutdown::Both);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::super::{Cancel, dial};
    use super::*;

    fn linked() -> (TcpLink, TcpLink) {
        let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listener.address().unwrap();
        let ours = dial::dial(&[address], Duration::from_secs(5), &Cancel::new()).unwrap();
        match listener.accept(Duration::from_secs(5)).unwrap() {
            Accepted::Link(theirs) => (ours, theirs),
            _ => panic!("nobody came"),
        }
    }

    #[test]
    fn a_part_of_a_file_crosses_after_its_head() {
        let (mut ours, mut theirs) = linked();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file.rewind().unwrap();
        ours.write_more(b"head:").unwrap();
        ours.send_file(file.as_fd(), 3, 4).unwrap();
        assert!(ours.send_file(file.as_fd(), 8, 4).is_err(), "the file is shorter than that");
        drop(ours);
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "head:345689");
    }

    #[test]
    fn a_closer_wakes_a_reader_and_a_listener() {
        let (mut ours, _theirs) = linked();
        ours.closer().close();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        listener.closer().close();
        assert!(matches!(listener.accept(Duration::from_secs(60)), Ok(Accepted::Closed)));
    }
}
