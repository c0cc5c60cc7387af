//! What pods need of this machine, looked at one by one.
//!
//! ```text
//! area        how it is known
//! kernel      each feature tried for real, in a thread or child with namespaces of its own
//! ```
//! Nothing of a trial stays; nothing is asked of the daemon but its status.

mod text;

pub(crate) use text::{Form, Paragraph};
