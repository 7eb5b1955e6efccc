//! Forgetting files that are long gone, so that a folder whose files have ever new names does not
//! make its catalog grow without end.

use rustix::fs::FileType;

use super::StoreError;
use super::catalog::Catalog;
use super::disk::Disk;
use super::looking::Looker;
use crate::config;
use crate::content::FileName;
use crate::locks::lock;

impl Disk {
    /// Forgets the files that are not there, when they are most of all that are known. A disk that
    /// is only unplugged for a while is seldom that much, and costs hashing again if it is.
    pub(super) fn forget_gone(&self) -> Result<(), StoreError> {
        let names = self.catalog.known_names()?;
        if names.len() < config::NAMES_KEPT {
            return Ok(());
        }
        let (all, mut looker) = (names.len(), Looker::new(&self.folder));
        let mut gone = Vec::new();
        for name in names {
            match looker.look(&name) {
                Ok(seen) if seen.kind == FileType::RegularFile => {}
                Err(error) if error.is_passing() => return Err(error),
                Ok(_) | Err(_) => gone.push(name),
            }
        }
        // Three of four.
        if gone.len() / 3 < all - gone.len() {
            return Ok(());
        }
        self.catalog.forget(&gone).map_err(StoreError::io("cannot shorten the catalog"))?;
        log::info!("{} files that are not here any more are forgotten, of {all}", gone.len());
        Ok(())
    }
}

impl Catalog {
    /// The names of all files that are known, in their order.
    fn known_names(&self) -> Result<Vec<FileName>, StoreError> {
        let mut names: Vec<FileName> =
            self.readable()?.index.iter().map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn forget(&self, gone: &[FileName]) -> std::io::Result<()> {
        let mut state = lock(&self.state);
        gone.iter().for_each(|name| state.index.forget(name));
        state.compact(&self.private)
    }
}
