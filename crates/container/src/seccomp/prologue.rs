//! What stands before libseccomp's program: system calls younger than the library or the profile.
//!
//! When a kernel is newer than its libseccomp, two things go wrong in practice:
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
//! And libseccomp 2.5.4 itself errs: of two rules for one call that compare the same argument by
//! order (`>= 2^32` or `< 5`), it may merge the halves of the comparisons so that a value which fits
//! neither is taken for one that fits (found by the random profiles of our tests). A call with
//! several alternatives that are not all equalities is therefore decided here, rule by rule.
//!
//! ```text
//! ld arch
//! for each architecture:  not it? -> next
//!     ld nr
//!     nr == a call of ours -> first rule whose conditions hold: its action; else libseccomp's program
//!     nr >  last known     -> ENOSYS
//!     goto libseccomp's program
//! ```

use std::collections::BTreeMap;

use libseccomp::{ScmpAction, ScmpArch, ScmpSyscall};

use oci::runtime::SeccompOperator as Op;

use super::build::{all_architectures, permits};
use super::words::{Checked, Condition, Rule};

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
const AND: u16 = 0x54;
const JMP_ALWAYS: u16 = 0x05;
const JMP_EQUAL: u16 = 0x15;
const JMP_GREATER: u16 = 0x25;
const JMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Offsets in struct seccomp_data.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;
/// Target of a jump to libseccomp's program, until the place is known.
const TO_LIBSECCOMP: Insn = insn(JMP_ALWAYS, u32::MAX);

const fn insn(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// `if A <code> k { body }`; a body may be longer than a conditional jump reaches.
fn guard(code: u16, k: u32, body: Vec<Insn>) -> Vec<Insn> {
    let over = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut out = vec![
        Insn {
            code,
            jt: 1,
            jf: 0,
            k,
        },
        insn(JMP_ALWAYS, over),
    ];
    out.extend(body);
    out
}

/// The calls that are decided here, with their rules in the profile's order.
pub(super) type Decisions<'a> = BTreeMap<&'a str, Vec<&'a Rule>>;

/// Finds them.
pub(super) fn decisions(profile: &Checked) -> Decisions<'_> {
    let mut all = Decisions::new();
    for rule in &profile.rules {
        for name in &rule.names {
            all.entry(name).or_default().push(rule);
        }
    }
    all.retain(|name, rules| {
        let known = ScmpSyscall::from_name(name).is_ok();
        let alternatives = || rules.iter().flat_map(|r| &r.conditions);
        let ordered = alternatives()
            .flatten()
            .any(|c| !matches!(c.op, Op::Eq | Op::MaskedEq));
        (!known && number(name).is_some()) || (known && ordered && alternatives().count() > 1)
    });
    all
}

/// The prologue's bytes; empty if there is nothing to say.
pub(super) fn build(profile: &Checked, decisions: &Decisions<'_>) -> Vec<u8> {
    let refuse = !permits(profile.default) && verdict(profile.default) != errno(ENOSYS);
    if decisions.is_empty() && !refuse {
        return Vec::new();
    }
    let architectures = all_architectures(profile);
    let mut program = vec![insn(LD_ABS, ARCH)];
    for &arch in &architectures {
        // x32 shares the token of x86-64 and is part of its block.
        let Some(token) = token(arch).filter(|_| arch != ScmpArch::X32) else {
            continue;
        };
        let mut block = vec![insn(LD_ABS, NR)];
        if arch == ScmpArch::X8664 {
            let mut x32 = Vec::new();
            if architectures.contains(&ScmpArch::X32) {
                x32 = calls(profile, ScmpArch::X32, X32, decisions, refuse);
            }
            x32.push(TO_LIBSECCOMP);
            block.extend(guard(JMP_GREATER_EQUAL, X32, x32));
        }
        block.extend(calls(profile, arch, 0, decisions, refuse));
        block.push(TO_LIBSECCOMP);
        program.extend(guard(JMP_EQUAL, token, block));
    }
    assemble(program)
}

