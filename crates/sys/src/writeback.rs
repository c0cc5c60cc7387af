//! Writing dirty pages early, so that a later sync finds little left to do.

use std::{fs::File, os::fd::AsRawFd};

/// Asks the kernel to begin writing `length` bytes of `file` from `start`; does not wait for the
/// disk. A filesystem that cannot do it costs nothing but speed, so no error is told
/// (`sync_file_range(2)`, Linux 2.6.17).
pub fn start(file: &File, start: u64, length: u64) {
    let (Ok(start), Ok(length)) = (i64::try_from(start), i64::try_from(length)) else {
        return;
    };
    // SAFETY: takes numbers only, and the descriptor is open for the call.
    unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE) };
}
