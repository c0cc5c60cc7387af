//! The heap of long-lived small programs: glibc's defaults are made for throughput, and keep memory
//! that a program with a budget of some hundred KiB has to give back.

/// One arena for all threads, and large buffers (from 32 KiB) mapped, so that freeing returns them.
///
/// Call it first thing: an arena that a thread has made stays. Each arena costs at least 132 KiB of
/// address space and its touched pages for ever.
pub fn tune() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 32 * 1024),
        (libc::M_TRIM_THRESHOLD, 64 * 1024),
        (libc::M_TOP_PAD, 16 * 1024),
    ] {
        // SAFETY: mallopt takes two integers; an unknown one is refused by its return value, which
        // leaves the default.
        unsafe { libc::mallopt(what, value) };
    }
}

/// Gives free memory back to the kernel.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only looks at the allocator's own free lists, under its locks.
    unsafe {
        libc::malloc_trim(0)
    };
}
