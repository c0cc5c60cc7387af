//! What the child or the launch of it says, as sentences.

use std::{fmt, io};

use init::{Act, Message, Step, Target};

use crate::{
    ErrorKind,
    plan::{self, HookName, Plan},
};

/// A launch that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// /proc is something else.
    #[error("/proc is not procfs: mount it before containers are run")]
    NotProc,
    /// A call of the parent.
    #[error("{act} {what}")]
    Io {
        /// What was attempted.
        act: &'static str,
        /// On what.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A namespace file of another type.
    #[error("{path} is not a {expected} namespace")]
    NamespaceType {
        /// The file.
        path: String,
        /// What it should be.
        expected: String,
    },
    /// A namespace of ours that the document would change.
    #[error(
        "{path} is the {type_} namespace of the host: its host name, kernel parameters and devices are not \
         a container's to change"
    )]
    HostNamespace {
        /// The file.
        path: String,
        /// Its type.
        type_: String,
    },
    /// A step of the child.
    #[error("{sentence}")]
    Step {
        /// What was attempted, on what, and why it failed.
        sentence: String,
        /// What it means.
        kind: ErrorKind,
    },
    /// The child ended without a word.
    #[error("the process ended while it was set up ({how}): {hint}")]
    Died {
        /// How.
        how: String,
        /// What may be behind it.
        hint: &'static str,
    },
    /// `start` of what is not waiting.
    #[error("cannot start a container that is not created: it was started already")]
    NotCreated,
    /// `start` of what is gone.
    #[error("cannot start a stopped container: its process is gone")]
    Gone,
    /// The child and we do not understand each other.
    #[error("internal: the child said what no child says")]
    Protocol,
    /// A preserved descriptor is not there.
    #[error("preserved descriptor {0} is not open: --preserve-fds counts from 3")]
    NotPreserved(u32),
}

impl Error {
    pub(crate) fn io(act: &'static str, what: impl Into<String>, e: impl Into<io::Error>) -> Self {
        Self::Io {
            act,
            what: what.into(),
            source: e.into(),
        }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NotProc => ErrorKind::Unsupported,
            Self::Io { .. } | Self::Died { .. } => ErrorKind::Io,
            Self::NamespaceType { .. } | Self::HostNamespace { .. } | Self::NotPreserved(_) => {
                ErrorKind::InvalidSpec
            }
            Self::Step { kind, .. } => *kind,
            Self::NotCreated | Self::Gone => ErrorKind::State,
            Self::Protocol => ErrorKind::Internal,
        }
    }

    /// What a `Failed` message says about a step of `plan`.
    /// `words`: what the hook of a name printed.
    pub(crate) fn from_message(
        plan: &Plan,
        message: Message,
        words: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let step = usize::try_from(message.step)
            .ok()
            .and_then(|at| plan.steps.get(at));
        let Some(step) = step else {
            return Self::Protocol;
        };
        let (mut sentence, kind) = sentence(plan, step, message);
        if matches!(step, Step::Hook { .. }) {
            let name = hook_name(plan, message);
            sentence = format!("{}: {sentence}", hook(name, message));
            if let Some(printed) = name.and_then(|name| words(&name.to_string())) {
                sentence = format!("{sentence}, and printed: {printed}");
            }
        }
        Self::Step { sentence, kind }
    }
}

/// Which hook failed.
fn hook_name(plan: &Plan, message: Message) -> Option<&HookName> {
    let before = plan.steps.iter().zip(0..message.step);
    let nth = before
        .filter(|(step, _)| matches!(step, Step::Hook { .. }))
        .count();
    plan.hooks.get(nth)
}

/// In the words that runc's callers know.
fn hook(name: Option<&HookName>, message: Message) -> String {
    let Some(name) = name else {
        return "error running a hook".to_owned();
    };
    let text = format!("error running {name}");
    match exit_code(message.value).filter(|_| message.act == Act::HookStatus) {
        // The words that crun's callers know.
        Some(code) if name.kind == "poststop" => {
            format!("{text}: poststop hook failed with exit code {code}")
        }
        _ => text,
    }
}

