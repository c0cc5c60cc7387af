//! Device nodes and links in /dev: those that every container has, and the document's.

use init::{Attr, Existing, Fd, Step, Target};
use oci::runtime::{self as spec, LinuxDeviceType};

use super::{
    Error, Node, Plan, Propagation, Source, Tree,
    namespaces::on_host,
    options::{MS_REC, MountOptions},
    places::same_path,
    tree,
};
use crate::host::Facts;

const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// /dev is a bind of somebody else's: nothing is made in it.
pub(super) fn dev_is_bound(spec: &spec::Spec) -> bool {
    spec.mounts.iter().any(|m| {
        same_path(&m.destination, "/dev")
            && (m.type_.as_deref() == Some("bind")
                || MountOptions::parse("", &m.options).is_ok_and(|o| o.bind.is_some()))
    })
}

/// Steps that fill /dev.
pub(super) fn push(
    plan: &mut Plan,
    facts: &Facts,
    spec: &spec::Spec,
    in_user_namespace: bool,
    propagation: Propagation,
    made: Option<Fd>,
) -> Result<(), Error> {
    if dev_is_bound(spec) {
        return Ok(());
    }
    let listed = spec
        .linux
        .as_ref()
        .map(|l| l.devices.as_slice())
        .unwrap_or_default();
    for (path, major, minor) in DEFAULT {
        if !listed.iter().any(|d| same_path(&d.path, path)) {
            let device = spec::LinuxDevice {
                path: path.to_owned(),
                type_: LinuxDeviceType::C,
                major: i64::from(major),
                minor: i64::from(minor),
                ..spec::LinuxDevice::default()
            };
            node(plan, facts, "/dev", &device, in_user_namespace, propagation)?;
        }
    }
    // Only where a devpts of the container's own is; else the link would lead nowhere, or to ours.
    let own_terminals = spec
        .mounts
        .iter()
        .any(|m| same_path(&m.destination, "/dev/pts"));
    for (index, device) in listed.iter().enumerate() {
        if own_terminals && same_path(&device.path, "/dev/ptmx") {
            // The link below is it.
            continue;
        }
        let field = format!("linux.devices[{index}] ({})", device.path);
        if let Some(tree) = made.filter(|_| is_made_outside(device)) {
            let to = plan.fd(Source::Later);
            let name = plan.str(&field, &index.to_string())?;
            plan.push(Step::CloneFile { tree, name, to });
            let dest = plan.str(&field, &device.path)?;
            plan.push(Step::MountTree {
                tree: to,
                dest,
                target: Target::File,
            });
            continue;
        }
        node(plan, facts, &field, device, in_user_namespace, propagation)?;
    }
    for (to, path) in LINKS {
        let (to, path) = (plan.str("/dev", to)?, plan.str("/dev", path)?);
        plan.push(Step::Symlink {
            to,
            path,
            existing: Existing::Keep,
        });
    }
    if own_terminals {
        let (to, path) = (
            plan.str("/dev", "pts/ptmx")?,
            plan.str("/dev", "/dev/ptmx")?,
        );
        plan.push(Step::Symlink {
            to,
            path,
            existing: Existing::Replace,
        });
    }
    Ok(())
}

/// The document's devices on a filesystem of their own, for a new user namespace, which can make none;
/// it must be attached before the root is.
pub(super) fn outside(
    plan: &mut Plan,
    facts: &Facts,
    spec: &spec::Spec,
) -> Result<Option<Fd>, Error> {
    const CAP_MKNOD: u64 = 1 << 27;
    let Some(linux) = &spec.linux else {
        return Ok(None);
    };
    let user = linux.namespace(spec::NamespaceType::User);
    let new = user.is_some_and(|user| user.join_path().is_none());
    if !new
        || facts.rootless
        || facts.capabilities & CAP_MKNOD == 0
        || dev_is_bound(spec)
        || !linux.devices.iter().any(is_made_outside)
    {
        return Ok(None);
    }
    let mut nodes = Vec::new();
    for (index, device) in linux.devices.iter().enumerate() {
        let field = format!("linux.devices[{index}] ({})", device.path);
        let id = |which: &str, id: Option<u32>, maps: &[spec::LinuxIdMapping]| {
            let id = id.unwrap_or(0);
            on_host(maps, id, 1)
                .ok_or_else(|| Error::invalid(&field, format!("{which} {id} is not mapped")))
        };
        nodes.push(Node {
            path: device.path.clone(),
            mode: mode(&field, device)?,
            major: number(&field, "major", device.major)?,
            minor: number(&field, "minor", device.minor)?,
            uid: id("uid", device.uid, &linux.uid_mappings)?,
            gid: id("gid", device.gid, &linux.gid_mappings)?,
        });
    }
    let tree = plan.fd(Source::Nodes(nodes));
    plan.push(Step::AttachAside { tree });
    Ok(Some(tree))
}

/// Only fifos are a user namespace's to make.
fn is_made_outside(device: &spec::LinuxDevice) -> bool {
    device.type_ != LinuxDeviceType::P
}

/// Type and permissions.
fn mode(field: &str, device: &spec::LinuxDevice) -> Result<u32, Error> {
    let kind = match device.type_ {
        LinuxDeviceType::B => 0o060_000,
        LinuxDeviceType::C | LinuxDeviceType::U => 0o020_000,
        LinuxDeviceType::P => 0o010_000,
        LinuxDeviceType::A => {
            return Err(Error::invalid(
                field,
                "type a is for device rules, not for nodes",
            ));
        }
    };
    Ok(kind | device.file_mode.map_or(0o666, spec::FileMode::bits))
}

fn number(field: &str, name: &str, value: i64) -> Result<u32, Error> {
    u32::try_from(value)
        .map_err(|_| Error::invalid(field, format!("{name} {value} is out of range")))
}

fn node(
    plan: &mut Plan,
    facts: &Facts,
    field: &str,
    device: &spec::LinuxDevice,
    in_user_namespace: bool,
    propagation: Propagation,
) -> Result<(), Error> {
    let mode = mode(field, device)?;
    if is_made_outside(device) && in_user_namespace {
        // mknod is not for user namespaces: the host's node is bound.
        let attrs = vec![(
            Attr {
                propagation: propagation & !MS_REC,
                ..Attr::default()
            },
            false,
        )];
        let tree = Tree {
            path: device.path.clone().into(),
            dest: device.path.clone(),
            recursive: false,
            itself: false,
            attrs,
            unsaid: 0,
            id_map: None,
        };
        let dest = plan.str(field, &device.path)?;
        let tree = tree::open(plan, facts, field, tree, None)?;
        plan.push(Step::MountTree {
            tree,
            dest,
            target: Target::File,
        });
        return Ok(());
    }
    let path = plan.str(field, &device.path)?;
    plan.push(Step::Mknod {
        path,
        mode,
        major: number(field, "major", device.major)?,
        minor: number(field, "minor", device.minor)?,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    });
    Ok(())
}
