//! What callers see of an image and of the store.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

/// One image as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:` and the 64 hex digits of the image's configuration: the id that CRI and people use.
    pub id: String,
    /// Names with a tag, normalised (`docker.io/library/busybox:latest`), sorted.
    pub repo_tags: Vec<String>,
    /// Names with a digest (`docker.io/library/busybox@sha256:…`), sorted.
    pub repo_digests: Vec<String>,
    /// Digest of the manifest that [`size`](Self::size) and [`layers`](Self::layers) come from.
    pub manifest: String,
    /// Bytes of the manifest, the configuration and all layer blobs as they are stored.
    pub size: u64,
    /// What a container of this image runs, unless told otherwise.
    pub config: ImageConfig,
    /// Unpacked layer directories, topmost first: overlay's `lowerdir` order.
    pub layers: Vec<PathBuf>,
    /// Operating system that the image says it is for.
    pub os: String,
    /// CPU architecture in Go's naming (`amd64`).
    pub architecture: String,
    /// Kept by garbage collection even when nothing uses it.
    pub pinned: bool,
}

impl Image {
    /// The numeric user that the configuration names, if it is a number: CRI's `Image.uid`.
    ///
    /// No user at all is root. A name, or digits that are no valid id, give `None`: see
    /// [`username`](Self::username).
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        let user = self.config.user_part();
        if user.is_empty() {
            Some(0)
        } else {
            crate::user::parse_id(user)
        }
    }

    /// The user that the configuration names when it is no valid number, else empty: CRI's
    /// `Image.username`.
    #[must_use]
    pub fn username(&self) -> &str {
        if self.uid().is_some() {
            ""
        } else {
            self.config.user_part()
        }
    }
}

/// The part of an image configuration that says how to run it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `user`, `uid`, `user:group`, `uid:gid` …; empty is root.
    pub user: String,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// First words of the command line.
    pub entrypoint: Vec<String>,
    /// Default arguments; all of the command line when there is no entrypoint.
    pub cmd: Vec<String>,
    /// Directory to start in; empty is `/`.
    pub working_dir: String,
    /// Labels as the image's author set them: never control metadata.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to stop (`SIGQUIT`, `15`); empty is SIGTERM.
    pub stop_signal: String,
    /// Paths that the author meant to be volumes.
    pub volumes: BTreeSet<String>,
    /// Ports that the author documents (`80/tcp`).
    pub exposed_ports: BTreeSet<String>,
}

impl ImageConfig {
    fn user_part(&self) -> &str {
        self.user.split(':').next().unwrap_or_default()
    }
}

/// How to import an archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Name for the image instead of those in the archive; needed if it holds none.
    pub name: Option<String>,
    /// What the archive may cost.
    pub limits: Limits,
}

/// How to pull an image.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The machine that it is for; `None`: this one.
    pub platform: Option<crate::Platform>,
    /// What it may cost.
    pub limits: Limits,
}

/// Bounds on what hostile input may cost. [`Default`] suits images found in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest or index.
    pub manifest_bytes: u64,
    /// Bytes of one image configuration.
    pub config_bytes: u64,
    /// Layers of one image: overlayfs takes 500 lower directories.
    pub layers: usize,
    /// Files in the archive itself (blobs, documents).
    pub archive_entries: u64,
    /// Bytes of the archive, decompressed.
    pub archive_bytes: u64,
    /// Entries of one layer.
    pub layer_entries: u64,
    /// Bytes of one layer, decompressed; also the logical size of one sparse file.
    pub layer_bytes: u64,
    /// Bytes out per byte in, once a layer is over [`ratio_free_bytes`](Self::ratio_free_bytes).
    pub ratio: u64,
    /// Decompressed bytes up to which no ratio is checked.
    pub ratio_free_bytes: u64,
    /// Bytes of one path (PATH_MAX).
    pub path_bytes: usize,
    /// Bytes of one extended header (PAX, GNU long name), extended attributes included.
    pub header_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            layers: 500,
            archive_entries: 10_000,
            archive_bytes: 256 << 30,
            layer_entries: 2_000_000,
            layer_bytes: 64 << 30,
            ratio: 200,
            ratio_free_bytes: 256 << 20,
            path_bytes: 4096,
            header_bytes: 1 << 20,
        }
    }
}

/// What an import or pull is doing. Counts are cumulative; events of different layers interleave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Bytes of the archive read so far.
    Read {
        /// Bytes taken from the source, as they came (compressed if the archive is).
        bytes: u64,
    },
    /// A blob arrived whole and has the digest that it should have.
    Blob {
        /// `sha256:…`
        digest: String,
        /// Its bytes.
        bytes: u64,
    },
    /// The image is chosen and these layers belong to it, from the bottom.
    Plan {
        /// Blob digest and bytes of each.
        layers: Vec<(String, u64)>,
    },
    /// A layer is being fetched, unpacked, or both.
    Unpack {
        /// The blob's digest.
        digest: String,
        /// Position from the bottom, from 0.
        index: usize,
        /// Blob bytes consumed so far.
        bytes: u64,
        /// Blob bytes in all.
        total: u64,
    },
    /// A layer is complete.
    LayerDone {
        /// The blob's digest.
        digest: String,
        /// Position from the bottom, from 0.
        index: usize,
        /// It was in the store before and is shared.
        shared: bool,
    },
}

/// Where images lie and what they cost: CRI's `ImageFsInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsInfo {
    /// A directory on the filesystem that holds the images; it exists.
    pub mountpoint: PathBuf,
    /// Bytes allocated for blobs and unpacked layers.
    pub used_bytes: u64,
    /// Inodes of blobs and unpacked layers.
    pub inodes_used: u64,
}

/// Names one unpacked layer: the directory below `<root>/layers`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(String);

impl LayerId {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The layer that a path of [`Image::layers`] belongs to; `None` if it is no such path.
    #[must_use]
    pub fn of_diff(diff: &Path) -> Option<Self> {
        let name = diff.parent()?.file_name()?.to_str()?;
        let hex = name.len() >= 12 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && diff.file_name()? == "diff").then(|| Self(name.to_owned()))
    }

    /// The directory's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_known_by_its_diff_directory() {
        for (path, id) in [
            ("/r/layers/0123456789ab/diff", Some("0123456789ab")),
            ("/r/layers/0123456789ab", None),
            ("/r/layers/short/diff", None),
            ("/r/layers/.new-1-0/diff", None),
            ("diff", None),
        ] {
            assert_eq!(
                LayerId::of_diff(Path::new(path))
                    .as_ref()
                    .map(LayerId::as_str),
                id,
                "{path}"
            );
        }
    }

    #[test]
    fn a_user_is_a_number_or_a_name_never_both() {
        for (user, uid, name) in [
            ("", Some(0), ""),
            ("0", Some(0), ""),
            ("1000:1000", Some(1000), ""),
            ("web", None, "web"),
            ("web:www", None, "web"),
            ("4294967296", None, "4294967296"),
            ("4294967295", None, "4294967295"),
        ] {
            let image = Image {
                id: String::new(),
                repo_tags: vec![],
                repo_digests: vec![],
                manifest: String::new(),
                size: 0,
                config: ImageConfig {
                    user: user.into(),
                    ..ImageConfig::default()
                },
                layers: vec![],
                os: String::new(),
                architecture: String::new(),
                pinned: false,
            };
            assert_eq!((image.uid(), image.username()), (uid, name), "{user:?}");
        }
    }
}
