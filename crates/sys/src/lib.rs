//! The kernel floor: thin, typed system calls, and the few file idioms that every program needs.
//!
//! What rustix has is used from there, here and by the other crates; this crate holds what it lacks
//! or what is easy to get wrong; and what a processor can do that safe code cannot ask of it
//! ([`sha256`]). Nothing here knows containers.

pub mod atomic;
pub mod bpf;
#[cfg(target_arch = "x86_64")]
mod copy;
pub mod failpoint;
#[cfg(all(feature = "failpoints", target_arch = "x86_64"))]
pub mod fault;
pub mod first_start;
pub mod grow;
pub mod heap;
pub mod in_root;
pub mod kill;
pub mod loopback;
pub mod machine;
pub mod malloc;
pub mod mount;
pub mod netlink;
pub mod overlay;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod own_start;
pub mod pidfd;
pub mod probe;
pub mod process;
pub mod program;
mod real_path;
pub mod rusage;
pub mod self_exe;
pub mod sha256;
pub mod shared_words;
pub mod signal_fd;
pub mod small_file;
pub mod socket;
pub mod thread;
pub mod time;
pub mod wait;
pub mod writeback;

pub use real_path::real_path;
