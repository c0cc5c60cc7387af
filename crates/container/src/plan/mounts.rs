//! Mounts of the document as steps.

use std::path::Path;

use init::{Attr, Existing, List, Step, Str, Target};
use oci::runtime as spec;

use super::{
    Error, IdMap, IdMaps, Ids, Options, Plan, Propagation, Tree, cgroup, id_maps,
    options::{
        ATIME, MS_REC, MS_SHARED, MS_SLAVE, MountOptions, NODEV, NODIRATIME, NOEXEC, NOSUID,
        NOSYMFOLLOW, RDONLY,
    },
    places::{inside, same_path},
    tree,
};
use crate::host::Facts;

/// fsconfig takes strings up to here; longer ones need mount(2).
const FSCONFIG_MAX: usize = 255;
/// Filesystems that have no superblock of their own to be read-only.
const VIRTUAL: [&str; 8] = [
    "tmpfs", "proc", "sysfs", "mqueue", "devpts", "devtmpfs", "ramfs", "bpf",
];

/// What all mounts of a container have in common.
pub(super) struct Context<'a> {
    pub(super) facts: &'a Facts,
    pub(super) options: &'a Options,
    pub(super) spec: &'a spec::Spec,
    /// Of the mount namespace, and so of binds that say nothing else.
    pub(super) propagation: Propagation,
}

/// Steps of all mounts, in their order.
pub(super) fn push_all(plan: &mut Plan, context: &Context<'_>) -> Result<(), Error> {
    for (index, mount) in context.spec.mounts.iter().enumerate() {
        if cgroup::is_cgroup(mount) {
            cgroup::push(plan, context, index, mount)?;
        } else {
            push(plan, context, index, mount)?;
        }
    }
    Ok(())
}

/// Steps of `mounts[index]`.
fn push(
    plan: &mut Plan,
    context: &Context<'_>,
    index: usize,
    mount: &spec::Mount,
) -> Result<(), Error> {
    let field = format!("mounts[{index}] ({})", mount.destination);
    let mut options = MountOptions::parse(&field, &mount.options)?;
    if let Some(target) = context.options.links.get(&index) {
        let (to, path) = (
            plan.str(&field, target)?,
            plan.str(&field, &mount.destination)?,
        );
        plan.push(Step::Symlink {
            to,
            path,
            existing: Existing::Same,
        });
        return Ok(());
    }
    if mount.type_.as_deref() == Some("bind") && options.bind.is_none() && !options.remount {
        options.bind = Some(false);
    }
    if options.remount {
        return remount(plan, &field, mount, &options);
    }
    if options.bind.is_some() {
        return bind(plan, context, index, &field, mount, &options);
    }
    let type_ = mount
        .type_
        .as_deref()
        .filter(|t| !t.is_empty() && *t != "none");
    let Some(type_) = type_ else {
        return Err(Error::invalid(
            field,
            "no type, and neither bind nor remount",
        ));
    };
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() || options.id_map.is_some()
    {
        return Err(Error::unsupported(field, "id mappings are for bind mounts"));
    }
    if type_ == "sysfs" && sysfs_is_the_hosts(context.spec) {
        return host_sysfs(plan, context, index, &field, mount, options);
    }
    label(context.spec, type_, &mut options);
    if read_only_late(context.spec, index, mount, &options) {
        options.set &= !RDONLY;
    }
    filesystem(plan, &field, mount, type_, &options)
}

/// sysfs shows a network namespace: in a user namespace it can be mounted only together with one.
fn sysfs_is_the_hosts(spec: &spec::Spec) -> bool {
    let namespace = |type_| spec.linux.as_ref().and_then(|l| l.namespace(type_));
    namespace(spec::NamespaceType::User).is_some_and(|user| user.join_path().is_none())
        && namespace(spec::NamespaceType::Network).is_none()
}

/// The host's sysfs in its place, as crun has it; where nothing else is mounted on the host's cgroups,
/// an empty directory is.
fn host_sysfs(
    plan: &mut Plan,
    context: &Context<'_>,
    index: usize,
    field: &str,
    mount: &spec::Mount,
    mut options: MountOptions,
) -> Result<(), Error> {
    options.bind = Some(true);
    options.rec_set |= options.set;
    options.set = 0;
    let bound = spec::Mount {
        source: Some("/sys".to_owned()),
        ..mount.clone()
    };
    bind(plan, context, index, field, &bound, &options)?;
    let cgroups = format!("{}/fs/cgroup", mount.destination.trim_end_matches('/'));
    let covered = |m: &spec::Mount| same_path(&m.destination, &cgroups);
    if context.spec.mounts.iter().any(covered) {
        return Ok(());
    }
    let fstype = plan.str(field, "tmpfs")?;
    let (key, value) = (plan.str(field, "mode")?, plan.str(field, "755")?);
    let options = plan.list_of([key, value]);
    let dest = plan.str(field, &cgroups)?;
    plan.push(Step::MountFs {
        fstype,
        source: fstype,
        options,
        attr: Attr {
            set: RDONLY | NOSUID | NODEV | NOEXEC,
            ..Attr::default()
        },
        dest,
        target: Target::Dir,
        copy_up: false,
    });
    Ok(())
}

