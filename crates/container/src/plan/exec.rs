//! The plan of a process that enters a running container.

use init::{NO_FD, Step, Sync};
use oci::runtime::{self as spec, NamespaceType};

use super::{Error, Options, Plan, Source, create::join_cgroup, process::Process, schedule};
use crate::host::Facts;

/// Which namespaces of the container are entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// CLONE_NEW* flags of those that differ from ours.
    pub flags: u32,
    /// We may have children in another pid namespace and come back.
    pub pids_by_clone: bool,
}

impl Join {
    fn has(self, type_: NamespaceType) -> bool {
        self.flags & super::namespace_flag(type_) != 0
    }
}

/// Plans a process in the container of `spec`.
///
/// # Errors
/// What the process asks for and cannot be.
pub fn exec(
    facts: &Facts,
    spec: &spec::Spec,
    process: &spec::Process,
    join: Join,
    options: &Options,
) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let plan = &mut plan;
    let linux = spec.linux.as_ref();
    let in_user = join.has(NamespaceType::User);
    let seccomp = linux.and_then(|l| l.seccomp.as_ref());
    let mut process = Process::new(plan, facts, options, process, seccomp, in_user)?;
    schedule::initial_affinity(plan, process.process)?;
    join_cgroup(plan, options);
    schedule::final_affinity(plan, process.process)?;
    if process.wants_proc() {
        // The host's: all else in there is the container's by now.
        process.proc = Some(plan.fd(Source::Proc));
    }
    // Who forks in there knows its child by a number that means another process to us.
    let forks = join.has(NamespaceType::Time);
    plan.born_in_pids = join.pids_by_clone && join.has(NamespaceType::Pid) && !forks;
    let mut flags = join.flags;
    if plan.born_in_pids {
        flags &= !super::namespace_flag(NamespaceType::Pid);
    }
    if flags != 0 {
        let fd = plan.fd(Source::InitPidfd);
        plan.push(Step::Setns { fd, flags });
    }
    // These are for children only.
    let late =
        super::namespace_flag(NamespaceType::Pid) | super::namespace_flag(NamespaceType::Time);
    if flags & late != 0 {
        plan.push(Step::Fork {
            flags: 0,
            cgroup: NO_FD,
        });
    }
    if !plan.privileged.is_empty() || linux.is_some_and(|l| l.intel_rdt.is_some()) {
        plan.push(Step::Sync { what: Sync::Setup });
    }
    if in_user {
        plan.push(Step::BecomeRoot {
            groups: facts.setgroups,
        });
    }
    plan.push(Step::OpenRoot);
    process.session(plan)?;
    process.streams(plan, false)?;
    schedule::personality(plan, linux)?;
    process.settle(plan)?;
    process.late_filter(plan);
    process.become_program(plan)?;
    Ok(std::mem::take(plan))
}
