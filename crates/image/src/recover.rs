//! Start: what a crash, a power cut or a hand has left is put in order.
//!
//! ```text
//!  tmp/*, layers/.new-*, .del-*, *.tmp      removed
//!  images.redb damaged                      set aside; names and images from index.json,
//!                                           layers from their layer.json
//!  image whose blobs or layers are not whole dropped, with a finding; its layers stay for
//!                                           containers that still run from them
//!  layer directory or blob without a record removed (an import that did not finish)
//!  index.json missing or different          written anew
//! ```
//! Nothing here refuses to start because of one bad object.

use std::{collections::BTreeSet, fs, path::Path};

use oci::image::{ImageConfig as ConfigDocument, Index, Manifest};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::{
    Error, Reference,
    import::chain_ids,
    import::run_config,
    index,
    layout::{self, Layout},
    pipe::digest_of,
    reference::is_digest,
    state::{Blob, ImageRecord, LayerRecord, ManifestRecord, NameRecord, State, VERSION},
};

/// Documents larger than this were never ours.
const DOCUMENT_MAX: u64 = 64 << 20;

/// Removes what was on its way.
pub(crate) fn sweep(layout: &Layout) -> Result<(), Error> {
    for name in names(&layout.tmp())? {
        layout::remove(&layout.tmp().join(name))?;
    }
    for name in names(&layout.layers())?
        .iter()
        .filter(|name| name.starts_with('.'))
    {
        layout::remove(&layout.layers().join(name))?;
    }
    let images = layout.images();
    for name in names(&images)?
        .iter()
        .filter(|n| n.starts_with('.') && n.ends_with(".tmp"))
    {
        layout::remove(&images.join(name))?;
    }
    Ok(())
}

/// Makes the state from the layout on disk, after the database was lost.
pub(crate) fn rebuild(layout: &Layout, findings: &mut Vec<String>) -> Result<State, Error> {
    let mut state = State::default();
    for name in names(&layout.layers())? {
        let path = layout.layer(&name).join("layer.json");
        match fs::read(&path)
            .map_err(|e| e.to_string())
            .and_then(|data| parse(&data))
        {
            Ok(record) => {
                let record = LayerRecord {
                    dir: name,
                    ..record
                };
                state.layers.insert(record.chain.clone(), record);
            }
            Err(problem) => findings.push(format!("layer {name} is no layer ({problem})")),
        }
    }
    let index: Index = match fs::read(layout.index()) {
        Ok(data) => match parse(&data) {
            Ok(index) => index,
            Err(problem) => {
                let path = layout.index();
                findings.push(format!("{} is damaged ({problem})", path.display()));
                Index::default()
            }
        },
        Err(_) => Index::default(),
    };
    for descriptor in &index.manifests {
        let name = descriptor.annotations.get(index::REF_NAME);
        match image(layout, &descriptor.digest) {
            Ok((id, mut record)) => {
                record.pinned = descriptor.annotations.contains_key(index::PINNED);
                add(&mut state, id, record, name);
            }
            Err(problem) => findings.push(format!(
                "image {} is lost: {problem}",
                name.unwrap_or(&descriptor.digest)
            )),
        }
    }
    Ok(state)
}

fn add(state: &mut State, id: String, record: ImageRecord, name: Option<&String>) {
    let manifest = record.manifests[0].digest.clone();
    if let Some(name) = name.and_then(|name| name.parse::<Reference>().ok()) {
        let names = [Some(name.with_digest(&manifest)), name.tagged()];
        for name in names.into_iter().flatten() {
            let record = NameRecord {
                image: id.clone(),
                manifest: manifest.clone(),
            };
            state.names.insert(name, record);
        }
    }
    match state.images.get_mut(&id) {
        Some(image) => {
            image.manifests.retain(|known| known.digest != manifest);
            image.manifests.extend(record.manifests);
        }
        None => {
            state.images.insert(id, record);
        }
    }
}

fn image(layout: &Layout, digest: &str) -> Result<(String, ImageRecord), String> {
    let (manifest, size): (Manifest, u64) = document(layout, digest)?;
    let (config, _): (ConfigDocument, u64) = document(layout, &manifest.config.digest)?;
    let chain = chain_ids(&config.rootfs.diff_ids).ok_or("its configuration has a bad diff_id")?;
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
    let record = ManifestRecord {
        digest: digest.to_owned(),
        media_type: manifest.media_type.clone().unwrap_or_default(),
        size,
        blobs: blobs
            .map(|d| Blob {
                digest: d.digest.clone(),
                size: d.size,
            })
            .collect(),
        index: None,
    };
    let image = ImageRecord {
        version: VERSION,
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        config: run_config(config),
        chain,
        manifests: vec![record],
        pinned: false,
    };
    Ok((manifest.config.digest, image))
}

