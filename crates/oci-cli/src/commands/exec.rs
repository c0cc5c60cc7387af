//! `exec`: another process in a container.
//!
//! It is the container's own process document with what the options change (as runc has it), or the
//! document of `--process`.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use container::cgroup::Cgroup;
use container::{ContainerRef, ExecRequest, Stdio, trace};
use oci::runtime::{LinuxCapabilities, Process, Status};
use sys::signal_fd::SignalFd;

use super::{engine, write_pid_file};
use crate::args::{Exec, Global};
use crate::bundle;
use crate::descriptor_socket;
use crate::error::Error;
use crate::inherited;
use crate::status::Live;
use crate::terminal::{raw, relay};

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Exec) -> Result<i32, Error> {
    let inherited = inherited::collect(args.preserve_fds)?;
    let engine = engine(global)?;
    let live = Live::find_in(engine.hierarchy(), &global.root, &args.id)?;
    trace::mark("record read");
    match live.status {
        Status::Stopped => {
            return Err(Error::ExecStopped {
                id: args.id.clone(),
            });
        }
        Status::Paused if !args.ignore_paused => {
            return Err(Error::ExecPaused {
                id: args.id.clone(),
            });
        }
        _ => {}
    }
    let mut process = process(args, live.record.config.process.as_ref())?;
    check_console(process.terminal, args)?;
    if process.terminal && !args.detach {
        process.console_size = raw::console_size().or(process.console_size.take());
    }
    let connect = |path: &Option<PathBuf>| {
        let path = path.as_deref();
        path.map(descriptor_socket::connect).transpose()
    };
    let sockets = [connect(&args.console_socket)?, connect(&args.pidfd_socket)?];
    let cgroup = cgroup(&live.cgroup, &args.cgroup)?;
    let signals = if args.detach {
        None
    } else {
        Some(SignalFd::block_all().map_err(Error::io("block signals"))?)
    };
    let program = &process.args;
    let request = ExecRequest {
        process: &process,
        stdio: if process.terminal {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        },
        preserve_fds: inherited.count,
        no_new_keyring: false,
        extra_env: inherited.env,
        clamp_capabilities: false,
        // Whether it is paused has been seen above.
        ignore_paused: true,
    };
    let container = ContainerRef {
        cgroup: &cgroup,
        ..live.as_ref()
    };
    let id = &live.dir.id;
    tracing::debug!("nsexec container setup: clone a process for the namespaces of {id}");
    tracing::debug!("setns_init: about to exec {program:?} in it");
    let running = engine
        .exec(&container, request)
        .map_err(Error::core("exec in", id))?;
    let pid = running.pid;
    tracing::debug!("child process in init(): {pid} has entered {id}");
    let told = tell(args, &running, &sockets);
    if let Err(error) = told {
        // Nobody knows of the process: it must not stay.
        let _ = sys::pidfd::send_signal(running.pidfd.as_fd(), crate::signal::KILL);
        return Err(error);
    }
    match signals {
        Some(signals) => relay::run(running, &signals, None),
        None => Ok(0),
    }
}

fn tell(
    args: &Exec,
    running: &container::Process,
    [console, pidfd]: &[Option<UnixStream>; 2],
) -> Result<(), Error> {
    if let (Some(socket), Some(master)) = (console, &running.console) {
        descriptor_socket::send(socket, descriptor_socket::TERMINAL, master.as_fd())?;
    }
    if let Some(socket) = pidfd {
        descriptor_socket::send(socket, descriptor_socket::ENTERED, running.pidfd.as_fd())?;
    }
    write_pid_file(args.pid_file.as_deref(), running.pid)
}

/// The container's cgroup, or what `--cgroup` says below it.
fn cgroup(of_container: &Cgroup, words: &[String]) -> Result<Cgroup, Error> {
    let mut cgroup = of_container.clone();
    for word in words {
        let (controller, path) = match word.split_once(':') {
            Some((controller, path)) => (Some(controller), path),
            None => (None, word.as_str()),
        };
        cgroup = cgroup.below(controller, path)?;
    }
    Ok(cgroup)
}

