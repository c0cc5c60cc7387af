//! For development only: virtual machines for tests. A kernel out of Debian's package, an initramfs, QEMU
//! without KVM, and a runner of programs inside.
//!
//! ```text
//!  linux-image-*-cloud-amd64.deb --kernel--> vmlinux, modules          (kept below target/guest)
//!  modules + files               --image---> initramfs                 (a file of the test)
//!  vmlinux + initramfs           --vm------> QEMU, gone with its owner
//!  a script and its programs     --run-----> output as it comes, exit code, files
//! ```
//! It knows no container and no agent: what runs inside is the caller's.
#![forbid(unsafe_code)]

pub mod cpio;
pub mod disk;
pub mod error;
pub mod image;
pub mod kernel;
pub mod modules;
pub mod owned;
pub mod qmp;
pub mod run;
pub mod strip;
pub mod systemd;
pub mod vm;

pub use error::Error;
