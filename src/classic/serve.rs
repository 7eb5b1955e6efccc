//! The serving side: answers clients of all kinds on whatever connections they open.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::given::Downloads;
use super::line::Line;
use super::listing;
use super::message::{CHUNK, NoRequest, Request, Ripeness, count};
use super::text::{Text, Texts};
use super::uploads::{Offered, Spoiled, Taken, Upload, Uploads};
use super::visit::Visit;
use crate::config;
use crate::connection::Buffered;
use crate::content::{Attributes, FileName, Root};
use crate::logging::{Repeated, Tally, named};
use crate::store::{Arrival, Store, StoreError};
use crate::transport::timed_out;
use crate::wire::{self, Subject};

/// What all classic sessions of a peer share.
pub struct Service {
    store: Store,
    uploads: Arc<Uploads>,
    texts: Texts,
    downloads: Downloads,
    unlisted: Repeated,
}

impl Service {
    /// Serves that store.
    pub fn new(store: Store) -> Self {
        let unlisted = Repeated::new();
        let (uploads, texts, downloads) = (Arc::default(), Texts::default(), Downloads::default());
        Self { store, uploads, texts, downloads, unlisted }
    }

    /// Answers on one connection until the other side leaves; an upload that began on it may last a
    /// little longer, unless cancelled.
    pub fn converse(&self, stream: Buffered, visit: &Visit<'_>) -> io::Result<()> {
        let remote = stream.get_ref().remote();
        let line = Line::new(stream, *visit.deadlines)?;
        let mut session = Session {
            service: self,
            visit,
            remote,
            line,
            offered: None,
            farewell: None,
            open: None,
            refused: Repeated::new(),
        };
        let ended = session.run();
        let who = session.who();
        let Session { offered, line, .. } = session;
        drop(line);
        if let Some(offered) = offered {
            let name = offered.upload.name.clone();
            if let Some(tally) = offered.linger(visit.cancel) {
                let name = named(name.as_str());
                log::warn!("did not receive {name} from {who}: its sender left; came: {tally}");
            }
        }
        ended
    }

    /// Tells the log what was given to clients that asked for no more in a while; to be called now
    /// and then.
    pub fn tell_idle(&self, now: Instant) {
        self.downloads.tell_idle(now);
    }

    /// Tells it all that was not told yet.
    pub fn tell_all(&self) {
        self.downloads.tell_all();
    }

    /// A served file as text; `None` when it is none, or is not known in time.
    fn text(&self, name: &FileName) -> Result<Option<Text>, StoreError> {
        let deadline = Instant::now() + config::ANSWER_TIMEOUT;
        let manifest = self.store.manifest(name, &mut |_, _| Instant::now() < deadline)?;
        self.texts.open(self.store.open_content(&manifest.root())?)
    }
}

/// One connection.
struct Session<'a> {
    service: &'a Service,
    visit: &'a Visit<'a>,
    /// Where the client is.
    remote: String,
    line: Line,
    /// The upload that was offered here.
    offered: Option<Offered>,
    /// A file whose last chunk came here: its sender may still say, or want to hear, that it is
    /// complete.
    farewell: Option<String>,
    /// The file that is read here.
    open: Option<(FileName, Text)>,
    refused: Repeated,
}

impl Session<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            match self.receive() {
                Ok(Some(text)) => self.answer(&text)?,
                Ok(None) => return Ok(()),
                Err(error) if timed_out(&error) => match self.farewell.take() {
                    Some(name) => self.say(&format!("200 File {name} received"))?,
                    None => return Ok(()),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let wait = self.patience();
        // One that an upload depends on is not to make room for others.
        if self.offered.is_none() && self.farewell.is_none() {
            (self.visit.idles)(true);
        }
        let (service, offered) = (self.service, self.offered.as_ref());
        let mut pieces = 0;
        let ripe = &mut |text: &[u8]| {
            pieces += 1;
            ripeness(text, pieces, |name| upload_of(service, offered, name))
        };
        let text = self.line.receive(wait, config::CLASSIC_MOST, ripe)?;
        (self.visit.idles)(false);
        Ok(text.map(<[u8]>::to_vec))
    }

    fn patience(&self) -> Duration {
        match (&self.farewell, &self.offered) {
            (Some(_), _) => config::CLASSIC_FAREWELL,
            (None, Some(_)) => self.visit.deadlines.upload,
            (None, None) => self.visit.deadlines.idle,
        }
    }

