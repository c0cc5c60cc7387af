//! Between the types of this crate and those of the wire. The only file that names both.

use std::{collections::BTreeMap, path::Path};

use agent_api::{
    grpc,
    sandbox::{self as wire, State},
};

use crate::types::{
    ContainerPid, ContainerSpec, ContainerState, ContainerStats, ContainerStatus, CpuStats,
    DiskStats, HugePageStats, IpcMode, MemoryStats, Netns, OomEvent, PidMode, PidsStats, PodSpec,
    PodStats, Pressure, Rootfs,
};

/// A path as the wire carries it. Paths that are not UTF-8 can't be said in protobuf strings.
fn text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

/// The CreateSandbox request for a pod; the error names the path that the wire can't carry.
pub(crate) fn create_sandbox(spec: &PodSpec) -> Result<wire::CreateSandboxRequest, String> {
    let (netns_path, host_network) = match &spec.netns {
        Netns::Host => (String::new(), true),
        Netns::Path(path) => (text(path)?, false),
    };
    let mode = |host| {
        if host {
            wire::NamespaceMode::Host
        } else {
            wire::NamespaceMode::Pod
        }
        .into()
    };
    Ok(wire::CreateSandboxRequest {
        id: spec.id.clone(),
        hostname: if host_network {
            String::new()
        } else {
            spec.hostname.clone()
        },
        netns_path,
        ipc: mode(spec.ipc == IpcMode::Host),
        // The host's name goes with the host's network.
        uts: mode(host_network),
        pid: match spec.pid {
            PidMode::Container => wire::PidMode::Container,
            PidMode::Pod => wire::PidMode::Pod,
            PidMode::Host => wire::PidMode::Node,
        }
        .into(),
        sysctls: spec.sysctls.clone().into_iter().collect(),
        cgroup_parent: spec.cgroup_parent.clone(),
        storages: Vec::new(),
    })
}

/// The CreateContainer request for a container; the error names the path that can't be said.
pub(crate) fn create_container(
    spec: &ContainerSpec,
) -> Result<wire::CreateContainerRequest, String> {
    let rootfs = match &spec.rootfs {
        Rootfs::Directory => None,
        Rootfs::Overlay {
            lowers,
            upper,
            work,
        } => Some(wire::Rootfs {
            lowers: lowers
                .iter()
                .map(|path| text(path))
                .collect::<Result<_, _>>()?,
            upper: text(upper)?,
            work: text(work)?,
            readonly: false,
        }),
    };
    let (pid, pid_target) = match &spec.pid {
        ContainerPid::Container => (wire::PidMode::Container, String::new()),
        ContainerPid::Pod => (wire::PidMode::Pod, String::new()),
        ContainerPid::Node => (wire::PidMode::Node, String::new()),
        ContainerPid::Target(id) => (wire::PidMode::Target, id.clone()),
    };
    let log_path = spec
        .log_path
        .as_deref()
        .map(text)
        .transpose()?
        .unwrap_or_default();
    Ok(wire::CreateContainerRequest {
        id: spec.id.clone(),
        spec_json: spec.spec_json.clone(),
        storages: Vec::new(),
        devices: Vec::new(),
        rootfs,
        pid: pid.into(),
        pid_target,
        log: Some(wire::LogConfig {
            path: log_path,
            max_bytes: spec.log_limits.max_bytes,
            bytes_per_second: spec.log_limits.bytes_per_second,
        }),
        stdin: spec.stdin,
        stdin_once: spec.stdin_once,
        tty: spec.tty,
    })
}

pub(crate) fn container_state(state: wire::ContainerState) -> Result<ContainerState, String> {
    let status = match State::try_from(state.state) {
        Ok(State::Created) => ContainerStatus::Created,
        Ok(State::Running) => ContainerStatus::Running,
        Ok(State::Paused) => ContainerStatus::Paused,
        Ok(State::Exited) => ContainerStatus::Exited,
        Err(_) => return Err(format!("container {} has state {}", state.id, state.state)),
    };
    Ok(ContainerState {
        id: state.id,
        status,
        pid: state.pid,
        created_at_ns: state.created_at_ns,
        started_at_ns: state.started_at_ns,
        finished_at_ns: state.finished_at_ns,
        exit_code: state.exit_code,
        reason: state.reason,
        oom_killed: state.oom_killed,
        log_bytes_lost: state.log_bytes_lost,
    })
}

pub(crate) fn oom_event(event: wire::OomEvent) -> OomEvent {
    OomEvent {
        container: event.container_id,
        cgroup: event.cgroup,
        kills: event.kills,
        at_ns: event.at_ns,
    }
}

pub(crate) fn pod_stats(stats: wire::PodStatsResponse) -> PodStats {
    PodStats {
        pod: stats.pod.map(container_stats),
        containers: stats.containers.into_iter().map(container_stats).collect(),
    }
}

