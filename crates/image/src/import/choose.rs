//! From an archive's documents to the images that this machine can run.
//!
//! ```text
//!  index.json -> [index ->]* manifest -> config, layers      OCI
//!  manifest.json -> config, layers                           docker: a manifest is made for it
//! ```
//! Of several platforms the one that fits best is taken; entries without a platform are judged by
//! their configuration. Every size and digest that a descriptor promises is held against the content.

use std::{collections::BTreeMap, path::Path};

use oci::image::{Descriptor, ImageConfig as ConfigDocument, Index, Manifest, MediaType};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    Chosen, Layer, names,
    pick::{Contents, Picked, Wanted, document, pick},
    spool::{Archive, Spooled},
};
use crate::{
    Error, ImageConfig, Limits, Platform, Reference, Remote,
    pipe::{Packing, digest_of},
    reference::is_digest,
    state::{Blob, ManifestRecord},
};

pub(super) fn choose(
    archive: &mut Archive,
    dir: &Path,
    name: Option<&Reference>,
    limits: &Limits,
) -> Result<Vec<Chosen>, Error> {
    let groups = if archive.get("index.json").is_some() {
        oci(archive, name, limits)?
    } else if archive.get("manifest.json").is_some() {
        docker(archive, dir, limits)?
    } else {
        let text = "it holds neither index.json (OCI) nor manifest.json (docker)";
        return Err(Error::Invalid(text.into()));
    };
    if groups.is_empty() {
        return Err(Error::Invalid("its index lists no image".into()));
    }
    if let (Some(name), true) = (name, groups.len() > 1) {
        let text = format!(
            "it holds {} images, and one name ({name}) cannot name all",
            groups.len()
        );
        return Err(Error::Invalid(text));
    }
    let mut chosen = Vec::new();
    for group in groups {
        let wanted = Wanted {
            platform: &Platform::host(),
            limits,
        };
        let mut image = image(archive, &group.descriptors, &wanted)?;
        image.names.clone_from(&group.names);
        if let Some(name) = name {
            check_pinned(name, &image.manifest)?;
            image.names = vec![name.clone()];
        }
        if image.names.is_empty() {
            return Err(names::missing(group.word.as_deref()));
        }
        chosen.push(image);
    }
    Ok(chosen)
}

/// Entries of an index that share their names: platforms of one image.
#[derive(Debug, Default)]
struct Group {
    names: Vec<Reference>,
    word: Option<String>,
    descriptors: Vec<Descriptor>,
}

fn oci(archive: &Archive, name: Option<&Reference>, limits: &Limits) -> Result<Vec<Group>, Error> {
    if let Some(data) = archive.read("oci-layout", limits.manifest_bytes)? {
        let layout: oci::image::LayoutFile = document("oci-layout", &data)?;
        if layout.image_layout_version != "1.0.0" {
            let version = layout.image_layout_version;
            return Err(Error::Invalid(format!(
                "its OCI layout version {version:?} is not known"
            )));
        }
    }
    let data = archive
        .read("index.json", limits.manifest_bytes)?
        .unwrap_or_default();
    let index: Index = document("index.json", &data)?;
    // By what the archive says, so that a caller's name does not make one image of several.
    let mut said: BTreeMap<Option<String>, Vec<Descriptor>> = BTreeMap::new();
    for descriptor in index.manifests {
        let word = names::said(&descriptor.annotations).map(str::to_owned);
        said.entry(word).or_default().push(descriptor);
    }
    let mut groups = Vec::new();
    for (word, mut descriptors) in said {
        descriptors.dedup_by(|a, b| a.digest == b.digest);
        // Without names, only platforms of one image belong together.
        if word.is_none() && descriptors.iter().any(|d| d.platform.is_none()) {
            let single = |d| Group {
                descriptors: vec![d],
                ..Group::default()
            };
            groups.extend(descriptors.into_iter().map(single));
            continue;
        }
        let mut group = Group {
            descriptors,
            ..Group::default()
        };
        // Under a caller's name it does not matter whether the archive's is valid.
        if name.is_none()
            && let Some(first) = group.descriptors.first()
        {
            match names::annotated(&first.annotations) {
                Ok(name) => group.names = name.into_iter().collect(),
                Err(names::Unfit::Word(word)) => group.word = Some(word),
                Err(names::Unfit::Invalid(error)) => return Err(error.into()),
            }
        }
        groups.push(group);
    }
    Ok(merge_same(groups))
}

/// Several names may lead to one manifest.
fn merge_same(groups: Vec<Group>) -> Vec<Group> {
    let mut merged: Vec<Group> = Vec::new();
    for mut group in groups {
        let only = |group: &Group| match group.descriptors.as_slice() {
            [one] => Some(one.digest.clone()),
            _ => None,
        };
        let digest = only(&group);
        match merged
            .iter_mut()
            .find(|other| digest.is_some() && only(other) == digest)
        {
            Some(other) => other.names.append(&mut group.names),
            None => merged.push(group),
        }
    }
    merged
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Docker archives have no manifest: one is made, so that the store is an OCI layout all the same.
fn docker(archive: &mut Archive, dir: &Path, limits: &Limits) -> Result<Vec<Group>, Error> {
    let data = archive
        .read("manifest.json", limits.manifest_bytes)?
        .unwrap_or_default();
    let entries: Vec<DockerEntry> = document("manifest.json", &data)?;
    let mut groups = Vec::new();
    for entry in entries {
        let missing = |name: &str| Error::Invalid(format!("its file {name:?} is missing"));
        let config = archive
            .get(&entry.config)
            .ok_or_else(|| missing(&entry.config))?
            .clone();
        archive.alias(&config);
        let mut layers = Vec::new();
        for name in &entry.layers {
            let layer = archive.get(name).ok_or_else(|| missing(name))?.clone();
            let media_type = match layer.packing()? {
                Packing::Plain => MediaType::OciLayer,
                Packing::Gzip => MediaType::OciLayerGzip,
                Packing::Zstd => MediaType::OciLayerZstd,
            };
            archive.alias(&layer);
            layers.push(descriptor(media_type, &layer));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::OciManifest.to_string()),
            config: descriptor(MediaType::OciConfig, &config),
            layers,
            ..Manifest::default()
        };
        let manifest = serde_json::to_vec(&manifest)
            .map_err(|error| Error::Invalid(format!("manifest.json: {error}")))?;
        let manifest = archive.add(dir, &manifest)?;
        let tags = entry.repo_tags.unwrap_or_default();
        groups.push(Group {
            names: tags
                .iter()
                .map(|tag| tag.parse())
                .collect::<Result<_, _>>()?,
            word: None,
            descriptors: vec![descriptor(MediaType::OciManifest, &manifest)],
        });
    }
    Ok(groups)
}

