//! Images as an archive: an OCI image layout in a tar, with docker's `manifest.json` beside it, so
//! that podman, docker, skopeo, containerd and `coffer import` all read it.
//!
//! The same images under the same names give the same bytes: entries are in a fixed order, and their
//! times are 0.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use oci::image::{Descriptor, Index, MediaType, Platform};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    Error, Reference, Store,
    copy::writer::{self, Head},
    index::REF_NAME,
    pipe::digest_of,
    state::{ManifestRecord, State},
    tar::Kind,
};

/// Where containerd looks for a name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const CHUNK: usize = 256 << 10;

/// One image's content on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Digest and type of the manifest.
    pub manifest: String,
    /// Its media type.
    pub media_type: String,
    /// Digest, bytes and file: the manifest, the configuration, the layers from the bottom.
    pub blobs: Vec<(String, u64, PathBuf)>,
}

/// What an archive says of one image.
struct Named {
    name: Option<String>,
    manifest: ManifestRecord,
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Hands `work` the files of an image, which stay for its duration; `None` if there is no such image.
pub(crate) fn with_content<T>(
    store: &Store,
    name: &str,
    work: impl FnOnce(&Content) -> T,
) -> Result<Option<T>, Error> {
    let mut reserved = store.reserve();
    let Some(named) = named(&store.state(), name)? else {
        return Ok(None);
    };
    let mut blobs = Vec::new();
    for (digest, size) in named.manifest.all() {
        // A removal may have been faster.
        if !reserved.blob(digest, size) {
            return Ok(None);
        }
        blobs.push((digest.to_owned(), size, store.layout().blob(digest)));
    }
    Ok(Some(work(&Content {
        manifest: named.manifest.digest.clone(),
        media_type: named.manifest.media_type.clone(),
        blobs,
    })))
}

/// The manifest that a name leads to, under that name; an id has none.
fn named(state: &State, text: &str) -> Result<Option<Named>, Error> {
    let Some(id) = state.find(text)? else {
        return Ok(None);
    };
    let Some(image) = state.images.get(id) else {
        return Ok(None);
    };
    let name = text.parse::<Reference>().ok().and_then(|reference| {
        let name = match reference.digest() {
            Some(digest) => Some(reference.with_digest(digest)),
            None => reference.tagged(),
        };
        name.filter(|name| state.names.contains_key(name))
    });
    let said = name.as_ref().and_then(|name| state.names.get(name));
    let manifest = match said {
        Some(record) => image
            .manifests
            .iter()
            .find(|manifest| manifest.digest == record.manifest),
        None => image.manifests.last(),
    };
    Ok(manifest.map(|manifest| Named {
        name,
        manifest: manifest.clone(),
        os: image.os.clone(),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes the archive of `names`; `Ok(Some(name))` names one that is not there, before anything is
/// written.
pub(crate) fn export(
    store: &Store,
    names: &[String],
    out: &mut dyn Write,
    cancel: &AtomicBool,
) -> Result<Option<String>, Error> {
    let mut reserved = store.reserve();
    let state = store.state();
    let mut images = Vec::new();
    let mut blobs: BTreeMap<String, u64> = BTreeMap::new();
    for name in names {
        let Some(image) = named(&state, name)? else {
            return Ok(Some(name.clone()));
        };
        for (digest, size) in image.manifest.all() {
            if !reserved.blob(digest, size) {
                return Ok(Some(name.clone()));
            }
            blobs.insert(digest.to_owned(), size);
        }
        images.push(image);
    }
    let print = |value: Result<Vec<u8>, serde_json::Error>| {
        value.map_err(|source| Error::Database {
            act: "print an archive's index",
            source: source.into(),
        })
    };
    let index = Index {
        schema_version: 2,
        media_type: Some(MediaType::OciIndex.to_string()),
        manifests: images.iter().map(descriptor).collect(),
        ..Index::default()
    };
    let index = print(serde_json::to_vec(&index))?;
    let docker = print(serde_json::to_vec(&docker(&images)))?;
    for (name, data) in [
        (
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice(),
        ),
        ("index.json", &index),
        ("manifest.json", &docker),
    ] {
        entry(out, name, data.len() as u64).map_err(write_failed)?;
        out.write_all(data).map_err(write_failed)?;
        writer::pad(out, data.len() as u64).map_err(write_failed)?;
    }
    for (digest, size) in blobs {
        blob(store, &digest, size, out, cancel)?;
    }
    writer::end(out).map_err(write_failed)?;
    Ok(None)
}

/// One blob, checked while it is read: what has decayed on the disk is not passed on.
fn blob(
    store: &Store,
    digest: &str,
    size: u64,
    out: &mut dyn Write,
    cancel: &AtomicBool,
) -> Result<(), Error> {
    let path = store.layout().blob(digest);
    let mut file = File::open(&path).map_err(Error::io("open", &path))?;
    entry(out, &blob_name(digest), size).map_err(write_failed)?;
    let (mut hasher, mut left, mut buffer) = (Sha256::new(), size, vec![0; CHUNK]);
    while left > 0 {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let want = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
        let length = file
            .read(&mut buffer[..want])
            .map_err(Error::io("read", &path))?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        out.write_all(&buffer[..length]).map_err(write_failed)?;
        left -= length as u64;
    }
    let actual = digest_of(hasher);
    if actual != digest {
        return Err(Error::Digest {
            what: format!("blob {} of the store", path.display()),
            expected: digest.to_owned(),
            actual,
        });
    }
    writer::pad(out, size).map_err(write_failed)
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn descriptor(image: &Named) -> Descriptor {
    let mut annotations = BTreeMap::new();
    if let Some(name) = &image.name {
        annotations.insert(REF_NAME.to_owned(), name.clone());
        annotations.insert(CONTAINERD_NAME.to_owned(), name.clone());
    }
    Descriptor {
        media_type: image.manifest.media_type.clone(),
        digest: image.manifest.digest.clone(),
        size: image.manifest.size,
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

/// Docker's list: one entry for each manifest, with all its tags.
fn docker(images: &[Named]) -> Vec<DockerEntry> {
    let mut entries: Vec<(&str, DockerEntry)> = Vec::new();
    for image in images {
        let tag = image
            .name
            .iter()
            .filter(|name| !name.contains('@'))
            .cloned();
        let digest = image.manifest.digest.as_str();
        if let Some((_, entry)) = entries.iter_mut().find(|(known, _)| *known == digest) {
            entry.repo_tags.extend(tag);
            continue;
        }
        let mut blobs = image
            .manifest
            .blobs
            .iter()
            .map(|blob| blob_name(&blob.digest));
        let entry = DockerEntry {
            config: blobs.next().unwrap_or_default(),
            repo_tags: tag.collect(),
            layers: blobs.collect(),
        };
        entries.push((digest, entry));
    }
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn entry(out: &mut dyn Write, name: &str, size: u64) -> io::Result<()> {
    writer::head(
        out,
        &Head {
            kind: Kind::File,
            path: name.as_bytes(),
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            dev: (0, 0),
            capability: b"",
        },
    )
}

fn write_failed(source: io::Error) -> Error {
    Error::Write { source }
}