/// errno in words, without Rust's "(os error 2)".
struct Reason(u32);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = i32::try_from(self.0).unwrap_or(0);
        let text = io::Error::from_raw_os_error(number).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut chars = text.chars();
        match chars.next() {
            Some(first) => write!(f, "{}{}", first.to_ascii_lowercase(), chars.as_str()),
            None => write!(f, "errno {number}"),
        }
    }
}

/// Errors of finding and executing the program have the words that clients look for (runc's).
fn sentence(plan: &Plan, step: &Step, message: Message) -> (String, ErrorKind) {
    let errno = i32::try_from(message.value).unwrap_or(0);
    let reason = Reason(message.value);
    match *step {
        Step::Find { name, .. } => {
            let name = plan.text(name);
            let kind = exec_kind(errno);
            let text = match message.act {
                Act::NotInPath if kind == ErrorKind::ExecNotFound => {
                    "executable file not found in $PATH".to_owned()
                }
                Act::IsDirectory => "is a directory: permission denied".to_owned(),
                _ => exec_reason(errno, &reason),
            };
            (format!("exec: {name:?}: {text}"), kind)
        }
        Step::Exec { args, .. } => {
            let name = plan.texts(args).next().unwrap_or_default();
            let hint = match errno {
                8 => " (not a program of this machine, or a script without #!)",
                // The file was found: it is its interpreter that is not there.
                2 => " (its interpreter or dynamic loader is not in the container)",
                _ => "",
            };
            let text = exec_reason(errno, &reason);
            (format!("exec {name}: {text}{hint}"), exec_kind(errno))
        }
        Step::Chdir { path } | Step::ChdirAgain { path } => {
            let path = plan.text(path);
            let text = match message.act {
                Act::OutsideRoot => {
                    "it leads outside of the container's root, which is refused".to_owned()
                }
                _ => reason.to_string(),
            };
            (
                format!("chdir to cwd ({path:?}) set in process.cwd failed: {text}"),
                ErrorKind::Io,
            )
        }
        Step::WriteProc { path, value, .. } if plan.text(path).ends_with(plan::APPARMOR) => {
            let profile = plan.text(value).trim_start_matches("exec ");
            let text = match (message.act, errno) {
                (Act::Write, 2) => {
                    "profile not loaded: load its file with apparmor_parser, or name another"
                        .to_owned()
                }
                (act, _) => why(step, act, message.value, &reason),
            };
            // The words that crun's callers know.
            (
                format!("apply apparmor profile `{profile}`: {text}"),
                ErrorKind::Io,
            )
        }
        _ => {
            let what = plan::describe(plan, step);
            let why = why(step, message.act, message.value, &reason);
            (format!("{what}: {why}"), ErrorKind::Io)
        }
    }
}

fn exec_kind(errno: i32) -> ErrorKind {
    match errno {
        2 | 20 => ErrorKind::ExecNotFound,
        _ => ErrorKind::ExecPermission,
    }
}

fn exec_reason(errno: i32, reason: &Reason) -> String {
    match errno {
        2 | 20 => "no such file or directory".to_owned(),
        1 | 13 => "permission denied".to_owned(),
        8 => "exec format error".to_owned(),
        _ => reason.to_string(),
    }
}

