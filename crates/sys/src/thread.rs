//! The calling thread's own namespaces.

use std::io;

use rustix::thread::UnshareFlags;

/// Takes the calling thread out of the namespaces (or the filesystem context) that `flags` name.
///
/// Meant for a helper thread that ends afterwards: what it shared with the other threads it shares no
/// more. `FILES` is refused, as descriptors would then mean different things in different threads.
///
/// # Errors
/// EPERM without the privilege, EINVAL for what needs a single-threaded process, ENOSPC at the limit of
/// namespaces.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the descriptor table stays shared, so no borrowed descriptor changes its meaning.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_leaves() {
        let before = std::fs::read_link("/proc/self/ns/uts").unwrap();
        let inside = std::thread::spawn(|| {
            unshare(UnshareFlags::NEWUTS).unwrap();
            std::fs::read_link("/proc/thread-self/ns/uts").unwrap()
        });
        assert_ne!(inside.join().unwrap(), before);
        assert_eq!(
            std::fs::read_link("/proc/thread-self/ns/uts").unwrap(),
            before
        );
        assert!(unshare(UnshareFlags::FILES).is_err());
    }
}