/// The decisions for one architecture: those by number, then ENOSYS above the last known.
fn calls(
    profile: &Checked,
    arch: ScmpArch,
    base: u32,
    decisions: &Decisions<'_>,
    refuse: bool,
) -> Vec<Insn> {
    let number_of = |name: &str| {
        let known = ScmpSyscall::from_name_by_arch(name, arch).ok();
        let known = known.and_then(|c| u32::try_from(c.as_raw_syscall()).ok());
        known.or_else(|| number(name).map(|n| base + n))
    };
    let mut out = Vec::new();
    for (name, rules) in decisions {
        let Some(number) = number_of(name) else {
            continue;
        };
        let mut body = Vec::new();
        for rule in rules {
            let verdict = insn(RETURN, verdict(rule.action));
            if rule.conditions.is_empty() {
                body.push(verdict);
            }
            for conditions in &rule.conditions {
                body.extend(alternative(conditions, verdict));
            }
        }
        body.push(TO_LIBSECCOMP);
        out.extend(guard(JMP_EQUAL, number, body));
    }
    if refuse {
        let names = profile.rules.iter().flat_map(|r| &r.names);
        let last = names.filter_map(|name| number_of(name)).max().unwrap_or(0);
        let last = last.max(base + FIRST_COMMON - 1);
        out.extend(guard(JMP_GREATER, last, vec![insn(RETURN, errno(ENOSYS))]));
    }
    out
}

/// Where a comparison goes on.
#[derive(Clone, Copy)]
enum To {
    Next,
    /// The condition holds.
    Pass,
    /// It does not.
    Fail,
}

/// `if all conditions hold { verdict }`.
fn alternative(conditions: &[Condition], verdict: Insn) -> Vec<Insn> {
    let parts: Vec<_> = conditions.iter().map(comparison).collect();
    let total: usize = parts.iter().map(Vec::len).sum();
    let mut out = Vec::with_capacity(total + 1);
    for part in parts {
        let (begin, length) = (out.len(), part.len());
        for (at, (code, k, jt, jf)) in part.into_iter().enumerate() {
            // At most six conditions of six instructions: within a byte.
            let reach = |to: To| {
                let target = match to {
                    To::Next => at + 1,
                    To::Pass => length,
                    To::Fail => total + 1 - begin,
                };
                u8::try_from(target - at - 1).unwrap_or(u8::MAX)
            };
            out.push(Insn {
                code,
                jt: reach(jt),
                jf: reach(jf),
                k,
            });
        }
    }
    out.push(verdict);
    out
}

/// A comparison of 64 bits: the high words first, the low ones where those are equal.
fn comparison(condition: &Condition) -> Vec<(u16, u32, To, To)> {
    let halves = |n: u64| {
        let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
        (
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        )
    };
    let (high, low) = halves(condition.value);
    let (two_high, two_low) = halves(condition.value_two);
    let at = ARGS + 8 * condition.index;
    let (high_at, low_at) = if cfg!(target_endian = "little") {
        (at + 4, at)
    } else {
        (at, at + 4)
    };
    let load = |at| (LD_ABS, at, To::Next, To::Next);
    let and = |mask| (AND, mask, To::Next, To::Next);
    let (load_high, load_low) = (load(high_at), load(low_at));
    match condition.op {
        Op::Eq => vec![
            load_high,
            (JMP_EQUAL, high, To::Next, To::Fail),
            load_low,
            (JMP_EQUAL, low, To::Pass, To::Fail),
        ],
        Op::Ne => vec![
            load_high,
            (JMP_EQUAL, high, To::Next, To::Pass),
            load_low,
            (JMP_EQUAL, low, To::Fail, To::Pass),
        ],
        Op::Gt | Op::Ge => vec![
            load_high,
            (JMP_GREATER, high, To::Pass, To::Next),
            (JMP_EQUAL, high, To::Next, To::Fail),
            load_low,
            if condition.op == Op::Gt {
                (JMP_GREATER, low, To::Pass, To::Fail)
            } else {
                (JMP_GREATER_EQUAL, low, To::Pass, To::Fail)
            },
        ],
        Op::Lt | Op::Le => vec![
            load_high,
            (JMP_GREATER, high, To::Fail, To::Next),
            (JMP_EQUAL, high, To::Next, To::Pass),
            load_low,
            if condition.op == Op::Lt {
                (JMP_GREATER_EQUAL, low, To::Fail, To::Pass)
            } else {
                (JMP_GREATER, low, To::Fail, To::Pass)
            },
        ],
        Op::MaskedEq => vec![
            load_high,
            and(high),
            (JMP_EQUAL, two_high, To::Next, To::Fail),
            load_low,
            and(low),
            (JMP_EQUAL, two_low, To::Pass, To::Fail),
        ],
    }
}

/// Points the jumps to libseccomp's program behind the last instruction, and makes bytes.
fn assemble(program: Vec<Insn>) -> Vec<u8> {
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
        ScmpAction::Notify => 0x7fc0_0000,
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
