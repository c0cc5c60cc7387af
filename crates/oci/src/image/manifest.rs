//! Index and manifest.

use std::collections::BTreeMap;

use super::Descriptor;
use crate::runtime::document::document;

document! {
    /// A list of manifests: `index.json`, a multi-platform image, or Docker's manifest list.
    pub struct Index {
        always {
            /// Always 2.
            pub schema_version: u32,
            /// The manifests.
            pub manifests: Vec<Descriptor>,
        }
        /// Media type of this document.
        pub media_type: Option<String>,
        /// Type of an artifact.
        pub artifact_type: Option<String>,
        /// What this document is about, for referrers.
        pub subject: Option<Descriptor>,
        /// Annotations.
        pub annotations: BTreeMap<String, String>,
    }

    /// One image.
    pub struct Manifest {
        always {
            /// Always 2.
            pub schema_version: u32,
            /// The configuration.
            pub config: Descriptor,
            /// The layers, lowest first.
            pub layers: Vec<Descriptor>,
        }
        /// Media type of this document.
        pub media_type: Option<String>,
        /// Type of an artifact.
        pub artifact_type: Option<String>,
        /// What this document is about, for referrers.
        pub subject: Option<Descriptor>,
        /// Annotations.
        pub annotations: BTreeMap<String, String>,
    }

    /// The `oci-layout` file at the top of an image layout.
    pub struct LayoutFile {
        always {
            /// Version of the layout: `1.0.0`.
            pub image_layout_version: String,
        }
    }
}
