//! Rules of mounts.

use super::{Report, text};
use crate::runtime::{LinuxIdMapping, Mount, NamespaceType, Spec};

pub(super) fn check(spec: &Spec, report: &mut Report) {
    for (index, mount) in spec.mounts.iter().enumerate() {
        let at = format!("mounts[{index}]");
        one(&at, mount, report);
        id_mapped(&at, mount, spec, report);
    }
}

fn one(at: &str, mount: &Mount, report: &mut Report) {
    if mount.destination.is_empty() {
        report.add(format!("{at}.destination"), "must not be empty");
    }
    text(format_args!("{at}.destination"), &mount.destination, report);
    let bind = mount.type_.as_deref() == Some("bind")
        || mount
            .options
            .iter()
            .any(|option| option == "bind" || option == "rbind");
    let source = mount.source.as_deref().unwrap_or_default();
    text(format_args!("{at}.source"), source, report);
    if bind && source.is_empty() {
        report.add(format!("{at}.source"), "a bind mount needs a source");
    }
    for (index, option) in mount.options.iter().enumerate() {
        text(format_args!("{at}.options[{index}]"), option, report);
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        report.add(
            at,
            "uidMappings and gidMappings come together or not at all",
        );
    }
    mappings(
        format_args!("{at}.uidMappings"),
        &mount.uid_mappings,
        report,
    );
    mappings(
        format_args!("{at}.gidMappings"),
        &mount.gid_mappings,
        report,
    );
}

fn id_mapped(at: &str, mount: &Mount, spec: &Spec, report: &mut Report) {
    let word = |word: &str| mount.options.iter().any(|option| option == word);
    let mapped = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !mapped && !word("idmap") && !word("ridmap") {
        return;
    }
    report.require(
        mount.type_.as_deref() == Some("bind") || word("bind") || word("rbind"),
        || at.into(),
        || "id mappings are for bind mounts".into(),
    );
    let of_container = spec.linux.as_ref().is_some_and(|linux| {
        let user = linux.namespace(NamespaceType::User);
        let joined = user.is_some_and(|user| user.join_path().is_some());
        joined || (!linux.uid_mappings.is_empty() && !linux.gid_mappings.is_empty())
    });
    report.require(
        mapped || of_container,
        || format!("{at}.options"),
        || "an id-mapped mount needs mappings, of its own or the container's".into(),
    );
}

/// Extents of an id mapping: not empty, within 32 bits.
pub(super) fn mappings(
    at: std::fmt::Arguments<'_>,
    extents: &[LinuxIdMapping],
    report: &mut Report,
) {
    for (index, extent) in extents.iter().enumerate() {
        let path = || format!("{at}[{index}]");
        report.require(extent.size > 0, path, || {
            "size must be greater than 0".into()
        });
        let fits = |first: u32| first.checked_add(extent.size.saturating_sub(1)).is_some();
        report.require(
            fits(extent.container_id) && fits(extent.host_id),
            path,
            || "runs over the end of 32-bit ids".into(),
        );
    }
}
