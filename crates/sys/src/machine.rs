//! What changes the whole machine: swap and the random pool. For the agent of a micro-VM; on a node
//! nobody calls this.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Uses a block device or file, which holds a swap header, as swap.
///
/// # Errors
/// EINVAL without the header, EBUSY when it is in use already, EPERM without CAP_SYS_ADMIN.
pub fn swap_on(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string with its end, alive through the call.
    let rc = unsafe { libc::swapon(path.as_ptr(), 0) };
    zero(rc)
}

/// Adds `data` to the random pool behind `random` (/dev/random), credited with all its bits, and
/// makes the generator take it up at once.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL for more than the kernel takes at once.
pub fn add_entropy(random: BorrowedFd<'_>, data: &[u8]) -> io::Result<()> {
    /// `_IOW('R', 3, int[2])`, followed by the bytes.
    const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
    /// `_IO('R', 7)`.
    const RNDRESEEDCRNG: libc::Ioctl = 0x5207;
    let too_much = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let bytes = i32::try_from(data.len()).map_err(too_much)?;
    let bits = bytes
        .checked_mul(8)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // rand_pool_info: entropy count in bits, size in bytes, words.
    let mut info = vec![bits.cast_unsigned(), bytes.cast_unsigned()];
    info.extend(data.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_ne_bytes(word)
    }));
    // SAFETY: the vector begins with the struct's two fields and holds `bytes` bytes behind them.
    let rc = unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY, info.as_ptr()) };
    zero(rc)?;
    // SAFETY: this request takes no argument.
    let rc = unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG) };
    zero(rc)
}

fn zero(rc: i32) -> io::Result<()> {
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_no_swap_and_no_random_pool_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = swap_on(file.path()).unwrap_err().raw_os_error();
        assert!(matches!(error, Some(libc::EINVAL | libc::EPERM)));
        assert!(swap_on(Path::new("a\0b")).is_err());
        let error = add_entropy(file.as_file().as_fd(), b"12345").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }
}
