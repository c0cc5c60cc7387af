//! Detached binds: opened by the parent before the clone, or, where it has no privilege for that, by the
//! child in its own namespaces.

use init::{Attr, Fd, Step};

use super::{Error, Plan, Source, Tree};
use crate::host::Facts;

/// The descriptor of a bind. `inside`: where in the container its source is, if earlier mounts have to be
/// there first.
pub(super) fn open(
    plan: &mut Plan,
    facts: &Facts,
    field: &str,
    tree: Tree,
    inside: Option<&str>,
) -> Result<Fd, Error> {
    if !facts.rootless && inside.is_none() {
        return Ok(plan.fd(Source::Tree(Box::new(tree))));
    }
    if tree.id_map.is_some() && facts.rootless {
        return Err(Error::unsupported(
            field,
            "an id-mapped mount needs CAP_SYS_ADMIN over its filesystem, which we do not have",
        ));
    }
    let path = tree.path.to_string_lossy();
    let from = inside.map_or(From::Host(&path), From::Container);
    let fd = take(plan, field, from, tree.recursive, tree.itself)?;
    if tree.id_map.is_some() {
        if let Some(taken) = plan.fds.get_mut(usize::from(fd.0)) {
            *taken = Source::Taken(Box::new(tree));
        }
        plan.push(Step::MapIds { tree: fd });
        return Ok(fd);
    }
    if tree.unsaid != 0 {
        plan.push(Step::TreeAttr {
            tree: fd,
            attr: Attr {
                clear: tree.unsaid,
                ..Attr::default()
            },
            recursive: false,
            // Whoever gave us the mount keeps it so.
            unless_locked: true,
        });
    }
    for (attr, recursive) in tree.attrs {
        plan.push(Step::TreeAttr {
            tree: fd,
            attr,
            recursive,
            unless_locked: false,
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
    let tree = take(
        plan,
        "root.path",
        From::Host(&path.to_string_lossy()),
        true,
        false,
    )?;
    let attr = Attr {
        propagation,
        ..Attr::default()
    };
    plan.push(Step::TreeAttr {
        tree,
        attr,
        recursive: true,
        unless_locked: false,
    });
    Ok(tree)
}

/// The descriptor of the null device.
pub(super) fn null(plan: &mut Plan, facts: &Facts) -> Result<Fd, Error> {
    if facts.rootless {
        return take(
            plan,
            "linux.maskedPaths",
            From::Host("/dev/null"),
            false,
            false,
        );
    }
    Ok(plan.fd(Source::NullTree))
}

/// Whose path it is.
enum From<'a> {
    Host(&'a str),
    Container(&'a str),
}

fn take(
    plan: &mut Plan,
    field: &str,
    from: From<'_>,
    recursive: bool,
    itself: bool,
) -> Result<Fd, Error> {
    let (path, inside) = match from {
        From::Host(path) => (path, false),
        From::Container(path) => (path, true),
    };
    let path = plan.str(field, path)?;
    let to = plan.fd(Source::Later);
    plan.push(Step::CloneTree {
        path,
        to,
        recursive,
        itself,
        inside,
    });
    Ok(to)
}
