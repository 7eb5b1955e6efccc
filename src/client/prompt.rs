//! Reads commands, one a line, and has them executed: from a pipe, a script or a terminal.

use std::io::{BufRead, ErrorKind};
use std::sync::Arc;

use super::grammar::{Command, Manner, Typed};
use super::outcome::ExitStatus;
use super::usage::{self, UsageError};
use super::words;
use super::{Audience, Execute};
use crate::topology::{Topology, TopologyFile};

/// What commands are performed with: the settings, who executes, and who hears of mistakes.
pub struct Shell<'a, E> {
    settings: &'a mut TopologyFile,
    execute: &'a mut E,
    audience: Arc<dyn Audience>,
}

/// What follows a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The line was done with, so; go on with the next one.
    Done(ExitStatus),
    /// The user wants to leave.
    Leave,
}

/// Performs the commands of `input` to its end. A line that fails does not keep the later ones from
/// being performed, an interrupted one does; the first failure is what the whole run returns.
pub fn run<E: Execute>(shell: &mut Shell<'_, E>, mut input: impl BufRead) -> ExitStatus {
    let mut outcome = ExitStatus::Success;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                shell.report(&format!("cannot read commands: {error}"));
                return outcome.then(ExitStatus::Failed);
            }
        }
        match shell.perform_bytes(&line, number) {
            Step::Done(status) => outcome = outcome.then(status),
            Step::Leave => break,
        }
        if outcome == ExitStatus::Interrupted {
            break;
        }
    }
    let now = outcome == ExitStatus::Interrupted;
    let jobs = shell.end(now);
    // The first failure counts, also before a job that was ended.
    if outcome == ExitStatus::Success { jobs } else { outcome }
}

impl<'a, E: Execute> Shell<'a, E> {
    /// What `execute` says of its commands goes its own way; all else goes to `audience`.
    pub fn new(
        settings: &'a mut TopologyFile,
        execute: &'a mut E,
        audience: Arc<dyn Audience>,
    ) -> Self {
        Self { settings, execute, audience }
    }

    /// The peers as they are known now.
    pub fn topology(&self) -> &Topology {
        self.settings.current()
    }

    /// The peers that can be named, those that were connected to included.
    pub fn known(&self) -> Topology {
        self.execute.known(self.settings.current())
    }

    /// Names that peers offered in their last answers.
    pub fn offered(&self) -> Vec<String> {
        self.execute.offered()
    }

    /// Performs one typed line; `place` stands before its errors.
    pub fn perform_line(&mut self, line: &str, place: &str) -> Step {
        if words::is_idle(line) {
            return Step::Done(ExitStatus::Success);
        }
        let beside =
            line.trim_end().strip_suffix(BESIDE).filter(|line| line.ends_with(char::is_whitespace));
        if let Some(line) = beside {
            return self.begin_line(line.trim(), place);
        }
        match command_of(line) {
            Ok((Command::Quit, _)) => Step::Leave,
            Ok((command, manner)) => {
                self.refresh();
                Step::Done(self.perform(&command, &manner))
            }
            Err(UsageError::Asked(help)) => Step::Done(self.audience.explain(&help)),
            Err(error) => Step::Done(self.refuse(&format!("{place}{error}"))),
        }
    }

    /// Has a line performed beside what is typed next.
    fn begin_line(&mut self, line: &str, place: &str) -> Step {
        match command_of(line) {
            Ok((command, _)) if !command.may_run_beside() => {
                let why = format!("{place}that is done at once; leave out the {BESIDE}");
                Step::Done(self.refuse(&why))
            }
            Ok((command, manner)) => {
                self.refresh();
                Step::Done(
                    self.execute.begin_beside((&command, &manner, line), self.settings.current()),
                )
            }
            Err(UsageError::Asked(help)) => Step::Done(self.audience.explain(&help)),
            Err(error) => Step::Done(self.refuse(&format!("{place}{error}"))),
        }
    }

    /// Says beside the prompt when a peer comes or goes.
    pub fn watch(&mut self) {
        self.execute.watch(self.settings.current());
    }

    /// Commands that run beside the prompt.
    pub fn running(&mut self) -> usize {
        self.execute.running()
    }

    /// Waits for them, or ends them `now`.
    pub fn end(&mut self, now: bool) -> ExitStatus {
        self.execute.end(now)
    }

    /// From now on what they say goes there.
    pub fn print_to(&mut self, print: impl FnMut(String) + Send + 'static) {
        self.execute.print_to(Box::new(print));
    }

    /// Performs one command with the topology in force.
    pub fn perform(&mut self, command: &Command, manner: &Manner) -> ExitStatus {
        match command {
            Command::Quit => ExitStatus::Success,
            Command::Help { topic } => match usage::about(topic.as_deref()) {
                Ok(help) => self.audience.explain(&help),
                Err(error) => self.refuse(&error.to_string()),
            },
            _ => self.execute.execute(command, manner, self.settings.current()),
        }
    }

    /// Says something to whoever types.
    pub fn say(&self, text: &str) {
        self.audience.note(text);
    }

    /// Says what went wrong.
    pub fn report(&self, message: &str) {
        self.audience.error(message);
    }

    /// Says why a line is not performed.
    fn refuse(&self, why: &str) -> ExitStatus {
        self.audience.refuse("", why)
    }

