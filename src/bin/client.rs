//! `client`: asks peers for their files. All it does is hand over its command line.

use std::env;
use std::process::ExitCode;

use peershare::client::{self, ExitStatus, Program, Typed};
use peershare::demo;
use peershare::server::{self, Options, Serving};
use peershare::store::Bounds;

fn main() -> ExitCode {
    let status = match client::parse(env::args_os().skip(1)) {
        Ok(typed) if typed.program.demo => demo::run(typed.program.logging),
        Ok(typed) if typed.program.serve => run_serving(&typed),
        Ok(typed) => client::run(&typed),
        Err(status) => status,
    };
    status.into()
}

/// Runs the client, and beside it the server of its folder.
fn run_serving(typed: &Typed) -> ExitStatus {
    match serve(&typed.program) {
        Ok(_serving) => client::run(typed),
        Err(message) => {
            eprintln!("error: cannot serve: {message}");
            ExitStatus::Usage
        }
    }
}

fn serve(program: &Program) -> Result<Serving, String> {
    server::serve(Options {
        peer: client::own_peer(program)?,
        peer_settings: program.peer_settings.clone(),
        served_files: program.served_files.clone(),
        listen: None,
        limits: server::Limits::default(),
        bounds: Bounds::default(),
        bwlimit: program.bwlimit.unwrap_or_default(),
        read_only: false,
    })
}
