//! Real image archives: OCI archives and layouts, docker archives, single images and indexes.

use std::{collections::BTreeMap, fs, io, io::Write, path::Path};

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::{
    layer::{Entry, Layer},
    rootfs,
};

/// How layers (or a whole archive) are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Plain tar.
    None,
    /// gzip.
    #[default]
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// All three, for tables.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// Compresses `data`.
    ///
    /// # Errors
    /// The compressor fails.
    pub fn compress(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(data.to_vec()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::Zstd => zstd::encode_all(data, 1),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Describes an image; the finishing methods write it.
#[derive(Debug, Clone)]
pub struct Builder {
    name: Option<String>,
    compression: Compression,
    layers: Vec<Vec<u8>>,
    os: String,
    architecture: String,
    config: Value,
    annotations: BTreeMap<String, String>,
}

/// One file of an archive: its path and content.
pub type File = (String, Vec<u8>);

/// An image whose blobs are made.
#[derive(Debug, Clone)]
pub struct Built {
    /// `sha256:…` of the manifest.
    pub manifest: String,
    /// `sha256:…` of the configuration: the image's id.
    pub config: String,
    /// `sha256:…` of each layer blob, bottom first.
    pub layers: Vec<String>,
    /// `sha256:…` of each layer, decompressed, bottom first.
    pub diff_ids: Vec<String>,
    /// Bytes of manifest, configuration and layers.
    pub size: u64,
    /// The blobs as files of a layout (`blobs/sha256/…`).
    pub blobs: Vec<File>,
    descriptor: Value,
}

impl Builder {
    /// An image with a full name (`example.org/app:1`), gzip layers, for this platform.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            compression: Compression::default(),
            layers: Vec::new(),
            os: "linux".to_owned(),
            architecture: native_architecture().to_owned(),
            config: json!({}),
            annotations: BTreeMap::new(),
        }
    }

    /// No name in the archive.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        self.name = None;
        self
    }

    /// Compression of all layers.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer.finish());
        self
    }

    /// Adds a layer on top from the bytes of a tar.
    #[must_use]
    pub fn layer_tar(mut self, tar: Vec<u8>) -> Self {
        self.layers.push(tar);
        self
    }

    /// Sets any key of the configuration's `config` object (`Env`, `User`, `Entrypoint` …).
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// `NAME=value` entries.
    #[must_use]
    pub fn env(self, env: &[&str]) -> Self {
        self.set("Env", json!(env))
    }

    /// Entrypoint.
    #[must_use]
    pub fn entrypoint(self, args: &[&str]) -> Self {
        self.set("Entrypoint", json!(args))
    }

    /// Command.
    #[must_use]
    pub fn cmd(self, args: &[&str]) -> Self {
        self.set("Cmd", json!(args))
    }

    /// Working directory.
    #[must_use]
    pub fn working_dir(self, dir: &str) -> Self {
        self.set("WorkingDir", json!(dir))
    }

    /// User.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.set("User", json!(user))
    }

    /// Stop signal.
    #[must_use]
    pub fn stop_signal(self, signal: &str) -> Self {
        self.set("StopSignal", json!(signal))
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.config["Labels"][key] = json!(value);
        self
    }

    /// An annotation of the index's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Operating system and architecture.
    #[must_use]
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        os.clone_into(&mut self.os);
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// Makes the blobs.
    ///
    /// # Errors
    /// A compressor fails.
    pub fn build(&self) -> io::Result<Built> {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect();
        let config = self.config_json(&diff_ids)?;
        let mut blobs = vec![blob(config.clone())];
        let (mut layers, mut descriptors) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let data = self.compression.compress(layer)?;
            layers.push(digest(&data));
            descriptors.push(descriptor(self.compression.media_type(), &data));
            blobs.push(blob(data));
        }
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": descriptors,
        }))?;
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["platform"] = json!({ "os": self.os, "architecture": self.architecture });
        for (key, value) in &self.annotations {
            entry["annotations"][key] = json!(value);
        }
        if let Some(name) = &self.name {
            entry["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
        }
        let manifest_digest = digest(&manifest);
        blobs.push(blob(manifest));
        blobs.sort();
        blobs.dedup();
        Ok(Built {
            manifest: manifest_digest,
            config: digest(&config),
            layers,
            diff_ids,
            size: blobs.iter().map(|(_, data)| data.len() as u64).sum(),
            blobs,
            descriptor: entry,
        })
    }

    fn config_json(&self, diff_ids: &[String]) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&json!({
            "created": "2024-01-02T03:04:05Z",
            "os": self.os,
            "architecture": self.architecture,
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": diff_ids.iter().map(|_| json!({ "created_by": "testing" })).collect::<Vec<_>>(),
        }))?)
    }

    /// The files of an OCI layout with this image.
    ///
    /// # Errors
    /// A compressor fails.
    pub fn oci_files(&self) -> io::Result<Vec<File>> {
        layout(&[self.build()?])
    }

    /// Writes an OCI archive (a tar of a layout).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn oci_archive(&self, path: &Path) -> io::Result<()> {
        fs::write(path, pack(&self.oci_files()?))
    }

    /// Writes an OCI layout directory.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn oci_layout(&self, dir: &Path) -> io::Result<()> {
        for (name, data) in self.oci_files()? {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(path, data)?;
        }
        Ok(())
    }

    /// The files of a docker archive (`docker save` before version 25).
    ///
    /// # Errors
    /// The configuration cannot be printed.
    pub fn docker_files(&self) -> io::Result<Vec<File>> {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect();
        let config = self.config_json(&diff_ids)?;
        let config_name = format!("{}.json", hex_digest(&config));
        let mut files = Vec::new();
        let mut names = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let name = format!("{}/layer.tar", hex_digest(format!("v1 {index}").as_bytes()));
            names.push(name.clone());
            files.push((name, layer.clone()));
        }
        files.push((config_name.clone(), config));
        let tags: Vec<&String> = self.name.iter().collect();
        let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]);
        files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest)?));
        Ok(files)
    }

    /// Writes a docker archive.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn docker_archive(&self, path: &Path) -> io::Result<()> {
        fs::write(path, pack(&self.docker_files()?))
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The files of a layout whose index lists several images side by side.
///
/// # Errors
/// The index cannot be printed.
pub fn layout(images: &[Built]) -> io::Result<Vec<File>> {
    let manifests: Vec<&Value> = images.iter().map(|image| &image.descriptor).collect();
    let blobs = images
        .iter()
        .flat_map(|image| image.blobs.clone())
        .collect();
    layout_files(&json!(manifests), blobs)
}

