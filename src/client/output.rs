//! Results on stdout. Somebody who closes the pipe has seen enough: that is no error.

use std::io::{self, ErrorKind, Write};

use super::outcome::ExitStatus;

/// Writes to stdout. A closed pipe counts as done; any other failure is reported on stderr.
pub fn print(text: &[u8]) -> ExitStatus {
    print_to(&mut io::stdout().lock(), &mut io::stderr(), text)
}

/// The same for any output; failures are reported to `err`.
pub fn print_to(
    out: &mut (impl Write + ?Sized),
    err: &mut (impl Write + ?Sized),
    text: &[u8],
) -> ExitStatus {
    match write(out, text) {
        Ok(_) => ExitStatus::Success,
        Err(error) => {
            report(err, &error);
            ExitStatus::Failed
        }
    }
}

/// Writes a part of a result; says whether anybody still reads, or in words why it cannot be
/// written.
pub fn write(out: &mut (impl Write + ?Sized), part: &[u8]) -> Result<bool, String> {
    match out.write_all(part).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot write the result: {error}")),
    }
}

/// Writes one error line.
pub fn report(err: &mut (impl Write + ?Sized), message: &str) {
    // Nobody is left to be told when stderr is gone.
    let _ = writeln!(err, "error: {message}");
}

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
        let mut status = |kind| print_to(&mut Broken(kind), &mut err, b"a\n");
        assert_eq!(status(ErrorKind::BrokenPipe), ExitStatus::Success);
        assert_eq!(status(ErrorKind::StorageFull), ExitStatus::Failed);
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "error: cannot write the result: no storage space\n"
        );
    }
}
