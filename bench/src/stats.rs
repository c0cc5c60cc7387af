//! Figures of repeated runs: what a shared, noisy machine lets one say.
//!
//! Minimum and median are reported, never the mean: one descheduled run would move it. Ratios are
//! taken pair by pair (the n-th run of one program against the n-th of the other), so that a
//! machine whose speed drifts slows both sides of a pair.

use std::time::Duration;

/// One finished run of a program, with the CPU time of it and of all the children that it reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Wall-clock time from spawn to exit.
    pub(crate) wall: Duration,
    /// User and system time of the reaped tree.
    pub(crate) cpu: Duration,
}

/// What is printed of one program's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// Fastest run.
    pub(crate) min: Duration,
    /// Middle run by wall-clock time.
    pub(crate) median: Duration,
    /// Middle run by CPU time.
    pub(crate) cpu: Duration,
}

impl Summary {
    /// Sums up at least one sample; `None` where there is none.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        Some(Self {
            min: samples.iter().map(|s| s.wall).min()?,
            median: median(samples.iter().map(|s| s.wall).collect())?,
            cpu: median(samples.iter().map(|s| s.cpu).collect())?,
        })
    }
}

/// The middle value (the upper one of two).
pub(crate) fn median<T: Ord>(mut values: Vec<T>) -> Option<T> {
    values.sort();
    let middle = values.len() / 2;
    values.into_iter().nth(middle)
}

/// Median of the pairwise ratios `a[i] / b[i]` of wall-clock times.
pub(crate) fn ratio(a: &[Sample], b: &[Sample]) -> Option<f64> {
    let mut ratios: Vec<f64> = a
        .iter()
        .zip(b)
        .filter(|(_, b)| !b.wall.is_zero())
        .map(|(a, b)| a.wall.as_secs_f64() / b.wall.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// Milliseconds with two digits.
pub(crate) fn ms(d: Duration) -> String {
    format!("{:.2}", d.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(wall_ms: u64, cpu_ms: u64) -> Sample {
        Sample {
            wall: Duration::from_millis(wall_ms),
            cpu: Duration::from_millis(cpu_ms),
        }
    }

    #[test]
    fn a_single_slow_run_moves_neither_minimum_nor_median() {
        let s = Summary::of(&[sample(10, 3), sample(900, 4), sample(11, 5)]).expect("samples");
        assert_eq!(s.min, Duration::from_millis(10));
        assert_eq!(s.median, Duration::from_millis(11));
        assert_eq!(s.cpu, Duration::from_millis(4));
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let slow_machine_in_the_second_half = [sample(10, 1), sample(10, 1), sample(40, 1)];
        let other = [sample(20, 1), sample(20, 1), sample(80, 1)];
        assert_eq!(ratio(&slow_machine_in_the_second_half, &other), Some(0.5));
    }

    #[test]
    fn no_samples_have_no_summary() {
        assert_eq!(Summary::of(&[]), None);
    }
}
