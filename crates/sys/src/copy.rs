//! memcpy for programs that copy little at a time.
//!
//! musl's on x86-64 is `rep movsq` for every length, which takes the processor some thirty cycles to begin
//! with: of 2,200 copies that `coffer-oci run` makes, 2,000 are shorter than 64 bytes, half of them one byte.
//! The linker's `--defsym=memcpy=coffer_memcpy` puts this one in its place.

use core::arch::{asm, global_asm};

// The linker sees this name whoever calls it; a function's would be gone where nobody of ours does.
global_asm!(
    ".pushsection .text.coffer_memcpy, \"ax\", @progbits",
    ".globl coffer_memcpy",
    ".type coffer_memcpy, @function",
    "coffer_memcpy:",
    "jmp {copy}",
    ".size coffer_memcpy, . - coffer_memcpy",
    ".popsection",
    copy = sym copy,
);

/// `void *memcpy(void *to, const void *from, size_t length)`.
///
/// # Safety
/// `from` is readable and `to` writable for `length` bytes, and they do not overlap.
unsafe extern "C" fn copy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    /// The first and the last of `T`'s size, which overlap in between.
    ///
    /// # Safety
    /// As above, of lengths from one `T` to two.
    #[inline(always)]
    unsafe fn ends<T>(to: *mut u8, from: *const u8, length: usize) {
        let last = length - size_of::<T>();
        let (from, from_last) = (from.cast::<T>(), from.wrapping_add(last).cast::<T>());
        let (to, to_last) = (to.cast::<T>(), to.wrapping_add(last).cast::<T>());
        // SAFETY: both lie within what may be read.
        let first = unsafe { from.read_unaligned() };
        // SAFETY: as above.
        let last = unsafe { from_last.read_unaligned() };
        // SAFETY: both lie within what may be written.
        unsafe { to.write_unaligned(first) };
        // SAFETY: as above.
        unsafe { to_last.write_unaligned(last) };
    }
    match length {
        0 => {}
        1 => {
            // SAFETY: there is one byte.
            let byte = unsafe { from.read() };
            // SAFETY: as above.
            unsafe { to.write(byte) };
        }
        // SAFETY: the lengths are one to two of the type's.
        2..4 => unsafe { ends::<[u8; 2]>(to, from, length) },
        // SAFETY: as above.
        4..8 => unsafe { ends::<u32>(to, from, length) },
        // SAFETY: as above.
        8..16 => unsafe { ends::<u64>(to, from, length) },
        // SAFETY: as above.
        16..32 => unsafe { ends::<u128>(to, from, length) },
        // SAFETY: as above.
        32..=64 => unsafe { ends::<[u128; 2]>(to, from, length) },
        _ => {
            // SAFETY: by the caller; the direction flag is clear, by the ABI.
            unsafe {
                asm!(
                    "rep movsb",
                    inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
                    options(nostack, preserves_flags),
                );
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_as_asked_for_and_no_other() {
        let from: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for length in (0..300).chain([1000, 4096, 4097]) {
            for (skip, at) in [(0, 0), (1, 0), (0, 3), (7, 5)] {
                let mut to = vec![0xee; length + 16];
                // SAFETY: both are long enough.
                let end = unsafe {
                    copy(
                        to.as_mut_ptr().wrapping_add(at),
                        from.as_ptr().wrapping_add(skip),
                        length,
                    )
                };
                assert_eq!(end, to.as_mut_ptr().wrapping_add(at));
                assert!(to[at..at + length] == from[skip..skip + length], "{length}");
                let others = to[..at].iter().chain(&to[at + length..]);
                assert!(others.copied().all(|byte| byte == 0xee), "{length}");
            }
        }
    }
}
