//! Timestamps: UTC for us, without time zone in the database.

use std::fmt;
use std::ops::Deref;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable, Value};
use sqlx::Row as _;

/// A moment in UTC as JupyterHub stores it: naive, at most microseconds.
///
/// `timestamp without time zone` on PostgreSQL, `DATETIME` (whole seconds) on MySQL and MariaDB, and on SQLite the
/// text `YYYY-MM-DD HH:MM:SS.ffffff` with always six digits, since SQLAlchemy writes and compares it so.
/// Dereferences to [`DateTime<Utc>`] and converts from and into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The moment as chrono knows it.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

/// The text that SQLAlchemy writes into a SQLite `DATETIME` column.
pub(crate) fn sqlite_text(moment: &NaiveDateTime) -> String {
    moment.format("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment)
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(moment: Timestamp) -> Self {
        moment.0
    }
}

impl Deref for Timestamp {
    type Target = DateTime<Utc>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::ChronoDateTime(Some(moment.0.naive_utc()))
    }
}

/// Reads [`sqlite_text`] back, and nothing else: the parser for all forms takes much longer, and lists are full of
/// moments.
fn from_sqlite_text(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b'.')];
    if bytes.len() != 26 || marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
        return None;
    }
    let year = number(0, 4)?.cast_signed();
    NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?.and_hms_micro_opt(
        number(11, 13)?,
        number(14, 16)?,
        number(17, 19)?,
        number(20, 26)?,
    )
}

impl TryGetable for Timestamp {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        if let Some(row) = row.try_as_sqlite_row()
            && let Ok(Some(text)) = row.try_get::<Option<&str>, _>(index.as_sqlx_sqlite_index())
            && let Some(moment) = from_sqlite_text(text)
        {
            return Ok(Self(moment.and_utc()));
        }
        NaiveDateTime::try_get_by(row, index).map(|moment| Self(moment.and_utc()))
    }
}

impl ValueType for Timestamp {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::ChronoDateTime(Some(moment)) => Ok(Self(moment.and_utc())),
            _ => Err(ValueTypeErr),
        }
    }

    fn type_name() -> String {
        "Timestamp".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::ChronoDateTime
    }

    fn column_type() -> ColumnType {
        ColumnType::DateTime
    }
}

impl Nullable for Timestamp {
    fn null() -> Value {
        Value::ChronoDateTime(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_text_has_six_digits_whatever_the_fraction() {
        for (given, stored) in [
            ("2026-01-02T03:04:05Z", "2026-01-02 03:04:05.000000"),
            ("2026-01-02T03:04:05.5Z", "2026-01-02 03:04:05.500000"),
            ("2026-01-02T03:04:05.000123Z", "2026-01-02 03:04:05.000123"),
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02 03:04:05.123456"),
        ] {
            let moment: DateTime<Utc> = given.parse().unwrap();
            assert_eq!(sqlite_text(&moment.naive_utc()), stored);
            assert_eq!(from_sqlite_text(stored).map(|read| sqlite_text(&read)).as_deref(), Some(stored));
        }
    }

    #[test]
    fn only_what_is_written_so_is_read_the_quick_way() {
        for other in
            ["2026-01-02 03:04:05", "2026-01-02T03:04:05.000000", "2026-13-02 03:04:05.000000", "", "é"]
        {
            assert_eq!(from_sqlite_text(other), None, "{other}");
        }
    }
}
