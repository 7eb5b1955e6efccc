//! `client`: asks peers for their files. All it does is read its command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use peershare::client::{self, Options};
use peershare::{config, logging::Logging, topology::PeerId};

/// List, upload and download files among machines that know one another
#[derive(Parser)]
#[command(name = "client", version, after_help = client::help::below_options())]
struct Arguments {
    /// The peers: a line each, peerID address port [default: peer_settings.txt in . or ..]
    #[arg(long, value_name = "FILE")]
    peer_settings: Option<PathBuf>,
    /// The own files: uploads come from here, downloads go here
    #[arg(long, value_name = "DIR", default_value = config::SERVED_FOLDER)]
    served_files: PathBuf,
    /// Which peer this is [default: the working folder's name, if that is a peer]
    #[arg(long, value_name = "ID")]
    peer: Option<PeerId>,
    /// How long a peer may be away that a transfer is using, such as 90, 90s or 5m; 0 gives up soon
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = client::seconds)]
    timeout: Duration,
    #[command(flatten)]
    logging: Logging,
    /// Show everything at work, with three peers in a temporary folder
    #[arg(long, exclusive = true)]
    demo: bool,
    /// One command, such as: download big.iso peer1
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

fn main() -> ExitCode {
    let Arguments { peer_settings, served_files, peer, timeout, logging, demo, words } = Arguments::parse();
    if demo {
        return peershare::demo::run(logging).into();
    }
    client::run(&Options { peer_settings, served_files, peer, timeout, logging, words }).into()
}
