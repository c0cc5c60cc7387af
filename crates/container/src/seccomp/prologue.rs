//! What stands before libseccomp's program: system calls younger than the library or the profile.
//!
//! Two things go wrong in practice when a machine's kernel is newer than its libseccomp:
//!
//! * A profile allows `fchmodat2`, libseccomp 2.5.4 does not know it, and the call falls to the
//!   default action. Names in [`NEWER`] are therefore decided here by their numbers, which are the
//!   same on all architectures since Linux 5.1.
//! * A call that the profile's author could not know answers EPERM instead of ENOSYS, so that a C
//!   library does not fall back to the older call (clone3, faccessat2). A call above all that the
//!   profile names answers ENOSYS, if the default action would refuse it. runc does this too, for
//!   any number; here only from 403 on (Linux 5.1), so that a short profile keeps its default
//!   action for the old calls that it leaves out.
//!
//! ```text
//! ld arch
//! for each architecture:  not it? -> next
//!     ld nr
//!     nr == newer call    -> its action
//!     nr >  last known    -> ENOSYS
//!     goto libseccomp's program
//! ```

use libseccomp::{ScmpAction, ScmpArch, ScmpSyscall};

use super::build::{all_architectures, permits};
use super::error::Error;
use super::words::{Checked, Rule};

/// First number that is the same on all architectures.
const FIRST_COMMON: u32 = 403;
/// Marks the calls of x32 among those of x86-64 (__X32_SYSCALL_BIT).
const X32: u32 = 0x4000_0000;
const ENOSYS: u32 = 38;

/// Calls that libseccomp 2.5.4 does not know, by number, Linux 6.5 to 6.17.
const NEWER: [(&str, u32); 19] = [
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
];

/// The number of a call that libseccomp may be too old for.
pub(super) fn number(name: &str) -> Option<u32> {
    NEWER
        .iter()
        .find(|(n, _)| *n == name)
        .map(|&(_, number)| number)
}

/// One classic BPF instruction, as `struct sock_filter`.
#[derive(Clone, Copy)]
struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

const LD_ABS: u16 = 0x20;
const JMP_ALWAYS: u16 = 0x05;
const JMP_EQUAL: u16 = 0x15;
const JMP_GREATER: u16 = 0x25;
const JMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Offsets in struct seccomp_data.
const NR: u32 = 0;
const ARCH: u32 = 4;

fn insn(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// `if A <code> k { next } else { skip one }`
fn unless_skip(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 1,
        k,
    }
}

/// The prologue's bytes; empty if there is nothing to say. `newer` are the rules for calls that
/// libseccomp did not know.
pub(super) fn build(
    profile: &Checked,
    newer: &[(u32, &str, &Rule)],
    warnings: &mut Vec<String>,
) -> Result<Vec<u8>, Error> {
    let mut decided = Vec::new();
    for &(number, name, rule) in newer {
        if rule.conditions.is_empty() {
            decided.push((number, verdict(rule.action)));
        } else {
            warnings.push(format!(
                "system call {name:?} is unknown to libseccomp here; its rule with conditions on \
                 arguments is skipped"
            ));
        }
    }
    let refuse = !permits(profile.default) && verdict(profile.default) != errno(ENOSYS);
    if decided.is_empty() && !refuse {
        return Ok(Vec::new());
    }
    let architectures = all_architectures(profile);
    let mut blocks = Vec::new();
    for &arch in &architectures {
        // x32 shares the token of x86-64 and is part of its block.
        let Some(token) = token(arch).filter(|_| arch != ScmpArch::X32) else {
            continue;
        };
        let mut block = vec![insn(LD_ABS, NR)];
        if arch == ScmpArch::X8664 {
            let x32 = if architectures.contains(&ScmpArch::X32) {
                calls(profile, ScmpArch::X32, X32, &decided, refuse)
            } else {
                Vec::new()
            };
            // One more for the jump out of it.
            let over = u8::try_from(x32.len() + 1).unwrap_or(u8::MAX);
            block.push(Insn {
                code: JMP_GREATER_EQUAL,
                jt: 0,
                jf: over,
                k: X32,
            });
            block.extend(x32);
            block.push(insn(JMP_ALWAYS, u32::MAX));
        }
        block.extend(calls(profile, arch, 0, &decided, refuse));
        block.push(insn(JMP_ALWAYS, u32::MAX));
        blocks.push((token, block));
    }
    if blocks.is_empty() {
        return Ok(Vec::new());
    }
    Ok(assemble(&blocks))
}

