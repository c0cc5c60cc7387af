//! What changes the machine: clock, random pool, swap, CPUs, memory, modules, resolver. In a micro-VM
//! only; elsewhere all of it is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::agent::Agent;
use crate::device::{find, pci};
use crate::error::Error;
use crate::machine::Machine;
use crate::reaper::Busy;
use crate::tool;

/// Longest wait for CPUs and memory to come online, and between two looks.
const ONLINE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);
/// Longest time for a kernel module to load.
const MODULE: Duration = Duration::from_secs(30);

/// SetGuestDateTime.
pub(crate) fn set_clock(machine: &Machine, seconds: i64, microseconds: i64) -> Result<(), Error> {
    machine.may_change("setting the clock")?;
    if !(0..1_000_000).contains(&microseconds) {
        return Err(Error::invalid("Usec", "not between 0 and 999999"));
    }
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: microseconds * 1000,
    };
    clock_settime(ClockId::Realtime, time).map_err(|e| Error::io("set", "the clock", e))
}

/// ReseedRandomDev.
pub(crate) fn reseed(machine: &Machine, data: &[u8]) -> Result<(), Error> {
    machine.may_change("feeding the random pool")?;
    if data.is_empty() {
        return Err(Error::invalid("data", "it is empty"));
    }
    use std::os::fd::AsFd as _;
    let path = machine.dev.join("random");
    let random = std::fs::OpenOptions::new().write(true).open(&path);
    let fed = random.and_then(|file| sys::machine::add_entropy(file.as_fd(), data));
    fed.map_err(|e| Error::io("feed", path.display(), e))
}

/// AddSwap, with the slots of a disk's PCI path.
pub(crate) fn add_swap(machine: &Machine, slots: &[u32]) -> Result<(), Error> {
    machine.may_change("adding swap")?;
    let node = find::pci_disk(machine, &pci::Path::of_slots(slots)?)?;
    swap_on(machine, node)
}

/// AddSwapPath, with a disk's node.
pub(crate) fn add_swap_path(machine: &Machine, path: &str) -> Result<(), Error> {
    machine.may_change("adding swap")?;
    let node = find::block_by_path(machine, Path::new(path))?;
    swap_on(machine, node)
}

fn swap_on(machine: &Machine, disk: find::Node) -> Result<(), Error> {
    let path = find::answering(machine, disk)?;
    sys::machine::swap_on(&path).map_err(|e| Error::io("swap on", path.display(), e))
}

/// MemHotplugByProbe.
pub(crate) fn probe_memory(machine: &Machine, addresses: &[u64]) -> Result<(), Error> {
    machine.may_change("probing for memory")?;
    let probe = machine.sys.join("devices/system/memory/probe");
    for address in addresses {
        std::fs::write(&probe, format!("{address:#x}"))
            .map_err(|e| Error::io("probe for", format!("memory at {address:#x}"), e))?;
    }
    Ok(())
}

/// What OnlineCPUMem asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Online {
    pub(crate) wait: bool,
    pub(crate) cpus: u32,
    pub(crate) cpu_only: bool,
}

/// OnlineCPUMem: brings online everything that is present.
pub(crate) async fn online(agent: &Arc<Agent>, online: Online) -> Result<(), Error> {
    agent
        .machine
        .may_change("bringing CPUs and memory online")?;
    let of = Arc::clone(agent);
    let work = Agent::blocking(move || {
        bring_online(&of.machine, online)?;
        let groups = of.table.all().into_iter().filter_map(|container| {
            let dir = container.cgroup.paths().remove("cpuset")?;
            Some((dir, container.cgroup.path().to_owned()))
        });
        widen(&groups.collect::<Vec<_>>());
        Ok(())
    });
    if online.wait {
        return work.await;
    }
    tokio::spawn(async move {
        if let Err(e) = work.await {
            log::warn!("{}", crate::logging::chain(&e));
        }
    });
    Ok(())
}

