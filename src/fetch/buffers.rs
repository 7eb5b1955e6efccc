//! The buffers of one transfer: a fixed set, each made when first needed.
//!
//! A kernel copy between a page of a socket or file and memory that begins 1 to 63 bytes further
//! into its page costs three to four times as much on the processors that this was measured on
//! (AMD Zen 3 and 4), and 16 bytes into a page is where `malloc` puts whatever is large. So the
//! bytes of a buffer begin [`INTO_PAGE`] bytes into a page.

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Bytes of a page.
const PAGE: usize = 4096;

/// How far into a page the bytes of a buffer begin; 128 was best.
const INTO_PAGE: usize = 128;

/// Room for the bytes of one unit.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
}

impl Buffer {
    /// The first `len` bytes; whatever they were before.
    pub(super) fn space(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.begin + len {
            self.bytes = vec![0; len + PAGE + INTO_PAGE];
            self.begin = self.bytes.as_ptr().align_offset(PAGE).min(PAGE) + INTO_PAGE;
        }
        self.bytes.get_mut(self.begin..self.begin + len).unwrap_or_default()
    }

    /// The first `len` bytes, as they were written last.
    pub(super) fn bytes(&self, len: usize) -> &[u8] {
        self.bytes.get(self.begin..self.begin + len).unwrap_or_default()
    }
}

/// A number of buffers that grows only with the sources.
pub(super) struct Buffers {
    give: Sender<Buffer>,
    take: Receiver<Buffer>,
}

impl Buffers {
    pub(super) fn new(count: usize) -> Self {
        let (give, take) = unbounded();
        let buffers = Self { give, take };
        (0..count).for_each(|_| buffers.add_one());
        buffers
    }

    /// One more source may hold one.
    pub(super) fn add_one(&self) {
        self.give(Buffer::default());
    }

    /// Waits until one is free.
    pub(super) fn take(&self) -> Buffer {
        self.take.recv().unwrap_or_default()
    }

    pub(super) fn give(&self, buffer: Buffer) {
        // Both ends live as long as this.
        let _ = self.give.send(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_and_lie_well_in_their_page() {
        let mut buffer = Buffer::default();
        for len in [1, 5000, 300_000, 2] {
            buffer.space(len).fill(len as u8);
            assert_eq!(buffer.bytes(len), vec![len as u8; len]);
            assert_eq!(buffer.bytes(len).as_ptr() as usize % PAGE, INTO_PAGE);
        }
    }
}
