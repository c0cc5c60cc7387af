//! The layers of an image that is here, made once more from their blobs, to be looked at.

use std::{collections::BTreeMap, path::Path};

use super::{Arrivals, Chosen, From, Layer, layers};
use crate::{
    Error, Limits, Remote, Store,
    digests::Digests,
    pipe::Cancel,
    state::{ImageRecord, State},
};

/// Unpacks all layers of an image beside those of the store and shows each pair of trees: the new
/// one first. The new ones are gone afterwards.
pub(crate) fn again(
    store: &Store,
    state: &State,
    record: &ImageRecord,
    limits: &Limits,
    cancel: &Cancel<'_>,
    look: &mut dyn FnMut(&Path, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(manifest) = record.manifests.last() else {
        return Ok(());
    };
    let layout = store.layout();
    // The configuration comes first.
    let blobs = manifest.blobs.iter().skip(1);
    let mut layers = Vec::new();
    for (at, (blob, chain)) in blobs.zip(&record.chain).enumerate() {
        let Some(known) = state.layers.get(chain) else {
            return Err(Error::Invalid(format!("layer {chain} has no record")));
        };
        layers.push(Layer {
            blob: Remote {
                digest: blob.digest.clone(),
                size: blob.size,
                urls: Vec::new(),
            },
            from: From::File(layout.blob(&blob.digest)),
            diff_id: known.diff_id.clone(),
            chain: chain.clone(),
            below: record.chain[..at].iter().rev().cloned().collect(),
        });
    }
    let chosen = [Chosen {
        names: Vec::new(),
        id: String::new(),
        os: record.os.clone(),
        architecture: record.architecture.clone(),
        variant: record.variant.clone(),
        config: record.config.clone(),
        manifest: manifest.clone(),
        layers,
    }];
    // Its own alone: what is looked at must have been made anew.
    let arrivals = Arrivals::default();
    let job = layers::Job {
        layout,
        known: &BTreeMap::new(),
        limits,
        progress: &|_| (),
        cancel,
        remote: None,
        arrivals: &arrivals,
        digests: &Digests::default(),
        disk: None,
        store: None,
    };
    for made in layers::unpack_all(&job, &chosen)?.layers {
        if let Some(layer) = state.layers.get(&made.record.chain) {
            look(&made.place.path().join("diff"), &layout.diff(&layer.dir))?;
        }
    }
    Ok(())
}
