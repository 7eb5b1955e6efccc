//! Commands about peers: whom each asks, for what, and what it leaves behind.

use std::path::{Path, PathBuf};

use super::grammar::{Choice, Connect, List, Manner, Search, Transfer};
use super::local::{Given, NotGiven};
use super::place::Place;
use super::targets::{Chosen, Names};
use super::transfers::Transfers;
use super::usage::UsageError;
use super::work::{Work, one_after_the_other, retried};
use super::{ExitStatus, filelist, folder, local, meaning, ping, search, shown, torrent, upload};
use crate::content::name::{PRIVATE_FOLDER, is_private};
use crate::content::pattern::BadPattern;
use crate::content::{FileName, RootPrefix, Selection};
use crate::store::{Store, StoreError};
use crate::topology::{Peer, Topology};

impl Transfers {
    pub(super) fn filelist(
        &self,
        typed: &List,
        manner: &Manner,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let chosen = self.choose(&typed.words, &typed.choice, Names::Anywhere, topology)?;
        let (cancel, _watched) = self.begin();
        let work = self.work(chosen.peers, &cancel, manner, topology);
        let how = (typed.null, typed.choice.peers.is_empty());
        if chosen.names.is_empty() {
            return Ok(filelist::run(&work, None, &chosen.except, how));
        }
        let list = |name: &String| filelist::run(&work, Some(name), &chosen.except, how);
        Ok(one_after_the_other(&chosen.names, &cancel, list))
    }

    pub(super) fn upload(
        &self,
        typed: &Transfer,
        manner: &Manner,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let is_here = |word: &str| local::is_here(self, word);
        let chosen =
            self.choose(&typed.words, &typed.choice, Names::InFront(&is_here), topology)?;
        let (cancel, _watched) = self.begin();
        let place = Place::at_peers(typed, &chosen.names)?;
        let work = self.work(chosen.peers.clone(), &cancel, manner, topology);
        let work = Work { swarm: !typed.no_swarm, dry_run: typed.dry_run, ..work };
        let given = match found(&work, &chosen, &place, &LeftOut::of(&chosen.except)?) {
            Ok(given) => given,
            Err(status) => return Ok(status),
        };
        if given.is_empty() {
            return Err(LeftOut::all());
        }
        if typed.wait && !ping::wait_for_all(&work) {
            return Ok(ExitStatus::Interrupted);
        }
        let retries = manner.retries.unwrap_or(0);
        Ok(one_after_the_other(&given, &cancel, |(given, name)| {
            let work = Work { name: name.clone(), ..work.among(work.peers.clone()) };
            retried(retries, &work, || match given {
                Given::Several(several) => folder::upload(&work, several, typed.replace),
                Given::Served(name) => {
                    upload::run(&work, &upload::From::Served(name.clone()), typed.replace)
                }
                Given::Elsewhere(path) => {
                    upload::run(&work, &upload::From::Elsewhere(path.clone()), typed.replace)
                }
            })
        }))
    }

    pub(super) fn download(
        &self,
        typed: &Transfer,
        manner: &Manner,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let is_id = |word: &str| word.parse::<RootPrefix>().is_ok();
        let chosen = self.choose(&typed.words, &typed.choice, Names::InFront(&is_id), topology)?;
        let (cancel, _watched) = self.begin();
        let name = Place::of(typed, &chosen.names)?.name;
        let left_out = LeftOut::of(&chosen.except)?;
        let (names, not): (Vec<&String>, Vec<&String>) =
            chosen.names.iter().partition(|name| !left_out.has(name.trim_end_matches('/')));
        if names.is_empty() {
            return Err(LeftOut::all());
        }
        let audience = &self.surroundings.audience;
        not.iter().for_each(|name| audience.note(&format!("-x leaves out {}", shown(name))));
        if let Some(to) = &typed.to {
            check_folder(to)?;
        }
        let destination = match Destination::open(self, typed.to.as_deref()) {
            Ok(destination) => destination,
            Err(status) => return Ok(status),
        };
        let work = self.work(chosen.peers, &cancel, manner, topology);
        let (swarm, dry_run, to) = (!typed.no_swarm, typed.dry_run, destination.to.clone());
        let work = Work { swarm, dry_run, to, name, ..work };
        let all_are_up = !typed.wait || ping::wait_for_all(&work);
        let retries = manner.retries.unwrap_or(0);
        let fetch = |name: &String| {
            retried(retries, &work, || {
                torrent::download(&work, name, &chosen.except, typed.replace).unwrap_or_else(|| {
                    meaning::download(&work, name, &chosen.except, typed.replace)
                })
            })
        };
        let status = match all_are_up {
            true => one_after_the_other(names, &cancel, fetch),
            false => ExitStatus::Interrupted,
        };
        destination.leave(self);
        Ok(status)
    }

    pub(super) fn search(
        &self,
        typed: &Search,
        manner: &Manner,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let choice = Choice { peers: Vec::new(), exclude: typed.exclude.clone() };
        let chosen = self.choose(&typed.words, &choice, Names::Nowhere, topology)?;
        let (cancel, _watched) = self.begin();
        let work = self.work(chosen.peers, &cancel, manner, topology);
        Ok(search::run(&work, &typed.wanted, &chosen.except))
    }

