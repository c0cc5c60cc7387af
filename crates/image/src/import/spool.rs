//! The archive's files, onto the disk, hashed on their way.
//!
//! The order of files in an archive is free (skopeo writes the index last), so all are kept until
//! the documents can be read. A blob that the store has already is hashed but not written again.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use oci::image::Descriptor;
use sha2::{Digest, Sha256};

use super::{
    From,
    pick::{Contents, check_digest},
};
use crate::{
    Error, ImportOptions, Limits, Progress,
    collect::Reserved,
    layout::Layout,
    pipe::{Cancel, Packing, Stop, digest_of, unpacked},
    reference::is_digest,
    tar::{self, Entry, Kind, show},
};

const BUFFER: usize = 256 << 10;
const LINKS_MAX: usize = 8;

/// The files of an archive by name.
#[derive(Debug, Default)]
pub(super) struct Archive {
    files: BTreeMap<String, Spooled>,
    links: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(super) struct Spooled {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) file: PathBuf,
}

impl Archive {
    /// A file by its name; links (docker archives share layers by them) are followed by name only.
    pub(super) fn get(&self, name: &str) -> Option<&Spooled> {
        let mut name = name.to_owned();
        for _ in 0..LINKS_MAX {
            if let Some(file) = self.files.get(&name) {
                return Some(file);
            }
            name.clone_from(self.links.get(&name)?);
        }
        None
    }

    /// A blob by its digest.
    pub(super) fn blob(&self, digest: &str) -> Option<&Spooled> {
        self.get(&format!("blobs/{}", digest.replace(':', "/")))
    }

    /// Adds a document that the archive itself does not hold.
    pub(super) fn add(&mut self, dir: &Path, data: &[u8]) -> Result<Spooled, Error> {
        let digest = digest_of(Sha256::new_with_prefix(data));
        let file = dir.join(digest.trim_start_matches("sha256:"));
        fs::write(&file, data).map_err(Error::io("write", &file))?;
        let spooled = Spooled {
            digest,
            size: data.len() as u64,
            file,
        };
        self.alias(&spooled);
        Ok(spooled)
    }

    /// Lets a file be found by its digest too.
    pub(super) fn alias(&mut self, file: &Spooled) {
        self.files.insert(
            format!("blobs/{}", file.digest.replace(':', "/")),
            file.clone(),
        );
    }

    /// The content of a document, if it is not larger than `limit`.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.get(name) else {
            return Ok(None);
        };
        file.read(name, limit).map(Some)
    }
}

impl Contents for Archive {
    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        what: &str,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let file = self.promised(descriptor, what)?;
        let name = format!("{what} {}", descriptor.digest);
        file.read(&name, limits.manifest_bytes)
    }

    fn config(&mut self, descriptor: &Descriptor, limits: &Limits) -> Result<Vec<u8>, Error> {
        let file = self.promised(descriptor, "configuration")?;
        let name = format!("configuration {}", descriptor.digest);
        file.read(&name, limits.config_bytes)
    }

    fn layer(&mut self, descriptor: &Descriptor) -> Result<From, Error> {
        let file = self.promised(descriptor, "layer")?;
        Ok(From::File(file.file.clone()))
    }
}

