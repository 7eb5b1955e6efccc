//! peershare: peer-to-peer file sharing for machines that know one another.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
pub mod config;
pub mod connection;
pub mod content;
pub mod demo;
pub mod fetch;
pub mod logging;
pub mod serve;
pub mod server;
pub mod store;
pub mod topology;
pub mod transport;
pub mod wire;
