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

use oci::image::{Descriptor, Index, MediaType};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    Error, Store,
    copy::writer::{self, Head},
    index::{self, REF_NAME},
    pipe::digest_of,
    state::Meant,
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

/// Hands `work` the files of an image, which stay for its duration; `None` if there is no such image.
pub(crate) fn with_content<T>(
    store: &Store,
    name: &str,
    work: impl FnOnce(&Content) -> T,
) -> Result<Option<T>, Error> {
    let mut reserved = store.reserve();
    let state = store.state();
    let Some(meant) = state.meant(name)? else {
        return Ok(None);
    };
    let mut blobs = Vec::new();
    for (digest, size) in meant.manifest.all() {
        // A removal may have been faster.
        if !reserved.blob(digest, size) {
            return Ok(None);
        }
        blobs.push((digest.to_owned(), size, store.layout().blob(digest)));
    }
    Ok(Some(work(&Content {
        manifest: meant.manifest.digest.clone(),
        media_type: meant.manifest.media_type.clone(),
        blobs,
    })))
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
        let Some(image) = state.meant(name)? else {
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

fn descriptor(meant: &Meant<'_>) -> Descriptor {
    let name = meant.name.into_iter();
    let keys = [REF_NAME, CONTAINERD_NAME];
    let annotations = name.flat_map(|name| keys.map(|key| (key.to_owned(), name.clone())));
    index::descriptor(meant.image, meant.manifest, annotations.collect())
}

/// Docker's list: one entry for each manifest, with all its tags.
fn docker(images: &[Meant<'_>]) -> Vec<DockerEntry> {
    let mut entries: Vec<(&str, DockerEntry)> = Vec::new();
    for image in images {
        let tag = image
            .name
            .into_iter()
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
