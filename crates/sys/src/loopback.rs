//! The loopback interface of this network namespace.

use std::io;

use crate::netlink::{
    route::{LOOPBACK, UP, set_flags},
    socket::Socket,
};

/// Brings `lo` up; the kernel then gives it 127.0.0.1 and ::1.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN.
pub fn up() -> io::Result<()> {
    Ok(Socket::route()?.request(vec![set_flags(LOOPBACK, UP, UP)])?)
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
