//! Ctrl-C while a container without a terminal runs in the foreground.
//!
//! ```text
//!             its program handles SIGINT     it does not
//! first       the program gets it            stopped: its stop signal, 10 s, SIGKILL
//! second      stopped                        killed
//! third       killed
//! ```
//! SIGTERM stops at once, and is counted with the others.
//!
//! The first process of a pid namespace gets no signal that it does not handle, not even SIGTERM:
//! where it handles none at all nothing is waited for.

use std::{
    future::{Future, pending},
    pin::Pin,
};

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{client::Daemon, error::Error, view::State};

/// Seconds between the polite signal and SIGKILL.
const GRACE: u32 = 10;

/// SIGINT and SIGTERM, which no longer end this program by themselves.
#[derive(Debug)]
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

/// What comes next when somebody insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ask,
    Stop,
    Kill,
}

impl Interrupts {
    pub(super) fn catch() -> Result<Interrupts, Error> {
        let failed = |source| Error::Io {
            what: "wait for signals".to_owned(),
            source,
        };
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Interrupts {
            interrupt,
            terminate,
        })
    }

    async fn next(&mut self) -> Number {
        tokio::select! {
            _ = self.interrupt.recv() => Number::INT,
            _ = self.terminate.recv() => Number::TERM,
        }
    }

    /// Waits for `watching`, and ends the container when asked to.
    pub(super) async fn while_waiting<T>(
        &mut self,
        daemon: &Daemon,
        id: &str,
        name: &str,
        mut watching: Pin<Box<dyn Future<Output = Result<T, Error>> + '_>>,
    ) -> Result<T, Error> {
        let mut step = Step::Ask;
        let mut acting: Pin<Box<dyn Future<Output = Result<(), Error>> + '_>> = Box::pin(pending());
        loop {
            tokio::select! {
                ended = &mut watching => return ended,
                acted = &mut acting => {
                    acted?;
                    acting = Box::pin(pending());
                }
                number = self.next() => {
                    let handled = handled(daemon, id).await;
                    step = step.with(&handled, number);
                    acting = match step {
                        Step::Ask => Box::pin(daemon.signal(id, name, number.as_raw().unsigned_abs())),
                        Step::Stop => Box::pin(daemon.stop(id, name, GRACE)),
                        Step::Kill => Box::pin(daemon.stop(id, name, 0)),
                    };
                    step = step.harder();
                }
            }
        }
    }
}

impl Step {
    /// What to do now, with what the container's first process handles.
    fn with(self, handled: &Handled, number: Number) -> Step {
        match (self, handled) {
            (Step::Ask, Handled::Some(mask)) if number == Number::INT && mask & bit(2) != 0 => {
                Step::Ask
            }
            (Step::Ask | Step::Stop, Handled::Some(mask)) if mask & ENDING == 0 => Step::Kill,
            (Step::Ask, _) => Step::Stop,
            (other, _) => other,
        }
    }

    fn harder(self) -> Step {
        match self {
            Step::Ask => Step::Stop,
            Step::Stop | Step::Kill => Step::Kill,
        }
    }
}

/// Which signals the container's first process handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handled {
    /// Bit n-1 is signal n.
    Some(u64),
    /// It has the usual ways of the kernel, or they can't be seen from here.
    Unknown,
}

const fn bit(number: u64) -> u64 {
    1 << (number - 1)
}

/// Signals by which programs are asked to end: HUP, INT, QUIT, USR1, USR2, TERM, WINCH, PWR and the
/// real-time ones.
const ENDING: u64 =
    bit(1) | bit(2) | bit(3) | bit(10) | bit(12) | bit(15) | bit(28) | bit(30) | !(bit(33) - 1);

/// Asks the kernel, where the daemon says which process it is and that process is here to be seen.
async fn handled(daemon: &Daemon, id: &str) -> Handled {
    let pid = match daemon.status(id, true).await {
        Ok(status) if status.state == State::Running => status.pid,
        _ => None,
    };
    let text = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    text.as_deref().map_or(Handled::Unknown, parse)
}

fn parse(status: &str) -> Handled {
    let line = |key: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
    };
    let first = line("NSpid:").is_some_and(|pids| {
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.len() > 1 && pids.last() == Some(&"1")
    });
    let mask = |key| line(key).and_then(|text| u64::from_str_radix(text, 16).ok());
    match (first, mask("SigCgt:"), mask("SigBlk:")) {
        // A blocked signal is read by signalfd or sigwait.
        (true, Some(caught), Some(blocked)) => Handled::Some(caught | blocked),
        _ => Handled::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str =
        "Name:\tx\nNSpid:\t77\t1\nSigBlk:\t0000000000000000\nSigIgn:\t0\nSigCgt:\t";

    #[test]
    fn what_the_first_process_handles() {
        let with = |mask: &str| parse(&format!("{STATUS}{mask}\n"));
        assert_eq!(with("0000000000004002"), Handled::Some(0x4002));
        assert_eq!(
            parse("NSpid:\t77\nSigCgt:\t2\nSigBlk:\t0\n"),
            Handled::Unknown
        );
        assert_eq!(with("words"), Handled::Unknown);
        assert_eq!(parse(""), Handled::Unknown);
    }

    #[test]
    fn insisting_gets_harder() {
        let path = |handled: Handled, number: Number| {
            let mut step = Step::Ask;
            let mut taken = Vec::new();
            for _ in 0..3 {
                step = step.with(&handled, number);
                taken.push(step);
                step = step.harder();
            }
            taken
        };
        use Step::{Ask, Kill, Stop};
        let both = Handled::Some(bit(2) | bit(15));
        assert_eq!(path(both, Number::INT), [Ask, Stop, Kill]);
        let term_only = Handled::Some(bit(15));
        assert_eq!(path(term_only, Number::INT), [Stop, Kill, Kill]);
        assert_eq!(path(both, Number::TERM), [Stop, Kill, Kill]);
        assert_eq!(
            path(Handled::Some(bit(17)), Number::INT),
            [Kill, Kill, Kill]
        );
        assert_eq!(path(Handled::Unknown, Number::INT), [Stop, Kill, Kill]);
    }
}
