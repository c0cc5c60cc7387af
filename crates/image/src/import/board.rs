//! What an import has so far: for those of its threads that wait for it, and for its end.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Layer,
    sharing::{Blob, Claim, Made},
};
use crate::{Error, Progress, pipe::Cancel, stack::Stack, store::lock, unpack};

/// What is here now that was not before; it goes with this value, unless it is published.
#[derive(Debug, Default)]
pub(super) struct Brought {
    pub(super) layers: Vec<Arc<Made>>,
    /// By digest.
    pub(super) blobs: BTreeMap<String, Arc<Blob>>,
}

/// What is done.
pub(super) struct Board<'a> {
    done: Mutex<BTreeMap<Key, PathBuf>>,
    /// Layers that only wait for those below.
    later: Mutex<Vec<Unpacked<'a>>>,
    brought: Mutex<Brought>,
    bell: Condvar,
    cancel: &'a Cancel<'a>,
    progress: &'a (dyn Fn(Progress) + Sync),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Chain(String),
    Blob(String),
}

/// A layer of this import, save perhaps for its root directory.
pub(super) struct Unpacked<'a> {
    pub(super) layer: &'a Layer,
    pub(super) index: usize,
    pub(super) claim: Claim<'a, Made>,
    pub(super) made: Arc<Made>,
}

impl<'a> Board<'a> {
    /// `known`: layers of the store, by chain id.
    pub(super) fn new(
        known: &BTreeMap<String, PathBuf>,
        cancel: &'a Cancel<'a>,
        progress: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        let known = known.iter();
        let done = known.map(|(chain, path)| (Key::Chain(chain.clone()), path.clone()));
        Self {
            done: Mutex::new(done.collect()),
            later: Mutex::default(),
            brought: Mutex::default(),
            bell: Condvar::new(),
            cancel,
            progress,
        }
    }

    /// What was brought, when nobody works any more.
    pub(super) fn into_brought(self) -> Brought {
        self.brought
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A layer is in the store.
    pub(super) fn stored(&self, layer: &Layer, path: PathBuf) -> Result<(), Error> {
        self.post(Key::Chain(layer.chain.clone()), path);
        self.settle()
    }

    /// A layer was brought, by whomsoever.
    pub(super) fn here(&self, layer: &Layer, made: Arc<Made>) -> Result<(), Error> {
        self.keep(layer, made);
        self.settle()
    }

    /// A layer was unpacked. `root_is_below`: its root directory is to be as that of the layers below, whenever they
    /// are there.
    pub(super) fn unpacked(&self, layer: Unpacked<'a>, root_is_below: bool) -> Result<(), Error> {
        if root_is_below {
            lock(&self.later).push(layer);
        } else {
            self.complete(layer);
        }
        self.settle()
    }

    /// A blob was brought, by whomsoever.
    pub(super) fn blob(&self, layer: &Layer, blob: Arc<Blob>) {
        let digest = layer.blob.digest.clone();
        let content = blob.content();
        lock(&self.brought).blobs.insert(digest.clone(), blob);
        self.post(Key::Blob(digest), content);
    }

    /// A blob is in the store.
    pub(super) fn stored_blob(&self, layer: &Layer, path: PathBuf) {
        self.post(Key::Blob(layer.blob.digest.clone()), path);
    }

    /// The paths of all keys, if they are there.
    pub(super) fn look(&self, keys: &[Key]) -> Option<Vec<PathBuf>> {
        let done = lock(&self.done);
        keys.iter().map(|key| done.get(key).cloned()).collect()
    }

    /// The paths of all keys, once they are there.
    pub(super) fn wait(&self, keys: &[Key]) -> Result<Vec<PathBuf>, unpack::Error> {
        let mut done = lock(&self.done);
        loop {
            if let Some(paths) = keys.iter().map(|key| done.get(key).cloned()).collect() {
                return Ok(paths);
            }
            if self.cancel.is_set() {
                return Err(unpack::Error::Cancelled);
            }
            // The caller's wish to cancel rings no bell.
            let wait = self.bell.wait_timeout(done, Duration::from_millis(50));
            done = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Something has failed: nobody is to wait on.
    pub(super) fn failed(&self) {
        self.bell.notify_all();
    }

    fn post(&self, key: Key, path: PathBuf) {
        lock(&self.done).insert(key, path);
        self.bell.notify_all();
    }

    fn keep(&self, layer: &Layer, made: Arc<Made>) {
        let tree = made.tree();
        lock(&self.brought).layers.push(made);
        self.post(Key::Chain(layer.chain.clone()), tree);
    }

    /// Completes what waited for no other layer than those that are done now. Who posts a layer looks here
    /// afterwards, as does who puts one aside: one of them finds it.
    fn settle(&self) -> Result<(), Error> {
        while let Some((layer, below)) = self.ready() {
            let root = unpack::root_as_below(&layer.made.tree(), &Stack(below));
            root.map_err(|error| layer.layer.failed(error))?;
            self.complete(layer);
        }
        Ok(())
    }

    fn ready(&self) -> Option<(Unpacked<'a>, Vec<PathBuf>)> {
        let mut later = lock(&self.later);
        let paths = |one: &Unpacked<'_>| self.look(&below(one.layer));
        let mut found = later.iter().enumerate();
        let (at, paths) = found.find_map(|(at, one)| Some((at, paths(one)?)))?;
        Some((later.swap_remove(at), paths))
    }

    fn complete(&self, layer: Unpacked<'_>) {
        layer.claim.done(&layer.made);
        self.keep(layer.layer, layer.made);
        (self.progress)(Progress::LayerDone {
            digest: layer.layer.blob.digest.clone(),
            index: layer.index,
            shared: false,
        });
    }
}

/// The layers below one.
pub(super) fn below(layer: &Layer) -> Vec<Key> {
    layer.below.iter().cloned().map(Key::Chain).collect()
}
