//! bpf(2), as far as the device cgroup of cgroup2 needs it: load a `CGROUP_DEVICE` program, attach
//! it to a cgroup, list, replace and detach such programs.
//!
//! Needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN. `bpf_attr` is a union that only grows; each
//! command here passes the prefix it needs, the kernel takes the rest as zero. All of this is older
//! than our kernel floor (device programs 4.15, ids 4.13, BPF_F_REPLACE 5.6).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// The kernel keeps at most this many programs on one cgroup and attach type.
const MAX_PROGRAMS: usize = 64;

/// One instruction, as `struct bpf_insn`: op, dst | src << 4, offset, immediate.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation code.
    pub code: u8,
    /// Destination register in the low, source register in the high four bits.
    pub regs: u8,
    /// Jump or memory offset.
    pub off: i16,
    /// Immediate operand.
    pub imm: i32,
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct GetFdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a device program. EINVAL or EACCES mean that the verifier refused it.
pub fn load_device_program(insns: &[Insn]) -> io::Result<OwnedFd> {
    let name = *b"coffer_devices\0\0";
    let license = c"Apache-2.0";
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(insns.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        insns: address(insns.as_ptr()),
        license: address(license.as_ptr()),
        prog_name: name,
        ..LoadAttr::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &attr)?;
    own(fd)
}

/// Attaches `program` beside those that are there (BPF_F_ALLOW_MULTI): all must allow an access.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
        ..AttachAttr::default()
    };
    bpf(BPF_PROG_ATTACH, &attr).map(drop)
}

/// Puts `program` in the place of `old` at one stroke.
pub fn replace_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> io::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | BPF_F_REPLACE,
        replace_bpf_fd: old.as_raw_fd(),
    };
    bpf(BPF_PROG_ATTACH, &attr).map(drop)
}

/// Takes `program` off the cgroup.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    bpf(BPF_PROG_DETACH, &attr).map(drop)
}

/// The device programs attached to the cgroup itself (not to those above it).
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: address(ids.as_mut_ptr()),
        prog_cnt: u32::try_from(MAX_PROGRAMS).map_err(|_| io::ErrorKind::InvalidInput)?,
        ..QueryAttr::default()
    };
    bpf_mut(BPF_PROG_QUERY, &mut attr)?;
    let count = usize::try_from(attr.prog_cnt).map_err(|_| io::ErrorKind::InvalidData)?;
    ids.iter()
        .take(count)
        .map(|&id| program_by_id(id))
        .collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let fd = bpf(
        BPF_PROG_GET_FD_BY_ID,
        &GetFdAttr {
            id,
            ..GetFdAttr::default()
        },
    )?;
    own(fd)
}

/// The kernel wants pointers as 64-bit numbers.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: the commands passed here only read `size_of::<T>()` bytes of attr, and the buffers it
    // points to (instructions, license) outlive the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

fn bpf_mut<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel writes into attr (exclusively borrowed, of the size given) and into the id
    // array it points to, of the length given in it; both outlive the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

fn own(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just returned this descriptor, which nobody else knows. bpf sets CLOEXEC.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    debug_assert!(fd.as_fd().as_raw_fd() >= 0);
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_takes_a_program_and_refuses_nonsense() {
        // mov r0, 1; exit
        let allow = [
            Insn {
                code: 0xb7,
                regs: 0,
                off: 0,
                imm: 1,
            },
            Insn {
                code: 0x95,
                regs: 0,
                off: 0,
                imm: 0,
            },
        ];
        load_device_program(&allow).unwrap();
        // exit with r0 never set
        assert!(load_device_program(&allow[1..]).is_err());
        assert!(load_device_program(&[]).is_err());
    }
}
