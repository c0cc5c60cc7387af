//! Import of an archive, from a stream to an image that exists.
//!
//! ```text
//!  1 spool    every file of the archive into tmp/, hashed while it streams     spool.rs
//!  2 choose   documents -> images for this platform, with their names          choose.rs, names.rs
//!  3 reserve  layers and blobs that are there already: kept from the collector
//!  4 unpack   missing layers into layers/.new-…, in parallel                   layers.rs
//!  5 sync     one syncfs (and one before, early.rs): everything is on the disk
//!  6 publish  renames, directory syncs, one database transaction               publish.rs
//! ```
//! Until the transaction of step 6 nothing refers to anything new: an error, a cancellation or a
//! power cut before it leaves no image, and what lies in tmp/ and .new-… is removed, by the guard
//! here or by the next start.

mod again;
mod arriving;
mod board;
mod choose;
mod early;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod layers;
mod names;
mod pick;
mod publish;
mod pull;
mod sharing;
mod spool;

use std::{io::Read, path::PathBuf, sync::atomic::AtomicBool};

use sharing::Passing;

use crate::{
    Error, Image, ImportOptions, Progress, Remote, Store,
    digests::Digests,
    layout::{self, Disk, Layout},
    pipe::Cancel,
    state::ManifestRecord,
    unpack,
};

pub(crate) use again::again;
pub(crate) use choose::{chain_ids, run_config};
pub(crate) use publish::tag;
pub(crate) use pull::pull;
pub(crate) use sharing::Arrivals;

/// One image of an archive, decided but not in the store yet.
#[derive(Debug)]
struct Chosen {
    /// Normalised names with a tag; names with a digest are added when it is published.
    names: Vec<crate::Reference>,
    id: String,
    os: String,
    architecture: String,
    variant: Option<String>,
    config: crate::ImageConfig,
    manifest: ManifestRecord,
    layers: Vec<Layer>,
}

/// One layer of a chosen image.
#[derive(Debug, Clone)]
struct Layer {
    /// The blob as it is packed.
    blob: Remote,
    from: From,
    /// Digest of the unpacked tar.
    diff_id: String,
    /// This layer on all those below.
    chain: String,
    /// Chain ids of those below, topmost first.
    below: Vec<String>,
}

impl Layer {
    /// The error of its unpacking.
    fn failed(&self, error: unpack::Error) -> Error {
        let digest = self.blob.digest.clone();
        match error {
            unpack::Error::Cancelled => Error::Cancelled,
            unpack::Error::Limit(text) => Error::Limit(format!("layer {digest}: {text}")),
            unpack::Error::Io { entry, source, .. } => Error::Io {
                act: "unpack a layer's entry",
                path: entry.into(),
                source,
            },
            error => {
                let hostile = error.is_invalid_input();
                Error::Layer {
                    digest,
                    source: Box::new(error),
                    hostile,
                }
            }
        }
    }
}

/// Where a layer's blob is.
#[derive(Debug, Clone)]
enum From {
    /// In this file: spooled, or in the store.
    File(PathBuf),
    /// At the registry.
    Source,
}

/// A directory for the files of one import or pull alone; it goes when that ends, whichever way.
fn workspace(layout: &Layout) -> Result<Passing, Error> {
    let dir = Passing::new(layout.passing_blob());
    layout::directory(dir.path())?;
    Ok(dir)
}

pub(crate) fn import(
    store: &Store,
    src: &mut dyn Read,
    opts: &ImportOptions,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &AtomicBool,
) -> Result<Vec<Image>, Error> {
    let cancel = Cancel::new(cancel);
    let name = opts.name.as_deref().map(str::parse).transpose()?;
    let layout = store.layout();
    let workspace = workspace(layout)?;
    let mut reserved = store.reserve();

    sys::failpoint!("image.import.spool.before");
    let dir = workspace.path().to_owned();
    let disk = Disk::of(layout.layers())?;
    let blobs = Disk::of(dir.clone())?;
    let mut archive = spool::spool(src, &dir, layout, &mut reserved, opts, progress, &cancel)?;
    sys::failpoint!("image.import.spooled", Error::injected);
    let chosen = choose::choose(&mut archive, &dir, name.as_ref(), &opts.limits)?;

    let wanted = chosen.iter().flat_map(|image| &image.layers);
    let known = reserved.layers(wanted.map(|layer| layer.chain.as_str()));
    let brought = layers::unpack_all(
        &layers::Job {
            layout,
            known: &known,
            limits: &opts.limits,
            progress,
            cancel: &cancel,
            remote: None,
            arrivals: &store.arrivals,
            digests: &Digests::default(),
            disk: Some(&disk),
            store: Some(store),
        },
        &chosen,
    )?;
    sys::failpoint!("image.import.unpacked", Error::injected);
    finish(store, &archive, chosen, &brought, &[disk, blobs], &cancel)
}

/// Steps 5 and 6: all content is on the disk before the store says that it is there.
fn finish(
    store: &Store,
    archive: &spool::Archive,
    chosen: Vec<Chosen>,
    brought: &board::Brought,
    disks: &[Disk],
    cancel: &Cancel<'_>,
) -> Result<Vec<Image>, Error> {
    if cancel.is_set() {
        return Err(Error::Cancelled);
    }
    disks.iter().try_for_each(Disk::sync)?;
    sys::failpoint!("image.import.synced", Error::injected);
    publish::publish(store, archive, chosen, brought)
}
