//! Documents of the Open Container Initiative: parse, upgrade, validate, print.
//!
//! ```text
//!  runtime   config.json (1.0.0-rc, 1.0 … 1.3), state JSON
//!  image     index, manifest and configuration of images, OCI and Docker schema 2
//! ```
//!
//! Pure data: this crate opens no file, asks the kernel nothing and knows no runtime.

#![forbid(unsafe_code)]

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod image;
pub mod runtime;
