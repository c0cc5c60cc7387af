//! A pull: the same steps as an import, but content comes from a registry when it is needed.
//!
//! ```text
//!  1 digest   one question: is what the name means now here already? Then only names change
//!  2 choose   documents, fetched one by one, each held against its digest
//!  3 reserve  layers and blobs that are there already
//!  4 layers   fetch -> sha256 -> file and decompress -> sha256 -> unpack, in parallel  layers.rs
//!  5 sync, 6 publish                                                        as an import
//! ```

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};

use oci::image::{Descriptor, Index, MediaType};
use sha2::{Digest, Sha256};

use super::{
    From,
    arriving::stopped,
    choose::{check_pinned, image},
    finish, layers,
    pick::{Contents, Wanted, check_digest, document},
    publish,
    spool::{Archive, Spooled},
    workspace,
};
use crate::{
    Error, Image, Limits, Platform, Progress, PullOptions, Reference, Remote, Source, Store,
    collect::Reserved,
    digests::Digests,
    layout::Disk,
    pipe::{Cancel, digest_of},
};

pub(crate) fn pull(
    store: &Store,
    reference: &Reference,
    source: &dyn Source,
    opts: &PullOptions,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &AtomicBool,
) -> Result<Image, Error> {
    let cancel = Cancel::new(cancel);
    let platform = opts.platform.clone().unwrap_or_else(Platform::host);
    // With a digest the tag is only a comment: nobody has said what the tag means.
    let reference = reference.pinned();
    // Asked even when the digest is known: who may not read an image at its registry does not get
    // it from here either.
    let digest = source
        .digest(&stopped(&cancel))
        .map_err(Error::from)?
        .or_else(|| reference.digest().map(str::to_owned));
    if let Some(digest) = &digest
        && let Some(image) = publish::known(store, &reference, digest, &platform)?
    {
        return Ok(image);
    }

    let workspace = workspace(store.layout())?;
    let dir = workspace.path().to_owned();
    let disk = Disk::of(store.layout().layers())?;
    let blobs = Disk::of(dir.clone())?;
    let mut remote = Contact {
        source,
        store,
        dir: &dir,
        archive: Archive::default(),
        reserved: store.reserve(),
        cancel: &cancel,
    };
    let descriptor = remote.top(&reference, digest.as_deref(), &opts.limits)?;
    let wanted = Wanted {
        platform: &platform,
        limits: &opts.limits,
    };
    let mut chosen = image(&mut remote, &[descriptor], &wanted)?;
    check_pinned(&reference, &chosen.manifest)?;
    chosen.names = vec![reference];
    sys::failpoint!("image.pull.chosen", Error::injected);

    let Contact {
        mut archive,
        mut reserved,
        ..
    } = remote;
    let known = reserved.layers(chosen.layers.iter().map(|layer| layer.chain.as_str()));
    let chosen = vec![chosen];
    let brought = layers::unpack_all(
        &layers::Job {
            layout: store.layout(),
            known: &known,
            limits: &opts.limits,
            progress,
            cancel: &cancel,
            remote: Some(source),
            arrivals: &store.arrivals,
            digests: &Digests::default(),
            disk: Some(&disk),
            store: Some(store),
        },
        &chosen,
    )?;
    for layer in chosen.iter().flat_map(|image| &image.layers) {
        if let Some(blob) = brought.blobs.get(&layer.blob.digest) {
            archive.alias(&Spooled {
                digest: layer.blob.digest.clone(),
                size: layer.blob.size,
                file: blob.place.path().to_owned(),
            });
        }
    }
    sys::failpoint!("image.pull.unpacked", Error::injected);
    let images = finish(store, &archive, chosen, &brought, &[disk, blobs], &cancel)?;
    images.into_iter().next().ok_or(Error::Cancelled)
}

/// A registry's repository as it is seen by one pull.
struct Contact<'a> {
    source: &'a dyn Source,
    store: &'a Store,
    dir: &'a Path,
    /// What came, by digest.
    archive: Archive,
    reserved: Reserved<'a>,
    cancel: &'a Cancel<'a>,
}

