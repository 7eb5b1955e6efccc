//! The prompt on a terminal: line editing, and a history that is kept between runs.

use std::io::ErrorKind;

use crossbeam_channel::bounded;
use rustyline::error::ReadlineError;
use rustyline::history::{FileHistory, History};
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};

use super::Execute;
use super::completion::Completion;
use super::echo::NoEcho;
use super::outcome::ExitStatus;
use super::prompt::{Shell, Step};
use crate::config;
use crate::store;
use crate::threads::{self, Awaited};

const PROMPT: &str = "peershare> ";

/// Performs what is typed until the user leaves, which is no failure, whatever failed before.
pub fn converse<E: Execute>(shell: &mut Shell<'_, E>) -> ExitStatus {
    match converse_through(shell) {
        Ok(()) => ExitStatus::Success,
        Err(error) => {
            shell.report(&format!("cannot read from the terminal: {error}"));
            ExitStatus::Failed
        }
    }
}

fn converse_through<E: Execute>(shell: &mut Shell<'_, E>) -> Result<(), ReadlineError> {
    let config = Config::builder()
        .auto_add_history(true)
        .max_history_size(config::HISTORY_LINES)?
        .completion_type(CompletionType::List)
        .build();
    let history = FileHistory::with_config(&config);
    let mut editor: Editor<Completion, FileHistory> = Editor::with_history(config, history)?;
    let kept = store::state_file("history");
    if let Some(kept) = &kept {
        // The first time there is none.
        let _ = editor.load_history(kept);
    }
    let printed = match editor.create_external_printer() {
        Ok(printer) => print_beside(shell, printer),
        Err(error) => {
            log::warn!("what runs beside the prompt may tear the line that is typed: {error}");
            None
        }
    };
    let ended = read_lines(shell, &mut editor);
    shell.end(true);
    if let Some(printed) = printed {
        // What ended jobs said last; a terminal that takes nothing is not waited for.
        printed.join_within(config::LAST_LINES);
    }
    if let Some(kept) = &kept
        && !editor.history().is_empty()
        && let Err(error) = editor.append_history(kept)
    {
        log::warn!("cannot keep the history in {}: {error}", kept.display());
    }
    ended
}

/// Has what runs beside the prompt print above it. The editor prints only while somebody types, and
/// nobody waits for that: what comes meanwhile is kept, up to a limit. The thread that is given ends
/// when all was printed and nobody has anything to print any more.
fn print_beside<E: Execute>(
    shell: &mut Shell<'_, E>,
    mut printer: impl ExternalPrinter + Send + 'static,
) -> Option<Awaited> {
    let (give, lines) = bounded::<String>(config::BESIDE_LINES);
    let print = move || {
        lines.into_iter().take_while(|lines| printer.print(lines.clone()).is_ok()).for_each(drop);
    };
    match threads::start_awaited("printer", print) {
        Ok(thread) => {
            shell.print_to(move |lines| drop(give.try_send(lines)));
            Some(thread)
        }
        Err(error) => {
            log::warn!("what runs beside the prompt may tear the line that is typed: {error}");
            None
        }
    }
}

fn read_lines<E: Execute>(
    shell: &mut Shell<'_, E>,
    editor: &mut Editor<Completion, FileHistory>,
) -> Result<(), ReadlineError> {
    let mut warned = false;
    loop {
        shell.watch();
        editor.set_helper(Some(Completion::of(&shell.known(), shell.offered())));
        match editor.readline(PROMPT) {
            Ok(typed) if perform_lines(shell, &typed) == Step::Leave => {
                let running = shell.running();
                if running == 0 || std::mem::replace(&mut warned, true) {
                    return Ok(());
                }
                shell.say(&format!(
                    "{running} still run, see #STATUS; #QUIT again ends them, and the same commands continue later"
                ));
            }
            Ok(_) => warned = false,
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                // The editor stops at the bad byte, so what is typed now is a new line.
                shell.report("the line is not UTF-8; it is skipped");
            }
            Err(ReadlineError::Interrupted) => shell.say("#QUIT or Ctrl-D leaves"),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Performs what was typed or pasted, one command a line.
fn perform_lines<E: Execute>(shell: &mut Shell<'_, E>, typed: &str) -> Step {
    let mut step = Step::Done(ExitStatus::Success);
    for line in typed.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        let _silent = NoEcho::begin();
        step = shell.perform_line(line, "");
        if matches!(step, Step::Leave | Step::Done(ExitStatus::Interrupted)) {
            break;
        }
    }
    step
}