fn container_stats(stats: wire::Stats) -> ContainerStats {
    let cgroup = stats.cgroup.unwrap_or_default();
    let memory = memory_stats(
        &cgroup.memory_stats.unwrap_or_default(),
        stats.memory_pressure,
    );
    ContainerStats {
        id: stats.id,
        timestamp_ns: stats.at_ns,
        cpu: cpu_stats(cgroup.cpu_stats.unwrap_or_default(), stats.cpu_pressure),
        memory: MemoryStats {
            working_set: stats.working_set_bytes,
            oom_kills: stats.oom_kills,
            ..memory
        },
        pids: cgroup.pids_stats.map(pids_stats).unwrap_or_default(),
        io_pressure: stats.io_pressure.map(pressure),
        disks: disks(&cgroup.blkio_stats.unwrap_or_default()),
        huge_pages: huge_pages(cgroup.hugetlb_stats),
    }
}

fn cpu_stats(cpu: grpc::CpuStats, stall: Option<wire::Pressure>) -> CpuStats {
    let usage = cpu.cpu_usage.unwrap_or_default();
    let throttling = cpu.throttling_data.unwrap_or_default();
    CpuStats {
        usage_ns: usage.total_usage,
        user_ns: usage.usage_in_usermode,
        system_ns: usage.usage_in_kernelmode,
        periods: throttling.periods,
        throttled_periods: throttling.throttled_periods,
        throttled_ns: throttling.throttled_time,
        pressure: stall.map(pressure),
    }
}

/// Without what only our own message says.
fn memory_stats(memory: &grpc::MemoryStats, stall: Option<wire::Pressure>) -> MemoryStats {
    let usage = memory.usage.unwrap_or_default();
    // memory.stat of v1 (hierarchical figures first), then of v2.
    let stat = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| memory.stats.get(*name))
            .copied()
            .unwrap_or_default()
    };
    MemoryStats {
        usage: usage.usage,
        max_usage: usage.max_usage,
        limit_hits: usage.failcnt,
        working_set: 0,
        rss: stat(&["total_rss", "rss", "anon"]),
        cache: memory.cache,
        mapped_file: stat(&["total_mapped_file", "mapped_file", "file_mapped"]),
        kernel: memory.kernel_usage.map_or(0, |kernel| kernel.usage),
        limit: limit(usage.limit),
        swap: stat(&["total_swap", "swap"]),
        page_faults: stat(&["total_pgfault", "pgfault"]),
        major_page_faults: stat(&["total_pgmajfault", "pgmajfault"]),
        oom_kills: 0,
        pressure: stall.map(pressure),
    }
}

fn pids_stats(pids: grpc::PidsStats) -> PidsStats {
    PidsStats {
        current: pids.current,
        limit: limit(pids.limit),
    }
}

/// Reads and writes alone: v1's `Sync`, `Async` and `Total` say the same bytes again.
fn disks(blkio: &grpc::BlkioStats) -> Vec<DiskStats> {
    let mut disks: BTreeMap<(u64, u64), DiskStats> = BTreeMap::new();
    let bytes = blkio.io_service_bytes_recursive.iter().map(|e| (e, true));
    let operations = blkio.io_serviced_recursive.iter().map(|e| (e, false));
    for (entry, is_bytes) in bytes.chain(operations) {
        let disk = disks
            .entry((entry.major, entry.minor))
            .or_insert(DiskStats {
                major: entry.major,
                minor: entry.minor,
                ..DiskStats::default()
            });
        let read = entry.op.eq_ignore_ascii_case("read");
        match (read, entry.op.eq_ignore_ascii_case("write"), is_bytes) {
            (true, _, true) => disk.read_bytes += entry.value,
            (true, _, false) => disk.reads += entry.value,
            (_, true, true) => disk.write_bytes += entry.value,
            (_, true, false) => disk.writes += entry.value,
            _ => {}
        }
    }
    disks.into_values().collect()
}

fn huge_pages(sizes: impl IntoIterator<Item = (String, grpc::HugetlbStats)>) -> Vec<HugePageStats> {
    let mut sizes: Vec<HugePageStats> = sizes
        .into_iter()
        .map(|(size, pages)| HugePageStats {
            size,
            usage: pages.usage,
            max_usage: pages.max_usage,
        })
        .collect();
    sizes.sort_by(|a, b| a.size.cmp(&b.size));
    sizes
}

/// Both 0 and the huge numbers that v1 shows (`i64::MAX` rounded down to a page) mean "no limit".
fn limit(value: u64) -> Option<u64> {
    const NONE_FROM: u64 = (i64::MAX as u64) & !0xffff;
    (value != 0 && value < NONE_FROM).then_some(value)
}

