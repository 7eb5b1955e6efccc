//! `client`: asks peers for their files. All it does is hand over its command line.

use std::env;
use std::process::ExitCode;

use peershare::{client, demo};

fn main() -> ExitCode {
    let status = match client::parse(env::args_os().skip(1)) {
        Ok(typed) if typed.program.demo => demo::run(typed.program.logging),
        Ok(typed) => client::run(&typed),
        Err(status) => status,
    };
    status.into()
}
