//! What stays and what goes: reservations, leases, and the removal of what nobody needs.
//!
//! ```text
//!  roots     images (by the state); containers (`in_use` asks the caller); reservations of pulls,
//!            imports, exports and leases
//!  decide    under the lock of `Held`: what no root needs is *going*; nobody can reserve it any more
//!  commit    the database holds the state without it, readers see that state
//!  delete    directories are moved aside and blobs removed before the next change; the trees that
//!            were moved aside go without any lock
//! ```
//! A crash between commit and delete leaves files without a record, which the next start removes.
//! Who wants to build on something waits for a change under way ([`Reserved`]); who only wants to
//! keep an image ([`Lease`]) waits for one that takes this image: until the database holds it the image
//! can still be seen, and a failed removal leaves it.
//!
//! What a removal leaves because somebody works with it is noted; the last who lets go of it rings
//! ([`Store::when_freed`]), so that it does not wait for the next removal.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    path::PathBuf,
    sync::{OnceLock, PoisonError},
};

use crate::{Error, Image, LayerId, Store, layout, recover, state::State, store::lock};

/// What is kept, and what is on its way out: ids of images, chain ids and blob digests.
#[derive(Debug, Default)]
pub(crate) struct Held {
    kept: Counts,
    going: Counts,
    /// What the last removal would have taken, had nobody kept it.
    left: HashSet<String>,
}

/// Called when what a removal had to leave is free.
#[derive(Default)]
pub(crate) struct Bell(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

impl Held {
    fn keeps(&self, key: &str) -> bool {
        self.kept.0.contains_key(key)
    }
}

/// How many hold each key.
#[derive(Debug, Default)]
struct Counts(HashMap<String, usize>);

impl Counts {
    fn up(&mut self, key: &str) {
        *self.0.entry(key.to_owned()).or_default() += 1;
    }

    /// Answers whether this was the last one.
    fn down(&mut self, key: &str) -> bool {
        let Some(count) = self.0.get_mut(key) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.0.remove(key);
        }
        last
    }
}

/// Which images a removal takes, told what others keep.
type Edit<'a, T> = dyn FnMut(&mut State, &Held) -> Result<T, Error> + 'a;

/// An image that stays whole, with its layers, until this is dropped.
#[derive(Debug)]
pub struct Lease<'a> {
    image: Image,
    _held: Reserved<'a>,
}

impl Lease<'_> {
    /// The image.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }
}

/// What a prune has removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// The images.
    pub images: Vec<Image>,
    /// Bytes on disk that are free now.
    pub bytes: u64,
}

impl Store {
    /// Keeps an image, found as by [`get`](Self::get), from removal until the lease is dropped: for
    /// a caller that is about to put it to use. `None` if there is none. Waits for the end of a removal
    /// of this very image.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn lease(&self, name_or_id: &str) -> Result<Option<Lease<'_>>, Error> {
        let mut held = self.reserve();
        let mut table = lock(&self.held);
        loop {
            let state = self.state();
            let Some(id) = state.find(name_or_id)? else {
                return Ok(None);
            };
            let chain = state.images.get(id).map_or(&[][..], |image| &image.chain);
            let keys = chain.iter().map(String::as_str).chain([id]);
            if keys.clone().any(|key| table.going.0.contains_key(key)) {
                // Others still see the image: `None` before them would contradict what they are told.
                let settled = self.settled.wait(table);
                table = settled.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            keys.for_each(|key| {
                table.kept.up(key);
                held.held.push(key.to_owned());
            });
            drop(table);
            let image = state.image(id, self.layout());
            return Ok(image.map(|image| Lease { image, _held: held }));
        }
    }

    /// Removes an image with all its names, whichever way it is named. `Ok(false)` if there is none.
    /// Layers that `in_use` names stay until [`gc`](Self::gc).
    ///
    /// # Errors
    /// As [`get`](Self::get), or the database or disk fails.
    pub fn remove(
        &self,
        name_or_id: &str,
        in_use: &dyn Fn(&LayerId) -> bool,
    ) -> Result<bool, Error> {
        let (removed, _) = self.shrink(in_use, &mut |state, _| {
            let found = state.find(name_or_id)?.map(str::to_owned);
            if let Some(id) = &found {
                state.forget(id);
            }
            Ok(found.is_some())
        })?;
        Ok(removed)
    }

