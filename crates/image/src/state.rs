//! What the store knows, in memory: images, names and layers. The database is its durable copy.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Error, Image, ImageConfig, Reference, layout::Layout, reference::is_digest};

/// Everything, cheap to look at: reads never touch the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// By id.
    pub(crate) images: BTreeMap<String, ImageRecord>,
    /// By normalised name with tag, or name with digest.
    pub(crate) names: BTreeMap<String, NameRecord>,
    /// By chain id.
    pub(crate) layers: BTreeMap<String, LayerRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Format of this record.
    pub(crate) version: u32,
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
    pub(crate) config: ImageConfig,
    /// Chain ids, bottom first.
    pub(crate) chain: Vec<String>,
    /// The same image may come packed in several ways; the newest is last.
    pub(crate) manifests: Vec<ManifestRecord>,
    #[serde(default)]
    pub(crate) pinned: bool,
}

pub(crate) const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestRecord {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    /// Configuration first, then the layers from the bottom.
    pub(crate) blobs: Vec<Blob>,
    /// The index through which it was found: another digest by which people know the image.
    pub(crate) index: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) image: String,
    pub(crate) manifest: String,
}

/// Also written into the layer's directory, so that a lost database can be made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) version: u32,
    pub(crate) chain: String,
    pub(crate) diff_id: String,
    /// Name below `layers`.
    pub(crate) dir: String,
    /// Allocated on disk.
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// What a text means: see [`State::meant`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meant<'a> {
    pub(crate) id: &'a str,
    /// The name by which it was found; an id or a manifest's digest is none.
    pub(crate) name: Option<&'a String>,
    pub(crate) image: &'a ImageRecord,
    pub(crate) manifest: &'a ManifestRecord,
}

impl ManifestRecord {
    /// All blobs, the manifest's own included.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        let own = (self.digest.as_str(), self.size);
        std::iter::once(own).chain(
            self.blobs
                .iter()
                .map(|blob| (blob.digest.as_str(), blob.size)),
        )
    }
}

impl State {
    /// The id that a name, id or unique prefix of an id means.
    pub(crate) fn find(&self, text: &str) -> Result<Option<&str>, Error> {
        if is_digest(text) {
            return Ok(self.by_digest(text));
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = !hex.is_empty()
            && hex.len() <= 64
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match text.parse::<Reference>() {
            Ok(reference) => {
                if let Some(id) = self.by_reference(&reference) {
                    return Ok(Some(id));
                }
            }
            Err(_) if is_hex => {}
            Err(error) => return Err(error.into()),
        }
        if is_hex {
            self.by_prefix(hex)
        } else {
            Ok(None)
        }
    }

    fn by_digest(&self, digest: &str) -> Option<&str> {
        if let Some((id, _)) = self.images.get_key_value(digest) {
            return Some(id);
        }
        let known = |manifest: &ManifestRecord| {
            manifest.digest == digest || manifest.index.as_deref() == Some(digest)
        };
        let mut images = self.images.iter();
        images
            .find(|(_, image)| image.manifests.iter().any(known))
            .map(|(id, _)| id.as_str())
    }

    fn by_reference(&self, reference: &Reference) -> Option<&str> {
        let record = self.names.get(&reference.key()?);
        record.map(|record| record.image.as_str())
    }

    /// The manifest that a text means: that of its name, else the newest of its image.
    pub(crate) fn meant(&self, text: &str) -> Result<Option<Meant<'_>>, Error> {
        let Some((id, image)) = self
            .find(text)?
            .and_then(|id| self.images.get_key_value(id))
        else {
            return Ok(None);
        };
        let key = text.parse::<Reference>().ok().and_then(|name| name.key());
        let named = key.and_then(|key| self.names.get_key_value(&key));
        let manifest = match named {
            Some((_, record)) => image
                .manifests
                .iter()
                .find(|manifest| manifest.digest == record.manifest),
            None => image.manifests.last(),
        };
        Ok(manifest.map(|manifest| Meant {
            id,
            name: named.map(|(name, _)| name),
            image,
            manifest,
        }))
    }

    fn by_prefix(&self, hex: &str) -> Result<Option<&str>, Error> {
        let prefix = format!("sha256:{hex}");
        let mut found = self
            .images
            .range(prefix.clone()..)
            .take_while(|(id, _)| id.starts_with(&prefix));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((id, _)), None) => Ok(Some(id)),
            (Some((first, _)), Some((second, _))) => Err(Error::Ambiguous {
                prefix: hex.to_owned(),
                first: first.clone(),
                second: second.clone(),
            }),
        }
    }

    /// An image as callers see it.
    pub(crate) fn image(&self, id: &str, layout: &Layout) -> Option<Image> {
        let record = self.images.get(id)?;
        let manifest = record.manifests.last()?;
        let dir = |chain| self.layers.get(chain).map(|layer| layout.diff(&layer.dir));
        let (digests, tags) = self
            .names
            .iter()
            .filter(|(_, name)| name.image == id)
            .map(|(name, _)| name.clone())
            .partition(|name| name.contains('@'));
        Some(Image {
            id: id.to_owned(),
            repo_tags: tags,
            repo_digests: digests,
            manifest: manifest.digest.clone(),
            size: manifest.all().map(|(_, size)| size).sum(),
            config: record.config.clone(),
            layers: record.chain.iter().rev().map(dir).collect::<Option<_>>()?,
            os: record.os.clone(),
            architecture: record.architecture.clone(),
            pinned: record.pinned,
        })
    }

    /// Takes an image with all its names away.
    pub(crate) fn forget(&mut self, id: &str) {
        self.images.remove(id);
        self.names.retain(|_, name| name.image != id);
    }

    /// Drops manifests that no name leads to any more, unless the image has no other.
    pub(crate) fn tidy(&mut self, id: &str) {
        let named: BTreeSet<&String> = self
            .names
            .values()
            .filter(|n| n.image == id)
            .map(|n| &n.manifest)
            .collect();
        if let Some(image) = self.images.get_mut(id)
            && image
                .manifests
                .iter()
                .any(|manifest| named.contains(&manifest.digest))
        {
            image
                .manifests
                .retain(|manifest| named.contains(&manifest.digest));
        }
    }

    /// Chain ids that images need.
    pub(crate) fn needed_layers(&self) -> BTreeSet<&str> {
        self.images
            .values()
            .flat_map(|image| image.chain.iter().map(String::as_str))
            .collect()
    }

    /// Blobs that images need, with their sizes.
    pub(crate) fn needed_blobs(&self) -> BTreeMap<&str, u64> {
        self.images
            .values()
            .flat_map(|i| &i.manifests)
            .flat_map(ManifestRecord::all)
            .collect()
    }
}
