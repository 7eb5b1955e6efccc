//! Results on stdout. Somebody who closes the pipe has seen enough: that is no error.

use std::io::{self, BufWriter, ErrorKind, Write};

use super::outcome::ExitStatus;

/// Writes to stdout through a buffer. A closed pipe counts as done; any other failure is reported.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ExitStatus {
    print_to(&mut io::stdout().lock(), &mut io::stderr(), write)
}

/// The same for any output; failures are reported to `err`.
pub fn print_to(
    out: &mut (impl Write + ?Sized),
    err: &mut (impl Write + ?Sized),
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> ExitStatus {
    let mut buffered = BufWriter::with_capacity(BUFFER, out);
    let outcome = write(&mut buffered).and_then(|()| buffered.flush());
    // What could not be written must not be tried again on drop.
    let _ = buffered.into_parts();
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            report(err, &format!("cannot write the result: {error}"));
            ExitStatus::Failed
        }
        _ => ExitStatus::Success,
    }
}

/// Writes one error line.
pub fn report(err: &mut (impl Write + ?Sized), message: &str) {
    // Nobody is left to be told when stderr is gone.
    let _ = writeln!(err, "error: {message}");
}

/// Large enough that a listing of many files takes few system calls.
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every write in the same way.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error_but_a_full_disk_is() {
        let mut err = Vec::new();
        let mut status = |kind| print_to(&mut Broken(kind), &mut err, |out| writeln!(out, "a"));
        assert_eq!(status(ErrorKind::BrokenPipe), ExitStatus::Success);
        assert_eq!(status(ErrorKind::StorageFull), ExitStatus::Failed);
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "error: cannot write the result: no storage space\n"
        );
    }
}
