//! `server`: serves a folder to peers. All it does is read its command line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use peershare::client::shown;
use peershare::logging::{self, Logging};
use peershare::server::{self, Limits, Options};
use peershare::store::Bounds;
use peershare::transport::shaping;
use peershare::{config, topology::PeerId};

/// Serve a folder to machines that know one another
#[derive(Parser)]
#[command(name = "server", version)]
struct Arguments {
    /// Which peer of the settings this is
    #[arg(value_name = "peerID", required_unless_present_any = ["completions", "man"])]
    peer: Option<PeerId>,
    /// The peers: a line each, peerID address port [default: peer_settings.txt in . or ..]
    #[arg(long, value_name = "FILE")]
    peer_settings: Option<PathBuf>,
    /// The folder to serve; made when missing
    #[arg(long, value_name = "DIR", default_value = config::SERVED_FOLDER)]
    served_files: PathBuf,
    /// Where to listen, if not at the address in the settings
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Connections at once; the next one is told to come back later
    #[arg(long, value_name = "N", default_value_t = config::MAX_CONNECTIONS, value_parser = some)]
    max_connections: usize,
    /// Of these, connections of one address [default: half of them]
    #[arg(long, value_name = "N", value_parser = some)]
    max_per_address: Option<usize>,
    /// Send and receive no faster than so many bytes a second, as in 2M:10M, 500K: or :20mbit
    #[arg(long, value_name = "UP:DOWN")]
    bwlimit: Option<shaping::Limits>,
    /// Refuse uploads
    #[arg(long)]
    read_only: bool,
    /// Refuse uploads of longer files: bytes, or as in 500M, 1.5G or 2T
    #[arg(long, value_name = "SIZE", value_parser = server::length)]
    max_upload_size: Option<u64>,
    /// Leave so much of the disk free
    #[arg(long, value_name = "SIZE", value_parser = server::length, default_value = "0")]
    reserve: u64,
    /// Say whether it could start so, what it would serve and where it would listen, and end
    #[arg(long)]
    check: bool,
    /// Print what the shell needs to complete flags
    #[arg(long, value_name = "SHELL")]
    completions: Option<clap_complete::Shell>,
    /// Print the manual page
    #[arg(long)]
    man: bool,
    #[command(flatten)]
    logging: Logging,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(shell) = arguments.completions {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "server", &mut script);
        return print(&script);
    }
    if arguments.man {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(Arguments::command()).render(&mut page) {
            Ok(()) => print(&page),
            Err(error) => fail(&error.to_string()),
        };
    }
    let Arguments {
        peer,
        peer_settings,
        served_files,
        listen,
        max_connections,
        max_per_address,
        bwlimit,
        read_only,
        max_upload_size,
        reserve,
        ..
    } = arguments;
    let Some(peer) = peer else { return fail("which peer of the settings this is, is missing") };
    let bwlimit = bwlimit.unwrap_or_default();
    let limits =
        Limits { connections: max_connections, per_address: max_per_address, ..Limits::default() };
    let bounds = Bounds { largest: max_upload_size, reserve };
    let options =
        Options { peer, peer_settings, served_files, listen, limits, bwlimit, bounds, read_only };
    logging::start(arguments.logging, shown);
    if !arguments.check {
        return server::run(options);
    }
    match server::check(&options) {
        Ok(report) => print(report.as_bytes()),
        Err(message) => fail(&message),
    }
}

/// A number of connections. A server that lets nobody in is a mistake.
fn some(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("with 0 nobody could connect; say 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write to stdout: {error}")),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("server: {message}");
    ExitCode::from(2)
}
