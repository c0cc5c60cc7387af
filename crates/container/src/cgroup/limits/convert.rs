//! Numbers between the spec's words (v1's) and the kernel's, and the checks on them.

use std::path::Path;

use super::super::error::Error;
use super::super::file;

/// The range of cpu.shares (kernel: MIN_SHARES, MAX_SHARES).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// cgroup2's cpu.weight (1–10000) for v1's cpu.shares (2–262144), so that the three points agree:
/// least is least, most is most, and the default 1024 is the default 100.
///
/// The formula is that of runc 1.4 and crun 1.23: `10^((l² + 125 l)/612 − 7/34)`, l = log2(shares).
/// The linear one used before made 1024 shares 39 and starved pods beside system services.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares fit 18 bits; the result is clamped to 1..=10000 before the cast"
)]
pub fn cpu_weight(shares: u64) -> u64 {
    let l = (shares.clamp(*SHARES.start(), *SHARES.end()) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil().clamp(1.0, 10_000.0) as u64
}

/// Checks the shares; None if not set.
pub(super) fn shares(shares: Option<u64>) -> Result<Option<u64>, Error> {
    match shares {
        None | Some(0) => Ok(None),
        Some(s) if SHARES.contains(&s) => Ok(Some(s)),
        Some(s) => Err(Error::Value {
            setting: "cpu.shares",
            value: s.to_string(),
            rule: "2 to 262144 are accepted",
        }),
    }
}

/// io.weight (1–10000, default 100) for blkio.weight (10–1000, default 500 then, 100 for BFQ).
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

/// Checks a block I/O weight; None if not set.
pub(super) fn block_weight(
    setting: &'static str,
    weight: Option<u16>,
) -> Result<Option<u16>, Error> {
    match weight {
        None | Some(0) => Ok(None),
        Some(w @ 10..=1000) => Ok(Some(w)),
        Some(w) => Err(Error::Value {
            setting,
            value: w.to_string(),
            rule: "10 to 1000 are accepted",
        }),
    }
}

/// A size in bytes: None if not set, `Some(None)` without limit.
pub(super) fn bytes(
    setting: &'static str,
    value: Option<i64>,
) -> Result<Option<Option<u64>>, Error> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(None)),
        Some(n) => match u64::try_from(n) {
            Ok(n) => Ok(Some(Some(n))),
            Err(_) => Err(Error::Value {
                setting,
                value: n.to_string(),
                rule: "a size in bytes, or -1 for no limit",
            }),
        },
    }
}

/// Swappiness; 0 is a value here.
pub(super) fn swappiness(value: Option<u64>) -> Result<Option<u64>, Error> {
    match value {
        Some(n) if n > 100 => Err(Error::Value {
            setting: "memory.swappiness",
            value: n.to_string(),
            rule: "0 to 100 are accepted",
        }),
        other => Ok(other),
    }
}

/// `memory.swap` counts memory and swap together, so it can't be less than the memory.
pub(super) fn check_swap(
    limit: Option<Option<u64>>,
    swap: Option<Option<u64>>,
) -> Result<(), Error> {
    match (limit, swap) {
        (Some(Some(limit)), Some(Some(swap))) if swap < limit => Err(Error::Value {
            setting: "memory.swap",
            value: swap.to_string(),
            rule: "it counts memory and swap together: at least memory.limit",
        }),
        (Some(None), Some(Some(swap))) => Err(Error::Value {
            setting: "memory.swap",
            value: swap.to_string(),
            rule: "it counts memory and swap together: no limit, as memory.limit is -1",
        }),
        _ => Ok(()),
    }
}

/// The CPU idle flag.
pub(super) fn idle(value: Option<i64>) -> Result<Option<i64>, Error> {
    match value {
        Some(n) if n != 0 && n != 1 => Err(Error::Value {
            setting: "cpu.idle",
            value: n.to_string(),
            rule: "0 and 1 are accepted",
        }),
        other => Ok(other),
    }
}

/// A value for a file of ours must not smuggle in a second line, nor be empty by accident.
pub(super) fn line(setting: &'static str, value: &str) -> Result<String, Error> {
    if value.contains(['\n', '\0']) {
        return Err(Error::Value {
            setting,
            value: format!("{value:?}"),
            rule: "one line without NUL is accepted",
        });
    }
    Ok(value.to_owned())
}

/// Reads a size back: memory.kmem.limit_in_bytes takes every number since 6.6 and keeps none.
pub(super) fn check_kept(setting: &'static str, path: &Path, value: &str) -> Result<(), Error> {
    let actual = file::read(path)?;
    let kept = match (value.parse::<u64>(), file::number(path, actual.trim())) {
        (Ok(want), Ok(is)) => {
            // The kernel counts pages and rounds down.
            let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
            is <= want && want - is < page
        }
        // memory.oom_control reads as a list of keys.
        _ => file::value_of(&actual, "oom_kill_disable").is_some_and(|v| v.to_string() == value),
    };
    if kept {
        return Ok(());
    }
    Err(Error::NotKept {
        setting,
        path: path.to_owned(),
        value: value.to_owned(),
        actual: actual.lines().next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_agree_at_least_default_and_most() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (512, 59), (262_144, 10_000)] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        assert_eq!(cpu_weight(u64::MAX), 10_000);
    }

    #[test]
    fn more_shares_never_weigh_less() {
        let mut last = 0;
        for shares in (2..=262_144).step_by(37) {
            let weight = cpu_weight(shares);
            assert!(
                weight >= last && (1..=10_000).contains(&weight),
                "{shares}: {weight}"
            );
            last = weight;
        }
    }

    #[test]
    fn io_weights_span_the_range() {
        assert_eq!(io_weight(10), 1);
        assert_eq!(io_weight(1000), 10_000);
        assert_eq!(block_weight("w", Some(0)).unwrap(), None);
        block_weight("w", Some(9)).unwrap_err();
        block_weight("w", Some(1001)).unwrap_err();
    }

    #[test]
    fn what_is_out_of_range_is_an_error_that_names_the_setting() {
        for (e, name) in [
            (shares(Some(1)).unwrap_err(), "cpu.shares is 1"),
            (shares(Some(262_145)).unwrap_err(), "cpu.shares is 262145"),
            (
                bytes("memory.limit", Some(-2)).unwrap_err(),
                "memory.limit is -2",
            ),
            (
                swappiness(Some(101)).unwrap_err(),
                "memory.swappiness is 101",
            ),
            (idle(Some(2)).unwrap_err(), "cpu.idle is 2"),
            (
                check_swap(Some(Some(5)), Some(Some(4))).unwrap_err(),
                "memory.swap is 4",
            ),
            (
                check_swap(Some(None), Some(Some(4))).unwrap_err(),
                "memory.swap is 4",
            ),
            (line("cpu.cpus", "0\n1").unwrap_err(), "cpu.cpus is"),
        ] {
            assert!(e.is_invalid_input());
            assert!(e.to_string().starts_with(name), "{e}");
        }
    }

    #[test]
    fn a_file_that_forgets_is_told_from_one_that_rounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for (holds, wrote, kept) in [
            ("8192\n", "10000", true),
            ("9223372036854771712\n", "10000", false),
            ("0\n", "10000", false),
            ("oom_kill_disable 1\nunder_oom 0\n", "1", true),
            ("oom_kill_disable 0\nunder_oom 0\n", "1", false),
        ] {
            std::fs::write(&path, holds).unwrap();
            assert_eq!(
                check_kept("s", &path, wrote).is_ok(),
                kept,
                "{holds:?} after {wrote}"
            );
        }
    }
}