/// CPUs may still be on their way: looks until there are so many, in all or more than at first.
fn bring_online(machine: &Machine, wanted: Online) -> Result<(), Error> {
    let system = machine.sys.join("devices/system");
    let until = Instant::now() + ONLINE;
    let before = cpus_online(&system)?;
    let goal = usize::try_from(wanted.cpus).unwrap_or(usize::MAX);
    loop {
        let left = switch(&system.join("cpu"), "cpu", "online", "0", "1");
        let now = cpus_online(&system)?;
        // A total and an increment look the same: present CPUs are all taken either way.
        if left == 0 && (now >= goal || now >= before.saturating_add(goal)) {
            break;
        }
        if Instant::now() >= until {
            let why = format!("{now} CPUs are online after {ONLINE:?}, {goal} are wanted");
            return Err(Error::Precondition(why));
        }
        std::thread::sleep(LOOK);
    }
    if wanted.cpu_only {
        return Ok(());
    }
    match switch(
        &system.join("memory"),
        "memory",
        "state",
        "offline",
        "online",
    ) {
        0 => Ok(()),
        left => Err(Error::Precondition(format!(
            "{left} blocks of memory could not be brought online"
        ))),
    }
}

/// Lets cgroups v1 (their directories, and their paths below the mount) and those above them use every CPU
/// of the machine, unless they have CPUs of their own: v1 gives a group its CPUs when it is made, and no
/// more later. (In v2 a group follows the one above.)
fn widen(groups: &[(PathBuf, String)]) {
    let read = |dir: &Path| std::fs::read_to_string(dir.join("cpuset.cpus"));
    // From the top down: a group cannot have what the one above it has not.
    let mut grow: Vec<(PathBuf, String)> = Vec::new();
    for (dir, path) in groups {
        let depth = Path::new(path.trim_matches('/')).components().count();
        let mut chain: Vec<_> = dir.ancestors().take(depth + 1).collect();
        let (Some(root), false) = (chain.pop(), depth == 0) else {
            continue;
        };
        let Ok(all) = read(root) else { continue };
        let mut above = None;
        for dir in chain.into_iter().rev() {
            let Ok(now) = read(dir) else { break };
            // Equal to what is above: inherited.
            let inherited = above.as_ref().is_none_or(|above| *above == now);
            above = Some(now);
            if inherited && grow.iter().all(|(known, _)| known != dir) {
                grow.push((dir.to_owned(), all.trim().to_owned()));
            }
        }
    }
    for (dir, cpus) in grow {
        if let Err(e) = std::fs::write(dir.join("cpuset.cpus"), cpus) {
            log::warn!("cannot give new CPUs to {}: {e}", dir.display());
        }
    }
}

/// Writes `on` to `file` of each `<prefix>N` that reads `off`; how many could not be switched.
fn switch(dir: &Path, prefix: &str, file: &str, off: &str, on: &str) -> usize {
    let numbered = |name: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let entries = entries.filter(|e| numbered(&e.file_name().to_string_lossy()));
    let mut failed = 0;
    for entry in entries {
        let path = entry.path().join(file);
        if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == off)
            && let Err(e) = std::fs::write(&path, on)
        {
            log::debug!("cannot switch {}: {e}", path.display());
            failed += 1;
        }
    }
    failed
}

/// Counts a list such as `0-3,5`.
fn cpus_online(system: &Path) -> Result<usize, Error> {
    let path = system.join("cpu/online");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", path.display(), e))?;
    let count = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    Ok(text.trim().split(',').filter_map(count).sum())
}

/// A kernel module and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) parameters: Vec<String>,
}

