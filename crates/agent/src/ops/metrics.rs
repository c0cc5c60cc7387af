//! GetMetrics: the agent's own figures, and the machine's where that is the pod's, as Prometheus reads
//! them. Names and labels are those that dashboards for this interface know.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::agent::Agent;
use crate::error::Error;
use crate::net::statistics;

static SCRAPES: AtomicU64 = AtomicU64::new(0);

/// A text in the exposition format.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

/// Reads all figures. Blocks.
pub(crate) fn run(agent: &Arc<Agent>) -> Result<String, Error> {
    let mut text = Text::default();
    let scrapes = SCRAPES.fetch_add(1, Ordering::Relaxed) + 1;
    text.family("kata_agent_scrape_count", "counter", "Metrics scrape count");
    text.value("kata_agent_scrape_count", &[], &scrapes.to_string());
    own(&mut text)?;
    text.family("coffer_agent_containers", "gauge", "Containers that exist");
    let containers = agent.table.all().len().to_string();
    text.value("coffer_agent_containers", &[], &containers);
    interfaces(&mut text, &statistics::all(agent)?);
    if agent.machine.own {
        machine(&mut text)?;
    }
    Ok(text.0)
}

fn read(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))
}

/// The agent's own process.
fn own(text: &mut Text) -> Result<(), Error> {
    let stat = read("/proc/self/stat")?;
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    // Fields are counted from 3: the first behind the name.
    let field = |n: usize| fields.get(n - 3).copied().unwrap_or("0");
    let number = |n: usize| field(n).parse::<u64>().unwrap_or(0);
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let total = number(14) + number(15);
    let total = format!("{}.{:02}", total / ticks, total % ticks * 100 / ticks);
    for (name, kind, help, value) in [
        (
            "threads",
            "gauge",
            "Agent process threads",
            number(20).to_string(),
        ),
        (
            "total_time",
            "counter",
            "Agent process total time, seconds",
            total,
        ),
        (
            "total_vm",
            "gauge",
            "Agent process total VM size, bytes",
            number(23).to_string(),
        ),
        (
            "total_rss",
            "gauge",
            "Agent process total RSS size, bytes",
            (number(24) * page).to_string(),
        ),
    ] {
        let name = format!("kata_agent_{name}");
        text.family(&name, kind, help);
        text.value(&name, &[], &value);
    }
    text.family("kata_agent_proc_stat", "gauge", "Agent process statistics");
    for (item, n) in [("utime", 14), ("stime", 15), ("cutime", 16), ("cstime", 17)] {
        text.value("kata_agent_proc_stat", &[("item", item)], field(n));
    }
    text.family(
        "kata_agent_proc_status",
        "gauge",
        "Agent process status, bytes or numbers",
    );
    items(
        text,
        "kata_agent_proc_status",
        &read("/proc/self/status")?,
        |name| name.starts_with("vm") || name.starts_with("rss") || name.ends_with("ctxt_switches"),
    );
    text.family(
        "kata_agent_io_stat",
        "counter",
        "Agent process IO statistics",
    );
    // Closed to a non-dumpable process without CAP_SYS_PTRACE.
    if let Ok(io) = read("/proc/self/io") {
        items(text, "kata_agent_io_stat", &io, |_| true);
    }
    Ok(())
}

/// Lines `Name: number [kB]` as items with lower-case names.
fn items(text: &mut Text, family: &str, lines: &str, wanted: impl Fn(&str) -> bool) {
    for line in lines.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        let mut words = value.split_whitespace();
        let Some(number) = words.next().and_then(|w| w.parse::<u64>().ok()) else {
            continue;
        };
        let number = match words.next() {
            Some("kB") => number * 1024,
            _ => number,
        };
        if wanted(&name) {
            text.value(family, &[("item", &name)], &number.to_string());
        }
    }
}

fn interfaces(text: &mut Text, all: &[(String, statistics::Counters)]) {
    const NAME: &str = "kata_guest_netdev_stat";
    text.family(
        NAME,
        "counter",
        "Statistics of the pod's network interfaces",
    );
    for (interface, counters) in all {
        for (item, [received, sent]) in [
            ("bytes", counters.bytes),
            ("packets", counters.packets),
            ("errs", counters.errors),
            ("drop", counters.dropped),
        ] {
            for (way, value) in [("recv", received), ("sent", sent)] {
                let item = format!("{way}_{item}");
                let labels = [("interface", interface.as_str()), ("item", item.as_str())];
                text.value(NAME, &labels, &value.to_string());
            }
        }
    }
}

/// The machine's own.
fn machine(text: &mut Text) -> Result<(), Error> {
    let load = read("/proc/loadavg")?;
    let words: Vec<_> = load.split_whitespace().collect();
    text.family("kata_guest_load", "gauge", "Load of the machine");
    for (item, value) in ["load1", "load5", "load15"].iter().zip(&words) {
        text.value("kata_guest_load", &[("item", item)], value);
    }
    text.family("kata_guest_tasks", "gauge", "Tasks of the machine");
    if let Some((running, all)) = words.get(3).and_then(|w| w.split_once('/')) {
        text.value("kata_guest_tasks", &[("item", "cur")], running);
        text.value("kata_guest_tasks", &[("item", "max")], all);
    }
    text.family("kata_guest_cpu_time", "counter", "CPU time, ticks");
    let names = [
        "user",
        "nice",
        "system",
        "idle",
        "iowait",
        "irq",
        "softirq",
        "steal",
        "guest",
        "guest_nice",
    ];
    for line in read("/proc/stat")?.lines().filter(|l| l.starts_with("cpu")) {
        let mut words = line.split_whitespace();
        let cpu = match words.next().unwrap_or("").trim_start_matches("cpu") {
            "" => "total",
            number => number,
        };
        for (item, value) in names.iter().zip(words) {
            text.value(
                "kata_guest_cpu_time",
                &[("cpu", cpu), ("item", item)],
                value,
            );
        }
    }
    text.family("kata_guest_vm_stat", "gauge", "Virtual memory statistics");
    for line in read("/proc/vmstat")?.lines() {
        if let Some((item, value)) = line.split_once(' ') {
            text.value("kata_guest_vm_stat", &[("item", item)], value);
        }
    }
    text.family("kata_guest_meminfo", "gauge", "Memory, bytes or pages");
    items(text, "kata_guest_meminfo", &read("/proc/meminfo")?, |_| {
        true
    });
    text.family("kata_guest_diskstat", "counter", "Disk statistics");
    let names = [
        "reads",
        "reads_merged",
        "sectors_read",
        "time_reading",
        "writes",
        "writes_merged",
        "sectors_written",
        "time_writing",
        "in_progress",
        "time_in_progress",
        "weighted_time_in_progress",
    ];
    for line in read("/proc/diskstats")?.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let disk = words.get(2).copied().unwrap_or("");
        for (item, value) in names.iter().zip(words.iter().skip(3)) {
            text.value(
                "kata_guest_diskstat",
                &[("disk", disk), ("item", item)],
                value,
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_prometheus_reads() {
        let mut text = Text::default();
        own(&mut text).unwrap();
        machine(&mut text).unwrap();
        interfaces(
            &mut text,
            &[("we\"ird".into(), statistics::Counters::default())],
        );
        let mut known = None;
        for line in text.0.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                known = rest.split(' ').next();
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert_eq!(name.split('{').next(), known, "{line}");
            }
        }
        assert!(text.0.contains("kata_guest_meminfo{item=\"memtotal\"} "));
        assert!(text.0.contains(r#"interface="we\"ird",item="recv_bytes""#));
    }
}