/// A tmpfs that is to be read-only, with something in it that is made after it: it becomes so when all
/// that is there, as with runc.
fn read_only_late(spec: &spec::Spec, index: usize, mount: &spec::Mount, o: &MountOptions) -> bool {
    let dest = mount.destination.as_str();
    let later = spec.mounts.get(index + 1..).unwrap_or_default();
    let inside = |m: &spec::Mount| Path::new(&m.destination).starts_with(dest);
    mount.type_.as_deref() == Some("tmpfs")
        && o.bind.is_none()
        && !o.remount
        && o.set & RDONLY != 0
        && (same_path(dest, "/dev") || later.iter().any(inside))
        && !later.iter().any(|m| same_path(&m.destination, dest))
}

/// The steps that were put off for [`read_only_late`].
pub(super) fn make_read_only(plan: &mut Plan, spec: &spec::Spec) -> Result<(), Error> {
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}] ({})", mount.destination);
        let options = MountOptions::parse(&field, &mount.options)?;
        if read_only_late(spec, index, mount, &options) {
            let dest = plan.str(&field, &mount.destination)?;
            set_read_only(plan, dest);
        }
    }
    Ok(())
}

/// Makes the mount at `dest` read-only, not those below it.
pub(super) fn set_read_only(plan: &mut Plan, dest: Str) {
    let attr = Attr {
        set: RDONLY,
        ..Attr::default()
    };
    plan.push(Step::SetAttr {
        dest,
        attr,
        recursive: false,
    });
}

/// SELinux: a filesystem of the container's own gets its label. Those that the kernel labels itself do
/// not take one.
fn label(spec: &spec::Spec, type_: &str, options: &mut MountOptions) {
    let label = spec.linux.as_ref().and_then(|l| l.mount_label.as_deref());
    let given = options.data.iter().any(|(key, _)| key.ends_with("context"));
    if let Some(label) = label.filter(|l| !l.is_empty() && !given)
        && !matches!(type_, "proc" | "sysfs" | "mqueue")
    {
        options
            .data
            .push(("context".to_owned(), Some(label.to_owned())));
    }
}

fn remount(
    plan: &mut Plan,
    field: &str,
    mount: &spec::Mount,
    o: &MountOptions,
) -> Result<(), Error> {
    let dest = plan.str(field, &mount.destination)?;
    if !o.data.is_empty() || !o.superblock.is_empty() {
        let options = words(plan, field, o)?;
        plan.push(Step::Reconfigure { dest, options });
    }
    for (attr, recursive) in attrs(o) {
        plan.push(Step::SetAttr {
            dest,
            attr,
            recursive,
        });
    }
    Ok(())
}

/// The mount_setattr calls that the options mean, apart from propagation of a new bind.
fn attrs(o: &MountOptions) -> Vec<(Attr, bool)> {
    let mut attrs = Vec::new();
    if o.set | o.clear != 0 {
        attrs.push((
            Attr {
                set: o.set,
                clear: o.clear,
                propagation: 0,
            },
            false,
        ));
    }
    if o.rec_set | o.rec_clear != 0 {
        attrs.push((
            Attr {
                set: o.rec_set,
                clear: o.rec_clear,
                propagation: 0,
            },
            true,
        ));
    }
    for &kind in &o.propagation {
        let attr = Attr {
            propagation: kind & !MS_REC,
            ..Attr::default()
        };
        attrs.push((attr, kind & MS_REC != 0));
    }
    attrs
}

