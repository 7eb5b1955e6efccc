//! peershare: peer-to-peer file sharing for machines that know one another.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;
pub mod content;
pub mod fetch;
pub mod store;
pub mod topology;