/// Drops the images that are not whole.
pub(crate) fn verify(layout: &Layout, state: &mut State, findings: &mut Vec<String>) {
    let ids: Vec<String> = state.images.keys().cloned().collect();
    for id in ids {
        if let Err(problem) = whole(layout, state, &id) {
            let names: Vec<&str> = state
                .names
                .iter()
                .filter(|(_, record)| record.image == id)
                .map(|(name, _)| name.as_str())
                .collect();
            findings.push(format!(
                "image {id} ({}) is dropped: {problem}",
                names.join(", ")
            ));
            state.forget(&id);
        }
    }
    let images = &state.images;
    state
        .names
        .retain(|_, record| images.contains_key(&record.image));
    let gone: Vec<String> = state
        .layers
        .iter()
        .filter(|(_, layer)| !layout.diff(&layer.dir).is_dir())
        .map(|(chain, _)| chain.clone())
        .collect();
    for chain in gone {
        state.layers.remove(&chain);
    }
    for layer in state.layers.values() {
        if let Err(problem) = mend(layout, layer) {
            findings.push(format!("layer {}: {problem}", layer.dir));
        }
    }
}

/// The record in a layer's directory is the copy, the database's the truth.
fn mend(layout: &Layout, layer: &LayerRecord) -> Result<(), String> {
    let path = layout.layer(&layer.dir).join("layer.json");
    let found = fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|data| parse(&data));
    let problem = match found {
        Ok(LayerRecord { chain, .. }) if chain == layer.chain => return Ok(()),
        Ok(LayerRecord { chain, .. }) => format!("its record is of {chain}"),
        Err(problem) => problem,
    };
    let json = serde_json::to_vec(layer).map_err(|error| error.to_string())?;
    sys::atomic::write(&path, &json, 0o644, sys::atomic::Durability::Disk)
        .map_err(|error| format!("{problem}; writing it anew failed: {error}"))?;
    Err(format!("{problem}; written anew from the database"))
}

fn whole(layout: &Layout, state: &State, id: &str) -> Result<(), String> {
    let Some(image) = state.images.get(id) else {
        return Ok(());
    };
    if image.version > VERSION {
        return Err(format!(
            "its record has version {}, newer than this program",
            image.version
        ));
    }
    if image.manifests.is_empty() {
        return Err("it has no manifest".into());
    }
    for manifest in &image.manifests {
        for (digest, size) in manifest.all() {
            let length = fs::metadata(layout.blob(digest)).map(|meta| meta.len());
            if length.as_ref().ok() != Some(&size) {
                return Err(format!("blob {digest} is missing or cut off"));
            }
        }
        // The documents are small: their digests are checked each time.
        let (document, _): (Manifest, u64) = document(layout, &manifest.digest)?;
        let _: (ConfigDocument, u64) = self::document(layout, &document.config.digest)?;
    }
    for chain in &image.chain {
        let Some(layer) = state.layers.get(chain) else {
            return Err(format!("layer {chain} has no record"));
        };
        if !layout.diff(&layer.dir).is_dir() {
            return Err(format!("layer {} is gone", layer.dir));
        }
    }
    Ok(())
}

/// Removes layers and blobs that have no record.
pub(crate) fn remove_unknown(layout: &Layout, state: &State) -> Result<(), Error> {
    let dirs: BTreeSet<&str> = state
        .layers
        .values()
        .map(|layer| layer.dir.as_str())
        .collect();
    for name in names(&layout.layers())?
        .iter()
        .filter(|name| !dirs.contains(name.as_str()))
    {
        layout::remove(&layout.layer(name))?;
    }
    let blobs = state.needed_blobs();
    for name in names(&layout.blobs())? {
        if !blobs.contains_key(format!("sha256:{name}").as_str()) {
            layout::remove(&layout.blobs().join(name))?;
        }
    }
    Ok(())
}

/// Digests and sizes of the blobs on disk.
pub(crate) fn blobs(layout: &Layout) -> Result<Vec<(String, u64)>, Error> {
    let size = |name: &String| fs::metadata(layout.blobs().join(name)).map_or(0, |meta| meta.len());
    let names = names(&layout.blobs())?;
    Ok(names
        .into_iter()
        .map(|name| (format!("sha256:{name}"), size(&name)))
        .collect())
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::io("list", dir))
}

fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T, String> {
    serde_json::from_slice(data).map_err(|error| error.to_string())
}

fn document<T: DeserializeOwned>(layout: &Layout, digest: &str) -> Result<(T, u64), String> {
    if !is_digest(digest) {
        return Err(format!("{digest:?} is no digest"));
    }
    let path = layout.blob(digest);
    let size = fs::metadata(&path)
        .map_err(|error| format!("blob {digest}: {error}"))?
        .len();
    if size > DOCUMENT_MAX {
        return Err(format!("blob {digest} is no document"));
    }
    let data = fs::read(&path).map_err(|error| format!("blob {digest}: {error}"))?;
    if digest_of(Sha256::new_with_prefix(&data)) != digest {
        return Err(format!("blob {digest} has another digest"));
    }
    Ok((parse(&data)?, size))
}
