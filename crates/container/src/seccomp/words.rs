//! The words of a profile, checked and brought into libseccomp's types.

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp};
use oci::runtime::{
    LinuxSeccomp, LinuxSyscall, SeccompAction, SeccompArch, SeccompFlag, SeccompOperator,
};

use super::error::Error;

/// The kernel hands out errnos up to 4095 (MAX_ERRNO) and caps others; libseccomp takes only those
/// below it.
const MAX_ERRNO: u32 = 4094;
const EPERM: u32 = 1;

/// A profile in which every word was understood.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) default: ScmpAction,
    /// Besides the native one.
    pub(super) architectures: Vec<ScmpArch>,
    pub(super) flags: u32,
    pub(super) rules: Vec<Rule>,
}

/// One rule: any of the names, all of the conditions.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: ScmpAction,
    /// Alternatives; each is a list of conditions that must all hold. No alternatives: always.
    pub(super) conditions: Vec<Vec<Condition>>,
}

fn refuse(field: impl Into<String>, value: impl ToString, reason: &'static str) -> Error {
    Error::Field {
        field: field.into(),
        value: value.to_string(),
        reason,
    }
}

/// Checks everything.
pub(super) fn check(profile: &LinuxSeccomp) -> Result<Checked, Error> {
    let default = action(
        "defaultAction",
        profile.default_action,
        profile.default_errno_ret,
    )?;
    let architectures = profile
        .architectures
        .iter()
        .map(|&a| architecture(a))
        .collect();
    let flags = match &profile.flags {
        Some(words) => words.iter().fold(0, |flags, &word| flags | flag(word)),
        // As runc: without it, kernels before 5.16 slow every filtered process down against
        // speculative store bypass. Known since Linux 4.17.
        None => flag(SeccompFlag::SpecAllow),
    };
    let flags = listener(profile, flags)?;
    let rules = profile.syscalls.iter().enumerate().map(|(i, s)| rule(i, s));
    Ok(Checked {
        default,
        architectures,
        flags,
        rules: rules.collect::<Result<_, _>>()?,
    })
}

/// The flags of a profile with or without notifications.
fn listener(profile: &LinuxSeccomp, flags: u32) -> Result<u32, Error> {
    let notifies = |rule: &LinuxSyscall| rule.action == SeccompAction::Notify;
    if profile.default_action == SeccompAction::Notify {
        return Err(refuse(
            "defaultAction",
            profile.default_action,
            "the calls that hand the listener on would wait for it; name the calls in rules",
        ));
    }
    let notifies = profile.syscalls.iter().any(notifies);
    let path = profile.listener_path.as_deref().unwrap_or_default();
    match (notifies, path.is_empty()) {
        (true, true) => {
            return Err(refuse(
                "listenerPath",
                "empty",
                "SCMP_ACT_NOTIFY needs a socket that takes the listener",
            ));
        }
        // Nobody waits: as with libseccomp, the flag means nothing, and the kernel would refuse it.
        (false, true) => return Ok(flags & !WAIT_KILLABLE),
        // Without a rule that notifies, whoever waits at the socket gets a listener, too.
        (_, false) => {}
    }
    // Both answer by their return value; there is one thread to be synchronised.
    Ok(flags & !TSYNC | NEW_LISTENER)
}

pub(super) const TSYNC: u32 = 1;
pub(super) const NEW_LISTENER: u32 = 8;
const WAIT_KILLABLE: u32 = 32;

fn action(field: &str, word: SeccompAction, errno: Option<u32>) -> Result<ScmpAction, Error> {
    let action = match word {
        SeccompAction::Errno => {
            let errno = errno.unwrap_or(EPERM);
            if errno > MAX_ERRNO {
                return Err(refuse(
                    format!("{field} errno"),
                    errno,
                    "0 to 4094 are accepted",
                ));
            }
            return Ok(ScmpAction::Errno(errno.cast_signed()));
        }
        SeccompAction::Trace => {
            let value = errno.unwrap_or(EPERM);
            return u16::try_from(value).map(ScmpAction::Trace).map_err(|_| {
                refuse(
                    format!("{field} errno"),
                    value,
                    "0 to 65535 are accepted for a trace",
                )
            });
        }
        SeccompAction::Kill | SeccompAction::KillThread => ScmpAction::KillThread,
        SeccompAction::KillProcess => ScmpAction::KillProcess,
        SeccompAction::Trap => ScmpAction::Trap,
        SeccompAction::Allow => ScmpAction::Allow,
        SeccompAction::Log => ScmpAction::Log,
        SeccompAction::Notify => ScmpAction::Notify,
    };
    match errno {
        // The spec: an error where the action has no use for it.
        Some(errno) => Err(refuse(
            format!("{field} errno"),
            format!("{errno} with {word}"),
            "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a number",
        )),
        None => Ok(action),
    }
}

