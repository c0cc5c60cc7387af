//! The plan of a container's first process. The order is the ladder of the `init` crate.

use init::{Fd, NO_FD, Step, Str, Sync};
use oci::runtime::{self as spec, NamespaceType, Status};

use super::{
    Error, Gate, Options, Plan, Propagation, Source, devices, environment,
    hooks::{self, HookList, HookOutput},
    mounts::{self, Context},
    namespaces::{self, Namespaces},
    options::{MS_PRIVATE, MS_REC, MS_SHARED, MS_UNBINDABLE},
    places,
    process::Process,
    schedule, tree,
};
use crate::host::Facts;

/// Plans a container.
///
/// # Errors
/// What the document asks for and cannot be.
pub fn create(facts: &Facts, spec: &spec::Spec, options: &Options) -> Result<Plan, Error> {
    let Some((rooted, notes)) = places::rooted(spec, options.rootfs.as_deref()) else {
        return mapped(facts, spec, options);
    };
    let mut plan = mapped(facts, &rooted, options)?;
    plan.notes.extend(notes);
    Ok(plan)
}

/// A document whose paths are what they mean.
fn mapped(facts: &Facts, spec: &spec::Spec, options: &Options) -> Result<Plan, Error> {
    match namespaces::with_maps(spec, facts) {
        Some(mapped) => whole(facts, &mapped, options),
        None => whole(facts, spec, options),
    }
}

/// A document that says all that is needed.
fn whole(facts: &Facts, spec: &spec::Spec, options: &Options) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let plan = &mut plan;
    let linux = spec.linux.as_ref();
    refuse(facts, linux)?;
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| Error::invalid("process", "it is missing: there is nothing to run"))?;
    let namespaces = Namespaces::read(spec)?;
    let in_user = namespaces.has(NamespaceType::User);
    if facts.rootless && !in_user {
        return Err(Error::unsupported(
            "linux.namespaces without user",
            "without CAP_SYS_ADMIN a container needs a user namespace: add {\"type\": \"user\"} and \
             id mappings (spec --rootless writes such a document)",
        ));
    }
    let seccomp = linux.and_then(|l| l.seccomp.as_ref());
    let mut process = Process::new(plan, facts, options, process, seccomp, in_user)?;

    join_cgroup(plan, options);
    schedule::all_cpus(plan);
    namespaces.enter(plan, facts.rootless)?;
    plan.id_maps = namespaces.new_id_maps();
    if linux.is_some_and(|l| !l.net_devices.is_empty()) {
        plan.changed.push(NamespaceType::Network);
    }
    let hooks_inside = spec
        .hooks
        .as_ref()
        .is_some_and(|h| !h.create_container.is_empty() || !h.start_container.is_empty());
    let placed = linux.is_some_and(|l| l.intel_rdt.is_some() || !l.net_devices.is_empty());
    if linux.is_some_and(|l| !l.net_devices.is_empty()) && !namespaces.has(NamespaceType::Network) {
        return Err(Error::invalid(
            "linux.netDevices",
            "without a network namespace they would stay where they are: add {\"type\": \"network\"}",
        ));
    }
    if plan.id_maps.is_some() || !plan.privileged.is_empty() || hooks_inside || placed {
        plan.push(Step::Sync { what: Sync::Setup });
    }
    if in_user {
        plan.push(Step::BecomeRoot {
            groups: facts.setgroups,
        });
    }
    if namespaces.is_new(NamespaceType::Cgroup) {
        plan.push(Step::Unshare {
            flags: super::namespace_flag(NamespaceType::Cgroup),
        });
    }
    // Modes of devices and directories are meant as they stand.
    plan.push(Step::Umask { mask: 0 });
    process.session(plan)?;
    names(plan, spec, &namespaces)?;
    let sysctls = linux.is_some_and(|l| !l.sysctl.is_empty());
    if sysctls || process.wants_proc() {
        process.proc = Some(open_proc(plan));
    }
    if let (Some(proc), Some(linux)) = (process.proc, linux) {
        sysctl(plan, proc, linux, &namespaces)?;
    }

    filesystem(plan, facts, spec, options, in_user, &process)?;

    schedule::personality(plan, linux)?;
    schedule::memory_policy(plan, linux)?;
    if matches!(options.gate, Gate::Fifo) {
        // Before a filter, which may have no place for it.
        plan.push(Step::Mortal);
    }
    process.settle(plan)?;
    gate(plan, options);
    process.late_filter(plan);
    if let Some(h) = &spec.hooks {
        let env = environment(process.process, options);
        let list = start_container(&env, options.said.hook_output.clone());
        hooks::push(plan, &list, &h.start_container)?;
    }
    process.become_program(plan)?;
    Ok(std::mem::take(plan))
}

