//! A length of time as Go writes it: `5s`, `100ms`, `1m30s`.

use std::time::Duration;

use crate::error::Error;

/// Units by name, in microseconds; longer names before what they begin with.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1000),
    ("us", 1),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// Reads a length of time above zero.
pub(super) fn parse(text: &str) -> Result<Duration, Error> {
    let wrong = || Error::Usage(format!("{text:?} is no length of time such as 5s or 100ms"));
    let mut rest = text;
    let mut micros = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let (name, unit) = UNITS
            .iter()
            .find(|(name, _)| rest.starts_with(name))
            .ok_or_else(wrong)?;
        rest = &rest[name.len()..];
        micros = number
            .checked_mul(*unit)
            .and_then(|part| micros.checked_add(part))
            .ok_or_else(wrong)?;
    }
    if micros == 0 {
        return Err(wrong());
    }
    Ok(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn as_go_writes_them() {
        let table = [
            ("5s", Some(5_000_000)),
            ("100ms", Some(100_000)),
            ("1m30s", Some(90_000_000)),
            ("2h", Some(7_200_000_000)),
            ("7us", Some(7)),
            ("", None),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("18446744073709551615h", None),
        ];
        for (text, micros) in table {
            let found = parse(text).ok().map(|d| d.as_micros());
            assert_eq!(found, micros, "{text:?}");
        }
    }
}
