//! `update`: other limits for a container that exists.
//!
//! What is given is written to the cgroup, all checked first; then the record gets it too, so that
//! the document in it says what holds.

use std::io::Read;

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, Status, parse_resources};

use crate::args::{Global, Limits, Update};
use crate::error::Error;
use crate::status::Live;

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Update) -> Result<i32, Error> {
    let limits = match &args.limits {
        Limits::Given(limits) => limits.as_ref().clone(),
        Limits::File(path) => {
            let mut text = Vec::new();
            if path.as_os_str() == "-" {
                std::io::stdin()
                    .read_to_end(&mut text)
                    .map_err(Error::io("read limits from stdin"))?;
            } else {
                text = std::fs::read(path).map_err(Error::file("read limits from", path))?;
            }
            parse_resources(&text).map_err(|source| Error::Document {
                path: path.clone(),
                source,
            })?
        }
    };
    let mut live = Live::find(&global.root, &args.id)?;
    let _lock = live.dir.lock()?;
    if live.status == Status::Stopped {
        return Err(Error::NotRunning {
            act: "update",
            id: args.id.clone(),
        });
    }
    if let Some(rdt) = &args.rdt {
        let pids = live.cgroup.pids()?;
        container::resctrl::update(&mut live.record.config, &args.id, &pids, rdt)
            .map_err(|error| Error::core("update", &live.dir.id)(error.into()))?;
    }
    live.cgroup.apply(&limits)?;
    let linux = live.record.config.linux.get_or_insert_default();
    merge(linux.resources.get_or_insert_default(), limits);
    live.dir.write(&live.record, None)?;
    Ok(0)
}

/// What is given takes the place of what was there.
macro_rules! take {
    ($old:expr, $new:expr, $($field:ident),*) => {
        $(if $new.$field.is_some() { $old.$field = $new.$field; })*
    };
}

macro_rules! take_list {
    ($old:expr, $new:expr, $($field:ident),*) => {
        $(if !$new.$field.is_empty() { $old.$field = $new.$field; })*
    };
}

fn merge(old: &mut LinuxResources, new: LinuxResources) {
    if let Some(memory) = new.memory {
        merge_memory(old.memory.get_or_insert_default(), memory);
    }
    if let Some(cpu) = new.cpu {
        merge_cpu(old.cpu.get_or_insert_default(), cpu);
    }
    if let Some(block_io) = new.block_io {
        merge_block_io(old.block_io.get_or_insert_default(), block_io);
    }
    take!(old, new, pids, network);
    take_list!(old, new, devices);
    for limit in new.hugepage_limits {
        old.hugepage_limits
            .retain(|known| known.page_size != limit.page_size);
        old.hugepage_limits.push(limit);
    }
    old.rdma.extend(new.rdma);
    old.unified.extend(new.unified);
}

fn merge_memory(old: &mut LinuxMemory, new: LinuxMemory) {
    take!(
        old,
        new,
        limit,
        reservation,
        swap,
        kernel,
        kernel_tcp,
        swappiness,
        disable_oom_killer
    );
    take!(old, new, use_hierarchy, check_before_update);
}

fn merge_cpu(old: &mut LinuxCpu, new: LinuxCpu) {
    take!(
        old,
        new,
        shares,
        quota,
        burst,
        period,
        realtime_runtime,
        realtime_period,
        cpus,
        mems
    );
    take!(old, new, idle);
}

fn merge_block_io(old: &mut LinuxBlockIo, new: LinuxBlockIo) {
    take!(old, new, weight, leaf_weight);
    take_list!(
        old,
        new,
        weight_device,
        throttle_read_bps_device,
        throttle_write_bps_device
    );
    take_list!(
        old,
        new,
        throttle_read_iops_device,
        throttle_write_iops_device
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_and_the_rest_stays() {
        let read = |text: &str| parse_resources(text.as_bytes()).expect("limits");
        let mut old = read(
            r#"{"memory":{"limit":1,"swap":2},"cpu":{"shares":3,"cpus":"0"},"pids":{"limit":4},
                "hugepageLimits":[{"pageSize":"2MB","limit":5}],"unified":{"a":"1","b":"2"}}"#,
        );
        let new = read(
            r#"{"memory":{"limit":9},"cpu":{"quota":8},"pids":{"limit":7},
                "hugepageLimits":[{"pageSize":"1GB","limit":6},{"pageSize":"2MB","limit":0}],
                "unified":{"b":"3"}}"#,
        );
        merge(&mut old, new);
        let wanted = read(
            r#"{"memory":{"limit":9,"swap":2},"cpu":{"shares":3,"cpus":"0","quota":8},
                "pids":{"limit":7},"hugepageLimits":[{"pageSize":"1GB","limit":6},
                {"pageSize":"2MB","limit":0}],"unified":{"a":"1","b":"3"}}"#,
        );
        assert_eq!(old, wanted);
    }
}
