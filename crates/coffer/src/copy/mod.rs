//! Copying between this host and containers: tar streams over coffer.v1.
//!
//! ```text
//! out   CopyOut ─► tar ─► place.rs puts the entries below one directory of ours
//! in    pack.rs makes a tar of ours ─► CopyIn
//! ```
//! What comes out of a container is hostile: its names, links and modes were chosen in there.

mod client;
mod pack;
mod paths;
mod pipe;
mod place;

pub(crate) use client::{Found, InHeader};
pub(crate) use pack::pack;
pub(crate) use paths::{Side, base_name, directory_of};
pub(crate) use pipe::{Reader, Writer, pipe};
pub(crate) use place::{Target, place};
