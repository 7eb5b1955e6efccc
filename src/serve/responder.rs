//! One request in, one answer out.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config;
use crate::connection::Framed;
use crate::content::{ChunkSet, Digest, Manifest, Root, RootPrefix};
use crate::store::{Content, ListQuery, Store, StoreError};
use crate::wire::{ErrorCode, Refusal, Request, Response, Subject, WireError};

/// Answers requests from a store. One for each connection: it keeps the file that was read last
/// open.
pub struct Responder {
    store: Store,
    open: Option<(Root, Content)>,
}

/// A request for one chunk.
struct Read {
    root: Root,
    chunk: u32,
    chunk_size: u32,
}

impl Responder {
    /// Answers from that store.
    pub fn new(store: Store) -> Self {
        Self { store, open: None }
    }

    /// Answers one request. Errors of the store are answers too; only a broken connection is an
    /// error here.
    pub fn answer(&mut self, connection: &mut Framed, request: Request) -> Result<(), WireError> {
        let refused = match request {
            Request::Read { root, chunk, chunk_size } => {
                return self.read(connection, Read { root, chunk, chunk_size });
            }
            Request::Describe { subject, wait_ms, digests_up_to } => {
                self.describe(&subject, wait_ms).map(|answer| without_more(answer, digests_up_to))
            }
            Request::List { pattern, except, folders, hashed, after, limit } => {
                let limit = limit.map_or(config::LIST_PAGE, |limit| limit as usize);
                let limit = limit.clamp(1, config::LIST_PAGE);
                self.list(&ListQuery { pattern, except, folders, hashed, after, limit })
            }
            Request::Gather => {
                let roots = connection.take_payload()?;
                self.gather(&roots)
            }
            Request::Have { root } => self.have(root),
            Request::Ping => Ok((Response::Pong, Vec::new())),
            // A report gets no answer, and outside of an offer it means nothing.
            Request::Report { .. } => return Ok(()),
            Request::Hello { .. } | Request::Offer { .. } | Request::OfferFolder { .. } => {
                Err(refusal(ErrorCode::BadRequest, "that request does not fit here"))
            }
            Request::Unknown => Err(refusal(ErrorCode::Unsupported, "this peer does not know that request")),
        };
        match refused {
            Ok((response, payload)) => connection.send(&response, &payload),
            Err(refusal) => connection.send(&Response::Error(refusal), &[]),
        }
    }

    fn read(&mut self, connection: &mut Framed, read: Read) -> Result<(), WireError> {
        let Read { root, chunk, chunk_size } = read;
        let extent = self.content(root).and_then(|content| content.cut(chunk, chunk_size));
        match extent {
            Ok(extent) => {
                let head = Response::Chunk { chunk };
                connection.send_file(&head, extent.file.as_fd(), extent.offset, extent.len)
            }
            Err(error) => {
                let refusal = refusal_of(&error);
                self.open = None;
                connection.send(&Response::Error(refusal), &[])
            }
        }
    }