/// What nothing here does: said, never ignored.
fn refuse(facts: &Facts, linux: Option<&spec::Linux>) -> Result<(), Error> {
    let Some(linux) = linux else { return Ok(()) };
    let label = linux.mount_label.as_deref().unwrap_or_default();
    if !label.is_empty() && !(facts.selinux)() {
        return Err(Error::unsupported(
            "linux.mountLabel",
            "SELinux is not enabled on this host: take the label out or boot with it",
        ));
    }
    Ok(())
}

pub(super) fn join_cgroup(plan: &mut Plan, options: &Options) {
    for nth in 0..options.joins {
        let fd = plan.fd(Source::CgroupJoin(nth));
        plan.push(Step::JoinCgroup {
            fd,
            unless_cloned_into: false,
        });
    }
    if options.unified {
        let fd = plan.fd(Source::CgroupProcs);
        plan.push(Step::JoinCgroup {
            fd,
            unless_cloned_into: true,
        });
    }
}

fn open_proc(plan: &mut Plan) -> Fd {
    let host = plan.fd(Source::Proc);
    let to = plan.fd(Source::Later);
    plan.push(Step::OpenProc { host, to });
    to
}

fn names(plan: &mut Plan, spec: &spec::Spec, namespaces: &Namespaces<'_>) -> Result<(), Error> {
    if namespaces.is_new(NamespaceType::Network) {
        plan.push(Step::Loopback);
    }
    let hostname = spec.hostname.as_deref().filter(|name| !name.is_empty());
    let domainname = spec.domainname.as_deref().filter(|name| !name.is_empty());
    let own = namespaces.has(NamespaceType::Uts);
    for (field, name) in [("hostname", hostname), ("domainname", domainname)] {
        if name.is_some() && !own {
            return Err(Error::invalid(
                field,
                "without a uts namespace it would rename the host: add {\"type\": \"uts\"}",
            ));
        }
    }
    if hostname.or(domainname).is_some() {
        plan.changed.push(NamespaceType::Uts);
    }
    if let Some(name) = hostname {
        let name = plan.str("hostname", name)?;
        plan.push(Step::Hostname { name });
    }
    if let Some(name) = domainname {
        let name = plan.str("domainname", name)?;
        plan.push(Step::Domainname { name });
    }
    Ok(())
}

/// S12: a namespace's parameters only, of a namespace that is not the host's.
fn sysctl(
    plan: &mut Plan,
    proc: Fd,
    linux: &spec::Linux,
    namespaces: &Namespaces<'_>,
) -> Result<(), Error> {
    for (key, value) in &linux.sysctl {
        let field = format!("linux.sysctl {key}");
        // Dots separate, unless slashes do (then a dot is part of a name, as of eth0.100).
        let path = if key.contains('/') {
            key.clone()
        } else {
            key.replace('.', "/")
        };
        match spec::sysctl_namespace(key) {
            None => {
                return Err(Error::invalid(
                    field,
                    "it belongs to the host, not to a namespace",
                ));
            }
            Some(type_) if !namespaces.has(type_) => {
                return Err(Error::invalid(
                    field,
                    format!("without a {type_} namespace it would change the host"),
                ));
            }
            Some(type_) => plan.changed.push(type_),
        }
        let path = plan.str(&field, &format!("sys/{path}"))?;
        let value = plan.str(&field, value)?;
        plan.push(Step::WriteProc { proc, path, value });
    }
    Ok(())
}

