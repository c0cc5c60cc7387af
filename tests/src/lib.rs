//! What whole-system tests share: a private daemon built with failpoints, a CRI client that knows
//! nothing but the socket, and a check at the end that nothing was left behind.
//!
//! ```text
//! Node ── bin/coffer serve --root T/root --state T/run --cgroup-root ct-N   one temporary tree T
//!   │        └── agents, pods                                               and one cgroup name
//!   ├── Client                 runtime.v1 and coffer.v1 over T/run/coffer.sock
//!   ├── coffer(&["ps"])        the command line
//!   └── finish()               removes the pods, ends the daemon, nothing of T or ct-N is left
//! ```
//!
//! The binaries come from `COFFER_BIN_DIR`, which `make test` sets.
#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

pub mod client;
pub mod configs;
pub mod node;
pub mod procs;
pub mod pty;
pub mod raw;
pub mod said;
pub mod stream;

pub use client::Client;
pub use node::Node;
pub use stream::Stream;
