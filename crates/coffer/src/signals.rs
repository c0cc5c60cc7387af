//! Names and numbers of signals as Linux has them (signal(7), x86-64 and arm64).

const NAMES: [(&str, u32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// As the C library counts: the kernel's 32 and 33 are its own.
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// The name of a signal without `SIG`; none for most of the real-time ones.
pub(crate) fn name(number: u32) -> Option<&'static str> {
    match number {
        RTMIN => Some("RTMIN"),
        RTMAX => Some("RTMAX"),
        _ => NAMES
            .iter()
            .find(|(_, known)| *known == number)
            .map(|(name, _)| *name),
    }
}

/// `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3`, `RTMAX-1`.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=RTMAX).contains(&number) {
            Ok(number)
        } else {
            Err(format!("{number} is no signal: they are 1 to {RTMAX}"))
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    real_time(name).ok_or_else(|| {
        let names = NAMES.iter().map(|(name, _)| *name);
        match crate::nearest::of(name, names) {
            Some(meant) => format!("{text:?} is no signal; did you mean {meant}?"),
            None => format!("{text:?} is no signal; give a name such as TERM or KILL, or a number"),
        }
    })
}

fn real_time(name: &str) -> Option<u32> {
    let offset = |text: &str, sign: char| -> Option<u32> {
        if text.is_empty() {
            return Some(0);
        }
        text.strip_prefix(sign)?.parse().ok()
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?)?,
        (_, Some(rest)) => RTMAX.checked_sub(offset(rest, '-')?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// The names, for completions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_people_name_them() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigusr1", 10),
            ("1", 1),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in [
            "", "0", "65", "-9", "NOPE", "RTMIN+99", "RTMIN-1", "RTMAX-40",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(
            parse("TREM").unwrap_err().contains("did you mean"),
            "{:?}",
            parse("TREM")
        );
    }
}
