//! Limits of a container's cgroup. In the contract 0 and empty mean "not said".

use oci::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources};

use super::{HostFacts, SpecError};
use crate::domain::Resources;

const FIELD: &str = "linux.resources";

/// The document's resources, without device rules.
pub(super) fn resources(said: &Resources, facts: &HostFacts) -> Result<LinuxResources, SpecError> {
    if !said.unified.is_empty() && !facts.cgroup_v2 {
        let why = "this node's controllers are in the cgroup v1 hierarchies";
        return Err(SpecError::unsupported(format!("{FIELD}.unified"), why));
    }
    Ok(LinuxResources {
        cpu: Some(cpu(said)?).filter(|cpu| *cpu != LinuxCpu::default()),
        memory: Some(memory(said, facts)?).filter(|memory| *memory != LinuxMemory::default()),
        hugepage_limits: hugepages(said, facts)?,
        unified: said.unified.clone(),
        ..LinuxResources::default()
    })
}

/// What an update changes, as a document, and the limits that hold after it. What it does not say
/// stays.
///
/// # Errors
/// One that names the field.
pub fn update(
    now: &Resources,
    said: &Resources,
    facts: &HostFacts,
) -> Result<(LinuxResources, Resources), SpecError> {
    oom_score_adj(Some(said))?;
    let mut change = said.clone();
    if said.memory_limit_in_bytes == 0 && said.memory_swap_limit_in_bytes != 0 {
        change.memory_limit_in_bytes = now.memory_limit_in_bytes;
    }
    // No swap before is no swap after; what was allowed stays allowed.
    let no_swap = now.memory_swap_limit_in_bytes == now.memory_limit_in_bytes;
    if said.memory_limit_in_bytes != 0 && said.memory_swap_limit_in_bytes == 0 && !no_swap {
        change.memory_swap_limit_in_bytes = now.memory_swap_limit_in_bytes;
    }
    let document = resources(&change, facts)?;
    let number = |new: i64, old: i64| if new == 0 { old } else { new };
    let text = |new: &String, old: &String| if new.is_empty() { old } else { new }.clone();
    let mut hugepage_limits = now.hugepage_limits.clone();
    for limit in &said.hugepage_limits {
        hugepage_limits.retain(|old| old.page_size != limit.page_size);
        hugepage_limits.push(limit.clone());
    }
    let unified = now.unified.iter().chain(&said.unified);
    let after = Resources {
        cpu_period: number(said.cpu_period, now.cpu_period),
        cpu_quota: number(said.cpu_quota, now.cpu_quota),
        cpu_shares: number(said.cpu_shares, now.cpu_shares),
        memory_limit_in_bytes: number(said.memory_limit_in_bytes, now.memory_limit_in_bytes),
        memory_swap_limit_in_bytes: match said.memory_swap_limit_in_bytes {
            // It follows the limit that it was equal to.
            0 if no_swap && now.memory_swap_limit_in_bytes != 0 => {
                number(said.memory_limit_in_bytes, now.memory_limit_in_bytes)
            }
            said => number(said, now.memory_swap_limit_in_bytes),
        },
        // Of the first process when it was started.
        oom_score_adj: now.oom_score_adj,
        cpuset_cpus: text(&said.cpuset_cpus, &now.cpuset_cpus),
        cpuset_mems: text(&said.cpuset_mems, &now.cpuset_mems),
        hugepage_limits,
        unified: unified.map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    Ok((document, after))
}

/// The process's `oom_score_adj`: 0 when nothing was said, never what the daemon has itself.
pub(super) fn oom_score_adj(said: Option<&Resources>) -> Result<i32, SpecError> {
    let value = said.map_or(0, |resources| resources.oom_score_adj);
    i32::try_from(value)
        .ok()
        .filter(|value| (-1000..=1000).contains(value))
        .ok_or_else(|| {
            let what = format!("{value} is not within -1000 and 1000");
            SpecError::invalid(format!("{FIELD}.oom_score_adj"), what)
        })
}

fn positive(name: &str, value: i64) -> Result<Option<u64>, SpecError> {
    match u64::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(SpecError::invalid(
            format!("{FIELD}.{name}"),
            format!("{value} is negative"),
        )),
    }
}

/// Bytes, or -1 for no limit.
fn limit(name: &str, value: i64) -> Result<Option<i64>, SpecError> {
    match value {
        0 => Ok(None),
        -1 | 1.. => Ok(Some(value)),
        _ => {
            let what = format!("{value} is neither a size nor -1 for unlimited");
            Err(SpecError::invalid(format!("{FIELD}.{name}"), what))
        }
    }
}

fn cpu(said: &Resources) -> Result<LinuxCpu, SpecError> {
    let words = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(LinuxCpu {
        shares: positive("cpu_shares", said.cpu_shares)?,
        quota: limit("cpu_quota", said.cpu_quota)?,
        period: positive("cpu_period", said.cpu_period)?,
        cpus: words(&said.cpuset_cpus),
        mems: words(&said.cpuset_mems),
        ..LinuxCpu::default()
    })
}

/// Without a word on swap a container with a memory limit gets none. On a node that does not account
/// swap there is nothing to limit, and a kubelet says it all the same.
fn memory(said: &Resources, facts: &HostFacts) -> Result<LinuxMemory, SpecError> {
    let bytes = limit("memory_limit_in_bytes", said.memory_limit_in_bytes)?;
    let swap = limit(
        "memory_swap_limit_in_bytes",
        said.memory_swap_limit_in_bytes,
    )?;
    if let (Some(bytes @ 1..), Some(swap @ 1..)) = (bytes, swap)
        && swap < bytes
    {
        let what = format!("{swap} is less than memory_limit_in_bytes, {bytes}: it holds both");
        return Err(SpecError::invalid(
            format!("{FIELD}.memory_swap_limit_in_bytes"),
            what,
        ));
    }
    Ok(LinuxMemory {
        limit: bytes,
        swap: swap.or(bytes).filter(|_| facts.swap_accounting),
        ..LinuxMemory::default()
    })
}

