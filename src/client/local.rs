//! What somebody means who types the name of something to give away: a file or a folder in the
//! served folder, or where the user stands. Where both are there and differ, it is not guessed.

use std::path::{Path, PathBuf};

use super::meaning::Near;
use super::select::Selector;
use super::text::quoted;
use super::transfers::Transfers;
use super::work::Work;
use super::{ExitStatus, shown};
use crate::config;
use crate::content::FileName;
use crate::content::pattern::{Selection, beneath, escaped, is_pattern};
use crate::store::{self, ListQuery, Store, StoreError};
use crate::wire::Share;

/// What is given away.
pub(super) enum Given {
    /// A file of the served folder.
    Served(FileName),
    /// A file from elsewhere.
    Elsewhere(PathBuf),
    /// A folder, or all that a pattern fits.
    Several(Several),
}

impl Given {
    /// The name of the one file that it is.
    pub(super) fn file_name(&self) -> Option<&str> {
        match self {
            Self::Served(name) => Some(name.as_str()),
            Self::Elsewhere(path) => path.file_name()?.to_str(),
            Self::Several(_) => None,
        }
    }
}

/// A folder to be uploaded, and the store that has it.
pub(super) struct Several {
    /// What it is called there.
    pub(super) label: String,
    pub(super) store: Store,
    pub(super) share: Share,
    /// The folder of the store that it is, if it is one.
    pub(super) folder: Option<FileName>,
}

impl Several {
    /// Whether nothing of it is left because all that is there is left out.
    pub(super) fn is_left_out(&self) -> Result<bool, StoreError> {
        if self.share.except.is_empty() || fits_anything(&self.store, &self.share)? {
            return Ok(false);
        }
        let whole = Share { except: Vec::new(), ..self.share.clone() };
        fits_anything(&self.store, &whole)
    }

    /// How many bytes all of it has.
    pub(super) fn length(&self) -> Result<u64, StoreError> {
        let Share { pattern, except, .. } = self.share.clone();
        let limit = config::LIST_PAGE;
        let mut query = ListQuery { pattern, except, limit, ..ListQuery::default() };
        let mut length: u64 = 0;
        loop {
            let page = self.store.list(&query)?;
            let lengths = page.entries.iter().map(|entry| entry.length);
            length = lengths.fold(length, u64::saturating_add);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(length),
            }
        }
    }

    /// Puts all of it into a folder at the peers, and calls it `name` there, which only one folder
    /// can be.
    pub(super) fn place(
        &mut self,
        to: Option<&FileName>,
        name: Option<&FileName>,
    ) -> Result<(), NotGiven> {
        if let Some(name) = name {
            if let Some(folder) = &self.folder {
                // It is given as what lies in it, beneath another name.
                self.store = Store::borrow(&self.store.folder().join(folder.as_path()))?;
                self.share = Share { pattern: None, ..self.share.clone() };
            } else if self.share.beneath.is_none() {
                let what = format!(
                    "--as goes with a file or a folder, not with the pattern {}",
                    self.label
                );
                return Err(NotGiven::Missing(what));
            }
            self.share.beneath = Some(name.clone());
        }
        if let Some(to) = to {
            let beneath = self
                .share
                .beneath
                .as_ref()
                .map_or_else(|| to.to_string(), |own| format!("{to}/{own}"));
            self.share.beneath = Some(beneath.parse().map_err(StoreError::BadName)?);
        }
        if let (Some(there), true) = (&self.share.beneath, to.is_some() || name.is_some()) {
            let from = self
                .label
                .rsplit_once(" (from ")
                .map_or(self.label.as_str(), |(_, from)| from.strip_suffix(')').unwrap_or(from));
            self.label = format!("{}/ (from {from})", quoted(there.as_str()));
        }
        Ok(())
    }
}

