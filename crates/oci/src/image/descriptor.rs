//! Pointers from one blob to another.

use std::collections::BTreeMap;

use super::MediaType;
use crate::runtime::document::document;

document! {
    /// A blob: what it is, its digest and size.
    pub struct Descriptor {
        always {
            /// Media type; kept as text, for images refer to blobs that we know nothing of.
            pub media_type: String,
            /// Digest, `sha256:…`.
            pub digest: String,
            /// Size in bytes.
            pub size: u64,
        }
        /// Other places to fetch it from; never followed.
        pub urls: Vec<String>,
        /// Annotations; `org.opencontainers.image.ref.name` in an index names the image.
        pub annotations: BTreeMap<String, String>,
        /// The content itself, base64.
        pub data: Option<String>,
        /// Type of an artifact.
        pub artifact_type: Option<String>,
        /// For manifests of an index: the machine they are for.
        pub platform: Option<Platform>,
    }

    /// A machine.
    pub struct Platform {
        always {
            /// Architecture in Go's words: `amd64`, `arm64` …
            pub architecture: String,
            /// Operating system in Go's words: `linux`.
            pub os: String,
        }
        /// Version of the operating system.
        #[serde(rename = "os.version")]
        pub os_version: Option<String>,
        /// Features of the operating system.
        #[serde(rename = "os.features")]
        pub os_features: Vec<String>,
        /// Variant of the architecture, for example `v8`.
        pub variant: Option<String>,
    }
}

impl Descriptor {
    /// The media type, if it is one that we know.
    #[must_use]
    pub fn known_media_type(&self) -> Option<MediaType> {
        self.media_type.parse().ok()
    }
}
