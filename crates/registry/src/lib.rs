//! A client of image registries, after the OCI distribution specification 1.1.
//!
//! ```text
//!  Registry (settings, connections, tokens)
//!     | session(reference, credentials): which endpoints, with whose credentials      hosts.rs
//!     v                                                        docker_config.rs, credentials.rs
//!  Session: image::Source                        mirrors first, the registry last    session.rs
//!     |-- digest, manifest
//!     |-- blob: resumed by Range, watched for stalls                                     blob.rs
//!     |-- push                                                                           push.rs
//!     v
//!  one request: authorization, redirects, retries                            client.rs, token.rs
//!     v
//!  HTTP and TLS (reqwest, rustls): one client for each way to trust                tls.rs, dns.rs
//! ```
//! What a registry says is hostile: the image store checks all digests and sizes; here answers are
//! bounded, waits end, and secrets go to the host that they are for and to no other.
#![forbid(unsafe_code)]

mod blob;
mod challenge;
mod client;
mod credentials;
mod dns;
mod docker_config;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hosts;
mod push;
mod retry_after;
mod session;
mod settings;
mod tls;
mod token;

pub use client::Registry;
pub use credentials::{Credentials, Said};
pub use error::Error;
pub use push::{Content, Pushed, Watch};
pub use session::{Access, Session};
pub use settings::Settings;
