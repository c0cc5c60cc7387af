//! Rules of a process.

use super::{Report, absolute, text};
use crate::runtime::{
    IoPriorityClass, LinuxIoPriority, Process, RlimitType, Scheduler, SchedulerPolicy,
};

pub(super) fn check(at: &str, process: &Process, report: &mut Report) {
    absolute(format_args!("{at}.cwd"), &process.cwd, report);
    if process.args.first().is_none_or(String::is_empty) {
        report.add(format!("{at}.args"), "must name a program");
    }
    for (key, list) in [("args", &process.args), ("env", &process.env)] {
        for (index, value) in list.iter().enumerate() {
            text(format_args!("{at}.{key}[{index}]"), value, report);
        }
    }
    for (index, variable) in process.env.iter().enumerate() {
        report.require(
            variable.find('=').is_some_and(|equals| equals > 0),
            || format!("{at}.env[{index}]"),
            || format!("must be NAME=value, not {variable:?}"),
        );
    }
    if let Some(name) = process
        .user
        .username
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        report.add(
            format!("{at}.user.username"),
            format!("has no meaning on Linux; give uid and gid of {name:?}"),
        );
    }
    report.require(
        process.user.umask.is_none_or(|umask| umask <= 0o777),
        || format!("{at}.user.umask"),
        || "must be at most 0777".into(),
    );
    report.require(
        process
            .oom_score_adj
            .is_none_or(|score| (-1000..=1000).contains(&score)),
        || format!("{at}.oomScoreAdj"),
        || "must be between -1000 and 1000".into(),
    );
    for (key, side) in process
        .console_size
        .iter()
        .flat_map(|size| [("height", size.height), ("width", size.width)])
    {
        report.require(
            side <= u32::from(u16::MAX),
            || format!("{at}.consoleSize.{key}"),
            || format!("must be at most 65535, not {side}"),
        );
    }
    rlimits(at, process, report);
    capabilities(at, process, report);
    if let Some(scheduler) = &process.scheduler {
        scheduling(&format!("{at}.scheduler"), scheduler, report);
    }
    if let Some(priority) = &process.io_priority {
        io_priority(&format!("{at}.ioPriority"), priority, report);
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        for (key, list) in [("initial", &affinity.initial), ("final", &affinity.r#final)] {
            if let Some(list) = list {
                super::resources::id_list(&format!("{at}.execCPUAffinity.{key}"), list, report);
            }
        }
    }
}

fn rlimits(at: &str, process: &Process, report: &mut Report) {
    for (index, limit) in process.rlimits.iter().enumerate() {
        let path = |field: &str| format!("{at}.rlimits[{index}].{field}");
        if let Err(unknown) = limit.type_.parse::<RlimitType>() {
            report.add(path("type"), unknown.to_string());
        }
        let first = process
            .rlimits
            .iter()
            .position(|other| other.type_ == limit.type_);
        report.require(
            first == Some(index),
            || path("type"),
            || format!("{} is given twice", limit.type_),
        );
        report.require(
            limit.soft <= limit.hard,
            || path("soft"),
            || {
                format!(
                    "{} must not be greater than the hard limit {}",
                    limit.soft, limit.hard
                )
            },
        );
    }
}

fn capabilities(at: &str, process: &Process, report: &mut Report) {
    if let Some(sets) = &process.capabilities {
        for (index, name) in sets.effective.iter().enumerate() {
            report.require(
                sets.permitted.contains(name),
                || format!("{at}.capabilities.effective[{index}]"),
                || format!("{name} must be permitted to be effective"),
            );
        }
    }
}

fn scheduling(at: &str, scheduler: &Scheduler, report: &mut Report) {
    use SchedulerPolicy::{Deadline, Fifo, Iso, Rr};
    let policy = scheduler.policy;
    // For the others the kernel passes over it.
    report.require(
        scheduler.nice.is_none_or(|nice| (-20..=19).contains(&nice)),
        || format!("{at}.nice"),
        || "must be between -20 and 19".into(),
    );
    let real_time = matches!(policy, Fifo | Rr);
    let priority = scheduler.priority.unwrap_or(0);
    report.require(
        if real_time {
            (1..=99).contains(&priority)
        } else {
            priority == 0
        },
        || format!("{at}.priority"),
        || "must be between 1 and 99 for FIFO and RR, and 0 for all others".into(),
    );
    let times = [scheduler.runtime, scheduler.deadline, scheduler.period];
    report.require(
        policy == Deadline || times.iter().all(|time| time.unwrap_or(0) == 0),
        || at.into(),
        || "runtime, deadline and period are for SCHED_DEADLINE".into(),
    );
    if policy == Deadline {
        deadline(at, scheduler, report);
    }
    report.require(
        policy != Iso,
        || format!("{at}.policy"),
        || "SCHED_ISO is not implemented by Linux".into(),
    );
}

/// sched(7): 1024 ns <= runtime <= deadline <= period; without a period the deadline is it. In the words
/// that callers of crun know.
fn deadline(at: &str, scheduler: &Scheduler, report: &mut Report) {
    const CALL: &str = "sched_setattr: `SCHED_DEADLINE`";
    const LEAST: u64 = 1024;
    const MOST: u64 = i64::MAX.unsigned_abs();
    for (key, value) in [
        ("runtime", scheduler.runtime),
        ("deadline", scheduler.deadline),
    ] {
        let at = || format!("{at}.{key}");
        let rule = || format!("{CALL} requires `{key}`");
        report.require(value.is_some(), at, rule);
    }
    let (Some(runtime), Some(deadline)) = (scheduler.runtime, scheduler.deadline) else {
        return;
    };
    let period = scheduler.period.filter(|&period| period != 0);
    let at_runtime = || format!("{at}.runtime");
    if runtime == 0 {
        let rule = format!("{CALL} runtime must be greater than 0");
        return report.add(at_runtime(), rule);
    }
    report.require((LEAST..=MOST).contains(&runtime), at_runtime, || {
        format!("{CALL} runtime {runtime} must be between {LEAST} and {MOST}")
    });
    report.require(runtime <= deadline, at_runtime, || {
        format!("{CALL} runtime {runtime} must be <= the deadline, {deadline}")
    });
    let at_deadline = || format!("{at}.deadline");
    report.require(
        period.is_none_or(|period| deadline <= period),
        at_deadline,
        || {
            format!(
                "{CALL} deadline {deadline} must be <= the period, {}",
                period.unwrap_or(0)
            )
        },
    );
}

fn io_priority(at: &str, priority: &LinuxIoPriority, report: &mut Report) {
    let most = if priority.class == IoPriorityClass::Idle {
        0
    } else {
        7
    };
    report.require(
        (0..=most).contains(&priority.priority),
        || format!("{at}.priority"),
        || format!("must be between 0 and {most} for {}", priority.class),
    );
}