    /// Takes a tag away, and the image with the last of its tags; an id or a digest takes the image
    /// with all its names. `Ok(false)` if there is none. Layers as in [`remove`](Self::remove).
    ///
    /// # Errors
    /// As [`get`](Self::get), or the database or disk fails.
    pub fn untag(
        &self,
        name_or_id: &str,
        in_use: &dyn Fn(&LayerId) -> bool,
    ) -> Result<bool, Error> {
        let (removed, _) = self.shrink(in_use, &mut |state, _| {
            let Some(id) = state.find(name_or_id)?.map(str::to_owned) else {
                return Ok(false);
            };
            let name = name_or_id.parse::<crate::Reference>().ok();
            let tag = name
                .filter(|name| name.digest().is_none())
                .and_then(|name| name.tagged());
            let tags = |state: &State| {
                let mut names = state.names.iter();
                names.any(|(name, record)| record.image == id && !name.contains('@'))
            };
            match tag {
                Some(tag) if state.names.remove(&tag).is_some() && tags(state) => state.tidy(&id),
                _ => state.forget(&id),
            }
            Ok(true)
        })?;
        Ok(removed)
    }

    /// Removes all images that `goes` says go, but neither pinned ones nor those that a pull, an
    /// export or a lease works with. `goes` is asked while no image can be leased.
    ///
    /// # Errors
    /// The database or disk fails.
    pub fn prune(
        &self,
        goes: &dyn Fn(&Image) -> bool,
        in_use: &dyn Fn(&LayerId) -> bool,
    ) -> Result<Pruned, Error> {
        let (images, bytes) = self.shrink(in_use, &mut |state, held| {
            let all = state.images.keys();
            let images: Vec<Image> = all
                .filter(|id| !held.keeps(id))
                .filter_map(|id| state.image(id, self.layout()))
                .filter(|image| !image.pinned && goes(image))
                .collect();
            for image in &images {
                state.forget(&image.id);
            }
            Ok(images)
        })?;
        Ok(Pruned { images, bytes })
    }

    /// Sets what is called, once for a store, when something is free that a removal had to leave for
    /// a pull, an import, an export or a lease: [`gc`](Self::gc) takes it now. Whoever let go of it
    /// waits for the call, so that it should only pass the word on.
    pub fn when_freed(&self, call: impl Fn() + Send + Sync + 'static) {
        let _first = self.freed.0.set(Box::new(call));
    }

    /// Removes layers and blobs that no image and no container needs; returns the bytes freed.
    ///
    /// # Errors
    /// The database or disk fails.
    pub fn gc(&self, in_use: &dyn Fn(&LayerId) -> bool) -> Result<u64, Error> {
        let ((), bytes) = self.shrink(in_use, &mut |_, _| Ok(()))?;
        Ok(bytes)
    }

    /// Edits the state, then removes what nothing needs any more; answers the bytes freed, too.
    fn shrink<T>(
        &self,
        in_use: &dyn Fn(&LayerId) -> bool,
        edit: &mut Edit<'_, T>,
    ) -> Result<(T, u64), Error> {
        let mut trash: Vec<PathBuf> = Vec::new();
        let mut going = Going {
            store: self,
            keys: Vec::new(),
        };
        let done = self.change(
            |state| {
                let before: Vec<String> = state.images.keys().cloned().collect();
                let mut held = lock(&self.held);
                let result = edit(state, &held)?;
                let mut leaving = decide(self, state, &mut held, in_use)?;
                going.keys.append(&mut leaving.keys);
                let images = before.into_iter();
                going
                    .keys
                    .extend(images.filter(|id| !state.images.contains_key(id)));
                going.keys.iter().for_each(|key| held.going.up(key));
                Ok((result, leaving))
            },
            |(_, leaving)| {
                sys::failpoint!("image.remove.committed");
                for dir in leaving.dirs.drain(..) {
                    let aside = self.layout().passing("del");
                    if fs::rename(&dir, &aside).is_ok() {
                        trash.push(aside);
                    }
                }
                // Under the lock: an import could bring the same digest right after.
                for file in leaving.files.drain(..) {
                    if let Err(error) = layout::remove(&file) {
                        tracing::warn!(error = error.sentence(), "a blob is left behind");
                    }
                }
            },
        );
        drop(going);
        let (result, leaving) = done?;
        for path in trash {
            layout::remove(&path)?;
        }
        Ok((result, leaving.bytes))
    }

