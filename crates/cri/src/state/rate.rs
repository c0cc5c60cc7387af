//! Processor time per time, from one look to the next.

use std::sync::{Mutex, PoisonError};

/// Two samples closer than this say nothing: the older rate is told again. Nanoseconds.
const APART_NS: i64 = 100_000_000;

/// The last sample of something that uses processor time.
#[derive(Debug, Default)]
pub(crate) struct CpuRate(Mutex<Option<Sample>>);

/// Processor time at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at_ns: i64,
    used_ns: u64,
    nano_cores: Option<u64>,
}

impl CpuRate {
    /// Notes a sample (both nanoseconds) and answers the rate since the one before, in billionths of
    /// a processor; `None` for the first.
    pub(crate) fn since(&self, at_ns: i64, used_ns: u64) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = match *last {
            Some(sample) if at_ns - sample.at_ns < APART_NS => return sample.nano_cores,
            Some(sample) => {
                let used = u128::from(used_ns.saturating_sub(sample.used_ns));
                let passed = u128::from((at_ns - sample.at_ns).unsigned_abs());
                u64::try_from(used * 1_000_000_000 / passed).ok()
            }
            None => None,
        };
        *last = Some(Sample {
            at_ns,
            used_ns,
            nano_cores: rate,
        });
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_samples() {
        let rate = CpuRate::default();
        assert_eq!(rate.since(1_000_000_000, 500), None);
        assert_eq!(rate.since(2_000_000_000, 250_000_500), Some(250_000_000));
        assert_eq!(rate.since(2_000_000_001, 999_000_000), Some(250_000_000));
    }
}
