//! Scheduling, I/O priority, CPU sets of exec, memory policy, personality.

use init::Step;
use oci::runtime::{
    self as spec, IoPriorityClass, LinuxPersonalityDomain, MemoryPolicyFlag, MemoryPolicyMode,
    SchedulerFlag, SchedulerPolicy,
};

use super::{Error, Plan};

/// More CPUs, or memory nodes, than any kernel is built for.
const MAX_CPUS: usize = 8192;

pub(super) fn push(plan: &mut Plan, process: &spec::Process) -> Result<(), Error> {
    if let Some(scheduler) = &process.scheduler {
        plan.push(scheduler_step(scheduler)?);
    }
    if let Some(io) = &process.io_priority {
        let class = match io.class {
            IoPriorityClass::Rt => 1_u32,
            IoPriorityClass::Be => 2,
            IoPriorityClass::Idle => 3,
        };
        let level = u32::try_from(io.priority)
            .ok()
            .filter(|&level| level < 8)
            .ok_or_else(|| {
                Error::invalid(
                    "process.ioPriority.priority",
                    format!("{} is not 0 to 7", io.priority),
                )
            })?;
        plan.push(Step::IoPriority {
            value: class << 13 | level,
        });
    }
    Ok(())
}

fn scheduler_step(s: &spec::Scheduler) -> Result<Step, Error> {
    let policy = match s.policy {
        SchedulerPolicy::Other => 0,
        SchedulerPolicy::Fifo => 1,
        SchedulerPolicy::Rr => 2,
        SchedulerPolicy::Batch => 3,
        SchedulerPolicy::Idle => 5,
        SchedulerPolicy::Deadline => 6,
        SchedulerPolicy::Iso => {
            return Err(Error::unsupported(
                "process.scheduler.policy SCHED_ISO",
                "Linux reserves the name and has no such policy",
            ));
        }
    };
    let flag = |f: &SchedulerFlag| match f {
        SchedulerFlag::ResetOnFork => 0x01_u64,
        SchedulerFlag::Reclaim => 0x02,
        SchedulerFlag::DlOverrun => 0x04,
        SchedulerFlag::KeepPolicy => 0x08,
        SchedulerFlag::KeepParams => 0x10,
        SchedulerFlag::UtilClampMin => 0x20,
        SchedulerFlag::UtilClampMax => 0x40,
    };
    let priority = u32::try_from(s.priority.unwrap_or(0))
        .map_err(|_| Error::invalid("process.scheduler.priority", "it is negative"))?;
    Ok(Step::Scheduler {
        policy,
        flags: s.flags.iter().map(flag).fold(0, |all, f| all | f),
        nice: s.nice.unwrap_or(0),
        priority,
        runtime: s.runtime.unwrap_or(0),
        deadline: s.deadline.unwrap_or(0),
        period: s.period.unwrap_or(0),
    })
}

pub(super) fn personality(plan: &mut Plan, linux: Option<&spec::Linux>) -> Result<(), Error> {
    let Some(personality) = linux.and_then(|l| l.personality.as_ref()) else {
        return Ok(());
    };
    if !personality.flags.is_empty() {
        return Err(Error::unsupported(
            "linux.personality.flags",
            "the specification has none yet",
        ));
    }
    let value = match personality.domain {
        LinuxPersonalityDomain::Linux => 0,
        LinuxPersonalityDomain::Linux32 => 8,
    };
    plan.push(Step::Personality { value });
    Ok(())
}

pub(super) fn memory_policy(plan: &mut Plan, linux: Option<&spec::Linux>) -> Result<(), Error> {
    let Some(policy) = linux.and_then(|l| l.memory_policy.as_ref()) else {
        return Ok(());
    };
    let Some(mode) = policy.mode else {
        return Ok(());
    };
    let mode = match mode {
        MemoryPolicyMode::Default => 0_u32,
        MemoryPolicyMode::Preferred => 1,
        MemoryPolicyMode::Bind => 2,
        MemoryPolicyMode::Interleave => 3,
        MemoryPolicyMode::Local => 4,
        MemoryPolicyMode::PreferredMany => 5,
        MemoryPolicyMode::WeightedInterleave => 6,
    };
    let flags = policy.flags.iter().fold(0, |all, flag| {
        all | match flag {
            MemoryPolicyFlag::StaticNodes => 1 << 15,
            MemoryPolicyFlag::RelativeNodes => 1 << 14,
            MemoryPolicyFlag::NumaBalancing => 1 << 13,
        }
    });
    let mut mask = bits(
        "linux.memoryPolicy.nodes",
        policy.nodes.as_deref().unwrap_or(""),
    )?;
    if mask.len() % 2 == 1 {
        mask.push(0);
    }
    let (first, count) = plan.numbers(&mask);
    plan.push(Step::MemoryPolicy {
        mode: mode | flags,
        first,
        count,
    });
    Ok(())
}

