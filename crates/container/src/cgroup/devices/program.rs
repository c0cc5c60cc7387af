//! The rule list as a BPF program of type CGROUP_DEVICE, written out instruction by instruction.
//!
//! ```text
//! r1 = ctx { u32 access_type = access << 16 | type; u32 major; u32 minor }
//! r2 = type      r3 = access bits still undecided      r4 = major      r5 = minor
//! for each rule, last first:
//!     type, major or minor differ?      -> next rule
//!     deny:   r3 & rule.access != 0     -> return 0
//!     allow:  r3 &= !rule.access; 0?    -> return 1
//! return 0
//! ```
//! Each access bit is so decided by the last rule that speaks of it: `allow r` and `allow w` in two
//! rules allow an open for reading and writing, which a program that asks each rule for the whole
//! access would refuse.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use sys::bpf::Insn;

use super::super::error::Error;
use super::{ALL, Kind, Rule};

const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// `dst = *(u32 *)(r1 + off)`
fn load(dst: u8, off: i16) -> Insn {
    Insn {
        code: 0x61,
        regs: 0x10 | dst,
        off,
        imm: 0,
    }
}

/// An ALU operation in 32 bits with an immediate; `code` is the operation's high four bits.
fn alu(code: u8, dst: u8, imm: i32) -> Insn {
    Insn {
        code: 0x04 | code,
        regs: dst,
        off: 0,
        imm,
    }
}

const AND: u8 = 0x50;
const RSH: u8 = 0x70;
const MOV: u8 = 0xb0;

/// `dst = src`
fn copy(dst: u8, src: u8) -> Insn {
    Insn {
        code: 0xbc,
        regs: src << 4 | dst,
        off: 0,
        imm: 0,
    }
}

/// `if dst <code> imm goto +off`, compared in 32 bits.
fn jump(code: u8, dst: u8, imm: i32, off: i16) -> Insn {
    Insn {
        code: 0x06 | code,
        regs: dst,
        off,
        imm,
    }
}

const IF_EQUAL: u8 = 0x10;
const IF_NOT_EQUAL: u8 = 0x50;

fn exit(verdict: i32) -> [Insn; 2] {
    [
        alu(MOV, 0, verdict),
        Insn {
            code: 0x95,
            regs: 0,
            off: 0,
            imm: 0,
        },
    ]
}

