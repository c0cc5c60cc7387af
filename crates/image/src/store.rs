//! The store: one directory, one writer.
//!
//! Reads are served from a snapshot in memory and never wait for the disk. Changes are made one
//! after another under one lock: the new state is computed, written to the database, and then swapped
//! in. Work that takes long (unpacking, deleting trees) is done outside that lock; an import
//! *reserves* what it builds on, so that a removal at the same time leaves it.

use std::{
    fmt,
    io::{Read, Write},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
};

use crate::{
    Content, Error, FsInfo, Image, ImportOptions, Progress, PullOptions, Reference, Source,
    collect::{Bell, Held},
    database::{self, Database},
    export, import, index,
    layout::Layout,
    recover,
    state::State,
};

/// The images and layers below one root directory.
pub struct Store {
    layout: Layout,
    /// Held while a change is made; the database is only touched under it.
    pub(crate) writer: Mutex<Database>,
    state: RwLock<Arc<State>>,
    /// What is kept from removal, and what is being removed: see `collect.rs`.
    pub(crate) held: Mutex<Held>,
    /// Rung when a removal has ended.
    pub(crate) settled: Condvar,
    /// Rung when what a removal had to leave is free.
    pub(crate) freed: Bell,
    /// What pulls and imports are bringing.
    pub(crate) arrivals: import::Arrivals,
    findings: Vec<String>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.layout.root)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens (and makes) the store below `root` and puts in order what a crash left: half-made
    /// things are removed, a damaged database is set aside and made again from the layout, images
    /// that are not whole are dropped. See [`findings`](Self::findings).
    ///
    /// # Errors
    /// The directory cannot be made, read or written, or another process has the store open.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let layout = Layout {
            root: root.to_owned(),
        };
        layout.make()?;
        // The database's lock tells whether another process is at work here: before any removal.
        let mut opened = database::open(&layout.database())?;
        recover::sweep(&layout)?;
        let mut findings = opened.findings;
        let mut state = if opened.fresh {
            recover::rebuild(&layout, &mut findings)?
        } else {
            opened.state.clone()
        };
        recover::verify(&layout, &mut state, &mut findings);
        opened.database.write(&opened.state, &state)?;
        recover::remove_unknown(&layout, &state)?;
        index::write(&layout, &state)?;
        for finding in &findings {
            tracing::warn!("image store: {finding}");
        }
        Ok(Self {
            layout,
            writer: Mutex::new(opened.database),
            state: RwLock::new(Arc::new(state)),
            held: Mutex::default(),
            settled: Condvar::new(),
            freed: Bell::default(),
            arrivals: import::Arrivals::default(),
            findings,
        })
    }

    /// What [`open`](Self::open) found damaged, one sentence each.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Imports the images of an archive: OCI archive (a tar of an OCI layout) or docker archive;
    /// plain, gzip or zstd. On success all of them exist, durably; on failure nothing is left.
    ///
    /// # Errors
    /// The archive is invalid or over a limit, has a wrong digest, is for another platform or
    /// unnamed; the disk fails; or `cancel` was set.
    pub fn import(
        &self,
        src: &mut dyn Read,
        opts: &ImportOptions,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Vec<Image>, Error> {
        import::import(self, src, opts, progress, cancel)
    }

    /// Pulls what `reference` means at `source`. One question suffices where it is here already;
    /// otherwise what is missing is fetched, checked and unpacked. On success the image exists,
    /// durably; on failure nothing is left.
    ///
    /// # Errors
    /// The source fails ([`Error::Fetch`]), what comes is invalid, over a limit, has a wrong digest
    /// or is for other platforms; the disk fails; or `cancel` was set.
    pub fn pull(
        &self,
        reference: &Reference,
        source: &dyn Source,
        opts: &PullOptions,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Image, Error> {
        import::pull(self, reference, source, opts, progress, cancel)
    }

    /// Finds an image by name, name with digest, manifest digest, id, or unique id prefix.
    ///
    /// # Errors
    /// The text is no reference, or a prefix fits several images.
    pub fn get(&self, name_or_id: &str) -> Result<Option<Image>, Error> {
        let state = self.state();
        Ok(state
            .find(name_or_id)?
            .and_then(|id| state.image(id, &self.layout)))
    }

    /// All images, sorted by id.
    ///
    /// # Errors
    /// None today; a store that reads from disk could fail.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        let state = self.state();
        Ok(state
            .images
            .keys()
            .filter_map(|id| state.image(id, &self.layout))
            .collect())
    }

    /// What the store costs on disk, from its records: no directory is walked.
    ///
    /// # Errors
    /// None today.
    pub fn fs_info(&self) -> Result<FsInfo, Error> {
        let state = self.state();
        let blobs = state.needed_blobs();
        let block = |size: &u64| size.next_multiple_of(4096);
        Ok(FsInfo {
            mountpoint: self.layout.images(),
            used_bytes: blobs.values().map(block).sum::<u64>()
                + state.layers.values().map(|layer| layer.bytes).sum::<u64>(),
            inodes_used: blobs.len() as u64
                + state.layers.values().map(|layer| layer.inodes).sum::<u64>(),
        })
    }

    /// Pins an image against automatic removal, or unpins it; `Ok(false)` if there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get), or the database fails.
    pub fn pin(&self, name_or_id: &str, pinned: bool) -> Result<bool, Error> {
        self.change(
            |state| {
                let Some(id) = state.find(name_or_id)?.map(str::to_owned) else {
                    return Ok(false);
                };
                if let Some(image) = state.images.get_mut(&id) {
                    image.pinned = pinned;
                }
                Ok(true)
            },
            |_| (),
        )
    }

    /// Gives the image behind `name_or_id` one more name; a name that another image has is taken
    /// from it. `Ok(false)` if there is no such image.
    ///
    /// # Errors
    /// As [`get`](Self::get), `name` has a digest that is not the image's, or the database fails.
    pub fn tag(&self, name_or_id: &str, name: &Reference) -> Result<bool, Error> {
        import::tag(self, name_or_id, name)
    }

    /// Hands `work` the files of an image, which stay for its duration; `None` if there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn with_content<T>(
        &self,
        name_or_id: &str,
        work: impl FnOnce(&Content) -> T,
    ) -> Result<Option<T>, Error> {
        export::with_content(self, name_or_id, work)
    }

    /// Writes images, under the names by which they are asked for, as one archive that `import`,
    /// podman, docker, skopeo and containerd read. The same images give the same bytes.
    /// `Ok(Some(name))`: there is none of that name, and nothing was written.
    ///
    /// # Errors
    /// As [`get`](Self::get); a blob on the disk has decayed; `out` fails; or `cancel` was set.
    pub fn export(
        &self,
        names: &[String],
        out: &mut dyn Write,
        cancel: &AtomicBool,
    ) -> Result<Option<String>, Error> {
        export::export(self, names, out, cancel)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes a change durable: `edit` computes the new state (and does what must precede it on
    /// disk), `done` runs once the database holds it.
    pub(crate) fn change<T>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, Error>,
        done: impl FnOnce(&mut T),
    ) -> Result<T, Error> {
        let mut database = lock(&self.writer);
        let old = self.state();
        let mut new = State::clone(&old);
        let mut result = edit(&mut new)?;
        database.write(&old, &new)?;
        done(&mut result);
        let new = Arc::new(new);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        // Derived: the next change or start writes it if this fails (a full disk).
        if let Err(error) = index::write(&self.layout, &new) {
            tracing::warn!(
                error = error.sentence(),
                "index.json is behind the image store"
            );
        }
        sys::failpoint!("image.index.after");
        Ok(result)
    }
}

/// A lock that a panic elsewhere has not spoilt.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
