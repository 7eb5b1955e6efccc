//! The classic text dialect: `#FILELIST`, `#UPLOAD`, `#DOWNLOAD` as lines of text, spoken by
//! several older programs, which differ; A to E stand for five of them.
//!
//! # What is on the wire
//!
//! Nothing is framed: one write is one message, without a newline, and whoever reads takes what one
//! read gives for all of it. So two messages never follow one another without the other side
//! speaking in between, and none is longer than [`CLASSIC_MESSAGE`](crate::config::CLASSIC_MESSAGE)
//! bytes. A file is UTF-8 text in chunks of 100 characters, counted from 0. Words are separated by
//! one blank.
//!
//! | step | client | server |
//! |---|---|---|
//! | list | `#FILELIST` | `200 Files served: a.txt b.txt` |
//! | offer | `#UPLOAD f bytes n` | `330 Ready to receive file f`, or `250 …` |
//! | chunk i | `#UPLOAD f chunk i DATA` | `200 File f chunk i received` |
//! | end of an upload | differs | `200 File f received` |
//! | probe | `#DOWNLOAD f` | `330 Ready to send file f bytes n`, or `250 …` |
//! | chunk i | `#DOWNLOAD f chunk i` | `200 File f chunk i DATA`; past the end `Transmission complete` |
//!
//! # Who differs how
//!
//! | | offer | chunks of an upload | connections of an upload | its end |
//! |---|---|---|---|---|
//! | A | n counts characters | 100 characters | one | the server says it unasked, half a second later |
//! | B | without `bytes n` | 100 bytes | one | the client says `Transmission complete` |
//! | C | n counts bytes | 100 bytes | one | the client says `UPLOAD_COMPLETE` |
//! | D | n counts bytes | 100 characters | one a message | the last chunk is answered so |
//! | E | n counts bytes | 100 characters in base64 | one a chunk, and the offer's | nothing |
//!
//! Downloads differ less: A reads all chunks over one connection, the others one over each, B all
//! of them at once. C's client wants an answer to its probe that the others cannot use; it is not
//! served.
//!
//! # What it cannot do
//!
//! Nothing proves a byte, so whoever downloads from classic peers alone is told so; beside a framed
//! peer, what they send is verified against its manifest. Names with blanks and files that are no
//! UTF-8 text are refused. A listing ends where a message does.
//!
//! * `message`: the words, and when a text is a whole message; pure
//! * `assembly`: a file from its chunks: order, completeness, sizes; pure
//! * `text`, `line`: a file counted in characters; one connection
//! * [`Service`]: the serving side (`serve`, `listing`, `uploads`; `given` tells the log)
//! * [`Asker`], [`Upload`], [`Gather`], [`ClassicPeer`]: the asking side: lists and probes, an
//!   upload, a download from classic peers alone, and a classic peer as a source among framed ones
//!   (`chunks` reads from one peer for both)

mod ask;
mod assembly;
mod chunks;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gather;
mod given;
mod line;
mod listing;
mod message;
mod serve;
mod source;
mod text;
mod upload;
mod uploads;
mod visit;

pub use ask::{Asker, Heard, Served};
pub use gather::Gather;
pub use serve::Service;
pub use source::ClassicPeer;
pub use text::Text;
pub use upload::Upload;
pub use visit::{Allow, Visit};
