//! Which files are being hashed, so that no file is hashed twice at once and everybody who asks is
//! told how far it is.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::disk::Disk;
use super::identity::Identity;
use super::job::{End, Job, Open, Task};
use super::listing::Names;
use super::pool::HashPool;
use super::{StoreError, calls, small};
use crate::config;
use crate::content::manifest::BadManifest;
use crate::content::{ChunkIndex, ChunkLayout, ChunkSet, Digest, FileName, Manifest};
use crate::locks::lock;

pub(super) struct Hashing {
    disk: Arc<Disk>,
    pool: HashPool,
    register: Arc<Register>,
    /// Tells the backlog to end.
    closed: Arc<AtomicBool>,
    /// When it was last looked for what is not hashed yet.
    looked: Mutex<Option<Instant>>,
}

/// Files of the served folder that are being hashed, or could not be a moment ago.
#[derive(Default)]
struct Register(Mutex<HashMap<FileName, Registered>>);

enum Registered {
    /// With what the file was when the job began.
    Running(Arc<Job>, Identity),
    Failed {
        error: StoreError,
        since: Instant,
    },
}

impl Hashing {
    /// Nothing is hashed, and no thread started, before somebody asks.
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        let (pool, register, closed) = (HashPool::new(), Arc::default(), Arc::default());
        Self { disk, pool, register, closed, looked: Mutex::default() }
    }

    /// Has a file of the served folder hashed before those that nobody asked for. Says so if that
    /// failed a moment ago; the next call tries again.
    pub(super) fn request(
        &self,
        name: &FileName,
        identity: Identity,
    ) -> Result<Arc<Job>, StoreError> {
        self.request_as(name, identity).map(|(job, _)| job)
    }

    /// The same; says what the file was when the job began, which is less than now where it grows.
    fn request_as(
        &self,
        name: &FileName,
        identity: Identity,
    ) -> Result<(Arc<Job>, Identity), StoreError> {
        if let Some(error) = self.register.take_failure(name) {
            return Err(error);
        }
        let fresh = || job_of(&self.disk, &self.register, name, identity);
        let (job, begun) = self.register.running_or(name, identity, fresh)?;
        self.pool.submit(&job)?;
        Ok((job, begun))
    }

    /// Whether anything is being hashed.
    pub(super) fn is_busy(&self) -> bool {
        self.pool.is_busy()
    }

    /// The same, and waits for the manifest.
    pub(super) fn manifest(
        &self,
        name: &FileName,
        identity: Identity,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<Manifest>, StoreError> {
        self.manifest_as(name, identity, progress).map(|(manifest, _)| manifest)
    }

    /// The same; says what the file was that the manifest is about.
    pub(super) fn manifest_as(
        &self,
        name: &FileName,
        identity: Identity,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<(Arc<Manifest>, Identity), StoreError> {
        self.register.take_failure(name);
        let (job, begun) = self.request_as(name, identity)?;
        let digests = job.wait(progress);
        self.register.take_failure(name);
        let digests = digests?;
        let manifest = match self.disk.catalog.find(name, &begun) {
            Some(manifest) => manifest,
            None => Arc::new(manifest_of(name, begun.length, digests)?),
        };
        Ok((manifest, begun))
    }

    /// Hashes a file that is not in the served folder, and waits.
    pub(super) fn hash_elsewhere(
        &self,
        name: &FileName,
        identity: Identity,
        open: Open,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<Manifest>, StoreError> {
        let layout = usual_layout(identity.length)?;
        let of = name.clone();
        let end: End = Box::new(move |result| unchanged(result?.0, &of, &identity));
        let chunks = layout.indices().collect();
        let digests = self.run(Task { name: name.clone(), layout, chunks, open, end }, progress)?;
        manifest_of(name, identity.length, digests).map(Arc::new)
    }

    /// Which of these chunks of an open file are what its manifest says. Waits.
    pub(super) fn verify(
        &self,
        file: &File,
        manifest: &Manifest,
        chunks: Vec<ChunkIndex>,
    ) -> Result<ChunkSet, StoreError> {
        let mut good = ChunkSet::none(manifest.layout());
        if chunks.is_empty() {
            return Ok(good);
        }
        let digests = self.digests(file, manifest.name(), *manifest.layout(), chunks.clone())?;
        for (index, digest) in chunks.into_iter().zip(digests) {
            if manifest.digests().get(index.as_usize()) == Some(&digest) {
                good.insert(index);
            }
        }
        Ok(good)
    }

    /// The digests of these chunks of an open file. Waits.
    pub(super) fn digests(
        &self,
        file: &File,
        name: &FileName,
        layout: ChunkLayout,
        chunks: Vec<ChunkIndex>,
    ) -> Result<Vec<Digest>, StoreError> {
        let what = format!("cannot read {name}");
        let file = calls::again(file).map_err(StoreError::io(what.clone()))?;
        let open: Open =
            Box::new(move || calls::again(&file).map_err(StoreError::io(what.clone())));
        let end: End = Box::new(|result| result.map(|_| ()));
        self.run(Task { name: name.clone(), layout, chunks, open, end }, &mut |_, _| true)
    }

    /// Hashes what came since everything was hashed, if it was not looked for a moment ago.
    pub(super) fn hash_new(&self) -> Result<(), StoreError> {
        let is_fresh = |looked: Instant| looked.elapsed() < config::HASH_AGAIN;
        if self.pool.is_busy() || lock(&self.looked).is_some_and(is_fresh) {
            return Ok(());
        }
        self.hash_all()
    }

    /// Waits until all of that is done, but no longer than that.
    pub(super) fn wait_until_idle(&self, time: Duration) {
        self.pool.wait_until_idle(time);
    }

    /// Hashes whatever is not hashed yet, when there is nothing else to do: small files together
    /// while the backlog looks for the next large one.
    pub(super) fn hash_all(&self) -> Result<(), StoreError> {
        *lock(&self.looked) = Some(Instant::now());
        let (disk, register, closed) =
            (Arc::clone(&self.disk), Arc::clone(&self.register), Arc::clone(&self.closed));
        let names = {
            let disk = Arc::clone(&self.disk);
            std::iter::once_with(move || Names::read(&disk.folder))
                .flatten()
                .flat_map(|names| names.sorted)
        };
        let files = names.filter(|named| !named.folder).map(|named| Some(named.name)).chain([None]);
        let (mut group, mut bytes) = (Vec::new(), 0);
        let jobs = files.filter_map(move |name| {
            if name.is_none()
                || bytes >= config::GATHER_BYTES
                || group.len() >= config::GATHER_FILES
            {
                small::hash(&disk, &std::mem::take(&mut group));
                bytes = 0;
            }
            let name = name.filter(|_| !closed.load(Relaxed))?;
            let identity = disk.folder.identity(&name).ok()?;
            if disk.catalog.root(&name, &identity).is_some() {
                return None;
            }
            if small::is_small(identity.length) {
                bytes += identity.length;
                group.push((name, identity));
                return None;
            }
            let fresh = || job_of(&disk, &register, &name, identity);
            register.running_or(&name, identity, fresh).ok().map(|(job, _)| job)
        });
        self.pool.submit_backlog(Box::new(jobs))
    }

    /// Interrupts all of it.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.pool.close();
    }

    /// Hashes now and waits; a caller that gives up takes the job with it.
    fn run(
        &self,
        task: Task,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Vec<Digest>, StoreError> {
        let job = Arc::new(Job::new(task));
        self.pool.submit(&job)?;
        let digests = job.wait(progress);
        job.interrupt();
        digests
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.closed.store(true, Relaxed);
    }
}

impl Register {
    /// The job that hashes that file, a new one if there is none, and what the file was when it
    /// began.
    fn running_or(
        &self,
        name: &FileName,
        identity: Identity,
        job: impl FnOnce() -> Result<Job, StoreError>,
    ) -> Result<(Arc<Job>, Identity), StoreError> {
        let mut files = lock(&self.0);
        if let Some(Registered::Running(job, begun)) = files.get(name)
            && job.is_running()
            && begun.is_or_grew(&identity)
        {
            return Ok((Arc::clone(job), *begun));
        }
        let job = Arc::new(job()?);
        files.insert(name.clone(), Registered::Running(Arc::clone(&job), identity));
        Ok((job, identity))
    }

    /// What went wrong with that file a moment ago; told once.
    fn take_failure(&self, name: &FileName) -> Option<StoreError> {
        let mut files = lock(&self.0);
        if !matches!(files.get(name), Some(Registered::Failed { .. })) {
            return None;
        }
        match files.remove(name) {
            Some(Registered::Failed { error, since }) => {
                (since.elapsed() < config::HASH_FAILURE_KEPT).then_some(error)
            }
            _ => None,
        }
    }

    fn ended(&self, name: &FileName, result: &Result<(), StoreError>) {
        let mut files = lock(&self.0);
        let is_old = |file: &Registered| match file {
            Registered::Failed { since, .. } => since.elapsed() >= config::HASH_FAILURE_KEPT,
            Registered::Running(..) => false,
        };
        // Not everybody comes back who asked for one that failed.
        files.retain(|_, file| !is_old(file));
        match result {
            Ok(()) => files.remove(name),
            Err(error) => {
                let failed = Registered::Failed { error: error.again(), since: Instant::now() };
                files.insert(name.clone(), failed)
            }
        };
    }
}

/// The job of hashing a file of the served folder and entering it in the catalog.
fn job_of(
    disk: &Arc<Disk>,
    register: &Arc<Register>,
    name: &FileName,
    identity: Identity,
) -> Result<Job, StoreError> {
    let (layout, then) = (usual_layout(identity.length)?, SystemTime::now());
    let open: Open = {
        let (disk, name) = (Arc::clone(disk), name.clone());
        Box::new(move || disk.open_at_least(&name, &identity))
    };
    let end: End = {
        let (disk, name) = (Arc::clone(disk), name.clone());
        let register: Weak<Register> = Arc::downgrade(register);
        Box::new(move |result| {
            let result = result.and_then(|(file, digests)| {
                unchanged(file, &name, &identity)?;
                let manifest = manifest_of(&name, identity.length, digests.to_vec())?;
                disk.catalog.remember(&Arc::new(manifest), identity, then);
                Ok(())
            });
            if let Some(register) = register.upgrade() {
                register.ended(&name, &result);
            }
            result
        })
    };
    let chunks = layout.indices().collect();
    Ok(Job::new(Task { name: name.clone(), layout, chunks, open, end }))
}

fn usual_layout(length: u64) -> Result<ChunkLayout, StoreError> {
    ChunkLayout::usual(length).map_err(|bad| not_hashable(&bad))
}

fn manifest_of(name: &FileName, length: u64, digests: Vec<Digest>) -> Result<Manifest, StoreError> {
    Manifest::from_digests(name.clone(), usual_layout(length)?, digests)
        .map_err(|bad: BadManifest| not_hashable(&bad))
}

fn not_hashable(bad: &dyn std::fmt::Display) -> StoreError {
    StoreError::Io {
        what: "cannot hash the file".to_owned(),
        error: std::io::Error::other(bad.to_string()),
    }
}

fn unchanged(file: &File, name: &FileName, before: &Identity) -> Result<(), StoreError> {
    let now = Identity::of(file).map_err(StoreError::reaching(name))?;
    // What grew meanwhile has another identity, so that nothing is taken for it but what was
    // described.
    match before.is_or_grew(&now) {
        true => Ok(()),
        false => Err(StoreError::Changed { name: name.clone() }),
    }
}
