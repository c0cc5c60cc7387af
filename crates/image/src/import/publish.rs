//! The last step: what is complete and synced gets its name.
//!
//! ```text
//!  rename layers, blobs -> fsync their directories -> database transaction -> index.json
//!  \___________ undone on failure ______________/     ^ now the image exists
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Chosen, board::Brought, spool::Archive};
use crate::{
    Error, Image, Platform, Reference, Store, layout,
    state::{ImageRecord, ManifestRecord, NameRecord, State, VERSION},
};

/// Names that appeared in this step, and where each was before; it is there again unless the
/// transaction succeeds, for another pull may hold it.
struct Published {
    paths: Vec<(PathBuf, PathBuf)>,
    keep: bool,
}

impl Drop for Published {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for (from, to) in self.paths.iter().rev() {
            if fs::rename(to, from).is_ok() {
                continue;
            }
            if let Err(error) = layout::remove(to) {
                tracing::warn!(
                    error = error.sentence(),
                    "a failed import left files behind"
                );
            }
        }
    }
}

impl Published {
    fn rename(&mut self, from: &Path, to: PathBuf) -> Result<(), Error> {
        fs::rename(from, &to).map_err(Error::io("rename", from))?;
        self.paths.push((from.to_owned(), to));
        Ok(())
    }
}

pub(super) fn publish(
    store: &Store,
    archive: &Archive,
    chosen: Vec<Chosen>,
    brought: &Brought,
) -> Result<Vec<Image>, Error> {
    let layout = store.layout();
    let ids: Vec<String> = chosen.iter().map(|image| image.id.clone()).collect();
    let mut images = Vec::new();
    store.change(
        |state| {
            let mut published = Published {
                paths: Vec::new(),
                keep: false,
            };
            for layer in &brought.layers {
                // Another import may have been faster.
                if state.layers.contains_key(&layer.record.chain) {
                    continue;
                }
                let dir = free_name(&layout.layers(), &layer.record.chain);
                published.rename(layer.place.path(), layout.layer(&dir))?;
                let chain = layer.record.chain.clone();
                state.layers.insert(
                    chain,
                    crate::state::LayerRecord {
                        dir,
                        ..layer.record.clone()
                    },
                );
            }
            for image in &chosen {
                for (digest, _) in image.manifest.all() {
                    let target = layout.blob(digest);
                    if let Some(spooled) = archive.blob(digest)
                        && spooled.file != target
                        && !target.exists()
                    {
                        published.rename(&spooled.file, target)?;
                    }
                }
            }
            sys::failpoint!("image.publish.renamed", Error::injected);
            layout::sync_dir(&layout.layers())?;
            layout::sync_dir(&layout.blobs())?;
            sys::failpoint!("image.publish.synced", Error::injected);
            for image in chosen {
                add(state, image);
            }
            // Told as they are now: a removal may follow at once.
            images.extend(ids.iter().filter_map(|id| state.image(id, layout)));
            Ok(published)
        },
        |published| published.keep = true,
    )?;
    sys::failpoint!("image.publish.done");
    Ok(images)
}

/// The image behind a digest, if it is whole here and for this platform; it gets the reference's
/// names.
pub(super) fn known(
    store: &Store,
    reference: &Reference,
    digest: &str,
    platform: &Platform,
) -> Result<Option<Image>, Error> {
    let fits = |state: &State| {
        state.images.iter().find_map(|(id, image)| {
            let manifest = image.manifests.iter().find(|manifest| {
                manifest.digest == digest || manifest.index.as_deref() == Some(digest)
            })?;
            platform
                .rank(&image.os, &image.architecture, image.variant.as_deref())
                .map(|_| (id.clone(), manifest.clone()))
        })
    };
    let named = |state: &State, id: &str, manifest: &ManifestRecord| {
        let mut names = names(reference, manifest).into_iter();
        names.all(|name| {
            let record = state.names.get(&name);
            record.is_some_and(|record| record.image == id && record.manifest == manifest.digest)
        })
    };
    let state = store.state();
    let Some((id, manifest)) = fits(&state) else {
        return Ok(None);
    };
    // The usual case: nothing has changed, and nothing is written.
    if named(&state, &id, &manifest) {
        return Ok(state.image(&id, store.layout()));
    }
    store.change(
        |state| {
            // A removal may have been faster.
            let Some((id, manifest)) = fits(state) else {
                return Ok(None);
            };
            let mut moved = vec![id.clone()];
            moved.extend(name(state, reference, &id, &manifest));
            for id in moved {
                state.tidy(&id);
            }
            // Told as it is now: a removal may follow at once.
            Ok(state.image(&id, store.layout()))
        },
        |_| (),
    )
}

/// Gives an image one more name.
pub(crate) fn tag(store: &Store, text: &str, reference: &Reference) -> Result<bool, Error> {
    let reference = reference.pinned();
    store.change(
        |state| {
            let Some((id, manifest)) = state
                .meant(text)?
                .map(|meant| (meant.id.to_owned(), meant.manifest.clone()))
            else {
                return Ok(false);
            };
            super::choose::check_pinned(&reference, &manifest)?;
            let mut moved = vec![id.clone()];
            moved.extend(name(state, &reference, &id, &manifest));
            for id in moved {
                state.tidy(&id);
            }
            Ok(true)
        },
        |_| (),
    )
}

/// All names that a reference gives to a manifest.
fn names(reference: &Reference, manifest: &ManifestRecord) -> Vec<String> {
    let mut names = vec![reference.with_digest(&manifest.digest)];
    let index = manifest.index.iter();
    names.extend(index.map(|index| reference.with_digest(index)));
    names.extend(reference.tagged());
    names
}

/// Names a manifest; answers the images that have lost a name by it.
fn name(
    state: &mut State,
    reference: &Reference,
    id: &str,
    manifest: &ManifestRecord,
) -> Vec<String> {
    let mut moved = Vec::new();
    for name in names(reference, manifest) {
        let record = NameRecord {
            image: id.to_owned(),
            manifest: manifest.digest.clone(),
        };
        if let Some(old) = state.names.insert(name, record) {
            moved.push(old.image);
        }
    }
    moved
}

/// Twelve hex digits keep overlayfs's option string short; more where those are taken.
fn free_name(layers: &Path, chain: &str) -> String {
    let hex = chain.trim_start_matches("sha256:");
    let lengths = (12..=64).step_by(4);
    let mut names = lengths.map(|length| &hex[..length.min(hex.len())]);
    names
        .find(|name| !layers.join(name).exists())
        .unwrap_or(hex)
        .to_owned()
}

fn add(state: &mut State, image: Chosen) {
    let mut moved = vec![image.id.clone()];
    for reference in &image.names {
        moved.extend(name(state, reference, &image.id, &image.manifest));
    }
    let old = state.images.remove(&image.id);
    let (mut manifests, pinned) = old.map_or((vec![], false), |old| (old.manifests, old.pinned));
    manifests.retain(|manifest| manifest.digest != image.manifest.digest);
    manifests.push(image.manifest);
    let record = ImageRecord {
        version: VERSION,
        os: image.os,
        architecture: image.architecture,
        variant: image.variant,
        config: image.config,
        chain: image.layers.into_iter().map(|layer| layer.chain).collect(),
        manifests,
        pinned,
    };
    state.images.insert(image.id, record);
    for id in moved {
        state.tidy(&id);
    }
}
