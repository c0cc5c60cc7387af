//! The network of a pod, on the host's side.
//!
//! Today: a network namespace of the pod's own, pinned by a file, with loopback up. Addresses,
//! routes and port mappings (the built-in bridge network and CNI) come on top of this pin: they
//! work on the path of the file and never on a process, so that a pod's network can be taken down
//! after everything in the pod has died.
//!
//! This crate knows neither CRI nor the agent.
#![forbid(unsafe_code)]

mod cidr;
mod dial;
mod error;
mod netlink;
mod netns;
mod settings;
mod stats;
mod within;

pub use cidr::{Cidr, CidrError};
pub use dial::connect;
pub use error::Error;
pub use netns::Netns;
pub use settings::{Name, NameError, Settings};
pub use stats::{InterfaceStats, stats};
pub use within::Scratch;