/// Loads modules, in order: by the machine's modprobe, which knows its rules and packed files, or without
/// one from the image's own list. Blocks.
pub(crate) fn load_modules(agent: &Agent, busy: &Busy, modules: &[Module]) -> Result<(), Error> {
    if modules.is_empty() {
        return Ok(());
    }
    agent.machine.may_change("loading kernel modules")?;
    let program = tool::find("modprobe", &["/sbin", "/usr/sbin", "/bin", "/usr/bin"]);
    for module in modules {
        let name = &module.name;
        if name.is_empty() || name.starts_with('-') {
            let why = "not the name of a module";
            return Err(Error::invalid(format!("kernel module {name:?}"), why));
        }
        let Ok(program) = &program else {
            crate::guest::modules::load_named(name, &module.parameters)
                .map_err(|e| Error::io("load", format!("kernel module {name}"), e))?;
            continue;
        };
        let mut args = vec!["-v", "--", name.as_str()];
        args.extend(module.parameters.iter().map(String::as_str));
        let output = tool::run(busy, program, &args, b"", MODULE)?;
        if output.code != Some(0) {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().replace('\n', "; ");
            return Err(Error::Internal(format!(
                "kernel module {name}: modprobe: {said}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(dir: &Path) -> Machine {
        let mut machine = Machine::here(true);
        machine.sys = dir.to_owned();
        machine
    }

    #[test]
    fn present_cpus_and_memory_come_online() {
        let temp = tempfile::tempdir().unwrap();
        let system = temp.path().join("devices/system");
        for (file, text) in [
            ("cpu/online", "0-1,3\n"),
            ("cpu/cpu1/online", "1\n"),
            ("cpu/cpu2/online", "0\n"),
            ("cpu/cpufreq/online", "0\n"),
            ("memory/memory32/state", "offline\n"),
            ("memory/memory33/state", "online\n"),
        ] {
            let path = system.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let read = |file: &str| fs::read_to_string(system.join(file)).unwrap();
        let online = |cpus, cpu_only| {
            let wanted = Online {
                wait: true,
                cpus,
                cpu_only,
            };
            bring_online(&machine(temp.path()), wanted)
        };
        online(3, true).unwrap();
        assert_eq!(read("cpu/cpu2/online"), "1");
        assert_eq!(read("cpu/cpufreq/online"), "0\n");
        assert_eq!(read("memory/memory32/state"), "offline\n");
        online(0, false).unwrap();
        assert_eq!(read("memory/memory32/state"), "online");
    }

    #[test]
    fn groups_that_inherited_their_cpus_get_the_new_ones() {
        let temp = tempfile::tempdir().unwrap();
        let group = |path: &str, cpus: &str| {
            let dir = temp.path().join(path);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cpuset.cpus"), format!("{cpus}\n")).unwrap();
            dir
        };
        group("", "0-3");
        group("pod", "0-1");
        let dirs = [("free", "0-1"), ("bound", "1"), ("too", "0-1")].map(|(name, cpus)| {
            let path = format!("/pod/{name}");
            (group(path.trim_start_matches('/'), cpus), path)
        });
        widen(&dirs);
        let read = |path: &str| {
            let text = fs::read_to_string(temp.path().join(path).join("cpuset.cpus")).unwrap();
            text.trim().to_owned()
        };
        let now = ["pod", "pod/free", "pod/bound", "pod/too"].map(read);
        assert_eq!(now, ["0-3", "0-3", "1", "0-3"]);
        widen(&[(temp.path().to_owned(), "/".into())]);
        assert_eq!(read(""), "0-3");
    }

    #[test]
    fn memory_is_probed_for_by_its_address() {
        let temp = tempfile::tempdir().unwrap();
        let probe = temp.path().join("devices/system/memory/probe");
        fs::create_dir_all(probe.parent().unwrap()).unwrap();
        fs::write(&probe, "").unwrap();
        probe_memory(&machine(temp.path()), &[0x1_0000_0000]).unwrap();
        assert_eq!(fs::read_to_string(probe).unwrap(), "0x100000000");
    }

    #[test]
    fn a_node_is_left_alone() {
        let node = Machine::here(false);
        for refused in [
            set_clock(&node, 0, 0),
            reseed(&node, b"x"),
            add_swap(&node, &[2]),
            add_swap_path(&node, "/dev/null"),
            probe_memory(&node, &[0]),
        ] {
            assert!(matches!(refused, Err(Error::Precondition(_))));
        }
        let own = Machine::here(true);
        assert!(matches!(set_clock(&own, 0, -1), Err(Error::Invalid { .. })));
        assert!(matches!(reseed(&own, b""), Err(Error::Invalid { .. })));
    }
}
