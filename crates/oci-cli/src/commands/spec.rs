//! `spec`: writes a document to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use oci::runtime::{NamespaceType, example, print, rootless_example};

use crate::args::Spec;
use crate::error::Error;

#[inline(never)]
pub(crate) fn command(args: &Spec) -> Result<i32, Error> {
    let mut spec = if args.rootless {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        rootless_example(uid.as_raw(), gid.as_raw())
    } else {
        example()
    };
    if let Some(linux) = &mut spec.linux
        && !unified_cgroups()
    {
        // Without one the container sees of each hierarchy its own cgroup, by its whole name.
        linux
            .namespaces
            .retain(|namespace| namespace.type_ != NamespaceType::Cgroup);
    }
    let dir = args.bundle.as_deref().unwrap_or(Path::new(""));
    let path = dir.join(args.config.as_deref().unwrap_or(Path::new("config.json")));
    let text = print(&spec)? + "\n";
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| {
            let act = match error.kind() {
                io::ErrorKind::AlreadyExists => "write (a file exists there: remove it first)",
                _ => "write",
            };
            Error::file(act, &path)(error)
        })?;
    file.write_all(text.as_bytes())
        .map_err(Error::file("write", &path))?;
    Ok(0)
}

/// Whether this machine has cgroup v2 and nothing else: there alone runc's document has a cgroup
/// namespace.
fn unified_cgroups() -> bool {
    const CGROUP2: rustix::fs::FsWord = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2)
}