/// Translates the rules.
fn compile(rules: &[Rule]) -> Vec<Insn> {
    let mut out = vec![
        load(TYPE, 0),
        copy(ACCESS, TYPE),
        alu(AND, TYPE, 0xffff),
        alu(RSH, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let mut conditions = Vec::new();
        if let Some(kind) = rule.kind {
            conditions.push((TYPE, if kind == Kind::Block { 1 } else { 2 }));
        }
        // The immediate's bits are the unsigned number's; 32-bit compares see no sign.
        conditions.extend(rule.major.map(|n| (MAJOR, n.cast_signed())));
        conditions.extend(rule.minor.map(|n| (MINOR, n.cast_signed())));
        let body: Vec<Insn> = if rule.allow {
            let keep = i32::from(ALL & !rule.access);
            let [set, leave] = exit(1);
            vec![
                alu(AND, ACCESS, keep),
                jump(IF_NOT_EQUAL, ACCESS, 0, 2),
                set,
                leave,
            ]
        } else {
            let [set, leave] = exit(0);
            vec![
                copy(SCRATCH, ACCESS),
                alu(AND, SCRATCH, i32::from(rule.access)),
                jump(IF_EQUAL, SCRATCH, 0, 2),
                set,
                leave,
            ]
        };
        // Jumps count from the next instruction; a rule has at most 8, so the numbers are small.
        let mut skip = i16::try_from(conditions.len() + body.len()).unwrap_or(i16::MAX);
        for (register, value) in conditions {
            skip -= 1;
            out.push(jump(IF_NOT_EQUAL, register, value, skip));
        }
        out.extend(body);
    }
    out.extend(exit(0));
    out
}

/// Loads the program and puts it in the place of those that are attached to the cgroup.
pub(super) fn apply(dir: &Path, rules: &[Rule]) -> Result<(), Error> {
    let fail = |act| {
        let path = dir.to_owned();
        move |source| Error::DeviceProgram { act, path, source }
    };
    let program = sys::bpf::load_device_program(&compile(rules)).map_err(fail("load"))?;
    let cgroup = File::open(dir).map_err(|e| Error::file("open", dir, e))?;
    let old = sys::bpf::device_programs(cgroup.as_fd()).map_err(fail("list"))?;
    if let [only] = old.as_slice() {
        // At one stroke; an old program that was attached without MULTI refuses it.
        let replaced =
            sys::bpf::replace_device_program(cgroup.as_fd(), program.as_fd(), only.as_fd());
        if replaced.is_ok() {
            return Ok(());
        }
    }
    sys::bpf::attach_device_program(cgroup.as_fd(), program.as_fd()).map_err(fail("attach"))?;
    for old in old {
        sys::bpf::detach_device_program(cgroup.as_fd(), old.as_fd()).map_err(fail("detach"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{MKNOD, READ, WRITE};
    use super::*;

    /// Runs the subset of BPF that `compile` emits.
    fn run(program: &[Insn], access: u8, kind: u32, major: u32, minor: u32) -> u32 {
        let ctx = [u32::from(access) << 16 | kind, major, minor];
        let mut r = [0_u32; 11];
        let mut pc = 0_usize;
        loop {
            let Insn {
                code,
                regs,
                off,
                imm,
            } = program[pc];
            let (dst, src) = (usize::from(regs & 15), usize::from(regs >> 4));
            let imm = imm.cast_unsigned();
            pc += 1;
            let jump = match code {
                0x61 => {
                    assert_eq!(src, 1);
                    r[dst] = ctx[usize::try_from(off).unwrap() / 4];
                    false
                }
                0xbc => {
                    r[dst] = r[src];
                    false
                }
                0xb4 => {
                    r[dst] = imm;
                    false
                }
                0x54 => {
                    r[dst] &= imm;
                    false
                }
                0x74 => {
                    r[dst] >>= imm;
                    false
                }
                0x16 => r[dst] == imm,
                0x56 => r[dst] != imm,
                0x95 => return r[0],
                other => panic!("unknown code {other:#x}"),
            };
            if jump {
                pc += usize::try_from(off).unwrap();
            }
        }
    }

    /// The rules by their own words: each bit is decided by the last rule that speaks of it.
    fn verdict(rules: &[Rule], access: u8, kind: u32, major: u32, minor: u32) -> u32 {
        let bit_allowed = |bit: u8| {
            let spoken = rules.iter().rfind(|r| {
                r.kind
                    .is_none_or(|k| k == if kind == 1 { Kind::Block } else { Kind::Char })
                    && r.major.is_none_or(|n| n == major)
                    && r.minor.is_none_or(|n| n == minor)
                    && r.access & bit != 0
            });
            spoken.is_some_and(|r| r.allow)
        };
        let all = [MKNOD, READ, WRITE]
            .into_iter()
            .filter(|b| access & b != 0)
            .all(bit_allowed);
        u32::from(all)
    }

    fn any_rule() -> impl proptest::strategy::Strategy<Value = Rule> {
        use proptest::prelude::*;
        let number = || prop_oneof![Just(None), Just(Some(u32::MAX)), (0_u32..4).prop_map(Some)];
        let kind = prop_oneof![Just(None), Just(Some(Kind::Block)), Just(Some(Kind::Char))];
        (any::<bool>(), kind, number(), number(), 1_u8..8).prop_map(
            |(allow, kind, major, minor, access)| Rule {
                allow,
                kind,
                major,
                minor,
                access,
            },
        )
    }

    proptest::proptest! {
        #[test]
        fn the_program_says_what_the_rules_say(
            rules in proptest::collection::vec(any_rule(), 0..12),
        ) {
            let program = compile(&rules);
            for access in 1..8 {
                for kind in [1, 2] {
                    for major in [0, 1, 2, 3, u32::MAX] {
                        for minor in [0, 3, 9, u32::MAX] {
                            proptest::prop_assert_eq!(
                                run(&program, access, kind, major, minor),
                                verdict(&rules, access, kind, major, minor),
                                "{} {} {}:{}", access, kind, major, minor
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_kernel_takes_long_lists() {
        let rule = Rule {
            allow: true,
            kind: Some(Kind::Char),
            major: Some(1),
            minor: Some(3),
            access: ALL,
        };
        let deny = Rule {
            allow: false,
            ..rule
        };
        let rules: Vec<Rule> = (0..300)
            .map(|n| if n % 3 == 0 { deny } else { rule })
            .collect();
        sys::bpf::load_device_program(&compile(&rules)).unwrap();
        sys::bpf::load_device_program(&compile(&[])).unwrap();
    }
}