impl Contact<'_> {
    /// What the reference leads to, fetched and kept.
    fn top(
        &mut self,
        reference: &Reference,
        digest: Option<&str>,
        limits: &Limits,
    ) -> Result<Descriptor, Error> {
        let stopped = stopped(self.cancel);
        let fetched = self
            .source
            .manifest(digest, limits.manifest_bytes, &stopped)
            .map_err(Error::from)?;
        check_size(&fetched.data, limits.manifest_bytes, "the manifest")?;
        let actual = digest_of(Sha256::new_with_prefix(&fetched.data));
        if let Some(expected) = digest
            && expected != actual
        {
            return Err(Error::Digest {
                what: format!("the manifest of {reference}"),
                expected: expected.to_owned(),
                actual,
            });
        }
        let kept = self.archive.add(self.dir, &fetched.data)?;
        Ok(Descriptor {
            media_type: media_type(&fetched.data, &fetched.media_type)?,
            digest: kept.digest,
            size: kept.size,
            ..Descriptor::default()
        })
    }

    /// A document from the archive, from the store, or by `fetch`; then it is kept.
    fn document(
        &mut self,
        descriptor: &Descriptor,
        what: &str,
        limit: u64,
        fetch: impl FnOnce(&Self) -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<u8>, Error> {
        check_digest(descriptor, what)?;
        let name = format!("{what} {}", descriptor.digest);
        if descriptor.size > limit {
            let text = format!("{name} has {} bytes, more than {limit}", descriptor.size);
            return Err(Error::Limit(text));
        }
        if let Some(kept) = self.archive.blob(&descriptor.digest) {
            return kept.read(&name, limit);
        }
        if self.reserved.blob(&descriptor.digest, descriptor.size) {
            let path = self.store.layout().blob(&descriptor.digest);
            let data = fs::read(&path).map_err(Error::io("read", &path))?;
            // What lies on the disk may have decayed.
            if digest_of(Sha256::new_with_prefix(&data)) == descriptor.digest {
                return Ok(data);
            }
        }
        let data = fetch(self)?;
        if data.len() as u64 != descriptor.size {
            return Err(Error::Invalid(format!(
                "{name} has {} bytes, and its descriptor says {}",
                data.len(),
                descriptor.size
            )));
        }
        let actual = digest_of(Sha256::new_with_prefix(&data));
        if actual != descriptor.digest {
            return Err(Error::Digest {
                what: format!("{what} from the registry"),
                expected: descriptor.digest.clone(),
                actual,
            });
        }
        self.archive.add(self.dir, &data)?;
        Ok(data)
    }
}

impl Contents for Contact<'_> {
    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        what: &str,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let limit = limits.manifest_bytes;
        self.document(descriptor, what, limit, |contact| {
            let stopped = stopped(contact.cancel);
            let fetched = contact
                .source
                .manifest(Some(&descriptor.digest), limit, &stopped)
                .map_err(Error::from)?;
            Ok(fetched.data)
        })
    }

    fn config(&mut self, descriptor: &Descriptor, limits: &Limits) -> Result<Vec<u8>, Error> {
        let limit = limits.config_bytes;
        self.document(descriptor, "configuration", limit, |contact| {
            let stopped = stopped(contact.cancel);
            let blob = Remote {
                digest: descriptor.digest.clone(),
                size: descriptor.size,
                urls: Vec::new(),
            };
            let from = contact.source.blob(&blob, &stopped).map_err(Error::from)?;
            let mut data = Vec::new();
            std::io::Read::read_to_end(
                &mut std::io::Read::take(from, descriptor.size.saturating_add(1)),
                &mut data,
            )
            .map_err(super::arriving::fetch_failed)?;
            Ok(data)
        })
    }

    fn layer(&mut self, descriptor: &Descriptor) -> Result<From, Error> {
        check_digest(descriptor, "layer")?;
        if self.reserved.blob(&descriptor.digest, descriptor.size) {
            let file = self.store.layout().blob(&descriptor.digest);
            return Ok(From::File(file));
        }
        // Another pull may bring it, and its image be removed, while this one still needs it.
        self.reserved.hold(&descriptor.digest);
        Ok(From::Source)
    }
}

fn check_size(data: &[u8], limit: u64, what: &str) -> Result<(), Error> {
    if data.len() as u64 > limit {
        let text = format!("{what} has {} bytes, more than {limit}", data.len());
        return Err(Error::Limit(text));
    }
    Ok(())
}

/// What a document is: by what it says of itself, else by its header, else by its members.
pub(super) fn media_type(data: &[u8], header: &str) -> Result<String, Error> {
    let value: BTreeMap<String, serde_json::Value> = document("the manifest", data)?;
    let said = value.get("mediaType").and_then(|value| value.as_str());
    let known = |text: &&str| {
        text.parse::<MediaType>()
            .is_ok_and(|known| known.is_index() || known.is_manifest())
    };
    let header = header.split(';').next().unwrap_or_default().trim();
    if value
        .get("schemaVersion")
        .and_then(serde_json::Value::as_u64)
        == Some(1)
    {
        let text = "it is a Docker schema 1 manifest, which has no verifiable layers; push it again \
                    with a current tool";
        return Err(Error::Invalid(text.into()));
    }
    let lists = value.contains_key("manifests");
    if lists && (value.contains_key("layers") || value.contains_key("config")) {
        // Two readers would see two images behind one digest (CVE-2021-41190).
        let text = "it is an index and a manifest at once";
        return Err(Error::Invalid(text.into()));
    }
    if let Some(known) = said.as_ref().filter(|text| known(text)) {
        return Ok((*known).to_owned());
    }
    if said.is_none() && known(&header) {
        return Ok(header.to_owned());
    }
    match said {
        Some(other) => Err(Error::Invalid(format!("it is of {other:?}, no image"))),
        None if lists => {
            let _: Index = document("the index", data)?;
            Ok(MediaType::OciIndex.to_string())
        }
        None => Ok(MediaType::OciManifest.to_string()),
    }
}
