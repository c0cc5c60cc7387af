//! The namespaces that a pod's containers share. A helper thread leaves the agent's ipc and uts
//! namespaces, configures the new ones and ends; the namespaces live on by the descriptors taken from
//! it. Containers join them as `/proc/self/fd/<n>`, which the launch resolves in this process.
//!
//! ```text
//! helper thread                         agent
//!   setns(net), unshare(ipc, uts)
//!   sethostname, write sysctls
//!   open /proc/thread-self/ns/* ----->  Namespaces { ipc, uts, net }
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::error::Error;

/// What to make.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) ipc: bool,
    pub(crate) uts: bool,
    /// Empty: the inherited name.
    pub(crate) hostname: String,
    /// A network namespace made by someone else.
    pub(crate) net: Option<PathBuf>,
    pub(crate) sysctls: BTreeMap<String, String>,
}

/// Namespaces held by descriptor; None: the agent's own.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    pub(crate) ipc: Option<OwnedFd>,
    pub(crate) uts: Option<OwnedFd>,
    pub(crate) net: Option<OwnedFd>,
}

/// A path by which a namespace that is held by descriptor can be opened in this process.
pub(crate) fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Makes the namespaces. Blocks; nothing of it outlives an error.
///
/// # Errors
/// A sysctl that does not belong to one of the pod's own namespaces, a file that is no network
/// namespace, or the system call's reason.
pub(crate) fn make(wanted: Wanted) -> Result<Namespaces, Error> {
    if !wanted.hostname.is_empty() && !wanted.uts {
        let why = "the pod uses the host's uts namespace, whose name is not changed";
        return Err(Error::invalid(
            format!("hostname {:?}", wanted.hostname),
            why,
        ));
    }
    for name in wanted.sysctls.keys() {
        check_sysctl(name, &wanted)?;
    }
    let net = wanted.net.as_deref().map(open_net).transpose()?;
    if !wanted.ipc && !wanted.uts && wanted.sysctls.is_empty() {
        return Ok(Namespaces {
            net,
            ..Default::default()
        });
    }
    let thread = std::thread::Builder::new()
        .name("namespaces".into())
        .stack_size(64 * 1024);
    let joined = thread
        .spawn(move || in_thread(&wanted, net))
        .map_err(|e| Error::io("start", "the thread that makes namespaces", e))?
        .join();
    joined.unwrap_or_else(|_| {
        Err(Error::Internal(
            "the thread that makes namespaces died".into(),
        ))
    })
}

fn open_net(path: &Path) -> Result<OwnedFd, Error> {
    let file = File::open(path)
        .map_err(|e| Error::io("open", format!("network namespace {}", path.display()), e))?;
    Ok(file.into())
}

fn in_thread(wanted: &Wanted, net: Option<OwnedFd>) -> Result<Namespaces, Error> {
    if let Some(net) = &net {
        let path = wanted.net.as_deref().unwrap_or(Path::new("")).display();
        move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| Error::io("enter", format!("network namespace {path}"), e))?;
    }
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWIPC, wanted.ipc);
    flags.set(UnshareFlags::NEWUTS, wanted.uts);
    sys::thread::unshare(flags).map_err(|e| Error::io("make", "the pod's namespaces", e))?;
    if !wanted.hostname.is_empty() {
        rustix::system::sethostname(wanted.hostname.as_bytes())
            .map_err(|e| Error::io("set", format!("hostname {:?}", wanted.hostname), e))?;
    }
    for (name, value) in &wanted.sysctls {
        write_sysctl(name, value)?;
    }
    let open = |wanted: bool, name: &str| {
        let path = format!("/proc/thread-self/ns/{name}");
        let file = wanted.then(|| File::open(&path).map_err(|e| Error::io("open", &path, e)));
        file.transpose().map(|f| f.map(OwnedFd::from))
    };
    Ok(Namespaces {
        ipc: open(wanted.ipc, "ipc")?,
        uts: open(wanted.uts, "uts")?,
        net,
    })
}

/// A sysctl may be set only in a namespace that is the pod's own; anything else would be the node's.
fn check_sysctl(name: &str, wanted: &Wanted) -> Result<(), Error> {
    let name = name.replace('/', ".");
    let ipc = [
        "kernel.shmmax",
        "kernel.shmall",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ]
    .contains(&name.as_str())
        || name == "kernel.sem"
        || name.starts_with("kernel.msg")
        || name.starts_with("fs.mqueue.");
    let (own, kind) = match name.as_str() {
        _ if ipc => (wanted.ipc, "ipc"),
        "kernel.domainname" => (wanted.uts, "uts"),
        n if n.starts_with("net.") => (wanted.net.is_some(), "network"),
        _ => {
            return Err(Error::invalid(
                format!("sysctl {name}"),
                "it belongs to no namespace of a pod",
            ));
        }
    };
    match own {
        true => Ok(()),
        false => {
            let why = format!("the pod shares the node's {kind} namespace");
            Err(Error::invalid(format!("sysctl {name}"), why))
        }
    }
}

fn write_sysctl(name: &str, value: &str) -> Result<(), Error> {
    // Both forms exist: a.b.c, and a/b/c for names with dots in a part (interface names).
    let path = match name.contains('/') {
        true => name.to_owned(),
        false => name.replace('.', "/"),
    };
    let bad = path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..");
    if bad {
        return Err(Error::invalid(
            format!("sysctl {name:?}"),
            "not the name of a sysctl",
        ));
    }
    let failed = |e| Error::io("set", format!("sysctl {name} to {value:?}"), e);
    let mut file = OpenOptions::new()
        .write(true)
        .open(format!("/proc/sys/{path}"))
        .map_err(failed)?;
    file.write_all(value.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pods_own_sysctls_are_set() {
        let own = Wanted {
            ipc: true,
            uts: true,
            net: Some("/n".into()),
            ..Default::default()
        };
        let none = Wanted::default();
        for (name, allowed) in [
            ("kernel.shmmax", true),
            ("kernel/msgmax", true),
            ("fs.mqueue.msg_max", true),
            ("net.ipv4.ip_forward", true),
            ("kernel.domainname", true),
            ("kernel.panic", false),
            ("kernel.shmfoo", false),
            ("vm.swappiness", false),
            ("kernel.hostname", false),
        ] {
            assert_eq!(check_sysctl(name, &own).is_ok(), allowed, "{name}");
            assert!(check_sysctl(name, &none).is_err(), "{name}");
        }
        let error = write_sysctl("net/../kernel/panic", "1").unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }));
    }
}
