//! Hashes files again and compares with what the catalog says: a disk may lose bits, and a program
//! may write without the file's time changing.

use std::sync::Arc;
use std::time::SystemTime;

use super::identity::Identity;
use super::{Store, StoreError};
use crate::content::{FileName, Manifest, Root, merkle};

/// What became of checking one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    /// It is what it was.
    Same,
    /// It was not known, and is now.
    Fresh,
    /// It has been written to since, and is another now.
    Changed {
        /// What it was.
        was: Root,
        /// What it is.
        is: Root,
    },
    /// Its content is another, though nothing says that it was written to.
    Damaged {
        /// What it was.
        was: Root,
        /// What it is.
        is: Root,
    },
}

impl Store {
    /// Hashes a file and compares it with what is known of it. What turns out to be another is
    /// served as what it is from then on. `progress` is as for [`Store::manifest`].
    pub fn verify(
        &self,
        name: &FileName,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Checked, StoreError> {
        let inner = self.looked_at()?;
        let (file, identity) = inner.disk.folder.open_file(name)?;
        let was = inner.disk.catalog.last_root(name);
        let Some(known) = inner.disk.catalog.find(name, &identity) else {
            let is = self.manifest(name, progress)?.root();
            return Ok(match was {
                None => Checked::Fresh,
                // Its time or mode alone is another, or it was written anew with the same bytes.
                Some(was) if was == is => Checked::Same,
                Some(was) => Checked::Changed { was, is },
            });
        };
        let layout = *known.layout();
        let (mut digests, mut done) = (Vec::with_capacity(layout.count() as usize), 0);
        // Some at a time, so that it can be shown how far it is, and ended.
        let all: Vec<_> = layout.indices().collect();
        for some in all.chunks(AT_ONCE) {
            if !progress(done, layout.length()) {
                return Err(StoreError::Interrupted);
            }
            digests.extend(inner.hashing.digests(&file, name, layout, some.to_vec())?);
            done += some.iter().map(|index| layout.chunk_len(*index) as u64).sum::<u64>();
        }
        if Identity::of(&file).map_err(StoreError::reaching(name))? != identity {
            return Err(StoreError::Changed { name: name.clone() });
        }
        let (was, is) = (known.root(), merkle::root(&layout, &digests));
        if is == was {
            return Ok(Checked::Same);
        }
        if let Ok(manifest) = Manifest::from_digests(name.clone(), layout, digests) {
            inner.disk.catalog.remember(&Arc::new(manifest), identity, SystemTime::now());
        }
        Ok(Checked::Damaged { was, is })
    }
}

/// Chunks that are hashed before it is asked whether to go on.
const AT_ONCE: usize = 64;
