//! The sysctls of the host that the network needs, and those of a pod's new namespace.
//!
//! ```text
//! host   net.ipv4.ip_forward = 1                      pods' packets are passed on
//!        net.ipv6.conf.all.forwarding = 1             the same; interfaces that listened to router
//!                                                     advertisements go on doing so (accept_ra 2)
//!        net.ipv4.conf.<bridge>.route_localnet = 1    127.0.0.1:<published port> reaches a pod; the
//!                                                     table's guard keeps pods from the host's 127/8
//!        net.ipv6.conf.<bridge>.disable_ipv6 = 0, accept_ra = 0, accept_dad = 0
//! pod    net.ipv6.conf.default.accept_ra = 0          a pod can't become the router of another
//!        net.ipv6.conf.default.accept_dad = 0         addresses are usable at once
//!        net.ipv4.ip_unprivileged_port_start = 0      any user of the pod may listen on port 80 …
//!        net.ipv4.ping_group_range = 0 2147483647     … and ping: the ports are the pod's own
//! ```
//! `/proc/sys/net` shows the namespace of the thread that looks. A value is written only when it is
//! another one. Nothing is set back: others may rely on it by then.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Error;

const ROOT: &str = "/proc/sys/net";

/// Whether this kernel speaks IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new(ROOT).join("ipv6/conf").is_dir()
}

/// Sets what all pods of this host need.
///
/// # Errors
/// [`Error::Sysctl`], as where /proc/sys is read-only.
pub(crate) fn host(bridge: &str, ipv4: bool, ipv6: bool) -> Result<(), Error> {
    if ipv4 {
        set("ipv4/ip_forward", "1")?;
        set(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
    }
    if ipv6 {
        keep_router_advertisements()?;
        set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Sets what the bridge needs before it gets IPv6 addresses.
///
/// # Errors
/// As [`host`].
pub(crate) fn bridge_ipv6(bridge: &str) -> Result<(), Error> {
    for (name, value) in [
        ("disable_ipv6", "0"),
        ("accept_ra", "0"),
        ("accept_dad", "0"),
    ] {
        set(&format!("ipv6/conf/{bridge}/{name}"), value)?;
    }
    Ok(())
}

/// Sets what people expect of a namespace that is theirs alone, in the calling thread's namespace.
/// What a pod's request says is set later, and wins.
///
/// # Errors
/// As [`host`].
pub(crate) fn namespace() -> Result<(), Error> {
    for (name, value) in [
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0\t2147483647"),
    ] {
        // A kernel can be without IPv4.
        if Path::new(ROOT).join(name).exists() {
            set(name, value)?;
        }
    }
    Ok(())
}

/// Sets what a pod's interfaces are to begin with, in the calling thread's namespace.
///
/// # Errors
/// As [`host`].
pub(crate) fn pod() -> Result<(), Error> {
    if has_ipv6() {
        set("ipv6/conf/default/accept_ra", "0")?;
        set("ipv6/conf/default/accept_dad", "0")?;
    }
    Ok(())
}

/// A host that forwards ignores router advertisements unless told otherwise: an interface that has
/// its default route from one would lose it.
fn keep_router_advertisements() -> Result<(), Error> {
    if read(&PathBuf::from(ROOT).join("ipv6/conf/all/forwarding")).as_deref() == Some("1") {
        return Ok(());
    }
    for entry in fs::read_dir(Path::new(ROOT).join("ipv6/conf"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path().join("accept_ra");
        let name = entry.file_name();
        if name != "all" && name != "default" && name != "lo" && read(&path).as_deref() == Some("1")
        {
            write(&path, "2")?;
        }
    }
    Ok(())
}

fn set(name: &str, value: &'static str) -> Result<(), Error> {
    let path = Path::new(ROOT).join(name);
    if read(&path).as_deref() == Some(value) {
        return Ok(());
    }
    write(&path, value)
}

fn write(path: &Path, value: &'static str) -> Result<(), Error> {
    fs::write(path, value).map_err(|source: io::Error| Error::Sysctl {
        path: path.to_owned(),
        value,
        source,
    })
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim_end().to_owned())
}
