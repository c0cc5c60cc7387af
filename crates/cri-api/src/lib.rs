//! The daemon's wire: Kubernetes' Container Runtime Interface as published, `runtime.v1` and its
//! first form `runtime` (v1alpha1), and our own `coffer.v1` beside them on the same socket. Types,
//! server traits and clients are generated (`examples/generate_cri.rs`) and checked in; maps are
//! `BTreeMap`, so that equal messages have equal bytes.
//!
//! Wire types stop at the `convert.rs` of the crate that receives them.
#![forbid(unsafe_code)]

/// How long a message is on the wire, and the way there and back.
pub use prost::Message;

/// `runtime.v1`: RuntimeService and ImageService.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
#[rustfmt::skip]
#[path = "generated/runtime.v1.rs"]
pub mod v1;

/// `runtime` (v1alpha1): RuntimeService and ImageService.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
#[rustfmt::skip]
#[path = "generated/runtime.rs"]
pub mod v1alpha1;

/// `coffer.v1`: what CRI cannot say.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
#[rustfmt::skip]
#[path = "generated/coffer.v1.rs"]
pub mod node;
