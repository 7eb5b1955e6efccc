//! What the most delicate hand-overs between threads are built of: `Cancel` of the transport and
//! `Waiting` of the store.
//!
//! `tests/interleavings` compiles the files of these two a second time, with primitives of the same
//! names in the place of these that try every order in which threads can come. Nothing of that is
//! in a program.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, Weak};

pub(crate) use crossbeam_channel::{Sender, bounded};

pub(crate) use crate::locks::lock;