impl Archive {
    /// A blob that is what its descriptor says.
    fn promised(&self, descriptor: &Descriptor, what: &str) -> Result<&Spooled, Error> {
        check_digest(descriptor, what)?;
        let Some(file) = self.blob(&descriptor.digest) else {
            let hint = if descriptor.urls.is_empty() {
                ""
            } else {
                " (it must be fetched from a URL: pull the image instead)"
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
}

impl Spooled {
    /// How it is packed, by its first bytes.
    pub(super) fn packing(&self) -> Result<Packing, Error> {
        let mut start = [0; 4];
        let mut file = File::open(&self.file).map_err(Error::io("open", &self.file))?;
        let length = file
            .read(&mut start)
            .map_err(Error::io("read", &self.file))?;
        Ok(Packing::of(&start[..length]))
    }

    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        if self.size > limit {
            let text = format!("{name} has {} bytes, more than {limit}", self.size);
            return Err(Error::Limit(text));
        }
        fs::read(&self.file).map_err(Error::io("read", &self.file))
    }
}

pub(super) fn spool(
    src: &mut dyn Read,
    dir: &Path,
    layout: &Layout,
    reserved: &mut Reserved<'_>,
    opts: &ImportOptions,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &Cancel<'_>,
) -> Result<Archive, Error> {
    let source = Source {
        inner: src,
        bytes: 0,
        told: 0,
        progress,
        cancel,
    };
    let may_go_on = || may_go_on(cancel);
    let (_, plain) =
        unpacked(BufReader::with_capacity(BUFFER, source), &may_go_on).map_err(read_failed)?;
    let bounded = plain.take(opts.limits.archive_bytes.saturating_add(1));
    let plain = BufReader::with_capacity(BUFFER, bounded);
    let mut reader = tar::Reader::new(plain, opts.limits.header_bytes);
    let mut archive = Archive::default();
    let (mut entries, mut total) = (0u64, 0u64);
    while let Some(entry) = reader.next().map_err(tar_failed)? {
        entries += 1;
        total = total.saturating_add(entry.size);
        check(entries, total, &opts.limits)?;
        // Names are kept in memory: ten thousand of a megabyte each would be an attack.
        let short = entry.path.len().max(entry.link.len()) <= opts.limits.path_bytes;
        let Some(name) = clean(&entry.path).filter(|_| short) else {
            return Err(Error::Invalid(format!(
                "its file name {:?} is odd",
                show(&entry.path)
            )));
        };
        match entry.kind {
            Kind::Directory => {}
            Kind::File if entry.extents.is_none() => {
                let spooled =
                    file(&mut reader, &name, entries, dir, layout, reserved).map_err(|error| {
                        // What a limit cut off looks like a truncated file.
                        check(entries, total, &opts.limits).err().unwrap_or(error)
                    })?;
                let digest = spooled.digest.clone();
                progress(Progress::Blob {
                    digest,
                    bytes: spooled.size,
                });
                archive.files.insert(name, spooled);
            }
            Kind::Symlink | Kind::HardLink => {
                if let Some(target) = link_target(&name, &entry) {
                    archive.links.insert(name, target);
                }
            }
            _ => {
                let text = format!("its file {:?} is no regular file", show(&entry.path));
                return Err(Error::Invalid(text));
            }
        }
    }
    // Nothing behind the end matters, but a client that still sends must not be cut off.
    reader.drain().map_err(tar_failed)?;
    if archive.files.is_empty() {
        return Err(Error::Invalid("it is empty, or no tar".into()));
    }
    Ok(archive)
}

fn may_go_on(cancel: &Cancel<'_>) -> std::io::Result<()> {
    if cancel.is_set() {
        return Err(std::io::Error::other(Stop::Cancelled));
    }
    Ok(())
}

fn check(entries: u64, total: u64, limits: &Limits) -> Result<(), Error> {
    if entries > limits.archive_entries {
        let text = format!("the archive has more than {} files", limits.archive_entries);
        return Err(Error::Limit(text));
    }
    if total > limits.archive_bytes {
        let text = format!("the archive has more than {} bytes", limits.archive_bytes);
        return Err(Error::Limit(text));
    }
    Ok(())
}

/// Writes and hashes one file. A name of the form `blobs/sha256/…` promises the digest.
fn file<R: BufRead>(
    reader: &mut tar::Reader<R>,
    name: &str,
    number: u64,
    dir: &Path,
    layout: &Layout,
    reserved: &mut Reserved<'_>,
) -> Result<Spooled, Error> {
    let promised = name
        .strip_prefix("blobs/sha256/")
        .map(|hex| format!("sha256:{hex}"))
        .filter(|digest| is_digest(digest));
    let size = reader.left();
    let stored = promised
        .as_deref()
        .is_some_and(|digest| reserved.blob(digest, size));
    let path = match &promised {
        Some(digest) if stored => layout.blob(digest),
        Some(digest) => dir.join(digest.trim_start_matches("sha256:")),
        None => dir.join(format!("file-{number}")),
    };
    let mut out = if stored { None } else { Some(create(&path)?) };
    let mut hasher = Sha256::new();
    loop {
        let data = reader.data().map_err(tar_failed)?;
        if data.is_empty() {
            break;
        }
        hasher.update(data);
        if let Some(out) = &mut out {
            out.write_all(data).map_err(Error::io("write", &path))?;
        }
        let length = data.len();
        reader.consume(length);
    }
    let digest = digest_of(hasher);
    match promised {
        Some(expected) if expected != digest => Err(Error::Digest {
            what: format!("blob {name}"),
            expected,
            actual: digest,
        }),
        _ => Ok(Spooled {
            digest,
            size,
            file: path,
        }),
    }
}

fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .map_err(Error::io("create", path))
}

/// A relative name without `.` and `..`, in UTF-8.
fn clean(path: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(path).ok()?;
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.contains(&"..") && !text.contains('\0')).then(|| parts.join("/"))
}

/// Where a link within the archive leads: by name, never on the disk.
fn link_target(name: &str, entry: &Entry) -> Option<String> {
    let target = std::str::from_utf8(&entry.link).ok()?;
    if entry.kind == Kind::HardLink {
        return clean(&entry.link);
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn read_failed(error: std::io::Error) -> Error {
    match Stop::of(&error) {
        Some(Stop::Cancelled) => Error::Cancelled,
        Some(Stop::Limit(text)) => Error::Limit(text.clone()),
        None => Error::Read { source: error },
    }
}

fn tar_failed(error: tar::Error) -> Error {
    match error {
        tar::Error::Read(error) => read_failed(error),
        error @ tar::Error::HeaderSize { .. } => Error::Limit(error.to_string()),
        error => Error::Invalid(error.to_string()),
    }
}

/// The caller's stream: counted, and stopped when it is cancelled.
struct Source<'a> {
    inner: &'a mut dyn Read,
    bytes: u64,
    told: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
    cancel: &'a Cancel<'a>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_set() {
            return Err(std::io::Error::other(Stop::Cancelled));
        }
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        // A line per MiB is enough to draw a bar.
        if length == 0 || self.bytes - self.told >= 1 << 20 {
            self.told = self.bytes;
            (self.progress)(Progress::Read { bytes: self.bytes });
        }
        Ok(length)
    }
}
