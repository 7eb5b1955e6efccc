//! What `#HELP` and `client --help` say, made from the grammar and the exit codes themselves.

use super::forms::{FORMS, Form, Verb};
use super::outcome::ExitStatus;
use super::text;

/// All commands on one screen, or one command with its example.
pub fn about(topic: Option<Verb>) -> String {
    match topic.and_then(Form::of) {
        Some(form) => format!("{}\n  {}\n  for example: {}\n", form.usage, form.does, form.example),
        None => all_commands(),
    }
}

/// What `client --help` adds below the options.
pub fn below_options() -> String {
    let mut lines = commands("Commands (without one: a prompt, or the commands from a pipe):");
    lines.push_str("\nExit codes:\n");
    for status in ExitStatus::ALL {
        lines.push_str(&format!("{:>5}  {}\n", status.code(), status.meaning()));
    }
    lines
}

fn all_commands() -> String {
    let mut lines = commands("commands, in any case and with or without #:");
    lines.push_str("\nfor example:\n");
    for form in FORMS.iter().filter(|form| form.verb != Verb::Quit) {
        lines.push_str(&format!("  {}\n", form.example));
    }
    lines.push_str("\nwithout a peer, all others are meant; --replace replaces another file of that name\n");
    lines.push_str("photos/ is a folder, *.iso and photos/** are patterns; -x leaves out what fits\n");
    lines.push_str("names with blanks are quoted: \"a b\", 'a b' or a\\ b; after -- nothing is a flag\n");
    lines
}

/// Columns that a command may take with what it does beside it.
const USAGE_COLUMNS: usize = 40;

fn commands(title: &str) -> String {
    let widths = FORMS.iter().map(|form| text::width(form.usage));
    let columns = widths.filter(|width| *width <= USAGE_COLUMNS).max().unwrap_or(0);
    let mut lines = format!("{title}\n");
    for form in &FORMS {
        lines.push_str("  ");
        lines.push_str(form.usage);
        match text::width(form.usage) {
            width if width <= columns => text::pad(&mut lines, width, columns + 2),
            _ => lines.push_str("\n      "),
        }
        lines.push_str(form.does);
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_one_screen_and_names_every_command() {
        let help = about(None);
        assert!(help.lines().count() <= 24);
        assert!(help.lines().all(|line| text::width(line) <= 100), "{help}");
        for form in &FORMS {
            assert!(help.contains(form.usage) && help.contains(form.does));
        }
    }

    #[test]
    fn one_command_is_explained_with_its_example() {
        let help = about(Some(Verb::Download));
        assert!(help.starts_with("#DOWNLOAD <file|id|folder/|pattern>"));
        assert!(help.ends_with("for example: #DOWNLOAD big.iso\n"));
    }

    #[test]
    fn every_exit_code_is_documented() {
        let help = below_options();
        assert!(ExitStatus::ALL.iter().all(|status| help.contains(status.meaning())));
    }
}