    fn answer(&mut self, text: &[u8]) -> io::Result<()> {
        let farewell = self.farewell.take();
        let Ok(request) = Request::parse(text) else { return self.say("250 Unknown request") };
        match request {
            Request::List => {
                let answer = match listing::list(&self.service.store) {
                    Ok((answer, listed)) => {
                        log::info!("listed {listed} to {}", self.who());
                        answer
                    }
                    Err(error) => {
                        if let Some(more) = self.service.unlisted.due(Instant::now()) {
                            log::warn!("cannot list the files to {}: {error}{more}", self.who());
                        }
                        "250 Not serving".to_owned()
                    }
                };
                self.say(&answer)
            }
            Request::Offer { name, length } => self.offer(name, length),
            Request::Data { name, index, data } => self.take(name, index, data),
            Request::Probe { name } => self.probe(name),
            Request::Read { name, index } => self.read(name, index),
            Request::Finished => self.finish(farewell),
        }
    }

    fn offer(&mut self, name: &str, length: Option<u64>) -> io::Result<()> {
        let answer = match self.begin(name, length) {
            Ok(Arrival::Exists) => {
                self.refuse(name, "Already serving", "a file of that name is here")
            }
            Ok(Arrival::Busy) => self.refuse(name, "Currently receiving", "it is being received"),
            Err(reason) => self.refuse(name, "Not receiving", &reason),
            Ok(Arrival::Ready(incoming)) => {
                log::info!("receiving {} from {}", named(name), self.who());
                let offered =
                    self.service.uploads.begin(incoming, length, self.visit.deadlines.upload);
                let upload = offered.upload.clone();
                self.offered = Some(offered);
                // For B any "250" is a refusal, even one in the name.
                let shown = if length.is_none() && name.contains("250") { "" } else { name };
                match self.finish_if_empty(&upload) {
                    Ok(()) => format!("330 Ready to receive file {shown}").trim_end().to_owned(),
                    Err(spoiled) => self.spoil(name, &spoiled),
                }
            }
        };
        self.say(&answer)
    }

    /// The refusal of an upload in the dialect's words; the log has the reason.
    fn refuse(&self, name: &str, words: &str, reason: &str) -> String {
        if let Some(more) = self.refused.due(Instant::now()) {
            log::info!("refused the upload of {} from {}: {reason}{more}", named(name), self.who());
        }
        format!("250 {words} file {name}")
    }

    /// What the log calls the other side.
    fn who(&self) -> String {
        format!("a client ({}, classic)", self.remote)
    }

    /// A file of no bytes has no last chunk to end with.
    fn finish_if_empty(&mut self, upload: &Upload) -> Result<(), Spoiled> {
        if upload.is_complete() {
            self.received(&upload.name, upload.finish(&self.service.store)?);
            self.farewell = Some(upload.name.to_string());
        }
        Ok(())
    }

    fn begin(&self, name: &str, length: Option<u64>) -> Result<Arrival, String> {
        let name: FileName =
            name.parse().map_err(|bad: crate::content::name::BadName| bad.to_string())?;
        if name.as_str().contains(char::is_whitespace) {
            return Err("a name with a blank".to_owned());
        }
        if length.is_some_and(|length| count(length).is_none()) {
            return Err("too many chunks".to_owned());
        }
        let (length_said, root) = (length.unwrap_or(0), Root::of_nothing());
        let same = wire::Request::Offer {
            name: name.clone(),
            length: length_said,
            chunk_size: CHUNK as u32,
            root,
            attributes: Attributes::default(),
            replace: false,
            swarm: false,
        };
        (self.visit.allow)(&same).map_err(|refusal| refusal.message)?;
        self.service.store.receive_unproven(name, length, false).map_err(|error| error.to_string())
    }

    fn take(&mut self, name: &str, index: u32, data: &[u8]) -> io::Result<()> {
        let Some((upload, alone)) = upload_of(self.service, self.offered.as_ref(), name) else {
            return self.say(&format!("250 Not receiving file {name}"));
        };
        if let Some(offered) = self.offered.as_mut().filter(|_| !alone) {
            offered.here = true;
        }
        let acknowledged = format!("200 File {name} chunk {index} received");
        let answer = match upload.take(&self.service.store, index, data, alone) {
            Ok(Taken::Kept) => acknowledged,
            Ok(Taken::Complete { base64, tally }) => {
                self.received(&upload.name, tally);
                match (alone, base64) {
                    (true, false) => format!("200 File {name} received"),
                    (true, true) => acknowledged,
                    (false, _) => {
                        self.farewell = Some(name.to_owned());
                        acknowledged
                    }
                }
            }
            Err(spoiled) => self.spoil(name, &spoiled),
        };
        self.say(&answer)
    }

