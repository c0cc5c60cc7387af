//! `Retry-After`: how long a registry asks to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The wait that an answer asks for: seconds, or until a date. The date is read by the registry's own
/// clock where it tells that (`Date`): clocks of nodes are wrong.
pub(crate) fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has is for ever, which is more than anybody waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = self::text(headers, DATE)
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or(now);
    Some(until.duration_since(now).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_of_all_forms_are_understood() {
        const NOW: &str = "Sun, 06 Nov 1994 08:49:00 GMT";
        let own = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:30 GMT").unwrap();
        for (after, date, seconds) in [
            ("7", "", Some(7)),
            (" 0 ", "", Some(0)),
            ("99999999999999999999999", "", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", NOW, Some(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", NOW, Some(37)),
            ("Sun Nov  6 08:49:37 1994", NOW, Some(37)),
            // Without a date, or with one that cannot be read, the own clock counts.
            ("Sun, 06 Nov 1994 08:49:37 GMT", "", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "today", Some(7)),
            // In the past: at once.
            ("Sun, 06 Nov 1994 08:48:37 GMT", NOW, Some(0)),
            ("soon", NOW, None),
            ("-5", NOW, None),
            ("", NOW, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if !date.is_empty() {
                headers.insert(DATE, date.parse().unwrap());
            }
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(wait(&headers, own), expected, "{after:?} at {date:?}");
        }
        assert_eq!(wait(&HeaderMap::new(), own), None);
    }
}
