//! Streams into containers: the client's side of `exec`, `attach` and `port-forward`.
//!
//! ```text
//! CRI call ─► URL ─► TCP ─► WebSocket, v5.channel.k8s.io (or v4)        client.rs, socket.rs
//!                             one message: [channel][bytes …]            channel.rs
//!        keyboard ─► stdin  0 ──►                                        local.rs, keys.rs
//!                          1, 2 ◄── stdout, stderr                       local.rs
//!                             3 ◄── how it ended, a metav1.Status        verdict.rs
//!        SIGWINCH ─► resize 4 ──►  {"Width":80,"Height":24}
//!        end of input ───► 255 ──► closes a channel (v5 only)
//!                                                                session.rs joins them
//! local TCP port ─► connection ─► a WebSocket of its own, 0 data, 1 error    forward.rs
//! ```
//!
//! Reading and writing are two tasks that never wait for each other: a program that answers while it
//! is still being fed (`cat`) must not lock both ends up.

mod channel;
mod client;
pub(crate) mod forward;
mod keys;
mod local;
mod session;
mod socket;
mod verdict;

pub(crate) use client::ExecTarget;
pub(crate) use keys::{DetachKeys, parse as detach_keys};
pub(crate) use session::{Ended, Wiring, converse};
pub(crate) use socket::Socket;
