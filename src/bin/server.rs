//! `server`: serves a folder to peers. All it does is read its command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use peershare::client::shown;
use peershare::logging::{self, Logging};
use peershare::server::{self, Options};
use peershare::transport::shaping::Limits;
use peershare::{config, topology::PeerId};

/// Serve a folder to machines that know one another
#[derive(Parser)]
#[command(name = "server", version)]
struct Arguments {
    /// Which peer of the settings this is
    #[arg(value_name = "peerID")]
    peer: PeerId,
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
    #[arg(long, value_name = "N", default_value_t = config::MAX_CONNECTIONS)]
    max_connections: usize,
    /// Send and receive no faster than so many bytes a second, as in 2M:10M, 500K: or :20mbit
    #[arg(long, value_name = "UP:DOWN")]
    bwlimit: Option<Limits>,
    /// Refuse uploads
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    logging: Logging,
}

fn main() -> ExitCode {
    let Arguments { peer, peer_settings, served_files, listen, max_connections, bwlimit, read_only, logging } =
        Arguments::parse();
    logging::start(logging, shown);
    let bwlimit = bwlimit.unwrap_or_default();
    server::run(Options { peer, peer_settings, served_files, listen, max_connections, bwlimit, read_only })
}
