//! A few numbers that this process and its children see alike: memory that a clone does not copy.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Numbers in shared memory, all 0 at first.
#[derive(Debug)]
pub struct SharedWords {
    at: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory belongs to this value alone, and atomics may be used from any thread.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps room for so many.
    ///
    /// # Errors
    /// None asked for, or no memory.
    pub fn new(count: usize) -> io::Result<Self> {
        let length = count * size_of::<AtomicU64>();
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that is there.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { at, count })
    }

    /// The numbers.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is as long as was asked for, aligned to a page, zeroed (a valid
        // AtomicU64) and lives as long as this value.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let length = self.count * size_of::<AtomicU64>();
        // SAFETY: our own mapping, to which nobody can hold a reference any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), length) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    #[test]
    fn numbers_are_zero_and_keep_what_is_stored() {
        let shared = super::SharedWords::new(3).unwrap();
        shared.words()[2].store(7, Ordering::Relaxed);
        let all: Vec<u64> = shared
            .words()
            .iter()
            .map(|w| w.load(Ordering::Relaxed))
            .collect();
        assert_eq!(all, [0, 0, 7]);
        assert!(super::SharedWords::new(0).is_err());
    }
}
