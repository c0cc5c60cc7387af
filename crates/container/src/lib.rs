//! container

pub mod cgroup;
pub mod seccomp;