    pub(super) fn connect(
        &mut self,
        typed: &Connect,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let peer = Peer::anybody_at(&typed.place, typed.id.clone()).map_err(UsageError::NoPeer)?;
        let is_taken = |known: &&Peer| {
            known.id == peer.id && (&known.address, known.port) != (&peer.address, peer.port)
        };
        if let Some(known) = topology.peers().iter().find(is_taken) {
            return Err(UsageError::NoPeer(format!(
                "{} is called so already; choose another id",
                known
            )));
        }
        let (cancel, _watched) = self.begin();
        let work = self.work(vec![peer.clone()], &cancel, &Manner::default(), topology);
        let status = ping::run(&work);
        if status == ExitStatus::Success && topology.find(&peer.id).is_none() {
            self.connected.push(peer);
        }
        Ok(status)
    }

    pub(super) fn ping(
        &self,
        (words, exclude): (&[String], &[String]),
        watch: bool,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let choice = Choice { peers: Vec::new(), exclude: exclude.to_vec() };
        let chosen = self.choose(words, &choice, Names::Nowhere, topology)?;
        if let Some(word) = chosen.except.first() {
            return Err(UsageError::NoPeer(format!("-x {}: no peer is called so", shown(word))));
        }
        let (cancel, _watched) = self.begin();
        let work = self.work(chosen.peers, &cancel, &Manner::default(), topology);
        Ok(if watch { ping::watch(&work) } else { ping::run(&work) })
    }
}

/// What is given away and, where that is another, its name there; none of it is sent before all of
/// it was found. What was told is why something was not.
fn found(
    work: &Work<'_>,
    chosen: &Chosen,
    place: &Place,
    left_out: &LeftOut,
) -> Result<Vec<(Given, Option<FileName>)>, ExitStatus> {
    let audience = &work.transfers.surroundings.audience;
    let find = |name: &str| -> Result<_, NotGiven> {
        let found = local::find(work, name, &chosen.except)?;
        let is_left = match &found {
            Given::Several(several) => !several.is_left_out()?,
            file => !file.file_name().is_some_and(|name| left_out.has(name)),
        };
        is_left.then(|| place.of_upload(found)).transpose()
    };
    let mut given = Vec::new();
    for name in &chosen.names {
        match find(name) {
            Ok(None) => audience.note(&format!("-x leaves out {}", shown(name))),
            Ok(Some(found)) => given.push(found),
            Err(error) => {
                let why = error.to_string();
                audience.error(&format!("cannot upload {}: {}", shown(name), shown(&why)));
                return Err(ExitStatus::from(&error));
            }
        }
    }
    Ok(given)
}

/// Where downloads go, and what was there before.
struct Destination {
    /// The folder that `--to` names.
    to: Option<Store>,
    was_there: bool,
    /// Whether it had something of ours.
    was_kept: bool,
}

impl Destination {
    /// What was told is why it cannot be used.
    fn open(transfers: &Transfers, to: Option<&str>) -> Result<Self, ExitStatus> {
        let served = || transfers.surroundings.served_files.clone();
        let folder = to.map_or_else(served, PathBuf::from);
        let (was_there, was_kept) = (folder.exists(), folder.join(PRIVATE_FOLDER).exists());
        match to.map(|_| Store::open(&folder)).transpose() {
            Ok(to) => Ok(Self { to, was_there, was_kept }),
            Err(error) => {
                let why = match &error {
                    StoreError::NoFolder { path } => format!("--to {path}: it is no folder"),
                    error => error.to_string(),
                };
                transfers.surroundings.audience.error(&shown(&why));
                Err(ExitStatus::from(&error))
            }
        }
    }

    /// What is fetched once into some folder leaves nothing of ours there, and a folder that was
    /// made in vain goes again.
    fn leave(&self, transfers: &Transfers) {
        match &self.to {
            Some(to) if !self.was_kept => {
                to.leave_no_trace();
                if !self.was_there {
                    to.leave_nothing();
                }
            }
            None if !self.was_there => transfers.leave_nothing(),
            _ => {}
        }
    }
}

/// Whether downloads may go to this folder.
fn check_folder(to: &str) -> Result<(), UsageError> {
    let parts = Path::new(to).components().filter_map(|part| part.as_os_str().to_str());
    match () {
        () if to.is_empty() => {
            Err(UsageError::NoPeer("--to needs the name of a folder".to_owned()))
        }
        () if parts.into_iter().any(is_private) => Err(UsageError::NoPeer(format!(
            "--to {}: peershare keeps that folder for itself",
            shown(to)
        ))),
        () => Ok(()),
    }
}

/// What `-x` leaves out of the names that are given outright; folders and patterns leave it out of
/// what is in them.
struct LeftOut(Selection);

impl LeftOut {
    fn of(except: &[String]) -> Result<Self, UsageError> {
        let nothing_else = Selection::new(None, except);
        let bad = |bad: BadPattern| UsageError::NoPeer(format!("-x {bad}"));
        nothing_else.map(Self).map_err(bad)
    }

    fn has(&self, name: &str) -> bool {
        !self.0.selects(name)
    }

    fn all() -> UsageError {
        UsageError::NoPeer("-x leaves out everything that is named".to_owned())
    }
}
