//! The log of both programs: to stderr, at a level from the command line unless `RUST_LOG` says
//! otherwise.

use std::borrow::Cow;
use std::env;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

use crate::config;
use crate::locks::lock;

mod tally;

pub use tally::Tally;

/// A name in a line of the log: in quotes, so that no name can be taken for the words around it.
pub fn named(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Makes harmless what peers put into messages, such as control characters that fool a terminal or
/// begin a line of their own.
pub type Shown = fn(&str) -> Cow<'_, str>;

/// What the command line says about the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Logging {
    /// Say more; repeat for still more
    #[arg(short, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl Logging {
    /// The level for our own messages, when this is the one without flags.
    fn level(self, usual: LevelFilter) -> LevelFilter {
        if self.quiet {
            return LevelFilter::Error;
        }
        let raised =
            LevelFilter::iter().skip_while(|level| *level < usual).nth(self.verbose.into());
        raised.unwrap_or(LevelFilter::Trace)
    }
}

/// Starts the log of a server: from `info` on, with times.
pub fn start(logging: Logging, shown: Shown) {
    let mut builder = filtered(logging.level(LevelFilter::Info));
    builder.format(move |line, record| {
        let (time, level, target) = (line.timestamp(), record.level(), record.target());
        let style = line.default_level_style(level);
        writeln!(
            line,
            "[{time} {style}{level:<5}{style:#} {target}] {}",
            shown(&short(&record.args().to_string()))
        )
    });
    start_with(builder);
}

/// A line as long as a person reads it; names from peers may be thousands of letters.
fn short(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(config::LOG_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()).into(),
        None => line.into(),
    }
}

/// Starts the log of a client: warnings, as plain lines that go to `out`, which knows how to write
/// beside progress bars.
pub fn start_beside(out: impl Write + Send + 'static, logging: Logging, shown: Shown) {
    let mut builder = filtered(logging.level(LevelFilter::Warn));
    builder.target(Target::Pipe(Box::new(out)));
    builder.format(move |line, record| {
        let level = match record.level() {
            Level::Warn => "warning".to_owned(),
            level => level.as_str().to_ascii_lowercase(),
        };
        writeln!(line, "{level}: {}", shown(&record.args().to_string()))
    });
    start_with(builder);
}

/// Keeps one line from being said again and again: the first time it is, and then once in a while
/// with how often it was not.
#[derive(Debug, Default)]
pub struct Repeated(Mutex<Option<Unsaid>>);

#[derive(Debug)]
struct Unsaid {
    since: Instant,
    times: u64,
}

impl Repeated {
    /// A line that was never said.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What to add to the line if it is to be said now; `None` when it is only counted.
    pub fn due(&self, now: Instant) -> Option<String> {
        let mut unsaid = lock(&self.0);
        match &mut *unsaid {
            Some(Unsaid { since, times })
                if now.saturating_duration_since(*since) < config::LOG_AGAIN =>
            {
                *times += 1;
                None
            }
            before => {
                let times = before.as_ref().map_or(0, |before| before.times);
                *before = Some(Unsaid { since: now, times: 0 });
                Some(if times > 0 {
                    format!(" (and {times} times more since)")
                } else {
                    String::new()
                })
            }
        }
    }
}

/// Our own messages from `level` on, those of other crates only when they matter.
fn filtered(level: LevelFilter) -> Builder {
    let mut builder = Builder::new();
    if env::var_os(env_logger::DEFAULT_FILTER_ENV).is_some() {
        builder.parse_default_env();
    } else {
        builder
            .filter_level(level.min(LevelFilter::Warn))
            .filter_module(env!("CARGO_PKG_NAME"), level);
    }
    builder
}

fn start_with(mut builder: Builder) {
    // A log that is there already, as in the demo, stays.
    let _ = builder.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_said_once_and_then_counted() {
        let (line, start) = (Repeated::new(), Instant::now());
        assert_eq!(line.due(start).as_deref(), Some(""));
        assert_eq!(line.due(start + config::LOG_AGAIN / 2), None);
        assert_eq!(line.due(start + config::LOG_AGAIN / 2), None);
        let later = start + config::LOG_AGAIN;
        assert_eq!(line.due(later).as_deref(), Some(" (and 2 times more since)"));
        assert_eq!(line.due(later + config::LOG_AGAIN).as_deref(), Some(""));
    }

    #[test]
    fn flags_raise_and_lower_the_level() {
        let level = |verbose, quiet, usual| Logging { verbose, quiet }.level(usual);
        assert_eq!(level(0, false, LevelFilter::Warn), LevelFilter::Warn);
        assert_eq!(level(1, false, LevelFilter::Warn), LevelFilter::Info);
        assert_eq!(level(1, false, LevelFilter::Info), LevelFilter::Debug);
        assert_eq!(level(9, false, LevelFilter::Info), LevelFilter::Trace);
        assert_eq!(level(2, true, LevelFilter::Info), LevelFilter::Error);
    }
}
