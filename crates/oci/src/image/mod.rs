//! The OCI image specification 1.1, and what Docker's schema 2 has in common with it.
//!
//! ```text
//!  index -> manifest (one per platform) -> config (how to run it)
//!                                       -> layers (tar, gzip or zstd)
//! ```

mod config;
mod descriptor;
mod manifest;
mod media_type;

pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use descriptor::{Descriptor, Platform};
pub use manifest::{Index, LayoutFile, Manifest};
pub use media_type::{Compression, MediaType};
