//! The kernel: its version, and each feature that pods use, tried.

use std::{fs, io, os::fd::AsFd, path::Path};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    thread::UnshareFlags,
};

use super::{Area, Finding, Verdict, trial};

/// The oldest kernel that has all that is used.
const FLOOR: (u32, u32) = (5, 14);

const NEWER: &str =
    "use a kernel of version 5.14 or newer, as Debian 12, Ubuntu 22.04 or RHEL 9 have";
const ROOT: &str = "run this as root; inside a container give it CAP_SYS_ADMIN and no seccomp \
                    profile that forbids this";

/// Looks at the kernel.
pub(crate) fn look() -> Vec<Finding> {
    let mut area = Area::new("kernel");
    version(&mut area);
    privileges(&mut area);
    area.tried(
        "overlay",
        overlay(),
        Verdict::Fail,
        "load the module: modprobe overlay",
    );
    area.tried("mounts by descriptor", mounts(), Verdict::Fail, NEWER);
    area.tried("paths inside a root", openat2(), Verdict::Fail, NEWER);
    area.tried("pidfd", pidfd(), Verdict::Fail, NEWER);
    let clone = sys::probe::clone_into_cgroup().map(|()| "clone3 into a cgroup".to_owned());
    area.tried("clone3", clone, Verdict::Fail, ROOT);
    let seccomp = sys::probe::seccomp_listener().map(|()| "filters and notifications".to_owned());
    area.tried(
        "seccomp",
        seccomp,
        Verdict::Fail,
        "the kernel needs CONFIG_SECCOMP_FILTER; under another listener run on the host itself",
    );
    for (name, flags) in [
        (
            "namespaces",
            UnshareFlags::NEWNS
                | UnshareFlags::NEWIPC
                | UnshareFlags::NEWUTS
                | UnshareFlags::NEWNET
                | UnshareFlags::NEWPID,
        ),
        ("cgroup namespaces", UnshareFlags::NEWCGROUP),
    ] {
        let what = if name == "namespaces" {
            "mount, ipc, uts, net, pid"
        } else {
            "can be made"
        };
        area.tried(
            name,
            leave(flags).map(|()| what.to_owned()),
            Verdict::Fail,
            ROOT,
        );
    }
    area.tried(
        "time namespaces",
        leave(UnshareFlags::NEWTIME).map(|()| "can be made".to_owned()),
        Verdict::Warn,
        "containers with time offsets need CONFIG_TIME_NS",
    );
    area.tried("user namespaces", users(), Verdict::Warn, USERS);
    area.done()
}

const USERS: &str = "pods with hostUsers: false need them: raise user.max_user_namespaces, and set \
                     kernel.unprivileged_userns_clone=1 where that is";

fn version(area: &mut Area) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    match numbers(&release) {
        Some(found) if found >= FLOOR => area.ok("version", release),
        Some(_) => area.fail("version", format!("{release} is older than 5.14"), NEWER),
        None => area.warn("version", format!("{release:?} is no number"), NEWER),
    }
}

fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn privileges(area: &mut Area) {
    if rustix::process::geteuid().is_root() {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        };
        let missing = missing_capabilities(field("CapEff:").unwrap_or(0));
        if missing.is_empty() {
            area.ok("privileges", "root with all that is needed");
        } else {
            area.warn(
                "privileges",
                format!("root lacks {}", missing.join(", ")),
                "give the daemon these capabilities; without them what needs them is an error",
            );
        }
    } else {
        let who = format!("user {}, not root", rustix::process::geteuid());
        area.fail("privileges", who, "run this, and the daemon, as root");
    }
}

/// Those of the capabilities that pods need in use that are not in the set.
fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    const NEEDED: [(u32, &str); 9] = [
        (0, "CAP_CHOWN"),
        (1, "CAP_DAC_OVERRIDE"),
        (5, "CAP_KILL"),
        (12, "CAP_NET_ADMIN"),
        (18, "CAP_SYS_CHROOT"),
        (19, "CAP_SYS_PTRACE"),
        (21, "CAP_SYS_ADMIN"),
        (24, "CAP_SYS_RESOURCE"),
        (27, "CAP_MKNOD"),
    ];
    let lacks = |bit: u32| effective & (1 << bit) == 0;
    let missing = NEEDED.iter().filter(|(bit, _)| lacks(*bit));
    missing.map(|(_, name)| *name).collect()
}