fn pressure(stall: wire::Pressure) -> Pressure {
    let line = |line: Option<wire::PressureLine>| {
        let line = line.unwrap_or_default();
        ([line.avg10, line.avg60, line.avg300], line.total_us)
    };
    let (some, some_total_us) = line(stall.some);
    let (full, full_total_us) = line(stall.full);
    Pressure {
        some,
        some_total_us,
        full,
        full_total_us,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

    use super::*;

    fn pod(netns: Netns) -> PodSpec {
        PodSpec {
            id: "p1".to_owned(),
            dir: PathBuf::from("/run/x/p1"),
            hostname: "web-0".to_owned(),
            netns,
            ipc: IpcMode::Pod,
            pid: PidMode::Pod,
            sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
            cgroup_parent: "/coffer/p1".to_owned(),
        }
    }

    #[test]
    fn a_pod_with_its_own_network_has_its_own_name() {
        let request = create_sandbox(&pod(Netns::Path(PathBuf::from("/run/x/p1/net")))).unwrap();
        assert_eq!(request.netns_path, "/run/x/p1/net");
        assert_eq!(request.hostname, "web-0");
        assert_eq!(request.uts, i32::from(wire::NamespaceMode::Pod));
        assert_eq!(request.pid, i32::from(wire::PidMode::Pod));
        assert_eq!(request.sysctls["net.ipv4.ip_forward"], "1");
    }

    #[test]
    fn a_pod_on_the_hosts_network_keeps_the_hosts_name() {
        let request = create_sandbox(&pod(Netns::Host)).unwrap();
        assert_eq!(request.netns_path, "");
        assert_eq!(request.hostname, "");
        assert_eq!(request.uts, i32::from(wire::NamespaceMode::Host));
        assert_eq!(request.ipc, i32::from(wire::NamespaceMode::Pod));
    }

    #[test]
    fn a_path_that_protobuf_cannot_say_is_named() {
        let odd = PathBuf::from(OsStr::from_bytes(b"/run/\xff/net"));
        let error = create_sandbox(&pod(Netns::Path(odd))).unwrap_err();
        assert!(error.contains("is not UTF-8"), "{error}");
    }

    #[test]
    fn a_target_container_is_named() {
        let spec = ContainerSpec {
            id: "c1".to_owned(),
            spec_json: b"{}".to_vec(),
            rootfs: Rootfs::Directory,
            pid: ContainerPid::Target("c0".to_owned()),
            log_path: None,
            log_limits: crate::types::LogLimits {
                max_bytes: 7,
                bytes_per_second: 9,
            },
            stdin: false,
            stdin_once: false,
            tty: false,
        };
        let request = create_container(&spec).unwrap();
        assert_eq!(request.pid, i32::from(wire::PidMode::Target));
        assert_eq!(request.pid_target, "c0");
        assert_eq!(request.rootfs, None);
        let log = request.log.unwrap();
        assert_eq!((log.max_bytes, log.bytes_per_second), (7, 9));
    }

    #[test]
    fn an_unknown_state_is_an_error_and_not_a_guess() {
        let odd = wire::ContainerState {
            id: "c1".to_owned(),
            state: 77,
            ..Default::default()
        };
        assert_eq!(
            container_state(odd).unwrap_err(),
            "container c1 has state 77"
        );
    }

    #[test]
    fn no_limit_has_many_spellings() {
        for none in [0, u64::MAX, 0x7fff_ffff_ffff_f000, i64::MAX as u64] {
            assert_eq!(limit(none), None, "{none:#x}");
        }
        assert_eq!(limit(1 << 40), Some(1 << 40));
    }

    #[test]
    fn memory_figures_are_found_under_both_kernels_names() {
        let with = |pairs: &[(&str, u64)]| {
            let stats = pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
            memory_stats(
                &grpc::MemoryStats {
                    stats,
                    cache: 9,
                    ..Default::default()
                },
                None,
            )
        };
        let v1 = with(&[
            ("rss", 1),
            ("total_rss", 2),
            ("total_pgfault", 3),
            ("total_pgmajfault", 4),
            ("mapped_file", 5),
            ("total_mapped_file", 6),
        ]);
        assert_eq!((v1.rss, v1.page_faults, v1.major_page_faults), (2, 3, 4));
        assert_eq!((v1.cache, v1.mapped_file), (9, 6));
        let v2 = with(&[
            ("anon", 5),
            ("pgfault", 6),
            ("pgmajfault", 8),
            ("file_mapped", 7),
        ]);
        assert_eq!((v2.rss, v2.page_faults, v2.major_page_faults), (5, 6, 8));
        assert_eq!(v2.mapped_file, 7);
    }

    #[test]
    fn what_only_our_message_says_is_kept() {
        let stats = container_stats(wire::Stats {
            working_set_bytes: 7,
            oom_kills: 3,
            ..Default::default()
        });
        assert_eq!((stats.memory.working_set, stats.memory.oom_kills), (7, 3));
    }

    #[test]
    fn a_disks_reads_and_writes_are_counted_once() {
        let entry = |op: &str, value| grpc::BlkioStatsEntry {
            major: 8,
            minor: 1,
            op: op.to_owned(),
            value,
        };
        let lines = |at: u64| {
            let ops = ["Read", "Write", "Sync", "Async", "Discard", "Total"];
            ops.iter().zip(at..).map(|(op, n)| entry(op, n)).collect()
        };
        let blkio = grpc::BlkioStats {
            io_service_bytes_recursive: lines(100),
            io_serviced_recursive: lines(10),
            ..Default::default()
        };
        let expected = DiskStats {
            major: 8,
            minor: 1,
            read_bytes: 100,
            write_bytes: 101,
            reads: 10,
            writes: 11,
        };
        assert_eq!(disks(&blkio), [expected]);
        assert_eq!(disks(&grpc::BlkioStats::default()), []);
    }
}
