//! The manual page, made from the grammar: `client --man | man -l -`.

use std::io::{self, Write};

use clap_mangen::Man;

use super::grammar::Typed;
use super::usage::{self, Topic};

/// Writes the page in the form that `man` reads.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let mut out = out;
    let page = Man::new(Typed::grammar());
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    writeln!(out, ".SH COMMANDS")?;
    for name in usage::names() {
        let Some(topic) = Topic::named(&name) else { continue };
        writeln!(out, ".SS {}\n.nf", escaped(&name))?;
        for line in topic.help().lines() {
            writeln!(out, "{}", escaped(line))?;
        }
        writeln!(out, ".fi")?;
    }
    page.render_extra_section(&mut out)
}

/// A line of text that means nothing to the formatter.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