/// A terminal needs somebody at its other end.
fn check_console(terminal: bool, args: &Exec) -> Result<(), Error> {
    match (&args.console_socket, terminal) {
        (None, true) if args.detach => Err(Error::Console(
            "cannot allocate tty if coffer-oci will detach without setting console socket: \
             give --console-socket, or leave --tty or --detach out"
                .to_owned(),
        )),
        (Some(_), _) if !args.detach || !terminal => Err(Error::Console(
            "cannot use console socket if coffer-oci will not detach or allocate tty: \
             leave --console-socket out, or give --detach and --tty"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The process to run.
fn process(args: &Exec, of_container: Option<&Process>) -> Result<Process, Error> {
    if let Some(path) = &args.process {
        let mut process = bundle::load_process(path)?;
        process.terminal |= args.tty;
        bundle::check_process(&process, path)?;
        return Ok(process);
    }
    let mut process = of_container.cloned().unwrap_or_default();
    process.args.clone_from(&args.args);
    process.terminal = args.tty;
    process.console_size = None;
    if let Some(cwd) = &args.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(profile) = &args.apparmor {
        process.apparmor_profile = Some(profile.clone());
    }
    if let Some(label) = &args.process_label {
        process.selinux_label = Some(label.clone());
    }
    if !args.cap.is_empty() {
        // One that nobody knows is left out with a warning, as those of a document are.
        add_capabilities(process.capabilities.get_or_insert_default(), &args.cap);
    }
    for variable in &args.env {
        set_variable(&mut process.env, variable);
    }
    process.no_new_privileges |= args.no_new_privs;
    if let Some(user) = &args.user {
        set_user(&mut process, user)?;
    }
    process.user.additional_gids.extend(&args.additional_gids);
    bundle::check_process(&process, Path::new("the command line"))?;
    Ok(process)
}

/// `--cap` gives a capability now and lets it be kept; never inheritable (CVE-2022-29162). What the
/// container has as inheritable already becomes ambient, as nothing else can.
fn add_capabilities(sets: &mut LinuxCapabilities, names: &[String]) {
    for name in names {
        if sets.inheritable.contains(name) && !sets.ambient.contains(name) {
            sets.ambient.push(name.clone());
        }
    }
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        for name in names {
            if !set.contains(name) {
                set.push(name.clone());
            }
        }
    }
}

/// The last of several settings of a variable wins, as in a shell.
fn set_variable(env: &mut Vec<String>, variable: &str) {
    let name = |text: &str| text.split('=').next().map(str::to_owned);
    env.retain(|known| name(known) != name(variable));
    env.push(variable.to_owned());
}

/// `--user UID[:GID]`, numbers only; without a gid the container's stays.
fn set_user(process: &mut Process, text: &str) -> Result<(), Error> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain
            .then(|| digits.parse::<u32>().ok())
            .flatten()
            .ok_or_else(|| Error::User {
                text: text.to_owned(),
            })
    };
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    process.user.uid = number(uid)?;
    if let Some(gid) = gid {
        process.user.gid = number(gid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Process {
        let mut process = oci::runtime::example().process.unwrap_or_default();
        process.user.gid = 5;
        process
    }

    fn built(words: &[&str]) -> Result<Process, Error> {
        let mut line = vec!["exec", "c1"];
        line.extend(words);
        match crate::args::parse(line.into_iter().map(Into::into)).1? {
            crate::args::Command::Exec(exec) => process(&exec, Some(&base())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_containers_process_is_the_base() {
        let process = built(&["ls", "-l"]).expect("built");
        assert_eq!(process.args, ["ls", "-l"]);
        assert!(!process.terminal);
        assert_eq!((process.cwd.as_str(), process.env), ("/", base().env));
    }

    #[test]
    fn options_change_it() {
        let process = built(&[
            "-t",
            "--cwd",
            "/tmp",
            "-e",
            "TERM=dumb",
            "-e",
            "A=1",
            "-e",
            "A=2",
            "-u",
            "7:8",
            "-g",
            "9,10",
            "--cap",
            "CAP_NET_RAW",
            "--no-new-privs",
            "sh",
        ])
        .expect("built");
        assert!(process.terminal && process.no_new_privileges);
        assert_eq!((process.user.uid, process.user.gid), (7, 8));
        assert_eq!(process.user.additional_gids, [9, 10]);
        assert_eq!(process.env[1..], ["TERM=dumb".to_owned(), "A=2".to_owned()]);
        for (name, set) in process.capabilities.expect("sets").sets() {
            let wanted = matches!(name, "bounding" | "effective" | "permitted");
            assert_eq!(set.contains(&"CAP_NET_RAW".to_owned()), wanted, "{name}");
        }
    }

    #[test]
    fn a_user_is_numbers() {
        let process = built(&["-u", "0", "sh"]).expect("built");
        assert_eq!(
            (process.user.uid, process.user.gid),
            (0, 5),
            "the gid stays"
        );
        for bad in [
            "root",
            "",
            ":",
            "1:",
            ":1",
            "1:2:3",
            "-1",
            "+1",
            "4294967296",
            "1 ",
        ] {
            assert!(
                matches!(built(&["--user", bad, "sh"]), Err(Error::User { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_before_anything_happens() {
        for bad in [&["--cwd", "tmp", "sh"][..], &["-e", "=x", "sh"]] {
            assert!(matches!(built(bad), Err(Error::Invalid { .. })), "{bad:?}");
        }
    }
}