    /// The content, kept open from the last request where it is the same.
    fn content(&mut self, root: Root) -> Result<&Content, StoreError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != root) {
            self.open = None;
            self.open = Some((root, self.store.open_content(&root)?));
        }
        match &self.open {
            Some((_, content)) => Ok(content),
            None => Err(StoreError::NoSuchContent { root }),
        }
    }

    fn describe(&self, subject: &Subject, wait_ms: u32) -> Result<(Response, Vec<u8>), Refusal> {
        let name = match subject {
            Subject::Name(name) => name.clone(),
            Subject::Id(prefix) => return self.describe_id(prefix),
        };
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(config::HASHING_WAIT_MS).into());
        let mut state = (0, 0);
        let mut progress = |done, total| {
            state = (done, total);
            Instant::now() < deadline
        };
        match self.store.manifest(&name, &mut progress) {
            Ok(manifest) => Ok(self.manifest_answer(&manifest)),
            Err(StoreError::Interrupted) => {
                Ok((Response::Hashing { done: state.0, total: state.1 }, Vec::new()))
            }
            Err(error) => Err(refusal_of(&error)),
        }
    }

    fn describe_id(&self, prefix: &RootPrefix) -> Result<(Response, Vec<u8>), Refusal> {
        let mut roots: Vec<Root> = self.store.by_prefix(prefix).into_iter().map(|(_, root)| root).collect();
        roots.sort();
        roots.dedup();
        match roots[..] {
            [root] => match self.store.by_root(&root) {
                Some(manifest) => Ok(self.manifest_answer(&manifest)),
                None => Err(refusal(ErrorCode::NotFound, format!("no file with id {prefix} is served here"))),
            },
            [] => Err(refusal(ErrorCode::NotFound, format!("no file with id {prefix} is served here"))),
            _ => {
                let what = format!("id {prefix} fits {} files here; type more digits", roots.len());
                Err(refusal(ErrorCode::Ambiguous, what))
            }
        }
    }

    fn manifest_answer(&self, manifest: &Manifest) -> (Response, Vec<u8>) {
        let attributes = self.store.attributes_of(manifest.name(), &manifest.root());
        (Response::manifest(manifest, attributes), Response::digests_of(manifest))
    }

    fn list(&self, query: &ListQuery) -> Result<(Response, Vec<u8>), Refusal> {
        let page = self.store.list(query).map_err(|error| refusal_of(&error))?;
        let payload = serde_json::to_vec(&page.entries)
            .map_err(|error| refusal(ErrorCode::Internal, error.to_string()))?;
        Ok((Response::Listing { next: page.next, left_out: page.left_out }, payload))
    }

    fn gather(&self, roots: &[u8]) -> Result<(Response, Vec<u8>), Refusal> {
        let roots = Digest::split(roots).filter(|roots| roots.len() <= config::GATHER_FILES);
        let roots = roots.ok_or_else(|| refusal(ErrorCode::BadRequest, "too many files at once"))?;
        let roots: Vec<Root> = roots.into_iter().map(Root).collect();
        let mut payload = Vec::new();
        let lengths = self.store.gather(&roots, config::GATHER_BYTES as usize, &mut payload);
        Ok((Response::Gathered { lengths }, payload))
    }

    fn have(&self, root: Root) -> Result<(Response, Vec<u8>), Refusal> {
        let content = self.store.open_content(&root).map_err(|error| refusal_of(&error))?;
        let layout = content.manifest().layout();
        if let Some(first) = layout.index(0) {
            // Looks whether the file is still what it was.
            content.chunk(first).map_err(|error| refusal_of(&error))?;
        }
        Ok((Response::Have, ChunkSet::all(layout).as_bytes().to_vec()))
    }
}

/// Leaves the digests out when there are more than the asking side wants now.
fn without_more((response, payload): (Response, Vec<u8>), digests_up_to: u32) -> (Response, Vec<u8>) {
    let too_many = payload.len() / Digest::LEN > digests_up_to as usize;
    (response, if too_many { Vec::new() } else { payload })
}

fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

/// What a failure of our own disk is to the other side.
pub fn refusal_of(error: &StoreError) -> Refusal {
    let code = match error {
        StoreError::NotFound { .. } | StoreError::NoSuchContent { .. } | StoreError::NotAFile { .. } => {
            ErrorCode::NotFound
        }
        StoreError::Outside { .. } | StoreError::BadName(_) => ErrorCode::Refused,
        StoreError::Changed { .. } => ErrorCode::Changed,
        StoreError::NoSpace { .. } => ErrorCode::NoSpace,
        StoreError::InTheWay { .. } => ErrorCode::InTheWay,
        StoreError::Interrupted => ErrorCode::Busy,
        StoreError::BadPattern { .. } | StoreError::NoSuchChunk { .. } => ErrorCode::BadRequest,
        _ => ErrorCode::Internal,
    };
    refusal(code, error.to_string())
}