fn architecture(word: SeccompArch) -> ScmpArch {
    match word {
        SeccompArch::X86 => ScmpArch::X86,
        SeccompArch::X86_64 => ScmpArch::X8664,
        SeccompArch::X32 => ScmpArch::X32,
        SeccompArch::Arm => ScmpArch::Arm,
        SeccompArch::Aarch64 => ScmpArch::Aarch64,
        SeccompArch::Mips => ScmpArch::Mips,
        SeccompArch::Mips64 => ScmpArch::Mips64,
        SeccompArch::Mips64n32 => ScmpArch::Mips64N32,
        SeccompArch::Mipsel => ScmpArch::Mipsel,
        SeccompArch::Mipsel64 => ScmpArch::Mipsel64,
        SeccompArch::Mipsel64n32 => ScmpArch::Mipsel64N32,
        SeccompArch::Ppc => ScmpArch::Ppc,
        SeccompArch::Ppc64 => ScmpArch::Ppc64,
        SeccompArch::Ppc64le => ScmpArch::Ppc64Le,
        SeccompArch::S390 => ScmpArch::S390,
        SeccompArch::S390x => ScmpArch::S390X,
        SeccompArch::Parisc => ScmpArch::Parisc,
        SeccompArch::Parisc64 => ScmpArch::Parisc64,
        SeccompArch::Riscv64 => ScmpArch::Riscv64,
        SeccompArch::Loongarch64 => ScmpArch::Loongarch64,
        SeccompArch::M68k => ScmpArch::M68k,
        SeccompArch::Sh => ScmpArch::Sh,
        SeccompArch::Sheb => ScmpArch::Sheb,
    }
}

/// Bits of seccomp(2), from linux/seccomp.h.
pub(super) fn flag(word: SeccompFlag) -> u32 {
    match word {
        SeccompFlag::Tsync => TSYNC,
        SeccompFlag::Log => 2,
        SeccompFlag::SpecAllow => 4,
        SeccompFlag::WaitKillableRecv => WAIT_KILLABLE,
    }
}

/// One comparison of an argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition {
    pub(super) index: u32,
    pub(super) op: SeccompOperator,
    /// What to compare with; the mask of MASKED_EQ.
    pub(super) value: u64,
    /// What must remain under the mask.
    pub(super) value_two: u64,
}

impl Condition {
    /// In libseccomp's words.
    pub(super) fn compare(&self) -> ScmpArgCompare {
        let (op, datum) = match self.op {
            SeccompOperator::Ne => (ScmpCompareOp::NotEqual, self.value),
            SeccompOperator::Lt => (ScmpCompareOp::Less, self.value),
            SeccompOperator::Le => (ScmpCompareOp::LessOrEqual, self.value),
            SeccompOperator::Eq => (ScmpCompareOp::Equal, self.value),
            SeccompOperator::Ge => (ScmpCompareOp::GreaterEqual, self.value),
            SeccompOperator::Gt => (ScmpCompareOp::Greater, self.value),
            SeccompOperator::MaskedEq => (ScmpCompareOp::MaskedEqual(self.value), self.value_two),
        };
        ScmpArgCompare::new(self.index, op, datum)
    }
}

fn rule(index: usize, syscall: &LinuxSyscall) -> Result<Rule, Error> {
    let field = |name: &str| format!("syscalls[{index}].{name}");
    if syscall.names.is_empty() {
        return Err(refuse(
            field("names"),
            "empty",
            "a rule must name a system call",
        ));
    }
    let action = action(&field("action"), syscall.action, syscall.errno_ret)?;
    let mut compares = Vec::new();
    let mut seen = [false; 6];
    let mut repeated = false;
    for arg in &syscall.args {
        let slot = usize::try_from(arg.index)
            .ok()
            .and_then(|i| seen.get_mut(i));
        let Some(slot) = slot else {
            let reason = "a system call has arguments 0 to 5";
            return Err(refuse(field("args index"), arg.index, reason));
        };
        repeated |= std::mem::replace(slot, true);
        compares.push(Condition {
            index: arg.index,
            op: arg.op,
            value: arg.value,
            value_two: arg.value_two,
        });
    }
    let conditions = if compares.is_empty() {
        Vec::new()
    } else if repeated {
        compares.into_iter().map(|c| vec![c]).collect()
    } else {
        vec![compares]
    };
    Ok(Rule {
        names: syscall.names.clone(),
        action,
        conditions,
    })
}
