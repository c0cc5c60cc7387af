//! What tests in virtual machines share. They need `make guest`: a kernel below `target/guest`, and the list
//! of test programs that were built, which are run inside as they are.
//!
//! ```text
//!  target/guest/release …        the kernel                         (crate guest)
//!  target/guest/programs.json    cargo nextest list --list-type binaries-only
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

pub mod agent;
pub mod programs;
pub mod suite;

use std::path::PathBuf;

/// Where `make guest` leaves its results.
#[must_use]
pub fn cache() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    std::path::absolute(target.join("guest"))
        .unwrap_or_else(|e| panic!("{}: {e}", target.display()))
}

/// The guest's kernel.
///
/// # Panics
/// `make guest` was not run.
#[must_use]
pub fn kernel() -> guest::kernel::Kernel {
    guest::kernel::Kernel::open(&cache()).unwrap_or_else(|e| panic!("{e}"))
}
