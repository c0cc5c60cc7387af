//! An interpreter of classic BPF and a direct reading of seccomp profiles.

#![allow(unreachable_pub, reason = "shared by one test binary")]

use oci::runtime::{LinuxSeccomp, LinuxSyscall, SeccompAction, SeccompArg, SeccompOperator as Op};
use proptest::prelude::*;

/// What the kernel shows a filter (struct seccomp_data; the instruction pointer is 0).
#[derive(Debug, Clone)]
pub struct Call {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let mut data = Vec::new();
        data.extend(self.nr.to_le_bytes());
        data.extend(self.arch.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        for arg in self.args {
            data.extend(arg.to_le_bytes());
        }
        let at = usize::try_from(offset).unwrap();
        u32::from_le_bytes(data[at..at + 4].try_into().unwrap())
    }
}

/// The filter's verdict.
pub fn run(bpf: &[u8], call: &Call) -> u32 {
    interpret(bpf, call).0
}

/// How many instructions the filter runs.
pub fn steps(bpf: &[u8], call: &Call) -> usize {
    interpret(bpf, call).1
}

fn interpret(bpf: &[u8], call: &Call) -> (u32, usize) {
    let (mut a, mut pc, mut steps) = (0_u32, 0_usize, 0);
    loop {
        let insn = &bpf[pc * 8..pc * 8 + 8];
        let code = u16::from_le_bytes([insn[0], insn[1]]);
        let (jt, jf) = (usize::from(insn[2]), usize::from(insn[3]));
        let k = u32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]);
        pc += 1;
        steps += 1;
        let branch = match code {
            0x20 => {
                a = call.word(k);
                continue;
            }
            0x54 => {
                a &= k;
                continue;
            }
            0x05 => {
                pc += usize::try_from(k).unwrap();
                continue;
            }
            0x06 => return (k, steps),
            0x15 => a == k,
            0x25 => a > k,
            0x35 => a >= k,
            0x45 => a & k != 0,
            other => panic!("instruction {other:#x} at {}", pc - 1),
        };
        pc += if branch { jt } else { jf };
    }
}

fn verdict(action: SeccompAction, errno: Option<u32>) -> u32 {
    match action {
        SeccompAction::Kill | SeccompAction::KillThread => 0,
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::Errno => 0x0005_0000 | errno.unwrap_or(1),
        SeccompAction::Trace => 0x7ff0_0000 | errno.unwrap_or(1),
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Allow => 0x7fff_0000,
        SeccompAction::Notify => 0x7fc0_0000,
    }
}

fn holds(condition: &SeccompArg, args: &[u64; 6]) -> bool {
    let arg = args[usize::try_from(condition.index).unwrap()];
    match condition.op {
        Op::Ne => arg != condition.value,
        Op::Lt => arg < condition.value,
        Op::Le => arg <= condition.value,
        Op::Eq => arg == condition.value,
        Op::Ge => arg >= condition.value,
        Op::Gt => arg > condition.value,
        Op::MaskedEq => arg & condition.value == condition.value_two,
    }
}

/// What the words of the profile say about a call. `young`: is it younger than the profile?
pub fn read_profile(
    profile: &LinuxSeccomp,
    name: &str,
    args: &[u64; 6],
    young: impl Fn() -> bool,
) -> u32 {
    for rule in profile
        .syscalls
        .iter()
        .filter(|r| r.names.iter().any(|n| n == name))
    {
        let mut indices: Vec<u32> = rule.args.iter().map(|a| a.index).collect();
        let all = indices.len();
        indices.sort_unstable();
        indices.dedup();
        let fits = if indices.len() < all {
            rule.args.iter().any(|c| holds(c, args))
        } else {
            rule.args.iter().all(|c| holds(c, args))
        };
        if fits {
            return verdict(rule.action, rule.errno_ret);
        }
    }
    let refusing = !matches!(
        profile.default_action,
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace
    );
    if refusing && young() {
        return 0x0005_0026;
    }
    verdict(profile.default_action, profile.default_errno_ret)
}

/// Argument vectors at and around every value that the rules for a call compare with.
pub fn interesting_values(profile: &LinuxSeccomp, name: &str) -> Vec<[u64; 6]> {
    let rules = profile
        .syscalls
        .iter()
        .filter(|r| r.names.iter().any(|n| n == name));
    let conditions: Vec<&SeccompArg> = rules.flat_map(|r| &r.args).collect();
    let mut out = vec![[0; 6], [u64::MAX; 6], [1, 2, 3, 4, 5, 6]];
    let mut vectors = vec![[0_u64; 6], [u64::MAX; 6]];
    for condition in conditions {
        let (v, two) = (condition.value, condition.value_two);
        let values = [
            v,
            two,
            v.wrapping_sub(1),
            v.wrapping_add(1),
            v ^ (1 << 32),
            v | (1 << 63),
            v & 0xffff_ffff,
            v << 32,
            two | !v,
            two & v,
            0,
            u64::MAX,
        ];
        let index = usize::try_from(condition.index).unwrap();
        let before = vectors.clone();
        for value in values {
            for vector in &before {
                let mut vector = *vector;
                vector[index] = value;
                out.push(vector);
                // Combinations with other arguments, bounded.
                if vectors.len() < 200 {
                    vectors.push(vector);
                }
            }
        }
    }
    out
}

const NAMES: [&str; 12] = [
    "read",
    "write",
    "openat",
    "socket",
    "ioctl",
    "clone",
    "personality",
    "mmap",
    "statx",
    "openat2",
    "prctl",
    "getpid",
];

fn any_action() -> impl Strategy<Value = (SeccompAction, Option<u32>)> {
    prop_oneof![
        Just((SeccompAction::Allow, None)),
        Just((SeccompAction::KillProcess, None)),
        Just((SeccompAction::Log, None)),
        Just((SeccompAction::Trap, None)),
        (0_u32..4095).prop_map(|n| (SeccompAction::Errno, Some(n))),
    ]
}

fn any_arg() -> impl Strategy<Value = SeccompArg> {
    let value = prop_oneof![0_u64..8, any::<u64>(), any::<u32>().prop_map(u64::from)];
    (0_u32..6, value, any::<u64>(), 0_usize..Op::ALL.len()).prop_map(|(index, value, two, op)| {
        let op = Op::ALL[op];
        let value_two = if op == Op::MaskedEq { two & value } else { 0 };
        SeccompArg {
            index,
            value,
            value_two,
            op,
        }
    })
}

/// Profiles in which no two rules speak of the same call with different actions: what libseccomp
/// then does is its own affair.
pub fn any_profile() -> impl Strategy<Value = LinuxSeccomp> {
    let rule = (any_action(), proptest::collection::vec(any_arg(), 0..3));
    let rules = proptest::collection::vec(proptest::option::of(rule), NAMES.len());
    (any_action(), rules).prop_map(
        |((default_action, default_errno_ret), rules)| LinuxSeccomp {
            default_action,
            default_errno_ret,
            syscalls: NAMES
                .iter()
                .zip(rules)
                .filter_map(|(name, rule)| {
                    let ((action, errno_ret), args) = rule?;
                    Some(LinuxSyscall {
                        names: vec![(*name).to_owned()],
                        action,
                        errno_ret,
                        args,
                    })
                })
                .collect(),
            ..LinuxSeccomp::default()
        },
    )
}
