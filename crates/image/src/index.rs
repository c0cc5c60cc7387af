//! `index.json`: derived from the state for other tools, and the way back when the database is lost.
//!
//! One entry a name, `org.opencontainers.image.ref.name` holding it whole
//! (`docker.io/library/busybox:latest`); a name with a digest only where the repository has no tag
//! for that image. skopeo reads it as `oci:<root>/images:<name>`.

use std::collections::BTreeMap;

use oci::image::{Descriptor, Index, MediaType, Platform};

use crate::{
    Error,
    layout::Layout,
    state::{ImageRecord, ManifestRecord, State},
};

pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const PINNED: &str = "io.coffer.pinned";

/// The document for a state.
pub(crate) fn derive(state: &State) -> Index {
    let mut manifests = Vec::new();
    for (id, image) in &state.images {
        let mut named = false;
        for (name, record) in state.names.iter().filter(|(_, record)| record.image == *id) {
            if let Some((repository, _)) = name.split_once('@')
                && has_tag(state, id, repository)
            {
                continue;
            }
            named = true;
            manifests.extend(entry(image, &record.manifest, Some(name)));
        }
        if !named && let Some(manifest) = image.manifests.last() {
            manifests.extend(entry(image, &manifest.digest, None));
        }
    }
    Index {
        schema_version: 2,
        media_type: Some(MediaType::OciIndex.to_string()),
        manifests,
        ..Index::default()
    }
}

fn has_tag(state: &State, id: &str, repository: &str) -> bool {
    let tag = format!("{repository}:");
    let mut names = state
        .names
        .range(tag.clone()..)
        .take_while(|(name, _)| name.starts_with(&tag));
    names.any(|(_, record)| record.image == id)
}

fn entry(image: &ImageRecord, digest: &str, name: Option<&String>) -> Option<Descriptor> {
    let manifest = image
        .manifests
        .iter()
        .find(|manifest| manifest.digest == digest)?;
    let mut annotations = BTreeMap::new();
    if let Some(name) = name {
        annotations.insert(REF_NAME.to_owned(), name.clone());
    }
    if image.pinned {
        annotations.insert(PINNED.to_owned(), "true".to_owned());
    }
    Some(descriptor(image, manifest, annotations))
}

/// An index's entry for a manifest of an image.
pub(crate) fn descriptor(
    image: &ImageRecord,
    manifest: &ManifestRecord,
    annotations: BTreeMap<String, String>,
) -> Descriptor {
    Descriptor {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.clone(),
        size: manifest.size,
        annotations,
        platform: Some(Platform {
            architecture: image.architecture.clone(),
            os: image.os.clone(),
            variant: image.variant.clone(),
            ..Platform::default()
        }),
        ..Descriptor::default()
    }
}

/// Writes the document if the one on disk says something else.
pub(crate) fn write(layout: &Layout, state: &State) -> Result<(), Error> {
    let path = layout.index();
    let json = serde_json::to_vec(&derive(state)).map_err(|error| Error::Database {
        act: "print index.json",
        source: error.into(),
    })?;
    if std::fs::read(&path).is_ok_and(|found| found == json) {
        return Ok(());
    }
    sys::atomic::write(&path, &json, 0o644, sys::atomic::Durability::Disk)
        .map_err(Error::io("write", path))
}
