//! Wall-clock times: nanoseconds since the Unix epoch, and RFC 3339 text with nanoseconds in UTC as the
//! CRI log format wants it. Own code because a date library would be larger than the rest of the log.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch; 0 for a clock before 1970.
pub(crate) fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// `2026-01-02T03:04:05.000000006Z`: always 30 bytes, so that lines sort as text.
pub(crate) const RFC3339_LEN: usize = 30;

/// Formats nanoseconds since the epoch (negative counts as 0).
pub(crate) fn rfc3339(ns: i64) -> [u8; RFC3339_LEN] {
    let ns = u64::try_from(ns).unwrap_or(0);
    let (secs, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let (year, month, day) = civil(secs / 86_400);
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    for (start, len, value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, secs / 3_600 % 24),
        (14, 2, secs / 60 % 60),
        (17, 2, secs % 60),
        (20, 9, nanos),
    ] {
        let mut rest = value;
        for digit in out[start..start + len].iter_mut().rev() {
            *digit = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
            rest /= 10;
        }
    }
    out
}

/// Year, month and day of a day number since 1970-01-01 (proleptic Gregorian; the era method counts
/// from 1 March of year 0, so that leap days come last).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + u64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_have_their_text() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399_000_000_001, "2000-02-28T23:59:59.000000001Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_200_000_000_000, "2024-03-01T00:00:00.000000000Z"),
            (1_792_695_845_123_456_789, "2026-10-22T19:04:05.123456789Z"),
            (-5, "1970-01-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(std::str::from_utf8(&rfc3339(ns)).unwrap(), text);
        }
    }
}
