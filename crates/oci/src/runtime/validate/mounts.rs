//! Rules of mounts.

use super::{Report, text};
use crate::runtime::{LinuxIdMapping, Mount, Spec};

pub(super) fn check(spec: &Spec, report: &mut Report) {
    for (index, mount) in spec.mounts.iter().enumerate() {
        one(&format!("mounts[{index}]"), mount, report);
    }
}

fn one(at: &str, mount: &Mount, report: &mut Report) {
    if mount.destination.is_empty() {
        report.add(format!("{at}.destination"), "must not be empty");
    }
    text(&format!("{at}.destination"), &mount.destination, report);
    let bind = mount.type_.as_deref() == Some("bind")
        || mount
            .options
            .iter()
            .any(|option| option == "bind" || option == "rbind");
    let source = mount.source.as_deref().unwrap_or_default();
    text(&format!("{at}.source"), source, report);
    if bind && source.is_empty() {
        report.add(format!("{at}.source"), "a bind mount needs a source");
    }
    for (index, option) in mount.options.iter().enumerate() {
        text(&format!("{at}.options[{index}]"), option, report);
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        report.add(
            at,
            "uidMappings and gidMappings come together or not at all",
        );
    }
    mappings(&format!("{at}.uidMappings"), &mount.uid_mappings, report);
    mappings(&format!("{at}.gidMappings"), &mount.gid_mappings, report);
}

/// Extents of an id mapping: not empty, within 32 bits.
pub(super) fn mappings(at: &str, extents: &[LinuxIdMapping], report: &mut Report) {
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
