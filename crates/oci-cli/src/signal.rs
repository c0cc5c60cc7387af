//! Signals by name and number.

use crate::error::Error;

/// Names of 1 to 31 on all architectures that we build for.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Other names of the same signals.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
/// First real-time signal as programs see it: the C library keeps 32 and 33.
const RTMIN: i32 = 34;
/// Last real-time signal.
const RTMAX: i32 = 64;

pub(crate) const KILL: i32 = 9;
pub(crate) const TERM: i32 = 15;
pub(crate) const CHLD: i32 = 17;
pub(crate) const URG: i32 = 23;
pub(crate) const WINCH: i32 = 28;

/// The signal that a word names: `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`, `SIGRTMAX-1`. `0` is none:
/// it only asks whether there is a process.
pub(crate) fn parse(word: &str) -> Result<i32, Error> {
    find(word).ok_or_else(|| Error::Signal(word.to_owned()))
}

fn find(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse::<i32>() {
        return (0..=RTMAX).contains(&number).then_some(number);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(rest, '+')?
    } else {
        RTMAX - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
        None => rest.is_empty().then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn words_and_numbers() {
        let table = [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("sigterm", Some(15)),
            ("SIGIOT", Some(6)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("64", Some(64)),
            ("0", Some(0)),
            ("65", None),
            ("-9", None),
            ("RTMIN+31", None),
            ("RTMIN+x", None),
            ("RTMAX+1", None),
            ("", None),
            ("SIG", None),
            ("MOON", None),
        ];
        for (word, wanted) in table {
            assert_eq!(find(word), wanted, "{word}");
        }
    }
}
