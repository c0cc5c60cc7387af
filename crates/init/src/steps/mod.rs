//! What each step does. Files by subject; this one is the table.

mod hook;
mod ids;
mod mask;
mod mount;
mod namespace;
mod node;
mod process;
mod program;
mod root;
mod terminal;

use crate::{
    calls,
    child::{Child, Fail},
    plan::Step,
};

pub(crate) fn run(c: &mut Child<'_, '_>, step: Step) -> Result<(), Fail> {
    match step {
        Step::JoinCgroup {
            fd,
            unless_cloned_into,
        } => namespace::join_cgroup(c, fd, unless_cloned_into),
        Step::Setns { fd, flags } => namespace::setns(c, fd, flags),
        Step::Unshare { flags } => namespace::unshare(flags),
        Step::TimeOffsets { proc, text } => namespace::time_offsets(c, proc, text),
        Step::Fork { flags, cgroup } => namespace::fork(c, flags, cgroup),
        Step::Sync { what } => namespace::sync(c, what),
        Step::BecomeRoot { groups } => ids::become_root(groups),
        Step::Loopback => namespace::loopback(),
        Step::Hostname { name } => namespace::hostname(c, name),
        Step::Domainname { name } => namespace::domainname(c, name),
        Step::Propagation { flags } | Step::RootPropagation { flags } => {
            root::propagation(c, flags)
        }
        Step::AttachRoot { tree, at } => root::attach(c, tree, at),
        Step::OpenRoot => root::open(c),
        Step::MountFs {
            fstype,
            source,
            options,
            attr,
            dest,
            target,
            copy_up,
        } => mount::fs(
            c,
            &mount::NewFs {
                fstype,
                source,
                options,
                attr,
                dest,
                target,
                copy_up,
            },
        ),
        Step::MountOld {
            fstype,
            source,
            flags,
            data,
            dest,
        } => mount::old(c, fstype, source, flags, data, dest),
        Step::Reconfigure { dest, options } => mount::reconfigure(c, dest, options),
        Step::MountTree { tree, dest, target } => mount::tree(c, tree, dest, target),
        Step::CloneTree {
            path,
            to,
            recursive,
            itself,
            inside,
        } => mount::clone_tree(c, path, to, recursive, itself, inside),
        Step::MapIds { tree } => mount::map_ids(c, tree),
        Step::Unmount { dest } => mount::unmount(c, dest),
        Step::AttachAside { tree } => root::attach_aside(c, tree),
        Step::CloneFile { tree, name, to } => mount::clone_file(c, tree, name, to),
        Step::TreeAttr {
            tree,
            attr,
            recursive,
            unless_locked,
        } => match calls::mount_setattr(c.fd(tree), attr, recursive) {
            Err(libc::EPERM) if unless_locked => Ok(()),
            done => Ok(done?),
        },
        Step::SetAttr {
            dest,
            attr,
            recursive,
        } => mount::set_attr(c, dest, attr, recursive),
        Step::Mknod {
            path,
            mode,
            major,
            minor,
            uid,
            gid,
        } => node::mknod(
            c,
            path,
            &node::Node {
                mode,
                major,
                minor,
                uid,
                gid,
            },
        ),
        Step::Symlink { to, path, existing } => node::symlink(c, to, path, existing),
        Step::Terminal {
            rows,
            columns,
            console,
            uid,
        } => terminal::open(c, rows, columns, console, uid),
        Step::MakeDir { path } => root::make_dir(c, path),
        Step::Hook {
            path,
            args,
            env,
            dir,
            timeout_ms,
            stdin,
            stdout,
            stderr,
        } => hook::run(
            c,
            &hook::Hook {
                path,
                args,
                env,
                dir,
                timeout_ms,
                stdin,
                output: [stdout, stderr],
            },
        ),
        Step::Pivot => root::pivot(c),
        Step::Chroot { without } => root::chroot(c, without),
        Step::RootReadonly => root::readonly(c),
        Step::Mask { path, null } => mask::mask(c, path, null),
        Step::Readonly { path } => mask::readonly(c, path),
        Step::OpenProc { host, to } => process::open_proc(c, host, to),
        Step::WriteProc { proc, path, value } => process::write_proc(c, proc, path, value),
        Step::Rlimit {
            resource,
            soft,
            hard,
        } => {
            // What counts as ours may be more than it allows.
            c.close_spent();
            process::rlimit(resource, soft, hard)
        }
        Step::Keyring { name } => process::keyring(c, name),
        Step::Mortal => {
            calls::mortal();
            Ok(())
        }
        Step::Setsid => process::setsid(),
        Step::Stdio {
            stdin,
            stdout,
            stderr,
        } => process::stdio(c, [stdin, stdout, stderr]),
        Step::Personality { value } => process::personality(value),
        Step::Scheduler {
            policy,
            flags,
            nice,
            priority,
            runtime,
            deadline,
            period,
        } => process::scheduler(policy, flags, nice, priority, [runtime, deadline, period]),
        Step::IoPriority { value } => process::io_priority(value),
        Step::Affinity { first, count } => process::affinity(c, first, count),
        Step::MemoryPolicy { mode, first, count } => process::memory_policy(c, mode, first, count),
        Step::Bounding { keep } => ids::bounding(keep),
        Step::NoNewPrivs => process::no_new_privs(),
        Step::Seccomp { flags } => process::seccomp(c, flags),
        Step::Umask { mask } => process::umask(mask),
        Step::Ids {
            uid,
            gid,
            first,
            count,
            groups,
        } => {
            let list = if groups {
                Some(c.numbers(first, count))
            } else {
                None
            };
            ids::change(uid, gid, list)
        }
        Step::Capabilities {
            effective,
            permitted,
            inheritable,
            ambient,
        } => ids::capabilities(effective, permitted, inheritable, ambient),
        Step::Chdir { path } => program::chdir(c, path, false),
        Step::ChdirAgain { path } => program::chdir(c, path, true),
        Step::Find { name, path } => program::find(c, name, path),
        Step::CloseOnExec { first } => program::close_on_exec(first),
        Step::AwaitStart { fifo, status } => program::await_start(c, fifo, status),
        Step::Exec { args, env } => program::exec(c, args, env),
    }
}
