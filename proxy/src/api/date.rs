//! Dates as `inactiveSince` may give them: what JavaScript's `Date.parse` takes, less its free forms.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Milliseconds since the epoch; `None` when the text is no date. A time without zone is taken as UTC.
pub(super) fn parse(text: &str) -> Option<i64> {
    // In a query string the plus of an offset arrives as a blank.
    let restored = text.rsplit_once(' ').filter(|(_, offset)| is_offset(offset));
    let restored = restored.map(|(date, offset)| format!("{date}+{offset}"));
    let text = restored.as_deref().unwrap_or(text);
    if let Ok(date) = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)) {
        return Some(date.timestamp_millis());
    }
    for format in ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%dT%H:%M:%S%.f%z"] {
        if let Ok(date) = DateTime::parse_from_str(text, format) {
            return Some(date.timestamp_millis());
        }
    }
    let naive = text.strip_suffix('Z').unwrap_or(text);
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(date) = NaiveDateTime::parse_from_str(naive, format) {
            return Some(date.and_utc().timestamp_millis());
        }
    }
    let day = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let day = NaiveDate::parse_from_str(&day, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

fn is_offset(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits == 4
        && (text.len() == 4 || (text.len() == 5 && text.as_bytes().get(2) == Some(&b':')))
        && text.get(..2).is_some_and(|hours| hours <= "14")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_are_understood() {
        let expected = Some(1_577_934_245_678);
        for text in [
            "2020-01-02T03:04:05.678Z",
            "2020-01-02T03:04:05.678+00:00",
            "2020-01-02T03:04:05.678 00:00",
            "2020-01-02T04:04:05.678+0100",
            "2020-01-02T03:04:05.678",
            "2020-01-02 03:04:05.678",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("2020-01-02"), Some(1_577_923_200_000));
        assert_eq!(parse("2020-01"), Some(1_577_836_800_000));
        assert_eq!(parse("2020"), Some(1_577_836_800_000));
        assert_eq!(parse("2020-01-02T03:04Z"), Some(1_577_934_240_000));
        assert_eq!(parse("Thu, 02 Jan 2020 03:04:05 GMT"), Some(1_577_934_245_000));
    }

    #[test]
    fn other_text_is_no_date() {
        for text in ["", "foo", "endoftheworld", "2020-13-01", "2020-01-02T25:00:00Z", "é", "99999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