    pub(crate) fn reserve(&self) -> Reserved<'_> {
        Reserved {
            store: self,
            held: Vec::new(),
        }
    }
}

/// What a change takes away.
struct Leaving {
    keys: Vec<String>,
    dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
    bytes: u64,
}

/// Takes the layers that nothing needs out of the state, and lists them with the blobs that go.
fn decide(
    store: &Store,
    state: &mut State,
    held: &mut Held,
    in_use: &dyn Fn(&LayerId) -> bool,
) -> Result<Leaving, Error> {
    let mut leaving = Leaving {
        keys: Vec::new(),
        dirs: Vec::new(),
        files: Vec::new(),
        bytes: 0,
    };
    let needed = state.needed_layers();
    let mut left = HashSet::new();
    for (chain, layer) in &state.layers {
        if needed.contains(chain.as_str()) {
            continue;
        }
        if held.keeps(chain) {
            left.insert(chain.clone());
        } else if !in_use(&LayerId::new(&layer.dir)) {
            leaving.keys.push(chain.clone());
        }
    }
    for chain in &leaving.keys {
        if let Some(layer) = state.layers.remove(chain) {
            leaving.bytes += layer.bytes;
            leaving.dirs.push(store.layout().layer(&layer.dir));
        }
    }
    let kept = state.needed_blobs();
    for (digest, size) in recover::blobs(store.layout())? {
        if kept.contains_key(digest.as_str()) {
            continue;
        }
        if held.keeps(&digest) {
            left.insert(digest);
        } else {
            leaving.bytes += size;
            leaving.files.push(store.layout().blob(&digest));
        }
    }
    held.left = left;
    Ok(leaving)
}

/// The marks of one removal: whatever becomes of it, they go when readers see how it ended.
struct Going<'a> {
    store: &'a Store,
    keys: Vec<String>,
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        let mut held = lock(&self.store.held);
        for key in &self.keys {
            held.going.down(key);
        }
        drop(held);
        self.store.settled.notify_all();
    }
}

/// What an import builds on, kept from removal until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    store: &'a Store,
    held: Vec<String>,
}

impl Reserved<'_> {
    /// The store has this blob, whole, and keeps it.
    pub(crate) fn blob(&mut self, digest: &str, size: u64) -> bool {
        // Under the writer's lock no removal is between its decision and its deed.
        let _writer = lock(&self.store.writer);
        let known = self.store.state().needed_blobs().get(digest) == Some(&size);
        let path = self.store.layout().blob(digest);
        let whole = known && fs::metadata(path).is_ok_and(|meta| meta.len() == size);
        if whole {
            self.hold(digest);
        }
        whole
    }

    /// Reserves all of `chains`; answers the directories of those that are there.
    pub(crate) fn layers<'c>(
        &mut self,
        chains: impl Iterator<Item = &'c str>,
    ) -> BTreeMap<String, PathBuf> {
        let writer = lock(&self.store.writer);
        let state = self.store.state();
        let mut found = BTreeMap::new();
        for chain in chains {
            self.hold(chain);
            if let Some(layer) = state.layers.get(chain) {
                found.insert(chain.to_owned(), self.store.layout().diff(&layer.dir));
            }
        }
        drop(writer);
        found
    }

    /// Keeps what has this key, now and when it comes.
    pub(crate) fn hold(&mut self, key: &str) {
        lock(&self.store.held).kept.up(key);
        self.held.push(key.to_owned());
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut table = lock(&self.store.held);
        let mut freed = false;
        for key in &self.held {
            freed |= table.kept.down(key) && table.left.remove(key);
        }
        drop(table);
        if freed && let Some(call) = self.store.freed.0.get() {
            call();
        }
    }
}
