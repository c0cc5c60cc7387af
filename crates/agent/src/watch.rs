//! Descriptors on the event loop. One place, because tokio's safe constructor is deprecated: it cannot
//! know that the type keeps its descriptor open. Here it does: the type owns it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that is open for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Watched<T>(pub(crate) T);

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Watches a descriptor that does not block.
///
/// # Errors
/// It is of a kind that cannot be watched, or is watched already.
#[expect(
    deprecated,
    reason = "the other constructor is unsafe; `T` owns its descriptor"
)]
pub(crate) fn watch<T: AsFd + 'static>(
    fd: T,
    interest: Interest,
) -> std::io::Result<AsyncFd<Watched<T>>> {
    AsyncFd::with_interest(Watched(fd), interest)
}
