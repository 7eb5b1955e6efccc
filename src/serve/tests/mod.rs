//! Folders that several peers fetch together, asked for over connections.

mod handing_out;
mod properties;
