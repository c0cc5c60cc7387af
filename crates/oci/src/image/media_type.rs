//! Media types: which document or layer a blob is.

use crate::runtime::document::words;

words! {
    /// The media types that have a meaning to us.
    pub enum MediaType ("media type") {
        /// OCI index.
        #[default]
        OciIndex = "application/vnd.oci.image.index.v1+json",
        /// OCI manifest.
        OciManifest = "application/vnd.oci.image.manifest.v1+json",
        /// OCI configuration.
        OciConfig = "application/vnd.oci.image.config.v1+json",
        /// OCI layer.
        OciLayer = "application/vnd.oci.image.layer.v1.tar",
        /// OCI layer, gzip.
        OciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip",
        /// OCI layer, zstd.
        OciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd",
        /// OCI layer that may not be passed on (deprecated in 1.1).
        OciForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar",
        /// The same, gzip.
        OciForeignLayerGzip = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        /// The same, zstd.
        OciForeignLayerZstd = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        /// OCI empty document (1.1).
        OciEmpty = "application/vnd.oci.empty.v1+json",
        /// Docker manifest list.
        DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json",
        /// Docker manifest, schema 2.
        DockerManifest = "application/vnd.docker.distribution.manifest.v2+json",
        /// Docker configuration.
        DockerConfig = "application/vnd.docker.container.image.v1+json",
        /// Docker layer.
        DockerLayer = "application/vnd.docker.image.rootfs.diff.tar",
        /// Docker layer, gzip.
        DockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip",
        /// Docker layer, zstd.
        DockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd",
        /// Docker layer that may not be passed on, gzip.
        DockerForeignLayerGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
}

/// How a layer's tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl MediaType {
    /// Whether it is a list of manifests.
    #[must_use]
    pub const fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }

    /// Whether it is a manifest of one image.
    #[must_use]
    pub const fn is_manifest(self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// Whether it is an image's configuration.
    #[must_use]
    pub const fn is_config(self) -> bool {
        matches!(self, Self::OciConfig | Self::DockerConfig)
    }

    /// For layers, how the tar is packed; `None` for anything else.
    #[must_use]
    pub const fn layer_compression(self) -> Option<Compression> {
        match self {
            Self::OciLayer | Self::OciForeignLayer | Self::DockerLayer => Some(Compression::None),
            Self::OciLayerGzip
            | Self::OciForeignLayerGzip
            | Self::DockerLayerGzip
            | Self::DockerForeignLayerGzip => Some(Compression::Gzip),
            Self::OciLayerZstd | Self::OciForeignLayerZstd | Self::DockerLayerZstd => {
                Some(Compression::Zstd)
            }
            _ => None,
        }
    }
}
