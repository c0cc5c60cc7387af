//! A plan in words: one step a line, each a phrase that also begins an error's sentence.

use std::fmt::{self, Write as _};

use init::{Attr, Fd, List, NO_FD, Step, Str, Sync, Target};
use oci::runtime as spec;

use super::{Plan, Privileged, Source};

const NAMESPACES: [(u64, &str); 8] = [
    (0x1000_0000, "user"),
    (0x0002_0000, "mount"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "network"),
    (0x0800_0000, "ipc"),
    (0x0400_0000, "uts"),
    (0x0200_0000, "cgroup"),
    (0x0000_0080, "time"),
];

const ATTRIBUTES: [(u64, &str); 8] = [
    (0x1, "ro"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
    (0x80, "nodiratime"),
    (0x20_0000, "nosymfollow"),
];

const PROPAGATIONS: [(u64, &str); 4] = [
    (1 << 17, "unbindable"),
    (1 << 18, "private"),
    (1 << 19, "slave"),
    (1 << 20, "shared"),
];

fn names(bits: u64, table: &[(u64, &str)]) -> String {
    let mut left = bits;
    let mut out = Vec::new();
    for (bit, name) in table {
        if bits & bit != 0 {
            left &= !bit;
            out.push((*name).to_owned());
        }
    }
    if left != 0 {
        out.push(format!("{left:#x}"));
    }
    out.join(",")
}

fn propagation(flags: u64) -> String {
    let recursive = if flags & 0x4000 != 0 { "r" } else { "" };
    format!("{recursive}{}", names(flags & !0x4000, &PROPAGATIONS))
}

fn attr(attr: Attr, recursive: bool) -> String {
    let mut parts = Vec::new();
    let prefix = if recursive { "r:" } else { "" };
    if attr.set != 0 {
        parts.push(format!("{prefix}{}", names(attr.set, &ATTRIBUTES)));
    }
    // Clearing what is not set says nothing new.
    let cleared = attr.clear & !attr.set & !0x40;
    if cleared != 0 {
        parts.push(format!("{prefix}-{}", names(cleared, &ATTRIBUTES)));
    }
    if attr.propagation != 0 {
        parts.push(format!(
            "{prefix}{}",
            names(attr.propagation, &PROPAGATIONS)
        ));
    }
    parts.join(" ")
}

/// Names of capabilities, or `all`, or `none`.
fn capabilities(bits: u64) -> String {
    let names: Vec<&str> = spec::capability::NAMES
        .iter()
        .enumerate()
        .filter(|(number, _)| bits & (1 << number) != 0)
        .map(|(_, name)| name.strip_prefix("CAP_").unwrap_or(name))
        .collect();
    match names.len() {
        0 => "none".to_owned(),
        n if n == spec::capability::NAMES.len() => "all".to_owned(),
        _ => names.join(","),
    }
}

impl Plan {
    fn source(&self, fd: Fd) -> String {
        if fd == NO_FD {
            return "as it is".to_owned();
        }
        match self.fds.get(usize::from(fd.0)) {
            Some(Source::Namespace(type_, path)) => format!("{type_} namespace {path}"),
            Some(Source::CgroupJoin(nth)) => format!("v1 hierarchy {nth}"),
            Some(Source::CgroupProcs) => "cgroup2".to_owned(),
            Some(Source::CgroupTree(name, a)) => {
                let which = if name.is_empty() {
                    "cgroup2".to_owned()
                } else {
                    format!("{name} cgroup")
                };
                format!("the container's {which} ({})", attr(*a, false))
            }
            Some(Source::Rootfs(_)) => "the root filesystem".to_owned(),
            Some(Source::Tree(tree)) => {
                let kind = if tree.recursive { "rbind" } else { "bind" };
                let attrs: Vec<String> = tree.attrs.iter().map(|(a, r)| attr(*a, *r)).collect();
                let mapped = if tree.id_map.is_some() {
                    ", id-mapped"
                } else {
                    ""
                };
                format!(
                    "{kind} of {} ({}{mapped})",
                    tree.path.display(),
                    attrs.join("; ")
                )
            }
            Some(Source::Nodes(nodes)) => {
                let paths: Vec<&str> = nodes.iter().map(|node| node.path.as_str()).collect();
                format!("the devices {}", paths.join(", "))
            }
            Some(Source::NullTree | Source::Null) => "/dev/null".to_owned(),
            Some(Source::Proc) => "the host's procfs".to_owned(),
            Some(Source::Stream(number)) => format!("stream {number}"),
            Some(Source::HookState(status)) => format!("state {status}"),
            Some(Source::HookOutput(path)) => path.clone(),
            Some(Source::HookWords(name)) => format!("what {name} prints"),
            Some(Source::Fifo) => "the fifo".to_owned(),
            Some(Source::FifoStatus) => "the status fifo".to_owned(),
            Some(Source::InitPidfd) => "the first process".to_owned(),
            Some(Source::Later | Source::Taken(_)) => "what was taken".to_owned(),
            None => "?".to_owned(),
        }
    }

    fn options(&self, list: List) -> String {
        let from = usize::try_from(list.0)
            .ok()
            .and_then(|at| self.words.get(at..));
        let words = from
            .unwrap_or_default()
            .iter()
            .take_while(|&&w| w != init::END);
        let words: Vec<_> = words.collect();
        let mut out = Vec::new();
        for pair in words.chunks(2) {
            match pair {
                [key, value] if value.0 != 0 => {
                    out.push(format!("{}={}", self.text(**key), self.text(**value)));
                }
                [key, ..] => out.push(self.text(**key).to_owned()),
                [] => {}
            }
        }
        out.join(",")
    }

    fn mask(&self, first: u32, count: u32) -> String {
        let mut out = String::new();
        let from = usize::try_from(first)
            .ok()
            .and_then(|at| self.numbers.get(at..));
        let count = usize::try_from(count).unwrap_or(0);
        for number in from.unwrap_or_default().iter().take(count) {
            let comma = if out.is_empty() { "" } else { "," };
            let _ = write!(out, "{comma}{number}");
        }
        out
    }
}

/// What a step does, as the start of a sentence.
#[expect(clippy::too_many_lines, reason = "a line or two for each of the steps")]
pub(crate) fn describe(plan: &Plan, step: &Step) -> String {
    let t = |s| plan.text(s);
    match *step {
        Step::JoinCgroup { fd, .. } => format!("join the cgroup in {}", plan.source(fd)),
        Step::Setns { fd, flags }
            if matches!(plan.fds.get(usize::from(fd.0)), Some(Source::InitPidfd)) =>
        {
            format!(
                "enter the container's {} namespaces",
                names(u64::from(flags), &NAMESPACES)
            )
        }
        Step::Setns { fd, .. } => format!("join {}", plan.source(fd)),
        Step::Unshare { flags } => {
            format!(
                "make a new {} namespace",
                names(u64::from(flags), &NAMESPACES)
            )
        }
        Step::TimeOffsets { text, .. } => {
            format!(
                "set time offsets {}",
                t(text).trim_end().replace('\n', "; ")
            )
        }
        Step::Fork { flags: 0, .. } => "fork into the namespaces".to_owned(),
        Step::Fork { flags, .. } => {
            format!("fork into new {} namespaces", names(flags, &NAMESPACES))
        }
        Step::Sync { what: Sync::Setup } => "wait for the parent's setup".to_owned(),
        Step::Sync { what: Sync::Hooks } => "wait for prestart and createRuntime hooks".to_owned(),
        Step::BecomeRoot { .. } => "become root of the user namespace".to_owned(),
        Step::Loopback => "bring lo up".to_owned(),
        Step::Hostname { name } => format!("set the host name {:?}", t(name)),
        Step::Domainname { name } => format!("set the domain name {:?}", t(name)),
        Step::Propagation { flags } => format!("make all mounts {}", propagation(flags)),
        Step::AttachRoot { at: Str(0), .. } => "attach the root filesystem".to_owned(),
        Step::AttachRoot { at, .. } => format!("attach the root filesystem at {}", t(at)),
        Step::OpenRoot => "open the root".to_owned(),
        Step::MountFs {
            fstype,
            options,
            attr: a,
            dest,
            copy_up,
            ..
        } => {
            let words = [names(a.set, &ATTRIBUTES), plan.options(options)];
            let words: Vec<_> = words.into_iter().filter(|w| !w.is_empty()).collect();
            let copy = if copy_up {
                ", with a copy of what is there"
            } else {
                ""
            };
            format!(
                "mount {} at {} ({}{copy})",
                t(fstype),
                t(dest),
                words.join(",")
            )
        }
        Step::MountOld {
            fstype, dest, data, ..
        } => {
            format!(
                "mount {} at {} ({} bytes of options)",
                t(fstype),
                t(dest),
                t(data).len()
            )
        }
        Step::Reconfigure { dest, options } => {
            format!(
                "change the filesystem at {} ({})",
                t(dest),
                plan.options(options)
            )
        }
        Step::MountTree { tree, dest, target } => {
            let kind = if target == Target::File {
                " (a file)"
            } else {
                ""
            };
            format!("mount {} at {}{kind}", plan.source(tree), t(dest))
        }
        Step::CloneTree {
            path, recursive, ..
        } => {
            let kind = if recursive { "recursive " } else { "" };
            format!("take a {kind}bind of {}", t(path))
        }
        Step::MapIds { .. } => "map the ids of that bind".to_owned(),
        Step::Unmount { dest } => format!("unmount {}", t(dest)),
        Step::AttachAside { tree } => format!("attach {} aside", plan.source(tree)),
        Step::CloneFile { name, .. } => format!("take a bind of device {}", t(name)),
        Step::TreeAttr {
            attr: a, recursive, ..
        } => format!("make that bind {}", attr(a, recursive)),
        Step::SetAttr {
            dest,
            attr: a,
            recursive,
        } => {
            format!("make the mount at {} {}", t(dest), attr(a, recursive))
        }
        Step::Mknod {
            path,
            mode,
            major,
            minor,
            uid,
            gid,
        } => {
            let kind = match mode & 0o170_000 {
                0o060_000 => "block",
                0o010_000 => "fifo",
                _ => "character",
            };
            format!(
                "make {kind} device {} {major}:{minor} (mode {:o}, owner {uid}:{gid})",
                t(path),
                mode & 0o7777
            )
        }
        Step::Symlink { to, path, .. } => format!("link {} to {}", t(path), t(to)),
        Step::Terminal { rows, columns, .. } => format!("open a terminal ({columns}x{rows})"),
        Step::MakeDir { path } => format!("make the working directory {}", t(path)),
        Step::Hook { path, .. } => format!("run hook {}", t(path)),
        Step::Pivot => "pivot into the root filesystem".to_owned(),
        Step::Chroot { .. } => "change root into the root filesystem".to_owned(),
        Step::RootPropagation { flags } => {
            format!("make the container's mounts {}", propagation(flags))
        }
        Step::RootReadonly => "make the root filesystem read-only".to_owned(),
        Step::Mask { path, .. } => format!("mask {}", t(path)),
        Step::Readonly { path } => format!("make {} read-only", t(path)),
        Step::OpenProc { .. } => "open a private procfs".to_owned(),
        Step::WriteProc { path, value, .. } => format!("write {:?} to {}", t(value), t(path)),
        Step::Rlimit {
            resource,
            soft,
            hard,
        } => {
            let name = spec::RlimitType::ALL
                .iter()
                .find(|type_| type_.number() == resource)
                .map_or("limit", |type_| type_.as_str());
            format!("set {name} to {soft}:{hard}")
        }
        Step::Keyring { name } => format!("make session keyring {}", t(name)),
        Step::Mortal => "let signals end the process while it waits".to_owned(),
        Step::Setsid => "make a session".to_owned(),
        Step::Stdio {
            stdin,
            stdout,
            stderr,
        } => format!(
            "set stdin to {}, stdout to {}, stderr to {}",
            plan.source(stdin),
            plan.source(stdout),
            plan.source(stderr)
        ),
        Step::Personality { value } => format!("set personality {value:#x}"),
        Step::Scheduler {
            policy,
            nice,
            priority,
            ..
        } => {
            format!("set scheduling policy {policy}, nice {nice}, priority {priority}")
        }
        Step::IoPriority { value } => format!("set I/O priority {}:{}", value >> 13, value & 7),
        Step::Affinity { first, count } => {
            let mask = plan.mask(first, count);
            let all = mask.split(',').all(|word| word == "4294967295");
            format!("set CPU mask {}", if all { "of all" } else { &mask })
        }
        Step::MemoryPolicy { mode, first, count } => {
            format!(
                "set memory policy {mode:#x}, node mask {}",
                plan.mask(first, count)
            )
        }
        Step::Bounding { keep } => format!("limit capabilities to {}", capabilities(keep)),
        Step::NoNewPrivs => "set no_new_privs".to_owned(),
        Step::Seccomp { .. } => "load the seccomp filter".to_owned(),
        Step::Umask { mask } => format!("set umask {mask:04o}"),
        Step::Ids {
            uid,
            gid,
            first,
            count,
            ..
        } => {
            format!(
                "become user {uid}:{gid}, groups [{}]",
                plan.mask(first, count)
            )
        }
        Step::Capabilities {
            effective,
            permitted,
            inheritable,
            ambient,
        } => format!(
            "set capabilities: effective {}; permitted {}; inheritable {}; ambient {}",
            capabilities(effective),
            capabilities(permitted),
            capabilities(inheritable),
            capabilities(ambient)
        ),
        Step::Chdir { path } => format!("change directory to {}", t(path)),
        Step::ChdirAgain { path } => format!("change directory to {} as the user", t(path)),
        Step::Find { name, .. } => format!("find {}", t(name)),
        Step::CloseOnExec { first } => format!("close descriptors from {first} on at exec"),
        Step::AwaitStart { fifo: NO_FD, .. } => "wait for start".to_owned(),
        Step::AwaitStart { .. } => "wait for start at the fifo".to_owned(),
        Step::Exec { args, .. } => {
            let args: Vec<&str> = plan.texts(args).collect();
            format!("execute {args:?}")
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = names(self.namespaces, &NAMESPACES);
        let new = if new.is_empty() { "no".to_owned() } else { new };
        let into = if self.born_in_pids {
            ", in the container's pid namespace"
        } else {
            ""
        };
        writeln!(f, "clone with {new} new namespaces{into}")?;
        if let Some(maps) = &self.id_maps {
            let line = |text: &str| text.trim_end().replace('\n', "; ");
            writeln!(f, "  parent: uid map {}", line(&maps.uid))?;
            writeln!(f, "  parent: gid map {}", line(&maps.gid))?;
        }
        for act in &self.privileged {
            match act {
                Privileged::Rlimit {
                    name, soft, hard, ..
                } => {
                    writeln!(f, "  parent: set {name} to {soft}:{hard}")?;
                }
                Privileged::OomScoreAdj(score) => {
                    writeln!(f, "  parent: set oom_score_adj {score}")?;
                }
            }
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{index:>3} {}", describe(self, step))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
