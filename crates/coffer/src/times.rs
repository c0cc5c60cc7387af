//! Points in time on the command line: RFC 3339, a date, seconds since the epoch, or how long ago.

use crate::human;

const SECOND: i64 = 1_000_000_000;

/// `10m`, `1h30m`, `90s`, `2d` (so long ago), `2026-01-02T03:04:05Z`, `2026-01-02`, `1735689600.5`:
/// ns since the epoch.
pub(crate) fn point(text: &str) -> Result<i64, String> {
    duration(text)
        .map(|ago| human::now_ns().saturating_sub(ago))
        .or_else(|| rfc3339(text))
        .or_else(|| date(text))
        .or_else(|| epoch(text))
        .ok_or_else(|| {
            format!(
                "{text:?} is neither how long ago (10m, 1h30m, 2d) nor a time (2026-01-02T15:04:05Z, \
                 2026-01-02, or seconds since the epoch)"
            )
        })
}

/// A sum of numbers with units, ns.
fn duration(text: &str) -> Option<i64> {
    let mut total: f64 = 0.0;
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = [
            ("ms", 1e6),
            ("d", 864e11),
            ("h", 36e11),
            ("m", 6e10),
            ("s", 1e9),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        total += number * length;
        rest = &rest[unit.len()..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "as saturates, which is what is wanted"
    )]
    Some(total as i64)
}

fn epoch(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(SECOND)?
        .checked_add(nanoseconds(fraction)?)
}

fn date(text: &str) -> Option<i64> {
    rfc3339(&format!("{text}T00:00:00Z"))
}

/// `2026-01-02T03:04:05[.fraction](Z|±hh:mm)` as ns since the epoch.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &text[from..to];
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| bytes[*at] != *mark)
        || !matches!(bytes[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !fits || second > 60 {
        return None;
    }
    let rest = &text[19..];
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (seconds - offset(zone)?)
        .checked_mul(SECOND)?
        .checked_add(nanoseconds(fraction)?)
}

/// `Z` or `±hh:mm` in seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let part = |digits: &str| -> Option<i64> {
        let fits = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| digits.parse().ok())?
    };
    Some(sign * (part(hours)? * 3600 + part(minutes)? * 60))
}

/// Digits after a point as ns; what is finer is cut.
fn nanoseconds(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    nine.parse().ok()
}

/// Days since the epoch of a day of the Gregorian calendar; years start on 1 March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for ns in [
            1,
            1_709_210_096_000_000_000,
            1_735_689_600_000_000_001,
            -86_400_000_000_000,
        ] {
            let text = human::rfc3339(ns).unwrap();
            assert_eq!(rfc3339(&text), Some(ns), "{text}");
        }
        assert_eq!(rfc3339("1970-01-01T01:00:00.5+01:00"), Some(500_000_000));
        assert_eq!(point("1970-01-02"), Ok(86_400 * SECOND));
        assert_eq!(point("1.25"), Ok(1_250_000_000));
        for text in [
            "",
            "soon",
            "2026-13-01",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00",
            "10x",
            "m",
        ] {
            assert!(point(text).is_err(), "{text}");
        }
    }

    #[test]
    fn how_long_ago_is_a_sum() {
        for (text, seconds) in [
            ("90s", 90),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("1.5m", 90),
            ("-5m", 300),
        ] {
            assert_eq!(duration(text), Some(seconds * SECOND), "{text}");
        }
        assert_eq!(duration("250ms"), Some(SECOND / 4));
        assert_eq!(duration("5"), None, "seconds since the epoch");
    }
}
