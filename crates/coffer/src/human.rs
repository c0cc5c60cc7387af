//! Numbers and times as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// `12345678` as `11.8 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 100.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// Time since `then` (ns since the epoch) as `3 minutes ago`; empty for 0, which means never.
pub(crate) fn ago(then: i64) -> String {
    if then == 0 {
        return String::new();
    }
    format!("{} ago", seconds_in_words(seconds_since(then)))
}

/// Seconds since `then` (ns since the epoch).
pub(crate) fn seconds_since(then: i64) -> i64 {
    now_ns().saturating_sub(then).max(0) / 1_000_000_000
}

/// A duration as its one most telling unit.
pub(crate) fn seconds_in_words(seconds: i64) -> String {
    let (count, unit) = match seconds {
        s if s < 60 => (s, "second"),
        s if s < 3600 => (s / 60, "minute"),
        s if s < 48 * 3600 => (s / 3600, "hour"),
        s => (s / 86_400, "day"),
    };
    if count == 1 {
        format!("1 {unit}")
    } else {
        format!("{count} {unit}s")
    }
}

/// Nanoseconds since the epoch, now.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds since the epoch as RFC 3339 in UTC; `None` for 0, which means never.
pub(crate) fn rfc3339(ns: i64) -> Option<String> {
    if ns == 0 {
        return None;
    }
    let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z"
    ))
}

/// Days since the epoch as year, month, day: eras of 400 years that start on 1 March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The first twelve digits of an id, without the algorithm of a digest.
pub(crate) fn short(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(250 * 1024 * 1024), "250 MiB");
    }

    #[test]
    fn times_are_rfc3339_across_leap_days() {
        assert_eq!(rfc3339(0), None);
        assert_eq!(
            rfc3339(1).as_deref(),
            Some("1970-01-01T00:00:00.000000001Z")
        );
        let leap = 1_709_210_096_000_000_000;
        assert_eq!(
            rfc3339(leap).as_deref(),
            Some("2024-02-29T12:34:56.000000000Z")
        );
        let new_year = 1_735_689_600_000_000_000;
        assert_eq!(
            rfc3339(new_year).as_deref(),
            Some("2025-01-01T00:00:00.000000000Z")
        );
    }

    #[test]
    fn ids_are_cut_to_twelve_digits() {
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("0123"), "0123");
    }
}
