//! BitTorrent v2 metainfo: `#CREATE` makes one of a file or folder, and a download of one fetches
//! what it describes from peers that have those contents, under its names.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::done::{say_already_here, say_downloaded};
use super::meaning::Tried;
use super::said::Said;
use super::text::{files, quoted, size};
use super::transfers::Transfers;
use super::work::{Work, one_after_the_other};
use super::{ExitStatus, download, folding, omissions, shown};
use crate::config;
use crate::content::torrent::{self, BadTorrent, Torrent, TorrentFile};
use crate::content::{ChunkLayout, FileName, Manifest, Omissions, Selection};
use crate::fetch::Snapshot;
use crate::store::{self, ListQuery, Reception, Store, StoreError};
use crate::transport::Cancel;

/// What torrent files are called.
const SUFFIX: &str = ".torrent";

/// Why none could be made.
#[derive(Debug, thiserror::Error)]
enum CreateError {
    #[error("there is no file or folder {0}, here or in the served folder")]
    Missing(String),
    #[error("{0} is there already; say behind the path what else to call it")]
    InTheWay(String),
    #[error("there is nothing in it")]
    Empty,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Torrent(#[from] BadTorrent),
}

/// Makes a torrent of a file or folder, and says by which hash others call it.
pub(super) fn create(
    transfers: &Transfers,
    typed: &str,
    out: Option<&str>,
    cancel: &Cancel,
) -> ExitStatus {
    let audience = &transfers.surroundings.audience;
    let made = describe(transfers, typed, cancel).and_then(|(torrent, left_out)| {
        let out =
            out.map_or_else(|| format!("{}{SUFFIX}", torrent.name.last_part()), str::to_owned);
        let (bytes, hash) = torrent.encode()?;
        store::write_new(Path::new(&out), &bytes).map_err(|error| match error {
            StoreError::Io { error, .. } if error.kind() == ErrorKind::AlreadyExists => {
                CreateError::InTheWay(shown(&out).into_owned())
            }
            error => error.into(),
        })?;
        Ok((torrent, left_out, out, hash))
    });
    match made {
        Ok((torrent, left_out, out, hash)) => {
            let bytes = torrent.files.iter().map(|file| file.length).sum();
            let count = torrent.files.len() as u64;
            let hash = hash.to_string();
            let line = format!(
                "created {}: {}, {}, info hash {hash}",
                shown(&out),
                files(count),
                size(bytes)
            );
            let said = Said::Created { file: &out, info_hash: &hash, files: count, bytes };
            audience.say(&line, &said).then(omissions::tell(
                audience.as_ref(),
                "the torrent",
                &left_out,
            ))
        }
        Err(CreateError::Store(StoreError::Interrupted)) => ExitStatus::Interrupted,
        Err(error) => {
            audience.error(&format!(
                "cannot create a torrent of {}: {}",
                shown(typed),
                shown(&error.to_string())
            ));
            match error {
                CreateError::Store(error) => ExitStatus::from(&error),
                CreateError::Missing(_) | CreateError::Empty => ExitStatus::NoSuchFile,
                CreateError::InTheWay(_) => ExitStatus::Refused,
                CreateError::Torrent(_) => ExitStatus::Failed,
            }
        }
    }
}

/// The torrent of a file or folder, and what of the folder is not in it.
fn describe(
    transfers: &Transfers,
    typed: &str,
    cancel: &Cancel,
) -> Result<(Torrent, Omissions), CreateError> {
    let served = transfers.surroundings.served_files.join(typed);
    let path = [Path::new(typed), &served].into_iter().find(|path| path.exists());
    let path = path.ok_or_else(|| CreateError::Missing(shown(typed).into_owned()))?;
    let bar = transfers.surroundings.audience.transfer(&format!("hashing {typed}"));
    let started = Instant::now();
    let mut progress = |done, total| {
        bar.update(&Snapshot { done, total, elapsed: started.elapsed(), ..Snapshot::default() });
        !cancel.is_cancelled()
    };
    if !path.is_dir() {
        let store = transfers.store_to_read()?;
        let manifest = store.lend(path, &mut progress)?;
        if manifest.length() == 0 {
            return Err(CreateError::Empty);
        }
        let piece_length = torrent::piece_length(manifest.length());
        let executable = store::is_executable(path);
        let files =
            vec![entry(&store, &manifest, piece_length, (manifest.name().clone(), executable))?];
        let (name, links) = (manifest.name().clone(), Vec::new());
        let torrent = Torrent { name, piece_length, files, links };
        return Ok((torrent, Omissions::default()));
    }
    let store = Store::borrow(path)?;
    let top = store.folder();
    let name: FileName = top
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .parse()
        .map_err(StoreError::BadName)?;
    let query = ListQuery { limit: usize::MAX, ..ListQuery::default() };
    let listed = store.list(&query)?.entries;
    if listed.is_empty() {
        return Err(CreateError::Empty);
    }
    let bytes = listed.iter().map(|file| file.length).sum();
    if bytes == 0 {
        return Err(CreateError::Empty);
    }
    let piece_length = torrent::piece_length(bytes);
    let mut files = Vec::with_capacity(listed.len());
    for listed in listed {
        let manifest = store.manifest(&listed.name, &mut progress)?;
        let within = format!("{name}/{}", listed.name).parse().map_err(StoreError::BadName)?;
        let executable = listed.mode.is_some_and(|mode| mode & 0o100 != 0);
        files.push(entry(&store, &manifest, piece_length, (within, executable))?);
    }
    let left_out = store.omissions(None, &[], config::OMISSIONS_TOLD)?;
    Ok((Torrent { name, piece_length, files, links: Vec::new() }, left_out))
}

fn entry(
    store: &Store,
    manifest: &Manifest,
    piece_length: u32,
    (name, executable): (FileName, bool),
) -> Result<TorrentFile, CreateError> {
    let layer = match manifest.length() > u64::from(piece_length) {
        true => store.cut_again(manifest, piece_length)?.digests().to_vec(),
        false => Vec::new(),
    };
    Ok(TorrentFile { name, length: manifest.length(), root: manifest.root(), executable, layer })
}

/// Fetches what a torrent file of this machine describes, if that is what was typed.
pub(super) fn download(
    work: &Work<'_>,
    typed: &str,
    except: &[String],
    replace: bool,
) -> Option<ExitStatus> {
    let path = Path::new(typed);
    let is_name = || typed.parse::<FileName>().is_ok();
    if !typed.ends_with(SUFFIX) || (!path.is_file() && is_name()) {
        return None;
    }
    let audience = &work.transfers.surroundings.audience;
    let fail = |why: &str, status| {
        audience.error(&format!("cannot download what {} describes: {}", shown(typed), shown(why)));
        Some(status)
    };
    if work.name.is_some() {
        return fail(
            "--as does not go with a torrent, which says what its files are called",
            ExitStatus::Usage,
        );
    }
    if !path.is_file() {
        return fail("there is no such file", ExitStatus::NoSuchFile);
    }
    let torrent = match store::read_small(path, config::MAX_TORRENT) {
        Err(error) => return fail(&error.to_string(), ExitStatus::from(&error)),
        Ok(bytes) => match Torrent::parse(&bytes) {
            Ok(torrent) => torrent,
            Err(bad) => return fail(&bad.to_string(), ExitStatus::Usage),
        },
    };
    let wanted = match Selection::new(None, except) {
        Ok(wanted) => wanted,
        Err(bad) => return fail(&bad.to_string(), ExitStatus::Usage),
    };
    let files: Vec<_> = torrent.files.iter().filter(|file| wanted.matches(&file.name)).collect();
    if files.is_empty() && torrent.links.is_empty() {
        return fail("-x leaves out all of its files", ExitStatus::NoSuchFile);
    }
    let fetched = one_after_the_other(files, &work.cancel, |file| fetch(work, file, replace));
    Some(match (fetched, tell_links(work, typed, &torrent.links)) {
        (ExitStatus::Success, links) => links,
        (failed, _) => failed,
    })
}

/// Says which links of a torrent are not made.
fn tell_links(work: &Work<'_>, typed: &str, links: &[String]) -> ExitStatus {
    if links.is_empty() {
        return ExitStatus::Success;
    }
    let audience = &work.transfers.surroundings.audience;
    let (first, more) = links.split_at(links.len().min(config::SHOWN_OMISSIONS));
    audience.error(&format!("links that {} describes are not made:", shown(typed)));
    first.iter().for_each(|link| audience.error(&format!("  {}", shown(link))));
    if !more.is_empty() {
        audience.error(&format!("  and {} more", more.len()));
    }
    ExitStatus::Incomplete
}

/// Fetches one file by its content, from whoever has it, whatever it is called there.
fn fetch(work: &Work<'_>, file: &TorrentFile, replace: bool) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let name = &file.name;
    if file.length == 0 {
        return make_empty(work, name, replace);
    }
    let Ok(id) = file.root.to_string().parse::<FileName>() else { return ExitStatus::Failed };
    let work =
        Work { name: Some(name.clone()), described: Some(file), ..work.among(work.peers.clone()) };
    match download::run(&work, &id, replace) {
        Tried::Done(status) => status,
        Tried::Nobody(failures) => {
            let failures = failures.iter().map(|(peer, error)| (peer, error));
            folding::reasons(failures, |line| audience.note(line));
            audience.error(&format!(
                "no peer has {}, id {}",
                quoted(name.as_str()),
                file.root.short()
            ));
            ExitStatus::NoSuchFile
        }
    }
}

fn make_empty(work: &Work<'_>, name: &FileName, replace: bool) -> ExitStatus {
    let audience = &work.transfers.surroundings.audience;
    let manifest = ChunkLayout::usual(0)
        .ok()
        .and_then(|layout| Manifest::from_digests(name.clone(), layout, vec![]).ok());
    let Some(manifest) = manifest.map(Arc::new).filter(|_| !work.dry_run) else {
        return ExitStatus::Success;
    };
    let received = work.store().and_then(|store| store.receive(manifest, replace));
    let failed = match received {
        Ok(Reception::Part(part)) => part.complete().err(),
        Ok(Reception::AlreadyHere) => return say_already_here(work, name),
        Ok(Reception::Busy | Reception::InTheWay { .. }) => {
            Some(StoreError::InTheWay { name: name.clone() })
        }
        Err(error) => Some(error),
    };
    match failed {
        None => say_downloaded(work, name, &Snapshot::default()),
        Some(error) => {
            audience.error(&format!("{}: {}", shown(name.as_str()), shown(&error.to_string())));
            ExitStatus::from(&error)
        }
    }
}
