//! sys

pub mod atomic;
pub mod bpf;
pub mod failpoint;
pub mod kill;
pub mod rusage;