fn descriptor(media_type: MediaType, file: &Spooled) -> Descriptor {
    Descriptor {
        media_type: media_type.to_string(),
        digest: file.digest.clone(),
        size: file.size,
        ..Descriptor::default()
    }
}

/// The image that the best of `descriptors` describes; it has no name yet.
pub(super) fn image(
    contents: &mut dyn Contents,
    descriptors: &[Descriptor],
    wanted: &Wanted<'_>,
) -> Result<Chosen, Error> {
    let limits = wanted.limits;
    let mut found = Vec::new();
    let best = pick(contents, descriptors, None, 0, wanted, &mut found)?;
    let Some(picked) = best else {
        found.sort();
        found.dedup();
        return Err(Error::Platform {
            found: if found.is_empty() {
                "no platform".into()
            } else {
                found.join(", ")
            },
            wanted: wanted.platform.to_string(),
        });
    };
    let Picked {
        descriptor,
        manifest,
        config,
        index,
    } = picked;
    let diff_ids = &config.rootfs.diff_ids;
    if config.rootfs.type_ != "layers" || diff_ids.len() != manifest.layers.len() {
        return Err(Error::Invalid(format!(
            "configuration {} lists {} layers and manifest {} {}",
            manifest.config.digest,
            diff_ids.len(),
            descriptor.digest,
            manifest.layers.len()
        )));
    }
    if manifest.layers.len() > limits.layers {
        let text = format!(
            "it has {} layers, more than {}",
            manifest.layers.len(),
            limits.layers
        );
        return Err(Error::Limit(text));
    }
    let chain = chain_ids(diff_ids)
        .ok_or_else(|| Error::Invalid(format!("{} has a bad diff_id", manifest.config.digest)))?;
    let mut layers: Vec<Layer> = Vec::new();
    for (at, layer) in manifest.layers.iter().enumerate() {
        let from = contents.layer(layer)?;
        layers.push(Layer {
            blob: Remote {
                digest: layer.digest.clone(),
                size: layer.size,
                urls: layer.urls.clone(),
            },
            from,
            diff_id: diff_ids[at].clone(),
            chain: chain[at].clone(),
            below: chain[..at].iter().rev().cloned().collect(),
        });
    }
    let record = |d: &Descriptor| Blob {
        digest: d.digest.clone(),
        size: d.size,
    };
    let (os, architecture) = (config.os.clone(), config.architecture.clone());
    let platform = descriptor.platform.as_ref();
    let variant = config
        .variant
        .clone()
        .or_else(|| platform.and_then(|platform| platform.variant.clone()));
    Ok(Chosen {
        names: Vec::new(),
        id: manifest.config.digest.clone(),
        os,
        architecture,
        variant,
        config: run_config(config),
        manifest: ManifestRecord {
            digest: descriptor.digest,
            media_type: descriptor.media_type,
            size: descriptor.size,
            blobs: std::iter::once(&manifest.config)
                .chain(&manifest.layers)
                .map(record)
                .collect(),
            index,
        },
        layers,
    })
}

/// A name with a digest must mean what was found.
pub(super) fn check_pinned(name: &Reference, manifest: &ManifestRecord) -> Result<(), Error> {
    let Some(digest) = name.digest() else {
        return Ok(());
    };
    if digest == manifest.digest || Some(digest) == manifest.index.as_deref() {
        return Ok(());
    }
    Err(Error::Digest {
        what: format!("the image for {name}"),
        expected: digest.to_owned(),
        actual: manifest.digest.clone(),
    })
}

pub(crate) fn run_config(config: ConfigDocument) -> ImageConfig {
    let run = config.config.unwrap_or_default();
    ImageConfig {
        user: run.user.unwrap_or_default(),
        env: run.env,
        entrypoint: run.entrypoint,
        cmd: run.cmd,
        working_dir: run.working_dir.unwrap_or_default(),
        labels: run.labels,
        stop_signal: run.stop_signal.unwrap_or_default(),
        volumes: run.volumes.into_keys().collect(),
        exposed_ports: run.exposed_ports.into_keys().collect(),
    }
}

/// The chain id of each layer: its own diff id for the lowest, then
/// `sha256(chain below + " " + diff id)` (image specification, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[String]) -> Option<Vec<String>> {
    let mut chain: Vec<String> = Vec::new();
    for diff_id in diff_ids {
        if !is_digest(diff_id) {
            return None;
        }
        chain.push(match chain.last() {
            Some(below) => digest_of(Sha256::new_with_prefix(format!("{below} {diff_id}"))),
            None => diff_id.clone(),
        });
    }
    Some(chain)
}