    fn perform_bytes(&mut self, line: &[u8], number: usize) -> Step {
        let line =
            if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        match std::str::from_utf8(line) {
            Ok(line) => self.perform_line(line, &format!("line {number}: ")),
            Err(_) => {
                let why = format!("line {number}: not UTF-8; the line was skipped");
                Step::Done(self.refuse(&why))
            }
        }
    }

    /// Takes over an edit of the settings.
    fn refresh(&mut self) {
        if let Err(error) = self.settings.reload() {
            self.report(&format!("{error}; the peers known so far stay in force"));
        }
    }
}

/// What a line ends with that is to be done beside the next ones.
const BESIDE: char = '&';

/// The command of a line.
fn command_of(line: &str) -> Result<(Command, Manner), UsageError> {
    let typed = Typed::parse(&words::split(line)?)?;
    if !typed.is_of_a_line() {
        return Err(UsageError::NotHere);
    }
    let command = typed.command.ok_or_else(UsageError::no_command)?;
    Ok((command, typed.manner))
}

/// What some editors write at the start of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Write};
    use std::sync::Mutex;

    use super::super::Terminal;
    use super::*;

    /// Remembers what it was asked, and how many peers there were; answers by the file's name.
    #[derive(Default)]
    struct Fake(Vec<(Command, usize)>);

    impl Execute for Fake {
        fn execute(&mut self, command: &Command, _: &Manner, topology: &Topology) -> ExitStatus {
            self.0.push((command.clone(), topology.peers().len()));
            match command {
                Command::Download(typed) => match typed.words[0].as_str() {
                    "missing" => ExitStatus::NoSuchFile,
                    "bad" => ExitStatus::Integrity,
                    "ctrl-c" => ExitStatus::Interrupted,
                    _ => ExitStatus::Success,
                },
                _ => ExitStatus::Success,
            }
        }
    }

    /// What was written.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Heard {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Ran {
        status: ExitStatus,
        asked: Vec<(Command, usize)>,
        out: String,
        err: String,
    }

    fn type_in(input: &[u8]) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer_settings.txt");
        fs::write(&path, "a 127.0.0.1 1\n").unwrap();
        let mut settings = TopologyFile::read(&path).unwrap();
        let (mut fake, out, err) = (Fake::default(), Heard::default(), Heard::default());
        let audience = Arc::new(Terminal::told_to(out.clone(), err.clone()));
        let status = run(&mut Shell::new(&mut settings, &mut fake, audience), input);
        Ran { status, asked: fake.0, out: out.text(), err: err.text() }
    }

    #[test]
    fn every_line_is_performed_to_the_end_of_the_pipe() {
        let ran = type_in(b"\xef\xbb\xbf#FILELIST\r\n# a comment\n\n  download x a");
        assert_eq!(ran.asked.len(), 2);
        assert_eq!((ran.status, ran.err.as_str()), (ExitStatus::Success, ""));
    }

    #[test]
    fn a_failure_is_remembered_while_later_lines_go_on() {
        let ran = type_in(b"download x\ndownload missing\ndownload bad\nfilelist\n");
        assert_eq!((ran.status, ran.asked.len()), (ExitStatus::NoSuchFile, 4));
    }

    #[test]
    fn quit_leaves_and_an_interruption_ends_the_run() {
        let ran = type_in(b"download missing\n#QUIT\nfilelist\n");
        assert_eq!((ran.status, ran.asked.len()), (ExitStatus::NoSuchFile, 1));
        let ran = type_in(b"download missing\ndownload ctrl-c\nfilelist\n");
        assert_eq!((ran.status, ran.asked.len()), (ExitStatus::Interrupted, 2));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_cost_nothing_else() {
        let ran = type_in(b"filelist\nupload 'x\nuplaod x\n\xff\xfe\nfilelist\n");
        let expected = "\
error: line 2: the ' in column 8 is not closed; expected another ' before the end of the line
error: line 3: unknown command \"uplaod\"; did you mean #UPLOAD?
error: line 4: not UTF-8; the line was skipped
";
        assert_eq!(ran.err, expected);
        assert_eq!((ran.status, ran.asked.len()), (ExitStatus::Usage, 2));
    }

    #[test]
    fn help_goes_to_the_output_without_asking_anybody() {
        let ran = type_in(b"help\nhelp upload\n");
        assert_eq!(ran.out, usage::about(None).unwrap() + &usage::about(Some("upload")).unwrap());
        assert!(ran.asked.is_empty());
    }

    #[test]
    fn an_edit_of_the_settings_counts_from_the_next_command_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer_settings.txt");
        fs::write(&path, "a 127.0.0.1 1\n").unwrap();
        let mut settings = TopologyFile::read(&path).unwrap();
        let (mut fake, err) = (Fake::default(), Heard::default());
        let audience = Arc::new(Terminal::told_to(io::sink(), err.clone()));
        let mut shell = Shell::new(&mut settings, &mut fake, audience);
        fs::write(&path, "a 127.0.0.1 1\nb 127.0.0.1 2\n").unwrap();
        shell.perform_line("filelist", "");
        fs::write(&path, "nonsense\n").unwrap();
        shell.perform_line("filelist", "");
        shell.perform_line("filelist", "");
        assert_eq!(fake.0.iter().map(|(_, peers)| *peers).collect::<Vec<_>>(), [2, 2, 2]);
        let err = err.text();
        assert_eq!(err.matches("line 1: found \"nonsense\"").count(), 1, "{err}");
        assert!(err.trim_end().ends_with("the peers known so far stay in force"), "{err}");
    }
}