/// CPUs of a process that enters, before it is in the container's cgroup.
pub(super) fn initial_affinity(plan: &mut Plan, process: &spec::Process) -> Result<(), Error> {
    match affinity(process, |a| a.initial.as_deref()) {
        Some(list) => {
            let words = mask(plan, "process.execCPUAffinity.initial", list)?;
            tracing::debug!("nsexec: affinity: {}", hexadecimal(&words));
            Ok(())
        }
        None => Ok(()),
    }
}

/// CPUs of a process that is in the container's cgroup: the final set, or all that the cgroup has.
pub(super) fn final_affinity(plan: &mut Plan, process: &spec::Process) -> Result<(), Error> {
    if let Some(list) = affinity(process, |a| a.r#final.as_deref()) {
        return mask(plan, "process.execCPUAffinity.final", list).map(drop);
    }
    all_cpus(plan);
    Ok(())
}

/// All CPUs that the cgroup has, whatever the runtime itself was bound to.
pub(super) fn all_cpus(plan: &mut Plan) {
    // The kernel keeps of it what the cpuset allows.
    let (first, count) = plan.numbers(&[u32::MAX; MAX_CPUS / 32]);
    plan.push(Step::Affinity { first, count });
}

fn affinity(
    process: &spec::Process,
    which: impl Fn(&spec::ExecCpuAffinity) -> Option<&str>,
) -> Option<&str> {
    let affinity = process.exec_cpu_affinity.as_ref()?;
    which(affinity).filter(|list| !list.is_empty())
}

/// The step; its mask in words.
fn mask(plan: &mut Plan, field: &str, list: &str) -> Result<Vec<u32>, Error> {
    let mut mask = bits(field, list)?;
    if mask.len() % 2 == 1 {
        mask.push(0);
    }
    let (first, count) = plan.numbers(&mask);
    plan.push(Step::Affinity { first, count });
    Ok(mask)
}

/// A mask as one number.
fn hexadecimal(words: &[u32]) -> String {
    let digits: String = words
        .iter()
        .rev()
        .map(|word| format!("{word:08x}"))
        .collect();
    let short = digits.trim_start_matches('0');
    format!("0x{}", if short.is_empty() { "0" } else { short })
}

/// `0-3,8` as bits, 32 to a word.
fn bits(field: &str, list: &str) -> Result<Vec<u32>, Error> {
    let bad = || Error::invalid(field, format!("{list:?} is no list like 0-3,8"));
    let mut mask = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.trim().parse().map_err(|_| bad())?;
        let to: usize = to.trim().parse().map_err(|_| bad())?;
        if from > to {
            return Err(bad());
        }
        if to >= MAX_CPUS {
            let text = format!("{to} is over {}, the last that a kernel has", MAX_CPUS - 1);
            return Err(Error::invalid(field, text));
        }
        if mask.len() <= to / 32 {
            mask.resize(to / 32 + 1, 0_u32);
        }
        for bit in from..=to {
            if let Some(word) = mask.get_mut(bit / 32) {
                *word |= 1 << (bit % 32);
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn lists_become_bits() {
        assert_eq!(bits("f", "0-3,8").unwrap(), [0x10f]);
        assert_eq!(bits("f", "32").unwrap(), [0, 1]);
        assert_eq!(bits("f", "").unwrap(), [0; 0]);
        for bad in ["a", "3-1", "1-", "99999", "8192"] {
            assert!(bits("f", bad).is_err(), "{bad}");
        }
    }
}