/// From the host's root to the container's.
fn filesystem(
    plan: &mut Plan,
    facts: &Facts,
    spec: &spec::Spec,
    options: &Options,
    in_user: bool,
    process: &Process<'_>,
) -> Result<(), Error> {
    let linux = spec.linux.as_ref();
    let (mut propagation, explicit) = mounts::propagation(linux)?;
    // Nothing could be copied out of it on the way: it becomes so when all is there.
    let unbindable = propagation & MS_UNBINDABLE != 0;
    if unbindable {
        propagation = MS_PRIVATE | MS_REC;
    }
    plan.push(Step::Propagation { flags: propagation });
    if propagation & MS_SHARED != 0 {
        // pivot_root refuses a shared parent.
        plan.push(Step::Propagation { flags: MS_PRIVATE });
    }
    // Nor does it take a shared root: that becomes what was asked for once it is the root.
    let before = match propagation & MS_SHARED {
        0 => propagation & !MS_REC,
        _ => MS_PRIVATE,
    };
    let tree = tree::root(plan, facts, options.rootfs.as_deref(), before)?;
    let made = devices::outside(plan, facts, spec)?;
    let at = place(plan, spec, options, propagation)?;
    plan.push(Step::AttachRoot { tree, at });
    let context = Context {
        facts,
        options,
        spec,
        propagation,
    };
    mounts::push_all(plan, &context)?;
    devices::push(plan, facts, spec, in_user, propagation, made)?;
    process.streams(plan, !devices::dev_is_bound(spec))?;
    if let Some(h) = &spec.hooks {
        if !h.prestart.is_empty() || !h.create_runtime.is_empty() {
            plan.push(Step::Sync { what: Sync::Hooks });
        }
        let output = options.said.hook_output.clone();
        // Who asks for crun's output is told what crun tells: that it is created.
        let status = match output {
            [None, None] => Status::Creating,
            _ => Status::Created,
        };
        let list = HookList {
            kind: "createContainer",
            status,
            env: &options.hook_env,
            dir: &options.bundle.to_string_lossy(),
            output,
        };
        hooks::push(plan, &list, &h.create_container)?;
    }
    mounts::make_read_only(plan, spec)?;
    if process.process.cwd != "/" {
        let path = plan.str("process.cwd", &process.process.cwd)?;
        plan.push(Step::MakeDir { path });
    }
    let masked = linux.map(|l| l.masked_paths.as_slice()).unwrap_or_default();
    let null = if masked.is_empty() {
        NO_FD
    } else {
        tree::null(plan, facts)?
    };
    let step = match &options.no_pivot {
        Some(without) => Step::Chroot {
            without: plan.list("mounts of the host", without.iter().map(String::as_str))?,
        },
        None => Step::Pivot,
    };
    plan.push(step);
    if explicit {
        plan.push(Step::RootPropagation { flags: propagation });
    }
    for path in linux
        .map(|l| l.readonly_paths.as_slice())
        .unwrap_or_default()
    {
        let path = inside(plan, "linux.readonlyPaths", path)?;
        plan.push(Step::Readonly { path });
    }
    for path in masked {
        let path = inside(plan, "linux.maskedPaths", path)?;
        plan.push(Step::Mask { path, null });
    }
    if unbindable {
        let word = linux.and_then(|l| l.rootfs_propagation.as_deref());
        let recursive = word.is_some_and(|word| word.starts_with('r'));
        plan.push(Step::RootPropagation {
            flags: MS_UNBINDABLE | if recursive { MS_REC } else { 0 },
        });
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        plan.push(Step::RootReadonly);
    }
    Ok(())
}

/// Over its own directory if createContainer hooks may look for the root there; else over `/`, which
/// takes one lookup less.
fn place(
    plan: &mut Plan,
    spec: &spec::Spec,
    options: &Options,
    propagation: Propagation,
) -> Result<Str, Error> {
    let hooks = spec.hooks.as_ref();
    match &options.rootfs {
        // pivot_root refuses a shared parent, and only that of `/` is made private.
        Some(path)
            if hooks.is_some_and(|h| !h.create_container.is_empty())
                && propagation & MS_SHARED == 0 =>
        {
            plan.str("root.path", &path.to_string_lossy())
        }
        _ => Ok(Str(0)),
    }
}

const START_CONTAINER: &str = "startContainer";

/// Whether the hook of this name runs at the start.
pub(crate) fn is_of_start(name: &str) -> bool {
    name.starts_with(START_CONTAINER)
}

/// How the startContainer hook of a number is called.
pub(crate) fn start_container_hook(number: usize) -> String {
    let kind = START_CONTAINER.to_owned();
    super::HookName { kind, number }.to_string()
}

fn start_container(env: &[String], output: HookOutput) -> HookList<'_> {
    HookList {
        kind: START_CONTAINER,
        status: Status::Created,
        env,
        dir: "",
        output,
    }
}

fn inside(plan: &mut Plan, field: &str, path: &str) -> Result<init::Str, Error> {
    if !path.starts_with('/') {
        return Err(Error::invalid(
            field,
            format!("{path:?} is not an absolute path"),
        ));
    }
    plan.str(field, path)
}

fn gate(plan: &mut Plan, options: &Options) {
    let (fifo, status) = match options.gate {
        Gate::Open => return,
        Gate::Channel => (NO_FD, NO_FD),
        Gate::Fifo => (plan.fd(Source::Fifo), plan.fd(Source::FifoStatus)),
    };
    plan.push(Step::AwaitStart { fifo, status });
}

/// The steps after a fifo's gate, to explain what a child says about them: their numbers count from
/// the gate.
pub(crate) fn after_gate(spec: &spec::Spec) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let process = spec.process.as_ref();
    let seccomp = spec.linux.as_ref().and_then(|l| l.seccomp.as_ref());
    if process.is_some_and(|p| p.no_new_privileges)
        && seccomp.is_some_and(|profile| !super::process::notifies(profile))
    {
        plan.push(Step::Seccomp { flags: 0 });
    }
    if let Some(h) = &spec.hooks {
        let list = start_container(&[], HookOutput::default());
        hooks::push(&mut plan, &list, &h.start_container)?;
    }
    let Some(process) = process else {
        return Ok(plan);
    };
    let args = plan.list("process.args", process.args.iter().map(String::as_str))?;
    let env = plan.list("process.env", [])?;
    plan.push(Step::Exec { args, env });
    Ok(plan)
}
