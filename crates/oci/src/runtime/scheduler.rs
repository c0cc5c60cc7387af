//! CPU and I/O scheduling of a process (1.1 and 1.2).

use super::document::{document, words};

document! {
    /// `sched_setattr(2)` for the process.
    pub struct Scheduler {
        required {
            /// The policy.
            pub policy: SchedulerPolicy,
        }
        /// Nice value, -20 to 19, for OTHER and BATCH.
        pub nice: Option<i32>,
        /// Static priority, 1 to 99, for FIFO and RR.
        pub priority: Option<i32>,
        /// Flags.
        pub flags: Vec<SchedulerFlag>,
        /// DEADLINE: runtime per period, nanoseconds.
        pub runtime: Option<u64>,
        /// DEADLINE: deadline within the period, nanoseconds.
        pub deadline: Option<u64>,
        /// DEADLINE: period, nanoseconds.
        pub period: Option<u64>,
    }

    /// `ioprio_set(2)` for the process.
    pub struct LinuxIoPriority {
        required {
            /// The class.
            pub class: IoPriorityClass,
        }
        always {
            /// Priority within the class, 0 (highest) to 7.
            pub priority: i32,
        }
    }

    /// CPU lists for a process that enters a running container (1.2).
    pub struct ExecCpuAffinity {
        /// CPUs to run on before the process is in the container's cgroup.
        pub initial: Option<String>,
        /// CPUs to run on afterwards.
        pub r#final: Option<String>,
    }
}

words! {
    /// Scheduling policies.
    pub enum SchedulerPolicy ("scheduling policy") {
        /// The default time-sharing policy.
        #[default]
        Other = "SCHED_OTHER",
        /// Real time, first in, first out.
        Fifo = "SCHED_FIFO",
        /// Real time, round robin.
        Rr = "SCHED_RR",
        /// Time sharing for CPU-bound work.
        Batch = "SCHED_BATCH",
        /// Reserved in the kernel, never implemented.
        Iso = "SCHED_ISO",
        /// Below any other priority.
        Idle = "SCHED_IDLE",
        /// Earliest deadline first.
        Deadline = "SCHED_DEADLINE",
    }

    /// Flags of `sched_setattr(2)`.
    pub enum SchedulerFlag ("scheduler flag") {
        /// Children start with the default policy.
        #[default]
        ResetOnFork = "SCHED_FLAG_RESET_ON_FORK",
        /// DEADLINE tasks may use what others left.
        Reclaim = "SCHED_FLAG_RECLAIM",
        /// SIGXCPU at an overrun of a DEADLINE task.
        DlOverrun = "SCHED_FLAG_DL_OVERRUN",
        /// Leave the policy.
        KeepPolicy = "SCHED_FLAG_KEEP_POLICY",
        /// Leave the parameters.
        KeepParams = "SCHED_FLAG_KEEP_PARAMS",
        /// Set the least utilisation.
        UtilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN",
        /// Set the greatest utilisation.
        UtilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX",
    }

    /// I/O scheduling classes.
    pub enum IoPriorityClass ("I/O priority class") {
        /// First access to the disk.
        #[default]
        Rt = "IOPRIO_CLASS_RT",
        /// The default class.
        Be = "IOPRIO_CLASS_BE",
        /// Only when nobody else asks.
        Idle = "IOPRIO_CLASS_IDLE",
    }
}
