//! Descriptors for the parent (SCM_RIGHTS), with the message that says what they are.

use crate::{
    child::Child,
    message::{Act, Kind, MESSAGE_SIZE, Message},
    raw::{Errno, sys},
};

/// `struct msghdr` of 64-bit machines.
#[repr(C)]
struct Header {
    name: usize,
    name_len: u64,
    parts: usize,
    part_count: usize,
    control: usize,
    control_len: usize,
    flags: u64,
}

#[repr(C)]
struct Part {
    base: usize,
    length: usize,
}

/// A control message with room for two descriptors: cmsghdr (16 bytes) and 8 bytes.
#[repr(C, align(8))]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; 2],
}

impl Child<'_, '_> {
    /// Sends one or two descriptors.
    pub(crate) fn send_fds(&self, kind: Kind, fds: &[i32]) -> Result<(), Errno> {
        let bytes = Message {
            kind,
            step: self.at,
            value: 0,
            act: Act::Itself,
        }
        .to_bytes();
        let mut control = Control {
            length: 16 + 4 * fds.len().min(2),
            level: libc::SOL_SOCKET,
            kind: libc::SCM_RIGHTS,
            fds: [-1; 2],
        };
        for (to, from) in control.fds.iter_mut().zip(fds) {
            *to = *from;
        }
        let part = Part {
            base: bytes.as_ptr().expose_provenance(),
            length: MESSAGE_SIZE,
        };
        let header = Header {
            name: 0,
            name_len: 0,
            parts: (&raw const part).expose_provenance(),
            part_count: 1,
            control: (&raw const control).expose_provenance(),
            // CMSG_SPACE of one or two ints is 24; the kernel reads `length` of it.
            control_len: size_of::<Control>(),
            flags: 0,
        };
        // SAFETY: header, part, bytes and control live through the call and tell their own sizes.
        unsafe {
            sys!(
                SYS_sendmsg,
                self.plan.channel,
                &raw const header,
                libc::MSG_NOSIGNAL
            )
        }?;
        Ok(())
    }
}