/// Why it is not clear, or not possible.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGiven {
    #[error("{0}")]
    Missing(String),
    #[error(
        "{here} and {served} are both there and differ; say {here} or {served} in full for the one you mean"
    )]
    TwoOfThem { here: String, served: String },
    #[error("{name} is a file, not a folder; leave out the / at its end")]
    NoFolder { name: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<&NotGiven> for ExitStatus {
    fn from(error: &NotGiven) -> Self {
        match error {
            NotGiven::Missing(_) | NotGiven::NoFolder { .. } => Self::NoSuchFile,
            NotGiven::TwoOfThem { .. } => Self::Usage,
            NotGiven::Store(error) => error.into(),
        }
    }
}

/// Whether something is called so in the served folder or where the user stands.
pub(super) fn is_here(transfers: &Transfers, typed: &str) -> bool {
    Path::new(typed).exists() || transfers.surroundings.served_files.join(typed).exists()
}

/// Finds what was typed. A text that begins with `/`, `./` or `../` is a path, or a pattern of
/// paths; any other is a name in the served folder, a path from where the user stands, a pattern of
/// the served folder, or one of where the user stands, in this order.
pub(super) fn find(work: &Work<'_>, typed: &str, except: &[String]) -> Result<Given, NotGiven> {
    let store = work.transfers.store_to_read()?;
    let top = store.folder();
    let bare = typed.trim_end_matches('/');
    let is_path =
        typed.starts_with(['/', '.']) && (bare == "." || bare == ".." || typed.contains('/'));
    let here = Some(PathBuf::from(typed)).filter(|path| path.exists());
    let served = bare.parse::<FileName>().ok().filter(|_| !is_path || here.is_none());
    let served =
        served.filter(|name| !top.as_os_str().is_empty() && top.join(name.as_path()).exists());
    match (served, here) {
        (Some(name), Some(here)) if !is_same(&top.join(name.as_path()), &here) => {
            Err(NotGiven::TwoOfThem {
                here: format!("./{bare}"),
                served: top.join(name.as_path()).display().to_string(),
            })
        }
        (Some(name), _) => in_folder(store, &top, name, typed, except),
        (None, Some(here)) => at_path(store, &top, &here, except),
        (None, None) => by_pattern(work, store, (typed, is_path), except),
    }
}

/// Whether two paths lead to the same file or folder, or to files of the same content.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other || store::same_content(&one, &other),
        _ => false,
    }
}

fn in_folder(
    store: Store,
    top: &Path,
    name: FileName,
    typed: &str,
    except: &[String],
) -> Result<Given, NotGiven> {
    let is_folder = top.join(name.as_path()).is_dir();
    if !is_folder && typed.ends_with('/') {
        return Err(NotGiven::NoFolder { name: quoted(name.as_str()).into_owned() });
    }
    if !is_folder {
        return Ok(Given::Served(name));
    }
    let pattern = Some(beneath(name.as_str()));
    let label = format!("{}/", quoted(name.as_str()));
    let share = Share { pattern, except: except.to_vec(), beneath: None };
    Ok(Given::Several(Several { label, store, share, folder: Some(name) }))
}

fn at_path(store: Store, top: &Path, path: &Path, except: &[String]) -> Result<Given, NotGiven> {
    let cannot = |error| StoreError::Io { what: format!("cannot open {}", path.display()), error };
    let real = path.canonicalize().map_err(cannot)?;
    if let Some(Ok(name)) =
        real.strip_prefix(top).ok().and_then(Path::to_str).map(str::parse::<FileName>)
    {
        return in_folder(store, top, name, "", except);
    }
    if !real.is_dir() {
        // As it was typed: a link to a file is called by its own name.
        return Ok(Given::Elsewhere(path.to_owned()));
    }
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let beneath: FileName = name.parse().map_err(StoreError::BadName)?;
    let label =
        format!("{}/ (from {})", quoted(beneath.as_str()), shown(&real.display().to_string()));
    let share = Share { pattern: None, except: except.to_vec(), beneath: Some(beneath) };
    Ok(Given::Several(Several { label, store: Store::borrow(&real)?, share, folder: None }))
}

