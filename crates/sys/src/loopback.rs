//! The loopback interface of this network namespace.

use std::{io, os::fd::AsRawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `struct ifreq` with its flags.
#[repr(C)]
#[derive(Debug)]
struct IfReq {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Brings `lo` up; the kernel then gives it 127.0.0.1 and ::1.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN.
pub fn up() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let request = IfReq {
        name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        // IFF_UP; the kernel keeps IFF_LOOPBACK and adds IFF_RUNNING.
        flags: 1,
        rest: [0; 22],
    };
    // SAFETY: the request is as long as struct ifreq (40 bytes) and lives through the call.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::unshare;
    use rustix::thread::UnshareFlags;

    #[test]
    fn a_new_namespace_gets_a_loopback() {
        std::thread::spawn(|| {
            unshare(UnshareFlags::NEWNET).unwrap();
            let reach = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
            assert!(std::net::TcpStream::connect("127.0.0.1:9").is_err());
            up().unwrap();
            let at = reach().unwrap();
            // Refused and not unreachable: the listener is gone, the way is there.
            let error = std::net::TcpStream::connect(at).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        })
        .join()
        .unwrap();
    }
}