/// The files of a layout with one name that leads to an index of platforms.
///
/// # Errors
/// The index cannot be printed.
pub fn multi_platform(name: &str, images: &[Built]) -> io::Result<Vec<File>> {
    let manifests: Vec<Value> = images
        .iter()
        .map(|image| {
            let mut entry = image.descriptor.clone();
            entry
                .as_object_mut()
                .map(|entry| entry.remove("annotations"));
            entry
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let index = serde_json::to_vec(&index)?;
    let mut entry = descriptor(INDEX, &index);
    entry["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
    let mut blobs: Vec<File> = images
        .iter()
        .flat_map(|image| image.blobs.clone())
        .collect();
    blobs.push(blob(index));
    layout_files(&json!([entry]), blobs)
}

fn layout_files(manifests: &Value, mut files: Vec<File>) -> io::Result<Vec<File>> {
    files.sort();
    files.dedup();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    files.push(("index.json".to_owned(), serde_json::to_vec(&index)?));
    files.push((
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    ));
    Ok(files)
}

/// A tar of files, in their order.
#[must_use]
pub fn pack(files: &[File]) -> Vec<u8> {
    files
        .iter()
        .fold(Layer::new(), |tar, (name, data)| {
            tar.file(name, 0o644, data)
        })
        .finish()
}

/// `sha256:` and the hex digest of some bytes.
#[must_use]
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex_digest(data))
}

fn hex_digest(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

fn blob(data: Vec<u8>) -> File {
    (format!("blobs/sha256/{}", hex_digest(&data)), data)
}

fn descriptor(media_type: &str, data: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(data), "size": data.len() })
}

/// This machine's architecture in Go's naming.
#[must_use]
pub fn native_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The name that the demo image carries.
pub const BUSYBOX_NAME: &str = "docker.io/library/coffer-demo:latest";

/// The demo image: a busybox root and a web page on top, run as `user` (1000).
///
/// # Errors
/// busybox-static is not installed.
pub fn busybox() -> io::Result<Builder> {
    let program = fs::read(rootfs::BUSYBOX)?;
    let mut base = Layer::new();
    for (name, mode) in rootfs::DIRS
        .iter()
        .filter(|(name, _)| !name.starts_with("www"))
    {
        let (uid, gid) = if *name == "home/user" {
            (1000, 1000)
        } else {
            (0, 0)
        };
        base = base.entry(&Entry {
            mode: *mode,
            uid,
            gid,
            ..Entry::new(name, EntryType::Directory)
        });
    }
    base = base.file("bin/busybox", 0o755, &program);
    for applet in rootfs::applets()? {
        base = base.symlink(&format!("bin/{applet}"), "busybox");
    }
    base = base.symlink("sbin", "bin").symlink("usr/bin", "../bin");
    for (name, text) in rootfs::FILES
        .iter()
        .filter(|(name, _)| !name.starts_with("www"))
    {
        base = base.file(name, 0o644, text.as_bytes());
    }
    let site =
        Layer::new()
            .dir("www", 0o755)
            .file("www/index.html", 0o644, rootfs::PAGE.as_bytes());
    Ok(Builder::new(BUSYBOX_NAME)
        .layer(base)
        .layer(site)
        .env(&["PATH=/bin:/sbin:/usr/bin", "GREETING=hello"])
        .entrypoint(&["/bin/sh", "-c"])
        .cmd(&["echo $GREETING from $(id -un) in $(pwd)"])
        .working_dir("/www")
        .user("user")
        .stop_signal("SIGTERM")
        .label("org.opencontainers.image.title", "coffer demo"))
}

/// Writes the demo image as an OCI archive.
///
/// # Errors
/// busybox-static is not installed, or the file cannot be written.
pub fn busybox_archive(path: &Path, compression: Compression) -> io::Result<()> {
    busybox()?.compression(compression).oci_archive(path)
}