/// A kubelet sends a limit of 0 for each size that it has ever heard of; those that the node can't
/// limit are passed over.
fn hugepages(said: &Resources, facts: &HostFacts) -> Result<Vec<LinuxHugepageLimit>, SpecError> {
    let mut limits = Vec::new();
    for (index, said) in said.hugepage_limits.iter().enumerate() {
        if facts.hugepage_sizes.contains(&said.page_size) {
            let page_size = said.page_size.clone();
            limits.push(LinuxHugepageLimit {
                page_size,
                limit: said.limit,
            });
        } else if said.limit != 0 {
            let known = if facts.hugepage_sizes.is_empty() {
                "it can limit no huge pages".to_owned()
            } else {
                format!("it has {}", facts.hugepage_sizes.join(", "))
            };
            let why = format!(
                "this node has no pages of size {:?}: {known}",
                said.page_size
            );
            return Err(SpecError::unsupported(
                format!("{FIELD}.hugepage_limits[{index}]"),
                why,
            ));
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::HugepageLimit;

    fn facts() -> HostFacts {
        HostFacts {
            swap_accounting: true,
            hugepage_sizes: vec!["1GB".to_owned(), "2MB".to_owned()],
            ..HostFacts::default()
        }
    }

    #[test]
    fn a_kubelets_request_becomes_limits() {
        let said = Resources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpu_shares: 512,
            memory_limit_in_bytes: 64 << 20,
            memory_swap_limit_in_bytes: 64 << 20,
            cpuset_cpus: "0-1".to_owned(),
            hugepage_limits: vec![
                HugepageLimit {
                    page_size: "2MB".to_owned(),
                    limit: 0,
                },
                HugepageLimit {
                    page_size: "64KB".to_owned(),
                    limit: 0,
                },
            ],
            ..Resources::default()
        };
        let got = resources(&said, &facts()).unwrap();
        let cpu = got.cpu.unwrap();
        assert_eq!(
            (cpu.shares, cpu.quota, cpu.period),
            (Some(512), Some(50_000), Some(100_000))
        );
        assert_eq!((cpu.cpus.as_deref(), cpu.mems), (Some("0-1"), None));
        let memory = got.memory.unwrap();
        assert_eq!(
            (memory.limit, memory.swap),
            (Some(64 << 20), Some(64 << 20))
        );
        assert_eq!(got.hugepage_limits.len(), 1);
    }

    #[test]
    fn nothing_said_is_no_limit() {
        let got = resources(&Resources::default(), &facts()).unwrap();
        assert_eq!(got, LinuxResources::default());
        assert_eq!(oom_score_adj(None).unwrap(), 0);
    }

    #[test]
    fn swap_is_the_memory_limit_unless_said_and_nothing_without_accounting() {
        let limits = |memory, swap, accounting| {
            let said = Resources {
                memory_limit_in_bytes: memory,
                memory_swap_limit_in_bytes: swap,
                ..Resources::default()
            };
            let facts = HostFacts {
                swap_accounting: accounting,
                ..facts()
            };
            resources(&said, &facts).map(|r| r.memory.map(|m| (m.limit, m.swap)))
        };
        assert_eq!(limits(10, 0, true).unwrap(), Some((Some(10), Some(10))));
        assert_eq!(limits(10, 30, true).unwrap(), Some((Some(10), Some(30))));
        assert_eq!(limits(10, -1, true).unwrap(), Some((Some(10), Some(-1))));
        assert_eq!(limits(10, 10, false).unwrap(), Some((Some(10), None)));
        assert!(limits(10, 5, true).is_err());
    }

    #[test]
    fn what_cannot_be_is_an_error_that_names_the_field() {
        let unified = [("memory.high".to_owned(), "1".to_owned())].into();
        let page = |page_size: &str| {
            vec![HugepageLimit {
                page_size: page_size.to_owned(),
                limit: 1 << 30,
            }]
        };
        let table = [
            (
                Resources {
                    cpu_shares: -2,
                    ..Default::default()
                },
                "cpu_shares",
            ),
            (
                Resources {
                    cpu_period: -1,
                    ..Default::default()
                },
                "cpu_period",
            ),
            (
                Resources {
                    cpu_quota: -2,
                    ..Default::default()
                },
                "cpu_quota",
            ),
            (
                Resources {
                    memory_limit_in_bytes: -7,
                    ..Default::default()
                },
                "memory_limit_in_bytes",
            ),
            (
                Resources {
                    unified,
                    ..Default::default()
                },
                "unified",
            ),
            (
                Resources {
                    hugepage_limits: page("64KB"),
                    ..Default::default()
                },
                "hugepage_limits[0]",
            ),
        ];
        for (said, field) in table {
            let error = resources(&said, &facts()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{FIELD}.{field}")), "{error}");
        }
        for value in [-1001, 1001, i64::MAX] {
            let said = Resources {
                oom_score_adj: value,
                ..Default::default()
            };
            let error = oom_score_adj(Some(&said)).unwrap_err().to_string();
            assert!(error.contains("oom_score_adj"), "{error}");
        }
    }

    #[test]
    fn unified_values_go_through_on_v2() {
        let said = Resources {
            unified: [("memory.high".to_owned(), "1000".to_owned())].into(),
            ..Default::default()
        };
        let facts = HostFacts {
            cgroup_v2: true,
            ..facts()
        };
        assert_eq!(
            resources(&said, &facts).unwrap().unified["memory.high"],
            "1000"
        );
    }
}
