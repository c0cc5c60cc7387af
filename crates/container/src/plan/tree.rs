//! Detached binds: opened by the parent before the clone, or, where it has no privilege for that, by the
//! child in its own namespaces.

use init::{Attr, Fd, Step};

use super::{Error, Plan, Source, Tree};
use crate::host::Facts;

/// The descriptor of a bind.
pub(super) fn open(plan: &mut Plan, facts: &Facts, field: &str, tree: Tree) -> Result<Fd, Error> {
    if !facts.rootless {
        return Ok(plan.fd(Source::Tree(Box::new(tree))));
    }
    if tree.id_map.is_some() {
        return Err(Error::unsupported(
            field,
            "an id-mapped mount needs CAP_SYS_ADMIN over its filesystem, which we do not have",
        ));
    }
    let path = tree.path.to_string_lossy();
    let fd = take(plan, field, &path, tree.recursive, tree.itself)?;
    for (attr, recursive) in tree.attrs {
        plan.push(Step::TreeAttr {
            tree: fd,
            attr,
            recursive,
        });
    }
    Ok(fd)
}

/// The descriptor of the root filesystem.
pub(super) fn root(
    plan: &mut Plan,
    facts: &Facts,
    path: Option<&std::path::Path>,
    propagation: u64,
) -> Result<Fd, Error> {
    if !facts.rootless {
        return Ok(plan.fd(Source::Rootfs(propagation)));
    }
    let path = path.ok_or_else(|| {
        Error::unsupported(
            "a root filesystem by descriptor",
            "without CAP_SYS_ADMIN it is opened by its path",
        )
    })?;
    let tree = take(plan, "root.path", &path.to_string_lossy(), true, false)?;
    let attr = Attr {
        propagation,
        ..Attr::default()
    };
    plan.push(Step::TreeAttr {
        tree,
        attr,
        recursive: true,
    });
    Ok(tree)
}

/// The descriptor of the null device.
pub(super) fn null(plan: &mut Plan, facts: &Facts) -> Result<Fd, Error> {
    if facts.rootless {
        return take(plan, "linux.maskedPaths", "/dev/null", false, false);
    }
    Ok(plan.fd(Source::NullTree))
}

fn take(
    plan: &mut Plan,
    field: &str,
    path: &str,
    recursive: bool,
    itself: bool,
) -> Result<Fd, Error> {
    let path = plan.str(field, path)?;
    let to = plan.fd(Source::Later);
    plan.push(Step::CloneTree {
        path,
        to,
        recursive,
        itself,
    });
    Ok(to)
}
