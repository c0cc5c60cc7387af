//! The manifest that fits a platform best, through indexes if need be.
//!
//! An index entry without a platform is judged by its configuration. What a descriptor promises
//! (digest, size) is held against the document before it is believed.

use oci::image::{self, Descriptor, ImageConfig as ConfigDocument, Index, Manifest, MediaType};
use serde::de::DeserializeOwned;

use super::From;
use crate::{Error, Limits, Platform, reference::is_digest};

/// Indexes in indexes: nobody needs more.
const DEPTH_MAX: usize = 4;

/// Where documents and layers are: an archive that was spooled, or a registry.
pub(super) trait Contents {
    /// A manifest or index, held against its descriptor; `what` names it in errors.
    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        what: &str,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error>;

    /// An image's configuration, held against its descriptor.
    fn config(&mut self, descriptor: &Descriptor, limits: &Limits) -> Result<Vec<u8>, Error>;

    /// Where a layer's blob comes from.
    fn layer(&mut self, descriptor: &Descriptor) -> Result<From, Error>;
}

/// What is looked for.
pub(super) struct Wanted<'a> {
    pub(super) platform: &'a Platform,
    pub(super) limits: &'a Limits,
}

/// What fits, with its documents.
pub(super) struct Picked {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) config: ConfigDocument,
    pub(super) index: Option<String>,
}

/// The descriptor that fits the platform best, looking into indexes; of equals the first.
pub(super) fn pick(
    contents: &mut dyn Contents,
    descriptors: &[Descriptor],
    index: Option<&str>,
    depth: usize,
    wanted: &Wanted<'_>,
    found: &mut Vec<String>,
) -> Result<Option<Picked>, Error> {
    let limits = wanted.limits;
    let mut ranked = Vec::new();
    for descriptor in descriptors {
        let rank = match &descriptor.platform {
            Some(platform) => wanted.platform.rank_of(platform),
            None => Some(u32::MAX),
        };
        match (rank, &descriptor.platform) {
            (Some(rank), _) => ranked.push((rank, descriptor)),
            // Attestations say "unknown": they are no images.
            (None, Some(platform)) if platform.os != "unknown" => {
                found.push(show_platform(platform));
            }
            (None, _) => {}
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    for (_, descriptor) in ranked {
        let media_type = media_type(contents, descriptor, limits)?;
        if media_type.is_index() {
            if depth >= DEPTH_MAX {
                return Err(Error::Invalid("its indexes are nested too deeply".into()));
            }
            let data = contents.manifest(descriptor, "index", limits)?;
            let inner: Index = document(&format!("index {}", descriptor.digest), &data)?;
            let outer = index.unwrap_or(&descriptor.digest);
            let picked = pick(
                contents,
                &inner.manifests,
                Some(outer),
                depth + 1,
                wanted,
                found,
            )?;
            if picked.is_some() {
                return Ok(picked);
            }
            continue;
        }
        let data = contents.manifest(descriptor, "manifest", limits)?;
        let manifest: Manifest = document(&format!("manifest {}", descriptor.digest), &data)?;
        if !manifest
            .config
            .known_media_type()
            .is_some_and(MediaType::is_config)
        {
            let text = format!(
                "manifest {} is of {:?}, no container image",
                descriptor.digest, manifest.config.media_type
            );
            return Err(Error::Invalid(text));
        }
        let data = contents.config(&manifest.config, limits)?;
        let name = format!("configuration {}", manifest.config.digest);
        let config: ConfigDocument = document(&name, &data)?;
        let variant = config.variant.as_deref();
        let said = descriptor.platform.is_some();
        // What an index says of a variant is what its author chose it by; images that are built for
        // several seldom say it in their configuration.
        let variant = variant.filter(|_| !said);
        let fits = wanted
            .platform
            .rank(&config.os, &config.architecture, variant)
            .is_some()
            || said && wanted.platform.same_kind(&config.os, &config.architecture);
        if !fits {
            found.push(format!("{}/{}", config.os, config.architecture));
            continue;
        }
        let descriptor = Descriptor {
            media_type: media_type.to_string(),
            ..descriptor.clone()
        };
        let index = index.map(str::to_owned);
        return Ok(Some(Picked {
            descriptor,
            manifest,
            config,
            index,
        }));
    }
    Ok(None)
}

/// What a descriptor leads to. An absent or unknown type is read from the document itself.
fn media_type(
    contents: &mut dyn Contents,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<MediaType, Error> {
    if let Some(known) = descriptor.known_media_type()
        && (known.is_index() || known.is_manifest())
    {
        return Ok(known);
    }
    let data = contents.manifest(descriptor, "document", limits)?;
    let value: serde_json::Value = document(&format!("document {}", descriptor.digest), &data)?;
    if value.get("manifests").is_some() {
        Ok(MediaType::OciIndex)
    } else if value.get("config").is_some() {
        Ok(MediaType::OciManifest)
    } else {
        let text = format!(
            "{} of {:?} is no image",
            descriptor.digest, descriptor.media_type
        );
        Err(Error::Invalid(text))
    }
}

fn show_platform(platform: &image::Platform) -> String {
    let variant = platform
        .variant
        .as_deref()
        .map(|v| format!("/{v}"))
        .unwrap_or_default();
    format!("{}/{}{variant}", platform.os, platform.architecture)
}

/// The digest of a descriptor becomes a file's name and a part of a URL: nothing else will do.
pub(super) fn check_digest(descriptor: &Descriptor, what: &str) -> Result<(), Error> {
    if is_digest(&descriptor.digest) {
        return Ok(());
    }
    let text = format!("{what} digest {:?} is no sha256 digest", descriptor.digest);
    Err(Error::Invalid(text))
}

pub(super) fn document<T: DeserializeOwned>(name: &str, data: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(data).map_err(|error| Error::Invalid(format!("{name}: {error}")))
}
