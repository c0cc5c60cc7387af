//! `runtime.v1`: today's CRI on the wire, in front of the service.
//!
//! ```text
//! runtime.rs, images.rs   one short method a call
//! convert.rs, signal.rs   what was said      → domain types
//! answer.rs, status.rs    what is, what failed → messages and statuses
//! unimplemented.rs        the calls that are not there yet
//! ```

mod accepted;
mod answer;
mod convert;
mod images;
mod runtime;
mod signal;
pub(crate) mod status;
mod unimplemented;

pub use accepted::ACCEPTED_WITHOUT_EFFECT;
pub(crate) use images::Images;
pub(crate) use runtime::Runtime;