/// The decisions for one architecture: those by number, then ENOSYS above the last known.
fn calls(
    profile: &Checked,
    arch: ScmpArch,
    base: u32,
    decided: &[(u32, u32)],
    refuse: bool,
) -> Vec<Insn> {
    let mut out = Vec::new();
    for &(number, verdict) in decided {
        out.push(unless_skip(JMP_EQUAL, base + number));
        out.push(insn(RETURN, verdict));
    }
    if refuse {
        let names = profile.rules.iter().flat_map(|r| &r.names);
        let numbers = names.filter_map(|name| {
            let known = ScmpSyscall::from_name_by_arch(name, arch).ok();
            let known = known.and_then(|c| u32::try_from(c.as_raw_syscall()).ok());
            known.or_else(|| number(name).map(|n| base + n))
        });
        let last = numbers.max().unwrap_or(0).max(base + FIRST_COMMON - 1);
        out.push(unless_skip(JMP_GREATER, last));
        out.push(insn(RETURN, errno(ENOSYS)));
    }
    out
}

/// Puts the blocks one after the other and points their ends (`ja u32::MAX`) behind the last.
fn assemble(blocks: &[(u32, Vec<Insn>)]) -> Vec<u8> {
    let mut program = vec![insn(LD_ABS, ARCH)];
    for (token, block) in blocks {
        // A block has at most 2 * (2 * 19 + 4) instructions.
        let over = u8::try_from(block.len()).unwrap_or(u8::MAX);
        program.push(Insn {
            code: JMP_EQUAL,
            jt: 0,
            jf: over,
            k: *token,
        });
        program.extend(block);
    }
    let end = program.len();
    let mut bytes = Vec::with_capacity(end * 8);
    for (at, mut insn) in program.into_iter().enumerate() {
        if insn.code == JMP_ALWAYS && insn.k == u32::MAX {
            insn.k = u32::try_from(end - at - 1).unwrap_or(u32::MAX);
        }
        bytes.extend(insn.code.to_ne_bytes());
        bytes.extend([insn.jt, insn.jf]);
        bytes.extend(insn.k.to_ne_bytes());
    }
    bytes
}

const fn errno(n: u32) -> u32 {
    0x0005_0000 | n
}

/// SECCOMP_RET_* of an action.
fn verdict(action: ScmpAction) -> u32 {
    match action {
        ScmpAction::KillProcess => 0x8000_0000,
        ScmpAction::Trap => 0x0003_0000,
        ScmpAction::Errno(n) => errno(n.cast_unsigned() & 0xffff),
        ScmpAction::Trace(n) => 0x7ff0_0000 | u32::from(n),
        ScmpAction::Log => 0x7ffc_0000,
        ScmpAction::Allow => 0x7fff_0000,
        // KillThread is 0; what else libseccomp may add must not be milder.
        _ => 0,
    }
}

/// AUDIT_ARCH_* of the architectures that number new calls alike. The others (MIPS with its
/// offsets, and what libseccomp has beside) do without a prologue.
fn token(arch: ScmpArch) -> Option<u32> {
    Some(match arch {
        ScmpArch::X8664 | ScmpArch::X32 => 0xc000_003e,
        ScmpArch::X86 => 0x4000_0003,
        ScmpArch::Arm => 0x4000_0028,
        ScmpArch::Aarch64 => 0xc000_00b7,
        ScmpArch::Ppc64Le => 0xc000_0015,
        ScmpArch::S390X => 0x8000_0016,
        ScmpArch::Riscv64 => 0xc000_00f3,
        _ => return None,
    })
}
