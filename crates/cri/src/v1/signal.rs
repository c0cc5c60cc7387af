//! CRI's stop signals and the numbers that Linux has for them (signal(7), x86-64 and arm64; SIGRTMIN
//! as glibc's programs see it: the kernel's 32 and 33 belong to the C library).

use cri_api::v1::Signal;

const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

/// Names in CRI's order; of aliases the first in the table is the one that is told back.
const TABLE: [(Signal, i32); 35] = [
    (Signal::Sigabrt, 6),
    (Signal::Sigalrm, 14),
    (Signal::Sigbus, 7),
    (Signal::Sigchld, 17),
    (Signal::Sigcld, 17),
    (Signal::Sigcont, 18),
    (Signal::Sigfpe, 8),
    (Signal::Sighup, 1),
    (Signal::Sigill, 4),
    (Signal::Sigint, 2),
    (Signal::Sigio, 29),
    (Signal::Sigiot, 6),
    (Signal::Sigkill, 9),
    (Signal::Sigpipe, 13),
    (Signal::Sigpoll, 29),
    (Signal::Sigprof, 27),
    (Signal::Sigpwr, 30),
    (Signal::Sigquit, 3),
    (Signal::Sigsegv, 11),
    (Signal::Sigstkflt, 16),
    (Signal::Sigstop, 19),
    (Signal::Sigsys, 31),
    (Signal::Sigterm, 15),
    (Signal::Sigtrap, 5),
    (Signal::Sigtstp, 20),
    (Signal::Sigttin, 21),
    (Signal::Sigttou, 22),
    (Signal::Sigurg, 23),
    (Signal::Sigusr1, 10),
    (Signal::Sigusr2, 12),
    (Signal::Sigvtalrm, 26),
    (Signal::Sigwinch, 28),
    (Signal::Sigxcpu, 24),
    (Signal::Sigxfsz, 25),
    (Signal::Sigrtmin, SIGRTMIN),
];

/// The number of a signal; `None` for "runtime default".
pub(super) fn number(signal: Signal) -> Option<i32> {
    if let Some((_, number)) = TABLE.iter().find(|(name, _)| *name == signal) {
        return Some(*number);
    }
    // SIGRTMIN+1 … +15 and SIGRTMAX-14 … SIGRTMAX are two runs of CRI numbers.
    let (wire, min, max) = (
        signal as i32,
        Signal::Sigrtmin as i32,
        Signal::Sigrtmax as i32,
    );
    if wire > min && wire <= min + 15 {
        Some(SIGRTMIN + (wire - min))
    } else if wire > min + 15 && wire <= max {
        Some(SIGRTMAX - (max - wire))
    } else {
        None
    }
}

/// The signal with this number; "runtime default" for a number that CRI has no name for.
pub(super) fn name(number: i32) -> Signal {
    if let Some((name, _)) = TABLE.iter().find(|(_, n)| *n == number) {
        return *name;
    }
    let wire = if (SIGRTMIN..=SIGRTMIN + 15).contains(&number) {
        Signal::Sigrtmin as i32 + (number - SIGRTMIN)
    } else if (SIGRTMAX - 14..=SIGRTMAX).contains(&number) {
        Signal::Sigrtmax as i32 - (SIGRTMAX - number)
    } else {
        return Signal::RuntimeDefault;
    };
    Signal::try_from(wire).unwrap_or(Signal::RuntimeDefault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_number_that_leads_back_to_it_or_its_alias() {
        for wire in 1..=65 {
            let signal = Signal::try_from(wire).unwrap();
            let n = number(signal).unwrap_or_else(|| panic!("{signal:?}"));
            assert!((1..=64).contains(&n), "{signal:?} {n}");
            assert_eq!(number(name(n)), Some(n), "{signal:?}");
        }
        assert_eq!(number(Signal::RuntimeDefault), None);
    }

    #[test]
    fn known_numbers() {
        for (signal, n) in [
            (Signal::Sigterm, 15),
            (Signal::Sigkill, 9),
            (Signal::Sigrtmin, 34),
            (Signal::Sigrtminplus1, 35),
            (Signal::Sigrtminplus15, 49),
            (Signal::Sigrtmaxminus14, 50),
            (Signal::Sigrtmaxminus1, 63),
            (Signal::Sigrtmax, 64),
        ] {
            assert_eq!(number(signal), Some(n), "{signal:?}");
            assert_eq!(name(n), signal);
        }
    }

    #[test]
    fn numbers_without_a_name_are_the_default() {
        for n in [0, -1, 32, 33, 65, i32::MAX] {
            assert_eq!(name(n), Signal::RuntimeDefault);
        }
    }
}