    /// The client says that it has sent everything.
    fn finish(&mut self, farewell: Option<String>) -> io::Result<()> {
        let offered = self.offered.as_ref().filter(|_| farewell.is_none());
        let (name, finished) = match (farewell, offered) {
            (Some(name), _) => (name, Ok(())),
            (None, Some(offered)) => {
                let (name, finished) =
                    (&offered.upload.name, offered.upload.finish(&self.service.store));
                (name.to_string(), finished.map(|tally| self.received(name, tally)))
            }
            // It was told so already.
            (None, None) => return Ok(()),
        };
        match finished {
            Ok(()) => self.say(&format!("200 File {name} received")),
            Err(Spoiled::Stray) => Ok(()),
            Err(spoiled) => {
                let answer = self.spoil(&name, &spoiled);
                self.say(&answer)
            }
        }
    }

    fn received(&self, name: &FileName, tally: Tally) {
        log::info!("received {} from {}: {tally}", named(name.as_str()), self.who());
    }

    fn spoil(&self, name: &str, spoiled: &Spoiled) -> String {
        log::warn!("did not receive {} from {}: {spoiled}", named(name), self.who());
        match spoiled {
            Spoiled::WrongSize => format!("250 File {name} incorrect size"),
            Spoiled::Stray | Spoiled::TooSlow | Spoiled::Store(_) => {
                format!("250 Not receiving file {name}")
            }
        }
    }

    fn probe(&mut self, name: &str) -> io::Result<()> {
        let length = self.open(name).map(|text| text.characters());
        match length {
            Some(length) => self.say(&format!("330 Ready to send file {name} bytes {length}")),
            None => self.say(&format!("250 Not serving file {name}")),
        }
    }

    fn read(&mut self, name: &str, index: u32) -> io::Result<()> {
        let Some(text) = self.open(name) else {
            return self.say(&format!("250 Not serving file {name}"));
        };
        let of = text.characters().div_ceil(super::message::CHUNK as u64);
        let mut given = None;
        let message = match text.chunk(index) {
            Ok(Some(data)) => {
                given = Some(data.len() as u64);
                let mut message = format!("200 File {name} chunk {index} ").into_bytes();
                message.extend_from_slice(data);
                message
            }
            Ok(None) => super::message::END.into(),
            Err(error) => {
                log::warn!(
                    "cannot give {} to a client ({}, classic): {error}",
                    named(name),
                    self.remote
                );
                self.open = None;
                format!("250 Not serving file {name}").into_bytes()
            }
        };
        self.line.send(&message)?;
        if let (Some(bytes), Some((name, _))) = (given, &self.open) {
            self.service.downloads.gave(&self.remote, name, of, (index, bytes));
        }
        Ok(())
    }

    /// The file of that name, if it is text that this client may have.
    fn open(&mut self, name: &str) -> Option<&mut Text> {
        let name = name.parse::<FileName>().ok()?;
        let same = wire::Request::Describe {
            subject: Subject::Name(name.clone()),
            wait_ms: 0,
            digests_up_to: 0,
        };
        (self.visit.allow)(&same).ok()?;
        if self.open.as_ref().is_none_or(|(open, _)| *open != name) {
            let text = self.service.text(&name).unwrap_or_else(|error| {
                log::debug!("cannot open {name} for a client of the classic dialect: {error}");
                None
            });
            self.open = text.map(|text| (name, text));
        }
        self.open.as_mut().map(|(_, text)| text)
    }

    fn say(&mut self, answer: &str) -> io::Result<()> {
        self.line.send(answer.as_bytes())
    }
}

/// The upload that a chunk belongs to, and whether it comes on a connection that is not the
/// offer's.
fn upload_of(
    service: &Service,
    offered: Option<&Offered>,
    name: &str,
) -> Option<(Arc<Upload>, bool)> {
    match offered {
        Some(offered) if offered.upload.name.as_str() == name => {
            Some((offered.upload.clone(), false))
        }
        _ => Some((service.uploads.find(&name.parse().ok()?)?, true)),
    }
}

/// Whether a text, which came in so many pieces, is a whole request.
pub(super) fn ripeness(
    text: &[u8],
    pieces: u32,
    upload_of: impl FnOnce(&str) -> Option<(Arc<Upload>, bool)>,
) -> Ripeness {
    match Request::parse(text) {
        Err(NoRequest::Partial) => Ripeness::Partial,
        Err(NoRequest::Foreign) | Ok(Request::List | Request::Finished) => Ripeness::Whole,
        Ok(Request::Offer { .. } | Request::Probe { .. }) => Ripeness::PERHAPS,
        Ok(Request::Data { name, index, data }) => match upload_of(name) {
            Some((upload, alone)) => upload.ripeness(index, data, alone),
            None => Ripeness::PERHAPS,
        },
        // Its number may go on, but hardly ever does: only where text is cut at all is that
        // awaited.
        Ok(Request::Read { .. }) => Ripeness::whole_if(pieces == 1),
    }
}
