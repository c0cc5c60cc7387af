//! The agent's wire: `grpc.AgentService` and `grpc.Health` as published, and our own
//! `coffer.agent.v1.Sandbox`, over ttRPC on one socket. Types, async server traits and async clients
//! are generated (`examples/generate_agent.rs`) and checked in; the only code written here finds the socket.
//!
//! Wire types stop at the `convert.rs` of the crate that receives them.
#![forbid(unsafe_code)]

mod connect;

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "generated code"
)]
#[rustfmt::skip]
mod generated {
    include!("generated/mod.rs");
}

pub use connect::connect;
/// `coffer.agent.v1`: what the published service cannot say.
pub use generated::coffer::agent::v1 as sandbox;
/// `google.protobuf.Empty`.
pub use generated::google::protobuf::Empty;
/// Package `grpc`: AgentService, Health, the OCI spec's wire form.
pub use generated::grpc;
/// Package `types`: network and file-ownership types.
pub use generated::types;
pub use ttrpc;

/// Version of `coffer.agent.v1` that this crate speaks.
pub const PROTOCOL: u32 = 1;