fn bind(
    plan: &mut Plan,
    context: &Context<'_>,
    index: usize,
    field: &str,
    mount: &spec::Mount,
    o: &MountOptions,
) -> Result<(), Error> {
    let source = mount.source.as_deref().filter(|s| !s.is_empty());
    let Some(source) = source else {
        return Err(Error::invalid(field, "a bind mount without source"));
    };
    let words = o.data.iter().map(|(key, _)| key.as_str());
    let mut words: Vec<&str> = words.chain(o.copy_up.then_some("tmpcopyup")).collect();
    if !words.is_empty() {
        // What a filesystem takes ("mode=777"), the kernel and runc pass over; a lone word is no option.
        let said = |(_, value): &(String, Option<String>)| value.is_some();
        let harmless = o.data.iter().all(said) && !o.copy_up;
        words.insert(0, "options that a bind mount does not have:");
        let text = words.join(" ");
        if !harmless {
            return Err(Error::invalid(field, text));
        }
        plan.notes.push(format!("{field}: {text}"));
    }
    let recursive = o.bind == Some(true);
    // A bind that says nothing follows the namespace, as if it had been made inside it. One that is to
    // be shared, or says nothing of the mounts below it, is first cut off from the host.
    let says_less = |p: &u64| p & MS_SHARED != 0 || (recursive && p & MS_REC == 0);
    let inherit = o.propagation.is_empty()
        || (context.propagation & MS_SHARED == 0 && o.propagation.iter().any(says_less));
    let mut list = attrs(o);
    if inherit {
        let attr = Attr {
            propagation: context.propagation & !MS_REC,
            ..Attr::default()
        };
        list.insert(0, (attr, true));
    }
    let tree = Tree {
        path: context.options.bundle.join(source),
        dest: mount.destination.clone(),
        recursive,
        itself: o.source_itself,
        unsaid: unsaid(context, o),
        attrs: merge(list),
        id_map: id_map(context, field, mount, o)?,
    };
    let dest = plan.str(field, &mount.destination)?;
    let inside = inside(context, index, &tree.path, recursive);
    let tree = tree::open(plan, context.facts, field, tree, inside.as_deref())?;
    plan.push(Step::MountTree {
        tree,
        dest,
        target: match o.dest_itself {
            true => Target::Itself,
            false => Target::LikeSource,
        },
    });
    Ok(())
}

/// What a bind loses that says anything about attributes: what it does not say, as with runc, where one
/// that says nothing keeps what its source has. In a user namespace the kernel would let nobody have less
/// than the source but for what it does not lock.
fn unsaid(context: &Context<'_>, o: &MountOptions) -> u64 {
    if o.set | o.clear == 0 || context.facts.rootless {
        return 0;
    }
    let linux = context.spec.linux.as_ref();
    if linux.is_some_and(|l| l.namespace(spec::NamespaceType::User).is_some()) {
        return NOSYMFOLLOW & !o.set & !o.rec_set;
    }
    let times = ATIME | NODIRATIME;
    // The access time modes are one field for the kernel, which is as it was or as it is said.
    let said = (o.set & times) | (o.clear & ATIME) != 0 && (o.rec_set | o.rec_clear) & times == 0;
    let times = if said { times } else { 0 };
    (RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW | times) & !o.rec_set
}

/// Neighbours that one call can do are one call.
fn merge(list: Vec<(Attr, bool)>) -> Vec<(Attr, bool)> {
    let mut merged: Vec<(Attr, bool)> = Vec::new();
    for (attr, recursive) in list {
        match merged.last_mut() {
            Some((last, same))
                if *same == recursive
                    && (last.propagation == 0 || attr.propagation == 0)
                    && (last.set | last.clear == 0 || attr.set | attr.clear == 0) =>
            {
                last.set |= attr.set;
                last.clear |= attr.clear;
                last.propagation |= attr.propagation;
            }
            _ => merged.push((attr, recursive)),
        }
    }
    merged
}

fn id_map(
    context: &Context<'_>,
    field: &str,
    mount: &spec::Mount,
    o: &MountOptions,
) -> Result<Option<IdMap>, Error> {
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !own && o.id_map.is_none() {
        return Ok(None);
    }
    let recursive = o.id_map == Some(true);
    let linux = context.spec.linux.as_ref();
    if let Some(text) = &o.id_maps {
        let maps = id_maps::parse(text, linux).map_err(|reason| Error::invalid(field, reason))?;
        let ids = Ids::Maps(maps);
        return Ok(Some(IdMap { ids, recursive }));
    }
    let user = linux.and_then(|l| l.namespace(spec::NamespaceType::User));
    if !own && let Some(path) = user.and_then(spec::LinuxNamespace::join_path) {
        let ids = Ids::Of(path.to_owned());
        return Ok(Some(IdMap { ids, recursive }));
    }
    let (uid, gid) = if own {
        (mount.uid_mappings.as_slice(), mount.gid_mappings.as_slice())
    } else {
        linux
            .map(|l| (l.uid_mappings.as_slice(), l.gid_mappings.as_slice()))
            .unwrap_or_default()
    };
    if uid.is_empty() || gid.is_empty() {
        return Err(Error::invalid(
            field,
            "an id-mapped mount needs uidMappings and gidMappings",
        ));
    }
    let ids = Ids::Maps(IdMaps::new(uid, gid));
    Ok(Some(IdMap { ids, recursive }))
}