fn overlay() -> io::Result<String> {
    let place = trial::Place::new(&std::env::temp_dir(), "overlay")?;
    trial::with_mounts(|| {
        trial::tmpfs(place.path())?;
        trial::overlay(place.path())?;
        Ok("mounted on a tmpfs, written, removed".to_owned())
    })
}

fn mounts() -> io::Result<String> {
    let place = trial::Place::new(&std::env::temp_dir(), "mounts")?;
    trial::with_mounts(|| {
        trial::tmpfs(place.path())?;
        let copy = sys::mount::detached_copy(place.path(), false)?;
        const MOUNT_ATTR_RDONLY: u64 = 1;
        let attr = sys::mount::MountAttr::new(MOUNT_ATTR_RDONLY, 0, 0);
        sys::mount::set_attr(copy.as_fd(), attr, false)?;
        Ok("open_tree, mount_setattr".to_owned())
    })
}

fn openat2() -> io::Result<String> {
    let root = rustix::fs::open(
        "/proc",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::openat2(
        &root,
        "/../../version",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?;
    Ok("openat2".to_owned())
}

fn pidfd() -> io::Result<String> {
    let me = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let pidfd = sys::pidfd::open(me)?;
    sys::pidfd::send_signal(pidfd.as_fd(), 0)?;
    Ok("open, signal".to_owned())
}

/// Leaves namespaces, in a thread.
fn leave(flags: UnshareFlags) -> io::Result<()> {
    let tried = std::thread::spawn(move || sys::thread::unshare(flags)).join();
    tried.unwrap_or_else(|_| Err(io::Error::other("the trial panicked")))
}

/// A user namespace needs a process of its own: this program again, see [`run_inside`]. Its ids are
/// mapped from outside, then a mount is mapped by it.
fn users() -> io::Result<String> {
    use std::{
        io::{Read, Write},
        process::{Command, Stdio},
    };
    let mut child = Command::new("/proc/self/exe")
        .args(["doctor", "--inside"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let result = (|| {
        let mut said = String::new();
        let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut byte = [0_u8; 1];
        while stdout.read(&mut byte)? == 1 && byte[0] != b'\n' {
            said.push(char::from(byte[0]));
        }
        if said != READY {
            return Err(io::Error::other(if said.is_empty() {
                "the trial ended without a word".to_owned()
            } else {
                said
            }));
        }
        let proc = Path::new("/proc").join(child.id().to_string());
        for map in ["uid_map", "gid_map"] {
            let mut file = fs::OpenOptions::new().write(true).open(proc.join(map))?;
            file.write_all(b"0 100000 65536")?;
        }
        let namespace = fs::File::open(proc.join("ns/user"))?;
        let place = trial::Place::new(&std::env::temp_dir(), "idmap")?;
        let mapped = trial::with_mounts(|| {
            trial::tmpfs(place.path())?;
            let copy = sys::mount::detached_copy(place.path(), false)?;
            sys::mount::map_ids(copy.as_fd(), namespace.as_fd(), false)
        });
        Ok(match mapped {
            Ok(()) => "with mapped ids and id-mapped mounts".to_owned(),
            Err(error) => format!("with mapped ids; id-mapped mounts: {error}"),
        })
    })();
    // The end of its input ends it.
    drop(child.stdin.take());
    child.wait()?;
    result
}

const READY: &str = "ready";

/// The child of [`users`]: leaves its user namespace, says so, and waits for the end of its input.
/// Called before anything makes a second thread.
pub(crate) fn run_inside() -> io::Result<()> {
    use std::io::{Read, Write};
    let mut stdout = io::stdout();
    match sys::thread::unshare(UnshareFlags::NEWUSER) {
        Ok(()) => writeln!(stdout, "{READY}")?,
        Err(error) => writeln!(stdout, "{error}")?,
    }
    stdout.flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("6.18.5-cloud"), Some((6, 18)));
        assert_eq!(numbers("5.9.0"), Some((5, 9)));
        assert!(numbers("5.9.0") < Some(FLOOR));
        assert_eq!(numbers("linux"), None);
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing_capabilities(u64::MAX), [""; 0]);
        assert_eq!(missing_capabilities(!(1 << 24)), ["CAP_SYS_RESOURCE"]);
    }

    #[test]
    fn this_kernel_can_do_what_is_tried() {
        overlay().unwrap();
        mounts().unwrap();
        openat2().unwrap();
        pidfd().unwrap();
        leave(UnshareFlags::NEWUTS).unwrap();
    }
}
