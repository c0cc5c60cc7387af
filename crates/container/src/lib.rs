//! container

pub mod cgroup;