fn filesystem(
    plan: &mut Plan,
    field: &str,
    mount: &spec::Mount,
    type_: &str,
    o: &MountOptions,
) -> Result<(), Error> {
    // A source that is the type's own name, or none, is only decoration.
    let source = mount.source.as_deref().filter(|s| !s.is_empty());
    // MS_I_VERSION has no word that every filesystem knows. Overlayfs takes no comma from fsconfig before
    // Linux 6.5, also where it is escaped.
    let too_much = |value: &String| value.len() > FSCONFIG_MAX || value.contains(',');
    let long = o.i_version
        || o.data
            .iter()
            .any(|(key, value)| key.len() > FSCONFIG_MAX || value.as_ref().is_some_and(too_much))
        || source.is_some_and(|s| s.len() > FSCONFIG_MAX);
    if long {
        return old(plan, field, mount, type_, o);
    }
    let dest = plan.str(field, &mount.destination)?;
    let fstype = plan.str(field, type_)?;
    let source = match source {
        Some(source) => plan.str(field, source)?,
        None => Str(0),
    };
    let options = data(plan, field, type_, o)?;
    let target = match type_ {
        "proc" | "sysfs" => Target::PlainDir,
        _ => Target::Dir,
    };
    let propagation = o.propagation.last().copied().unwrap_or(0);
    plan.push(Step::MountFs {
        fstype,
        source,
        options,
        attr: Attr {
            set: o.set | o.rec_set,
            clear: 0,
            propagation: propagation & !MS_REC,
        },
        dest,
        target,
        copy_up: o.copy_up,
    });
    Ok(())
}

/// Keys and values for fsconfig.
fn data(plan: &mut Plan, field: &str, type_: &str, o: &MountOptions) -> Result<List, Error> {
    let mut o = o.clone();
    if o.set & RDONLY != 0 && !VIRTUAL.contains(&type_) {
        o.superblock.push("ro");
    }
    words(plan, field, &o)
}

/// Keys and values of what the options say of the filesystem.
fn words(plan: &mut Plan, field: &str, o: &MountOptions) -> Result<List, Error> {
    let mut words = Vec::new();
    for flag in &o.superblock {
        words.push(plan.str(field, flag)?);
        words.push(Str(0));
    }
    for (key, value) in &o.data {
        words.push(plan.str(field, key)?);
        words.push(match value {
            Some(value) => plan.str(field, value)?,
            None => Str(0),
        });
    }
    Ok(plan.list_of(words))
}

/// mount(2), for long options.
fn old(
    plan: &mut Plan,
    field: &str,
    mount: &spec::Mount,
    type_: &str,
    o: &MountOptions,
) -> Result<(), Error> {
    let text: Vec<String> = o
        .data
        .iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect();
    let text = text.join(",");
    if text.len() >= 4096 {
        return Err(Error::invalid(
            field,
            format!("{} bytes of options; mount(2) takes 4095", text.len()),
        ));
    }
    // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC have the numbers of the attributes; the rest follows.
    let mut flags = (o.set | o.rec_set) & 0xf;
    for (attribute, ms) in [(0x10, 1024), (0x20, 1 << 24), (0x80, 2048)] {
        if o.set & attribute != 0 {
            flags |= ms;
        }
    }
    for (word, ms) in [("sync", 16), ("dirsync", 128), ("lazytime", 1 << 25)] {
        if o.superblock.contains(&word) {
            flags |= ms;
        }
    }
    if o.i_version {
        flags |= 1 << 23;
    }
    let fstype = plan.str(field, type_)?;
    let source = plan.str(field, mount.source.as_deref().unwrap_or(type_))?;
    let data = plan.str(field, &text)?;
    let dest = plan.str(field, &mount.destination)?;
    plan.push(Step::MountOld {
        fstype,
        source,
        flags,
        data,
        dest,
    });
    for &kind in &o.propagation {
        let attr = Attr {
            propagation: kind & !MS_REC,
            ..Attr::default()
        };
        plan.push(Step::SetAttr {
            dest,
            attr,
            recursive: kind & MS_REC != 0,
        });
    }
    Ok(())
}

/// What the mount namespace's root propagates: the document's word, or slave, as runc.
pub(super) fn propagation(linux: Option<&spec::Linux>) -> Result<(Propagation, bool), Error> {
    match linux
        .and_then(|l| l.rootfs_propagation.as_deref())
        .filter(|w| !w.is_empty())
    {
        Some(word) => Ok((super::options::root_propagation(word)? | MS_REC, true)),
        None => Ok((MS_SLAVE | MS_REC, false)),
    }
}
