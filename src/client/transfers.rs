//! Does the commands: decides whom to ask, has it done, and tells how it went.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::grammar::{Choice, Command, Connect, List, Manner, Search, Transfer};
use super::interrupts::{Interrupts, Watched};
use super::jobs::{self, Jobs};
use super::local::Given;
use super::place::Place;
use super::said::Said;
use super::targets::{Chosen, Names, choose};
use super::usage::UsageError;
use super::work::{Work, one_after_the_other, retried};
use super::{
    Execute, ExitStatus, Surroundings, classic, filelist, folder, local, meaning, own, ping, search, shown,
    torrent, upload,
};
use crate::config;
use crate::connection::Identity;
use crate::content::name::{PRIVATE_FOLDER, is_private};
use crate::fetch::{Caller, Waits};
use crate::store::{Store, StoreError};
use crate::topology::{Peer, Topology};
use crate::transport::Cancel;

/// Does listings, uploads and downloads, one after the other.
pub struct Transfers {
    pub(super) surroundings: Surroundings,
    store: Mutex<Option<Store>>,
    pub(super) classic: classic::Known,
    interrupts: Interrupts,
    /// Peers of this session that the settings do not list.
    connected: Vec<Peer>,
    /// Names that peers have listed.
    offered: Mutex<BTreeSet<String>>,
    jobs: Jobs,
    /// What ends the one command of a job.
    ends: Option<Cancel>,
}

impl Transfers {
    /// Nothing is opened before a command needs it.
    pub fn new(surroundings: Surroundings) -> Self {
        let (classic, interrupts) = (classic::Known::default(), Interrupts::default());
        Self {
            surroundings,
            store: Mutex::default(),
            classic,
            interrupts,
            connected: Vec::new(),
            offered: Mutex::default(),
            jobs: Jobs::default(),
            ends: None,
        }
    }

    /// For one command that runs beside the prompt, and ends with `cancel` instead of by Ctrl-C.
    pub(super) fn of_job(surroundings: Surroundings, cancel: Cancel) -> Self {
        Self { ends: Some(cancel), ..Self::new(surroundings) }
    }

    /// Says when a peer comes or goes, until this is cancelled.
    pub(super) fn tell_changes(&self, topology: &Topology) {
        let own = self.surroundings.own.as_ref();
        let others = topology.peers().iter().filter(|peer| Some(&peer.id) != own && !peer.classic);
        let (cancel, _) = self.begin();
        let peers: Vec<Peer> = others.take(config::BACKGROUND_MOST).cloned().collect();
        ping::tell_changes(&self.work(peers, &cancel, &Manner::default(), topology));
    }