/// Which part failed, why, and what is often behind it.
fn why(step: &Step, act: Act, value: u32, reason: &Reason) -> String {
    let part = match act {
        Act::Itself => "",
        Act::Resolve => "look up the path: ",
        Act::MakeParent => "make a directory on the way: ",
        Act::MakeTarget => "make the mount point: ",
        Act::FsOpen => "open the filesystem type: ",
        Act::FsConfig => "take an option: ",
        Act::FsCreate => "create the filesystem: ",
        Act::FsMount => "mount it: ",
        Act::Move => "put it in its place: ",
        Act::SetAttr => "set its attributes: ",
        Act::Clone => "copy: ",
        Act::Chown => "change its owner: ",
        Act::Chmod => "change its mode: ",
        Act::Exists => return "something else is there already".to_owned(),
        Act::Unmount => "take the old root away: ",
        Act::OutsideRoot => "it leads outside of the container's root: ",
        Act::NotNull => return "the host's /dev/null is not the null device".to_owned(),
        Act::OpenPtmx => "open /dev/ptmx of the container: ",
        Act::Unlock => "unlock it: ",
        Act::OpenPeer => "open its other side: ",
        Act::WindowSize => "set its size: ",
        Act::Send => "hand it to the runtime: ",
        Act::BindConsole => "put it at /dev/console: ",
        Act::ControllingTty => "make it the controlling terminal: ",
        Act::Dup => "duplicate: ",
        Act::Groups => "set the groups: ",
        Act::Gid => "set the group: ",
        Act::KeepCaps => "keep capabilities: ",
        Act::Uid => "set the user: ",
        Act::Capset => "set them: ",
        Act::Ambient => "raise ambient ones: ",
        Act::HookStatus => return hook_status(value),
        Act::HookTimeout => return "it did not end in time and was killed".to_owned(),
        Act::HookExec => {
            return "it ended with code 127: not found, or not to be executed".to_owned();
        }
        Act::ParentGone => return "the runtime gave up or is gone".to_owned(),
        Act::Open => "open: ",
        Act::Write => "write: ",
        Act::InProc => {
            return "nothing in a procfs is mounted on without following links".to_owned();
        }
        Act::NotInPath | Act::IsDirectory => "",
    };
    format!("{part}{reason}{}", hint(step, act, value))
}

/// The exit code in a wait status.
fn exit_code(status: u32) -> Option<u32> {
    (status & 0x7f == 0).then_some(status >> 8 & 0xff)
}

fn hook_status(status: u32) -> String {
    if let Some(code) = exit_code(status) {
        format!("it ended with code {code}")
    } else {
        let signal = status & 0x7f;
        let name = if signal == 31 {
            " (bad system call)"
        } else {
            ""
        };
        format!("it died of signal {signal}{name}")
    }
}

fn hint(step: &Step, act: Act, value: u32) -> &'static str {
    const EPERM: u32 = 1;
    const ENODEV: u32 = 19;
    const ENOTDIR: u32 = 20;
    const EINVAL: u32 = 22;
    const EROFS: u32 = 30;
    const ELOOP: u32 = 40;
    match (step, act, value) {
        (Step::Rlimit { .. }, _, EPERM) => {
            " (a hard limit over ours needs CAP_SYS_RESOURCE, which we do not have)"
        }
        (Step::Scheduler { policy: 6, .. }, _, EPERM) => {
            " (process scheduler can't be used together with AllowedCPUs, linux.resources.cpu.cpus, for \
             SCHED_DEADLINE; and it needs CAP_SYS_NICE)"
        }
        // CONFIG_RT_GROUP_SCHED: a new cgroup has no time for these.
        (Step::Scheduler { policy: 1 | 2, .. }, _, EPERM) => {
            " (it needs CAP_SYS_NICE and, where the kernel shares real time out to cgroups, time of the \
             container's own: set linux.resources.cpu.realtimeRuntime, such as 10000, with realtimePeriod, \
             1000000)"
        }
        (Step::Scheduler { .. }, _, EPERM) => " (what is over our own priority needs CAP_SYS_NICE)",
        (_, Act::FsOpen, ENODEV) => " (this kernel does not know it)",
        (_, Act::MakeTarget | Act::MakeParent, EROFS) => {
            " (it must exist in a read-only filesystem)"
        }
        (
            Step::MountFs {
                target: Target::PlainDir,
                ..
            },
            Act::Resolve,
            ELOOP | ENOTDIR,
        ) => {
            " (this filesystem must be mounted on ordinary directory, to which no symbolic link leads)"
        }
        (_, Act::Resolve, ELOOP) => " (symbolic links, which may not lead there)",
        (Step::Pivot, _, EINVAL) => " (is the host's root an initramfs? use --no-pivot)",
        (Step::WriteProc { .. }, Act::Open, 2) => " (this kernel or namespace does not have it)",
        (Step::Ids { .. }, _, EINVAL) => " (the id is not mapped in the user namespace)",
        _ => "",
    }
}
