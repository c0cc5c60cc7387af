//! `runtime.v1`: the wire form of today's CRI.

mod accepted;
mod convert;
mod signal;

pub use accepted::ACCEPTED_WITHOUT_EFFECT;
