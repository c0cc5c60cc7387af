//! The CRI daemon: one service over domain types, and thin adapters that speak the wire.
//!
//! ```text
//! runtime.v1 ──► v1 (adapter, convert.rs) ─┐
//! runtime    ──► v1alpha1 (likewise)       │
//! coffer.v1  ──► node (adapter)            ├─► service/ (one RPC, one file) ──► sandbox ──► agents
//!                                          │        │  records, undo, inflight
//!                                          └────────┴─► image store, network pins
//! ```
//!
//! A container is always behind an agent: this crate never links the container core, so the daemon
//! can die, be upgraded or be replaced while pods run.
#![forbid(unsafe_code)]

mod checks;
mod diff;
pub mod domain;
mod error;
mod events;
mod explain;
mod index;
mod inflight;
mod layout;
mod lock;
mod node;
mod options;
mod pod_files;
mod pod_network;
mod pulls;
mod recovery;
mod runtime;
mod server;
mod service;
mod shm;
pub mod spec;
mod state;
mod streaming;
mod task;
mod undo;
mod upper;
pub mod v1;
mod v1alpha1;
mod watch;

pub use error::{Code, Error};
pub use explain::{Explanation, offline};
pub use image::Limits as ImageLimits;
pub use lock::LockError;
pub use options::{NetworkOptions, NetworkWords, Options, StreamOptions};
pub use registry::Settings as RegistryOptions;
pub use runtime::{OpenError, Runtime};
pub use sandbox::LogLimits;
