//! Streams within one process, for tests that need no port.
//!
//! A pair behaves as a TCP connection does: bounded buffers, time-outs, an end of stream after a
//! close, a broken pipe for who writes to a closed one.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{Cancel, Closer, Network, Pace, Stream};
use crate::config;
use crate::locks::{lock, wait_timeout};
use crate::topology::{Peer, PeerId};

/// Bytes that one direction holds before its writer must wait.
const CAPACITY: usize = 64 << 10;

/// Two ends of one connection.
pub fn pair() -> (MemoryStream, MemoryStream) {
    let (there, back) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
    let end = |input: &Arc<Pipe>, output: &Arc<Pipe>| MemoryStream {
        input: input.clone(),
        output: output.clone(),
        read_timeout: None,
        write_timeout: None,
        pace: None,
    };
    (end(&back, &there), end(&there, &back))
}

/// One end of a connection within this process.
pub struct MemoryStream {
    input: Arc<Pipe>,
    output: Arc<Pipe>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    pace: Option<Pace>,
}

/// A network within this process: peers that are attached can be dialled, all others refuse.
#[derive(Default)]
pub struct MemoryNetwork {
    peers: Mutex<HashMap<PeerId, Accept>>,
}

/// Takes the far end of a connection that somebody dialled.
type Accept = Arc<dyn Fn(MemoryStream) + Send + Sync>;

impl MemoryNetwork {
    /// Has `accept` given every connection to `peer`; it returns at once.
    pub fn attach(&self, peer: PeerId, accept: impl Fn(MemoryStream) + Send + Sync + 'static) {
        lock(&self.peers).insert(peer, Arc::new(accept));
    }

    /// Further connections to `peer` are refused.
    pub fn detach(&self, peer: &PeerId) {
        lock(&self.peers).remove(peer);
    }
}

impl Network for MemoryNetwork {
    fn dial(
        &self,
        peer: &Peer,
        _timeout: Duration,
        _cancel: &Cancel,
    ) -> io::Result<Box<dyn Stream>> {
        let accept = lock(&self.peers).get(&peer.id).cloned();
        let accept = accept.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far) = pair();
        accept(far);
        Ok(Box::new(near))
    }
}

#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    closed: bool,
}

impl Pipe {
    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Waits until `ready`, a close, or the time-out.
    fn wait(
        &self,
        timeout: Option<Duration>,
        ready: impl Fn(&PipeState) -> bool,
    ) -> io::Result<MutexGuard<'_, PipeState>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = lock(&self.state);
        while !ready(&state) && !state.closed {
            let left = deadline.map_or(Duration::from_secs(3600), |at| {
                at.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            state = wait_timeout(&self.changed, state, left);
        }
        Ok(state)
    }
}

impl Read for MemoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.input.wait(self.read_timeout, |state| !state.bytes.is_empty())?;
        let got = state.bytes.read(buffer)?;
        self.input.changed.notify_all();
        Ok(got)
    }
}

impl Write for MemoryStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = Instant::now();
        let mut state =
            self.output.wait(self.write_timeout, |state| state.bytes.len() < CAPACITY)?;
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(CAPACITY - state.bytes.len());
        state.bytes.extend(&bytes[..taken]);
        self.output.changed.notify_all();
        drop(state);
        if let (Some(pace), Some(longest)) = (&mut self.pace, self.write_timeout) {
            pace.moved(taken, before.elapsed(), longest);
            pace.check()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for MemoryStream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout = timeout;
        Ok(())
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.write_timeout = timeout;
        self.pace = timeout.map(|timeout| Pace::new(config::LEAST_RATE, timeout));
        Ok(())
    }

    fn closer(&self) -> Closer {
        let (input, output) = (self.input.clone(), self.output.clone());
        Closer::new(move || {
            input.close();
            output.close();
        })
    }

    fn remote(&self) -> String {
        "memory".to_owned()
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.closer().close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cross_and_a_close_ends_the_stream_after_them() {
        let (mut a, mut b) = pair();
        a.write_all(b"hello").unwrap();
        drop(a);
        let mut text = String::new();
        b.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_eq!(b.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_reader_and_a_writer_time_out() {
        let (mut a, mut b) = pair();
        b.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        a.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(super::super::timed_out(&b.read(&mut [0]).unwrap_err()));
        assert!(super::super::timed_out(&a.write_all(&[0; CAPACITY + 1]).unwrap_err()));
    }

    #[test]
    fn a_closer_wakes_a_blocked_reader() {
        let (_a, mut b) = pair();
        let closer = b.closer();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || b.read(&mut [0]).unwrap());
            closer.close();
            assert_eq!(reader.join().unwrap(), 0);
        });
    }
}
