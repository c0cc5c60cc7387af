//! The OCI runtime specification, version 1.0 to 1.3, for Linux.
//!
//! ```text
//!  config.json --parse--> Spec --validate--> Spec that the core may plan --print--> config.json
//!      ^ 1.0.0-rc form is upgraded while parsing
//! ```
//!
//! The structures say what the document says: nothing is looked up, defaulted or resolved here.

pub(crate) mod document;

pub mod capability;
mod device;
mod example;
mod hooks;
mod linux;
mod locate;
mod memory_policy;
mod mount;
mod namespace;
mod parse;
mod print;
mod process;
mod resources;
mod scheduler;
mod seccomp;
mod spec;
mod state;
mod validate;

pub use device::{FileMode, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};
pub use document::UnknownWord;
pub use example::{VERSION, example, rootless_example};
pub use hooks::{Hook, Hooks};
pub use linux::{
    Linux, LinuxIntelRdt, LinuxNetDevice, LinuxPersonality, LinuxPersonalityDomain, LinuxTimeOffset,
};
pub use memory_policy::{LinuxMemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode};
pub use mount::Mount;
pub use namespace::{LinuxIdMapping, LinuxNamespace, NamespaceType};
pub use parse::{
    ParseError, machine, parse, parse_form, parse_mounts, parse_process, parse_resources,
};
pub use print::{print, print_indented};
pub use process::{ConsoleSize, LinuxCapabilities, Process, Rlimit, RlimitType, User};
pub use resources::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxInterfacePriority, LinuxMemory, LinuxNetwork,
    LinuxPids, LinuxRdma, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};
pub use scheduler::{
    ExecCpuAffinity, IoPriorityClass, LinuxIoPriority, Scheduler, SchedulerFlag, SchedulerPolicy,
};
pub use seccomp::{
    LinuxSeccomp, LinuxSyscall, SeccompAction, SeccompArch, SeccompArg, SeccompFlag,
    SeccompOperator,
};
pub use spec::{Platform, Root, Spec};
pub use state::{ContainerProcessState, State, Status};
pub use validate::{Invalid, Problem, sysctl_namespace, validate, validate_process};
