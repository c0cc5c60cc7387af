//! Runs programs in shuffled alternation, so that drift and noise of the machine hit all alike.
//!
//! ```text
//! round 1:  crun  coffer-oci  runc        each round runs every program once,
//! round 2:  coffer-oci  runc  crun        in an order drawn anew
//! …
//! ```

use std::io;
use std::time::Instant;

use crate::stats::{Sample, Summary, ms, ratio};
use crate::table::markdown;

/// A program under measurement: a name and what one run of it does.
pub(crate) struct Contender<'a> {
    /// Name in the table.
    pub(crate) name: String,
    /// One whole run; an error ends the measurement.
    pub(crate) run: Box<dyn FnMut() -> io::Result<()> + 'a>,
}

impl std::fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contender")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Runs each contender `rounds` times after `warmup` uncounted rounds; samples by contender. One that
/// hangs (its run says `TimedOut`) is told of and left out from then on, without samples.
///
/// # Errors
///
/// The first run that fails, with the contender's name.
pub(crate) fn measure(
    contenders: &mut [Contender<'_>],
    warmup: usize,
    rounds: usize,
) -> io::Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    let mut hung = Vec::new();
    let mut dice = Dice::seeded();
    for round in 0..warmup + rounds {
        order.retain(|at| !hung.contains(at));
        dice.shuffle(&mut order);
        for &i in &order {
            let contender = &mut contenders[i];
            let cpu = sys::rusage::reaped_children()?;
            let started = Instant::now();
            let done = (contender.run)()
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", contender.name)));
            match done {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    eprintln!("left out: {error}");
                    hung.push(i);
                    samples[i].clear();
                    continue;
                }
                done => done?,
            }
            let wall = started.elapsed();
            let cpu = sys::rusage::reaped_children()?.saturating_sub(cpu);
            if round >= warmup {
                samples[i].push(Sample { wall, cpu });
            }
        }
    }
    Ok(samples)
}

/// xorshift64: order needs no better randomness.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded() -> Self {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| u64::from(d.subsec_nanos()));
        Self(nanos | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn shuffle(&mut self, order: &mut [usize]) {
        for i in (1..order.len()).rev() {
            let j = usize::try_from(self.next() % (i as u64 + 1)).unwrap_or(0);
            order.swap(i, j);
        }
    }
}

/// The markdown table of what [`measure`] found: the first program against each.
pub(crate) fn comparison(names: &[&str], samples: &[Vec<Sample>]) -> String {
    let (Some(first), Some(own)) = (names.first(), samples.first()) else {
        return String::new();
    };
    let rows: Vec<Vec<String>> = names
        .iter()
        .zip(samples)
        .filter_map(|(name, theirs)| {
            let summary = Summary::of(theirs)?;
            let against = ratio(own, theirs)?;
            Some(vec![
                (*name).to_owned(),
                ms(summary.min),
                ms(summary.median),
                ms(summary.cpu),
                format!("{against:.2}"),
            ])
        })
        .collect();
    let against = format!("{first} / it");
    markdown(
        &["program", "min ms", "median ms", "CPU ms", &against],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_runs_in_every_round_and_warmup_is_not_counted() {
        let (mut a, mut b) = (0, 0);
        let samples = measure(
            &mut [
                Contender {
                    name: "a".into(),
                    run: Box::new(|| {
                        a += 1;
                        Ok(())
                    }),
                },
                Contender {
                    name: "b".into(),
                    run: Box::new(|| {
                        b += 1;
                        Ok(())
                    }),
                },
            ],
            2,
            5,
        )
        .expect("measure");
        assert_eq!((samples[0].len(), samples[1].len()), (5, 5));
        assert_eq!((a, b), (7, 7));
    }

    #[test]
    fn a_run_that_hangs_takes_its_contender_out_alone() {
        let mut runs = 0;
        let hangs = Contender {
            name: "hangs".into(),
            run: Box::new(|| {
                runs += 1;
                match runs {
                    2 => Err(io::ErrorKind::TimedOut.into()),
                    _ => Ok(()),
                }
            }),
        };
        let ends = Contender {
            name: "ends".into(),
            run: Box::new(|| Ok(())),
        };
        let samples = measure(&mut [hangs, ends], 0, 5).expect("measure");
        assert_eq!((samples[0].len(), samples[1].len()), (0, 5));
        assert_eq!(runs, 2);
    }

    #[test]
    fn a_failing_run_names_its_contender() {
        let mut contenders = [Contender {
            name: "bad".into(),
            run: Box::new(|| Err(io::Error::other("exit 3"))),
        }];
        let error = measure(&mut contenders, 0, 1).expect_err("must fail");
        assert_eq!(error.to_string(), "bad: exit 3");
    }
}
