//! For tests only: real root filesystems, bundles and images, guards that clean up, leak checks.
//!
//! Everything is made from Debian's statically linked busybox (`/bin/busybox`, package
//! `busybox-static`), so that what runs in a test is a real program in a real root.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod corpus;
pub mod guard;
pub mod image;
pub mod layer;
pub mod leaks;
pub mod registry;
pub mod rootfs;
