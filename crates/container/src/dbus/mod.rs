//! As much of D-Bus as talking to systemd takes: method calls, their answers, and signals, over a unix
//! socket. Blocking, with a time limit on every wait; no threads, no introspection. Answers and signals
//! can be sent too, by which tests play systemd.
//!
//! ```text
//!  connect ─► AUTH EXTERNAL uid ─► BEGIN ─► Hello
//!  call(…) ─► METHOD_CALL            answer ◄─ METHOD_RETURN | ERROR
//!             signals that come meanwhile are kept for `signal`
//! ```
//! [`value`] has the values and their bytes, [`message`] the frames, [`connection`] the conversation.

mod connection;
mod error;
mod message;
mod value;

pub use connection::{Call, Connection};
pub use error::Error;
pub use message::Message;
pub use value::Value;
