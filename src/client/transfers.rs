//! Does the commands: decides whom to ask, has it done, and tells how it went.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use super::grammar::{Choice, Command, Manner};
use super::interrupts::{Interrupts, Watched};
use super::jobs::{self, Jobs};
use super::said::Said;
use super::targets::{Chosen, Names, choose};
use super::usage::UsageError;
use super::work::Work;
use super::{Execute, ExitStatus, Surroundings, classic, own, ping, publish, shown, torrent};
use crate::config;
use crate::connection::Identity;
use crate::fetch::{Caller, Waits};
use crate::locks::lock;
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
    pub(super) connected: Vec<Peer>,
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
        let mut offered = lock(&self.offered);
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
    pub(super) fn leave_nothing(&self) {
        if let Some(store) = self.opened().take() {
            store.leave_nothing();
        }
    }

    fn opened(&self) -> MutexGuard<'_, Option<Store>> {
        lock(&self.store)
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
                self.surroundings.audience.note(&format!("[{number}] {}", shown(line)));
                ExitStatus::Success
            }
            Err(error) => {
                self.surroundings.audience.error(&format!("cannot begin {}: {error}", shown(line)));
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
        lock(&self.offered).iter().cloned().collect()
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
            Command::Peers(typed) => {
                self.ping((&typed.words, &typed.exclude), typed.watch, topology)
            }
            Command::Ping { words, exclude } => self.ping((words, exclude), false, topology),
            Command::Connect(typed) => self.connect(typed, topology),
            Command::Files { names, null } => {
                let (cancel, _watched) = self.begin();
                Ok(own::list(self, names, *null, &cancel))
            }
            Command::Parts(typed) => Ok(own::parts(self, typed)),
            Command::Publish(typed) => {
                let (cancel, _watched) = self.begin();
                Ok(publish::run(self, typed, &cancel))
            }
            Command::Create { path, out } => {
                let (cancel, _watched) = self.begin();
                Ok(torrent::create(self, path, out.as_deref(), &cancel))
            }
            Command::Verify { names } => {
                let (cancel, _watched) = self.begin();
                Ok(own::verify(self, names, &cancel))
            }
            Command::Status => Ok(self.jobs.show(self.surroundings.audience.as_ref())),
            Command::Cancel { number } => Ok(self.cancel(*number)),
            Command::Help { .. } | Command::Quit => Ok(ExitStatus::Success),
        };
        let audience = &self.surroundings.audience;
        let status = done.unwrap_or_else(|error| {
            audience.error(&error.to_string());
            ExitStatus::Usage
        });
        let (command, exit, meaning) = (command.name(), status.code(), status.meaning());
        status.then(audience.emit(&Said::Summary { command, exit, meaning }))
    }
}

impl Transfers {
    pub(super) fn choose(
        &self,
        words: &[String],
        choice: &Choice,
        names: Names<'_>,
        topology: &Topology,
    ) -> Result<Chosen, UsageError> {
        choose(words, choice, names, (topology, self.surroundings.own.as_ref()))
    }

    /// What ends a command, and what has Ctrl-C do so while it is there.
    pub(super) fn begin(&self) -> (Cancel, Option<Watched>) {
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
                    .audience
                    .error(&format!("nothing that runs has the number {number}; see #STATUS"));
                ExitStatus::Usage
            }
        }
    }

    pub(super) fn work<'a>(
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
