//! Terminals: our own relay for a container in the foreground.

pub(crate) mod raw;
pub(crate) mod relay;
