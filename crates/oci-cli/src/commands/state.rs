//! `state`: what is known of a container, as JSON. The keys are those of the specification and, as
//! callers of runc expect, `rootfs`, `created` and `owner`.

use std::collections::BTreeMap;
use std::path::Path;

use oci::runtime::{Status, VERSION, print_indented};
use serde::Serialize;

use super::print;
use crate::args::Global;
use crate::error::Error;
use crate::status::Live;

/// One container, as `state` and `list` print it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown<'a> {
    oci_version: &'static str,
    pub(crate) id: &'a str,
    /// 0 when the process has ended.
    pub(crate) pid: i32,
    pub(crate) status: Status,
    pub(crate) bundle: &'a Path,
    rootfs: &'a Path,
    pub(crate) created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    pub(crate) owner: &'a str,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(live: &'a Live) -> Self {
        let record = &live.record;
        Self {
            oci_version: VERSION,
            id: &record.id,
            pid: live.pid(),
            status: live.status,
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.config.annotations,
            owner: &record.owner,
        }
    }
}

#[inline(never)]
pub(crate) fn command(global: &Global, id: &str) -> Result<i32, Error> {
    let live = Live::find(&global.root, id)?;
    print(&(print_indented(&Shown::new(&live), "  ")? + "\n"))?;
    Ok(0)
}
