//! Growing a mounted filesystem to a size, by the filesystem's own request. None of them shrinks here.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Grows the ext4 that `fd` lies on to `blocks` blocks of its block size.
///
/// # Errors
/// EINVAL when it would shrink, ENOSPC over the device's end, EPERM without CAP_SYS_RESOURCE.
pub fn ext4(fd: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    /// `_IOW('f', 16, __u64)`.
    const RESIZE_FS: libc::Ioctl = 0x4008_6610;
    // SAFETY: the request reads one u64, alive through the call.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), RESIZE_FS, &raw const blocks) })
}

/// The first version of `xfs_fsop_geom`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct XfsGeometry {
    block_size: u32,
    sizes: [u32; 6],
    inode_max_percent: u32,
    data_blocks: u64,
    rest: [u64; 9],
}

/// `xfs_growfs_data`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct XfsGrow {
    blocks: u64,
    inode_max_percent: u32,
    padding: u32,
}

/// Grows the XFS that `fd` lies on to `bytes`, rounded down to whole blocks.
///
/// # Errors
/// EINVAL when it would shrink or over the device's end, EPERM without CAP_SYS_ADMIN.
pub fn xfs(fd: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    /// `_IOR('X', 100, struct xfs_fsop_geom_v1)`.
    const GEOMETRY: libc::Ioctl = 0x8070_5864_u32 as libc::Ioctl;
    /// `_IOW('X', 110, struct xfs_growfs_data)`.
    const GROW_DATA: libc::Ioctl = 0x4010_586e;
    let mut geometry = XfsGeometry::default();
    // SAFETY: the struct has the size that the request's number names, and is alive through the call.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), GEOMETRY, &raw mut geometry) })?;
    let grow = XfsGrow {
        blocks: bytes / u64::from(geometry.block_size.max(512)),
        inode_max_percent: geometry.inode_max_percent,
        padding: 0,
    };
    if grow.blocks == geometry.data_blocks {
        return Ok(());
    }
    // SAFETY: as above; the request only reads it.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), GROW_DATA, &raw const grow) })
}

/// Grows the only device of the btrfs that `fd` lies on to `bytes`.
///
/// # Errors
/// EFBIG over the device's end, ENOSPC, EPERM without CAP_SYS_ADMIN.
pub fn btrfs(fd: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    /// `_IOW(0x94, 3, struct btrfs_ioctl_vol_args)`: an i64 and a name of 4088 bytes.
    const RESIZE: libc::Ioctl = 0x5000_9403;
    let mut arguments = vec![0u8; 4096];
    let size = bytes.to_string();
    arguments[8..8 + size.len()].copy_from_slice(size.as_bytes());
    // SAFETY: the buffer has the size that the request's number names; the name ends with zeros.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), RESIZE, arguments.as_ptr()) })
}

fn done(rc: i32) -> io::Result<()> {
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_structs_have_the_kernels_sizes() {
        assert_eq!(size_of::<XfsGeometry>(), 112);
        assert_eq!(size_of::<XfsGrow>(), 16);
    }

    #[test]
    fn a_filesystem_of_another_kind_refuses() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        for refused in [
            ext4(file.as_fd(), 1),
            xfs(file.as_fd(), 1),
            btrfs(file.as_fd(), u64::MAX),
        ] {
            assert!(refused.is_err());
        }
    }
}
