//! A mount of type cgroup: the container sees its own cgroup, and nothing above it (S9).
//!
//! ```text
//!  cgroup2          a bind of the container's directory
//!  none             an empty read-only tmpfs
//!  rootless         a new cgroup2 mount of the container's cgroup namespace, else as none
//!  v1 and hybrid    a tmpfs with a directory per hierarchy, each a bind of the container's
//!                   directory, links for controllers that share one; then read-only if asked for
//! ```

use init::{Attr, Existing, List, Step, Str, Target};
use oci::runtime as spec;

use super::{
    Error, Plan, Source,
    mounts::{Context, set_read_only},
    options::{MountOptions, NODEV, NOEXEC, NOSUID, RDONLY},
};

pub(super) fn is_cgroup(mount: &spec::Mount) -> bool {
    matches!(mount.type_.as_deref(), Some("cgroup" | "cgroup2"))
}

pub(super) fn push(
    plan: &mut Plan,
    context: &Context<'_>,
    index: usize,
    mount: &spec::Mount,
) -> Result<(), Error> {
    let field = format!("mounts[{index}] ({})", mount.destination);
    let options = MountOptions::parse(&field, &mount.options)?;
    let dest = plan.str(&field, &mount.destination)?;
    let attr = Attr {
        set: options.set,
        clear: options.clear,
        propagation: 0,
    };
    let facts = context.facts;
    let wants_v2 = mount.type_.as_deref() == Some("cgroup2");
    if context.options.without_cgroup() || facts.rootless {
        let linux = context.spec.linux.as_ref();
        let own = linux.is_some_and(|l| l.namespace(spec::NamespaceType::Cgroup).is_some());
        let shown = own && facts.cgroup_v1.is_empty() && !context.options.without_cgroup();
        return new(plan, &field, dest, options.set, shown);
    }
    if facts.cgroup_v1.is_empty() || wants_v2 {
        tree(plan, "", attr, dest);
        return Ok(());
    }
    let fstype = plan.str(&field, "tmpfs")?;
    let words = [plan.str(&field, "mode")?, plan.str(&field, "755")?];
    let list: List = plan.list_of(words);
    plan.push(Step::MountFs {
        fstype,
        source: fstype,
        options: list,
        attr: Attr {
            set: NOSUID | NODEV | NOEXEC,
            ..Attr::default()
        },
        dest,
        target: Target::Dir,
        copy_up: false,
    });
    let base = mount.destination.trim_end_matches('/');
    for (name, controllers) in &facts.cgroup_v1 {
        let Some(first) = controllers.first() else {
            continue;
        };
        let at = plan.str(&field, &format!("{base}/{name}"))?;
        tree(plan, first, attr, at);
        for controller in controllers {
            let link = controller.strip_prefix("name=").unwrap_or(controller);
            if link != name {
                let path = plan.str(&field, &format!("{base}/{link}"))?;
                let to = plan.str(&field, name)?;
                plan.push(Step::Symlink {
                    to,
                    path,
                    existing: Existing::Keep,
                });
            }
        }
    }
    if options.set & RDONLY != 0 {
        set_read_only(plan, dest);
    }
    Ok(())
}

/// A cgroup2 of the cgroup namespace, or in its place an empty directory.
fn new(plan: &mut Plan, field: &str, dest: Str, set: u64, shown: bool) -> Result<(), Error> {
    let fstype = plan.str(field, if shown { "cgroup2" } else { "tmpfs" })?;
    let set = if shown { set } else { set | RDONLY };
    let options = plan.list_of([]);
    plan.push(Step::MountFs {
        fstype,
        source: fstype,
        options,
        attr: Attr {
            set: set | NOSUID | NODEV | NOEXEC,
            ..Attr::default()
        },
        dest,
        target: Target::Dir,
        copy_up: false,
    });
    Ok(())
}

/// A bind that has its attributes before it is attached.
fn tree(plan: &mut Plan, controller: &str, attr: Attr, dest: Str) {
    let tree = plan.fd(Source::CgroupTree(controller.to_owned(), attr));
    plan.push(Step::MountTree {
        tree,
        dest,
        target: Target::Dir,
    });
}
