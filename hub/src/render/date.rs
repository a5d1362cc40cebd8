//! Dates as templates know them from Python.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Timelike, Utc};
use minijinja::value::{Object, ObjectRepr, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use serde::{Serialize, Serializer};

/// A point in time that templates handle like Python's naive UTC `datetime`: `isoformat()`, `strftime()`,
/// `timestamp()`, `date()`, `year` and so on. Printed it looks as `str(datetime)` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub DateTime<Utc>);

impl Date {
    fn text(self, separator: char) -> String {
        let mut text = self.0.format(&format!("%Y-%m-%d{separator}%H:%M:%S")).to_string();
        let micros = self.0.timestamp_subsec_micros();
        if micros > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, ".{micros:06}");
        }
        text
    }

    /// As Python writes it: microseconds only where there are some, no zone.
    pub fn isoformat(self) -> String {
        self.text('T')
    }
}

impl From<DateTime<Utc>> for Date {
    fn from(date: DateTime<Utc>) -> Self {
        Self(date)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::from_object(*self).serialize(serializer)
    }
}

impl Object for Date {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "year" => self.0.year().into(),
            "month" => self.0.month().into(),
            "day" => self.0.day().into(),
            "hour" => self.0.hour().into(),
            "minute" => self.0.minute().into(),
            "second" => self.0.second().into(),
            "microsecond" => self.0.timestamp_subsec_micros().into(),
            _ => return None,
        })
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let none = |value: Value| from_args::<()>(args).map(|()| value);
        match method {
            "isoformat" => {
                let (separator,): (Option<&str>,) = from_args(args)?;
                Ok(self.text(separator.and_then(|text| text.chars().next()).unwrap_or('T')).into())
            }
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                let mut text = String::new();
                write!(text, "{}", self.0.format(format)).map_err(|_| {
                    Error::new(
                        ErrorKind::InvalidOperation,
                        format!("strftime does not know the format {format:?}"),
                    )
                })?;
                Ok(text.into())
            }
            "timestamp" => {
                #[expect(clippy::cast_precision_loss, reason = "Python answers with a float as well")]
                let seconds = self.0.timestamp_micros() as f64 / 1e6;
                none(seconds.into())
            }
            "date" => none(self.0.format("%Y-%m-%d").to_string().into()),
            "time" => none(self.0.format("%H:%M:%S").to_string().into()),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &minijinja::value::DynObject) -> Option<std::cmp::Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp(&other.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(' '))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn render(template: &str, date: DateTime<Utc>) -> Result<String, Error> {
        let env = minijinja::Environment::new();
        env.render_str(template, minijinja::context! { d => Value::from_object(Date(date)) })
    }

    #[test]
    fn a_date_is_written_as_python_writes_it() {
        let whole = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        let parts = whole + chrono::TimeDelta::microseconds(120);
        assert_eq!(render("{{ d.isoformat() + 'Z' }}", whole).unwrap(), "2026-01-02T03:04:05Z");
        assert_eq!(
            render("{{ d.isoformat() }}|{{ d }}", parts).unwrap(),
            "2026-01-02T03:04:05.000120|2026-01-02 03:04:05.000120"
        );
        assert_eq!(
            render("{{ d.strftime('%d.%m.%Y') }} {{ d.year + 1 }} {{ d.date() }}", whole).unwrap(),
            "02.01.2026 2027 2026-01-02"
        );
        assert_eq!(render("{% if d %}{{ d.timestamp() }}{% endif %}", whole).unwrap(), "1767323045.0");
    }

    #[test]
    fn a_format_that_does_not_exist_is_an_error_and_no_panic() {
        let error = render("{{ d.strftime('%Q!') }}", Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap())
            .unwrap_err();
        assert!(error.to_string().contains("%Q!"), "{error}");
    }
}