fn by_pattern(
    work: &Work<'_>,
    store: Store,
    (typed, is_path): (&str, bool),
    except: &[String],
) -> Result<Given, NotGiven> {
    let is_glob = is_pattern(typed.trim_end_matches('/'));
    if is_glob && Selection::new(Some(typed), except).is_ok() {
        let label = quoted(typed).into_owned();
        let share =
            |pattern| Share { pattern: Some(pattern), except: except.to_vec(), beneath: None };
        let served = (store.clone(), share(typed.to_owned()));
        let here = pattern_here(&store, typed)?.map(|(store, pattern)| (store, share(pattern)));
        for (store, share) in (!is_path).then_some(served).into_iter().chain(here) {
            if fits_anything(&store, &share)? {
                return Ok(Given::Several(Several { label, store, share, folder: None }));
            }
        }
    }
    if let Some(why) = why_unseen(Path::new(typed)) {
        return Err(NotGiven::Missing(format!("{} {why}", shown(typed))));
    }
    let what = if is_glob { "nothing here fits" } else { "there is no file or folder" };
    let near = Near::among(typed, names_near(&store, typed).iter().map(String::as_str));
    let folder =
        shown(&work.transfers.surroundings.served_files.display().to_string()).into_owned();
    let hint = near.meant().map_or_else(
        || format!("it is looked for in {folder} and where you stand"),
        |names| format!("did you mean {names}?"),
    );
    let is_range = matches!(Selector::parse(typed), Some(Ok(Selector::Range(_))));
    let no_peer = if is_range { "; no peer is called so, either" } else { "" };
    Err(NotGiven::Missing(format!("{what} {}; {hint}{no_peer}", quoted(typed))))
}

/// The folder that the first parts of a pattern of paths lead to, and the pattern of names there;
/// none where there is no such folder.
fn pattern_here(served: &Store, typed: &str) -> Result<Option<(Store, String)>, StoreError> {
    let is_glob = |part: &str| is_pattern(part) && !part.is_empty();
    let parts: Vec<&str> = typed.split('/').collect();
    let plain = parts.iter().take_while(|part| !is_glob(part)).count();
    let (folder, pattern) = parts.split_at(plain);
    let folder = match folder {
        [] => ".".to_owned(),
        _ => format!("{}/", folder.join("/")),
    };
    let Ok(folder) = Path::new(&folder).canonicalize() else { return Ok(None) };
    let pattern = pattern.join("/");
    if let Some(Ok(above)) =
        folder.strip_prefix(served.folder()).ok().and_then(Path::to_str).map(str::parse::<FileName>)
    {
        let pattern = format!("{}/{pattern}", escaped(above.as_str()));
        return Ok(Some((served.clone(), pattern)));
    }
    Ok(Some((Store::borrow(&folder)?, pattern)))
}

fn fits_anything(store: &Store, share: &Share) -> Result<bool, StoreError> {
    let query = ListQuery {
        pattern: share.pattern.clone(),
        except: share.except.clone(),
        folders: true,
        limit: 1,
        ..ListQuery::default()
    };
    let page = store.list(&query)?;
    Ok(!page.entries.is_empty() || page.left_out > 0)
}

/// Why something that may be there cannot be seen.
fn why_unseen(path: &Path) -> Option<&'static str> {
    match path.try_exists() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Some("cannot be looked at: no permission for a folder on the way to it")
        }
        Ok(false) if path.is_symlink() => Some("is a link that leads to nothing"),
        _ => None,
    }
}

/// Names in the served folder, and beside what was typed.
fn names_near(store: &Store, typed: &str) -> Vec<String> {
    let query = ListQuery { folders: true, limit: usize::MAX, ..ListQuery::default() };
    let served = store.list(&query).map(|page| page.entries).unwrap_or_default();
    let slash = |folder: bool| if folder { "/" } else { "" };
    let served = served.into_iter().map(|entry| format!("{}{}", entry.name, slash(entry.folder)));
    served.chain(store::names_beside(Path::new(typed))).collect()
}
