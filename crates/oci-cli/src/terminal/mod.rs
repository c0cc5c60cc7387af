//! Terminals: the console socket of a detached container, our own relay for one in the foreground.

pub(crate) mod console_socket;
pub(crate) mod raw;
pub(crate) mod relay;