    /// Remembers what a peer offers, for completing what is typed.
    pub(super) fn note_offered<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        let room = config::OFFERED_KEPT.saturating_sub(offered.len());
        offered.extend(names.take(room).map(str::to_owned));
    }

    /// The own served folder for what only reads: where there is none, none is made.
    pub(super) fn store_to_read(&self) -> Result<Store, StoreError> {
        if self.opened().is_none() && !Path::new(&self.surroundings.served_files).exists() {
            return Store::nowhere();
        }
        self.store()
    }

    /// The own served folder, opened on first use and made where it is missing.
    pub(super) fn store(&self) -> Result<Store, StoreError> {
        let mut opened = self.opened();
        if let Some(store) = &*opened {
            return Ok(store.clone());
        }
        let store = Store::open(Path::new(&self.surroundings.served_files))?;
        *opened = Some(store.clone());
        Ok(store)
    }

    /// Removes the served folder that a command made and that nothing came into.
    fn leave_nothing(&self) {
        if let Some(store) = self.opened().take() {
            store.leave_nothing();
        }
    }

    fn opened(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Execute for Transfers {
    fn begin_beside(
        &mut self,
        (command, manner, line): (&Command, &Manner, &str),
        topology: &Topology,
    ) -> ExitStatus {
        let surroundings = self.surroundings.clone();
        let topology = topology.with(&self.connected);
        match self.jobs.begin(surroundings, (command, manner, line), &topology) {
            Ok(number) => {
                self.surroundings.bars.note(&format!("[{number}] {}", shown(line)));
                ExitStatus::Success
            }
            Err(error) => {
                self.surroundings.bars.error(&format!("cannot begin {}: {error}", shown(line)));
                ExitStatus::Failed
            }
        }
    }

    fn running(&mut self) -> usize {
        self.jobs.running()
    }

    fn watch(&mut self, topology: &Topology) {
        let topology = topology.with(&self.connected);
        self.jobs.watch(self.surroundings.clone(), &topology);
    }

    fn end(&mut self, now: bool) -> ExitStatus {
        self.jobs.end(now)
    }

    fn print_to(&mut self, print: Box<dyn FnMut(String) + Send>) {
        self.jobs.print_to(jobs::printer(print));
    }

    fn offered(&self) -> Vec<String> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn known(&self, topology: &Topology) -> Topology {
        topology.with(&self.connected)
    }

    fn execute(&mut self, command: &Command, manner: &Manner, topology: &Topology) -> ExitStatus {
        let topology = &topology.with(&self.connected);
        let done = match command {
            Command::Filelist(typed) => self.filelist(typed, manner, topology),
            Command::Upload(typed) => self.upload(typed, manner, topology),
            Command::Download(typed) => self.download(typed, manner, topology),
            Command::Search(typed) => self.search(typed, manner, topology),
            Command::Peers(typed) => self.ping(&typed.words, typed.watch, topology),
            Command::Ping { words } => self.ping(words, false, topology),
            Command::Connect(typed) => self.connect(typed, topology),
            Command::Files { names, null } => {
                let (cancel, _watched) = self.begin();
                Ok(own::list(self, names, *null, &cancel))
            }
            Command::Parts(typed) => Ok(own::parts(self, typed)),
            Command::Publish(typed) => Ok(own::publish(self, typed)),
            Command::Create { path, out } => {
                let (cancel, _watched) = self.begin();
                Ok(torrent::create(self, path, out.as_deref(), &cancel))
            }
            Command::Verify { names } => {
                let (cancel, _watched) = self.begin();
                Ok(own::verify(self, names, &cancel))
            }
            Command::Status => Ok(self.jobs.show(&self.surroundings.bars)),
            Command::Cancel { number } => Ok(self.cancel(*number)),
            Command::Help { .. } | Command::Quit => Ok(ExitStatus::Success),
        };
        let bars = &self.surroundings.bars;
        let status = done.unwrap_or_else(|error| {
            bars.error(&error.to_string());
            ExitStatus::Usage
        });
        let (command, exit, meaning) = (command.name(), status.code(), status.meaning());
        status.then(bars.emit(&Said::Summary { command, exit, meaning }))
    }
}

impl Transfers {
    fn filelist(&self, typed: &List, manner: &Manner, topology: &Topology) -> Result<ExitStatus, UsageError> {
        let chosen = self.choose(&typed.words, &typed.choice, Names::Anywhere, topology)?;
        let (cancel, _watched) = self.begin();
        let work = self.work(chosen.peers, &cancel, manner, topology);
        if chosen.names.is_empty() {
            return Ok(filelist::run(&work, None, &chosen.except, typed.null));
        }
        let list = |name: &String| filelist::run(&work, Some(name), &chosen.except, typed.null);
        Ok(one_after_the_other(&chosen.names, &cancel, list))
    }

    fn upload(
        &self,
        typed: &Transfer,
        manner: &Manner,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let is_here = |word: &str| local::is_here(self, word);
        let chosen = self.choose(&typed.words, &typed.choice, Names::InFront(&is_here), topology)?;
        let (cancel, _watched) = self.begin();
        let place = Place::at_peers(typed, &chosen.names)?;
        let work = self.work(chosen.peers, &cancel, manner, topology);
        let work = Work { swarm: !typed.no_swarm, dry_run: typed.dry_run, ..work };
        // All of them are looked for before any of them is sent.
        let mut given = Vec::new();
        for name in &chosen.names {
            let found = local::find(&work, name, &chosen.except).and_then(|found| place.of_upload(found));
            match found {
                Ok(found) => given.push(found),
                Err(error) => {
                    let bars = &self.surroundings.bars;
                    bars.error(&format!("cannot upload {}: {}", shown(name), shown(&error.to_string())));
                    return Ok(ExitStatus::from(&error));
                }
            }
        }
        if typed.wait && !ping::wait_for_all(&work) {
            return Ok(ExitStatus::Interrupted);
        }
        let retries = manner.retries.unwrap_or(0);
        Ok(one_after_the_other(&given, &cancel, |(given, name)| {
            let work = Work { name: name.clone(), ..work.among(work.peers.clone()) };
            retried(retries, &work, || match given {
                Given::Several(several) => folder::upload(&work, several, typed.replace),
                Given::Served(name) => upload::run(&work, &upload::From::Served(name.clone()), typed.replace),
                Given::Elsewhere(path) => {
                    upload::run(&work, &upload::From::Elsewhere(path.clone()), typed.replace)
                }
            })
        }))
    }

    fn download(
        &self,
        typed: &Transfer,
        manner: &Manner,
        topology: &Topology,
    ) -> Result<ExitStatus, UsageError> {
        let chosen = self.choose(&typed.words, &typed.choice, Names::InFront(&|_| false), topology)?;
        let (cancel, _watched) = self.begin();
        let name = Place::of(typed, &chosen.names)?.name;
        let bars = &self.surroundings.bars;
        if let Some(to) = &typed.to {
            check_folder(to)?;
        }
        let folder = typed.to.as_ref().map_or(self.surroundings.served_files.as_path(), Path::new).to_owned();
        let (was_there, was_kept) = (folder.exists(), folder.join(PRIVATE_FOLDER).exists());
        let to = match typed.to.as_ref().map(|_| Store::open(&folder)).transpose() {
            Ok(to) => to,
            Err(error) => {
                let why = match &error {
                    StoreError::NoFolder { path } => format!("--to {path}: it is no folder"),
                    error => error.to_string(),
                };
                bars.error(&shown(&why));
                return Ok(ExitStatus::from(&error));
            }
        };
        let work = self.work(chosen.peers, &cancel, manner, topology);
        let work = Work { swarm: !typed.no_swarm, dry_run: typed.dry_run, to: to.clone(), name, ..work };
        let all_are_up = !typed.wait || ping::wait_for_all(&work);
        let retries = manner.retries.unwrap_or(0);
        let fetch = |name: &String| {
            retried(retries, &work, || match torrent::download(&work, name, typed.replace) {
                Some(status) => status,
                None => meaning::download(&work, name, &chosen.except, typed.replace),
            })
        };
        let status = match all_are_up {
            true => one_after_the_other(&chosen.names, &cancel, fetch),
            false => ExitStatus::Interrupted,
        };
        match to {
            // What is fetched once into some folder leaves nothing of ours there.
            Some(to) if !was_kept => to.leave_no_trace(),
            Some(_) => {}
            None if !was_there => self.leave_nothing(),
            None => {}
        }
        Ok(status)
    }

    fn search(&self, typed: &Search, manner: &Manner, topology: &Topology) -> Result<ExitStatus, UsageError> {
        let choice = Choice { peers: Vec::new(), exclude: typed.exclude.clone() };
        let chosen = self.choose(&typed.words, &choice, Names::Nowhere, topology)?;
        let (cancel, _watched) = self.begin();
        let work = self.work(chosen.peers, &cancel, manner, topology);
        Ok(search::run(&work, &typed.wanted, &chosen.except))
    }

    fn connect(&mut self, typed: &Connect, topology: &Topology) -> Result<ExitStatus, UsageError> {
        let peer = Peer::anybody_at(&typed.place, typed.id.clone()).map_err(UsageError::NoPeer)?;
        let is_taken =
            |known: &&Peer| known.id == peer.id && (&known.address, known.port) != (&peer.address, peer.port);
        if let Some(known) = topology.peers().iter().find(is_taken) {
            return Err(UsageError::NoPeer(format!("{} is called so already; choose another id", known)));
        }
        let (cancel, _watched) = self.begin();
        let work = self.work(vec![peer.clone()], &cancel, &Manner::default(), topology);
        let status = ping::run(&work);
        if status == ExitStatus::Success && topology.find(&peer.id).is_none() {
            self.connected.push(peer);
        }
        Ok(status)
    }

    fn ping(&self, words: &[String], watch: bool, topology: &Topology) -> Result<ExitStatus, UsageError> {
        let chosen = self.choose(words, &Choice::default(), Names::Nowhere, topology)?;
        let (cancel, _watched) = self.begin();
        let work = self.work(chosen.peers, &cancel, &Manner::default(), topology);
        Ok(if watch { ping::watch(&work) } else { ping::run(&work) })
    }

    fn choose(
        &self,
        words: &[String],
        choice: &Choice,
        names: Names<'_>,
        topology: &Topology,
    ) -> Result<Chosen, UsageError> {
        choose(words, choice, names, (topology, self.surroundings.own.as_ref()))
    }

    /// What ends a command, and what has Ctrl-C do so while it is there.
    fn begin(&self) -> (Cancel, Option<Watched>) {
        match &self.ends {
            Some(cancel) => (cancel.clone(), None),
            None => {
                let cancel = Cancel::new();
                let watched = self.interrupts.watch(&cancel);
                (cancel, Some(watched))
            }
        }
    }

    fn cancel(&mut self, number: u32) -> ExitStatus {
        match self.jobs.cancel(number) {
            true => ExitStatus::Success,
            false => {
                self.surroundings
                    .bars
                    .error(&format!("nothing that runs has the number {number}; see #STATUS"));
                ExitStatus::Usage
            }
        }
    }

    fn work<'a>(
        &'a self,
        peers: Vec<Peer>,
        cancel: &Cancel,
        manner: &Manner,
        topology: &'a Topology,
    ) -> Work<'a> {
        let Surroundings { own, network, waits, .. } = &self.surroundings;
        let identity = Identity { peer: own.clone(), read_only: false };
        let caller = Caller { identity, network: network.clone() };
        let waits = Waits { outage: manner.timeout.unwrap_or(waits.outage), ..*waits };
        Work {
            transfers: self,
            peers,
            topology,
            caller,
            cancel: cancel.clone(),
            swarm: false,
            waits,
            to: None,
            name: None,
            described: None,
            dry_run: false,
        }
    }
}

/// Whether downloads may go to this folder.
fn check_folder(to: &str) -> Result<(), UsageError> {
    let parts = Path::new(to).components().filter_map(|part| part.as_os_str().to_str());
    match () {
        () if to.is_empty() => Err(UsageError::NoPeer("--to needs the name of a folder".to_owned())),
        () if parts.into_iter().any(is_private) => {
            Err(UsageError::NoPeer(format!("--to {}: peershare keeps that folder for itself", shown(to))))
        }
        () => Ok(()),
    }
}
