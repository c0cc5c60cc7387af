//! The network of a pod, on the host's side.
//!
//! ```text
//! Netns      a network namespace of the pod's own, pinned by a file, with loopback up
//! Network    the built-in network on top of it: bridge, pairs of interfaces, addresses, published
//!            ports; everything by netlink in process
//! connect    a connection to a port inside; stats: what went in and out
//! ```
//! Everything works on the path of the pin and never on a process, so that a pod's network can be
//! taken down after everything in the pod has died. All calls block for a moment.
//!
//! This crate knows neither CRI nor the agent.
#![forbid(unsafe_code)]

mod bridge;
mod cidr;
mod conntrack;
mod dial;
mod error;
mod ipam;
mod lease;
mod listening;
mod netlink;
mod netns;
mod network;
mod nft;
mod settings;
mod stats;
mod sysctl;
mod veth;
mod within;

pub use cidr::{Cidr, CidrError};
pub use dial::connect;
pub use error::{Error, ErrorKind};
pub use lease::{Address, Lease, Port, Protocol};
pub use netns::Netns;
pub use network::Network;
pub use settings::{Name, NameError, Settings};
pub use stats::{InterfaceStats, stats};
pub use within::Scratch;
