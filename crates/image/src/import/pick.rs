//! Platforms: the first manifest that this machine can run, through indexes if need be.
//!
//! An index entry without a platform is judged by its configuration. What a descriptor promises
//! (digest, size) is held against what was spooled before a document is believed.

use oci::image::{Descriptor, ImageConfig as ConfigDocument, Index, Manifest, MediaType, Platform};
use serde::de::DeserializeOwned;

use super::spool::{Archive, Spooled};
use crate::{Error, Limits, reference::is_digest};

/// Indexes in indexes: nobody needs more.
const DEPTH_MAX: usize = 4;

/// `(os, architecture)` of this machine in Go's naming.
pub(super) fn platform() -> (&'static str, &'static str) {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    (std::env::consts::OS, architecture)
}

/// What fits, with its documents.
pub(super) struct Picked {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) config: ConfigDocument,
    pub(super) index: Option<String>,
}

/// The first descriptor that fits this machine, looking into indexes.
pub(super) fn pick(
    archive: &Archive,
    descriptors: &[Descriptor],
    index: Option<&str>,
    depth: usize,
    limits: &Limits,
    found: &mut Vec<String>,
) -> Result<Option<Picked>, Error> {
    for descriptor in descriptors {
        if let Some(platform) = &descriptor.platform
            && !fits(&platform.os, &platform.architecture)
        {
            // Attestations say "unknown": they are no images.
            if platform.os != "unknown" {
                found.push(show_platform(platform));
            }
            continue;
        }
        let media_type = media_type(archive, descriptor, limits)?;
        if media_type.is_index() {
            if depth >= DEPTH_MAX {
                return Err(Error::Invalid("its indexes are nested too deeply".into()));
            }
            let inner: Index = read(archive, descriptor, limits.manifest_bytes, "index")?;
            let outer = index.unwrap_or(&descriptor.digest);
            let picked = pick(
                archive,
                &inner.manifests,
                Some(outer),
                depth + 1,
                limits,
                found,
            )?;
            if picked.is_some() {
                return Ok(picked);
            }
            continue;
        }
        let manifest: Manifest = read(archive, descriptor, limits.manifest_bytes, "manifest")?;
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
        let config: ConfigDocument = read(
            archive,
            &manifest.config,
            limits.config_bytes,
            "configuration",
        )?;
        if !fits(&config.os, &config.architecture) {
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
    archive: &Archive,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<MediaType, Error> {
    if let Some(known) = descriptor.known_media_type()
        && (known.is_index() || known.is_manifest())
    {
        return Ok(known);
    }
    let value: serde_json::Value = read(archive, descriptor, limits.manifest_bytes, "document")?;
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

fn fits(os: &str, architecture: &str) -> bool {
    let (own_os, own_architecture) = platform();
    (os.is_empty() || os == own_os) && (architecture.is_empty() || architecture == own_architecture)
}

fn show_platform(platform: &Platform) -> String {
    let variant = platform
        .variant
        .as_deref()
        .map(|v| format!("/{v}"))
        .unwrap_or_default();
    format!("{}/{}{variant}", platform.os, platform.architecture)
}

pub(super) fn blob<'a>(
    archive: &'a Archive,
    descriptor: &Descriptor,
    what: &str,
) -> Result<&'a Spooled, Error> {
    if !is_digest(&descriptor.digest) {
        let text = format!("{what} digest {:?} is no sha256 digest", descriptor.digest);
        return Err(Error::Invalid(text));
    }
    let Some(file) = archive.blob(&descriptor.digest) else {
        let hint = if descriptor.urls.is_empty() {
            ""
        } else {
            " (it must be fetched from a URL)"
        };
        let text = format!("{what} {} is not in the archive{hint}", descriptor.digest);
        return Err(Error::Invalid(text));
    };
    if file.size != descriptor.size {
        let text = format!(
            "{what} {} has {} bytes, and its descriptor says {}",
            descriptor.digest, file.size, descriptor.size
        );
        return Err(Error::Invalid(text));
    }
    if file.digest != descriptor.digest {
        return Err(Error::Digest {
            what: format!("{what} in the archive"),
            expected: descriptor.digest.clone(),
            actual: file.digest.clone(),
        });
    }
    Ok(file)
}

fn read<T: DeserializeOwned>(
    archive: &Archive,
    descriptor: &Descriptor,
    limit: u64,
    what: &str,
) -> Result<T, Error> {
    let file = blob(archive, descriptor, what)?;
    let name = format!("{what} {}", descriptor.digest);
    document(&name, &file.read(&name, limit)?)
}

pub(super) fn document<T: DeserializeOwned>(name: &str, data: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(data).map_err(|error| Error::Invalid(format!("{name}: {error}")))
}
